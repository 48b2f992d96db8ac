//! The model: the real engine, twice, in an abstract world in which anything may go wrong within bounds, explored
//! state by state.
//!
//! A whole release is too large for one exploration, so it is checked window by window: each window begins with
//! every state in which the one before it was left, with all that may go wrong allowed anew.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::match_wildcard_for_single_variants,
    clippy::wildcard_enum_match_arm,
    reason = "test code: a broken assumption ends the test"
)]

mod action;
mod calm;
mod deed;
mod kubernetes;
mod memory;
mod release;
mod state;
mod thought;
mod view;

use std::time::Instant;

use release::{Laboratory, WINDOWS, Window, explore, to_meet};
use state::Budget;

/// Explores windows one after the other, prints what was seen, and wants every step and way out to be met.
fn campaign(windows: &[Window], budget: Budget, replicas: u8) {
    let mut met = std::collections::BTreeSet::new();
    let laboratory = Laboratory::new(replicas);
    let mut entries = Vec::new();
    let (mut states, begun) = (0, Instant::now());
    for window in windows {
        let seen = explore(&laboratory, *window, budget, &entries);
        println!(
            "{:<40} {:>6} entries {:>9} states {:>9} unique, depth {:>3}, {:>6} views decided, {:>7} continuations, {:>5.1} s",
            window.name,
            seen.entries,
            seen.generated,
            seen.unique,
            seen.depth,
            seen.views,
            seen.continuations,
            begun.elapsed().as_secs_f64()
        );
        states += seen.unique;
        met.extend(seen.met);
        entries = seen.left;
    }
    assert_eq!(met, to_meet(), "every step and every way out is met");
    println!("{states} states in {:.1} s", begun.elapsed().as_secs_f64());
}

#[test]
fn a_release_survives_whatever_may_go_wrong_once() {
    let budget = Budget {
        all: 1,
        crashes: 1,
        faults: 1,
        lags: 1,
        losses: 1,
        wishes: 1,
    };
    campaign(&WINDOWS[..4], budget, 1);
}

#[test]
#[ignore = "cargo campaign"]
fn a_release_survives_whatever_may_go_wrong_twice() {
    let budget = Budget {
        all: 3,
        crashes: 2,
        faults: 2,
        lags: 2,
        losses: 1,
        wishes: 1,
    };
    campaign(&WINDOWS, budget, 2);
}
