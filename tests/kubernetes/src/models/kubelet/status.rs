//! A pod's status as the kubelet reports it.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{Sandbox, Stage};
use crate::{clock, fields, models::behaviour::Exit};

impl Sandbox {
    pub(super) fn status(&self, pod: &Value, sick: bool, now: Timestamp) -> Value {
        let mut status = pod["status"].clone();
        fields::set(&mut status, "/phase", self.phase());
        let placed = !matches!(self.stage, Stage::Unplaced { .. } | Stage::Collected);
        let ready = self.is_ready(sick, now);
        if placed {
            fields::default(&mut status, "/startTime", clock::seconds(now));
            fields::set(&mut status, "/containerStatuses", self.containers(pod, ready));
        }
        if matches!(self.stage, Stage::Running { .. }) {
            fields::default(&mut status, "/podIP", self.address.as_str());
            fields::default(&mut status, "/podIPs", json!([{"ip": self.address}]));
        }
        let reason = if placed { None } else { Some("Unschedulable") };
        condition(&mut status, "PodScheduled", placed, reason, now);
        if placed {
            let over = if self.phase() == "Succeeded" {
                "PodCompleted"
            } else {
                "ContainersNotReady"
            };
            condition(&mut status, "Initialized", true, None, now);
            condition(&mut status, "ContainersReady", ready, Some(over), now);
            condition(&mut status, "Ready", ready, Some(over), now);
        }
        status
    }

    fn phase(&self) -> &'static str {
        match &self.stage {
            Stage::Unplaced { .. } | Stage::Making { .. } => "Pending",
            Stage::Running { .. } | Stage::BackOff { .. } => "Running",
            Stage::Ended { exit, .. } if exit.code == 0 => "Succeeded",
            Stage::Collected | Stage::Ended { .. } => "Failed",
        }
    }

    fn is_ready(&self, sick: bool, now: Timestamp) -> bool {
        let Stage::Running { since, .. } = &self.stage else {
            return false;
        };
        !sick
            && self
                .behaviour
                .ready
                .is_some_and(|after| clock::after(*since, after) <= now)
    }

    fn containers(&self, pod: &Value, ready: bool) -> Vec<Value> {
        let container = |container: &Value| {
            let image = fields::text(container, "/image");
            let mut status = json!({
                "name": container["name"],
                "image": image,
                "imageID": format!("{image}@sha256:simulated"),
                "ready": ready,
                "started": matches!(self.stage, Stage::Running { .. }),
                "restartCount": self.restarts,
                "state": self.state(image),
            });
            if let Some((at, exit)) = &self.last_end {
                status["lastState"] = terminated(None, *at, exit);
            }
            status
        };
        fields::list(pod, "/spec/containers")
            .iter()
            .map(container)
            .collect()
    }

    fn state(&self, image: &str) -> Value {
        let waiting =
            |reason: &str, message: String| json!({"waiting": {"reason": reason, "message": message}});
        match &self.stage {
            Stage::Unplaced { .. } | Stage::Collected => json!({}),
            Stage::Making { due: None } => {
                waiting("ImagePullBackOff", format!("Back-off pulling image \"{image}\""))
            }
            Stage::Making { .. } => json!({"waiting": {"reason": "ContainerCreating"}}),
            Stage::Running { since, .. } => json!({"running": {"startedAt": clock::seconds(*since)}}),
            Stage::BackOff { .. } => waiting(
                "CrashLoopBackOff",
                "back-off restarting failed container".to_owned(),
            ),
            Stage::Ended { since, at, exit } => terminated(*since, *at, exit),
        }
    }
}

fn terminated(since: Option<Timestamp>, at: Timestamp, exit: &Exit) -> Value {
    let mut state = json!({
        "exitCode": exit.code,
        "reason": if exit.code == 0 { "Completed" } else { "Error" },
        "finishedAt": clock::seconds(at),
    });
    if let Some(since) = since {
        state["startedAt"] = json!(clock::seconds(since));
    }
    if !exit.message.is_empty() {
        // The kubelet keeps the last 4096 bytes.
        let start = exit
            .message
            .ceil_char_boundary(exit.message.len().saturating_sub(4096));
        state["message"] = json!(exit.message[start..]);
    }
    json!({"terminated": state})
}

/// Sets a condition; its time changes only with its value.
fn condition(status: &mut Value, kind: &str, value: bool, reason: Option<&str>, now: Timestamp) {
    let value = if value { "True" } else { "False" };
    let mut conditions = fields::list(status, "/conditions").to_vec();
    let old = conditions.iter().position(|condition| condition["type"] == kind);
    let old = old.map(|index| conditions.remove(index));
    let since = match old.filter(|old| old["status"] == value) {
        Some(old) => old["lastTransitionTime"].clone(),
        None => json!(clock::seconds(now)),
    };
    let mut condition = json!({"type": kind, "status": value, "lastTransitionTime": since});
    if let Some(reason) = reason.filter(|_| value == "False") {
        condition["reason"] = json!(reason);
    }
    conditions.push(condition);
    conditions.sort_by_key(|condition| fields::text(condition, "/type").to_owned());
    fields::set(status, "/conditions", conditions);
}
