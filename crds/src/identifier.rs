//! Names, UIDs and digests: each kind is a type of its own, because a name of one kind is never one of another.
//!
//! They are made where an object is read, and become text where one is written or told. In between two kinds can
//! neither be compared nor looked up by each other, so there is no `Deref`, no `Borrow` and no comparison with a text:
//!
//! ```compile_fail
//! use slipway_crds::{DeploymentName, WorkloadName};
//! assert!(WorkloadName::from("web") == DeploymentName::from("web"));
//! ```

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize};

macro_rules! identifiers {
    ($($(#[$about:meta])* $name:ident,)+) => {$(
        $(#[$about])*
        #[derive(Clone, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            /// As it is written.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl From<String> for $name {
            fn from(text: String) -> Self {
                Self(text)
            }
        }

        impl From<&str> for $name {
            fn from(text: &str) -> Self {
                Self(text.to_owned())
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(formatter)
            }
        }

        impl JsonSchema for $name {
            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }

            // Each field says what it is, and how long.
            fn inline_schema() -> bool {
                true
            }

            fn json_schema(generator: &mut SchemaGenerator) -> Schema {
                String::json_schema(generator)
            }
        }
    )+};
}

identifiers! {
    /// Name of a revision, `<release>-<number>`, at most 64 characters: made when the revision begins, never used twice
    /// in the life of a Release. Empty stands for no revision.
    #[derive(Default)]
    RevisionName,

    /// Digest of a version, 16 hexadecimal digits: made by us, of what identifies it in the spec. Empty stands for a
    /// version that no spec described.
    #[derive(Default)]
    VersionDigest,

    /// Digest of what a task is given, 16 hexadecimal digits: made by us, the same for every attempt. A task that ran
    /// under it to the end is not run again.
    InputDigest,

    /// Name of the Job that runs an attempt of a task, at most 63 characters: made by us, never used twice.
    JobName,

    /// Name of a workload in the spec, at most 40 characters: what status and messages call it. Its Deployment may be
    /// named otherwise.
    WorkloadName,

    /// Name of a Deployment in the namespace of the Release, at most 253 characters.
    DeploymentName,

    /// Name of a Service in the namespace of the Release, at most 63 characters.
    ServiceName,

    /// UID of an object in Kubernetes, `metadata.uid`, at most 64 characters: another object of the same name has
    /// another one. A claim is the UID of a Release.
    #[derive(Default)]
    Uid,

    /// Label `pod-template-hash` of a ReplicaSet and its pods, at most 63 characters: made by Kubernetes, which may
    /// make it of fields that a later version adds. A Service is pinned by it.
    TemplateHash,

    /// Digest of a pod template, 16 hexadecimal digits: made by us, of the template without that label. By it the
    /// ReplicaSet of a template is found, before its hash is known.
    #[derive(Default)]
    TemplateDigest,

    /// Name in a search engine that the application asks for, at most 255 characters: a stable alias of the spec such
    /// as `products`, a generation's own such as `products_g7kd`, or what is found on an index. It should be an alias;
    /// the engine may say that it is an index.
    AliasName,

    /// Name of an index in a search engine, at most 255 characters, as the engine gives it. Several indices may have
    /// it, one after the other.
    IndexName,

    /// Token of an index generation, such as `g7kd`, at most 64 characters: made by us when a build begins. Its indices
    /// carry it in their names, and the pods that read them in a variable.
    GenerationToken,

    /// UUID of an index in a search engine, at most 64 characters, as the engine gives it: another index of the same
    /// name has another one.
    IndexUuid,
}
