//! Tasks that were begun.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{StepName, TaskReason};
use crate::{InputDigest, JobName, Uid};

/// One attempt of a task, or one pass of a catch-up.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TaskStatus {
    /// The step that runs it.
    pub step: StepName,

    /// Its name within the step.
    #[schemars(length(max = 32))]
    pub name: String,

    /// Number of the attempt or pass, from 1.
    pub attempt: i32,

    /// Committed before the Job was created.
    pub intent_at: Timestamp,

    /// Digest of what the task was given: image, command, arguments and environment.
    #[schemars(length(max = 64))]
    pub input_digest: InputDigest,

    /// Name of its Job.
    #[schemars(length(max = 63))]
    pub job: JobName,

    /// UID of its Job, once that was seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub job_uid: Option<Uid>,

    /// The time given to the task as `RELEASE_SINCE`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,

    /// When its container was seen to run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Timestamp>,

    /// When its end was seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<Timestamp>,

    /// How it ended; terminal for this attempt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<TaskOutcome>,

    /// A stable word for why it ended so, or is being stopped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<TaskReason>,

    /// The last known reason why its pod did not start, in Kubernetes' own words; or why it was stopped in the middle.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 512))]
    pub trouble: Option<String>,

    /// Exit code of its container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,

    /// Its termination message: the last of what it said, at most 1,024 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub output: Option<String>,

    /// True: a person asked for another attempt.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub retried: bool,

    /// True: a person said to go on although this catch-up pass failed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub resumed: bool,

    /// The number of documents that a build reported.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub documents: Option<i64>,
}

/// How an attempt ended.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, JsonSchema, PartialEq, Serialize)]
pub enum TaskOutcome {
    /// It exited 0 and nothing had disturbed it.
    Succeeded,
    /// It reported a failure by an exit code of its own choice, or never started.
    Failed,
    /// What it did cannot be known.
    Unknown,
}
