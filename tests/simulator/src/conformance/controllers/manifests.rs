//! The objects of the stories of Deployments, and what people do to them.

use serde_json::{Value, json};
use slipway_kubernetes::kind::Kind;

use super::story::{Action, Step};

/// minReadySeconds of the hold and of the bolt.
const HOLD: i64 = 2_147_483_646;
/// The value of progressDeadlineSeconds that means none.
const NO_DEADLINE: i64 = 2_147_483_647;
/// The label of version 1.
pub(super) const ONE: (&str, &str) = ("version", "1");

fn image(version: &str) -> &'static str {
    match version {
        "1" => "shop:1.0",
        "2" => "shop:2.0",
        "3" => "shop:2.1",
        "crash-loop" => "shop:crash-loop",
        _ => "shop:never-ready",
    }
}

pub(super) fn template(version: &str) -> Value {
    json!({
        "metadata": {"labels": {"app": "web", "version": version}},
        "spec": {
            "automountServiceAccountToken": false,
            "terminationGracePeriodSeconds": 5,
            "containers": [{
                "name": "web",
                "image": image(version),
                "imagePullPolicy": "IfNotPresent",
                "args": ["hello"],
                "ports": [{"name": "http", "containerPort": 8080}],
                "readinessProbe": {
                    "httpGet": {"path": "/readyz", "port": "http"}, "periodSeconds": 1, "timeoutSeconds": 2,
                },
            }],
        },
    })
}

/// Deployment `web` of version 1, with changes to its spec.
pub(super) fn web(replicas: i64, changes: &Value) -> Step {
    let mut spec = json!({
        "replicas": replicas,
        "selector": {"matchLabels": {"app": "web"}},
        "template": template("1"),
    });
    for (name, value) in changes.as_object().into_iter().flatten() {
        spec[name] = value.clone();
    }
    Step::Create(
        json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}, "spec": spec}),
    )
}

pub(super) fn service() -> Step {
    Step::Create(json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"},
        "spec": {"selector": {"app": "web"}, "ports": [{"name": "http", "port": 80, "targetPort": "http"}]},
    }))
}

/// A change of the Deployment's spec.
pub(super) fn change(spec: impl Into<Value>) -> Step {
    Step::Patch(Kind::Deployment, "web", json!({"spec": spec.into()}))
}

pub(super) fn version(version: &str) -> Step {
    change(json!({"template": template(version)}))
}

/// Template and hold in one write.
pub(super) fn hold(version: &str) -> Step {
    change(json!({
        "template": template(version),
        "minReadySeconds": HOLD,
        "progressDeadlineSeconds": NO_DEADLINE,
        "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "100%", "maxUnavailable": 0}},
        "paused": false,
    }))
}

pub(super) fn lock() -> Step {
    change(json!({"paused": true}))
}

pub(super) fn bolt() -> Step {
    Step::Each(
        Kind::ReplicaSet,
        ONE,
        Action::Patch(json!({"spec": {"minReadySeconds": HOLD}})),
    )
}

/// A template with the values that the user has.
pub(super) fn release(version: &str) -> Value {
    json!({
        "template": template(version),
        "minReadySeconds": 0,
        "progressDeadlineSeconds": 600,
        "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"}},
        "paused": false,
    })
}
