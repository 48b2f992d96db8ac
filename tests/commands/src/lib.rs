//! The commands of this workspace: `cargo demo`, `cargo verify` and `cargo campaign`. `cargo cluster` stands beside what it starts, in `slipway-e2e`.
//!
//! They may print and may stop on a broken assumption: the lints that guard the product's code against that are lifted
//! here, in one place.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::missing_panics_doc,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "test code: a broken assumption ends it, and it talks to a terminal"
)]

pub mod campaign;
pub mod demo;
pub mod verify;
