//! Whole objects.

use serde_json::{Value, json};
use slipway_kubernetes::{kind::Kind, random::Random};

/// A whole object, sometimes an invalid one.
pub(super) fn object(random: &mut Random, kind: Kind, name: &str) -> Value {
    let bodies = match kind {
        Kind::Deployment => deployments(),
        Kind::ReplicaSet => replica_sets(),
        Kind::Service => services(),
        Kind::Job => jobs(),
        Kind::Lease => vec![
            json!({"spec": {"holderIdentity": "a", "leaseDurationSeconds": 15}}),
            json!({"spec": {"leaseDurationSeconds": 0}}),
        ],
        Kind::Release => vec![
            json!({"spec": {"image": "shop:1"}}),
            json!({"spec": {"image": "shop:1"}, "status": {"phase": "Ready"}}),
        ],
        _ => vec![json!({"data": {"key": "1"}}), json!({})],
    };
    let mut object = random.pick(&bodies).clone();
    object["apiVersion"] = json!(kind.api_version());
    object["kind"] = json!(kind.traits().kind);
    object["metadata"]["name"] = json!(name);
    if random.chance(1, 3) {
        object["metadata"]["labels"] = json!({"tier": random.pick(&["web", "api"])});
    }
    if random.chance(1, 6) {
        object["metadata"]["finalizers"] = json!(["slipway.dev/test"]);
    }
    object
}

fn template(image: &str, policy: &str) -> Value {
    let mut spec = json!({"containers": [{"name": "web", "image": image, "env": [{"name": "A", "value": "1"}], "ports": [{"containerPort": 80}]}]});
    if !policy.is_empty() {
        spec["restartPolicy"] = json!(policy);
    }
    json!({"metadata": {"labels": {"app": "web"}}, "spec": spec})
}

fn deployments() -> Vec<Value> {
    let selector = json!({"matchLabels": {"app": "web"}});
    vec![
        json!({"spec": {"replicas": 3, "selector": selector, "template": template("shop:1", "")}}),
        json!({"spec": {"selector": selector, "template": template("shop:2", ""), "minReadySeconds": 5, "strategy": {"rollingUpdate": {"maxSurge": 1}}}}),
        json!({"spec": {"selector": selector, "template": template("shop", ""), "strategy": {"type": "Recreate"}, "paused": true}}),
        json!({"spec": {"selector": {"matchLabels": {"app": "other"}}, "template": template("shop:1", "")}}),
        json!({"spec": {"replicas": -1, "selector": selector, "template": template("shop:1", "")}}),
    ]
}

fn replica_sets() -> Vec<Value> {
    let selector = json!({"matchLabels": {"app": "web"}});
    vec![
        json!({"spec": {"replicas": 3, "selector": selector, "template": template("shop:1", "")}}),
        json!({"spec": {"selector": selector, "template": template("shop:2", ""), "minReadySeconds": 5}}),
        json!({"spec": {"selector": {"matchLabels": {"app": "other"}}, "template": template("shop:1", "")}}),
    ]
}

fn services() -> Vec<Value> {
    vec![
        json!({"spec": {"selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": 8080}]}}),
        json!({"spec": {"selector": {"app": "web", "tier": "x"}, "ports": [{"name": "http", "port": 80}, {"name": "admin", "port": 81}]}}),
        json!({"spec": {"selector": {"app": "web"}}}),
    ]
}

fn jobs() -> Vec<Value> {
    vec![
        json!({"spec": {"backoffLimit": 0, "template": template("task:1", "Never"), "podFailurePolicy": {"rules": [
            {"action": "FailJob", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]}]}}}),
        json!({"spec": {"suspend": true, "template": template("task:1", "OnFailure")}}),
        json!({"spec": {"template": template("task:1", "")}}),
    ]
}
