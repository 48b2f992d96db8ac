//! C12: one Release that makes the controller panic, among a thousand that are as they should be.

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::Value;
use slipway_controller::context::{Engine, Planner};
use slipway_engine::{Decision, Intent, Observed, Progress};
use slipway_kubernetes::{fields, kind::Kind, store::Caller};

use super::{Campaign, References, SEED};
use crate::{
    campaign::{plan::Plan, scenario::Scenario, scenes},
    world::World,
};

/// The namespace of the one.
const POISON: &str = "poison";
/// The others.
const OTHERS: [usize; 2] = [20, 999];

/// One bad object never disturbs another.
pub(super) const PILL: Campaign = Campaign {
    name: "C12",
    about: "one Release that makes every look at it panic, among many",
    plans: pill,
};

fn pill(_: &References) -> Vec<Plan> {
    let runs = OTHERS.iter().map(|others| {
        let others = *others;
        let scenario = Scenario {
            end: all_but_one,
            ..scenes::PLAIN
        };
        let mut plan = Plan::without_faults(scenario, SEED).with(
            format!("one among {others}"),
            move |world: &mut World| {
                for number in 1..others {
                    neighbour(world, &format!("shop-{number}"));
                }
                neighbour(world, POISON);
            },
        );
        plan.planner = Arc::new(|| Box::new(Panicking));
        plan.free = true;
        // The bad one is tried again for ever, more and more rarely.
        plan.restless = true;
        plan
    });
    runs.collect()
}

/// The same shop in another namespace, with one pod that was never there: what counts is who gets a look.
fn neighbour(world: &World, namespace: &str) {
    let mut cluster = world.cluster();
    let user = Caller::new("user");
    let place = serde_json::json!({"metadata": {"name": namespace}});
    let made = cluster.store.create(&user, Kind::Namespace, "", place);
    drop(made.expect("a new namespace"));
    let objects = [
        (Kind::Deployment, scenes::deployment("web", 1)),
        (Kind::Service, scenes::service("web")),
        (Kind::Release, scenes::shop(&Value::Null)),
    ];
    for (kind, object) in objects {
        let made = cluster.store.create(&user, kind, namespace, object);
        drop(made.expect("a valid object"));
    }
}

/// Every Release but one was adopted, and the one that is upgraded is at its end.
fn all_but_one(world: &World) -> bool {
    if !(scenes::PLAIN.end)(world) {
        return false;
    }
    let cluster = world.cluster();
    let mut releases = cluster.store.list(Kind::Release, None);
    releases
        .all(|(key, release)| key.namespace == POISON || fields::text(release, "/status/phase") == "Complete")
}

/// Panics at one Release.
struct Panicking;

impl Planner for Panicking {
    fn decide(&self, intent: &Intent, committed: &Progress, observed: &Observed, now: Timestamp) -> Decision {
        assert!(intent.meta.namespace != POISON, "planted panic");
        Engine.decide(intent, committed, observed, now)
    }

    fn broken(
        &self,
        intent: &Intent,
        committed: &Progress,
        observed: &Observed,
        decision: &Decision,
    ) -> Vec<String> {
        Engine.broken(intent, committed, observed, decision)
    }
}
