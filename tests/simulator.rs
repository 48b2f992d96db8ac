//! The real shell and engine over a fake API server in virtual time.
//!
//! One process, one thread, a paused tokio clock and one seed: a run of two hours takes milliseconds and
//! replays exactly. The parts, from the bottom up:
//!
//! - [`store`]: the objects, with the API server's rules for writing them;
//! - [`server`]: the same as an HTTP service under a real `kube::Client`, with a log of calls and with faults;
//! - [`models`]: small models of the Kubernetes controllers and of the kubelet;
//! - [`search`]: a model of a search engine;
//! - [`users`]: what people and their tools do to the cluster;
//! - [`oracle`]: what an observer outside of the controller sees;
//! - [`conformance`]: the API server compared with a real one;
//! - [`world`]: all of it together, moved forward in virtual time;
//! - [`pause`]: a process that is stopped;
//! - [`controller`]: a process of the real controller on it;
//! - [`campaign`]: whole releases with everything that can go wrong.

#![allow(
    clippy::wildcard_enum_match_arm,
    reason = "models and the server look at the few kinds and faults that concern them"
)]

pub mod campaign;
pub mod clock;
pub mod cluster;
pub mod conformance;
pub mod controller;
pub mod fields;
pub mod kind;
pub mod models;
pub mod oracle;
pub mod pause;
pub mod random;
pub mod refusal;
pub mod search;
pub mod server;
pub mod store;
pub mod trace;
pub mod users;
pub mod world;
