//! The fields of a Release's spec, read from the schema of its definition: a new one is walked too.

use std::sync::OnceLock;

use kube::CustomResourceExt as _;
use serde_json::{Value, json};
use slipway_crds::v1alpha1::Release;

/// One field: the names on the way to it, where `*` is the first element of a list or a key of a map, and the
/// schemas of the places on that way.
#[derive(Clone, Debug)]
pub(super) struct Field {
    way: Vec<(String, &'static Value)>,
}

/// All fields that have no fields of their own.
pub(super) fn fields_of() -> Vec<Field> {
    let mut found = Vec::new();
    walk(schema(), &mut Vec::new(), &mut found);
    found
}

fn schema() -> &'static Value {
    static SCHEMA: OnceLock<Value> = OnceLock::new();
    SCHEMA.get_or_init(|| {
        let definition = serde_json::to_value(Release::crd()).expect("a definition in JSON");
        definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"].clone()
    })
}

fn walk(schema: &'static Value, way: &mut Vec<(String, &'static Value)>, found: &mut Vec<Field>) {
    let inner = schema["items"].as_object().map(|_| &schema["items"]);
    let inner = inner.or_else(|| {
        schema["additionalProperties"]
            .as_object()
            .map(|_| &schema["additionalProperties"])
    });
    if let Some(inner) = inner {
        way.push(("*".to_owned(), inner));
        walk(inner, way, found);
        way.pop();
    } else if let Some(properties) = schema["properties"].as_object() {
        for (name, inner) in properties {
            way.push((name.clone(), inner));
            walk(inner, way, found);
            way.pop();
        }
    } else {
        found.push(Field { way: way.clone() });
    }
}

impl Field {
    /// Its path, such as `workloads.*.services.*`.
    pub(super) fn path(&self) -> String {
        let names: Vec<&str> = self.way.iter().map(|(name, _)| name.as_str()).collect();
        names.join(".")
    }

    /// The field of the spec that it is in.
    pub(super) fn top(&self) -> &str {
        self.way.first().map_or("", |(name, _)| name)
    }

    /// Gives it another value that the schema allows, and with it whatever else the schema asks for.
    pub(super) fn change(&self, spec: &mut Value) {
        change(spec, schema(), &self.way);
    }
}

fn change(place: &mut Value, schema: &Value, way: &[(String, &'static Value)]) {
    let Some(((name, inner), rest)) = way.split_first() else {
        *place = other(place, schema);
        return;
    };
    if name == "*" && schema["items"].is_object() {
        if !place.is_array() {
            *place = json!([]);
        }
        let list = place.as_array_mut().expect("made a list above");
        if list.is_empty() {
            list.push(Value::Null);
        }
        change(&mut list[0], inner, rest);
        return;
    }
    let key = if name == "*" { "cpu" } else { name };
    if !place.is_object() {
        *place = json!({});
    }
    change(&mut place[key], inner, rest);
    for required in schema["required"].as_array().into_iter().flatten() {
        let required = required.as_str().unwrap_or_default();
        if place[required].is_null() {
            place[required] = sample(&schema["properties"][required]);
        }
    }
}

/// The least that a schema accepts.
fn sample(schema: &Value) -> Value {
    let mut value = Value::Null;
    if let Some(properties) = schema["properties"].as_object() {
        value = json!({});
        for required in schema["required"].as_array().into_iter().flatten() {
            let required = required.as_str().unwrap_or_default();
            value[required] = sample(&properties[required]);
        }
    } else if schema["items"].is_object() {
        value = json!([sample(&schema["items"])]);
    } else {
        value = other(&value, schema);
    }
    value
}

/// Values of strings; of every schema with a pattern one of them is accepted.
const TEXTS: [&str; 5] = ["other", "7m", "http://other:9200", "7%", "750m"];

/// A value that the schema of a field without fields allows, and that is not this one.
fn other(value: &Value, schema: &Value) -> Value {
    if let Some(choices) = schema["enum"].as_array() {
        let mut others = choices
            .iter()
            .filter(|choice| *choice != value && !choice.is_null());
        return others.next_back().unwrap_or(value).clone();
    }
    match schema["type"].as_str() {
        Some("boolean") => json!(value != &json!(true)),
        Some("integer") => {
            let within = |number: i32| {
                let above = schema["minimum"]
                    .as_f64()
                    .is_none_or(|least| f64::from(number) >= least);
                above
                    && schema["maximum"]
                        .as_f64()
                        .is_none_or(|most| f64::from(number) <= most)
            };
            let mut others = (1..=i32::MAX).filter(|number| within(*number) && value != &json!(number));
            json!(others.next())
        }
        _ => {
            let pattern = schema["pattern"].as_str().unwrap_or_default();
            let text = TEXTS.iter().find(|text| fits(text, pattern)).unwrap_or(&TEXTS[0]);
            json!(if value == text { "another" } else { text })
        }
    }
}

/// Whether a text is of the sort that a pattern of the definition asks for.
fn fits(text: &str, pattern: &str) -> bool {
    let sorts = [
        ("h)?", "7m"),
        ("https?", "http://other:9200"),
        ("%$", "7%"),
        ("KMGTPE", "750m"),
    ];
    let wanted = sorts.iter().find(|(sign, _)| pattern.contains(sign));
    wanted.map_or(text == TEXTS[0], |(_, wanted)| text == *wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_gets_another_value() {
        let fields = fields_of();
        let paths: Vec<String> = fields.iter().map(Field::path).collect();
        for known in [
            "image",
            "suspend",
            "workloads.*.services.*",
            "reindex.catchUp.env.*.valueFrom.secretKeyRef.key",
        ] {
            assert!(
                paths.iter().any(|path| path == known),
                "{known} is not among {paths:?}"
            );
        }
        let usual = json!({"image": "shop:1", "workloads": [{"name": "web", "deployment": "web"}]});
        for field in fields {
            let mut first = usual.clone();
            field.change(&mut first);
            assert_ne!(first, usual, "{}", field.path());
            let mut second = first.clone();
            field.change(&mut second);
            assert_ne!(second, usual, "{}", field.path());
        }
    }

    #[test]
    fn what_the_schema_requires_comes_along() {
        let fields = fields_of();
        let key = fields
            .iter()
            .find(|field| field.path() == "prepare.*.env.*.valueFrom.secretKeyRef.key");
        let mut spec = json!({});
        key.unwrap().change(&mut spec);
        assert_eq!(
            spec["prepare"],
            json!([{"name": "other", "env": [{"name": "other", "valueFrom": {"secretKeyRef": {"key": "other", "name": "other"}}}]}])
        );
    }
}
