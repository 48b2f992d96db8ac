//! What must hold of every history of a cluster on which Slipway works, judged from outside: nothing is believed that
//! the controller says of itself.
//!
//! - [`invariants`]: of a simulated history, replayed by [`past`] from the store's changes and the log of [`calls`];
//! - [`oracle`]: traffic, sizes and Jobs in such a history;
//! - [`observer`]: of a real cluster's audit log, `EndpointSlices` and aliases.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::missing_panics_doc,
    clippy::panic,
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    reason = "test code: a broken assumption ends the test, and invariants look at the few kinds that concern them"
)]

pub mod calls;
pub mod differences;
pub mod endpoints;
pub mod invariants;
pub mod observer;
pub mod oracle;
pub mod past;
