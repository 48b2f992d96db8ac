//! What changed between two versions of an object, and which of that a request asked for.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::Value;
use slipway_kubernetes::fields;

/// Fields that the server keeps by itself.
const KEPT_BY_SERVER: [&str; 6] = [
    "managedFields",
    "resourceVersion",
    "generation",
    "creationTimestamp",
    "uid",
    "selfLink",
];

/// Where in an object: keys, and for elements of a list their name.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Path(pub Vec<String>);

impl Path {
    fn child(&self, key: &str) -> Self {
        let mut keys = self.0.clone();
        keys.push(key.to_owned());
        Self(keys)
    }

    /// The keys, to be matched with a slice pattern.
    pub fn keys(&self) -> Vec<&str> {
        self.0.iter().map(String::as_str).collect()
    }
}

impl fmt::Display for Path {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, key) in self.0.iter().enumerate() {
            match (place, key.contains(['.', '/'])) {
                (_, true) => write!(formatter, "[{key}]")?,
                (0, false) => formatter.write_str(key)?,
                (_, false) => write!(formatter, ".{key}")?,
            }
        }
        Ok(())
    }
}

/// One changed field.
#[derive(Clone, Debug, PartialEq)]
pub struct Difference {
    /// Which field.
    pub path: Path,
    /// What it was; `None` if it was not there.
    pub before: Option<Value>,
    /// What it is; `None` if it is gone.
    pub after: Option<Value>,
}

impl fmt::Display for Difference {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [before, after] = [&self.before, &self.after].map(|value| match value {
            Some(Value::String(text)) => text.clone(),
            Some(value) => value.to_string(),
            None => "none".to_owned(),
        });
        write!(formatter, "{}: {before} → {after}", self.path)
    }
}

/// Every changed field, in the order of paths; what the server keeps by itself left out.
pub fn differences(before: &Value, after: &Value) -> Vec<Difference> {
    let [mut was, is] = [before, after].map(leaves);
    let mut changed = Vec::new();
    for (path, now) in is {
        match was.remove(&path) {
            Some(then) if then == now => {}
            before => changed.push(Difference {
                path,
                before,
                after: Some(now),
            }),
        }
    }
    changed.extend(was.into_iter().map(|(path, then)| Difference {
        path,
        before: Some(then),
        after: None,
    }));
    changed.sort_by(|one, other| one.path.cmp(&other.path));
    changed.retain(|difference| !is_kept_by_server(&difference.path));
    changed
}

/// An object as it was right before a write that made it what it is: of the object that was known before, only the
/// fields that the write names, because another writer may have changed something in between. A replacement names
/// everything, of the status or of all the rest.
pub fn right_before(
    known: Option<&Value>,
    after: &Value,
    (verb, subresource): (&str, &str),
    body: &Value,
) -> Value {
    let named = match (verb, subresource) {
        ("patch", _) => named_fields(body),
        (_, "status") => vec![Path::default().child("status")],
        _ => {
            let before = known.cloned().unwrap_or_default();
            let kept = Path::default().child("status");
            return with(before, &kept, after);
        }
    };
    let known = known.unwrap_or(&Value::Null);
    named
        .iter()
        .fold(after.clone(), |object, path| with(object, path, known))
}

/// An object with one field as it is in another.
fn with(mut object: Value, path: &Path, other: &Value) -> Value {
    let keys: Vec<_> = path.0.iter().map(|key| fields::escape(key)).collect();
    let pointer = format!("/{}", keys.join("/"));
    match fields::at(other, &pointer) {
        Some(value) => fields::set(&mut object, &pointer, value.clone()),
        None => drop(fields::remove(&mut object, &pointer)),
    }
    object
}

/// The fields that a patch names, but for what the server keeps: the leaves of a merge patch (a list counts as one
/// leaf), or the paths of a JSON patch (up to the first list index).
pub fn named_fields(patch: &Value) -> Vec<Path> {
    let mut named = Vec::new();
    if let Value::Array(operations) = patch {
        for pointer in operations
            .iter()
            .filter_map(|operation| operation["path"].as_str())
        {
            let keys = pointer
                .split('/')
                .skip(1)
                .map(|key| key.replace("~1", "/").replace("~0", "~"));
            named.push(Path(
                keys.take_while(|key| key != "-" && key.parse::<u32>().is_err())
                    .collect(),
            ));
        }
    } else {
        name_leaves(patch, &Path::default(), &mut named);
    }
    named.retain(|path| !is_kept_by_server(path) && !path.0.is_empty());
    named
}

fn name_leaves(value: &Value, path: &Path, named: &mut Vec<Path>) {
    match value.as_object().filter(|fields| !fields.is_empty()) {
        Some(fields) => fields
            .iter()
            .for_each(|(key, value)| name_leaves(value, &path.child(key), named)),
        None => named.push(path.clone()),
    }
}

/// The leaves of an object by path. Nulls, empty maps and empty lists are nothing at all.
fn leaves(object: &Value) -> BTreeMap<Path, Value> {
    let mut leaves = BTreeMap::new();
    collect_leaves(object, Path::default(), &mut leaves);
    leaves
}

fn collect_leaves(value: &Value, path: Path, leaves: &mut BTreeMap<Path, Value>) {
    match value {
        Value::Null => {}
        Value::Object(fields) => {
            fields
                .iter()
                .for_each(|(key, value)| collect_leaves(value, path.child(key), leaves));
        }
        Value::Array(elements) => {
            let keys = element_keys(elements);
            for (element, key) in elements.iter().zip(keys) {
                collect_leaves(element, path.child(&key), leaves);
            }
        }
        Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            leaves.insert(path, value.clone());
        }
    }
}

/// What tells the elements of a list apart: their `name` or `type` if each has its own, else their place.
fn element_keys(elements: &[Value]) -> Vec<String> {
    for field in ["name", "type"] {
        let keys: Vec<_> = elements
            .iter()
            .filter_map(|element| element[field].as_str())
            .collect();
        let distinct: std::collections::BTreeSet<_> = keys.iter().collect();
        if distinct.len() == elements.len() {
            return keys.into_iter().map(str::to_owned).collect();
        }
    }
    (0..elements.len()).map(|place| place.to_string()).collect()
}

fn is_kept_by_server(path: &Path) -> bool {
    match path.keys()[..] {
        ["metadata", field, ..] => KEPT_BY_SERVER.contains(&field),
        ["kind" | "apiVersion"] => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn shown(differences: &[Difference]) -> Vec<String> {
        differences.iter().map(ToString::to_string).collect()
    }

    fn deployment(image: &str, paused: bool) -> Value {
        json!({
            "metadata": {"name": "web", "resourceVersion": "7", "labels": {"slipway.dev/claim": "u1"}},
            "spec": {"paused": paused, "template": {
                "metadata": {"creationTimestamp": null},
                "spec": {"containers": [{"name": "web", "image": image, "resources": {}}]}}},
            "status": {"replicas": 3}
        })
    }

    #[test]
    fn changed_fields_are_named_by_path_and_element() {
        let mut after = deployment("shop:2", false);
        after["metadata"]["labels"]["slipway.dev/window"] = json!("open");
        after["metadata"]["resourceVersion"] = json!("8");
        after["status"]["replicas"] = json!(6);
        assert_eq!(
            shown(&differences(&deployment("shop:1", true), &after)),
            [
                "metadata.labels[slipway.dev/window]: none → open",
                "spec.paused: true → false",
                "spec.template.spec.containers.web.image: shop:1 → shop:2",
                "status.replicas: 3 → 6",
            ]
        );
        assert!(differences(&after, &after).is_empty());
    }

    #[test]
    fn a_patch_answers_only_for_the_fields_that_it_names() {
        let (before, after) = (deployment("shop:1", true), deployment("shop:2", false));
        let asked_for = |verb, body| {
            shown(&differences(
                &right_before(Some(&before), &after, (verb, ""), &body),
                &after,
            ))
        };
        let merge = json!({"metadata": {"resourceVersion": "7"}, "spec": {"paused": false}});
        assert_eq!(asked_for("patch", merge), ["spec.paused: true → false"]);
        let image = ["spec.template.spec.containers.web.image: shop:1 → shop:2"];
        let whole_list = json!({"spec": {"template": {"spec": {"containers": [{"name": "web"}]}}}});
        assert_eq!(asked_for("patch", whole_list), image);
        let pointer = "/spec/template/spec/containers/0/image";
        let json_patch = json!([{"op": "replace", "path": pointer, "value": "shop:2"}]);
        assert_eq!(asked_for("patch", json_patch), image);
        let label = json!([{"op": "add", "path": "/metadata/labels/slipway.dev~1window", "value": "open"}]);
        assert!(asked_for("patch", label).is_empty());
        assert_eq!(asked_for("update", Value::Null).len(), 2);
    }

    #[test]
    fn a_replacement_of_the_status_answers_for_nothing_else() {
        let (before, mut after) = (deployment("shop:1", true), deployment("shop:2", false));
        after["status"]["replicas"] = json!(6);
        let before = right_before(Some(&before), &after, ("update", "status"), &Value::Null);
        assert_eq!(shown(&differences(&before, &after)), ["status.replicas: 3 → 6"]);
    }
}
