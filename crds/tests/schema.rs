//! The schema as it is installed: committed, bounded, described, and every rule with an example on both sides.
#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test may panic"
)]

use std::{
    collections::{BTreeMap, BTreeSet},
    process::Command,
};

use kube::{
    CustomResourceExt,
    core::cel::{CompiledSchema, ValidationErrors, Validator, compile_schema},
};
use serde_json::{Value, json};
use slipway_crds::v1alpha1::Release;

#[test]
fn what_is_committed_is_what_the_types_say() {
    let output = Command::new(env!("CARGO_BIN_EXE_crdgen"))
        .arg("--check")
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

#[test]
fn every_text_list_and_map_has_a_maximum() {
    for Node { path, schema, .. } in nodes() {
        let bounded = |key: &str| schema.get(key).is_some_and(Value::is_u64);
        let is_text = schema["type"] == "string" || schema["x-kubernetes-int-or-string"] == true;
        // One of a few words, or a time, whose form the API server checks.
        let is_closed = schema.get("enum").is_some() || schema["format"] == "date-time";
        assert!(
            !is_text || is_closed || bounded("maxLength"),
            "{path} is a text without maxLength"
        );
        assert!(
            schema["type"] != "array" || bounded("maxItems"),
            "{path} is a list without maxItems"
        );
        let is_map = schema.get("additionalProperties").is_some();
        assert!(
            !is_map || bounded("maxProperties"),
            "{path} is a map without maxProperties"
        );
        // The frozen spec is written by Slipway alone, from a spec that this schema has admitted.
        let is_open = schema.get("x-kubernetes-preserve-unknown-fields").is_some();
        assert!(
            !is_open || path == ".status.revision.inputs",
            "{path} may hold anything"
        );
    }
}

#[test]
fn every_number_in_the_spec_has_limits_and_no_format_is_unknown_to_kubernetes() {
    for Node { path, schema, .. } in nodes() {
        let format = schema["format"].as_str().unwrap_or_default();
        assert!(
            ["", "date-time", "int32", "int64"].contains(&format),
            "{path} has format {format}"
        );
        // Kubernetes does not enforce a format, but a minimum and a maximum.
        if path.starts_with(".spec") && schema["type"] == "integer" {
            assert!(schema.get("minimum").is_some(), "{path} has no minimum");
            assert!(
                format == "int64" || schema.get("maximum").is_some(),
                "{path} has no maximum"
            );
        }
    }
}

/// What the source says stands in the schema as schemars derives it, before kube makes it structural.
#[test]
fn kubectl_explain_has_the_fields_own_words_for_every_field() {
    let source = nodes_of(schemars::schema_for!(Release).as_value());
    let source: BTreeMap<String, Node> = source.into_iter().map(|node| (node.path.clone(), node)).collect();
    // Items of a list and values of a map are described by their list or map.
    for node in nodes().iter().filter(|node| !node.path.ends_with([']', '}'])) {
        let Node { path, .. } = node;
        assert!(!node.words().is_empty(), "{path} has no description");
        assert_eq!(
            node.words(),
            source[path].words(),
            "{path} has other words than in the source"
        );
    }
}

#[test]
fn kubectl_explain_has_the_default_of_every_field_that_may_be_left_out() {
    for node in nodes() {
        // A list, a map or an object that is left out is as good as an empty one.
        let is_value = !["object", "array"].contains(&node.schema["type"].as_str().unwrap_or_default());
        let may_be_left_out = node.path.starts_with(".spec.") && node.optional && is_value;
        assert!(
            !may_be_left_out || node.words().contains("Default"),
            "{} does not say its default",
            node.path
        );
    }
}

#[test]
fn every_rule_admits_and_refuses_what_it_should() {
    let mut tried = BTreeSet::new();
    let schema = compile_schema(&schema());
    assert!(!schema.has_errors(), "{:?}", schema.compilation_errors());
    for Example {
        message,
        admitted,
        refused,
    } in examples()
    {
        assert_eq!(
            refusals(&schema, &admitted),
            [] as [String; 0],
            "{admitted} was to be admitted"
        );
        let refusals = refusals(&schema, &refused);
        let [refusal] = refusals.as_slice() else {
            panic!("{refused} is refused by {refusals:?}, not by one rule")
        };
        assert!(
            refusal.starts_with(message),
            "{refused} is refused by {refusal:?}, not by {message:?}"
        );
        tried.insert(refusal.clone());
    }
    assert_eq!(
        tried,
        rules(),
        "each rule of the schema needs an example in this table"
    );
}

#[test]
fn every_rule_says_what_to_do() {
    for message in rules() {
        assert!(
            message.len() > 20 && !message.starts_with("failed rule"),
            "{message:?} does not help"
        );
    }
}

/// A change of [`plain`] that a rule admits, and one that this rule alone refuses.
struct Example {
    /// How the rule's message begins.
    message: &'static str,
    admitted: Value,
    refused: Value,
}

/// The smallest useful Release. A change is merged into it as `kubectl patch --type merge` does.
fn plain() -> Value {
    json!({
        "apiVersion": "slipway.dev/v1alpha1",
        "kind": "Release",
        "metadata": { "name": "shop" },
        "spec": {
            "image": "registry.example/shop:2.4.0",
            "workloads": [{ "name": "web", "deployment": "web", "services": ["web"] }],
        },
    })
}

fn examples() -> Vec<Example> {
    let workloads = |list: Value| json!({ "spec": { "workloads": list } });
    let workload = |fields: Value| {
        let mut workload = json!({ "name": "web", "deployment": "web" });
        json_merge(&mut workload, &fields);
        workloads(json!([workload]))
    };
    let expand = |task: Value| json!({ "spec": { "migrate": { "expand": task } } });
    let variable = |fields: Value| expand(json!({ "command": ["migrate"], "env": [fields] }));
    let secret = json!({ "name": "database", "key": "url" });
    let rebuild = |rebuild: Value| {
        json!({ "spec": { "reindex": {
            "search": { "url": "http://search:9200" },
            "indices": [{ "alias": "products" }],
            "build": { "command": ["reindex"] },
            "rebuild": rebuild,
        } } })
    };
    let example = |message, admitted, refused| Example {
        message,
        admitted,
        refused,
    };
    vec![
        example(
            "a Release's name has at most 40 characters",
            json!({ "metadata": { "name": "a".repeat(40) } }),
            json!({ "metadata": { "name": "a".repeat(41) } }),
        ),
        example(
            "a Release's name is a DNS label",
            json!({ "metadata": { "name": "shop-2" } }),
            json!({ "metadata": { "name": "shop.example" } }),
        ),
        example(
            "tasks.from names no workload",
            json!({ "spec": { "tasks": { "from": "web" } } }),
            json!({ "spec": { "tasks": { "from": "worker" } } }),
        ),
        example(
            "two tasks of spec.prepare have the same name",
            json!({ "spec": { "prepare": [{ "name": "a", "args": ["x"] }, { "name": "b", "args": ["x"] }] } }),
            json!({ "spec": { "prepare": [{ "name": "a", "args": ["x"] }, { "name": "a", "args": ["y"] }] } }),
        ),
        example(
            "two workloads name the same deployment",
            workloads(json!([{ "name": "a", "deployment": "a" }, { "name": "b", "deployment": "b" }])),
            workloads(json!([{ "name": "a", "deployment": "a" }, { "name": "b", "deployment": "a" }])),
        ),
        example(
            "move WithTraffic needs the services",
            workload(json!({ "move": "WithTraffic", "services": ["web"] })),
            workload(json!({ "move": "WithTraffic" })),
        ),
        example(
            "move After is a rolling update",
            workload(json!({ "move": "After" })),
            workload(json!({ "move": "After", "services": ["web"] })),
        ),
        example(
            "a Service is in services and in leave",
            workload(json!({ "services": ["web"], "leave": ["metrics"] })),
            workload(json!({ "services": ["web"], "leave": ["web"] })),
        ),
        example(
            "a task needs command or args",
            expand(json!({ "args": ["db:migrate"] })),
            expand(json!({ "retries": 1 })),
        ),
        example(
            "a variable has a value and a valueFrom",
            variable(json!({ "name": "A", "valueFrom": { "secretKeyRef": secret } })),
            variable(json!({ "name": "A", "value": "b", "valueFrom": { "secretKeyRef": secret } })),
        ),
        example(
            "valueFrom names one source",
            variable(json!({ "name": "A", "valueFrom": { "configMapKeyRef": secret } })),
            variable(json!({ "name": "A", "valueFrom": {} })),
        ),
        example(
            "rebuild.when FingerprintChanged needs",
            rebuild(json!({ "when": "FingerprintChanged", "fingerprint": "v7" })),
            rebuild(json!({ "when": "FingerprintChanged" })),
        ),
    ]
}

/// Messages of the rules that refuse the plain Release with this change.
fn refusals(schema: &CompiledSchema, change: &Value) -> Vec<String> {
    let mut release = plain();
    json_merge(&mut release, change);
    // By way of the type, which has to understand whatever the schema is asked about.
    let release: Release = serde_json::from_value(release).unwrap();
    let errors = Validator::new().validate_compiled(schema, &serde_json::to_value(release).unwrap(), None);
    errors
        .err()
        .map(ValidationErrors::into_vec)
        .unwrap_or_default()
        .into_iter()
        .map(|error| error.message)
        .collect()
}

/// Messages of all rules in the schema.
fn rules() -> BTreeSet<String> {
    let rules = nodes()
        .into_iter()
        .filter_map(|node| node.schema["x-kubernetes-validations"].as_array().cloned());
    rules
        .flatten()
        .map(|rule| rule["message"].as_str().unwrap().to_owned())
        .collect()
}

fn schema() -> Value {
    let mut definition = serde_json::to_value(Release::crd()).unwrap();
    definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"].take()
}

/// A part of the schema and where it stands: `.spec.workloads[].services`, `.spec.tasks.labels{}`.
struct Node {
    path: String,
    /// Whether it is a field that may be left out.
    optional: bool,
    /// What is said in its place.
    field: Value,
    /// The same, or what that refers to.
    schema: Value,
}

impl Node {
    /// Its description, which the root's own fields have from their types.
    fn words(&self) -> &str {
        let own = self.field["description"].as_str();
        own.or_else(|| self.schema["description"].as_str())
            .unwrap_or_default()
    }
}

/// Every part of the schema but the root's own fields `apiVersion`, `kind` and `metadata`, which it does not state.
fn nodes() -> Vec<Node> {
    nodes_of(&schema())
}

fn nodes_of(root: &Value) -> Vec<Node> {
    fn walk(root: &Value, path: &str, optional: bool, field: &Value, nodes: &mut Vec<Node>) {
        let schema = meant(root, field);
        nodes.push(Node {
            path: path.to_owned(),
            optional,
            field: field.clone(),
            schema: schema.clone(),
        });
        let required = schema["required"].as_array().into_iter().flatten();
        let required: Vec<&str> = required.filter_map(Value::as_str).collect();
        for (name, field) in schema["properties"].as_object().into_iter().flatten() {
            let optional = !required.contains(&name.as_str());
            walk(root, &format!("{path}.{name}"), optional, field, nodes);
        }
        if let Some(items) = schema.get("items") {
            walk(root, &format!("{path}[]"), false, items, nodes);
        }
        if let Some(values) = schema
            .get("additionalProperties")
            .filter(|values| values.is_object())
        {
            walk(root, &format!("{path}{{}}"), false, values, nodes);
        }
    }
    let mut nodes = Vec::new();
    walk(root, "", false, root, &mut nodes);
    assert!(nodes.len() > 100, "the schema was not found");
    nodes
}

/// The type that a part of the derived schema refers to, or chooses before null.
fn meant<'a>(root: &'a Value, schema: &'a Value) -> &'a Value {
    match (schema["$ref"].as_str(), schema["anyOf"].get(0)) {
        (Some(name), _) => meant(root, root.pointer(name.trim_start_matches('#')).unwrap()),
        (None, Some(choice)) => meant(root, choice),
        (None, None) => schema,
    }
}

/// RFC 7386, without deletion: an object is merged, anything else replaced.
fn json_merge(target: &mut Value, change: &Value) {
    match (target, change) {
        (Value::Object(target), Value::Object(change)) => {
            for (key, value) in change {
                json_merge(target.entry(key.clone()).or_insert(Value::Null), value);
            }
        }
        (target, change) => *target = change.clone(),
    }
}
