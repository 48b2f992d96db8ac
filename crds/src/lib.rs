//! The API of Slipway: the `Release` custom resource, and the names of labels, annotations and finalizers.
//!
//! This crate holds types and their schema, nothing else: no client, no runtime, no decision.

#![allow(
    unreachable_pub,
    reason = "the schema derive repeats a public struct inside a function"
)]

mod description;
pub mod duration;
pub mod identifier;
pub mod names;
pub mod v1alpha1;

pub use duration::Duration;
pub use identifier::{
    AliasName, DeploymentName, GenerationToken, IndexName, IndexUuid, InputDigest, JobName, RevisionName,
    ServiceName, TemplateDigest, TemplateHash, Uid, VersionDigest, WorkloadName,
};
