//! Own things only: only the fields of the window are written, only verbs that the controller needs, and each write on
//! a condition.

use std::collections::BTreeMap;

use serde_json::Value;
use slipway_crds::names::{CLAIM, POD_TEMPLATE_HASH, WINDOW};
use slipway_kubernetes::{
    fields,
    kind::Kind,
    store::{Change, Event, Key},
};

use super::{GENERATION, Violation};
use crate::{
    calls::Call,
    differences::{differences, named_fields},
    past::{open, ours},
};

/// By Deployment: templates that were the user's or ours, and whose variables may be written again.
#[derive(Default)]
pub(super) struct Templates(BTreeMap<Key, Vec<Value>>);

impl Templates {
    /// Looks at one change.
    pub(super) fn see(&mut self, change: &Change, found: &mut Vec<Violation>) {
        let kind = change.key.kind;
        if ours(change) && change.event == Event::Modified && !matches!(kind, Kind::Lease | Kind::Event) {
            let before = change.before.as_deref().unwrap_or(&Value::Null);
            for difference in differences(before, &change.object) {
                let path = difference.path.keys();
                let allowed = allowed(kind, &path) || is_variable(kind, &path) && self.known(change);
                if !allowed {
                    found.push(Violation {
                        invariant: "own things only",
                        at: change.at,
                        what: format!("{} changes a field that is not ours: {difference}", change.key),
                    });
                }
            }
        }
        // Outside of a window the template is the user's to choose; what is ours was just judged.
        if kind == Kind::Deployment && (ours(change) || !open(&change.object)) && !self.known(change) {
            let known = self.0.entry(change.key.clone()).or_default();
            known.push(change.object["spec"]["template"].clone());
        }
    }

    fn known(&self, change: &Change) -> bool {
        let templates = self.0.get(&change.key);
        templates.is_some_and(|known| known.contains(&change.object["spec"]["template"]))
    }
}

/// What of an object is ours to change.
fn allowed(kind: Kind, path: &[&str]) -> bool {
    match kind {
        Kind::Deployment => match path {
            ["metadata", "labels", CLAIM | WINDOW]
            | ["spec", "paused" | "minReadySeconds" | "progressDeadlineSeconds"]
            | ["spec", "strategy", ..] => true,
            [
                "spec",
                "template",
                "spec",
                "containers" | "initContainers",
                _,
                field @ ..,
            ] => {
                matches!(field, ["image"] | ["env", GENERATION, ..])
            }
            _ => false,
        },
        Kind::Service => matches!(
            path,
            ["metadata", "labels", CLAIM | WINDOW] | ["spec", "selector", POD_TEMPLATE_HASH]
        ),
        Kind::ReplicaSet => path == ["spec", "minReadySeconds"],
        Kind::Pod => path.starts_with(&["metadata", "finalizers"]),
        Kind::Release => matches!(path, ["status", ..] | ["metadata", "finalizers", ..]),
        Kind::Job => match path {
            ["metadata", "finalizers", ..] | ["spec", "suspend"] => true,
            ["metadata", field] => field.starts_with("deletion"),
            _ => false,
        },
        _ => false,
    }
}

/// Whether a field is a variable of a container.
fn is_variable(kind: Kind, path: &[&str]) -> bool {
    let containers = ["spec", "template", "spec"];
    let rest = path.strip_prefix(&containers);
    kind == Kind::Deployment && matches!(rest, Some(["containers" | "initContainers", _, "env", ..]))
}

/// Looks at one write of the controller.
pub(super) fn written(call: &Call, found: &mut Vec<Violation>) {
    let mut say = |what: String| {
        found.push(Violation {
            invariant: "own things only",
            at: call.at,
            what,
        });
    };
    if !needed(call) {
        say(format!("none of the controller's business: {call}"));
    }
    let condition = match (call.verb, call.kind) {
        ("create", _) | (_, Some(Kind::Lease)) => return,
        ("delete", _) => fields::text(&call.body, "/preconditions/uid"),
        (_, Some(Kind::Event)) => return,
        // No audit policy has to keep bodies; a change without any is one whose body was not kept.
        ("patch" | "update", _) if call.body.is_null() => return,
        _ => resource_version(&call.body),
    };
    if condition.is_empty() {
        say(format!("unconditional: {call}"));
    }
}

/// Whether the controller has to write a kind with a verb. Pods are judged by the patch, because their bodies are not
/// kept by every audit policy.
fn needed(call: &Call) -> bool {
    match call.kind {
        Some(Kind::Deployment | Kind::ReplicaSet | Kind::Service) => matches!(call.verb, "patch" | "update"),
        Some(Kind::Pod) => {
            let named = named_fields(&call.body);
            let own = |path: &crate::differences::Path| allowed(Kind::Pod, &path.keys());
            call.verb == "patch" && named.iter().all(own)
        }
        Some(Kind::Job) => matches!(call.verb, "create" | "delete" | "patch"),
        Some(Kind::Release) => matches!(call.verb, "patch" | "update"),
        Some(Kind::Event | Kind::Lease) => true,
        _ => false,
    }
}

/// The version that a merge patch or a replacement is conditional on, or that a JSON patch tests.
fn resource_version(body: &Value) -> &str {
    let operations = body.as_array().into_iter().flatten();
    let mut tests = operations.filter(|operation| operation["op"] == "test");
    tests
        .find(|test| test["path"] == "/metadata/resourceVersion")
        .map_or_else(
            || fields::text(body, "/metadata/resourceVersion"),
            |test| fields::text(test, "/value"),
        )
}
