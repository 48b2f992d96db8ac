//! The history of single objects, put together from what was there at the start and the bodies that the
//! audit log keeps.

use std::collections::BTreeMap;

use serde_json::Value;

use super::audit::{AuditEvent, resource_version};
use super::difference::{Difference, asked_for, differences};

/// Which object: plural resource and name, in the observed namespace.
pub type Key = (String, String);

/// The object that a request is about.
pub(super) fn key(event: &AuditEvent) -> Key {
    (event.object_ref.resource.clone(), event.name().to_owned())
}

/// The objects that were there when the observer started.
#[derive(Clone, Debug, Default)]
pub struct Baseline(pub BTreeMap<Key, Value>);

impl Baseline {
    /// Adds the items of a list answer.
    pub fn add(&mut self, resource: &str, list: &Value) {
        for item in list["items"].as_array().into_iter().flatten() {
            let name = item["metadata"]["name"].as_str().unwrap_or_default();
            self.0
                .insert((resource.to_owned(), name.to_owned()), item.clone());
        }
    }
}

/// One successful write of one object.
#[derive(Clone, Debug)]
pub struct Change<'a> {
    /// The request.
    pub event: &'a AuditEvent,
    /// The object before it; `None` if that is not known, or it was not there.
    pub before: Option<&'a Value>,
    /// What this request changed. Without a known object before, everything.
    pub differences: Vec<Difference>,
}

impl Change<'_> {
    /// The object after the write.
    pub fn after(&self) -> &Value {
        &self.event.response_object
    }
}

/// Every successful write of objects of these resources in the order in which the server made them,
/// which is not always the order of the log's lines.
pub fn changes<'a>(
    baseline: &'a Baseline,
    requests: &[&'a AuditEvent],
    resources: &[&str],
) -> Vec<Change<'a>> {
    let mut writes: Vec<_> = requests
        .iter()
        .filter(|event| event.is_write() && event.succeeded())
        .filter(|event| matches!(event.verb.as_str(), "create" | "update" | "patch"))
        .filter(|event| resources.contains(&event.object_ref.resource.as_str()))
        // Other subresources, such as `scale`, answer with an object of another kind.
        .filter(|event| matches!(event.object_ref.subresource.as_str(), "" | "status"))
        .filter_map(|event| Some((event.resource_version()?, *event)))
        .collect();
    writes.sort_by_key(|(version, _)| *version);
    let mut present: BTreeMap<Key, &Value> = baseline
        .0
        .iter()
        .map(|(key, object)| (key.clone(), object))
        .collect();
    let mut changes = Vec::new();
    for (version, event) in writes {
        let key = key(event);
        let before = present.get(&key).copied().filter(|_| event.verb != "create");
        if before
            .and_then(resource_version)
            .is_some_and(|seen| seen > version)
        {
            continue;
        }
        let all = differences(before.unwrap_or(&Value::Null), &event.response_object);
        let differences = asked_for(all, &event.verb, &event.request_object);
        present.insert(key, &event.response_object);
        changes.push(Change {
            event,
            before,
            differences,
        });
    }
    changes
}
