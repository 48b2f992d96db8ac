//! The ReplicaSet controller (`pkg/controller/replicaset` of Kubernetes 1.34).

use std::{cmp::Reverse, sync::Arc, time::Duration};

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{Model, Wake};
use crate::{
    clock,
    cluster::Cluster,
    fields,
    kind::Kind,
    random::Random,
    refusal::Refusal,
    store::{Caller, Change, DeleteOptions, Key, Part, Store, selector},
};

/// The annotation that says which pods go first when there are too many.
const DELETION_COST: &str = "controller.kubernetes.io/pod-deletion-cost";

/// The model.
#[derive(Debug, Default)]
pub struct ReplicaSets;

impl Model for ReplicaSets {
    fn name(&self) -> &'static str {
        "replicaset-controller"
    }

    fn affected(&mut self, change: &Change, store: &Store) -> Vec<Key> {
        let namespace = &change.key.namespace;
        match change.key.kind {
            Kind::ReplicaSet => vec![change.key.clone()],
            Kind::Pod => match fields::controller(&change.object) {
                Some(owner) if fields::text(owner, "/kind") == "ReplicaSet" => {
                    vec![Key::new(
                        Kind::ReplicaSet,
                        namespace,
                        fields::text(owner, "/name"),
                    )]
                }
                Some(_) => Vec::new(),
                None => {
                    let labels = fields::map(&change.object, "/metadata/labels");
                    let sets = store.list(Kind::ReplicaSet, Some(namespace));
                    let fits = |set: &Value| selector::fits_selector(&set["spec"]["selector"], labels);
                    sets.filter(|(_, set)| fits(set))
                        .map(|(key, _)| key.clone())
                        .collect()
                }
            },
            _ => Vec::new(),
        }
    }

    fn reconcile(&mut self, key: &Key, cluster: &mut Cluster, _random: &mut Random) -> Wake {
        let caller = Caller::new(self.name());
        let store = &mut cluster.store;
        let Some(set) = store.get(key).cloned() else {
            return Wake::Idle;
        };
        let Ok(pods) = claim(store, &caller, key, &set) else {
            return Wake::Retry;
        };
        let managed = if fields::terminating(&set) {
            Ok(())
        } else {
            manage(store, &caller, key, &set, &pods)
        };
        let now = store.now();
        let status = status(&set, &pods, now, managed.as_ref().err());
        let observed = fields::count(&set, "/status/observedGeneration");
        if set["status"] != status || observed != fields::count(&set, "/metadata/generation") {
            let mut wanted = Value::clone(&set);
            fields::set(&mut wanted, "/status", status);
            if store.replace(&caller, key, wanted, Part::Status).is_err() {
                return Wake::Retry;
            }
        }
        if managed.is_err() {
            return Wake::Retry;
        }
        let wait = min_ready(&set);
        let due = pods
            .iter()
            .filter_map(|pod| Some(clock::after(ready_since(pod)?, wait)));
        due.filter(|due| *due > now).min().map_or(Wake::Idle, Wake::At)
    }
}

/// The active pods of a ReplicaSet: its own, and those without an owner that it adopts.
fn claim(store: &mut Store, caller: &Caller, key: &Key, set: &Value) -> Result<Vec<Arc<Value>>, Refusal> {
    let all: Vec<_> = store
        .list(Kind::Pod, Some(&key.namespace))
        .map(|(_, pod)| Arc::clone(pod))
        .collect();
    let uid = fields::uid(set);
    let mut claimed = Vec::new();
    for pod in all
        .into_iter()
        .filter(|pod| !fields::finished(pod) && !fields::terminating(pod))
    {
        let fits = selector::fits_selector(&set["spec"]["selector"], fields::map(&pod, "/metadata/labels"));
        let pod_key = Key::of(Kind::Pod, &pod);
        if fields::controlled_by(&pod, uid) {
            if fits {
                claimed.push(pod);
            } else {
                store.modify(caller, &pod_key, Part::Main, |pod| {
                    let mut owners = fields::list(pod, "/metadata/ownerReferences").to_vec();
                    owners.retain(|owner| fields::text(owner, "/uid") != uid);
                    fields::set(pod, "/metadata/ownerReferences", owners);
                })?;
            }
        } else if fits && fields::controller(&pod).is_none() && !fields::terminating(set) {
            claimed.push(store.modify(caller, &pod_key, Part::Main, |pod| {
                let mut owners = fields::list(pod, "/metadata/ownerReferences").to_vec();
                owners.push(fields::owner_reference(set));
                fields::set(pod, "/metadata/ownerReferences", owners);
            })?);
        }
    }
    Ok(claimed)
}

/// Creates the pods that are missing, deletes those that are too many.
fn manage(
    store: &mut Store,
    caller: &Caller,
    key: &Key,
    set: &Value,
    pods: &[Arc<Value>],
) -> Result<(), Refusal> {
    let wanted = usize::try_from(fields::count(set, "/spec/replicas")).unwrap_or_default();
    for _ in pods.len()..wanted {
        store.create(caller, Kind::Pod, &key.namespace, pod_of(set))?;
    }
    if pods.len() > wanted {
        let mut ranked: Vec<_> = pods.iter().collect();
        ranked.sort_by_cached_key(|pod| rank(pod));
        for pod in ranked.into_iter().take(pods.len() - wanted) {
            match store.delete(caller, &Key::of(Kind::Pod, pod), &DeleteOptions::background()) {
                Err(refusal) if refusal.code != 404 => return Err(refusal),
                Ok(_) | Err(_) => {}
            }
        }
    }
    Ok(())
}

fn pod_of(set: &Value) -> Value {
    let template = &set["spec"]["template"];
    let mut pod = json!({
        "metadata": {
            "generateName": format!("{}-", fields::name(set)),
            "ownerReferences": [fields::owner_reference(set)],
        },
        "spec": template["spec"],
    });
    for name in ["labels", "annotations", "finalizers"] {
        if let Some(value) = template["metadata"].get(name) {
            pod["metadata"][name] = value.clone();
        }
    }
    pod
}

/// The order in which pods are given up: the least useful first.
fn rank(pod: &Value) -> impl Ord + use<> {
    let placed = !fields::text(pod, "/spec/nodeName").is_empty();
    let phase = ["Pending", "Unknown", "Running"]
        .iter()
        .position(|phase| *phase == fields::text(pod, "/status/phase"));
    let cost = fields::annotation(pod, DELETION_COST)
        .parse::<i64>()
        .unwrap_or_default();
    let restarts = fields::list(pod, "/status/containerStatuses").iter();
    let restarts = restarts
        .map(|status| fields::count(status, "/restartCount"))
        .max()
        .unwrap_or_default();
    let since = Reverse(ready_since(pod));
    let created = Reverse(clock::read(fields::text(pod, "/metadata/creationTimestamp")));
    (
        placed,
        phase,
        fields::ready(pod),
        cost,
        since,
        Reverse(restarts),
        created,
        fields::name(pod).to_owned(),
    )
}

fn ready_since(pod: &Value) -> Option<Timestamp> {
    let condition = fields::condition(pod, "Ready").filter(|condition| condition["status"] == "True")?;
    clock::read(fields::text(condition, "/lastTransitionTime"))
}

fn min_ready(set: &Value) -> Duration {
    Duration::from_secs(fields::count(set, "/spec/minReadySeconds").unsigned_abs())
}

/// The status as it follows from the pods that were seen, before any were made or deleted.
fn status(set: &Value, pods: &[Arc<Value>], now: Timestamp, failure: Option<&Refusal>) -> Value {
    let labels = fields::map(set, "/spec/template/metadata/labels");
    let labelled = |pod: &Value| {
        labels
            .into_iter()
            .flatten()
            .all(|(key, value)| Some(fields::label(pod, key)) == value.as_str())
    };
    let wait = min_ready(set);
    let ready: Vec<_> = pods.iter().filter_map(|pod| ready_since(pod)).collect();
    let available = ready
        .iter()
        .filter(|since| wait.is_zero() || clock::after(**since, wait) <= now)
        .count();
    let mut status = json!({
        "replicas": pods.len(),
        "observedGeneration": fields::count(set, "/metadata/generation"),
    });
    let number = |count: usize| i64::try_from(count).expect("few pods");
    fields::set_count(
        &mut status,
        "/fullyLabeledReplicas",
        number(pods.iter().filter(|pod| labelled(pod)).count()),
    );
    fields::set_count(&mut status, "/readyReplicas", number(ready.len()));
    fields::set_count(&mut status, "/availableReplicas", number(available));
    if let Some(refusal) = failure {
        let before = fields::condition(set, "ReplicaFailure");
        let since = before.map_or_else(
            || json!(clock::seconds(now)),
            |old| old["lastTransitionTime"].clone(),
        );
        status["conditions"] = json!([{
            "type": "ReplicaFailure",
            "status": "True",
            "reason": "FailedCreate",
            "message": refusal.message,
            "lastTransitionTime": since,
        }]);
    }
    status
}
