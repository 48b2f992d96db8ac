//! C7: the Lease is lost at a write, which arrives late, when somebody else leads already; the leader is stopped in
//! the middle of a write and wakes up; strangers take the Lease away.

use std::time::Duration;

use serde_json::{Value, json};
use slipway_judge::past::{CONTROLLER, LEASE};
use slipway_kubernetes::{
    kind::Kind,
    store::{Caller, DeleteOptions, Key, Part, Patch},
};

use super::{Campaign, References, SEED, at_write, is_write, meddle, writes};
use crate::{
    campaign::{plan::Plan, run::Record, scenario::Scenario},
    cluster::Cluster,
    controller::NAMESPACE,
    server::faults::Fault,
    world::World,
};

/// How long the write is on its way: less than the fence, about the Lease, longer than the Lease.
const LATE: [u64; 4] = [1, 9, 20, 60];
/// How long the leader is stopped.
const STOPPED: [u64; 4] = [1, 5, 15, 60];

/// Two processes; the first is in trouble with its Lease in the middle of a write.
pub(super) const LOST: Campaign = Campaign {
    name: "C7",
    about: "the Lease lost at every write, the leader stopped in it, strangers at the Lease; two processes",
    plans: lost,
};

/// What a stranger does, and what it is called.
type Harm = (&'static str, fn(&mut Cluster));

/// What strangers do to the Lease.
const STRANGERS: [Harm; 5] = [
    ("the Lease deleted", |cluster| {
        let caller = Caller::new("stranger");
        drop(
            cluster
                .store
                .delete(&caller, &lease(), &DeleteOptions::background()),
        );
    }),
    ("the Lease given to nobody", |cluster| {
        edit(cluster, &json!({"holderIdentity": ""}));
    }),
    ("the Lease given to a stranger", |cluster| {
        edit(cluster, &json!({"holderIdentity": "stranger"}));
    }),
    ("the Lease given to a stranger for a day", |cluster| {
        edit(
            cluster,
            &json!({"holderIdentity": "stranger", "leaseDurationSeconds": 86_400}),
        );
    }),
    ("the Lease emptied", |cluster| edit(cluster, &Value::Null)),
];

fn lease() -> Key {
    Key::new(Kind::Lease, NAMESPACE, LEASE)
}

fn edit(cluster: &mut Cluster, spec: &Value) {
    let (caller, patch) = (Caller::new("stranger"), Patch::Merge(json!({"spec": spec})));
    drop(cluster.store.patch(&caller, &lease(), &patch, Part::Main));
}

fn lost(references: &References) -> Vec<Plan> {
    let runs = references.all();
    runs.flat_map(|(scenario, reference)| of_scenario(scenario, reference))
        .collect()
}

fn of_scenario(scenario: Scenario, reference: &Record) -> Vec<Plan> {
    let mut plans = Vec::new();
    let mut push = |trouble: String, arrange: Box<dyn Fn(&mut World) + Send + Sync>| {
        let mut plan = Plan::without_faults(scenario, SEED).with(trouble, arrange);
        plan.processes = 2;
        plan.helped = true;
        plans.push(plan);
    };
    for write in 0..writes(reference) {
        for late in LATE {
            let trouble = format!("Lease lost at write {write}, which is {late} s late");
            let late = Duration::from_secs(late);
            push(trouble, Box::new(move |world| cut_off(world, write, late)));
        }
        for seconds in STOPPED {
            let lasts = Duration::from_secs(seconds);
            for (word, sent) in [("before", false), ("after", true)] {
                let trouble = format!("leader stopped for {seconds} s {word} it sends write {write}");
                push(trouble, Box::new(move |world| stop(world, write, sent, lasts)));
            }
        }
        for (what, act) in STRANGERS {
            push(
                format!("{what} at write {write}"),
                Box::new(move |world| meddle(world, write, what, act)),
            );
        }
    }
    plans
}

/// The leader is stopped as a whole in this write.
pub(in super::super) fn stop(world: &World, write: usize, sent: bool, lasts: Duration) {
    at_write(world, write, move |_| Some(Fault::Stopped { sent, lasts }));
}

/// From this write on, the leader's calls about the Lease are lost for a minute and a half, and the write itself is
/// on its way for long.
fn cut_off(world: &World, write: usize, late: Duration) {
    let mut leader = None;
    let mut seen = 0;
    let mut since = None;
    world.cluster().faults.rule("cut off", move |call| {
        if !call.actor.starts_with(CONTROLLER) {
            return None;
        }
        if let Some((actor, started)) = &since {
            let lease = call.kind == Some(Kind::Lease) && call.actor == *actor;
            let lasts = call.at.duration_since(*started).as_secs() < 90;
            return (lease && lasts).then_some(Fault::Silence { applied: false });
        }
        if !is_write(call) {
            return None;
        }
        let leader = leader.get_or_insert_with(|| call.actor.clone());
        if call.actor != *leader {
            return None;
        }
        seen += 1;
        if seen == write + 1 {
            since = Some((call.actor.clone(), call.at));
            return Some(Fault::Late(late));
        }
        None
    });
}
