//! The garbage collector and the namespace controller.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use serde_json::Value;

use super::{Model, Wake};
use crate::{
    cluster::Cluster,
    fields,
    kind::Kind,
    random::Random,
    refusal::Refusal,
    store::{Caller, Change, DeleteOptions, Event, Key, Part, Propagation, Store},
};

const FOREGROUND: &str = "foregroundDeletion";
const ORPHAN: &str = "orphan";

/// The garbage collector.
#[derive(Debug, Default)]
pub struct GarbageCollector {
    /// The objects that name an owner, by the owner's UID.
    dependents: BTreeMap<String, BTreeSet<Key>>,
}

impl Model for GarbageCollector {
    fn name(&self) -> &'static str {
        "garbage-collector"
    }

    fn affected(&mut self, change: &Change, _store: &Store) -> Vec<Key> {
        let owners = fields::list(&change.object, "/metadata/ownerReferences");
        for owner in owners {
            let dependents = self
                .dependents
                .entry(fields::text(owner, "/uid").to_owned())
                .or_default();
            if change.event == Event::Deleted {
                dependents.remove(&change.key);
            } else {
                dependents.insert(change.key.clone());
            }
        }
        let own = self
            .dependents
            .get(fields::uid(&change.object))
            .into_iter()
            .flatten();
        match change.event {
            // Its dependents have lost their owner; its owners may wait for its end.
            Event::Deleted => {
                let waiting = owners
                    .iter()
                    .filter_map(|owner| owner_key(&change.key.namespace, owner));
                own.cloned().chain(waiting).collect()
            }
            Event::Added if !owners.is_empty() => vec![change.key.clone()],
            Event::Modified if fields::terminating(&change.object) => {
                own.cloned().chain([change.key.clone()]).collect()
            }
            Event::Added | Event::Modified => Vec::new(),
        }
    }

    fn reconcile(&mut self, key: &Key, cluster: &mut Cluster, _random: &mut Random) -> Wake {
        let caller = Caller::new(self.name());
        match self.sync(&mut cluster.store, &caller, key) {
            Ok(()) => Wake::Idle,
            Err(refusal) if refusal.code == 404 => Wake::Idle,
            Err(_) => Wake::Retry,
        }
    }
}

impl GarbageCollector {
    fn sync(&self, store: &mut Store, caller: &Caller, key: &Key) -> Result<(), Refusal> {
        let Some(object) = store.get(key).cloned() else {
            return Ok(());
        };
        let marked = |name: &str| {
            fields::terminating(&object)
                && fields::list(&object, "/metadata/finalizers")
                    .iter()
                    .any(|finalizer| finalizer == name)
        };
        if marked(FOREGROUND) {
            self.delete_dependents_first(store, caller, key, &object)
        } else if marked(ORPHAN) {
            for dependent in self.of(&object) {
                drop_owners(store, caller, &dependent, &[fields::uid(&object)])?;
            }
            drop_finalizer(store, caller, key, ORPHAN)
        } else if fields::terminating(&object) {
            Ok(())
        } else {
            self.delete_if_ownerless(store, caller, key, &object)
        }
    }

    fn of(&self, owner: &Value) -> Vec<Key> {
        self.dependents
            .get(fields::uid(owner))
            .into_iter()
            .flatten()
            .cloned()
            .collect()
    }

    fn delete_dependents_first(
        &self,
        store: &mut Store,
        caller: &Caller,
        key: &Key,
        object: &Value,
    ) -> Result<(), Refusal> {
        let mut blocked = false;
        for dependent in self.of(object) {
            let Some(found) = store.get(&dependent).cloned() else {
                continue;
            };
            let mut owners = fields::list(&found, "/metadata/ownerReferences").iter();
            blocked |= owners.any(|owner| {
                fields::text(owner, "/uid") == fields::uid(object)
                    && fields::flag(owner, "/blockOwnerDeletion")
            });
            if !fields::terminating(&found) {
                self.delete_if_ownerless(store, caller, &dependent, &found)?;
            }
        }
        if blocked {
            Ok(())
        } else {
            drop_finalizer(store, caller, key, FOREGROUND)
        }
    }

    /// Deletes an object whose owners are all gone or wait for their dependents; takes away references to
    /// such owners while another one lives.
    fn delete_if_ownerless(
        &self,
        store: &mut Store,
        caller: &Caller,
        key: &Key,
        object: &Value,
    ) -> Result<(), Refusal> {
        let owners = fields::list(object, "/metadata/ownerReferences");
        if owners.is_empty() {
            return Ok(());
        }
        let mut dead = Vec::new();
        let mut waiting = false;
        for owner in owners {
            let found = owner_key(&key.namespace, owner).and_then(|key| store.get(&key));
            match found.filter(|found| fields::uid(found) == fields::text(owner, "/uid")) {
                None => dead.push(fields::text(owner, "/uid")),
                Some(found) if fields::terminating(found) && has_finalizer(found, FOREGROUND) => {
                    waiting = true;
                    dead.push(fields::text(owner, "/uid"));
                }
                Some(_) => {}
            }
        }
        if dead.len() < owners.len() {
            return if dead.is_empty() {
                Ok(())
            } else {
                drop_owners(store, caller, key, &dead)
            };
        }
        let foreground = (waiting && !self.of(object).is_empty()) || has_finalizer(object, FOREGROUND);
        let propagation = match (foreground, has_finalizer(object, ORPHAN)) {
            (true, _) => Propagation::Foreground,
            (false, true) => Propagation::Orphan,
            (false, false) => Propagation::Background,
        };
        let uid = Some(fields::uid(object).to_owned());
        let options = DeleteOptions {
            uid,
            propagation: Some(propagation),
            ..DeleteOptions::default()
        };
        store.delete(caller, key, &options).map(drop)
    }
}

fn has_finalizer(object: &Value, name: &str) -> bool {
    fields::list(object, "/metadata/finalizers")
        .iter()
        .any(|finalizer| finalizer == name)
}

fn owner_key(namespace: &str, owner: &Value) -> Option<Key> {
    let kind = Kind::of_object(fields::text(owner, "/apiVersion"), fields::text(owner, "/kind"))?;
    let namespace = if kind.traits().namespaced { namespace } else { "" };
    Some(Key::new(kind, namespace, fields::text(owner, "/name")))
}

fn drop_owners(store: &mut Store, caller: &Caller, key: &Key, uids: &[&str]) -> Result<(), Refusal> {
    let done = store.modify(caller, key, Part::Main, |object| {
        let mut owners = fields::list(object, "/metadata/ownerReferences").to_vec();
        owners.retain(|owner| !uids.contains(&fields::text(owner, "/uid")));
        fields::set(object, "/metadata/ownerReferences", owners);
    });
    match done {
        Err(refusal) if refusal.code != 404 => Err(refusal),
        Ok(_) | Err(_) => Ok(()),
    }
}

fn drop_finalizer(store: &mut Store, caller: &Caller, key: &Key, name: &str) -> Result<(), Refusal> {
    store
        .modify(caller, key, Part::Main, |object| {
            let mut finalizers = fields::list(object, "/metadata/finalizers").to_vec();
            finalizers.retain(|finalizer| finalizer != name);
            fields::set(object, "/metadata/finalizers", finalizers);
        })
        .map(drop)
}

/// The namespace controller: it empties a namespace that is being deleted.
#[derive(Debug, Default)]
pub struct Namespaces;

impl Model for Namespaces {
    fn name(&self) -> &'static str {
        "namespace-controller"
    }

    fn affected(&mut self, change: &Change, store: &Store) -> Vec<Key> {
        if change.key.kind == Kind::Namespace {
            return vec![change.key.clone()];
        }
        let namespace = Key::new(Kind::Namespace, "", &change.key.namespace);
        let dying = store
            .get(&namespace)
            .is_some_and(|found| fields::terminating(found));
        if dying && change.event != Event::Modified {
            vec![namespace]
        } else {
            Vec::new()
        }
    }

    fn reconcile(&mut self, key: &Key, cluster: &mut Cluster, _random: &mut Random) -> Wake {
        let caller = Caller::new(self.name());
        let store = &mut cluster.store;
        let Some(namespace) = store.get(key).cloned().filter(|found| fields::terminating(found)) else {
            return Wake::Idle;
        };
        let content: Vec<_> = store
            .objects()
            .filter(|(inner, _)| inner.namespace == key.name)
            .map(|(inner, object)| (inner.clone(), Arc::clone(object)))
            .collect();
        for (inner, object) in &content {
            if !fields::terminating(object)
                && store
                    .delete(&caller, inner, &DeleteOptions::background())
                    .is_err()
            {
                return Wake::Retry;
            }
        }
        let left = store.objects().any(|(inner, _)| inner.namespace == key.name);
        if left || !has_finalizer(&namespace, "kubernetes") {
            return Wake::Idle;
        }
        match drop_finalizer(store, &caller, key, "kubernetes") {
            Ok(()) => Wake::Idle,
            Err(_) => Wake::Retry,
        }
    }
}
