//! Creating and changing objects.

use std::{collections::BTreeSet, sync::Arc};

use serde_json::{Map, Value};

use super::{
    Caller, Event, Key, Store,
    admission::{Operation, Review},
    defaults, delete, managed, patch, validation,
};
use crate::{
    fields,
    kind::Kind,
    refusal::{Cause, Refusal},
};

/// The part of an object that a request writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// All but the status.
    Main,
    /// The status subresource.
    Status,
}

/// A partial change.
#[derive(Clone, Debug)]
pub enum Patch {
    /// RFC 7386.
    Merge(Value),
    /// Merge with lists merged by their keys.
    Strategic(Value),
    /// RFC 6902.
    Json(Value),
    /// Server-side apply.
    Apply {
        /// The fields that the manager wants.
        body: Value,
        /// Whether it takes fields from other managers.
        force: bool,
    },
}

impl Store {
    /// Replaces an object, or its status.
    pub fn replace(
        &mut self,
        caller: &Caller,
        key: &Key,
        object: Value,
        part: Part,
    ) -> Result<Arc<Value>, Refusal> {
        let Some(current) = self.get(key).cloned() else {
            return self.replace_absent(caller, key, object);
        };
        let uid = fields::uid(&object);
        if !uid.is_empty() && uid != fields::uid(&current) {
            return Err(wrong_uid(key, uid, fields::uid(&current)));
        }
        if fields::text(&object, "/metadata/resourceVersion").is_empty() && !key.kind.traits().unconditional {
            let cause = Cause {
                field: "metadata.resourceVersion".to_owned(),
                what: "Invalid value: 0".to_owned(),
                why: "must be specified for an update".to_owned(),
            };
            // This one message names the resource where others name the kind.
            let mut refusal = Refusal::invalid(key.kind, &key.name, &[cause]);
            let (kind, resource) = (key.kind.qualified_kind(), key.kind.qualified_resource());
            refusal.message = refusal.message.replacen(&kind, &resource, 1);
            refusal.details["kind"] = key.kind.traits().resource.into();
            return Err(refusal);
        }
        self.update(caller, key, &current, object, part, true)
    }

    /// A few kinds may be created by a replace.
    fn replace_absent(&mut self, caller: &Caller, key: &Key, object: Value) -> Result<Arc<Value>, Refusal> {
        if !matches!(key.kind, Kind::Lease | Kind::Service) {
            return Err(Refusal::not_found(key.kind, &key.name));
        }
        let uid = fields::uid(&object);
        if !uid.is_empty() {
            return Err(wrong_uid(key, uid, ""));
        }
        let mut object = object;
        fields::remove(&mut object, "/metadata/resourceVersion");
        self.create(caller, key.kind, &key.namespace, object)
    }

    /// Changes an object, or its status, in part. Server-side apply may create it.
    pub fn patch(
        &mut self,
        caller: &Caller,
        key: &Key,
        patch: &Patch,
        part: Part,
    ) -> Result<Arc<Value>, Refusal> {
        let Some(current) = self.get(key).cloned() else {
            return match patch {
                Patch::Apply { body, .. } if part == Part::Main => self.apply_new(caller, key, body),
                Patch::Apply { .. } | Patch::Merge(_) | Patch::Strategic(_) | Patch::Json(_) => {
                    Err(Refusal::not_found(key.kind, &key.name))
                }
            };
        };
        let mut object = Value::clone(&current);
        match patch {
            Patch::Merge(change) => json_patch::merge(&mut object, change),
            Patch::Strategic(change) => patch::strategic_merge(key.kind, &mut object, change),
            Patch::Json(operations) => patch::json(&mut object, operations)?,
            Patch::Apply { body, force } => {
                if part == Part::Status {
                    json_patch::merge(&mut object, body);
                } else {
                    object = managed::apply(key.kind, &current, body, &caller.manager, *force, self.now())?;
                }
            }
        }
        let applied = matches!(patch, Patch::Apply { .. });
        self.update(caller, key, &current, object, part, !applied)
    }

    /// Writes the wanted state of one part over the current object.
    fn update(
        &mut self,
        caller: &Caller,
        key: &Key,
        current: &Arc<Value>,
        wanted: Value,
        part: Part,
        track: bool,
    ) -> Result<Arc<Value>, Refusal> {
        fresh(key, current, &wanted)?;
        if fields::name(&wanted) != key.name {
            let found = fields::name(&wanted);
            let name = &key.name;
            let why = format!("the name of the object ({found}) does not match the name on the URL ({name})");
            return Err(Refusal::bad_request(why));
        }
        let another = another_uid(current, &wanted);
        let mut object = combine(key.kind, current, wanted, part);
        if key.kind == Kind::Service {
            keep_address(current, &mut object);
        }
        defaults::apply(key.kind, &mut object);
        validation::check(key.kind, Some(current), &object, another)?;
        count_generation(key.kind, current, &mut object, part);
        if track && part == Part::Main && key.kind.traits().managed {
            managed::track(key.kind, Some(current), &mut object, &caller.manager, self.now());
        }
        self.admit(&Review {
            caller,
            operation: Operation::Update,
            key,
            old: current,
            new: &object,
            status: part == Part::Status,
        })?;
        if caller.dry_run {
            return Ok(Arc::new(object));
        }
        if delete::releasable(&object) {
            return Ok(self.commit(caller, Event::Deleted, key, object));
        }
        if object == **current {
            return Ok(Arc::clone(current));
        }
        Ok(self.commit(caller, Event::Modified, key, object))
    }

    pub(super) fn admit(&self, review: &Review<'_>) -> Result<(), Refusal> {
        self.admission.iter().try_for_each(|admission| admission(review))
    }
}

/// What only the server sets, and no write changes.
const SERVERS: [&str; 11] = [
    "/apiVersion",
    "/kind",
    "/metadata/name",
    "/metadata/namespace",
    "/metadata/uid",
    "/metadata/creationTimestamp",
    "/metadata/generation",
    "/metadata/resourceVersion",
    "/metadata/deletionTimestamp",
    "/metadata/deletionGracePeriodSeconds",
    "/metadata/generateName",
];

/// The current object with one part taken from the wanted one. What only the server sets stays.
fn combine(kind: Kind, current: &Value, wanted: Value, part: Part) -> Value {
    let mut object = wanted;
    match part {
        Part::Main if kind.traits().status => take_over(&mut object, current, "/status"),
        Part::Main => {}
        // A custom resource's status is written alone.
        Part::Status if kind == Kind::Release => {
            let status = object;
            object = current.clone();
            take_over(&mut object, &status, "/status");
            return object;
        }
        // With that of the built-in kinds goes metadata, but for the labels of a Deployment.
        Part::Status => {
            let keys = [&object, current].into_iter().filter_map(Value::as_object);
            let keys: BTreeSet<_> = keys.flat_map(Map::keys).cloned().collect();
            for key in keys.iter().filter(|key| *key != "metadata" && *key != "status") {
                take_over(&mut object, current, &format!("/{key}"));
            }
            if kind == Kind::Deployment {
                take_over(&mut object, current, "/metadata/labels");
            }
        }
    }
    for pointer in SERVERS {
        take_over(&mut object, current, pointer);
    }
    if !fields::has(&object, "/metadata/managedFields")
        && let Some(managed) = current.pointer("/metadata/managedFields")
    {
        fields::set(&mut object, "/metadata/managedFields", managed.clone());
    }
    object
}

/// Replaces a field by that of another object.
fn take_over(object: &mut Value, other: &Value, pointer: &str) {
    match fields::at(other, pointer) {
        Some(value) => fields::set(object, pointer, value.clone()),
        None => drop(fields::remove(object, pointer)),
    }
}

/// A change of anything but metadata and status is a new generation; for a Deployment, one of its
/// annotations too.
fn count_generation(kind: Kind, current: &Value, object: &mut Value, part: Part) {
    let Some(generation) = fields::number(current, "/metadata/generation") else {
        return;
    };
    let annotations = "/metadata/annotations";
    let annotated = kind == Kind::Deployment
        && part == Part::Main
        && current.pointer(annotations) != object.pointer(annotations);
    let differs = |key: &str| current.get(key) != object.get(key);
    let keys = [current, object]
        .into_iter()
        .filter_map(Value::as_object)
        .flat_map(|map| map.keys());
    let content = keys
        .filter(|key| !matches!(key.as_str(), "metadata" | "status"))
        .any(|key| differs(key));
    if annotated || content {
        fields::set(object, "/metadata/generation", generation + 1);
    }
}

/// Whether a write names no version, or the current one.
fn fresh(key: &Key, current: &Value, wanted: &Value) -> Result<(), Refusal> {
    let version = fields::text(wanted, "/metadata/resourceVersion");
    if version.is_empty() || version == fields::text(current, "/metadata/resourceVersion") {
        Ok(())
    } else {
        Err(Refusal::stale(key.kind, &key.name))
    }
}

/// What is wrong with a write that names another UID.
fn another_uid(current: &Value, wanted: &Value) -> Option<Cause> {
    let uid = fields::at(wanted, "/metadata/uid")?;
    let same = uid.is_null() || uid == fields::uid(current);
    (!same).then(|| Cause::invalid("metadata.uid", uid, "field is immutable"))
}

/// A Service that is written without its address keeps it.
fn keep_address(current: &Value, object: &mut Value) {
    for pointer in ["/spec/clusterIP", "/spec/clusterIPs"] {
        if let Some(address) = fields::at(current, pointer) {
            fields::default(object, pointer, address.clone());
        }
    }
}

/// The conflict of a replace with the UID of another object, as the storage words it.
fn wrong_uid(key: &Key, wanted: &str, found: &str) -> Refusal {
    let known = key.kind.traits();
    let place = match key.kind {
        Kind::Service => "services/specs".to_owned(),
        Kind::Release => format!("{}/{}", known.group, known.resource),
        _ => known.resource.to_owned(),
    };
    let why = format!(
        "StorageError: invalid object, Code: 4, Key: /registry/{place}/{}/{}, ResourceVersion: 0, \
         AdditionalErrorMsg: Precondition failed: UID in precondition: {wanted}, UID in object meta: {found}",
        key.namespace, key.name
    );
    Refusal::conflict(key.kind, &key.name, &why)
}
