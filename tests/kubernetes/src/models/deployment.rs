//! The Deployment controller (`pkg/controller/deployment` of Kubernetes 1.34).

mod progress;
mod replicas;
mod rolling;
mod scaling;

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use jiff::Timestamp;
use serde_json::Value;

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

/// The annotation with the revision of a template.
pub const REVISION: &str = "deployment.kubernetes.io/revision";
/// The label with the hash of a template.
pub const HASH: &str = "pod-template-hash";
/// The value of progressDeadlineSeconds that means "none".
const NO_DEADLINE: i64 = 2_147_483_647;

/// A write that was decided on and is still to be sent.
#[derive(Clone, Debug)]
enum Write {
    Create(Value),
    Replace(Key, Arc<Value>, Part),
    Delete(Key),
}

/// The writes of one look, sent one after the other: others act between them, and then they conflict.
#[derive(Debug, Default)]
struct Plan {
    writes: VecDeque<Write>,
    /// The versions of objects that this plan has written.
    versions: BTreeMap<Key, Value>,
}

/// The model.
#[derive(Debug, Default)]
pub struct Deployments {
    plans: BTreeMap<Key, Plan>,
}

impl Model for Deployments {
    fn name(&self) -> &'static str {
        "deployment-controller"
    }

    fn affected(&mut self, change: &Change, store: &Store) -> Vec<Key> {
        let namespace = &change.key.namespace;
        match change.key.kind {
            Kind::Deployment => vec![change.key.clone()],
            Kind::ReplicaSet => {
                let owner = fields::controller(&change.object).map(|owner| fields::text(owner, "/name"));
                match owner {
                    Some(owner) => vec![Key::new(Kind::Deployment, namespace, owner)],
                    None => store
                        .list(Kind::Deployment, Some(namespace))
                        .map(|(key, _)| key.clone())
                        .collect(),
                }
            }
            // A Recreate Deployment waits for its last old pod.
            Kind::Pod if change.event == super::super::store::Event::Deleted => {
                let deployments = store.list(Kind::Deployment, Some(namespace));
                let labels = fields::map(&change.object, "/metadata/labels");
                let waits = deployments.filter(|(_, deployment)| {
                    fields::text(deployment, "/spec/strategy/type") == "Recreate"
                        && selector::fits_selector(&deployment["spec"]["selector"], labels)
                });
                waits.map(|(key, _)| key.clone()).collect()
            }
            _ => Vec::new(),
        }
    }

    fn reconcile(&mut self, key: &Key, cluster: &mut Cluster, random: &mut Random) -> Wake {
        let caller = Caller::new(self.name());
        let store = &mut cluster.store;
        let soon =
            |store: &Store, wait: u64| Wake::At(clock::after(store.now(), Duration::from_millis(wait)));
        let Some(mut plan) = self.plans.remove(key) else {
            let Some((deployment, replica_sets)) = read(store, key, &caller) else {
                return Wake::Idle;
            };
            let mut rollout = Rollout::new(store, deployment, replica_sets);
            let wake = rollout.sync();
            if rollout.writes.is_empty() {
                return wake;
            }
            self.plans.insert(
                key.clone(),
                Plan {
                    writes: rollout.writes,
                    versions: BTreeMap::new(),
                },
            );
            return soon(store, random.below(6));
        };
        if plan.send_next(store, &caller).is_err() {
            return Wake::Retry;
        }
        if !plan.writes.is_empty() {
            self.plans.insert(key.clone(), plan);
        }
        soon(store, random.below(6))
    }
}

impl Plan {
    fn send_next(&mut self, store: &mut Store, caller: &Caller) -> Result<(), Refusal> {
        match self.writes.pop_front() {
            None => Ok(()),
            Some(Write::Create(object)) => {
                let namespace = fields::namespace(&object).to_owned();
                let created = store.create(caller, Kind::ReplicaSet, &namespace, object)?;
                self.note(Key::of(Kind::ReplicaSet, &created), &created);
                Ok(())
            }
            Some(Write::Replace(key, object, part)) => {
                let mut object = Arc::unwrap_or_clone(object);
                if let Some(version) = self.versions.get(&key) {
                    fields::set(&mut object, "/metadata/resourceVersion", version.clone());
                }
                let written = store.replace(caller, &key, object, part)?;
                self.note(key, &written);
                Ok(())
            }
            Some(Write::Delete(key)) => store.delete(caller, &key, &DeleteOptions::background()).map(drop),
        }
    }

    fn note(&mut self, key: Key, written: &Value) {
        self.versions
            .insert(key, written["metadata"]["resourceVersion"].clone());
    }
}

/// Reads a Deployment and the ReplicaSets that belong to it, adopting those that nobody controls.
fn read(store: &mut Store, key: &Key, caller: &Caller) -> Option<(Arc<Value>, Vec<Arc<Value>>)> {
    let deployment = Arc::clone(store.get(key)?);
    let uid = fields::uid(&deployment).to_owned();
    let selector = deployment["spec"]["selector"].clone();
    let all: Vec<_> = store
        .list(Kind::ReplicaSet, Some(&key.namespace))
        .map(|(key, set)| (key.clone(), Arc::clone(set)))
        .collect();
    let mut own = Vec::new();
    for (set_key, set) in all {
        let fits = selector::fits_selector(&selector, fields::map(&set, "/metadata/labels"));
        if fields::controlled_by(&set, &uid) {
            own.push(set);
        } else if fits
            && fields::controller(&set).is_none()
            && !fields::terminating(&set)
            && !fields::terminating(&deployment)
        {
            let reference = fields::owner_reference(&deployment);
            let adopted = store.modify(caller, &set_key, Part::Main, |set| {
                let mut owners = fields::list(set, "/metadata/ownerReferences").to_vec();
                owners.push(reference);
                fields::set(set, "/metadata/ownerReferences", owners);
            });
            own.extend(adopted);
        }
    }
    Some((deployment, own))
}

/// One look at one Deployment. It decides on writes as if each had succeeded.
struct Rollout<'a> {
    store: &'a Store,
    writes: VecDeque<Write>,
    key: Key,
    deployment: Arc<Value>,
    /// The ReplicaSet of the current template.
    new: Option<Arc<Value>>,
    /// All others, oldest first.
    old: Vec<Arc<Value>>,
}

impl<'a> Rollout<'a> {
    fn new(store: &'a Store, deployment: Arc<Value>, sets: Vec<Arc<Value>>) -> Self {
        let key = Key::of(Kind::Deployment, &deployment);
        let mut sets = sets;
        sets.sort_by_key(|set| (created(set), fields::name(set).to_owned()));
        let new = sets
            .iter()
            .position(|set| same_template(&set["spec"]["template"], &deployment["spec"]["template"]));
        let new = new.map(|index| sets.remove(index));
        Self {
            store,
            writes: VecDeque::new(),
            key,
            deployment,
            new,
            old: sets,
        }
    }

    fn sync(&mut self) -> Wake {
        if fields::terminating(&self.deployment) {
            return self.write_status(false);
        }
        self.note_pause();
        if fields::flag(&self.deployment, "/spec/paused") || self.is_scaling() {
            self.follow_revision();
            self.scale();
            if fields::flag(&self.deployment, "/spec/paused") {
                self.clean_up();
            }
            return self.write_status(false);
        }
        if self.recreates() {
            self.recreate();
        } else {
            self.roll();
        }
        self.write_status(true)
    }

    /// Whether the Deployment was scaled since its ReplicaSets were.
    fn is_scaling(&mut self) -> bool {
        self.follow_revision();
        let wanted = self.wanted();
        let active = self.old.iter().chain(&self.new).filter(|set| size(set) > 0);
        let mut desired =
            active.filter_map(|set| fields::annotation(set, scaling::DESIRED).parse::<i64>().ok());
        desired.any(|desired| desired != wanted)
    }

    fn wanted(&self) -> i64 {
        fields::count(&self.deployment, "/spec/replicas")
    }

    fn recreates(&self) -> bool {
        fields::text(&self.deployment, "/spec/strategy/type") == "Recreate"
    }

    fn has_deadline(&self) -> bool {
        fields::number(&self.deployment, "/spec/progressDeadlineSeconds")
            .is_some_and(|deadline| deadline != NO_DEADLINE)
    }

    fn all(&self) -> impl Iterator<Item = &Arc<Value>> {
        self.old.iter().chain(&self.new)
    }

    /// Deletes old ReplicaSets beyond the history that the user wants, if nothing of them runs.
    fn clean_up(&mut self) {
        let Some(limit) = fields::number(&self.deployment, "/spec/revisionHistoryLimit") else {
            return;
        };
        let mut candidates: Vec<_> = self
            .old
            .iter()
            .filter(|set| !fields::terminating(set))
            .cloned()
            .collect();
        let surplus = candidates
            .len()
            .saturating_sub(usize::try_from(limit).unwrap_or_default());
        candidates.sort_by_key(|set| replicas::revision(set));
        for set in candidates.into_iter().take(surplus) {
            let observed = fields::count(&set, "/status/observedGeneration");
            let idle = size(&set) == 0 && fields::count(&set, "/status/replicas") == 0;
            if idle && fields::count(&set, "/metadata/generation") <= observed {
                let key = Key::of(Kind::ReplicaSet, &set);
                self.writes.push_back(Write::Delete(key));
            }
        }
    }

    /// Decides to write an object, and goes on as if that were done.
    fn put(&mut self, key: Key, object: Value, part: Part) -> Arc<Value> {
        let object = Arc::new(object);
        self.writes
            .push_back(Write::Replace(key, Arc::clone(&object), part));
        object
    }

    /// Decides to write the Deployment's status.
    fn put_status(&mut self, deployment: Value) {
        self.deployment = self.put(self.key.clone(), deployment, Part::Status);
    }
}

/// When an object was created.
fn created(object: &Value) -> Option<Timestamp> {
    clock::read(fields::text(object, "/metadata/creationTimestamp"))
}

/// The number of pods that a ReplicaSet shall have.
fn size(set: &Value) -> i64 {
    fields::count(set, "/spec/replicas")
}

/// Whether two templates are equal but for the label that the controller itself adds.
pub fn same_template(one: &Value, other: &Value) -> bool {
    let rest = |template: &Value, pointer: &str, but: &str| -> Vec<(String, Value)> {
        let found = fields::map(template, pointer).into_iter().flatten();
        let kept = found.filter(|(key, _)| *key != but);
        kept.map(|(key, value)| (key.clone(), value.clone())).collect()
    };
    one["spec"] == other["spec"]
        && rest(one, "/metadata/labels", HASH) == rest(other, "/metadata/labels", HASH)
        && rest(one, "/metadata", "labels") == rest(other, "/metadata", "labels")
}
