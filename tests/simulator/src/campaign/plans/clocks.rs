//! C6: wall clocks that are wrong, differ between two leaders, and get wrong while a process runs.

use std::time::Duration;

use jiff::SignedDuration;
use slipway_judge::past::CONTROLLER;

use super::{Campaign, References, SEED, at_write, crashes, writes};
use crate::{
    campaign::{plan::Plan, scenario::Scenario, scenes},
    server::faults::Moment,
    wall::Wall,
    world::World,
};

/// Seconds ahead of, or behind, the other process.
const SKEWS: [i64; 6] = [-600, -60, -3, 3, 60, 3600];

/// The second process has another idea of the time.
pub(super) const SKEWED: Campaign = Campaign {
    name: "C6",
    about: "clocks that are wrong when another leader takes over, or jump, stop or hurry at every write",
    plans: clocks,
};

/// What happens to a clock, and how much longer the run may take.
type Wrong = (&'static str, fn(&Wall), Duration);

const WRONGS: [Wrong; 6] = [
    (
        "goes back an hour",
        |wall| wall.jump(SignedDuration::from_hours(-1)),
        Duration::from_mins(65),
    ),
    (
        "goes back 10 minutes",
        |wall| wall.jump(SignedDuration::from_mins(-10)),
        Duration::from_mins(12),
    ),
    (
        "goes on 10 minutes",
        |wall| wall.jump(SignedDuration::from_mins(10)),
        Duration::ZERO,
    ),
    (
        "goes on an hour",
        |wall| wall.jump(SignedDuration::from_hours(1)),
        Duration::ZERO,
    ),
    (
        "stops for 2 minutes",
        |wall| wall.run_at(0, Duration::from_mins(2)),
        Duration::from_mins(3),
    ),
    (
        "goes twice as fast",
        |wall| wall.run_at(2, Duration::from_hours(1)),
        Duration::ZERO,
    ),
];

/// Whether its end is that of a time which may be over, by a wrong clock, before anything was begun: for the boot of
/// new pods, or for the start of a task.
fn runs_out(scenario: &Scenario) -> bool {
    [
        scenes::NEVER_READY.name,
        scenes::MIGRATION_FAILS.name,
        scenes::ABORTED.name,
        scenes::NEWER_SPEC.name,
    ]
    .contains(&scenario.name)
}

fn clocks(references: &References) -> Vec<Plan> {
    let mut plans = Vec::new();
    for (scenario, reference) in references.all() {
        for write in 0..writes(reference) {
            for skew in SKEWS {
                let trouble = format!("takeover at write {write} by a clock {skew} s ahead");
                let mut plan =
                    Plan::without_faults(scenario, SEED).with(trouble, move |world: &mut World| {
                        crashes::crash(world, 0, write, Moment::AfterApply);
                    });
                plan.skew = SignedDuration::from_secs(skew);
                plan.free = skew > 0 && runs_out(&scenario);
                plan.timed = false;
                plan.helped = true;
                plans.push(plan);
            }
            for (word, bend, slack) in WRONGS {
                let trouble = format!("the clock {word} at write {write}");
                let mut plan =
                    Plan::without_faults(scenario, SEED).with(trouble, move |world: &mut World| {
                        let wall = world
                            .cluster()
                            .wall(&format!("{CONTROLLER}0"), SignedDuration::ZERO);
                        at_write(world, write, move |_| {
                            bend(&wall);
                            None
                        });
                    });
                plan.helped = true;
                plan.timed = false;
                plan.free = runs_out(&scenario);
                plan.slack = slack;
                // Another one waits for the Lease, which no wall clock may move.
                plan.processes = 2;
                plan.steady = true;
                plans.push(plan);
            }
        }
    }
    plans
}
