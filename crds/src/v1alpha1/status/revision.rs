//! Revisions and their steps.

use std::borrow::Cow;

use jiff::Timestamp;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use super::super::ReleaseSpec;
use super::{Cause, StopReason};
use crate::{InputDigest, RevisionName, VersionDigest};

/// One version on its way to being live.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Revision {
    /// It only grows, and is part of Job names, so that a later revision never meets an earlier one's.
    pub number: i64,

    /// `<release>-<number>`.
    #[schemars(length(max = 64))]
    pub name: RevisionName,

    /// What identifies the version: image, workloads, tasks and fingerprint. Timeouts and other live
    /// settings are not part of it.
    #[schemars(length(max = 64))]
    pub digest: VersionDigest,

    /// The image that it brings.
    #[schemars(length(max = 512))]
    pub image: String,

    /// The image that served before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 512))]
    pub previous_image: Option<String>,

    /// Name of the revision that served before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub previous: Option<RevisionName>,

    /// When it was begun.
    pub started_at: Timestamp,

    /// The spec as it was then: a later edit changes a running revision's live settings only.
    pub inputs: FrozenSpec,

    /// Where it is going.
    #[serde(default)]
    pub course: Course,

    /// Why it left the way forward, in one word.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<Cause>,

    /// Why it left the way forward.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,

    /// How it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<Ended>,

    /// True: nothing served before, so the tasks run first and no traffic has to be moved.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub first_installation: bool,
}

/// A spec as it was when a revision began; opaque in the schema.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(transparent)]
pub struct FrozenSpec(pub Box<ReleaseSpec>);

impl JsonSchema for FrozenSpec {
    fn schema_name() -> Cow<'static, str> {
        "FrozenSpec".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "object", "x-kubernetes-preserve-unknown-fields": true })
    }
}

/// Where a revision is going.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, Hash, JsonSchema, PartialEq, Serialize)]
pub enum Course {
    /// To being live.
    #[default]
    Forward,
    /// Given up before its cutover: what it brought is taken away, the old side serves unchanged.
    Stop,
    /// Taken back after its cutover: the traffic returns to the old side.
    Rollback,
}

/// Why something is so: a stable word for machines and a sentence for people.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Reason {
    /// In `PascalCase`; stable.
    pub reason: StopReason,
    /// What happened and what one can do.
    #[schemars(length(max = 2048))]
    pub message: String,
    /// When it was found.
    pub at: Timestamp,
}

/// How a revision ended.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Ended {
    /// In one word.
    pub outcome: Outcome,
    /// When.
    pub at: Timestamp,
}

/// How a revision ended.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, JsonSchema, PartialEq, Serialize)]
pub enum Outcome {
    /// It was running when the Release adopted it.
    Adopted,
    /// It serves.
    Complete,
    /// It failed before its cutover; the one before it serves.
    Failed,
    /// It was given up before its cutover by a person or for a newer version.
    Aborted,
    /// It served and was taken back.
    RolledBack,
}

/// A newer version that waits for the running revision.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Pending {
    /// Digest of the version that waits.
    #[schemars(length(max = 64))]
    pub digest: VersionDigest,
    /// Its image.
    #[schemars(length(max = 512))]
    pub image: String,
    /// What it waits for.
    #[schemars(length(max = 512))]
    pub message: String,
}

/// A version that is not tried again by itself.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Rejected {
    /// Digest of the version.
    #[schemars(length(max = 64))]
    pub digest: VersionDigest,
    /// Why.
    pub reason: StopReason,
}

/// The steps of a revision.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, JsonSchema, PartialEq, Serialize)]
pub enum StepName {
    /// Deployments, Services and search engine are checked and claimed.
    Preflight,
    /// Tasks before anything else.
    Prepare,
    /// The migration that old code survives.
    Expand,
    /// A new index generation.
    Reindex,
    /// The new pods boot beside the old.
    Preboot,
    /// The traffic moves.
    Cutover,
    /// The old side is warm; workloads without traffic follow.
    Watch,
    /// The old side goes.
    Retire,
}

impl StepName {
    /// Every step; a test compares it with the schema.
    pub const ALL: [Self; 8] = [
        Self::Preflight,
        Self::Prepare,
        Self::Expand,
        Self::Reindex,
        Self::Preboot,
        Self::Cutover,
        Self::Watch,
        Self::Retire,
    ];
}

/// One step of the newest revision.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct StepStatus {
    /// Which.
    pub name: StepName,
    /// How it stands.
    pub state: StepState,
    /// A stable word for why it stands so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<StopReason>,
    /// What happens, or what went wrong and what one can do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 2048))]
    pub message: Option<String>,
    /// When it was begun.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Timestamp>,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<Timestamp>,
    /// How far it is, in a few words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 128))]
    pub progress: Option<String>,
}

/// How a step stands.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, JsonSchema, PartialEq, Serialize)]
pub enum StepState {
    /// Not begun.
    Waiting,
    /// At work.
    Running,
    /// Done.
    Succeeded,
    /// Nothing to do.
    Skipped,
    /// Went wrong.
    Failed,
    /// What a task did cannot be known; a person decides.
    Unknown,
}

/// The moment when the traffic moves.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Cutover {
    /// Committed before the first pin was moved.
    pub intent_at: Timestamp,
    /// When every Service was seen to have only new pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confirmed_at: Option<Timestamp>,
    /// The old side stays warm until then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub watch_until: Option<Timestamp>,
}

/// Whether the way back is open.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RollbackStatus {
    /// In one word.
    pub state: RollbackState,
    /// Why it is so.
    #[schemars(length(max = 512))]
    pub reason: String,
    /// Since when it is so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// Until when it is so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
    /// When the traffic was seen to be back on the old side.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traffic_back_at: Option<Timestamp>,
}

/// The end of the old side.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RetireIntent {
    /// Committed before the first write that ends the old side.
    pub intent_at: Timestamp,
}

/// Whether the way back is open.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, JsonSchema, PartialEq, Serialize)]
pub enum RollbackState {
    /// The old side is warm and current.
    Ready,
    /// The old side is warm; its search index misses what was written since the cutover.
    Stale,
    /// The old side is gone.
    Unavailable,
}

/// An ended revision.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PastRevision {
    /// Its number.
    pub number: i64,
    /// `<release>-<number>`.
    #[schemars(length(max = 64))]
    pub name: RevisionName,
    /// Its digest; empty for a version that was adopted.
    #[schemars(length(max = 64))]
    pub digest: VersionDigest,
    /// Its image.
    #[schemars(length(max = 512))]
    pub image: String,
    /// How it ended.
    pub outcome: Outcome,
    /// Why, where it did not complete.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<StopReason>,
    /// When it was begun.
    pub started_at: Timestamp,
    /// When it ended.
    pub ended_at: Timestamp,
    /// Input digests of the prepare and migrate tasks that it ran to the end: they are not run again.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(max = 64)))]
    pub tasks: Vec<InputDigest>,
}
