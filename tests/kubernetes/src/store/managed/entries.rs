//! The record of field managers in `metadata.managedFields`.

use std::{cmp::Ordering, collections::BTreeMap};

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::{Fields, Path};
use crate::{clock, fields, kind::Kind};

/// One manager's fields.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    manager: String,
    operation: String,
    time: String,
    pub(super) fields: Fields,
}

impl Entry {
    pub(super) fn is(&self, manager: &str, operation: &str) -> bool {
        self.manager == manager && self.operation == operation
    }
}

/// All managers of an object.
#[derive(Clone, Debug, Default)]
pub(super) struct Entries {
    pub(super) list: Vec<Entry>,
}

impl Entries {
    /// Reads the record of an object.
    pub(super) fn read(object: &Value) -> Self {
        let entry = |entry: &Value| {
            let mut fields = Fields::new();
            collect(
                entry.get("fieldsV1").unwrap_or(&Value::Null),
                &mut Vec::new(),
                &mut fields,
            );
            Entry {
                manager: fields::text(entry, "/manager").to_owned(),
                operation: fields::text(entry, "/operation").to_owned(),
                time: fields::text(entry, "/time").to_owned(),
                fields,
            }
        };
        Self {
            list: fields::list(object, "/metadata/managedFields")
                .iter()
                .map(entry)
                .collect(),
        }
    }

    /// The fields of a manager by an operation.
    pub(super) fn of(&mut self, manager: &str, operation: &str) -> &mut Entry {
        let index = self
            .list
            .iter()
            .position(|entry| entry.is(manager, operation))
            .unwrap_or_else(|| {
                let (manager, operation) = (manager.to_owned(), operation.to_owned());
                self.list.push(Entry {
                    manager,
                    operation,
                    time: String::new(),
                    fields: Fields::new(),
                });
                self.list.len() - 1
            });
        &mut self.list[index]
    }

    /// The fields that others than this applier own, by the name that the message gives these others.
    pub(super) fn conflicts(
        &self,
        kind: Kind,
        fields: &Fields,
        manager: &str,
    ) -> BTreeMap<String, Vec<String>> {
        let mut conflicts: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for entry in self.list.iter().filter(|entry| !entry.is(manager, "Apply")) {
            let mut paths: Vec<_> = fields.intersection(&entry.fields).collect();
            paths.sort_by(|one, other| leaves_first(one, other));
            for path in paths {
                let mut who = format!("\"{}\"", entry.manager);
                if entry.operation == "Update" {
                    who = format!("{who} using {}", kind.api_version());
                }
                conflicts.entry(who).or_default().push(readable(path));
            }
        }
        conflicts
    }

    /// Writes the entries into the object; an entry whose fields stayed the same keeps its time.
    pub(super) fn write(self, kind: Kind, object: &mut Value, at: Timestamp) {
        let before = Self::read(object);
        let entries: Vec<_> = self
            .list
            .into_iter()
            .filter(|entry| !entry.fields.is_empty())
            .map(|entry| {
                let same = before.list.iter().find(|old| {
                    old.is(&entry.manager, &entry.operation)
                        && old.fields == entry.fields
                        && !old.time.is_empty()
                });
                json!({
                    "manager": entry.manager,
                    "operation": entry.operation,
                    "apiVersion": kind.api_version(),
                    "time": same.map_or_else(|| clock::seconds(at), |old| old.time.clone()),
                    "fieldsType": "FieldsV1",
                    "fieldsV1": tree(&entry.fields),
                })
            })
            .collect();
        if entries.is_empty() {
            fields::remove(object, "/metadata/managedFields");
        } else {
            fields::set(object, "/metadata/managedFields", entries);
        }
    }
}

fn collect(tree: &Value, path: &mut Path, found: &mut Fields) {
    let children = tree.as_object().filter(|map| !map.is_empty());
    if let Some(children) = children {
        for (name, child) in children {
            if name == "." {
                found.insert(path.clone());
            } else {
                path.push(name.clone());
                collect(child, path, found);
                path.pop();
            }
        }
    } else if !path.is_empty() {
        found.insert(path.clone());
    }
}

fn tree(fields: &Fields) -> Value {
    let mut root = json!({});
    for path in fields {
        let mut place = &mut root;
        for part in path {
            place = &mut place[part];
            if place.is_null() {
                *place = json!({});
            }
        }
        if fields
            .range::<[String], _>((
                std::ops::Bound::Excluded(path.as_slice()),
                std::ops::Bound::Unbounded,
            ))
            .next()
            .is_some_and(|next| next.starts_with(path))
        {
            place["."] = json!({});
        }
    }
    root
}

/// A path as messages write it: `.spec.template.spec.containers[name="web"].image`.
fn readable(path: &Path) -> String {
    let mut text = String::new();
    for part in path {
        if let Some(name) = part.strip_prefix("f:") {
            text.push('.');
            text.push_str(name);
        } else if let Some(key) = part.strip_prefix("k:") {
            let key: Map<String, Value> = serde_json::from_str(key).unwrap_or_default();
            let pairs: Vec<_> = key
                .iter()
                .map(|(name, value)| format!("{name}={value}"))
                .collect();
            text.extend(["[", &pairs.join(","), "]"]);
        } else {
            text.extend(["[=", part.trim_start_matches("v:"), "]"]);
        }
    }
    text
}

/// The order in which messages list paths: at each level the fields that end there before those that go on.
fn leaves_first(one: &Path, other: &Path) -> Ordering {
    let parts = one.iter().zip(other).position(|(one, other)| one != other);
    let Some(index) = parts else {
        return one.len().cmp(&other.len());
    };
    let goes_on = |path: &Path| path.len() > index + 1;
    (goes_on(one), &one[index]).cmp(&(goes_on(other), &other[index]))
}
