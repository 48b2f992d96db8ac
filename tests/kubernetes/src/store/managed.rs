//! Field managers: who set which field, and server-side apply on top of that.
//!
//! A field is a path of `FieldsV1` segments (`f:name`, `k:{"name":"web"}`, `v:"value"`). Status is left out:
//! nobody here applies a status.

mod entries;

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use self::entries::Entries;
use crate::{fields, kind::Kind, refusal::Refusal};

type Path = Vec<String>;
type Fields = BTreeSet<Path>;

/// How a field is merged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// Maps by key.
    Granular,
    /// As a whole.
    Atomic,
    /// A list of maps by the values of these keys.
    Keyed(&'static [&'static str]),
    /// A list as a set.
    Set,
}

/// The shape of the field with these names from the root (list elements add no name).
pub(super) fn shape(kind: Kind, names: &[&str]) -> Shape {
    let Some(name) = names.last() else {
        return Shape::Granular;
    };
    match *name {
        "selector" | "nodeSelector" | "secretKeyRef" | "configMapKeyRef" | "fieldRef" | "labelSelector"
        | "resourceFieldRef" => Shape::Atomic,
        "containers" | "initContainers" | "ephemeralContainers" | "volumes" | "imagePullSecrets" | "env"
            if kind != Kind::Release =>
        {
            Shape::Keyed(&["name"])
        }
        "volumeMounts" => Shape::Keyed(&["mountPath"]),
        "volumeDevices" => Shape::Keyed(&["devicePath"]),
        "ports" if kind == Kind::Service => Shape::Keyed(&["port", "protocol"]),
        "ports" => Shape::Keyed(&["containerPort", "protocol"]),
        "conditions" => Shape::Keyed(&["type"]),
        "ownerReferences" => Shape::Keyed(&["uid"]),
        "topologySpreadConstraints" => Shape::Keyed(&["topologyKey", "whenUnsatisfiable"]),
        "finalizers" => Shape::Set,
        _ => Shape::Granular,
    }
}

/// Records what an ordinary write changed as owned by its manager.
pub(super) fn track(kind: Kind, old: Option<&Value>, new: &mut Value, manager: &str, at: Timestamp) {
    // An object without a record does not get one from an ordinary write.
    if old.is_some_and(|old| !fields::has(old, "/metadata/managedFields")) {
        return;
    }
    let mut entries = Entries::read(new);
    let before = old.map(|old| leaves(kind, old)).unwrap_or_default();
    let after = leaves(kind, new);
    let changed: Fields = after
        .iter()
        .filter(|(path, value)| before.get(*path) != Some(value))
        .map(|(path, _)| path.clone())
        .collect();
    let exists: Fields = after.into_keys().collect();
    for entry in &mut entries.list {
        entry
            .fields
            .retain(|path| exists.contains(path) && !changed.contains(path));
    }
    if !changed.is_empty() {
        entries.of(manager, "Update").fields.extend(changed);
    }
    entries.write(kind, new, at);
}

/// Records a whole new object as applied by a manager.
pub(super) fn own_all(kind: Kind, object: &mut Value, manager: &str, at: Timestamp) {
    let all = leaves(kind, object).into_keys().collect();
    let mut entries = Entries::default();
    entries.of(manager, "Apply").fields = all;
    entries.write(kind, object, at);
}

/// Server-side apply: the live object with what the manager wants, without what it no longer wants.
pub(super) fn apply(
    kind: Kind,
    live: &Value,
    wanted: &Value,
    manager: &str,
    force: bool,
    at: Timestamp,
) -> Result<Value, Refusal> {
    let mut entries = Entries::read(live);
    let found = leaves(kind, live);
    if entries.list.is_empty() && !found.is_empty() {
        // Whatever was there before anybody was recorded.
        entries.of("before-first-apply", "Update").fields = found.keys().cloned().collect();
    }
    let wanted_leaves = leaves(kind, wanted);
    let differing: Fields = wanted_leaves
        .iter()
        .filter(|(path, value)| found.get(*path).is_some_and(|found| found != *value))
        .map(|(path, _)| path.clone())
        .collect();
    let conflicts = entries.conflicts(kind, &differing, manager);
    if !conflicts.is_empty() && !force {
        return Err(conflict(&conflicts));
    }
    for entry in entries
        .list
        .iter_mut()
        .filter(|entry| !entry.is(manager, "Apply"))
    {
        entry.fields.retain(|path| !differing.contains(path));
    }
    let all: Fields = wanted_leaves.into_keys().collect();
    let before = std::mem::replace(&mut entries.of(manager, "Apply").fields, all.clone());
    let mut object = live.clone();
    merge(kind, &mut object, wanted, &mut Vec::new());
    for path in before.difference(&all) {
        if !entries
            .list
            .iter()
            .any(|entry| entry.fields.iter().any(|owned| owned.starts_with(path)))
        {
            take(&mut object, path);
        }
    }
    if let Some(version) = wanted.pointer("/metadata/resourceVersion") {
        fields::set(&mut object, "/metadata/resourceVersion", version.clone());
    }
    if let Some(uid) = wanted.pointer("/metadata/uid") {
        fields::set(&mut object, "/metadata/uid", uid.clone());
    }
    entries.write(kind, &mut object, at);
    Ok(object)
}

fn conflict(conflicts: &BTreeMap<String, Vec<String>>) -> Refusal {
    let count = conflicts.values().map(Vec::len).sum::<usize>();
    let plural = if count == 1 { "" } else { "s" };
    let lines: Vec<_> = conflicts
        .iter()
        .map(|(manager, paths)| match paths.as_slice() {
            [only] if count == 1 => format!("conflict with {manager}: {only}"),
            many => format!("conflicts with {manager}:\n- {}", many.join("\n- ")),
        })
        .collect();
    let causes = conflicts.iter().flat_map(|(manager, paths)| {
        paths.iter().map(move |path| {
            let message = format!("conflict with {manager}");
            json!({"reason": "FieldManagerConflict", "message": message, "field": path})
        })
    });
    let message = format!("Apply failed with {count} conflict{plural}: {}", lines.join("\n"));
    let details = json!({"causes": causes.collect::<Vec<_>>()});
    Refusal {
        details,
        ..Refusal::plain(409, "Conflict", message)
    }
}

/// All leaves of an object's fields, and the elements of its keyed lists.
fn leaves(kind: Kind, object: &Value) -> BTreeMap<Path, &Value> {
    let mut found = BTreeMap::new();
    for (name, value) in object.as_object().into_iter().flatten() {
        if name == "metadata" {
            for own in ["labels", "annotations", "finalizers", "ownerReferences"] {
                if let Some(value) = value.get(own) {
                    let path = vec!["f:metadata".to_owned(), format!("f:{own}")];
                    walk(kind, value, &path, &mut vec![name, own], &mut found);
                }
            }
        } else if !matches!(name.as_str(), "apiVersion" | "kind" | "status") {
            walk(
                kind,
                value,
                &vec![format!("f:{name}")],
                &mut vec![name],
                &mut found,
            );
        }
    }
    found
}

fn walk<'a>(
    kind: Kind,
    value: &'a Value,
    path: &Path,
    names: &mut Vec<&'a str>,
    found: &mut BTreeMap<Path, &'a Value>,
) {
    let shape = shape(kind, names);
    let below = |segment: String| path.iter().cloned().chain([segment]).collect::<Path>();
    if let (Some(map), Shape::Granular) = (value.as_object().filter(|map| !map.is_empty()), shape) {
        for (name, value) in map {
            names.push(name);
            walk(kind, value, &below(format!("f:{name}")), names, found);
            names.pop();
        }
    } else if let (Some(list), Shape::Keyed(keys)) = (value.as_array(), shape) {
        for element in list {
            let path = below(segment(element, keys));
            found.insert(path.clone(), &Value::Null);
            for (name, value) in element.as_object().into_iter().flatten() {
                names.push(name);
                let inner = path.iter().cloned().chain([format!("f:{name}")]).collect();
                walk(kind, value, &inner, names, found);
                names.pop();
            }
        }
    } else if let (Some(list), Shape::Set) = (value.as_array(), shape) {
        found.extend(
            list.iter()
                .map(|element| (below(format!("v:{element}")), &Value::Null)),
        );
    } else {
        found.insert(path.clone(), value);
    }
}

/// The value of an element's key; a protocol that is not given is TCP.
fn key_of(element: &Value, key: &str) -> Option<Value> {
    let tcp = || (key == "protocol").then(|| json!("TCP"));
    element.get(key).cloned().or_else(tcp)
}

/// The segment of a keyed list's element.
fn segment(element: &Value, keys: &[&str]) -> String {
    let key: Map<_, _> = keys
        .iter()
        .filter_map(|key| Some(((*key).to_owned(), key_of(element, key)?)))
        .collect();
    format!("k:{}", Value::Object(key))
}

fn merge<'a>(kind: Kind, live: &mut Value, wanted: &'a Value, names: &mut Vec<&'a str>) {
    let shape = shape(kind, names);
    if let (Some(map), Shape::Granular, true) = (wanted.as_object(), shape, live.is_object()) {
        for (name, value) in map {
            if names.as_slice() == ["metadata"] && name == "managedFields" {
                continue;
            }
            names.push(name);
            merge(kind, &mut live[name], value, names);
            names.pop();
        }
    } else if let (Some(list), Some(found), Shape::Keyed(keys)) =
        (wanted.as_array(), live.as_array_mut(), shape)
    {
        for element in list {
            let same = |other: &Value| keys.iter().all(|key| key_of(other, key) == key_of(element, key));
            match found.iter_mut().find(|other| same(other)) {
                None => found.push(element.clone()),
                Some(other) => {
                    for (name, value) in element.as_object().into_iter().flatten() {
                        names.push(name);
                        merge(kind, &mut other[name], value, names);
                        names.pop();
                    }
                }
            }
        }
    } else if let (Some(list), Some(found), Shape::Set) = (wanted.as_array(), live.as_array_mut(), shape) {
        found.extend(
            list.iter()
                .filter(|element| !found.contains(element))
                .cloned()
                .collect::<Vec<_>>(),
        );
    } else {
        *live = wanted.clone();
    }
}

/// Removes the field of a path.
fn take(object: &mut Value, path: &[String]) {
    let Some((last, parents)) = path.split_last() else {
        return;
    };
    let mut place = object;
    for part in parents {
        let next = match part.strip_prefix("f:") {
            Some(name) => place.get_mut(name),
            None => place
                .as_array_mut()
                .and_then(|list| list.iter_mut().find(|element| is_element(element, part))),
        };
        let Some(next) = next else {
            return;
        };
        place = next;
    }
    if let Some(name) = last.strip_prefix("f:") {
        place.as_object_mut().and_then(|map| map.remove(name));
    } else if let Some(list) = place.as_array_mut() {
        list.retain(|element| !is_element(element, last));
    }
}

fn is_element(element: &Value, segment: &str) -> bool {
    if let Some(value) = segment.strip_prefix("v:") {
        return serde_json::from_str::<Value>(value).is_ok_and(|value| value == *element);
    }
    let key: Map<String, Value> = segment
        .strip_prefix("k:")
        .and_then(|key| serde_json::from_str(key).ok())
        .unwrap_or_default();
    key.iter().all(|(name, value)| element.get(name) == Some(value))
}
