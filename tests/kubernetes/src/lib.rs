//! A model of Kubernetes in plain, synchronous data: no runtime, no HTTP, no client.
//!
//! The parts, from the bottom up:
//!
//! - [`store`]: the objects, with the API server's rules for writing them;
//! - [`cluster`]: the store, what the containers do, and a [`search`] engine beside them;
//! - [`models`]: small models of the Kubernetes controllers, of the scheduler and of the kubelet;
//! - [`agenda`]: which model looks at which object, and when;
//! - [`users`]: what people and their tools do to the cluster;
//! - [`Kubernetes`]: all of it together, for tests without a runtime.
//!
//! Every chance comes from one seed ([`random`]), and time is what the [`clock`] is told: a run replays exactly.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::missing_panics_doc,
    clippy::panic,
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    reason = "test code: a broken assumption ends the test, and each model looks at the few kinds that concern it"
)]

pub mod agenda;
pub mod clock;
pub mod cluster;
pub mod fields;
pub mod kind;
mod kubernetes;
pub mod models;
pub mod random;
pub mod refusal;
pub mod search;
pub mod store;
pub mod trace;
pub mod users;

pub use kubernetes::Kubernetes;
