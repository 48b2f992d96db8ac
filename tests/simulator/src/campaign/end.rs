//! The end of a run in a form that two runs can be compared by: no times, no identities, no generated names.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use slipway_judge::oracle::Oracle;
use slipway_kubernetes::{fields, kind::Kind, models::deployment::HASH, search::NameChange, trace};

use crate::world::World;

/// How a run ended.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct End {
    /// What there is.
    pub state: Value,
    /// How often each object was created and deleted; pods are counted by what they belong to.
    pub births_and_deaths: BTreeMap<String, (usize, usize)>,
}

/// Passes of catching up are as many as the time allows: they are not compared.
const PASS: &str = "-catch-up-";

impl End {
    /// The end of a world as it is now.
    pub fn of(world: &mut World) -> Self {
        let names = Names::of(world);
        let births_and_deaths = births_and_deaths(world.oracle(), &names);
        let mut state = json!({});
        for kind in [
            Kind::Deployment,
            Kind::Service,
            Kind::ReplicaSet,
            Kind::Job,
            Kind::Release,
        ] {
            for object in world.all(kind) {
                let name = names.plain(fields::name(&object));
                if !name.contains(PASS) {
                    let key = format!("{} {name}", kind.traits().kind);
                    state[key] = essence(kind, &object);
                }
            }
        }
        let mut pods: BTreeMap<String, usize> = BTreeMap::new();
        for pod in world.all(Kind::Pod) {
            let owner = fields::controller(&pod).map(|owner| fields::text(owner, "/name").to_owned());
            let owner = names.plain(&owner.unwrap_or_default());
            if !owner.contains(PASS) {
                let finalizers = fields::list(&pod, "/metadata/finalizers").len();
                let phase = fields::text(&pod, "/status/phase");
                *pods.entry(format!("{owner} {phase} {finalizers}")).or_default() += 1;
            }
        }
        state["pods"] = json!(pods);
        let cluster = world.cluster();
        state["aliases"] = json!(cluster.search.aliases);
        state["indices"] = json!(cluster.search.indices.keys().collect::<Vec<_>>());
        drop(cluster);
        let state = names.without_tokens(&state);
        Self {
            state,
            births_and_deaths,
        }
    }

    /// What is different from another end.
    pub fn differences(&self, reference: &Self) -> Vec<String> {
        let mut found: Vec<String> = trace::difference(&reference.state, &self.state)
            .into_iter()
            .map(|difference| format!("end: {difference}"))
            .collect();
        let names = self
            .births_and_deaths
            .keys()
            .chain(reference.births_and_deaths.keys());
        let mut names: Vec<_> = names.collect();
        names.sort_unstable();
        names.dedup();
        for name in names {
            let of = |end: &Self| end.births_and_deaths.get(name).copied().unwrap_or_default();
            let (expected, seen) = (of(reference), of(self));
            if expected != seen {
                found.push(format!(
                    "{name} was created {} and deleted {} times; in the reference {} and {}",
                    seen.0, seen.1, expected.0, expected.1
                ));
            }
        }
        found
    }
}

/// Names that differ from run to run, and what stands for them.
struct Names {
    /// ReplicaSets by the Deployment and the image.
    sets: BTreeMap<String, String>,
    /// Tokens of index generations.
    tokens: Vec<String>,
}

impl Names {
    fn of(world: &World) -> Self {
        let cluster = world.cluster();
        let changes = cluster.store.changes().iter();
        let sets = changes
            .filter(|change| change.key.kind == Kind::ReplicaSet)
            .map(|change| {
                let owner = fields::controller(&change.object);
                let owner = owner.map_or("", |owner| fields::text(owner, "/name"));
                let image = fields::text(&change.object, "/spec/template/spec/containers/0/image");
                (change.key.name.clone(), format!("{owner} {image}"))
            });
        let tokens = cluster
            .search
            .name_changes
            .iter()
            .filter_map(|(_, renamed)| match renamed {
                NameChange::Created { index, .. } => {
                    index.rsplit_once("_g").map(|(_, token)| format!("g{token}"))
                }
                NameChange::Deleted { .. } | NameChange::Alias { .. } => None,
            });
        Self {
            sets: sets.collect(),
            tokens: tokens.collect(),
        }
    }

    /// A name that is the same in every run.
    fn plain(&self, name: &str) -> String {
        self.sets.get(name).cloned().unwrap_or_else(|| name.to_owned())
    }

    fn without_tokens(&self, state: &Value) -> Value {
        let mut text = state.to_string();
        for (number, token) in self.tokens.iter().enumerate() {
            text = text.replace(token.as_str(), &format!("TOKEN-{number}"));
        }
        serde_json::from_str(&text).expect("JSON with other words")
    }
}

fn births_and_deaths(oracle: &Oracle, names: &Names) -> BTreeMap<String, (usize, usize)> {
    let kinds = [
        Kind::Deployment,
        Kind::Service,
        Kind::ReplicaSet,
        Kind::Job,
        Kind::Release,
        Kind::Pod,
    ];
    let mut counts: BTreeMap<String, (usize, usize)> = BTreeMap::new();
    for (key, (births, deaths)) in oracle.births_and_deaths(&kinds) {
        let name = match key.kind {
            Kind::Pod => key.name.rsplit_once('-').map_or("", |(owner, _)| owner),
            _ => &key.name,
        };
        let name = names.plain(name);
        if !name.contains(PASS) {
            let count = counts
                .entry(format!("{} {name}", key.kind.traits().kind))
                .or_default();
            count.0 += births;
            count.1 += deaths;
        }
    }
    counts
}

/// What of an object is the same in every run.
fn essence(kind: Kind, object: &Value) -> Value {
    let labels = |object: &Value| {
        let mut labels = object["metadata"]["labels"].clone();
        for key in ["slipway.dev/claim", "slipway.dev/release-uid", HASH] {
            fields::remove(&mut labels, &format!("/{}", fields::escape(key)));
        }
        labels
    };
    match kind {
        Kind::Release => json!({
            "finalizers": object["metadata"]["finalizers"],
            "spec": object["spec"],
            "status": told(&object["status"]),
        }),
        Kind::Deployment => json!({
            "labels": labels(object),
            "claimed": !fields::label(object, "slipway.dev/claim").is_empty(),
            "spec": object["spec"],
            "replicas": object["status"]["replicas"],
        }),
        Kind::Service => json!({
            "labels": labels(object),
            "claimed": !fields::label(object, "slipway.dev/claim").is_empty(),
            "selector": object["spec"]["selector"],
        }),
        Kind::ReplicaSet => json!({"replicas": object["spec"]["replicas"]}),
        _ => {
            // Whether the Job controller has seen a Job suspended is a matter of milliseconds.
            let conditions = fields::list(object, "/status/conditions").iter();
            let kinds: Vec<_> = conditions
                .map(|condition| &condition["type"])
                .filter(|kind| **kind != "Suspended")
                .collect();
            json!({"conditions": kinds})
        }
    }
}

/// What a status says, without times. Whether a new side that dies does so at the end of Watch or at the beginning of
/// Retire is a matter of milliseconds; either way it is rolled back.
fn told(status: &Value) -> Value {
    let ended = &status["revision"]["ended"]["outcome"];
    let left_late =
        |entry: &Value| *ended == "RolledBack" && matches!(fields::text(entry, "/name"), "Watch" | "Retire");
    let list = |pointer: &str, keys: &[&str]| -> Vec<Value> {
        let entries = fields::list(status, pointer).iter();
        entries
            .filter(|entry| !fields::text(entry, "/job").contains(PASS) && !left_late(entry))
            .map(|entry| keys.iter().map(|key| entry[*key].clone()).collect())
            .collect()
    };
    json!({
        "phase": status["phase"],
        "serving": status["serving"],
        "revision": [status["revision"]["number"], status["revision"]["image"], ended],
        "steps": list("/steps", &["name", "state"]),
        "tasks": list("/tasks", &["job", "outcome"]),
        "history": list("/history", &["number", "image", "outcome"]),
        "conditions": list("/conditions", &["type", "status", "reason"]),
        "pending": status["pending"],
        "rejected": status["rejected"]["reason"],
        "workloads": list("/workloads", &["name", "window", "remembered"]),
    })
}
