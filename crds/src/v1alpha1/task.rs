//! Tasks: one-off Jobs in the new image, with the workload's own environment.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{Duration, WorkloadName};

/// How a task is run. Set once for all in `spec.tasks`, or on a single task.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TaskSettings {
    /// The workload whose new pod spec a task gets: volumes, service account, security context, image pull
    /// secrets, node selection, tolerations, priority, native sidecars and the one container, without its ports,
    /// probes and lifecycle hooks, and without what spreads the serving pods. Default: the first workload.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 40))]
    pub from: Option<WorkloadName>,

    /// Whether the workload's init containers run before the task. Drop: they do not. Keep: they do, each with
    /// its new image. Native sidecars always run. Default Drop.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub init_containers: Option<InitContainers>,

    /// Labels that task pods carry besides Slipway's own, such as one that a NetworkPolicy selects. Never
    /// the workload's: a Service or Deployment that selects them is refused.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 16, "additionalProperties" = label_value()))]
    pub labels: BTreeMap<String, String>,

    /// Annotations that task pods carry, such as one that keeps a service mesh out or lets a vault in. The
    /// workload's own are not copied.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 16, "additionalProperties" = annotation_value()))]
    pub annotations: BTreeMap<String, String>,

    /// Time for scheduling, image pull and creation of the container. A task that did not start by then
    /// fails with the pod's own reason. Default 10m.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_deadline: Option<Duration>,

    /// Expected running time; what happens after it is up to `onTimeout`. Default 1h.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Duration>,

    /// Warn: a task that runs longer than `timeout` is reported and goes on. Fail: it is stopped, with the
    /// pod's own grace period; of a migration it is then unknown what it did. Default Warn.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_timeout: Option<OnTimeout>,

    /// New attempts after a failure that the task itself reported by its exit code; never after an unknown
    /// outcome, such as a death by signal (codes above 128). Default 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 20))]
    pub retries: Option<i32>,

    /// True: the task may run again when its outcome cannot be known, at most ten times in a row. Default false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idempotent: Option<bool>,
}

/// Whether the workload's init containers run before a task.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub enum InitContainers {
    /// They do not run.
    #[default]
    Drop,
    /// They run, each with its new image.
    Keep,
}

/// What happens to a task that runs longer than expected.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub enum OnTimeout {
    /// It is reported and goes on: a running migration is not killed by a clock.
    #[default]
    Warn,
    /// It is stopped and the step fails.
    Fail,
}

/// One task: what runs, and how where that differs from `spec.tasks`.
#[derive(Clone, Debug, Default, Deserialize, Eq, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = ("(has(self.command) && self.command.size() > 0) || (has(self.args) && self.args.size() > 0)", "a task needs command or args: what is to run in the new image"))]
pub struct Task {
    /// Replaces the image's entry point, as in any container.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(max = 8192)))]
    pub command: Vec<String>,

    /// Arguments, as in any container.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(max = 8192)))]
    pub args: Vec<String>,

    /// Environment variables added to those of the workload's container.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    #[x_kube(merge_strategy = kube::core::ListMerge::Map(vec!["name".into()]))]
    pub env: Vec<EnvironmentVariable>,

    /// Replaces the resources of the workload's container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<Resources>,

    /// How it runs, where that differs from `spec.tasks`.
    #[serde(flatten)]
    pub settings: TaskSettings,
}

/// A task with a name of its own.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NamedTask {
    /// Part of its Job's name.
    #[schemars(length(min = 1, max = 20), regex(pattern = "^[a-z]([-a-z0-9]*[a-z0-9])?$"))]
    pub name: String,

    /// What runs.
    #[serde(flatten)]
    pub task: Task,
}

/// One environment variable, as in any container.
#[derive(Clone, Debug, Deserialize, Eq, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = ("!has(self.value) || !has(self.valueFrom)", "a variable has a value and a valueFrom; leave one out"))]
pub struct EnvironmentVariable {
    /// Its name.
    #[schemars(length(min = 1, max = 256))]
    pub name: String,

    /// Its value, in clear. Secrets belong in `valueFrom.secretKeyRef`. Default: empty.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 8192))]
    pub value: Option<String>,

    /// Where its value comes from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value_from: Option<ValueFrom>,
}

/// Where the value of an environment variable comes from.
#[derive(Clone, Debug, Default, Deserialize, Eq, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = ("has(self.secretKeyRef) != has(self.configMapKeyRef)", "valueFrom names one source: secretKeyRef or configMapKeyRef"))]
pub struct ValueFrom {
    /// A key of a Secret in this namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_key_ref: Option<KeyReference>,

    /// A key of a ConfigMap in this namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_map_key_ref: Option<KeyReference>,
}

/// A key of a Secret or ConfigMap in the Release's namespace.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct KeyReference {
    /// Name of the object.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,

    /// The key in it.
    #[schemars(length(min = 1, max = 253))]
    pub key: String,

    /// Whether the object or key may be missing. Default false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub optional: Option<bool>,
}

/// Compute resources of a task's container.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Resources {
    /// What is reserved: `cpu`, `memory` and others, as Kubernetes quantities.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 8, "additionalProperties" = quantity()))]
    pub requests: BTreeMap<String, IntOrString>,

    /// What is allowed at most.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 8, "additionalProperties" = quantity()))]
    pub limits: BTreeMap<String, IntOrString>,
}

/// The schema of a label's value, by Kubernetes' own rule.
fn label_value() -> Value {
    json!({ "type": "string", "maxLength": 63, "pattern": "^(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?$" })
}

/// The schema of an annotation's value.
fn annotation_value() -> Value {
    json!({ "type": "string", "maxLength": 4096 })
}

/// The schema of a Kubernetes quantity. What is not one would be refused only when the Job is made.
fn quantity() -> Value {
    json!({
        "description": "An amount, such as `500m` or `128Mi`.",
        "maxLength": 32,
        "minimum": 0,
        "pattern": "^([0-9]+([.][0-9]*)?|[.][0-9]+)(([KMGTPE]i)|[numkMGTPE]|([eE][-+]?[0-9]+))?$",
        "x-kubernetes-int-or-string": true,
    })
}
