//! What must hold of every history of a cluster on which Slipway works, judged from outside: nothing is believed that
//! the controller says of itself.
//!
//! - [`invariants`]: each promise once, over a history: changes, [`calls`], what happened in a search engine, processes;
//! - [`observer`]: such a history of a real cluster, read from its audit log and its aliases, and the questions that
//!   tests ask of it;
//! - [`oracle`]: questions that tests ask of a simulated history.
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
