//! Short readers and writers for the fields of untyped objects.

use std::borrow::Cow;

use serde_json::{Map, Value, json};

/// The value at a JSON pointer. Does what `Value::pointer` does, without an allocation for each part: this is
/// where a simulation spends its time.
pub fn at<'a>(object: &'a Value, pointer: &str) -> Option<&'a Value> {
    let Some(path) = pointer.strip_prefix('/') else {
        return pointer.is_empty().then_some(object);
    };
    path.split('/').try_fold(object, |place, part| match place {
        Value::Object(map) => map.get(plain(part).as_ref()),
        Value::Array(list) => list.get(part.parse::<usize>().ok()?),
        _ => None,
    })
}

/// The text at a JSON pointer; empty when it is absent.
pub fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    at(object, pointer).and_then(Value::as_str).unwrap_or_default()
}

/// The whole number at a JSON pointer.
pub fn number(object: &Value, pointer: &str) -> Option<i64> {
    at(object, pointer).and_then(Value::as_i64)
}

/// The whole number at a JSON pointer; zero when it is absent.
pub fn count(object: &Value, pointer: &str) -> i64 {
    number(object, pointer).unwrap_or_default()
}

/// Whether the flag at a JSON pointer is set.
pub fn flag(object: &Value, pointer: &str) -> bool {
    at(object, pointer).and_then(Value::as_bool).unwrap_or_default()
}

/// The list at a JSON pointer; empty when it is absent.
pub fn list<'a>(object: &'a Value, pointer: &str) -> &'a [Value] {
    at(object, pointer)
        .and_then(Value::as_array)
        .map(Vec::as_slice)
        .unwrap_or_default()
}

/// The map at a JSON pointer.
pub fn map<'a>(object: &'a Value, pointer: &str) -> Option<&'a Map<String, Value>> {
    at(object, pointer).and_then(Value::as_object)
}

/// Whether there is anything but null at a JSON pointer.
pub fn has(object: &Value, pointer: &str) -> bool {
    at(object, pointer).is_some_and(|value| !value.is_null())
}

/// Writes the value at a JSON pointer, making the maps on the way.
pub fn set(object: &mut Value, pointer: &str, value: impl Into<Value>) {
    let mut place = object;
    for part in pointer.trim_start_matches('/').split('/') {
        if !place.is_object() {
            *place = json!({});
        }
        let map = place.as_object_mut().expect("made a map above");
        let part = plain(part);
        if !map.contains_key(part.as_ref()) {
            map.insert(part.to_string(), Value::Null);
        }
        place = map.get_mut(part.as_ref()).expect("inserted above");
    }
    *place = value.into();
}

/// A part of a JSON pointer as the key that it stands for.
fn plain(part: &str) -> Cow<'_, str> {
    if part.contains('~') {
        part.replace("~1", "/").replace("~0", "~").into()
    } else {
        part.into()
    }
}

/// Writes the value at a JSON pointer unless there is one.
pub fn default(object: &mut Value, pointer: &str, value: impl Into<Value>) {
    if !has(object, pointer) {
        set(object, pointer, value);
    }
}

/// Takes away what is at a JSON pointer.
pub fn remove(object: &mut Value, pointer: &str) -> Option<Value> {
    let (parent, name) = pointer.rsplit_once('/')?;
    let mut place = object;
    for part in parent.split('/').skip(1) {
        place = match place {
            Value::Object(map) => map.get_mut(plain(part).as_ref())?,
            Value::Array(list) => list.get_mut(part.parse::<usize>().ok()?)?,
            _ => return None,
        };
    }
    place.as_object_mut()?.remove(plain(name).as_ref())
}

/// Writes a counter the way Go's `omitempty` does: zero is absence.
pub fn set_count(object: &mut Value, pointer: &str, value: i64) {
    if value == 0 {
        remove(object, pointer);
    } else {
        set(object, pointer, value);
    }
}

/// A key of a map as a part of a JSON pointer.
pub fn escape(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}

/// The object's name.
pub fn name(object: &Value) -> &str {
    text(object, "/metadata/name")
}

/// The object's namespace; empty for cluster-wide ones.
pub fn namespace(object: &Value) -> &str {
    text(object, "/metadata/namespace")
}

/// The object's UID.
pub fn uid(object: &Value) -> &str {
    text(object, "/metadata/uid")
}

/// The value of a label; empty when it is absent.
pub fn label<'a>(object: &'a Value, key: &str) -> &'a str {
    map(object, "/metadata/labels")
        .and_then(|labels| labels.get(key)?.as_str())
        .unwrap_or_default()
}

/// The value of an annotation; empty when it is absent.
pub fn annotation<'a>(object: &'a Value, key: &str) -> &'a str {
    map(object, "/metadata/annotations")
        .and_then(|found| found.get(key)?.as_str())
        .unwrap_or_default()
}

/// Whether somebody asked for the object's deletion.
pub fn terminating(object: &Value) -> bool {
    has(object, "/metadata/deletionTimestamp")
}

/// The owner reference that is marked as the controller.
pub fn controller(object: &Value) -> Option<&Value> {
    list(object, "/metadata/ownerReferences")
        .iter()
        .find(|owner| flag(owner, "/controller"))
}

/// Whether the object is controlled by the one with this UID.
pub fn controlled_by(object: &Value, uid: &str) -> bool {
    controller(object).is_some_and(|owner| text(owner, "/uid") == uid)
}

/// The owner reference that makes `owner` the controller of something.
pub fn owner_reference(owner: &Value) -> Value {
    json!({
        "apiVersion": text(owner, "/apiVersion"),
        "kind": text(owner, "/kind"),
        "name": name(owner),
        "uid": uid(owner),
        "controller": true,
        "blockOwnerDeletion": true,
    })
}

/// The condition of a type.
pub fn condition<'a>(object: &'a Value, kind: &str) -> Option<&'a Value> {
    list(object, "/status/conditions")
        .iter()
        .find(|condition| text(condition, "/type") == kind)
}

/// Whether the condition of a type is True.
pub fn is_true(object: &Value, kind: &str) -> bool {
    condition(object, kind).is_some_and(|condition| text(condition, "/status") == "True")
}

/// Whether a pod's containers run and answer.
pub fn ready(pod: &Value) -> bool {
    is_true(pod, "Ready")
}

/// Whether a pod has ended for good.
pub fn finished(pod: &Value) -> bool {
    matches!(text(pod, "/status/phase"), "Succeeded" | "Failed")
}
