//! The history that an audit log tells: what was there at the start, and the bodies that the log keeps of writes.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;
use slipway_kubernetes::{
    fields,
    kind::Kind,
    store::{Change, Event, Key},
};

use super::audit::{AuditEvent, resource_version};
use crate::{calls::Call, differences::right_before, past::CONTROLLER};

/// The kinds whose states are followed.
const KINDS: [Kind; 5] = [
    Kind::Deployment,
    Kind::ReplicaSet,
    Kind::Service,
    Kind::Release,
    Kind::Job,
];

/// Verbs as RBAC writes them.
const VERBS: [&str; 8] = [
    "get",
    "list",
    "watch",
    "create",
    "update",
    "patch",
    "delete",
    "deletecollection",
];

/// The objects that were there when the observer started.
#[derive(Clone, Debug, Default)]
pub struct Baseline(pub BTreeMap<Key, Arc<Value>>);

impl Baseline {
    /// Adds the items of a list answer.
    pub fn add(&mut self, namespace: &str, resource: &str, list: &Value) {
        let Some(kind) = kind_of(resource) else { return };
        for item in fields::list(list, "/items") {
            let key = Key::new(kind, namespace, fields::name(item));
            self.0.insert(key, Arc::new(item.clone()));
        }
    }
}

fn kind_of(resource: &str) -> Option<Kind> {
    Kind::ALL
        .into_iter()
        .find(|kind| kind.traits().resource == resource)
}

/// The object that a request is about.
pub(super) fn key(event: &AuditEvent) -> Option<Key> {
    let kind = kind_of(&event.object_ref.resource)?;
    Some(Key::new(kind, &event.object_ref.namespace, event.name()))
}

/// Who asked: the controller under the name that its processes have in a history.
fn actor(event: &AuditEvent, controller: &str) -> Arc<str> {
    match event.username() {
        user if user == controller => CONTROLLER.into(),
        user => user.into(),
    }
}

/// Every successful write of an object in the order in which the server made them, which is not always the order of
/// the log's lines; before them, what was there.
pub(super) fn changes(baseline: &Baseline, requests: &[&AuditEvent], controller: &str) -> Vec<Change> {
    let mut writes: Vec<_> = requests
        .iter()
        .filter(|event| event.is_write() && event.succeeded() && !event.verb.starts_with("delete"))
        // Other subresources, such as `scale`, answer with an object of another kind.
        .filter(|event| matches!(event.object_ref.subresource.as_str(), "" | "status"))
        .filter_map(|event| Some((event.resource_version()?, key(event)?, *event)))
        .filter(|(_, key, _)| KINDS.contains(&key.kind))
        .collect();
    writes.sort_by_key(|(version, ..)| *version);
    let mut changes: Vec<_> = baseline.0.iter().map(found).collect();
    let mut present = baseline.0.clone();
    for (version, key, event) in writes {
        let known = present.get(&key).filter(|_| event.verb != "create");
        if known
            .and_then(|known| resource_version(known))
            .is_some_and(|seen| seen > version)
        {
            continue;
        }
        let object = &event.response_object;
        let how = (event.verb.as_str(), event.object_ref.subresource.as_str());
        let before = right_before(known.map(Arc::as_ref), object, how, &event.request_object);
        let added = event.verb == "create";
        present.insert(key.clone(), Arc::clone(object));
        changes.push(Change {
            version,
            at: event.received_at,
            actor: actor(event, controller),
            event: if added { Event::Added } else { Event::Modified },
            key,
            before: (!added).then(|| Arc::new(before)),
            object: Arc::clone(object),
        });
    }
    changes
}

/// An object that was there at the start.
fn found((key, object): (&Key, &Arc<Value>)) -> Change {
    Change {
        version: resource_version(object).unwrap_or_default(),
        at: jiff::Timestamp::default(),
        actor: "".into(),
        event: Event::Added,
        key: key.clone(),
        before: None,
        object: Arc::clone(object),
    }
}

/// The controller's requests.
pub(super) fn calls(requests: &[&AuditEvent], controller: &str) -> Vec<Call> {
    let own = requests.iter().filter(|event| event.username() == controller);
    let calls = own.map(|event| Call {
        at: event.received_at,
        actor: CONTROLLER.into(),
        verb: VERBS
            .into_iter()
            .find(|verb| *verb == event.verb)
            .unwrap_or_default(),
        path: event.uri.split('?').next().unwrap_or_default().to_owned(),
        kind: kind_of(&event.object_ref.resource),
        namespace: event.object_ref.namespace.clone(),
        name: event.name().to_owned(),
        subresource: event.object_ref.subresource.clone(),
        body: Arc::clone(&event.request_object),
        code: Some(event.response_status.code).filter(|code| *code > 0),
        ..Call::default()
    });
    calls.collect()
}
