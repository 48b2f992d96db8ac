//! C8: people and strangers meddle in every step.

use std::time::Duration;

use serde_json::{Value, json};
use slipway_kubernetes::{
    fields,
    kind::Kind,
    store::{Caller, DeleteOptions, Key, Propagation},
    users::Kubectl,
};

use super::{Campaign, References, SEED, is_write, meddle, refusals, writes};
use crate::{
    campaign::{
        plan::Plan,
        run::Record,
        scenario::{self, Scenario},
        scenes,
    },
    cluster::Cluster,
    world::World,
};

/// Strangers harm what a release is made of, at every moment of it and just before every write.
pub(super) const CHILDREN: Campaign = Campaign {
    name: "C8",
    about: "what a release is made of deleted, edited, orphaned, taken and refused, at every moment and every write",
    plans: children,
};

/// What a stranger does.
type Harm = fn(&mut Cluster);

const HARMS: [(&str, Harm); 30] = [
    ("an old pod deleted", |cluster| delete_pods(cluster, "shop:1", 1)),
    ("a new pod deleted", |cluster| delete_pods(cluster, "shop:2", 1)),
    ("all old pods deleted", |cluster| {
        delete_pods(cluster, "shop:1", 9);
    }),
    ("all new pods deleted", |cluster| {
        delete_pods(cluster, "shop:2", 9);
    }),
    ("the old ReplicaSet deleted", |cluster| {
        delete_all(cluster, Kind::ReplicaSet, old, Propagation::Background);
    }),
    ("the new ReplicaSet deleted", |cluster| {
        delete_all(cluster, Kind::ReplicaSet, new, Propagation::Background);
    }),
    ("the old ReplicaSet orphaned", |cluster| {
        delete_all(cluster, Kind::ReplicaSet, old, Propagation::Orphan);
    }),
    ("the new ReplicaSet orphaned", |cluster| {
        delete_all(cluster, Kind::ReplicaSet, new, Propagation::Orphan);
    }),
    ("the old ReplicaSet without its bolt", |cluster| {
        edit(
            cluster,
            Kind::ReplicaSet,
            old,
            &json!({"spec": {"minReadySeconds": 0}}),
        );
    }),
    ("the new ReplicaSet scaled to 1", |cluster| {
        edit(cluster, Kind::ReplicaSet, new, &json!({"spec": {"replicas": 1}}));
    }),
    ("the Deployment deleted", |cluster| {
        delete_all(cluster, Kind::Deployment, web, Propagation::Background);
    }),
    ("the Deployment orphaned", |cluster| {
        delete_all(cluster, Kind::Deployment, web, Propagation::Orphan);
    }),
    ("the Deployment restarted", |cluster| {
        drop(Kubectl::new(cluster, "stranger").restart("web"));
    }),
    ("the Deployment without its labels", |cluster| {
        edit(cluster, Kind::Deployment, web, &unlabelled());
    }),
    ("the Service deleted", |cluster| {
        delete_all(cluster, Kind::Service, web, Propagation::Background);
    }),
    ("the Service without its labels", |cluster| {
        edit(cluster, Kind::Service, web, &unlabelled());
    }),
    ("the EndpointSlices deleted", |cluster| {
        delete_all(cluster, Kind::EndpointSlice, |_| true, Propagation::Background);
    }),
    ("the Jobs deleted", |cluster| {
        delete_all(cluster, Kind::Job, |_| true, Propagation::Background);
    }),
    ("the Jobs orphaned", |cluster| {
        delete_all(cluster, Kind::Job, |_| true, Propagation::Orphan);
    }),
    ("the Jobs without their labels", |cluster| {
        edit(cluster, Kind::Job, |_| true, &unlabelled());
    }),
    ("the Jobs suspended", |cluster| {
        edit(cluster, Kind::Job, |_| true, &json!({"spec": {"suspend": true}}));
    }),
    ("the Jobs resumed", |cluster| {
        edit(cluster, Kind::Job, |_| true, &json!({"spec": {"suspend": false}}));
    }),
    ("the task pods evicted", evict_tasks),
    ("the task pods without their labels", |cluster| {
        edit(cluster, Kind::Pod, task, &unlabelled());
    }),
    ("the finalizers removed", |cluster| {
        let none = json!({"metadata": {"finalizers": null}});
        edit(cluster, Kind::Pod, task, &none);
        edit(cluster, Kind::Release, |_| true, &none);
    }),
    ("scaled to 5", |cluster| scale(cluster, 5)),
    ("scaled to 1", |cluster| scale(cluster, 1)),
    ("resumed", |cluster| {
        drop(Kubectl::new(cluster, "stranger").resume("web"));
    }),
    ("the Service's pin removed", |cluster| {
        let patch = json!({"spec": {"selector": {"pod-template-hash": null}}});
        drop(Kubectl::new(cluster, "stranger").patch(Kind::Service, "web", patch));
    }),
    ("the history forgotten", |cluster| cluster.store.compact()),
];

fn children(references: &References) -> Vec<Plan> {
    let mut plans = Vec::new();
    for (scenario, reference) in references.all().filter(|(scenario, _)| among(scenario)) {
        for (word, harm) in HARMS {
            for at in moments(reference.lasted) {
                let trouble = format!("{word} at {} ms", at.as_millis());
                let mut plan = harmed(scenario, trouble, move |world| world.after(at, harm));
                plan.earliest = at;
                plans.push(plan);
            }
            for write in 0..writes(reference) {
                let trouble = format!("{word} at write {write}");
                plans.push(harmed(scenario, trouble, move |world| {
                    meddle(world, write, word, harm);
                }));
            }
        }
        plans.extend(taken(scenario, reference));
        plans.extend(dying(scenario, reference));
        plans.extend(crowded(scenario, reference));
        plans.extend(refusals::of_scenario(scenario, reference));
    }
    plans
}

/// A run in which a stranger does harm: any end that explains itself is a good one.
fn harmed(scenario: Scenario, trouble: String, arrange: impl Fn(&mut World) + Send + Sync + 'static) -> Plan {
    let mut plan = Plan::without_faults(scenario, SEED).with(trouble, arrange);
    plan.scenario.end = anywhere;
    plan.helped = true;
    plan.harmed = true;
    plan
}

/// A stranger has a Job of the name of each Job: since the beginning, or since a moment ago.
fn taken(scenario: Scenario, reference: &Record) -> Vec<Plan> {
    let own = reference.calls.iter().filter(|call| is_write(call)).enumerate();
    let jobs = own.filter(|(_, call)| call.verb == "create" && call.kind == Some(Kind::Job));
    let plans = jobs.flat_map(|(write, call)| {
        let (early, late) = (call.name.clone(), call.name.clone());
        [
            harmed(
                scenario,
                format!("the name {early} taken from the beginning"),
                move |world| take(&mut world.cluster(), &early),
            ),
            harmed(
                scenario,
                format!("the name {late} taken at write {write}"),
                move |world| {
                    let name = late.clone();
                    meddle(world, write, "its name taken", move |cluster| {
                        take(cluster, &name);
                    });
                },
            ),
        ]
    });
    plans.collect()
}

fn take(cluster: &mut Cluster, name: &str) {
    let job = json!({
        "apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name},
        "spec": {"template": {"spec": {
            "restartPolicy": "Never",
            "containers": [{"name": "main", "image": "other:1", "command": ["true"]}],
        }}},
    });
    drop(Kubectl::new(cluster, "stranger").create(&job));
}

/// The whole namespace is deleted.
fn dying(scenario: Scenario, reference: &Record) -> impl Iterator<Item = Plan> {
    (0..writes(reference)).map(move |write| {
        let trouble = format!("the namespace deleted at write {write}");
        let mut plan = harmed(scenario, trouble, move |world| {
            meddle(world, write, "the namespace deleted", |cluster| {
                let (caller, key) = (Caller::new("stranger"), Key::new(Kind::Namespace, "", "default"));
                drop(cluster.store.delete(&caller, &key, &DeleteOptions::background()));
            });
        });
        plan.scenario.end = |world| {
            world
                .cluster()
                .store
                .find(Kind::Namespace, "", "default")
                .is_none()
        };
        plan
    })
}

/// Seconds for which a quota leaves no room for another pod.
const CROWDED: [u64; 2] = [20, 150];

/// A quota lets no new pod in for a while.
fn crowded(scenario: Scenario, reference: &Record) -> impl Iterator<Item = Plan> {
    let moments: Vec<_> = moments(reference.lasted).collect();
    moments.into_iter().flat_map(move |at| {
        CROWDED.iter().map(move |seconds| {
            let until = at + Duration::from_secs(*seconds);
            let trouble = format!("no room for pods for {seconds} s at {} ms", at.as_millis());
            let mut plan = harmed(scenario, trouble, move |world| {
                world.after(at, |cluster| {
                    cluster.store.pod_quota.insert("default".to_owned(), 0);
                });
                world.after(until, |cluster| cluster.store.pod_quota.clear());
            });
            plan.earliest = until;
            plan
        })
    })
}

fn among(scenario: &Scenario) -> bool {
    [scenes::PLAIN.name, scenes::WHOLE.name, scenes::ASKED_BACK.name].contains(&scenario.name)
}

/// The moments of a run that are tried: close to each other in a short one.
pub(super) fn moments(lasted: Duration) -> impl Iterator<Item = Duration> {
    let step = Duration::from_millis(if lasted > Duration::from_mins(1) {
        7_100
    } else {
        430
    });
    (1..)
        .map(move |number| step * number)
        .take_while(move |at| *at <= lasted)
}

/// What only a person can put right.
const FOR_PEOPLE: [&str; 4] = [
    "DeploymentMissing",
    "WorkloadMissing",
    "ServiceMissing",
    "ForeignJob",
];

/// Any end that explains itself.
fn anywhere(world: &World) -> bool {
    let release = scenario::release(world);
    let stalled = fields::condition(&release, "Stalled");
    stalled.is_some_and(|stalled| FOR_PEOPLE.contains(&fields::text(stalled, "/reason")))
        || ["Complete", "Failed", "RolledBack", "Aborted"]
            .iter()
            .any(|phase| scenario::at(world, 2, phase))
}

/// Labels of ours that a stranger takes away.
fn unlabelled() -> Value {
    let labels = [
        "window",
        "claim",
        "release",
        "release-uid",
        "step",
        "task",
        "attempt",
        "revision",
    ];
    let none: serde_json::Map<String, Value> = labels
        .iter()
        .map(|label| (format!("slipway.dev/{label}"), Value::Null))
        .collect();
    json!({"metadata": {"labels": none}})
}

fn image_of(set: &Value) -> &str {
    fields::text(set, "/spec/template/spec/containers/0/image")
}

fn old(set: &Value) -> bool {
    image_of(set) == "shop:1" && fields::label(set, "app") == "web"
}

fn new(set: &Value) -> bool {
    image_of(set) == "shop:2" && fields::label(set, "app") == "web"
}

fn web(object: &Value) -> bool {
    fields::name(object) == "web"
}

fn task(pod: &Value) -> bool {
    !fields::label(pod, "slipway.dev/step").is_empty()
}

fn delete_all(cluster: &mut Cluster, kind: Kind, wanted: fn(&Value) -> bool, cascade: Propagation) {
    for key in keys(cluster, kind, wanted) {
        drop(Kubectl::new(cluster, "stranger").delete(kind, &key.name, cascade));
    }
}

fn edit(cluster: &mut Cluster, kind: Kind, wanted: fn(&Value) -> bool, patch: &Value) {
    for key in keys(cluster, kind, wanted) {
        drop(Kubectl::new(cluster, "stranger").patch(kind, &key.name, patch.clone()));
    }
}

fn keys(cluster: &Cluster, kind: Kind, wanted: impl Fn(&Value) -> bool) -> Vec<Key> {
    let objects = cluster.store.list(kind, Some("default"));
    objects
        .filter(|(_, object)| wanted(object))
        .map(|(key, _)| key.clone())
        .collect()
}

fn delete_pods(cluster: &mut Cluster, image: &str, most: usize) {
    let pods = keys(cluster, Kind::Pod, |pod| {
        fields::text(pod, "/spec/containers/0/image") == image && fields::label(pod, "app") == "web"
    });
    for pod in pods.into_iter().take(most) {
        drop(Kubectl::new(cluster, "stranger").delete(Kind::Pod, &pod.name, Propagation::Background));
    }
}

fn evict_tasks(cluster: &mut Cluster) {
    for pod in keys(cluster, Kind::Pod, task) {
        drop(Kubectl::new(cluster, "stranger").evict(&pod.name));
    }
}

fn scale(cluster: &mut Cluster, replicas: i64) {
    drop(Kubectl::new(cluster, "stranger").scale("web", replicas));
}
