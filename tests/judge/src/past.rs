//! The cluster as it was at some point of its history.

use std::{collections::BTreeMap, sync::Arc};

use serde_json::Value;
use slipway_kubernetes::{
    fields,
    kind::Kind,
    models::deployment::HASH,
    store::{Change, Event, Key},
};

/// What the names of all processes of the controller begin with.
pub const CONTROLLER: &str = "slipway-";

/// The Lease of the controller.
pub const LEASE: &str = "slipway";

/// `minReadySeconds` of a hold and of a bolt: written out once more, because an observer that took it from the
/// controller would not notice a wrong one.
pub const HOLD: i64 = 2_147_483_646;

/// All objects before a change.
#[derive(Debug, Default)]
pub struct Past {
    objects: BTreeMap<Key, Arc<Value>>,
}

/// A workload of a Release whose traffic is moved.
#[derive(Clone, Debug)]
pub struct Pinned {
    /// Its Deployment.
    pub deployment: Arc<Value>,
    /// Names of its Services.
    pub services: Vec<String>,
    /// The Release.
    pub release: Arc<Value>,
}

impl Past {
    /// Takes a change in.
    pub fn take(&mut self, change: &Change) {
        if change.event == Event::Deleted {
            self.objects.remove(&change.key);
        } else {
            self.objects
                .insert(change.key.clone(), Arc::clone(&change.object));
        }
    }

    /// An object.
    pub fn get(&self, kind: Kind, namespace: &str, name: &str) -> Option<&Arc<Value>> {
        self.objects.get(&Key::new(kind, namespace, name))
    }

    /// All objects of a kind.
    pub fn all(&self, kind: Kind) -> impl Iterator<Item = &Arc<Value>> {
        self.objects
            .range(Key::new(kind, "", "")..)
            .take_while(move |(key, _)| key.kind == kind)
            .map(|(_, object)| object)
    }

    /// The workloads of a namespace whose traffic is moved.
    pub fn pinned(&self, namespace: &str) -> Vec<Pinned> {
        let releases = self
            .all(Kind::Release)
            .filter(|release| fields::namespace(release) == namespace);
        releases.flat_map(|release| self.workloads(release)).collect()
    }

    fn workloads(&self, release: &Arc<Value>) -> Vec<Pinned> {
        let namespace = fields::namespace(release);
        let listed = fields::list(release, "/spec/workloads").iter();
        listed
            .filter_map(|workload| {
                let services: Vec<String> = fields::list(workload, "/services")
                    .iter()
                    .filter_map(Value::as_str)
                    .map(str::to_owned)
                    .collect();
                let name = fields::text(workload, "/deployment");
                let deployment = self.get(Kind::Deployment, namespace, name)?;
                (!services.is_empty()).then(|| Pinned {
                    deployment: Arc::clone(deployment),
                    services,
                    release: Arc::clone(release),
                })
            })
            .collect()
    }

    /// The Release that a Deployment whose traffic is moved belongs to.
    pub fn release_of(&self, namespace: &str, deployment: &str) -> Option<Arc<Value>> {
        let mut pinned = self.pinned(namespace).into_iter();
        let own = pinned.find(|pinned| fields::name(&pinned.deployment) == deployment);
        own.map(|pinned| pinned.release)
    }

    /// The workload that a Service takes its traffic to.
    pub fn behind(&self, namespace: &str, service: &str) -> Option<Pinned> {
        self.pinned(namespace)
            .into_iter()
            .find(|pinned| pinned.services.iter().any(|name| name == service))
    }

    /// The ReplicaSets of a Deployment.
    pub fn sides<'a>(&'a self, deployment: &'a Value) -> impl Iterator<Item = &'a Arc<Value>> {
        self.all(Kind::ReplicaSet)
            .filter(|set| fields::controlled_by(set, fields::uid(deployment)))
    }

    /// The ReplicaSet of a Deployment with a template hash.
    pub fn side<'a>(&'a self, deployment: &'a Value, hash: &'a str) -> Option<&'a Arc<Value>> {
        self.sides(deployment)
            .find(|set| fields::label(set, HASH) == hash)
    }
}

/// Whether the controller made a change.
pub fn ours(change: &Change) -> bool {
    change.actor.starts_with(CONTROLLER)
}

/// The pin of a Service; empty for none.
pub fn pin(service: &Value) -> &str {
    fields::text(service, "/spec/selector/pod-template-hash")
}

/// Whether a Deployment has the fields that let both sides live beside each other.
pub fn held(deployment: &Value) -> bool {
    fields::count(deployment, "/spec/minReadySeconds") == HOLD
        && fields::count(deployment, "/spec/progressDeadlineSeconds") == HOLD + 1
        && fields::text(deployment, "/spec/strategy/rollingUpdate/maxSurge") == "100%"
        && fields::count(deployment, "/spec/strategy/rollingUpdate/maxUnavailable") == 0
}

/// Whether an object carries the label of an open window.
pub fn open(object: &Value) -> bool {
    fields::label(object, "slipway.dev/window") == "open"
}

/// Whether a side has as many pods as wanted, all ready.
pub fn full(set: &Value, wanted: i64) -> bool {
    fields::count(set, "/spec/replicas") >= wanted && fields::count(set, "/status/readyReplicas") >= wanted
}
