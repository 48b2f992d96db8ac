//! What changed between two versions of an object, and which of that a request asked for.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::Value;

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

    /// True if one of both contains the other.
    fn meets(&self, other: &Self) -> bool {
        self.0.iter().zip(&other.0).all(|(one, other)| one == other)
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

/// Every changed field, in the order of paths; what the server keeps by itself and `status` left out.
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

/// Of these differences the ones in fields that the request's body names: another writer may have changed
/// something in between. An update names everything.
pub fn asked_for(differences: Vec<Difference>, verb: &str, body: &Value) -> Vec<Difference> {
    if verb != "patch" {
        return differences;
    }
    let named = named_fields(body);
    let asked = |difference: &Difference| named.iter().any(|path| path.meets(&difference.path));
    differences.into_iter().filter(asked).collect()
}

/// The fields that a patch names: the leaves of a merge patch (a list counts as one leaf), or the paths of
/// a JSON patch (up to the first list index).
fn named_fields(patch: &Value) -> Vec<Path> {
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
    if let Value::Object(fields) = object {
        for (key, value) in fields.iter().filter(|(key, _)| *key != "status") {
            collect_leaves(value, Path::default().child(key), &mut leaves);
        }
    }
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
        ["status" | "kind" | "apiVersion", ..] => true,
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
            ]
        );
        assert!(differences(&after, &after).is_empty());
    }

    #[test]
    fn a_patch_answers_only_for_the_fields_that_it_names() {
        let changed = || differences(&deployment("shop:1", true), &deployment("shop:2", false));
        let merge = json!({"metadata": {"resourceVersion": "7"}, "spec": {"paused": false}});
        assert_eq!(
            shown(&asked_for(changed(), "patch", &merge)),
            ["spec.paused: true → false"]
        );
        let whole_list = json!({"spec": {"template": {"spec": {"containers": [{"name": "web"}]}}}});
        assert_eq!(asked_for(changed(), "patch", &whole_list).len(), 1);
        let pointer = "/spec/template/spec/containers/0/image";
        let json_patch = json!([{"op": "replace", "path": pointer, "value": "shop:2"}]);
        assert_eq!(asked_for(changed(), "patch", &json_patch).len(), 1);
        let label = json!([{"op": "add", "path": "/metadata/labels/slipway.dev~1window", "value": "open"}]);
        assert!(asked_for(changed(), "patch", &label).is_empty());
        assert_eq!(asked_for(changed(), "update", &Value::Null).len(), 2);
    }
}
