//! The disruption controller and the eviction subresource.

use std::sync::Arc;

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

/// The disruption controller: it counts how many pods of a budget may be evicted.
#[derive(Debug, Default)]
pub struct Disruption;

impl Model for Disruption {
    fn name(&self) -> &'static str {
        "disruption-controller"
    }

    fn affected(&mut self, change: &Change, store: &Store) -> Vec<Key> {
        match change.key.kind {
            Kind::PodDisruptionBudget => vec![change.key.clone()],
            Kind::Pod | Kind::ReplicaSet | Kind::Deployment => {
                let budgets = store.list(Kind::PodDisruptionBudget, Some(&change.key.namespace));
                budgets.map(|(key, _)| key.clone()).collect()
            }
            _ => Vec::new(),
        }
    }

    fn reconcile(&mut self, key: &Key, cluster: &mut Cluster, _random: &mut Random) -> Wake {
        let store = &mut cluster.store;
        let Some(budget) = store.get(key).cloned() else {
            return Wake::Idle;
        };
        let pods = matching(store, &budget);
        let total = i64::try_from(pods.len()).expect("few pods");
        let healthy = pods
            .iter()
            .filter(|pod| fields::ready(pod) && !fields::terminating(pod))
            .count();
        let healthy = i64::try_from(healthy).expect("few pods");
        let scale = scale_of(store, &pods);
        let (expected, desired) = match (&budget["spec"]["minAvailable"], &budget["spec"]["maxUnavailable"]) {
            (minimum, _) if minimum.is_i64() => (total, minimum.as_i64().unwrap_or_default()),
            (minimum, _) if minimum.is_string() => (scale, percent(minimum, scale)),
            (_, most) => (
                scale,
                scale - most.as_i64().unwrap_or_else(|| percent(most, scale)),
            ),
        };
        let allowed = if expected > 0 {
            (healthy - desired).max(0)
        } else {
            0
        };
        let done = store.modify(&Caller::new(self.name()), key, Part::Status, |budget| {
            let generation = fields::count(budget, "/metadata/generation");
            budget["status"] = json!({
                "observedGeneration": generation,
                "expectedPods": expected,
                "currentHealthy": healthy,
                "desiredHealthy": desired.max(0),
                "disruptionsAllowed": allowed,
            });
        });
        if done.is_ok() { Wake::Idle } else { Wake::Retry }
    }
}

/// A percentage of a number, rounded up.
fn percent(value: &Value, of: i64) -> i64 {
    let percent = value
        .as_str()
        .and_then(|text| text.strip_suffix('%')?.parse::<i64>().ok());
    (of * percent.unwrap_or_default() + 99) / 100
}

fn matching(store: &Store, budget: &Value) -> Vec<Arc<Value>> {
    let pods = store
        .list(Kind::Pod, Some(fields::namespace(budget)))
        .map(|(_, pod)| Arc::clone(pod));
    let fits = |pod: &Arc<Value>| {
        selector::fits_selector(&budget["spec"]["selector"], fields::map(pod, "/metadata/labels"))
    };
    pods.filter(fits).collect()
}

/// The sum of the sizes of the Deployments behind some pods.
fn scale_of(store: &Store, pods: &[Arc<Value>]) -> i64 {
    let owner = |object: &Value, kind: Kind| {
        let owner = fields::controller(object)?;
        store.find(kind, fields::namespace(object), fields::text(owner, "/name"))
    };
    let deployments = pods
        .iter()
        .filter_map(|pod| owner(owner(pod, Kind::ReplicaSet)?, Kind::Deployment));
    let mut deployments: Vec<_> = deployments.collect();
    deployments.sort_by_key(|deployment| fields::uid(deployment));
    deployments.dedup();
    deployments
        .into_iter()
        .map(|deployment| fields::count(deployment, "/spec/replicas"))
        .sum()
}

/// Evicts a pod unless a budget forbids it.
pub fn evict(cluster: &mut Cluster, caller: &Caller, key: &Key) -> Result<(), Refusal> {
    let store = &mut cluster.store;
    let Some(pod) = store.get(key).cloned() else {
        return Err(Refusal::not_found(key.kind, &key.name));
    };
    let budgets = store.list(Kind::PodDisruptionBudget, Some(&key.namespace));
    let labels = fields::map(&pod, "/metadata/labels");
    let found: Vec<_> = budgets
        .filter(|(_, budget)| selector::fits_selector(&budget["spec"]["selector"], labels))
        .map(|(key, budget)| (key.clone(), fields::count(budget, "/status/disruptionsAllowed")))
        .collect();
    let free = fields::finished(&pod) || fields::terminating(&pod);
    match found.as_slice() {
        _ if free => {}
        [] => {}
        [(budget, allowed)] if *allowed > 0 => {
            let controller = Caller::new("eviction");
            store.modify(&controller, budget, Part::Status, |budget| {
                fields::set(budget, "/status/disruptionsAllowed", allowed - 1);
            })?;
        }
        [_] => {
            let why = "Cannot evict pod as it would violate the pod's disruption budget.";
            return Err(Refusal::plain(429, "TooManyRequests", why));
        }
        _ => {
            let why = "This pod has more than one PodDisruptionBudget, which the eviction subresource does not \
                       support.";
            return Err(Refusal::plain(500, "InternalError", why));
        }
    }
    let now = clock::seconds(store.now());
    store.modify(caller, key, Part::Status, |pod| {
        let mut conditions = fields::list(pod, "/status/conditions").to_vec();
        conditions.push(json!({
            "type": "DisruptionTarget",
            "status": "True",
            "reason": "EvictionByEvictionAPI",
            "message": "Eviction API: evicting",
            "lastTransitionTime": now,
        }));
        fields::set(pod, "/status/conditions", conditions);
    })?;
    store.delete(caller, key, &DeleteOptions::background()).map(drop)
}
