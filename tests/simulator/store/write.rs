//! Creating and changing objects.

use std::sync::Arc;

use serde_json::Value;

use super::{
    super::{
        clock, fields,
        kind::Kind,
        refusal::{Cause, Refusal},
    },
    Caller, Event, Key, Store,
    admission::{Operation, Review},
    defaults, delete, managed, patch, validation,
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
    /// Creates an object.
    pub fn create(
        &mut self,
        caller: &Caller,
        kind: Kind,
        namespace: &str,
        object: Value,
    ) -> Result<Arc<Value>, Refusal> {
        let mut object = object;
        let namespace = if kind.traits().namespaced { namespace } else { "" };
        self.name(kind, namespace, &mut object)?;
        let key = Key::new(kind, namespace, fields::name(&object));
        self.living_namespace(&key)?;
        self.furnish(kind, &mut object);
        defaults::apply(kind, &mut object);
        if kind == Kind::Service {
            self.allocate_address(&mut object);
        }
        validation::check(kind, None, &object)?;
        self.admit(&Review {
            caller,
            operation: Operation::Create,
            key: &key,
            old: &Value::Null,
            new: &object,
            status: false,
        })?;
        self.within_quota(&key)?;
        if self.get(&key).is_some() {
            return Err(Refusal::already_exists(kind, &key.name));
        }
        if kind.traits().managed && !fields::has(&object, "/metadata/managedFields") {
            managed::track(kind, None, &mut object, &caller.manager, self.now());
        }
        if caller.dry_run {
            return Ok(Arc::new(object));
        }
        Ok(self.commit(caller, Event::Added, &key, object))
    }

    /// Replaces an object, or its status.
    pub fn replace(
        &mut self,
        caller: &Caller,
        key: &Key,
        object: Value,
        part: Part,
    ) -> Result<Arc<Value>, Refusal> {
        let Some(current) = self.get(key).cloned() else {
            return if key.kind == Kind::Lease {
                self.create(caller, key.kind, &key.namespace, object)
            } else {
                Err(Refusal::not_found(key.kind, &key.name))
            };
        };
        let uid = fields::uid(&object);
        if !uid.is_empty() && uid != fields::uid(&current) {
            let found = fields::uid(&current);
            let why = format!("Precondition failed: UID in precondition: {uid}, UID in object meta: {found}");
            return Err(Refusal::conflict(key.kind, &key.name, &why));
        }
        if fields::text(&object, "/metadata/resourceVersion").is_empty() && !key.kind.traits().unconditional {
            let cause = Cause {
                field: "metadata.resourceVersion".to_owned(),
                what: "Invalid value: 0x0".to_owned(),
                why: "must be specified for an update".to_owned(),
            };
            return Err(Refusal::invalid(key.kind, &key.name, &[cause]));
        }
        self.update(caller, key, &current, object, part, true)
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
            Patch::Merge(change) => patch::merge(&mut object, change),
            Patch::Strategic(change) => patch::strategic_merge(key.kind, &mut object, change),
            Patch::Json(operations) => patch::json(&mut object, operations)?,
            Patch::Apply { body, force } => {
                if part == Part::Status {
                    patch::merge(&mut object, body);
                } else {
                    object = managed::apply(key.kind, &current, body, &caller.manager, *force, self.now())?;
                }
            }
        }
        let uid = object.pointer("/metadata/uid").cloned().unwrap_or_default();
        if !uid.is_null() && uid != fields::uid(&current) {
            let cause = Cause::invalid("metadata.uid", &uid, "field is immutable");
            return Err(Refusal::invalid(key.kind, &key.name, &[cause]));
        }
        let applied = matches!(patch, Patch::Apply { .. });
        self.update(caller, key, &current, object, part, !applied)
    }

    fn apply_new(&mut self, caller: &Caller, key: &Key, body: &Value) -> Result<Arc<Value>, Refusal> {
        let uid = fields::uid(body);
        if !uid.is_empty() {
            let why = format!(
                "uid mismatch: the provided object specified uid {uid}, and no existing object was found"
            );
            return Err(Refusal::conflict(key.kind, &key.name, &why));
        }
        let mut object = body.clone();
        if key.kind.traits().managed {
            managed::own_all(key.kind, &mut object, &caller.manager, self.now());
        }
        fields::set(&mut object, "/metadata/name", key.name.as_str());
        self.create(caller, key.kind, &key.namespace, object)
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
        let version = fields::text(&wanted, "/metadata/resourceVersion");
        if !version.is_empty() && version != fields::text(current, "/metadata/resourceVersion") {
            return Err(Refusal::stale(key.kind, &key.name));
        }
        if fields::name(&wanted) != key.name {
            let found = fields::name(&wanted);
            let name = &key.name;
            let why = format!("the name of the object ({found}) does not match the name on the URL ({name})");
            return Err(Refusal::bad_request(why));
        }
        let mut object = combine(key.kind, current, wanted, part);
        defaults::apply(key.kind, &mut object);
        validation::check(key.kind, Some(current), &object)?;
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

    /// Gives a new object its name.
    fn name(&mut self, kind: Kind, namespace: &str, object: &mut Value) -> Result<(), Refusal> {
        if fields::name(object).is_empty() {
            let prefix = fields::text(object, "/metadata/generateName").to_owned();
            if prefix.is_empty() {
                let cause = Cause::required("metadata.name", "name or generateName is required");
                return Err(Refusal::invalid(kind, "", &[cause]));
            }
            let name = format!("{prefix}{}", self.random.suffix());
            fields::set(object, "/metadata/name", name);
        }
        let named = fields::namespace(object);
        if !named.is_empty() && named != namespace {
            let why = "the namespace of the provided object does not match the namespace sent on the request";
            return Err(Refusal::bad_request(why));
        }
        if !fields::text(object, "/metadata/resourceVersion").is_empty() {
            return Err(Refusal::bad_request(
                "resourceVersion should not be set on objects to be created",
            ));
        }
        if kind.traits().namespaced {
            fields::set(object, "/metadata/namespace", namespace);
        }
        Ok(())
    }

    /// Sets what the server alone decides about a new object.
    fn furnish(&mut self, kind: Kind, object: &mut Value) {
        let known = kind.traits();
        fields::set(object, "/apiVersion", kind.api_version());
        fields::set(object, "/kind", known.kind);
        fields::set(object, "/metadata/uid", self.identity());
        fields::set(object, "/metadata/creationTimestamp", clock::seconds(self.now()));
        fields::remove(object, "/metadata/deletionTimestamp");
        fields::remove(object, "/metadata/deletionGracePeriodSeconds");
        fields::remove(object, "/metadata/generation");
        if known.generation {
            fields::set(object, "/metadata/generation", 1);
        }
        if known.status {
            fields::remove(object, "/status");
        }
    }

    fn living_namespace(&self, key: &Key) -> Result<(), Refusal> {
        if !key.kind.traits().namespaced {
            return Ok(());
        }
        let Some(namespace) = self.find(Kind::Namespace, "", &key.namespace) else {
            return Err(Refusal::not_found(Kind::Namespace, &key.namespace));
        };
        if !fields::terminating(namespace) {
            return Ok(());
        }
        let name = &key.namespace;
        let why = format!("unable to create new content in namespace {name} because it is being terminated");
        let mut refusal = Refusal::forbidden(key.kind, &key.name, &why);
        refusal.details["causes"] = serde_json::json!([{
            "reason": "NamespaceTerminating",
            "message": format!("namespace {name} is being terminated"),
            "field": "metadata.namespace",
        }]);
        Err(refusal)
    }

    fn within_quota(&self, key: &Key) -> Result<(), Refusal> {
        let Some(limit) = self
            .pod_quota
            .get(&key.namespace)
            .filter(|_| key.kind == Kind::Pod)
        else {
            return Ok(());
        };
        let pods = self.list(Kind::Pod, Some(&key.namespace));
        let used = pods.filter(|(_, pod)| !fields::finished(pod)).count();
        if used < *limit {
            return Ok(());
        }
        let why =
            format!("exceeded quota: pods, requested: pods=1, used: pods={used}, limited: pods={limit}");
        Err(Refusal::forbidden(key.kind, &key.name, &why))
    }

    fn allocate_address(&mut self, service: &mut Value) {
        if fields::has(service, "/spec/clusterIP") || fields::text(service, "/spec/type") == "ExternalName" {
            return;
        }
        let address = format!("10.96.{}.{}", self.random.below(256), self.random.below(254) + 1);
        fields::set(service, "/spec/clusterIP", address.as_str());
        fields::set(service, "/spec/clusterIPs", vec![address]);
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
    let mut object = match part {
        Part::Main => wanted,
        Part::Status => {
            let (mut object, mut wanted) = (current.clone(), wanted);
            take_over(&mut object, &mut wanted, "/status");
            // The built-in kinds let a status write change annotations; custom resources do not.
            if kind != Kind::Release {
                take_over(&mut object, &mut wanted, "/metadata/annotations");
            }
            return object;
        }
    };
    if kind.traits().status {
        match current.get("status") {
            Some(status) => fields::set(&mut object, "/status", status.clone()),
            None => drop(fields::remove(&mut object, "/status")),
        }
    }
    for pointer in SERVERS {
        match fields::at(current, pointer) {
            Some(value) => fields::set(&mut object, pointer, value.clone()),
            None => drop(fields::remove(&mut object, pointer)),
        }
    }
    if !fields::has(&object, "/metadata/managedFields")
        && let Some(managed) = current.pointer("/metadata/managedFields")
    {
        fields::set(&mut object, "/metadata/managedFields", managed.clone());
    }
    object
}

/// Replaces a field by that of another object.
fn take_over(object: &mut Value, other: &mut Value, pointer: &str) {
    match other.pointer_mut(pointer).map(Value::take) {
        Some(value) => fields::set(object, pointer, value),
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
