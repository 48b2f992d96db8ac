//! Status and conditions.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{Rollout, size};
use crate::{clock, fields, models::Wake};

/// Whether a status says that every wanted pod is new and available, for the current generation.
pub(super) fn is_complete(deployment: &Value, status: &Value) -> bool {
    let wanted = fields::count(deployment, "/spec/replicas");
    ["/updatedReplicas", "/replicas", "/availableReplicas"]
        .into_iter()
        .all(|name| fields::count(status, name) == wanted)
        && fields::count(status, "/observedGeneration") >= fields::count(deployment, "/metadata/generation")
}

impl Rollout<'_> {
    /// Writes the status; `rollout` says whether progress is judged too.
    pub(super) fn write_status(&mut self, rollout: bool) -> Wake {
        let mut status = self.computed_status();
        if rollout {
            self.judge_progress(&mut status);
            self.report_failure(&mut status);
        }
        let deadline = if rollout { self.deadline(&status) } else { None };
        if self.deployment["status"] != status {
            let mut deployment = Value::clone(&self.deployment);
            fields::set(&mut deployment, "/status", status);
            self.put_status(deployment);
        }
        deadline.map_or(Wake::Idle, Wake::At)
    }

    fn computed_status(&self) -> Value {
        let sum = |name: &str| {
            self.all()
                .map(|set| fields::count(set, &format!("/status/{name}")))
                .sum::<i64>()
        };
        let available = sum("availableReplicas");
        let wanted_in_all = self.all().map(|set| size(set)).sum::<i64>();
        let updated = self
            .new
            .as_ref()
            .map_or(0, |new| fields::count(new, "/status/replicas"));
        let mut status =
            json!({"observedGeneration": fields::count(&self.deployment, "/metadata/generation")});
        for (name, value) in [
            ("/replicas", sum("replicas")),
            ("/updatedReplicas", updated),
            ("/readyReplicas", sum("readyReplicas")),
            ("/availableReplicas", available),
            ("/unavailableReplicas", (wanted_in_all - available).max(0)),
            (
                "/collisionCount",
                fields::count(&self.deployment, "/status/collisionCount"),
            ),
        ] {
            fields::set_count(&mut status, name, value);
        }
        if let Some(conditions) = self.deployment.pointer("/status/conditions") {
            fields::set(&mut status, "/conditions", conditions.clone());
        }
        if available >= self.wanted() - self.max_unavailable() {
            let message = "Deployment has minimum availability.";
            self.set_condition(
                &mut status,
                "Available",
                "True",
                "MinimumReplicasAvailable",
                message,
            );
        } else {
            let message = "Deployment does not have minimum availability.";
            self.set_condition(
                &mut status,
                "Available",
                "False",
                "MinimumReplicasUnavailable",
                message,
            );
        }
        status
    }

    fn judge_progress(&self, status: &mut Value) {
        if !self.has_deadline() {
            drop_condition(status, "Progressing");
            return;
        }
        let current = fields::condition(&self.deployment, "Progressing");
        let reason = current
            .map(|condition| fields::text(condition, "/reason"))
            .unwrap_or_default();
        let all_new = fields::count(status, "/replicas") == fields::count(status, "/updatedReplicas");
        if all_new && reason == "NewReplicaSetAvailable" {
            return;
        }
        let name = self.new.as_ref().map(|new| fields::name(new)).unwrap_or_default();
        let now = self.store.now();
        if is_complete(&self.deployment, status) {
            let message = format!("ReplicaSet \"{name}\" has successfully progressed.");
            self.set_condition(status, "Progressing", "True", "NewReplicaSetAvailable", &message);
        } else if progressed(&self.deployment["status"], status) {
            let message = format!("ReplicaSet \"{name}\" is progressing.");
            let since = current.filter(|condition| fields::text(condition, "/status") == "True");
            let since = since.map(|condition| condition["lastTransitionTime"].clone());
            drop_condition(status, "Progressing");
            self.set_condition(status, "Progressing", "True", "ReplicaSetUpdated", &message);
            let written = conditions(status)
                .iter_mut()
                .find(|condition| condition["type"] == "Progressing");
            if let (Some(written), Some(since)) = (written, since) {
                written["lastTransitionTime"] = since;
            }
        } else if self
            .deadline(&self.deployment["status"])
            .is_some_and(|deadline| deadline <= now)
        {
            let message = format!("ReplicaSet \"{name}\" has timed out progressing.");
            self.set_condition(
                status,
                "Progressing",
                "False",
                "ProgressDeadlineExceeded",
                &message,
            );
        }
    }

    /// When the rollout will have taken too long; none while it is complete, late already, or not limited.
    fn deadline(&self, status: &Value) -> Option<Timestamp> {
        let mut conditions = fields::list(status, "/conditions").iter();
        let condition = conditions.find(|condition| condition["type"] == "Progressing")?;
        let over = ["NewReplicaSetAvailable", "ProgressDeadlineExceeded"];
        if !self.has_deadline() || over.contains(&fields::text(condition, "/reason")) {
            return None;
        }
        let from = clock::read(fields::text(condition, "/lastUpdateTime"))?;
        let seconds = fields::count(&self.deployment, "/spec/progressDeadlineSeconds");
        Some(clock::after(
            from,
            Duration::from_secs(seconds.unsigned_abs() + 1),
        ))
    }

    /// Copies the first failure of a ReplicaSet, the new one's before the others'.
    fn report_failure(&self, status: &mut Value) {
        let mut sets = self.new.iter().chain(&self.old);
        let failure = sets.find_map(|set| fields::condition(set, "ReplicaFailure"));
        if let Some(failure) = failure {
            let (reason, message) = (
                fields::text(failure, "/reason"),
                fields::text(failure, "/message"),
            );
            self.set_condition(status, "ReplicaFailure", "True", reason, message);
        } else {
            drop_condition(status, "ReplicaFailure");
        }
    }

    /// Says in the Progressing condition that the Deployment was paused or resumed.
    pub(super) fn note_pause(&mut self) {
        let condition = fields::condition(&self.deployment, "Progressing");
        let reason = condition
            .map(|condition| fields::text(condition, "/reason"))
            .unwrap_or_default();
        if reason == "ProgressDeadlineExceeded" {
            return;
        }
        match (
            fields::flag(&self.deployment, "/spec/paused"),
            reason == "DeploymentPaused",
        ) {
            (true, false) => self.write_condition("Unknown", "DeploymentPaused", "Deployment is paused"),
            (false, true) => self.write_condition("Unknown", "DeploymentResumed", "Deployment is resumed"),
            (true, true) | (false, false) => {}
        }
    }

    /// Writes the Progressing condition at once, if there is a deadline at all.
    fn write_condition(&mut self, value: &str, reason: &str, message: &str) {
        if !self.has_deadline() {
            return;
        }
        let mut deployment = Value::clone(&self.deployment);
        let mut status = deployment["status"].take();
        self.set_condition(&mut status, "Progressing", value, reason, message);
        fields::set(&mut deployment, "/status", status);
        self.put_status(deployment);
    }

    /// Sets a condition of a status unless it already says the same.
    pub(super) fn set_condition(
        &self,
        status: &mut Value,
        kind: &str,
        value: &str,
        reason: &str,
        message: &str,
    ) {
        let now = clock::seconds(self.store.now());
        let found = fields::list(status, "/conditions")
            .iter()
            .find(|condition| condition["type"] == kind);
        if found.is_some_and(|found| found["status"] == value && found["reason"] == reason) {
            return;
        }
        let same = found.filter(|found| found["status"] == value);
        let since = same.map_or_else(|| json!(now), |found| found["lastTransitionTime"].clone());
        drop_condition(status, kind);
        fields::default(status, "/conditions", json!([]));
        conditions(status).push(json!({
            "type": kind,
            "status": value,
            "reason": reason,
            "message": message,
            "lastUpdateTime": now,
            "lastTransitionTime": since,
        }));
    }
}

fn conditions(status: &mut Value) -> &mut Vec<Value> {
    status["conditions"].as_array_mut().expect("a list of conditions")
}

fn drop_condition(status: &mut Value, kind: &str) {
    if let Some(conditions) = status.get_mut("conditions").and_then(Value::as_array_mut) {
        conditions.retain(|condition| condition["type"] != kind);
    }
}

/// Whether a status is nearer to the goal than the one before.
fn progressed(before: &Value, after: &Value) -> bool {
    let grown = |name: &str| fields::count(after, name) > fields::count(before, name);
    let old = |status: &Value| fields::count(status, "/replicas") - fields::count(status, "/updatedReplicas");
    grown("/updatedReplicas")
        || grown("/readyReplicas")
        || grown("/availableReplicas")
        || old(after) < old(before)
}
