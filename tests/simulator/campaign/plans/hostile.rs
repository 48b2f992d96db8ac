//! C8 and C9: people and strangers meddle in every step, and change their minds.

use std::time::Duration;

use serde_json::{Value, json};

use super::{
    super::{
        super::{
            cluster::Cluster,
            fields,
            kind::Kind,
            store::{Key, Propagation},
            users::Kubectl,
            world::World,
        },
        run::Plan,
        scenario::{self, Scenario},
        scenes,
    },
    Campaign, References, SEED,
};

/// Strangers harm what a release is made of, at every moment of it.
pub(super) const CHILDREN: Campaign = Campaign {
    name: "C8",
    about: "pods, Jobs, ReplicaSets and indices deleted, evicted, scaled and taken at every moment",
    plans: children,
};

/// A field of the spec goes from A to B and back, at every moment.
pub(super) const SPEC: Campaign = Campaign {
    name: "C9",
    about: "fields of the spec changed and changed back at every moment",
    plans: spec,
};

/// What a stranger does.
type Harm = fn(&mut Cluster);

const HARMS: [(&str, Harm); 13] = [
    ("an old pod deleted", |cluster| delete_pods(cluster, "shop:1", 1)),
    ("a new pod deleted", |cluster| delete_pods(cluster, "shop:2", 1)),
    ("all old pods deleted", |cluster| {
        delete_pods(cluster, "shop:1", 9);
    }),
    ("all new pods deleted", |cluster| {
        delete_pods(cluster, "shop:2", 9);
    }),
    ("the old ReplicaSet deleted", |cluster| {
        delete_set(cluster, "shop:1");
    }),
    ("the new ReplicaSet deleted", |cluster| {
        delete_set(cluster, "shop:2");
    }),
    ("the Jobs deleted", delete_jobs),
    ("the task pods evicted", evict_tasks),
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
        for at in moments(reference.lasted) {
            for (word, harm) in HARMS {
                let trouble = format!("{word} at {} ms", at.as_millis());
                let mut plan = Plan::peaceful(scenario, SEED).with(trouble, move |world: &mut World| {
                    world.after(at, harm);
                });
                plan.scenario.end = anywhere;
                plan.helped = true;
                plan.harmed = true;
                plans.push(plan);
            }
        }
    }
    plans
}

/// What may change in a spec, and back: a patch, and the patch that undoes it.
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

fn spec(references: &References) -> Vec<Plan> {
    let mut plans = Vec::new();
    for (scenario, reference) in references.all().filter(|(scenario, _)| scenario.name == "plain") {
        for at in moments(reference.lasted) {
            for wait in [1, 4, 20] {
                for (word, there, back) in changes() {
                    let trouble = format!("{word} changed at {} ms and back after {wait} s", at.as_millis());
                    let mut plan = Plan::peaceful(scenario, SEED).with(trouble, move |world: &mut World| {
                        edit(world, at, &there);
                        edit(world, at + Duration::from_secs(wait), &back);
                    });
                    plan.scenario.end = version_two;
                    plan.helped = true;
                    plan.free = true;
                    plans.push(plan);
                }
            }
        }
    }
    plans
}

fn edit(world: &mut World, at: Duration, spec: &Value) {
    let patch = json!({"spec": spec});
    world.after(at, move |cluster| {
        let patched = Kubectl::new(cluster, "user").patch(Kind::Release, "shop", patch);
        drop(patched.expect("a person may change a Release"));
    });
}

fn among(scenario: &Scenario) -> bool {
    [scenes::PLAIN.name, scenes::WHOLE.name, scenes::ASKED_BACK.name].contains(&scenario.name)
}

/// The moments of a run that are tried: close to each other in a short one.
fn moments(lasted: Duration) -> impl Iterator<Item = Duration> {
    let step = Duration::from_millis(if lasted > Duration::from_mins(1) {
        7_100
    } else {
        430
    });
    (1..)
        .map(move |number| step * number)
        .take_while(move |at| *at <= lasted)
}

/// Any end that explains itself.
fn anywhere(world: &World) -> bool {
    ["Complete", "Failed", "RolledBack", "Aborted"]
        .iter()
        .any(|phase| scenario::at(world, 2, phase))
}

/// Version 2 is there in the end, or something explains why not.
fn version_two(world: &World) -> bool {
    let release = scenario::release(world);
    let current = fields::count(&release, "/status/observedGeneration")
        == fields::count(&release, "/metadata/generation");
    let phase = fields::text(&release, "/status/phase");
    current
        && fields::count(&release, "/status/revision/number") >= 2
        && fields::text(&release, "/spec/image") == "shop:2"
        && fields::text(&release, "/status/revision/image") == "shop:2"
        && ["Complete", "Aborted", "RolledBack", "Failed"].contains(&phase)
}

fn delete(cluster: &mut Cluster, key: &Key) {
    let mut kubectl = Kubectl::new(cluster, "stranger");
    drop(kubectl.delete(key.kind, &key.name, Propagation::Background));
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
        delete(cluster, &pod);
    }
}

fn delete_set(cluster: &mut Cluster, image: &str) {
    let sets = keys(cluster, Kind::ReplicaSet, |set| {
        fields::text(set, "/spec/template/spec/containers/0/image") == image
            && fields::label(set, "app") == "web"
    });
    for set in sets {
        delete(cluster, &set);
    }
}

fn delete_jobs(cluster: &mut Cluster) {
    for job in keys(cluster, Kind::Job, |_| true) {
        delete(cluster, &job);
    }
}

fn evict_tasks(cluster: &mut Cluster) {
    let pods = keys(cluster, Kind::Pod, |pod| {
        !fields::label(pod, "slipway.dev/step").is_empty()
    });
    for pod in pods {
        drop(Kubectl::new(cluster, "stranger").evict(&pod.name));
    }
}

fn scale(cluster: &mut Cluster, replicas: i64) {
    drop(Kubectl::new(cluster, "stranger").scale("web", replicas));
}
