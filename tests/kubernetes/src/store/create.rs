//! Creating objects.

use std::sync::Arc;

use serde_json::Value;

use super::{
    Caller, Event, Key, Store,
    admission::{Operation, Review},
    defaults, managed, validation,
};
use crate::{
    clock, fields,
    kind::Kind,
    refusal::{Cause, Refusal},
};

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
        defaults::create(kind, &mut object);
        if kind == Kind::Service {
            self.allocate_address(&mut object);
        }
        validation::check(kind, None, &object, None)?;
        self.admit(&Review {
            caller,
            operation: Operation::Create,
            key: &key,
            old: &Value::Null,
            new: &object,
            status: false,
        })?;
        self.within_quota(&key)?;
        if let Some(found) = self.get(&key) {
            let mut refusal = Refusal::already_exists(kind, &key.name);
            if fields::terminating(found) {
                refusal.message = format!("object is being deleted: {}", refusal.message);
            }
            return Err(refusal);
        }
        if kind.traits().managed && !fields::has(&object, "/metadata/managedFields") {
            managed::track(kind, None, &mut object, &caller.manager, self.now());
        }
        if caller.dry_run {
            return Ok(Arc::new(object));
        }
        Ok(self.commit(caller, Event::Added, &key, object))
    }

    /// Creates the object that a server-side apply wants.
    pub(super) fn apply_new(
        &mut self,
        caller: &Caller,
        key: &Key,
        body: &Value,
    ) -> Result<Arc<Value>, Refusal> {
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
        fields::remove(&mut object, "/metadata/resourceVersion");
        self.create(caller, key.kind, &key.namespace, object)
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
