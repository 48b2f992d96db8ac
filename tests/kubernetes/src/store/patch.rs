//! The three kinds of patches that carry no ownership.

use serde_json::{Value, json};

use super::managed::{self, Shape};
use crate::{fields, kind::Kind, refusal::Refusal};

/// The patch that kubectl sends for built-in kinds: like a merge, with keyed lists merged by their keys.
/// Understands `$patch: delete` in list elements and `$retainKeys` in maps.
pub fn strategic_merge(kind: Kind, target: &mut Value, patch: &Value) {
    strategic(kind, target, patch, &mut Vec::new());
}

fn strategic<'a>(kind: Kind, target: &mut Value, patch: &'a Value, names: &mut Vec<&'a str>) {
    let shape = managed::shape(kind, names);
    if let Some(map) = patch.as_object() {
        if !target.is_object() {
            *target = json!({});
        }
        let Some(found) = target.as_object_mut() else {
            return;
        };
        if let Some(retained) = map.get("$retainKeys").and_then(Value::as_array) {
            found.retain(|key, _| retained.iter().any(|name| name == key));
        }
        for (key, value) in map.iter().filter(|(key, _)| !key.starts_with('$')) {
            if value.is_null() {
                found.remove(key);
            } else {
                names.push(key);
                strategic(
                    kind,
                    found.entry(key.clone()).or_insert(Value::Null),
                    value,
                    names,
                );
                names.pop();
            }
        }
    } else if let (Some(wanted), Shape::Keyed(keys), Some(found)) =
        (patch.as_array(), shape, target.as_array_mut())
    {
        // A strategic merge goes by the first key alone: ports by their number, whatever the protocol.
        let key = |element: &Value| keys.first().and_then(|key| element.get(key).cloned());
        let before: Vec<_> = found.iter().map(key).collect();
        for element in wanted {
            let same = |other: &Value| key(other) == key(element);
            if fields::text(element, "/$patch") == "delete" {
                found.retain(|other| !same(other));
            } else if let Some(other) = found.iter_mut().find(|other| same(other)) {
                strategic(kind, other, element, names);
            } else {
                found.push(element.clone());
            }
        }
        let wanted: Vec<_> = wanted.iter().map(key).collect();
        *found = in_order(std::mem::take(found), key, &before, &wanted);
    } else if let (Some(wanted), Shape::Set, Some(found)) = (patch.as_array(), shape, target.as_array_mut()) {
        let before = found.clone();
        found.extend(wanted.iter().filter(|element| !before.contains(element)).cloned());
        *found = in_order(std::mem::take(found), Value::clone, &before, wanted);
    } else {
        *target = patch.clone();
    }
}

/// A merged list in the order of the real server: elements of the patch in the patch's order, the others in theirs;
/// between the two, what stood before goes before, and what is new goes first.
fn in_order<K: PartialEq>(
    merged: Vec<Value>,
    key: impl Fn(&Value) -> K,
    before: &[K],
    patch: &[K],
) -> Vec<Value> {
    let place = |list: &[K], element: &Value| list.iter().position(|known| *known == key(element));
    let (mut patched, kept): (Vec<_>, Vec<_>) = merged
        .into_iter()
        .partition(|element| place(patch, element).is_some());
    patched.sort_by_key(|element| place(patch, element));
    let mut ordered = Vec::new();
    let mut patched = patched.into_iter().peekable();
    for element in kept {
        let own = place(before, &element);
        while let Some(next) = patched.next_if(|next| {
            let place = place(before, next);
            place.is_none() || own.is_none() || place < own
        }) {
            ordered.push(next);
        }
        ordered.push(element);
    }
    ordered.extend(patched);
    ordered
}

/// RFC 6902 without `move` and `copy`. Whatever does not fit is one indistinct 422.
pub(super) fn json(target: &mut Value, operations: &Value) -> Result<(), Refusal> {
    let Some(operations) = operations.as_array() else {
        return Err(Refusal::bad_request("a JSON patch is a list of operations"));
    };
    for operation in operations {
        let path = fields::text(operation, "/path");
        let value = operation.get("value").cloned().unwrap_or_default();
        let done = match fields::text(operation, "/op") {
            "test" => target.pointer(path).is_some_and(|found| *found == value),
            // In a map that is there, replacing what is not there adds it: so does the real server's library.
            "replace" => replace(target, path, value).is_some(),
            "remove" => take(target, path).is_some(),
            "add" => add(target, path, value).is_some(),
            _ => false,
        };
        if !done {
            return Err(Refusal::unfit_patch());
        }
    }
    Ok(())
}

fn replace(target: &mut Value, path: &str, value: Value) -> Option<()> {
    if let Some(place) = target.pointer_mut(path) {
        *place = value;
        return Some(());
    }
    let (parent, _) = path.rsplit_once('/')?;
    target.pointer(parent)?.is_object().then_some(())?;
    add(target, path, value)
}

fn take(target: &mut Value, path: &str) -> Option<Value> {
    let (parent, name) = path.rsplit_once('/')?;
    if let Some(list) = target.pointer_mut(parent)?.as_array_mut() {
        let index = name.parse::<usize>().ok().filter(|index| *index < list.len())?;
        return Some(list.remove(index));
    }
    fields::remove(target, path)
}

fn add(target: &mut Value, path: &str, value: Value) -> Option<()> {
    let (parent, name) = path.rsplit_once('/')?;
    let parent = target.pointer_mut(parent)?;
    if let Some(list) = parent.as_array_mut() {
        let index = if name == "-" {
            list.len()
        } else {
            name.parse().ok()?
        };
        (index <= list.len()).then(|| list.insert(index, value))
    } else {
        parent
            .as_object_mut()?
            .insert(name.replace("~1", "/").replace("~0", "~"), value);
        Some(())
    }
}
