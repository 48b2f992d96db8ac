//! C9: people change their minds: every field of the spec goes from A to B and back, at every moment.

mod fields_of;

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use serde_json::{Value, json};
use slipway_kubernetes::{
    fields,
    kind::Kind,
    store::{Caller, Key, Part},
    users::Kubectl,
};

use self::fields_of::{Field, fields_of};

use super::{Campaign, References, SEED, hostile::moments};
use crate::{
    campaign::{plan::Plan, scenario, scenes},
    cluster::Cluster,
    world::World,
};

/// Every field goes from A to B and back.
pub(super) const WALK: Campaign = Campaign {
    name: "C9",
    about: "every field of the spec changed and changed back at every moment",
    plans: walk,
};

/// How long a change lasts in a short run, in seconds.
const WAITS: [u64; 3] = [1, 4, 20];
/// How long it lasts in a long one.
const WAIT: u64 = 9;
/// A revision that was overtaken is followed by the next one within this time.
const LASTING: Duration = Duration::from_secs(20);
/// The moments of a long run are so many of those that a stranger has.
const EVERY: usize = 3;

fn walk(references: &References) -> Vec<Plan> {
    let mut plans = Vec::new();
    for (scenario, reference) in references.all() {
        if scenario.name == scenes::PLAIN.name {
            for at in moments(reference.lasted) {
                for wait in WAITS {
                    plans.extend(changes().into_iter().map(|(word, there, back)| {
                        let trouble =
                            format!("{word} changed at {} ms and back after {wait} s", at.as_millis());
                        of_mind(scenario, trouble, at + Duration::from_secs(wait), move |world| {
                            edit(world, at, &there);
                            edit(world, at + Duration::from_secs(wait), &back);
                        })
                    }));
                }
            }
        }
        // The scenario that has something in every part of its spec.
        if scenario.name == scenes::WHOLE.name {
            for at in moments(reference.lasted).step_by(EVERY) {
                plans.extend(fields_of().into_iter().map(|field| {
                    let trouble = format!("{} changed at {} ms and back", field.path(), at.as_millis());
                    let back = at + Duration::from_secs(WAIT);
                    of_mind(scenario, trouble, back, move |world| {
                        there_and_back(world, at, &field);
                    })
                }));
            }
        }
    }
    plans
}

fn of_mind(
    scenario: scenario::Scenario,
    trouble: String,
    back: Duration,
    arrange: impl Fn(&mut World) + Send + Sync + 'static,
) -> Plan {
    let mut plan = Plan::without_faults(scenario, SEED).with(trouble, arrange);
    plan.scenario.end = version_two;
    plan.earliest = back;
    plan.lasting = LASTING;
    plan.helped = true;
    plan.free = true;
    plan
}

/// A field is changed, and a while later the part of the spec that it is in is put back.
fn there_and_back(world: &mut World, at: Duration, field: &Field) {
    let before: Arc<Mutex<Option<Value>>> = Arc::default();
    let (kept, there, back) = (Arc::clone(&before), field.clone(), field.clone());
    world.after(at, move |cluster| {
        write(cluster, |spec| {
            let top = spec.get(there.top()).cloned();
            *kept.lock().unwrap_or_else(PoisonError::into_inner) = top;
            there.change(spec);
        });
    });
    world.after(at + Duration::from_secs(WAIT), move |cluster| {
        let before = before.lock().unwrap_or_else(PoisonError::into_inner).take();
        write(cluster, |spec| match before {
            Some(value) => spec[back.top()] = value,
            None => drop(fields::remove(spec, &format!("/{}", back.top()))),
        });
    });
}

fn write(cluster: &mut Cluster, change: impl FnOnce(&mut Value)) {
    let (caller, key) = (Caller::new("user"), Key::new(Kind::Release, "default", "shop"));
    let written = cluster
        .store
        .modify(&caller, &key, Part::Main, |object| change(&mut object["spec"]));
    drop(written.expect("a person may change a Release"));
}

/// What is changed in a short run: a patch, and the patch that undoes it.
fn changes() -> Vec<(&'static str, Value, Value)> {
    vec![
        ("image", json!({"image": "shop:3"}), json!({"image": "shop:2"})),
        (
            "old image",
            json!({"image": "shop:1"}),
            json!({"image": "shop:2"}),
        ),
        ("suspend", json!({"suspend": true}), json!({"suspend": false})),
        ("history", json!({"history": 2}), json!({"history": null})),
        (
            "watch",
            json!({"watch": {"for": "1m"}}),
            json!({"watch": {"for": "10s"}}),
        ),
        (
            "preboot",
            json!({"preboot": {"minimumWait": "20s"}}),
            json!({"preboot": {"minimumWait": "5s"}}),
        ),
        (
            "prepare",
            json!({"prepare": [{"name": "more", "command": ["rake", "more"]}]}),
            json!({"prepare": null}),
        ),
        (
            "services",
            json!({"workloads": [{"name": "web", "deployment": "web", "services": ["web"], "leave": ["other"]}]}),
            json!({"workloads": [{"name": "web", "deployment": "web", "services": ["web"]}]}),
        ),
    ]
}

fn edit(world: &mut World, at: Duration, spec: &Value) {
    let patch = json!({"spec": spec});
    world.after(at, move |cluster| {
        let patched = Kubectl::new(cluster, "user").patch(Kind::Release, "shop", patch);
        drop(patched.expect("a person may change a Release"));
    });
}

/// Version 2 is there in the end, or something explains why not.
fn version_two(world: &World) -> bool {
    let release = scenario::release(world);
    let current = fields::count(&release, "/status/observedGeneration")
        == fields::count(&release, "/metadata/generation");
    let phase = fields::text(&release, "/status/phase");
    // What is pending becomes a revision at once, and one that was overtaken may still be cleaned up.
    current
        && !fields::is_true(&release, "Reconciling")
        && !fields::has(&release, "/status/pending")
        && fields::count(&release, "/status/revision/number") >= 2
        && fields::text(&release, "/spec/image") == "shop:2"
        && fields::text(&release, "/status/revision/image") == "shop:2"
        && ["Complete", "Aborted", "RolledBack", "Failed"].contains(&phase)
}
