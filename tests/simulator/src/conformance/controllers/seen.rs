//! What is seen of a namespace, and what of it is compared.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use slipway_kubernetes::{fields, kind::Kind, models::deployment::HASH};

/// The kinds that are looked at.
pub(super) const KINDS: [Kind; 7] = [
    Kind::ConfigMap,
    Kind::Deployment,
    Kind::EndpointSlice,
    Kind::Job,
    Kind::Pod,
    Kind::ReplicaSet,
    Kind::Service,
];

/// Everything in a namespace, as it was seen last.
#[derive(Clone, Debug, Default)]
pub(super) struct Seen {
    pub(super) objects: BTreeMap<Kind, Vec<Value>>,
}

impl Seen {
    pub(super) fn all(&self, kind: Kind) -> &[Value] {
        self.objects.get(&kind).map(Vec::as_slice).unwrap_or_default()
    }

    pub(super) fn find(&self, kind: Kind, name: &str) -> Option<&Value> {
        self.all(kind).iter().find(|object| fields::name(object) == name)
    }

    /// The ReplicaSet of a version.
    fn set(&self, version: &str) -> Option<&Value> {
        self.all(Kind::ReplicaSet)
            .iter()
            .find(|set| fields::label(set, "version") == version)
    }

    /// The wanted pods of a version.
    pub(super) fn size(&self, version: &str) -> i64 {
        self.set(version)
            .map_or(0, |set| fields::count(set, "/spec/replicas"))
    }

    /// The ready pods of a version, as its ReplicaSet counts them.
    pub(super) fn ready(&self, version: &str) -> i64 {
        self.set(version)
            .map_or(0, |set| fields::count(set, "/status/readyReplicas"))
    }

    /// The pods of a version, with those on their way out.
    pub(super) fn pods(&self, version: &str) -> usize {
        let own = self.all(Kind::Pod).iter();
        own.filter(|pod| fields::label(pod, "version") == version).count()
    }

    /// Whether a container of a version was started again.
    pub(super) fn restarts(&self, version: &str) -> bool {
        let mut own = self.all(Kind::Pod).iter();
        own.any(|pod| {
            fields::label(pod, "version") == version
                && fields::count(pod, "/status/containerStatuses/0/restartCount") > 0
        })
    }

    /// Whether the Deployment's controller has seen the last change.
    pub(super) fn observed(&self) -> bool {
        self.find(Kind::Deployment, "web").is_some_and(is_observed)
    }

    /// Whether the Deployment has all its pods, of its own template, and no other ones.
    pub(super) fn settled(&self) -> bool {
        self.find(Kind::Deployment, "web").is_some_and(|web| {
            let wanted = fields::count(web, "/spec/replicas");
            let counts = [
                "replicas",
                "updatedReplicas",
                "readyReplicas",
                "availableReplicas",
            ];
            is_observed(web)
                && counts
                    .into_iter()
                    .all(|name| fields::count(web, &format!("/status/{name}")) == wanted)
        }) && i64::try_from(self.all(Kind::Pod).len()).ok()
            == self
                .find(Kind::Deployment, "web")
                .map(|web| fields::count(web, "/spec/replicas"))
    }

    /// Whether a condition of the Deployment has this reason.
    pub(super) fn says(&self, reason: &str) -> bool {
        let web = self.find(Kind::Deployment, "web").unwrap_or(&Value::Null);
        fields::list(web, "/status/conditions")
            .iter()
            .any(|condition| condition["reason"] == reason)
    }

    /// The ready endpoints of Service `web`.
    pub(super) fn endpoints(&self) -> usize {
        let slices = self.all(Kind::EndpointSlice).iter();
        slices
            .flat_map(|slice| fields::list(slice, "/endpoints"))
            .filter(|endpoint| fields::flag(endpoint, "/conditions/ready"))
            .count()
    }

    /// A number of the Job's status.
    pub(super) fn job(&self, name: &str) -> i64 {
        let job = self.find(Kind::Job, "task").unwrap_or(&Value::Null);
        fields::count(job, &format!("/status/{name}"))
    }

    /// Whether the Job has ended.
    pub(super) fn ended(&self) -> bool {
        let job = self.find(Kind::Job, "task").unwrap_or(&Value::Null);
        fields::is_true(job, "Complete") || fields::is_true(job, "Failed")
    }

    /// Whether there is nothing of a kind.
    pub(super) fn none(&self, kind: Kind) -> bool {
        self.all(kind).is_empty()
    }

    /// Whether a pod is on its way in or out, however long it takes without a word.
    pub(super) fn moving(&self) -> bool {
        self.all(Kind::Pod).iter().any(|pod| {
            let leaves = fields::terminating(pod) && fields::list(pod, "/metadata/finalizers").is_empty();
            let comes =
                fields::is_true(pod, "PodScheduled") && fields::text(pod, "/status/phase") == "Pending";
            leaves || comes
        })
    }

    /// What is compared.
    pub(super) fn state(&self) -> Value {
        let by = |kind: Kind, name: fn(&Value) -> &str, state: &dyn Fn(&Value) -> Value| {
            let mut found: BTreeMap<String, Vec<Value>> = BTreeMap::new();
            for object in self.all(kind) {
                found
                    .entry(name(object).to_owned())
                    .or_default()
                    .push(state(object));
            }
            for states in found.values_mut() {
                states.sort_by_key(Value::to_string);
            }
            json!(found)
        };
        let version: fn(&Value) -> &str = |object| fields::label(object, "version");
        let service: fn(&Value) -> &str = |object| fields::label(object, "kubernetes.io/service-name");
        let of: fn(&Value) -> &str = |pod| match fields::label(pod, "version") {
            "" => fields::label(pod, "job-name"),
            version => version,
        };
        json!({
            "configMaps": by(Kind::ConfigMap, fields::name, &metadata),
            "deployments": by(Kind::Deployment, fields::name, &deployment),
            "replicaSets": by(Kind::ReplicaSet, version, &replica_set),
            "jobs": by(Kind::Job, fields::name, &job),
            "pods": by(Kind::Pod, of, &pod),
            "endpointSlices": by(Kind::EndpointSlice, service, &slice),
            "services": by(Kind::Service, fields::name, &|service| self.service(service)),
        })
    }

    /// A Service, with the version that it is pinned to.
    fn service(&self, service: &Value) -> Value {
        let pin = fields::text(service, &format!("/spec/selector/{HASH}"));
        let mut sets = self.all(Kind::ReplicaSet).iter();
        let pinned = sets.find(|set| fields::label(set, HASH) == pin && !pin.is_empty());
        json!({"pinned": pinned.map(|set| fields::label(set, "version"))})
    }
}

fn is_observed(object: &Value) -> bool {
    fields::count(object, "/metadata/generation") <= fields::count(object, "/status/observedGeneration")
}

/// Owners by kind and name (a ReplicaSet's name is chosen by a controller), finalizers, and whether it goes.
fn metadata(object: &Value) -> Value {
    let owners: Vec<_> = fields::list(object, "/metadata/ownerReferences")
        .iter()
        .map(|owner| {
            let chosen = owner["kind"] == "ReplicaSet";
            json!([
                owner["kind"],
                if chosen { &Value::Null } else { &owner["name"] },
                fields::flag(owner, "/controller")
            ])
        })
        .collect();
    json!({
        "owners": owners,
        "finalizers": fields::list(object, "/metadata/finalizers"),
        "terminating": fields::terminating(object),
    })
}

fn conditions(object: &Value) -> Value {
    let conditions = fields::list(object, "/status/conditions").iter();
    let by_kind: Map<_, _> = conditions
        .map(|condition| {
            let text = |name: &str| fields::text(condition, &format!("/{name}")).to_owned();
            (text("type"), json!([text("status"), text("reason")]))
        })
        .collect();
    json!(by_kind)
}

/// The numbers of a status.
fn counts(object: &Value) -> Value {
    let status = fields::map(object, "/status").into_iter().flatten();
    let numbers: Map<_, _> = status
        .filter(|(name, value)| value.is_number() && *name != "observedGeneration")
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    json!(numbers)
}

/// Annotations that controllers write, and those of people.
fn annotations(object: &Value) -> Value {
    json!(fields::map(object, "/metadata/annotations"))
}

fn deployment(object: &Value) -> Value {
    json!({
        "metadata": metadata(object),
        "generation": fields::count(object, "/metadata/generation"),
        "observed": is_observed(object),
        "annotations": annotations(object),
        "replicas": object["spec"]["replicas"],
        "paused": fields::flag(object, "/spec/paused"),
        "counts": counts(object),
        "conditions": conditions(object),
    })
}

fn replica_set(object: &Value) -> Value {
    json!({
        "metadata": metadata(object),
        "observed": is_observed(object),
        "annotations": annotations(object),
        "replicas": object["spec"]["replicas"],
        "minReadySeconds": fields::count(object, "/spec/minReadySeconds"),
        "counts": counts(object),
        "conditions": conditions(object),
    })
}

fn job(object: &Value) -> Value {
    json!({
        "metadata": metadata(object),
        "counts": counts(object),
        "conditions": conditions(object),
        "started": fields::has(object, "/status/startTime"),
        "completed": fields::has(object, "/status/completionTime"),
        "uncounted": object["status"]["uncountedTerminatedPods"],
        "suspended": fields::flag(object, "/spec/suspend"),
    })
}

fn pod(object: &Value) -> Value {
    let container = &object["status"]["containerStatuses"][0];
    let disrupted = fields::condition(object, "DisruptionTarget");
    json!({
        "metadata": metadata(object),
        "phase": object["status"]["phase"],
        "placed": fields::is_true(object, "PodScheduled"),
        "ready": fields::ready(object),
        "container": container_state(object, container),
        "disrupted": disrupted.map(|found| found["reason"].clone()),
    })
}

/// A container that runs, waits or ended; one that is started again and again is in any of these at a time.
fn container_state(pod: &Value, container: &Value) -> Value {
    let again = fields::text(pod, "/spec/restartPolicy") == "Always";
    let restarted = fields::count(container, "/restartCount") > 0;
    if again && !fields::ready(pod) && (restarted || fields::has(container, "/state/terminated")) {
        return json!("crashing");
    }
    if fields::has(container, "/state/running") {
        return json!({"running": true, "restarted": restarted});
    }
    let ended = &container["state"]["terminated"];
    if ended.is_object() {
        return json!({"ended": ended["exitCode"], "reason": ended["reason"]});
    }
    json!({"waiting": container["state"]["waiting"]["reason"]})
}

fn slice(object: &Value) -> Value {
    let endpoints = fields::list(object, "/endpoints");
    let count = |name: &str| {
        let pointer = format!("/conditions/{name}");
        endpoints
            .iter()
            .filter(|endpoint| fields::flag(endpoint, &pointer))
            .count()
    };
    json!({
        "metadata": metadata(object),
        "endpoints": endpoints.len(),
        "ready": count("ready"),
        "serving": count("serving"),
        "terminating": count("terminating"),
        "ports": if endpoints.is_empty() { &Value::Null } else { &object["ports"] },
    })
}
