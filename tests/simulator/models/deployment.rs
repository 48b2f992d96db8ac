//! The Deployment controller (`pkg/controller/deployment` of Kubernetes 1.34).

mod progress;
mod replicas;
mod rolling;
mod scaling;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use jiff::Timestamp;
use serde_json::Value;

use super::{
    super::{
        clock,
        cluster::Cluster,
        fields,
        kind::Kind,
        random::Random,
        refusal::Refusal,
        store::{Caller, Change, Key, Part, Store, selector},
    },
    Model, Wake,
};

/// The annotation with the revision of a template.
pub const REVISION: &str = "deployment.kubernetes.io/revision";
/// The label with the hash of a template.
pub const HASH: &str = "pod-template-hash";
/// The value of progressDeadlineSeconds that means "none".
const NO_DEADLINE: i64 = 2_147_483_647;

/// What the controller read of a Deployment before it acts.
type Snapshot = (Arc<Value>, Vec<Arc<Value>>);

/// The model.
#[derive(Debug, Default)]
pub struct Deployments {
    /// Deployments that were read and are acted on a moment later, when they may already have changed.
    read: BTreeMap<Key, Snapshot>,
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
                    None => store.list(Kind::Deployment, Some(namespace)).map(|(key, _)| key.clone()).collect(),
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
        let earlier = self.read.remove(key);
        let pause = if earlier.is_none() && random.chance(1, 4) { 1 + random.below(8) } else { 0 };
        let Some((deployment, replica_sets)) = earlier.or_else(|| read(store, key, &caller)) else {
            return Wake::Idle;
        };
        if pause > 0 {
            self.read.insert(key.clone(), (deployment, replica_sets));
            return Wake::At(clock::after(store.now(), Duration::from_millis(pause)));
        }
        let mut rollout = Rollout::new(store, caller, deployment, replica_sets);
        match rollout.sync() {
            Ok(wake) => wake,
            Err(_) => Wake::Retry,
        }
    }
}

/// Reads a Deployment and the ReplicaSets that belong to it, adopting those that nobody controls.
fn read(store: &mut Store, key: &Key, caller: &Caller) -> Option<Snapshot> {
    let deployment = Arc::clone(store.get(key)?);
    let uid = fields::uid(&deployment).to_owned();
    let selector = deployment["spec"]["selector"].clone();
    let all: Vec<_> =
        store.list(Kind::ReplicaSet, Some(&key.namespace)).map(|(key, set)| (key.clone(), Arc::clone(set))).collect();
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

/// One look at one Deployment.
struct Rollout<'a> {
    store: &'a mut Store,
    caller: Caller,
    key: Key,
    deployment: Arc<Value>,
    /// The ReplicaSet of the current template.
    new: Option<Arc<Value>>,
    /// All others, oldest first.
    old: Vec<Arc<Value>>,
}

impl<'a> Rollout<'a> {
    fn new(store: &'a mut Store, caller: Caller, deployment: Arc<Value>, sets: Vec<Arc<Value>>) -> Self {
        let key = Key::of(Kind::Deployment, &deployment);
        let mut sets = sets;
        sets.sort_by_key(|set| (created(set), fields::name(set).to_owned()));
        let new = sets.iter().position(|set| same_template(&set["spec"]["template"], &deployment["spec"]["template"]));
        let new = new.map(|index| sets.remove(index));
        Self { store, caller, key, deployment, new, old: sets }
    }

    fn sync(&mut self) -> Result<Wake, Refusal> {
        if fields::terminating(&self.deployment) {
            return self.write_status(false);
        }
        self.note_pause()?;
        if fields::flag(&self.deployment, "/spec/paused") || self.is_scaling()? {
            self.follow_revision()?;
            self.scale()?;
            if fields::flag(&self.deployment, "/spec/paused") {
                self.clean_up()?;
            }
            return self.write_status(false);
        }
        if self.recreates() {
            self.recreate()?;
        } else {
            self.roll()?;
        }
        self.write_status(true)
    }

    /// Whether the Deployment was scaled since its ReplicaSets were.
    fn is_scaling(&mut self) -> Result<bool, Refusal> {
        self.follow_revision()?;
        let wanted = self.wanted();
        let active = self.old.iter().chain(&self.new).filter(|set| size(set) > 0);
        let mut desired = active.filter_map(|set| fields::annotation(set, scaling::DESIRED).parse::<i64>().ok());
        Ok(desired.any(|desired| desired != wanted))
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
    fn clean_up(&mut self) -> Result<(), Refusal> {
        let Some(limit) = fields::number(&self.deployment, "/spec/revisionHistoryLimit") else {
            return Ok(());
        };
        let mut candidates: Vec<_> = self.old.iter().filter(|set| !fields::terminating(set)).cloned().collect();
        let surplus = candidates.len().saturating_sub(usize::try_from(limit).unwrap_or_default());
        candidates.sort_by_key(|set| replicas::revision(set));
        for set in candidates.into_iter().take(surplus) {
            let observed = fields::count(&set, "/status/observedGeneration");
            let idle = size(&set) == 0 && fields::count(&set, "/status/replicas") == 0;
            if idle && fields::count(&set, "/metadata/generation") <= observed {
                let key = Key::of(Kind::ReplicaSet, &set);
                let options = super::super::store::DeleteOptions::background();
                self.store.delete(&self.caller, &key, &options)?;
            }
        }
        Ok(())
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
    let bare = |template: &Value| {
        let mut template = template.clone();
        fields::remove(&mut template, &format!("/metadata/labels/{HASH}"));
        template
    };
    one == other || bare(one) == bare(other)
}
