//! The user's own manifests.

use std::fs;

use anyhow::{Context, Result};
use serde::Deserialize;
use serde_json::{Value, json};
use slipway_e2e::cargo::root;

/// Three pods that only tell their version.
pub(crate) fn hello(pods: u32) -> Vec<Value> {
    let labels = json!({"app": "web"});
    let container = json!({
        "name": "shop", "image": "shop:1.0", "imagePullPolicy": "IfNotPresent", "args": ["hello"],
        "env": [{"name": "SHOP_DRAIN_SECONDS", "value": "2"}],
        "ports": [{"name": "http", "containerPort": 8080}],
        "readinessProbe": {"httpGet": {"path": "/readyz", "port": "http"}, "periodSeconds": 1, "timeoutSeconds": 3},
        "resources": {"requests": {"cpu": "10m", "memory": "16Mi"}},
    });
    vec![
        json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "labels": labels},
            "spec": {
                "replicas": pods, "selector": {"matchLabels": labels},
                "template": {"metadata": {"labels": labels},
                    "spec": {"automountServiceAccountToken": false, "terminationGracePeriodSeconds": 20,
                        "containers": [container]}},
            },
        }),
        json!({
            "apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"},
            "spec": {"selector": labels, "ports": [{"name": "http", "port": 80, "targetPort": "http"}]},
        }),
    ]
}

/// The Release of [`hello`]: the new version without any task, watched for a moment.
pub(crate) fn hello_release() -> Value {
    json!({
        "apiVersion": "slipway.dev/v1alpha1", "kind": "Release", "metadata": {"name": "shop"},
        "spec": {
            "image": "shop:2.0",
            "workloads": [{"name": "web", "deployment": "web", "services": ["web"]}],
            "preboot": {"timeout": "2m"},
            "watch": {"for": "3s"},
        },
    })
}

/// The shop as its own folder has it, in this many web pods, with probes that are quick enough for a test.
pub(crate) fn shop(pods: u32) -> Result<Vec<Value>> {
    let mut objects = [read("web.yaml")?, read("worker.yaml")?].concat();
    for object in &mut objects {
        if object["metadata"]["name"] == "web" && object["kind"] == "Deployment" {
            object["spec"]["replicas"] = json!(pods);
            object["spec"]["template"]["spec"]["containers"][0]["readinessProbe"]["periodSeconds"] = json!(1);
        }
        if object["metadata"]["name"] == "worker" {
            object["spec"]["replicas"] = json!(1);
        }
    }
    Ok(objects)
}

/// The shop's own Release, with times that are short enough for a test, and its own live alias.
pub(crate) fn shop_release(alias: &str) -> Result<Value> {
    let mut release = read("release.yaml")?.pop().context("the file has a Release")?;
    json_patch::merge(
        &mut release,
        &json!({"spec": {
            // A thousand documents and a busy machine: what was written in the last seconds counts for more.
            "reindex": {"indices": [{"alias": alias, "minimumDocuments": 10}], "verify": {"countTolerance": "5%"}},
            "preboot": {"minimumWait": "0s", "timeout": "2m"},
            "watch": {"for": "3s"},
        }}),
    );
    Ok(release)
}

fn read(file: &str) -> Result<Vec<Value>> {
    let path = root().join("tests/apps/shop/k8s").join(file);
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    serde_yaml::Deserializer::from_str(&text)
        .map(|document| Value::deserialize(document).context("a manifest is not YAML"))
        .collect()
}
