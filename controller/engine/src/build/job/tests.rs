use std::collections::BTreeMap;

use serde_json::{Value, json};
use slipway_crds::v1alpha1::Release;
use slipway_crds::v1alpha1::status::StepName;

use super::{JobInput, job};
use crate::Intent;
use crate::fixture::plain;
use crate::intent::TaskPlan;
use crate::template::Template;

/// The Job of a migration in this pod spec, with these settings of tasks.
fn migration(spec: &Value, tasks: &Value, postgres_options: Option<&str>) -> Value {
    let mut release = plain("shop:2");
    release["tasks"] = tasks.clone();
    release["migrate"] = json!({"expand": {"command": ["migrate"]}});
    let mut release = Release::new("shop", serde_json::from_value(release).unwrap());
    release.metadata.namespace = Some("demo".to_owned());
    let intent = Intent::parse(&release);
    let live = intent.wanted.as_ref().unwrap();
    let plan = TaskPlan {
        postgres_options: postgres_options.map(str::to_owned),
        ..live.expand.clone().unwrap()
    };
    let task = serde_json::from_value(json!({
        "step": "Expand", "name": "expand", "attempt": 1, "intentAt": "2026-01-05T10:00:00Z",
        "inputDigest": "digest", "job": "shop-2-expand-1",
    }));
    assert_eq!(plan.step, StepName::Expand);
    job(&JobInput {
        meta: &intent.meta,
        number: 2,
        revision: &"shop-2".into(),
        image: "shop:2",
        previous_image: Some("shop:1"),
        plan: &plan,
        settings: live.settings(&plan),
        task: &task.unwrap(),
        template: &Template::new(
            json!({"metadata": {"annotations": {"prometheus.io/scrape": "true"}}, "spec": spec}),
        ),
        container: "main",
        generation: None,
    })
}

fn pod(job: &Value) -> &Value {
    &job["spec"]["template"]
}

fn variables(job: &Value) -> BTreeMap<&str, &Value> {
    let variables = pod(job)["spec"]["containers"][0]["env"].as_array().unwrap();
    variables
        .iter()
        .map(|variable| (variable["name"].as_str().unwrap(), variable))
        .collect()
}

#[test]
fn what_spreads_the_serving_pods_or_holds_for_them_alone_is_left_out() {
    let terms = json!({"requiredDuringSchedulingIgnoredDuringExecution": []});
    let spec = json!({
        "affinity": {"nodeAffinity": terms, "podAffinity": terms, "podAntiAffinity": terms},
        "topologySpreadConstraints": [{"maxSkew": 1}],
        "readinessGates": [{"conditionType": "load-balancer"}],
        "nodeSelector": {"pool": "app"},
        "tolerations": [{"key": "app"}],
        "priorityClassName": "high",
        "runtimeClassName": "sandbox",
        "containers": [
            {"name": "proxy", "image": "proxy:1"},
            {
                "name": "main", "image": "shop:2", "ports": [{"containerPort": 80, "hostPort": 80}],
                "livenessProbe": {}, "restartPolicy": "OnFailure", "restartPolicyRules": [],
                "resizePolicy": [{"resourceName": "cpu", "restartPolicy": "RestartContainer"}],
            },
        ],
    });
    let job = migration(&spec, &json!({}), None);
    let mut spec = pod(&job)["spec"].clone();
    assert_eq!(spec["containers"].as_array().map(Vec::len), Some(1));
    let container = spec["containers"][0].take();
    let fields: Vec<&String> = container.as_object().unwrap().keys().collect();
    assert_eq!(
        fields,
        ["command", "env", "image", "name", "terminationMessagePolicy"]
    );
    spec["containers"].take();
    let kept = json!({
        "affinity": {"nodeAffinity": terms},
        "nodeSelector": {"pool": "app"},
        "tolerations": [{"key": "app"}],
        "priorityClassName": "high",
        "runtimeClassName": "sandbox",
        "restartPolicy": "Never",
        "containers": null,
    });
    assert_eq!(spec, kept);
}

#[test]
fn annotations_are_those_of_tasks_and_never_the_workloads() {
    let tasks = json!({"annotations": {
        "sidecar.istio.io/inject": "false",
        "karpenter.sh/do-not-disrupt": "false",
        "slipway.dev/container": "proxy",
    }});
    let job = migration(&json!({"containers": [{"name": "main"}]}), &tasks, None);
    let annotations = json!({
        "cluster-autoscaler.kubernetes.io/safe-to-evict": "false",
        "karpenter.sh/do-not-disrupt": "false",
        "kubectl.kubernetes.io/default-container": "main",
        "sidecar.istio.io/inject": "false",
        "slipway.dev/container": "main",
    });
    assert_eq!(pod(&job)["metadata"]["annotations"], annotations);
}

#[test]
fn a_session_in_the_database_is_named_after_the_attempt() {
    let env = json!([{"name": "PGAPPNAME", "value": "web"}]);
    let job = migration(
        &json!({"containers": [{"name": "main", "env": env}]}),
        &json!({}),
        None,
    );
    assert_eq!(variables(&job)["PGAPPNAME"]["value"], "shop-2-expand-1");
}

#[test]
fn timeouts_are_added_to_the_options_that_the_workload_has_wherever_these_come_from() {
    let source = json!({"secretKeyRef": {"name": "database", "key": "options"}});
    let rows = [
        (json!([]), None),
        (
            json!([{"name": "PGOPTIONS", "value": "-c jit=off"}]),
            Some(json!({"name": "RELEASE_PGOPTIONS", "value": "-c jit=off"})),
        ),
        (
            json!([{"name": "PGOPTIONS", "valueFrom": source}]),
            Some(json!({"name": "RELEASE_PGOPTIONS", "valueFrom": source})),
        ),
    ];
    for (env, given) in rows {
        let spec = json!({"containers": [{"name": "main", "env": env}]});
        let job = migration(&spec, &json!({}), Some("-c lock_timeout=5000"));
        let variables = variables(&job);
        assert_eq!(variables.get("RELEASE_PGOPTIONS").copied(), given.as_ref());
        let whole = match given {
            Some(_) => "$(RELEASE_PGOPTIONS) -c lock_timeout=5000",
            None => "-c lock_timeout=5000",
        };
        assert_eq!(variables["PGOPTIONS"]["value"], whole);
    }
}
