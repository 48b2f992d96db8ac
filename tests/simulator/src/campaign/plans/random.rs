//! C11: as many random runs as the time allows, each with a handful of troubles.

use slipway_judge::past::CONTROLLER;
use slipway_kubernetes::random::Random;
use std::time::Duration;

use super::{Campaign, References, watches::WATCHED};
use crate::{
    campaign::{
        plan::{Plan, Trouble},
        scenes,
    },
    cluster::Lag,
    server::faults::{self, Fault, Moment},
    world::World,
};

/// Runs of a full campaign.
const RUNS: u64 = 20_000;
/// The most troubles of a run.
const TROUBLES: u64 = 5;

/// Random runs.
pub(super) const SOAK: Campaign = Campaign {
    name: "C11",
    about: "random runs with up to five troubles each",
    plans: soak,
};

/// Scenarios in which a person steers on the way. Who hears it late has done more by then, so that these come to
/// different ends.
const SPOKEN: [&str; 3] = [
    scenes::ABORTED.name,
    scenes::NEWER_SPEC.name,
    scenes::DELETED.name,
];

fn soak(_: &References) -> Vec<Plan> {
    (1..=RUNS).map(plan).collect()
}

/// One random run.
fn plan(seed: u64) -> Plan {
    let mut random = Random::new(seed ^ 0x5eed);
    let scenario = *random.pick(&scenes::ALL);
    let count = 1 + random.below(TROUBLES);
    let mut troubles = Random::new(seed ^ 0x7201_ab1e);
    let troubles = (0..count).map(|_| trouble(&mut troubles)).collect();
    let mut plan =
        Plan::without_faults(scenario, seed).with_all(format!("{count} random troubles"), troubles);
    plan.processes = 1 + usize::from(random.chance(1, 2));
    plan.helped = true;
    plan.free = SPOKEN.contains(&scenario.name);
    plan
}

/// Draws one trouble.
fn trouble(random: &mut Random) -> Trouble {
    let process = random.below(2);
    let actor = format!("{CONTROLLER}{process}");
    let call = usize::try_from(random.below(150)).expect("a small number");
    let fault = match random.below(6) {
        0 => Fault::Crash(*random.pick(&[Moment::BeforeSend, Moment::AfterApply, Moment::AfterReply])),
        1 | 2 => random.pick(&faults::usual()).1.clone(),
        3 => Fault::Late(Duration::from_secs(1 + random.below(40))),
        4 => Fault::Stopped {
            sent: random.chance(1, 2),
            lasts: Duration::from_secs(1 + random.below(60)),
        },
        _ => return late(actor, random),
    };
    Trouble::new(
        format!("{fault:?} at call {call} of {actor}"),
        move |world: &mut World| {
            world.cluster().faults.at_call(&actor, call, fault.clone());
        },
    )
}

/// A watch that is late.
fn late(actor: String, random: &mut Random) -> Trouble {
    let kind = *random.pick(&WATCHED);
    let by = Duration::from_millis(random.below(20_000));
    Trouble::new(
        format!("{kind:?} {by:?} late for {actor}"),
        move |world: &mut World| {
            let actor = actor.as_str().into();
            world.cluster().lags.insert((actor, kind), Lag::Delay(by));
        },
    )
}
