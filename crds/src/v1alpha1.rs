//! Version `v1alpha1` of the API.

pub mod migrate;
pub mod reindex;
pub mod status;
pub mod task;
pub mod workload;

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use migrate::{ExpandTask, Migrate};
pub use reindex::{
    Build, CatchUp, Index, Keep, Rebuild, RebuildWhen, Reindex, ReindexMode, SearchEngine, Verify,
};
pub use status::{Phase, ReleaseStatus};
pub use task::{EnvironmentVariable, InitContainers, NamedTask, OnTimeout, Task, TaskSettings};
pub use workload::{Move, Workload};

use crate::Duration;

/// Takes plain Deployments from one version to the next: migrate, reindex beside the live index, boot the
/// new pods beside the old, one cutover, warm rollback, retire. One Release per application, edited for
/// every new version.
#[derive(CustomResource, KubeSchema, Clone, Debug, Deserialize, PartialEq, Serialize)]
#[kube(
    group = "slipway.dev",
    version = "v1alpha1",
    kind = "Release",
    plural = "releases",
    shortname = "rel",
    category = "all",
    namespaced,
    status = "ReleaseStatus",
    derive = "PartialEq",
    doc = "Takes plain Deployments from one version to the next: migrate, reindex beside the live index, boot the new pods beside the old, one cutover, warm rollback, retire. One Release per application, edited for every new version.",
    printcolumn(name = "Revision", type_ = "string", json_path = ".status.revision.name"),
    printcolumn(name = "Phase", type_ = "string", json_path = ".status.phase"),
    printcolumn(name = "Serving", type_ = "string", json_path = ".status.serving"),
    printcolumn(name = "Progress", type_ = "string", json_path = ".status.progress"),
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].status"
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    validation = ("self.metadata.name.size() <= 40", "a Release's name has at most 40 characters, because the names of its Jobs are made of it"),
    validation = ("self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')", "a Release's name is a DNS label that starts with a letter: lower case letters, digits and '-'")
)]
#[cfg_attr(feature = "cel", kube(cel))]
#[serde(rename_all = "camelCase")]
#[schemars(transform = crate::description::keep_the_fields_own)]
#[x_kube(
    validation = ("!has(self.tasks) || !has(self.tasks.from) || self.workloads.exists(w, w.name == self.tasks.from)", "tasks.from names no workload of this Release; it must be the name of one of spec.workloads"),
    validation = ("!has(self.prepare) || self.prepare.all(t, self.prepare.exists_one(u, u.name == t.name))", "two tasks of spec.prepare have the same name; give each its own")
)]
pub struct ReleaseSpec {
    /// The version to be released. It replaces every container and init container image that equals the
    /// current one of the workload's container. A tag that moves (`latest`, or no tag) is refused unless
    /// the image is given by digest.
    #[schemars(length(min = 1, max = 512))]
    pub image: String,

    /// True: no new step starts; what runs is observed to its end. Rescue, re-pinning and an automatic
    /// rollback still work. Default false.
    #[serde(default)]
    pub suspend: bool,

    /// The Deployments that belong to this application, in the order in which they are listed to people.
    #[schemars(length(min = 1, max = 16))]
    #[x_kube(
        merge_strategy = kube::core::ListMerge::Map(vec!["name".into()]),
        validation = ("self.all(w, self.exists_one(v, v.deployment == w.deployment))", "two workloads name the same deployment; a Deployment belongs to one workload")
    )]
    pub workloads: Vec<Workload>,

    /// Defaults for every task; each may be set on a single task too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tasks: Option<TaskSettings>,

    /// Ordered tasks before anything else, such as an asset sync. They run in the new image while the old
    /// version serves.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    pub prepare: Vec<NamedTask>,

    /// The database migration. Only what the old code survives may run here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub migrate: Option<Migrate>,

    /// The search index that the new version reads, built and kept caught up beside the live one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reindex: Option<Reindex>,

    /// How the new pods boot beside the old ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preboot: Option<Preboot>,

    /// How long the old side stays warm after the cutover.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub watch: Option<Watch>,

    /// What happens when the new version fails after the cutover.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollback: Option<Rollback>,

    /// How many ended revisions status remembers, with the tasks that they ran. Default 10.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 50))]
    pub history: Option<i32>,
}

/// How the new pods boot beside the old ones. They get no traffic before both times are over.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Preboot {
    /// The new side is started at least this long before the cutover, even when its pods are ready sooner.
    /// Default 0s; Heroku's preboot waits three minutes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub minimum_wait: Option<Duration>,

    /// The revision fails when the new side is not ready in full by then. Default 15m.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Duration>,
}

/// How long the old side stays warm after the cutover.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Watch {
    /// The old side stays full and ready this long; rollback is then one change of a Service. Default 15m.
    #[serde(default, rename = "for", skip_serializing_if = "Option::is_none")]
    pub for_: Option<Duration>,
}

/// What happens when the new version fails after the cutover.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Rollback {
    /// Automatic: traffic goes back to the old side by itself when the new side dies in Watch. Manual: a person
    /// decides, by the annotation `slipway.dev/rollback`. Default Automatic.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_failure: Option<OnFailure>,
}

/// Who decides on a rollback in Watch.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub enum OnFailure {
    /// Slipway, as soon as the new side has no ready pod, or stays worse than the old one for 30 seconds.
    #[default]
    Automatic,
    /// A person, by annotation.
    Manual,
}
