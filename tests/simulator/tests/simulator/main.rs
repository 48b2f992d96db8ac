//! The simulator's own tests: the fake API server and the models of the controllers behave as was measured on
//! a real cluster of Kubernetes 1.34.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    clippy::match_wildcard_for_single_variants,
    reason = "test code: a broken assumption ends the test, and campaigns tell their counts"
)]

mod bolt;
mod campaign;
mod conformance;
mod determinism;
mod faults;
mod guard;
mod jobs;
mod order;
mod owners;
mod search;
mod server;
mod stage;
mod status;
mod watches;
mod window;
mod window_after;
