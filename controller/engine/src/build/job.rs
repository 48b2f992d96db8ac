//! The Job of a task: the workload's new pod spec, one container, one attempt.

use jiff::Timestamp;
use serde_json::{Map, Value, json};
use slipway_crds::v1alpha1::InitContainers;
use slipway_crds::v1alpha1::status::TaskStatus;
use slipway_crds::{RevisionName, names};

use super::step_word;
use crate::intent::{Meta, TaskPlan, TaskSettings};
use crate::template::Template;

/// The variable that the workload's own PGOPTIONS go to where options are added to them.
const GIVEN_OPTIONS: &str = "RELEASE_PGOPTIONS";

/// What a task's Job is made of.
#[derive(Clone, Debug)]
pub struct JobInput<'a> {
    /// The Release.
    pub meta: &'a Meta,
    /// Number of the revision.
    pub number: i64,
    /// Name of the revision.
    pub revision: &'a RevisionName,
    /// The new image.
    pub image: &'a str,
    /// The image that served before.
    pub previous_image: Option<&'a str>,
    /// What runs.
    pub plan: &'a TaskPlan,
    /// How it is run.
    pub settings: &'a TaskSettings,
    /// The attempt, with the Job's name and the digest of what it is given.
    pub task: &'a TaskStatus,
    /// The workload's new pod template.
    pub template: &'a Template,
    /// The container of it that the task runs in.
    pub container: &'a str,
    /// The generation variable and its value.
    pub generation: Option<(&'a str, &'a str)>,
}

/// The whole Job.
pub fn job(input: &JobInput<'_>) -> Value {
    let labels = labels(input);
    json!({
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": input.task.job,
            "namespace": input.meta.namespace,
            "labels": labels,
            "annotations": { names::INPUT_DIGEST: input.task.input_digest },
        },
        "spec": {
            // Started once its UID is recorded: a creation that arrives late makes a Job that never runs.
            "suspend": true,
            "backoffLimit": 0,
            "completions": 1,
            "parallelism": 1,
            "podReplacementPolicy": "Failed",
            // Ignore would start a second pod in spite of backoffLimit 0.
            "podFailurePolicy": { "rules": [{
                "action": "FailJob",
                "onPodConditions": [{ "type": "DisruptionTarget", "status": "True" }],
            }] },
            "template": {
                "metadata": {
                    "labels": labels,
                    "annotations": annotations(input),
                    // Kept until the outcome is recorded: an evicted pod that exits 0 makes its Job Complete.
                    "finalizers": [names::TASK_POD_FINALIZER],
                },
                "spec": pod_spec(input),
            },
        },
    })
}

fn labels(input: &JobInput<'_>) -> Map<String, Value> {
    let own = [
        ("app.kubernetes.io/managed-by", "slipway".to_owned()),
        (names::RELEASE, input.meta.name.clone()),
        (names::RELEASE_UID, input.meta.uid.to_string()),
        (names::REVISION, input.number.to_string()),
        (names::STEP, step_word(input.plan.step).to_owned()),
        (names::TASK, input.plan.name.clone()),
        (names::ATTEMPT, input.task.attempt.to_string()),
    ];
    let users = input
        .settings
        .labels
        .iter()
        .map(|(key, value)| (key.clone(), Value::from(value.as_str())));
    users
        .chain(
            own.into_iter()
                .map(|(key, value)| (key.to_owned(), Value::from(value))),
        )
        .collect()
}

fn annotations(input: &JobInput<'_>) -> Map<String, Value> {
    let users = input.settings.annotations.iter();
    let users = users.map(|(key, value)| (key.as_str(), value.as_str()));
    // What makes room on nodes is asked to leave a task alone.
    let own = [
        ("cluster-autoscaler.kubernetes.io/safe-to-evict", "false"),
        ("karpenter.sh/do-not-disrupt", "true"),
        (names::DEFAULT_CONTAINER, input.container),
    ];
    own.into_iter()
        .chain(users)
        .chain([(names::CONTAINER, input.container)])
        .map(|(key, value)| (key.to_owned(), Value::from(value)))
        .collect()
}

fn pod_spec(input: &JobInput<'_>) -> Value {
    let mut pod = input.template.value().get("spec").cloned().unwrap_or_default();
    let list = |pod: &Value, key: &str| {
        pod.get(key)
            .and_then(Value::as_array)
            .cloned()
            .unwrap_or_default()
    };
    let named = |container: &&Value| container.get("name").and_then(Value::as_str) == Some(input.container);
    let containers = list(&pod, "containers");
    let main = containers.iter().find(named).cloned().unwrap_or_default();
    let sidecar =
        |container: &Value| container.get("restartPolicy").and_then(Value::as_str) == Some("Always");
    let keep_all = input.settings.init_containers == InitContainers::Keep;
    let init: Vec<Value> = list(&pod, "initContainers")
        .into_iter()
        .filter(|container| keep_all || sidecar(container))
        .collect();
    if let Some(pod) = pod.as_object_mut() {
        for key in [
            "readinessGates",
            "activeDeadlineSeconds",
            "initContainers",
            "topologySpreadConstraints",
        ] {
            pod.remove(key);
        }
        // What keeps the serving pods apart, or near others, would keep a task from every node.
        if let Some(affinity) = pod.get_mut("affinity").and_then(Value::as_object_mut) {
            affinity.retain(|key, _| key == "nodeAffinity");
        }
        if !init.is_empty() {
            pod.insert("initContainers".to_owned(), Value::Array(init));
        }
        pod.insert("restartPolicy".to_owned(), Value::from("Never"));
        pod.insert("containers".to_owned(), json!([container(input, main)]));
    }
    pod
}

fn container(input: &JobInput<'_>, mut main: Value) -> Value {
    let environment = environment(
        input,
        main.get("env")
            .and_then(Value::as_array)
            .cloned()
            .unwrap_or_default(),
    );
    if let Some(main) = main.as_object_mut() {
        for key in [
            "ports",
            "livenessProbe",
            "readinessProbe",
            "startupProbe",
            "lifecycle",
            // A task runs once: its container is not started again, whatever the serving one's rules are.
            "restartPolicy",
            "restartPolicyRules",
            "resizePolicy",
        ] {
            main.remove(key);
        }
        if !input.plan.command.is_empty() {
            main.insert("command".to_owned(), json!(input.plan.command));
            main.remove("args");
        }
        if !input.plan.args.is_empty() {
            main.insert("args".to_owned(), json!(input.plan.args));
        }
        if let Some(resources) = &input.settings.resources {
            main.insert("resources".to_owned(), resources.clone());
        }
        main.insert(
            "terminationMessagePolicy".to_owned(),
            Value::from("FallbackToLogsOnError"),
        );
        main.insert("env".to_owned(), Value::Array(environment));
    }
    main
}

fn environment(input: &JobInput<'_>, mut variables: Vec<Value>) -> Vec<Value> {
    // libpq's name of a session: a person finds what an attempt has left at work. The task's own `env` may say another.
    set(
        &mut variables,
        json!({ "name": "PGAPPNAME", "value": input.task.job }),
    );
    for variable in &input.plan.env {
        if let Ok(variable) = serde_json::to_value(variable) {
            set(&mut variables, variable);
        }
    }
    let since = |time: Timestamp| time.to_string();
    let own = [
        ("RELEASE_NAME", Some(input.meta.name.clone())),
        ("RELEASE_REVISION", Some(input.revision.to_string())),
        ("RELEASE_STEP", Some(step_word(input.plan.step).to_owned())),
        ("RELEASE_ATTEMPT", Some(input.task.attempt.to_string())),
        ("RELEASE_IMAGE", Some(input.image.to_owned())),
        ("RELEASE_PREVIOUS_IMAGE", input.previous_image.map(str::to_owned)),
        ("RELEASE_SINCE", input.task.since.map(since)),
    ];
    for (name, value) in own {
        if let Some(value) = value {
            set(&mut variables, json!({ "name": name, "value": value }));
        }
    }
    if let Some((name, token)) = input.generation {
        set(&mut variables, json!({ "name": name, "value": token }));
    }
    if let Some(options) = &input.plan.postgres_options {
        let given = variables
            .iter_mut()
            .find(|variable| name_of(variable) == "PGOPTIONS")
            .and_then(Value::as_object_mut);
        let whole = given.map_or_else(
            || options.clone(),
            |given| {
                // Whatever it is, a Secret's key as well: the kubelet puts it together.
                given.insert("name".to_owned(), Value::from(GIVEN_OPTIONS));
                format!("$({GIVEN_OPTIONS}) {options}")
            },
        );
        variables.push(json!({ "name": "PGOPTIONS", "value": whole }));
    }
    variables
}

fn name_of(variable: &Value) -> &str {
    variable.get("name").and_then(Value::as_str).unwrap_or_default()
}

fn set(variables: &mut Vec<Value>, variable: Value) {
    let name = name_of(&variable).to_owned();
    match variables.iter_mut().find(|known| name_of(known) == name) {
        Some(known) => *known = variable,
        None => variables.push(variable),
    }
}

#[cfg(test)]
mod tests;
