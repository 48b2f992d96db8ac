//! C4 and C5: every call meets every fault, once or until it is healed.

use std::time::Duration;

use jiff::SignedDuration;
use slipway_judge::{calls::Call, past::CONTROLLER};
use slipway_kubernetes::search::SearchFault;

use super::{Campaign, References, SEED, is_write};
use crate::{
    campaign::{plan::Plan, run::Record, scenes},
    server::faults::{self, Fault},
    world::World,
};

/// How long a lasting fault lasts.
const LASTS: Duration = Duration::from_secs(100);

/// Every call meets every fault once.
pub(super) const ONCE: Campaign = Campaign {
    name: "C4",
    about: "sixteen faults on every call, four on every request to the search engine",
    plans: once,
};

/// Every write fails for a while, and then not any more.
pub(super) const LASTING: Campaign = Campaign {
    name: "C5",
    about: "a fault of every write that lasts and is healed",
    plans: lasting,
};

fn once(references: &References) -> Vec<Plan> {
    let mut plans = Vec::new();
    for (scenario, reference) in references.all() {
        for (name, fault) in faults::usual() {
            for (index, call) in reference.calls.iter().take(reference.until_end).enumerate() {
                let about_watch = matches!(fault, Fault::Watch(_));
                if about_watch != (call.verb == "watch") && about_watch {
                    continue;
                }
                let fault = fault.clone();
                let mut plan = Plan::without_faults(scenario, SEED).with(
                    format!("{name} at call {index}"),
                    move |world: &mut World| {
                        let actor = format!("{CONTROLLER}0");
                        world.cluster().faults.at_call(&actor, index, fault.clone());
                    },
                );
                plan.helped = true;
                plans.push(plan);
            }
        }
        plans.extend(search(scenario, reference));
    }
    plans
}

/// The same for the search engine.
fn search(scenario: super::Scenario, reference: &Record) -> impl Iterator<Item = Plan> {
    let fates = [
        ("not sent", SearchFault::NotSent),
        ("lost", SearchFault::Lost { applied: false }),
        ("lost when applied", SearchFault::Lost { applied: true }),
        (
            "503",
            SearchFault::Answer(503, serde_json::json!({"error": "all shards failed"})),
        ),
    ];
    let count = reference.asked;
    (0..count).flat_map(move |index| {
        fates.clone().into_iter().map(move |(name, fate)| {
            let trouble = format!("{name} at request {index} to the search engine");
            let mut plan = Plan::without_faults(scenario, SEED).with(trouble, move |world: &mut World| {
                let fates = &mut world.cluster().search.fates;
                fates.extend((0..index).map(|_| None));
                fates.push_back(Some(fate.clone()));
            });
            plan.helped = true;
            plan
        })
    })
}

fn lasting(references: &References) -> Vec<Plan> {
    let mut plans = Vec::new();
    let wanted = [
        "409 conflict",
        "403",
        "422",
        "500",
        "504 applied",
        "timeout",
        "reset after",
    ];
    for (scenario, reference) in references.all() {
        for (name, fault) in faults::usual()
            .into_iter()
            .filter(|(name, _)| wanted.contains(name))
        {
            for write in distinct(&reference.calls) {
                let (fault, write) = (fault.clone(), write.clone());
                let trouble = format!("lasting {name} at {} {} {}", write.0, write.1, write.2);
                let mut plan =
                    Plan::without_faults(scenario, SEED).with(trouble, move |world: &mut World| {
                        fail_for_a_while(world, &write, &fault);
                    });
                plan.helped = true;
                // The time for the boot may pass while nothing can be booted.
                plan.free = scenario.name == scenes::NEVER_READY.name;
                plans.push(plan);
            }
        }
    }
    plans
}

/// A write, by verb, path, and number among the writes of that verb and path.
type Place = (String, String, usize);

/// The writes of a run.
fn distinct(calls: &[Call]) -> Vec<Place> {
    let mut places: Vec<Place> = Vec::new();
    for call in calls.iter().filter(|call| is_write(call)) {
        let same = |place: &&Place| place.0 == call.verb && place.1 == call.path;
        let number = places.iter().filter(same).count();
        places.push((call.verb.to_owned(), call.path.clone(), number));
    }
    places
}

/// This write, and every one like it, fails from its first try on, until healed.
fn fail_for_a_while(world: &mut World, (verb, path, number): &Place, fault: &Fault) {
    let (verb, path, number, fault) = (verb.clone(), path.clone(), *number, fault.clone());
    let lasts = SignedDuration::try_from(LASTS).expect("a short time");
    let mut seen = 0;
    let mut started = None;
    let rule = move |call: &Call| {
        if call.verb != verb || call.path != path {
            return None;
        }
        seen += 1;
        if seen <= number {
            return None;
        }
        let started = *started.get_or_insert(call.at);
        (call.at.duration_since(started) < lasts).then(|| fault.clone())
    };
    world.cluster().faults.rule("lasting", rule);
}
