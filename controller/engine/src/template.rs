//! Pod templates as the API server returned them.
//!
//! They are kept as JSON text, never as typed objects: a typed copy would drop the fields of a newer
//! Kubernetes when it is written back.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};
use slipway_crds::v1alpha1::status::{ImageChange, VariableChange};
use slipway_crds::{TemplateDigest, names::POD_TEMPLATE_HASH};

/// A pod template without the `pod-template-hash` label, which Kubernetes adds on ReplicaSets.
#[derive(Clone, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(from = "Value", into = "Value")]
pub struct Template(Arc<Read>);

/// What was read of a template, once.
#[derive(Debug, Eq, Hash, PartialEq)]
struct Read {
    text: String,
    digest: TemplateDigest,
    labels: BTreeMap<String, String>,
    containers: Vec<ContainerView>,
}

/// A container of a template.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct ContainerView {
    /// Its name.
    pub name: String,
    /// Its image.
    pub image: String,
    /// True for an init container.
    pub init: bool,
}

impl From<Value> for Template {
    fn from(template: Value) -> Self {
        Self::new(template)
    }
}

impl From<Template> for Value {
    fn from(template: Template) -> Self {
        template.value()
    }
}

impl Template {
    /// Reads a `spec.template`.
    pub fn new(mut template: Value) -> Self {
        if let Some(labels) = template
            .pointer_mut("/metadata/labels")
            .and_then(Value::as_object_mut)
        {
            labels.remove(POD_TEMPLATE_HASH);
        }
        let text = canonical(&template);
        Self(Arc::new(Read {
            digest: digest(&[&text]).into(),
            text,
            labels: labels(&template),
            containers: containers(&template),
        }))
    }

    /// The template itself.
    pub fn value(&self) -> Value {
        serde_json::from_str(&self.0.text).unwrap_or_default()
    }

    /// What it is recognized by.
    pub fn digest(&self) -> &TemplateDigest {
        &self.0.digest
    }

    /// Its labels.
    pub fn labels(&self) -> &BTreeMap<String, String> {
        &self.0.labels
    }

    /// Its containers, then its init containers.
    pub fn containers(&self) -> Vec<ContainerView> {
        self.0.containers.clone()
    }

    /// The image of a container; none where there is no such container.
    pub fn image(&self, container: &str) -> Option<String> {
        let mut containers = self.0.containers.iter();
        containers
            .find(|found| !found.init && found.name == container)
            .map(|found| found.image.clone())
    }

    /// The plain value of an environment variable of a container.
    pub fn variable(&self, container: &str, name: &str) -> Option<String> {
        let value = self.value();
        let found = value
            .pointer("/spec/containers")?
            .as_array()?
            .iter()
            .find(|c| text_of(c, "name") == container)?;
        let variable = found
            .get("env")?
            .as_array()?
            .iter()
            .find(|v| text_of(v, "name") == name)?;
        Some(variable.get("value")?.as_str()?.to_owned())
    }

    /// The names and numbers of its container ports.
    pub fn port_names(&self) -> Vec<String> {
        let value = self.value();
        let containers = value.pointer("/spec/containers").and_then(Value::as_array);
        containers
            .into_iter()
            .flatten()
            .filter_map(|container| container.get("ports")?.as_array())
            .flatten()
            .map(|port| text_of(port, "name"))
            .collect()
    }

    /// The volume claims that it mounts.
    pub fn volume_claims(&self) -> Vec<String> {
        let value = self.value();
        let volumes = value.pointer("/spec/volumes").and_then(Value::as_array);
        volumes
            .into_iter()
            .flatten()
            .filter_map(|volume| volume.pointer("/persistentVolumeClaim/claimName")?.as_str())
            .map(str::to_owned)
            .collect()
    }

    /// The template of the new version.
    #[must_use]
    pub fn with(&self, images: &[ImageChange], variable: Option<&VariableChange>) -> Self {
        let mut value = self.value();
        for change in images {
            set_image(&mut value, change, &change.to);
        }
        if let Some(change) = variable {
            set_variable(&mut value, change, Some(&change.to));
        }
        Self::new(value)
    }

    /// The template of the old version, from that of the new one.
    #[must_use]
    pub fn without(&self, images: &[ImageChange], variable: Option<&VariableChange>) -> Self {
        let mut value = self.value();
        for change in images {
            set_image(&mut value, change, &change.from);
        }
        if let Some(change) = variable {
            set_variable(&mut value, change, change.from.as_deref());
        }
        Self::new(value)
    }

    /// Whether it carries the changes of a revision.
    pub fn carries(&self, images: &[ImageChange], variable: Option<&VariableChange>) -> bool {
        self.with(images, variable) == *self
    }
}

fn labels(template: &Value) -> BTreeMap<String, String> {
    let labels = template.pointer("/metadata/labels").and_then(Value::as_object);
    labels
        .into_iter()
        .flatten()
        .filter_map(|(key, label)| Some((key.clone(), label.as_str()?.to_owned())))
        .collect()
}

fn containers(template: &Value) -> Vec<ContainerView> {
    let read = |init: bool| {
        let list = template.pointer(pointer_of(init)).and_then(Value::as_array);
        list.into_iter().flatten().map(move |container| ContainerView {
            name: text_of(container, "name"),
            image: text_of(container, "image"),
            init,
        })
    };
    read(false).chain(read(true)).collect()
}

fn pointer_of(init: bool) -> &'static str {
    if init {
        "/spec/initContainers"
    } else {
        "/spec/containers"
    }
}

fn text_of(value: &Value, key: &str) -> String {
    value
        .get(key)
        .and_then(Value::as_str)
        .unwrap_or_default()
        .to_owned()
}

fn container_mut<'a>(template: &'a mut Value, init: bool, name: &str) -> Option<&'a mut Map<String, Value>> {
    template
        .pointer_mut(pointer_of(init))?
        .as_array_mut()?
        .iter_mut()
        .find(|container| text_of(container, "name") == name)?
        .as_object_mut()
}

fn set_image(template: &mut Value, change: &ImageChange, image: &str) {
    if let Some(container) = container_mut(template, change.init, &change.container) {
        container.insert("image".to_owned(), Value::from(image));
    }
}

fn set_variable(template: &mut Value, change: &VariableChange, wanted: Option<&str>) {
    let Some(container) = container_mut(template, false, &change.container) else {
        return;
    };
    let Some(list) = container
        .entry("env")
        .or_insert_with(|| Value::Array(Vec::new()))
        .as_array_mut()
    else {
        return;
    };
    let position = list
        .iter()
        .position(|variable| text_of(variable, "name") == change.name);
    match (wanted, position.and_then(|at| list.get_mut(at))) {
        (Some(value), Some(entry)) => *entry = serde_json::json!({ "name": change.name, "value": value }),
        (Some(value), None) => list.push(serde_json::json!({ "name": change.name, "value": value })),
        (None, Some(_)) => list.retain(|variable| text_of(variable, "name") != change.name),
        (None, None) => {}
    }
    if list.is_empty() {
        container.remove("env");
    }
}

/// JSON with sorted keys, so that equal values have equal texts.
pub fn canonical(value: &Value) -> String {
    match value {
        Value::Object(map) => {
            let sorted: BTreeMap<&String, &Value> = map.iter().collect();
            let fields: Vec<String> = sorted
                .into_iter()
                .map(|(key, field)| format!("{}:{}", Value::from(key.as_str()), canonical(field)))
                .collect();
            format!("{{{}}}", fields.join(","))
        }
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(canonical).collect();
            format!("[{}]", items.join(","))
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value.to_string(),
    }
}

/// The first 16 hexadecimal digits of the SHA-256 of some texts.
pub fn digest(parts: &[&str]) -> String {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update(part.len().to_le_bytes());
        hasher.update(part.as_bytes());
    }
    hasher
        .finalize()
        .iter()
        .take(8)
        .fold(String::new(), |mut text, byte| {
            let _infallible = write!(text, "{byte:02x}");
            text
        })
}

/// A template after a JSON merge patch.
pub fn merged(template: &Template, patch: Option<&Value>) -> Template {
    let mut value = template.value();
    if let Some(patch) = patch {
        merge(&mut value, patch);
    }
    Template::new(value)
}

pub(crate) fn merge(target: &mut Value, patch: &Value) {
    let Some(fields) = patch.as_object() else {
        target.clone_from(patch);
        return;
    };
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    let Some(target) = target.as_object_mut() else {
        return;
    };
    for (key, field) in fields {
        if field.is_null() {
            target.remove(key);
        } else {
            merge(target.entry(key.clone()).or_insert(Value::Null), field);
        }
    }
}

/// The JSON merge patch (RFC 7386) that makes `to` of `from`.
pub fn merge_patch(from: &Value, to: &Value) -> Value {
    let (Some(old), Some(new)) = (from.as_object(), to.as_object()) else {
        return to.clone();
    };
    let mut patch = Map::new();
    for key in old.keys().filter(|key| !new.contains_key(*key)) {
        patch.insert(key.clone(), Value::Null);
    }
    for (key, wanted) in new {
        match old.get(key) {
            Some(current) if current == wanted => {}
            Some(current) => {
                patch.insert(key.clone(), merge_patch(current, wanted));
            }
            None => {
                patch.insert(key.clone(), wanted.clone());
            }
        }
    }
    Value::Object(patch)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn shop() -> Template {
        Template::new(json!({
            "metadata": {"labels": {"app": "shop", "pod-template-hash": "abc"}},
            "spec": {
                "initContainers": [{"name": "wait", "image": "shop:1"}],
                "containers": [{"name": "web", "image": "shop:1"}, {"name": "proxy", "image": "envoy:3"}],
                "futureField": {"kept": true},
            }
        }))
    }

    fn changes() -> (Vec<ImageChange>, VariableChange) {
        let change = |container: &str, init| ImageChange {
            container: container.into(),
            init,
            from: "shop:1".into(),
            to: "shop:2".into(),
        };
        let variable = VariableChange {
            container: "web".into(),
            name: "SEARCH_INDEX_GENERATION".into(),
            from: None,
            to: "g2".into(),
        };
        (vec![change("web", false), change("wait", true)], variable)
    }

    #[test]
    fn the_hash_label_is_no_part_of_it() {
        assert_eq!(
            *shop().labels(),
            BTreeMap::from([("app".to_owned(), "shop".to_owned())])
        );
    }

    #[test]
    fn a_change_and_its_reverse_give_the_same_template() {
        let (images, variable) = changes();
        let new = shop().with(&images, Some(&variable));
        assert_ne!(new, shop());
        assert_eq!(new.image("web").as_deref(), Some("shop:2"));
        assert_eq!(new.image("proxy").as_deref(), Some("envoy:3"));
        assert_eq!(
            new.variable("web", "SEARCH_INDEX_GENERATION").as_deref(),
            Some("g2")
        );
        assert!(new.carries(&images, Some(&variable)));
        assert!(!shop().carries(&images, Some(&variable)));
        assert_eq!(new.without(&images, Some(&variable)).digest(), shop().digest());
        assert_eq!(new.value().pointer("/spec/futureField/kept"), Some(&json!(true)));
    }

    #[test]
    fn a_merge_patch_removes_what_a_stranger_added() {
        let from = json!({"metadata": {"annotations": {"restartedAt": "now"}}, "spec": {"a": 1, "b": 2}});
        let to = json!({"metadata": {}, "spec": {"a": 1, "b": 3}});
        assert_eq!(
            merge_patch(&from, &to),
            json!({"metadata": {"annotations": null}, "spec": {"b": 3}})
        );
    }
}
