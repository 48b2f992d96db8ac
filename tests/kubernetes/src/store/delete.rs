//! Deletion: preconditions, propagation, finalizers and grace.

use std::{sync::Arc, time::Duration};

use serde_json::{Value, json};

use super::{
    Caller, Event, Key, Store,
    admission::{Operation, Review},
};
use crate::{clock, fields, kind::Kind, refusal::Refusal};

/// What happens to the objects that the deleted one owns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Propagation {
    /// They are deleted afterwards.
    Background,
    /// They are deleted first.
    Foreground,
    /// They stay, without this owner.
    Orphan,
}

/// The options of a deletion.
#[derive(Clone, Debug, Default)]
pub struct DeleteOptions {
    /// The UID that the object must have.
    pub uid: Option<String>,
    /// The version that the object must have.
    pub resource_version: Option<String>,
    /// What happens to dependents; the kind's default when absent.
    pub propagation: Option<Propagation>,
    /// The seconds that a pod is given; the pod's own when absent.
    pub grace: Option<i64>,
}

impl DeleteOptions {
    /// Reads the body of a request.
    pub fn parse(body: &Value) -> Self {
        let text =
            |pointer: &str| Some(fields::text(body, pointer).to_owned()).filter(|text| !text.is_empty());
        Self {
            uid: text("/preconditions/uid"),
            resource_version: text("/preconditions/resourceVersion"),
            propagation: match fields::text(body, "/propagationPolicy") {
                "Background" => Some(Propagation::Background),
                "Foreground" => Some(Propagation::Foreground),
                "Orphan" => Some(Propagation::Orphan),
                _ => None,
            },
            grace: fields::number(body, "/gracePeriodSeconds"),
        }
    }

    /// The usual deletion with dependents.
    pub fn background() -> Self {
        Self {
            propagation: Some(Propagation::Background),
            ..Self::default()
        }
    }

    fn check(&self, key: &Key, object: &Value) -> Result<(), Refusal> {
        let test = |what: &str, wanted: Option<&String>, found: &str, happened: &str| match wanted {
            Some(wanted) if wanted != found => {
                let why = format!(
                    "the {what} in the precondition ({wanted}) does not match the {what} in record ({found}). \
                     The object might have been {happened}"
                );
                // This one message names the kind where others name the resource.
                let mut refusal = Refusal::conflict(key.kind, &key.name, &why);
                let (resource, kind) = (key.kind.qualified_resource(), key.kind.qualified_kind());
                refusal.message = refusal.message.replacen(&resource, &kind, 1);
                refusal.details["kind"] = key.kind.traits().kind.into();
                Err(refusal)
            }
            _ => Ok(()),
        };
        test(
            "UID",
            self.uid.as_ref(),
            fields::uid(object),
            "deleted and then recreated",
        )?;
        let version = fields::text(object, "/metadata/resourceVersion");
        test(
            "ResourceVersion",
            self.resource_version.as_ref(),
            version,
            "modified",
        )
    }
}

impl Store {
    /// Deletes an object, or marks it for deletion where finalizers or grace keep it.
    /// Returns its last state, and whether it is gone.
    pub fn delete(
        &mut self,
        caller: &Caller,
        key: &Key,
        options: &DeleteOptions,
    ) -> Result<(Arc<Value>, bool), Refusal> {
        let Some(current) = self.get(key).cloned() else {
            return Err(Refusal::not_found(key.kind, &key.name));
        };
        options.check(key, &current)?;
        self.admit(&Review {
            caller,
            operation: Operation::Delete,
            key,
            old: &current,
            new: &Value::Null,
            status: false,
        })?;
        let object = self.marked(key, &current, options);
        if caller.dry_run {
            let gone = releasable(&object);
            return Ok((if gone { current } else { Arc::new(object) }, gone));
        }
        if releasable(&object) {
            // What goes at once goes without the marks.
            let last = if fields::terminating(&current) {
                object
            } else {
                Value::clone(&current)
            };
            return Ok((self.commit(caller, Event::Deleted, key, last), true));
        }
        if object == *current {
            return Ok((current, false));
        }
        Ok((self.commit(caller, Event::Modified, key, object), false))
    }

    /// The object with the marks of its deletion.
    fn marked(&self, key: &Key, current: &Value, options: &DeleteOptions) -> Value {
        let mut object = current.clone();
        let grace = grace(key.kind, current, options);
        let finalizers = finalizers(key.kind, current, options);
        if finalizers.is_empty() {
            fields::remove(&mut object, "/metadata/finalizers");
        } else {
            fields::set(&mut object, "/metadata/finalizers", finalizers);
        }
        if fields::terminating(current) {
            shorten(
                &mut object,
                grace,
                options.grace.is_some() || fields::finished(current),
            );
            return object;
        }
        let wait = Duration::from_secs(u64::try_from(grace).unwrap_or_default());
        let at = clock::after(self.now(), wait);
        fields::set(&mut object, "/metadata/deletionTimestamp", clock::seconds(at));
        fields::set(&mut object, "/metadata/deletionGracePeriodSeconds", grace);
        if let Some(generation) = fields::number(current, "/metadata/generation") {
            fields::set(&mut object, "/metadata/generation", generation + 1);
        }
        if key.kind == Kind::Namespace {
            fields::set(&mut object, "/status/phase", "Terminating");
        }
        object
    }
}

/// A second deletion may only shorten the grace of the first.
fn shorten(object: &mut Value, grace: i64, asked: bool) {
    let before = fields::count(object, "/metadata/deletionGracePeriodSeconds");
    let at = clock::read(fields::text(object, "/metadata/deletionTimestamp"));
    let Some(at) = at.filter(|_| asked && grace < before) else {
        return;
    };
    let at = at - jiff::SignedDuration::from_secs(before - grace);
    fields::set(object, "/metadata/deletionTimestamp", clock::seconds(at));
    fields::set(object, "/metadata/deletionGracePeriodSeconds", grace);
}

/// The grace in seconds: only a pod on a node whose containers still run has one.
fn grace(kind: Kind, object: &Value, options: &DeleteOptions) -> i64 {
    let placed = !fields::text(object, "/spec/nodeName").is_empty();
    if kind != Kind::Pod || !placed || fields::finished(object) {
        return 0;
    }
    let own = fields::number(object, "/spec/terminationGracePeriodSeconds").unwrap_or(30);
    options.grace.unwrap_or(own).max(0)
}

/// The object's finalizers with the one that the propagation asks for.
fn finalizers(kind: Kind, object: &Value, options: &DeleteOptions) -> Vec<Value> {
    const FOREGROUND: &str = "foregroundDeletion";
    const ORPHAN: &str = "orphan";
    let mut finalizers = fields::list(object, "/metadata/finalizers").to_vec();
    if kind == Kind::Namespace && !fields::terminating(object) {
        finalizers.push(json!("kubernetes"));
    }
    let wanted = match options.propagation {
        Some(Propagation::Foreground) => Some(FOREGROUND),
        Some(Propagation::Orphan) => Some(ORPHAN),
        Some(Propagation::Background) => None,
        // Only batch/v1 Jobs leave their pods behind when the request does not say.
        None if kind == Kind::Job && !fields::terminating(object) => Some(ORPHAN),
        None => return finalizers,
    };
    finalizers.retain(|name| name != FOREGROUND && name != ORPHAN);
    finalizers.extend(wanted.map(Value::from));
    finalizers
}

/// Whether nothing keeps a marked object any more.
pub(super) fn releasable(object: &Value) -> bool {
    fields::terminating(object)
        && fields::list(object, "/metadata/finalizers").is_empty()
        && fields::count(object, "/metadata/deletionGracePeriodSeconds") == 0
}
