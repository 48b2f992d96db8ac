//! C6: wall clocks that are wrong, and differ between two leaders.

use jiff::SignedDuration;

use super::{
    super::{
        super::{server::faults::Moment, world::World},
        run::Plan,
    },
    Campaign, References, SEED, crashes, writes,
};

/// Seconds ahead of, or behind, the other process.
const SKEWS: [i64; 6] = [-600, -60, -3, 3, 60, 3600];

/// The second process has another idea of the time.
pub(super) const SKEWED: Campaign = Campaign {
    name: "C6",
    about: "the clock of the second leader goes before or after, taking over at every write",
    plans: skewed,
};

fn skewed(references: &References) -> Vec<Plan> {
    let mut plans = Vec::new();
    for (scenario, reference) in references.all() {
        for write in 0..writes(reference) {
            for skew in SKEWS {
                let trouble = format!("takeover at write {write} by a clock {skew} s ahead");
                let mut plan = Plan::peaceful(scenario, SEED).with(trouble, move |world: &mut World| {
                    crashes::crash(world, 0, write, Moment::AfterApply);
                });
                plan.skew = SignedDuration::from_secs(skew);
                plan.helped = true;
                plans.push(plan);
            }
        }
    }
    plans
}
