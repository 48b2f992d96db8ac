//! Deployments in a release.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::super::Move;
use crate::{DeploymentName, ServiceName, TemplateDigest, TemplateHash, Uid, WorkloadName};

/// One Deployment of the Release.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct WorkloadStatus {
    /// Its name in the spec.
    #[schemars(length(max = 40))]
    pub name: WorkloadName,

    /// Name of the Deployment.
    #[schemars(length(max = 253))]
    pub deployment: DeploymentName,

    /// UID of the Deployment: another one of the same name is not ours.
    #[schemars(length(max = 64))]
    pub deployment_uid: Uid,

    /// How it gets its new version.
    #[serde(rename = "move")]
    pub move_: Move,

    /// The images that this revision changes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub images: Vec<ImageChange>,

    /// The generation variable that this revision changes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variable: Option<VariableChange>,

    /// The user's own values of the fields that the window uses; written back at its end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remembered: Option<Remembered>,

    /// The side that served before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub old: Option<SideStatus>,

    /// The side of this revision.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub new: Option<SideStatus>,

    /// Services whose traffic is moved.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    pub services: Vec<PinnedService>,

    /// When the Deployment's own rolling update was begun; of a workload without traffic.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rolled_at: Option<Timestamp>,

    /// When the new side wanted its full size and the Deployment was paused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub locked_at: Option<Timestamp>,

    /// Since when every new pod is ready, without a gap.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ready_since: Option<Timestamp>,

    /// When the old side was to be made to look unavailable to the Deployment controller, right before the
    /// cutover.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bolted_at: Option<Timestamp>,

    /// When a Service of this workload was last pointed to another side.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_pin_change_at: Option<Timestamp>,

    /// Ready pods of the new side at the cutover.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ready_at_cutover: Option<i32>,

    /// Since when the new side is worse than at the cutover, without a gap.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub degraded_since: Option<Timestamp>,

    /// True while the window is open: our labels are on the Deployment and its Services.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub window: bool,
}

/// An image that a revision changes in a pod template.
#[derive(Clone, Debug, Deserialize, Eq, Hash, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ImageChange {
    /// Name of the container or init container.
    #[schemars(length(max = 63))]
    pub container: String,
    /// True for an init container.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub init: bool,
    /// What it was.
    #[schemars(length(max = 512))]
    pub from: String,
    /// What it becomes.
    #[schemars(length(max = 512))]
    pub to: String,
}

/// The generation variable that a revision changes in a pod template.
#[derive(Clone, Debug, Deserialize, Eq, Hash, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct VariableChange {
    /// Name of the container.
    #[schemars(length(max = 63))]
    pub container: String,
    /// Name of the variable.
    #[schemars(length(max = 128))]
    pub name: String,
    /// What it was; none where it was not set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub from: Option<String>,
    /// What it becomes.
    #[schemars(length(max = 256))]
    pub to: String,
}

/// The user's own values of the fields that a window uses. A field that was not set is absent.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Remembered {
    /// `spec.minReadySeconds`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_ready_seconds: Option<i32>,
    /// `spec.progressDeadlineSeconds`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress_deadline_seconds: Option<i32>,
    /// `spec.strategy`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub strategy: Option<Strategy>,
    /// `spec.paused`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused: Option<bool>,
    /// The Deployment's `resourceVersion` when they were read.
    #[schemars(length(max = 64))]
    pub resource_version: String,
}

/// A Deployment's rollout strategy.
#[derive(Clone, Debug, Default, Deserialize, Eq, Hash, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Strategy {
    /// `RollingUpdate` or `Recreate`.
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    pub type_: Option<String>,
    /// `rollingUpdate.maxSurge`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("maxLength" = 16))]
    pub max_surge: Option<Amount>,
    /// `rollingUpdate.maxUnavailable`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("maxLength" = 16))]
    pub max_unavailable: Option<Amount>,
}

/// A number of pods or a percentage of them.
#[derive(Clone, Debug, Deserialize, Eq, Hash, JsonSchema, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Amount(
    /// As Kubernetes writes it: `3` or `25%`.
    #[schemars(with = "IntOrString")]
    pub serde_json::Value,
);

/// One side of a Deployment: a ReplicaSet.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SideStatus {
    /// UID of the ReplicaSet, once it was seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub uid: Option<Uid>,
    /// Its `pod-template-hash`, once it was seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub hash: Option<TemplateHash>,
    /// Digest of its pod template, by which it is found.
    #[schemars(length(max = 64))]
    pub template: TemplateDigest,
    /// The ReplicaSet's own minReadySeconds, given back when its bolt is taken off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_ready_seconds: Option<i32>,
    /// Ready pods when last seen.
    #[serde(default)]
    pub ready: i32,
    /// Wanted pods when last seen.
    #[serde(default)]
    pub wanted: i32,
}

/// A Service whose traffic is moved.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PinnedService {
    /// Its name.
    #[schemars(length(max = 63))]
    pub name: ServiceName,
    /// Its UID.
    #[schemars(length(max = 64))]
    pub uid: Uid,
}
