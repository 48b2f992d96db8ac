//! A Job's status and conditions.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::pods::Counts;
use crate::{
    clock,
    fields::{self, set_count},
};

/// The condition that says how the Job will end, once everything has stopped.
pub(super) fn interim(job: &Value) -> Option<&Value> {
    let is_true = |condition: &&Value| condition["status"] == "True";
    fields::condition(job, "FailureTarget")
        .or_else(|| fields::condition(job, "SuccessCriteriaMet"))
        .filter(is_true)
}

/// Writes the counts.
pub(super) fn write(job: &mut Value, counts: &Counts) {
    set_count(job, "/status/active", counts.active);
    set_count(job, "/status/succeeded", counts.succeeded);
    set_count(job, "/status/failed", counts.failed);
    fields::set(job, "/status/ready", counts.ready);
    fields::set(job, "/status/terminating", counts.terminating);
    fields::set(job, "/status/uncountedTerminatedPods", json!({}));
}

/// Sets a condition to True.
pub(super) fn condition(job: &mut Value, kind: &str, reason: &str, message: &str, now: Timestamp) {
    set(job, kind, "True", reason, message, now);
}

/// Marks a Job as suspended.
pub(super) fn suspend(job: &mut Value, now: Timestamp) {
    set(job, "Suspended", "True", "JobSuspended", "Job suspended", now);
}

/// Marks a Job that was suspended as resumed. Returns whether it was.
pub(super) fn resume(job: &mut Value, now: Timestamp) -> bool {
    let suspended = fields::is_true(job, "Suspended");
    if suspended {
        set(job, "Suspended", "False", "JobResumed", "Job resumed", now);
    }
    suspended
}

fn set(job: &mut Value, kind: &str, value: &str, reason: &str, message: &str, now: Timestamp) {
    let mut conditions = fields::list(job, "/status/conditions").to_vec();
    if conditions
        .iter()
        .any(|condition| condition["type"] == kind && condition["status"] == value)
    {
        return;
    }
    conditions.retain(|condition| condition["type"] != kind);
    let now = clock::seconds(now);
    conditions.push(json!({
        "type": kind,
        "status": value,
        "reason": reason,
        "message": message,
        "lastProbeTime": now,
        "lastTransitionTime": now,
    }));
    fields::set(job, "/status/conditions", conditions);
}
