//! The status of a Release: enough to understand it without any other object, and enough for the engine to
//! go on after any crash. It never holds a secret or a log.

pub mod reason;
pub mod revision;
pub mod search;
pub mod task;
pub mod workload;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::KubeSchema;
use schemars::{JsonSchema, Schema};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::RevisionName;

pub use reason::{Cause, StopReason, TaskReason};
pub use revision::{
    Course, Cutover, Ended, FrozenSpec, Outcome, PastRevision, Pending, Reason, Rejected, RetireIntent,
    Revision, RollbackState, RollbackStatus, StepName, StepState, StepStatus,
};
pub use search::{Candidate, Counted, Generation, GenerationIndex, RetiredIndex, SearchStatus};
pub use task::{TaskOutcome, TaskStatus};
pub use workload::{
    Amount, ImageChange, PinnedService, Remembered, SideStatus, Strategy, VariableChange, WorkloadStatus,
};

/// What Slipway knows and has done about a Release.
#[derive(Clone, Debug, Default, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[schemars(transform = crate::description::keep_the_fields_own)]
pub struct ReleaseStatus {
    /// The newest `metadata.generation` that was looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,

    /// The step at work, or how the newest revision ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<Phase>,

    /// Name of the revision that has the traffic.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub serving: Option<RevisionName>,

    /// How far the phase is, in a few words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 128))]
    pub progress: Option<String>,

    /// What is waited for, since when, until when, and what one can do, in one sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 2048))]
    pub waiting_for: Option<String>,

    /// The newest revision that was begun.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<Revision>,

    /// A newer version that waits for the running revision.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pending: Option<Pending>,

    /// A version that failed or was rolled back: not tried again until the spec changes or `retry`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rejected: Option<Rejected>,

    /// The steps of the newest revision, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = kube::core::ListMerge::Map(vec!["name".into()]))]
    pub steps: Vec<StepStatus>,

    /// The tasks of the newest revision, in the order in which they were begun.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256))]
    pub tasks: Vec<TaskStatus>,

    /// The Deployments, with what is needed to give back the user's own values.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = kube::core::ListMerge::Map(vec!["name".into()]))]
    pub workloads: Vec<WorkloadStatus>,

    /// The moment when the traffic moves: recorded before it is done, confirmed by observation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cutover: Option<Cutover>,

    /// The end of the old side: recorded before it is begun.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retire: Option<RetireIntent>,

    /// The generations of the search index.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub search: Option<SearchStatus>,

    /// Whether the way back is open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollback: Option<RollbackStatus>,

    /// The last value of each annotation that was acted upon.
    #[serde(default, skip_serializing_if = "Levers::is_empty")]
    pub levers: Levers,

    /// Ended revisions, newest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 50))]
    pub history: Vec<PastRevision>,

    /// Ready, Reconciling and Stalled by the rules of kstatus, and Serving, `RolledBack`, Drifted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), transform = bound_conditions)]
    #[x_kube(merge_strategy = kube::core::ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
}

/// The step at work, or how the newest revision ended.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, JsonSchema, Ord, PartialEq, PartialOrd, Serialize)]
pub enum Phase {
    /// Nothing was begun yet, or something in the way has to be mended first.
    Pending,
    /// The Deployments, Services and the search engine are checked.
    Preflight,
    /// Tasks before anything else.
    Prepare,
    /// The migration that old code survives.
    Expand,
    /// A new index generation is built and caught up.
    Reindex,
    /// The new pods boot beside the old.
    Preboot,
    /// The traffic moves.
    Cutover,
    /// The old side is warm.
    Watch,
    /// The old side goes.
    Retire,
    /// The revision is given up before its cutover; what it brought is taken away.
    Stopping,
    /// The traffic goes back to the old side; what the revision brought is taken away.
    RollingBack,
    /// The newest revision serves.
    Complete,
    /// The newest revision failed; the one before it serves.
    Failed,
    /// The newest revision was rolled back after it had served.
    RolledBack,
    /// The newest revision was given up before its cutover.
    Aborted,
    /// The Release is being deleted.
    Terminating,
}

impl Phase {
    /// As it is written.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Pending => "Pending",
            Self::Preflight => "Preflight",
            Self::Prepare => "Prepare",
            Self::Expand => "Expand",
            Self::Reindex => "Reindex",
            Self::Preboot => "Preboot",
            Self::Cutover => "Cutover",
            Self::Watch => "Watch",
            Self::Retire => "Retire",
            Self::Stopping => "Stopping",
            Self::RollingBack => "RollingBack",
            Self::Complete => "Complete",
            Self::Failed => "Failed",
            Self::RolledBack => "RolledBack",
            Self::Aborted => "Aborted",
            Self::Terminating => "Terminating",
        }
    }
}

/// The last value of each annotation that was acted upon: the same value twice is once.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Levers {
    /// Of `slipway.dev/retry`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub retry: Option<String>,
    /// Of `slipway.dev/abort`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub abort: Option<String>,
    /// Of `slipway.dev/rollback`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub rollback: Option<String>,
    /// Of `slipway.dev/resume`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub resume: Option<String>,
}

impl Levers {
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Adds the maxima that Kubernetes' own types state for the fields of a condition and the derived schema lacks.
fn bound_conditions(list: &mut Schema) {
    for (field, key, value) in [
        ("type", "maxLength", json!(316)),
        ("status", "enum", json!(["True", "False", "Unknown"])),
        ("reason", "maxLength", json!(1024)),
        ("message", "maxLength", json!(32_768)),
    ] {
        let field = list.pointer_mut(&format!("/items/properties/{field}"));
        if let Some(field) = field.and_then(Value::as_object_mut) {
            field.insert(key.to_owned(), value);
        }
    }
}
