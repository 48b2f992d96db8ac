//! The model: the real engine, twice, in an abstract cluster in which anything may go wrong within bounds, explored
//! state by state.
//!
//! A whole release is too large for one exploration, so it is checked window by window: each window begins with
//! every state in which the one before it was left, with all that may go wrong allowed anew.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::match_wildcard_for_single_variants,
    clippy::print_stdout,
    clippy::struct_excessive_bools,
    clippy::wildcard_enum_match_arm,
    reason = "test code: a broken assumption ends the test"
)]

mod action;
mod agreement;
mod decision;
mod effect;
mod kubernetes;
mod memory;
mod release;
mod state;
mod view;
mod without_faults;

use std::collections::BTreeSet;
use std::time::Instant;

use release::{Laboratory, WINDOWS, Window, explore, to_meet};
use state::Budget;

/// Explores windows one after the other, so much may go wrong in each, and prints what was seen.
fn campaign(windows: &[(Window, u8)], budget: Budget, replicas: u8) -> BTreeSet<&'static str> {
    let mut met = BTreeSet::new();
    let laboratory = Laboratory::new(replicas);
    let mut entries = Vec::new();
    let (mut states, started) = (0, Instant::now());
    for (window, all) in windows {
        let seen = explore(&laboratory, *window, Budget { all: *all, ..budget }, &entries);
        println!(
            "{}: {} disturbances, {} entries, {} states ({} different), depth {}; {} views decided, {} ends known, {:.1} s",
            window.name,
            all,
            seen.entries,
            seen.generated,
            seen.unique,
            seen.depth,
            seen.views,
            seen.continuations,
            started.elapsed().as_secs_f64()
        );
        states += seen.unique;
        met.extend(seen.met);
        entries = seen.left;
    }
    println!(
        "{states} states in {:.1} s, met: {met:?}",
        started.elapsed().as_secs_f64()
    );
    met
}

const TWICE: Budget = Budget {
    all: 0,
    crashes: 2,
    faults: 2,
    lags: 2,
    losses: 1,
    wishes: 1,
};

/// Two controllers and everybody else in any order, and one disturbance among the tasks and one from the cutover to the end of Watch.
#[test]
fn a_release_survives_every_order_of_events() {
    let windows = WINDOWS.into_iter().zip([1, 0, 1, 0]).collect::<Vec<_>>();
    let met = campaign(&windows, TWICE, 1);
    let steps = [
        "Planned",
        "Prepare",
        "Expand",
        "Preboot",
        "Cutover",
        "Watch",
        "Retire",
        "Complete",
        "Failed",
        "RolledBack",
        "the new side died while the old one was being ended",
    ];
    assert!(
        steps.iter().all(|step| met.contains(step)),
        "only {met:?} was met"
    );
}

/// As many disturbances in each window as `SLIPWAY_MODEL_DISTURBANCES` says: for all of them, as in `1`, or for
/// each, as in `0,0,0,1`. Without it one in each.
#[test]
#[ignore = "cargo campaign"]
fn a_release_survives_whatever_goes_wrong_in_each_of_its_windows() {
    let asked = std::env::var("SLIPWAY_MODEL_DISTURBANCES").unwrap_or_else(|_| "1".to_owned());
    let each: Vec<u8> = asked
        .split(',')
        .map(|all| all.parse().expect("a number of disturbances"))
        .collect();
    let windows: Vec<_> = WINDOWS.into_iter().zip(each.into_iter().cycle()).collect();
    let met = campaign(&windows, TWICE, 1);
    if windows.iter().all(|(_, all)| *all > 0) {
        assert_eq!(met, to_meet(), "every step and every way out is met");
    }
}
