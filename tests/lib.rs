//! The harness, the simulator and the suites that prove what Slipway promises.
//!
//! Tests and the demo may print and may stop on a broken assumption: the lints that guard the product's
//! code against that are lifted here, in one place.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::missing_panics_doc,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "test code: a broken assumption ends the test, and the harness talks to a terminal"
)]

pub mod campaign;
pub mod demo;
pub mod harness;
pub mod simulator;
pub mod verify;
