//! The real shell and engine over a fake API server in virtual time.
//!
//! One process, one thread, a paused tokio clock and one seed: a run of two hours takes milliseconds and
//! replays exactly. Under it is the model of Kubernetes in `slipway-kubernetes`; above it the judge. The parts, from
//! the bottom up:
//!
//! - [`cluster`]: the model of a cluster, and what is between it and the controller;
//! - [`server`]: its objects as an HTTP service under a real `kube::Client`, with a log of calls and with faults;
//! - [`transport`]: its search engine behind the controller's own client;
//! - [`conformance`]: the API server compared with a real one;
//! - [`world`]: all of it together, moved forward in virtual time;
//! - [`wall`] and [`pause`]: a machine whose clock goes wrong, a process that is stopped;
//! - [`controller`]: a process of the real controller on it;
//! - [`campaign`]: whole releases with everything that can go wrong.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::missing_panics_doc,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    reason = "test code: a broken assumption ends the test, and the server looks at the few faults that concern it"
)]

pub mod campaign;
pub mod cluster;
pub mod conformance;
pub mod controller;
pub mod pause;
pub mod server;
pub mod transport;
pub mod wall;
pub mod world;
