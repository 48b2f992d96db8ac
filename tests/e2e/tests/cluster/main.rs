//! The suites on the real cluster. `cargo verify` runs them inside of one.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::struct_excessive_bools,
    clippy::too_many_lines,
    clippy::unwrap_used,
    reason = "test code: a broken assumption ends the test"
)]

mod adoption;
mod by_hand;
mod conformance;
mod deletion;
mod disturbance;
mod leftovers;
mod meddling;
mod migration;
mod platform;
mod reindex;
mod rollback;
mod stage;
mod takeover;
mod traffic;
