//! What the controller claims in a Release's status: never less than before, never another end of a task,
//! never a success that the cluster does not show.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde_json::Value;

use super::audit::AuditEvent;
use super::difference::differences;
use super::jobs::JobLife;
use super::objects::{Baseline, Change, changes};

/// One status that the controller wrote.
#[derive(Clone, Debug)]
pub struct Claimed {
    /// When.
    pub at: Timestamp,
    /// Id of the request.
    pub id: String,
    /// Name of the Release.
    pub release: String,
    /// The whole status.
    pub status: Value,
    /// True if nothing changed but how far things are: the texts and counts of progress.
    pub only_progress: bool,
}

/// Every status that the controller wrote, and what is wrong with them.
pub fn claims(
    baseline: &Baseline,
    requests: &[&AuditEvent],
    controller: &str,
    jobs: &[JobLife],
) -> (Vec<Claimed>, Vec<String>) {
    let mut claims = Vec::new();
    let mut violations = Vec::new();
    let mut memories: BTreeMap<String, Memory> = BTreeMap::new();
    for change in changes(baseline, requests, &["releases"]) {
        if change.event.object_ref.subresource != "status" {
            continue;
        }
        let release = change.event.name().to_owned();
        // A Release that was deleted and made again is another one.
        let uid = change.after()["metadata"]["uid"].to_string();
        if change.event.username() != controller {
            // Somebody stripped or restored it: what it said before binds no longer.
            memories.remove(&uid);
            continue;
        }
        let claimed = claimed(&change, release);
        let memory = memories.entry(uid).or_default();
        violations.extend(memory.check(&claimed, jobs));
        claims.push(claimed);
    }
    (claims, violations)
}

fn claimed(change: &Change<'_>, release: String) -> Claimed {
    let status = change.after()["status"].clone();
    let before = change
        .before
        .map_or(Value::Null, |object| object["status"].clone());
    let changed = differences(&before, &status);
    let only_progress = changed
        .iter()
        .all(|difference| is_progress(&difference.path.keys()));
    Claimed {
        at: change.event.received_at,
        id: change.event.id.clone(),
        release,
        status,
        only_progress: only_progress && !changed.is_empty(),
    }
}

fn is_progress(path: &[&str]) -> bool {
    matches!(
        path,
        ["progress" | "waitingFor"]
            | ["steps", _, "progress" | "message"]
            | ["workloads", _, "old" | "new", "ready" | "wanted"]
            | ["conditions", _, "message"]
    )
}

/// The highest and the final things that were said of one Release.
#[derive(Default)]
struct Memory {
    uid_seen: BTreeSet<String>,
    generation: i64,
    revision: i64,
    outcomes: BTreeMap<String, String>,
}

impl Memory {
    fn check(&mut self, claimed: &Claimed, jobs: &[JobLife]) -> Vec<String> {
        let mut violations = Vec::new();
        let Claimed { release, status, .. } = claimed;
        for (field, highest, now) in [
            (
                "observedGeneration",
                &mut self.generation,
                &status["observedGeneration"],
            ),
            (
                "revision.number",
                &mut self.revision,
                &status["revision"]["number"],
            ),
        ] {
            let Some(now) = now.as_i64() else { continue };
            if now < *highest {
                violations.push(format!(
                    "status of {release}: {field} fell from {highest} to {now}"
                ));
            }
            *highest = now.max(*highest);
        }
        for task in status["tasks"].as_array().into_iter().flatten() {
            violations.extend(self.check_task(release, task, jobs));
        }
        violations
    }

    fn check_task(&mut self, release: &str, task: &Value, jobs: &[JobLife]) -> Option<String> {
        let outcome = task["outcome"].as_str()?;
        let job = task["job"].as_str().unwrap_or_default();
        let uid = task["jobUid"].as_str().unwrap_or_default();
        match self.outcomes.insert(job.to_owned(), outcome.to_owned()) {
            Some(before) if before != outcome => {
                return Some(format!(
                    "status of {release}: the end of {job} changed from {before} to {outcome}"
                ));
            }
            _ => {}
        }
        let life = jobs.iter().find(|life| life.uid == uid)?;
        let first_time = self.uid_seen.insert(uid.to_owned());
        let complete = life.ended.as_ref().is_some_and(|(end, _)| end == "Complete");
        (first_time && outcome == "Succeeded" && !complete)
            .then(|| format!("status of {release}: {job} Succeeded, but its Job was never seen Complete"))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::audit::one_each;
    use super::super::audit::tests::{CONTROLLER, event};
    use super::*;

    fn wrote(at: i64, user: &str, status: &Value) -> AuditEvent {
        let release =
            json!({"metadata": {"name": "shop", "resourceVersion": at.to_string()}, "status": status});
        event(
            at,
            user,
            "update",
            ("releases/status", "shop"),
            200,
            (release.clone(), release),
        )
    }

    fn judge(events: &[AuditEvent], jobs: &[JobLife]) -> (Vec<Claimed>, Vec<String>) {
        claims(&Baseline::default(), &one_each(events), CONTROLLER, jobs)
    }

    fn status(generation: i64, revision: i64, outcome: Option<&str>) -> Value {
        json!({"observedGeneration": generation, "revision": {"number": revision},
            "tasks": [{"step": "Expand", "name": "expand", "attempt": 1, "job": "shop-7-expand-1", "jobUid": "a",
                "outcome": outcome}]})
    }

    #[test]
    fn numbers_that_fall_and_ends_that_change_are_seen() {
        let events = [
            wrote(1, CONTROLLER, &status(3, 7, None)),
            wrote(2, CONTROLLER, &status(3, 7, Some("Failed"))),
            wrote(3, CONTROLLER, &status(2, 6, Some("Succeeded"))),
        ];
        assert_eq!(
            judge(&events, &[]).1,
            [
                "status of shop: observedGeneration fell from 3 to 2",
                "status of shop: revision.number fell from 7 to 6",
                "status of shop: the end of shop-7-expand-1 changed from Failed to Succeeded",
            ]
        );
        let stripped = [
            events[1].clone(),
            wrote(3, "alice", &json!({})),
            wrote(4, CONTROLLER, &status(3, 1, None)),
        ];
        assert!(judge(&stripped, &[]).1.is_empty());
    }

    #[test]
    fn a_success_needs_a_complete_job() {
        let created = json!({"metadata": {"name": "shop-7-expand-1", "uid": "a", "labels": {
            "slipway.dev/release": "shop", "slipway.dev/revision": "7", "slipway.dev/step": "expand"}}});
        let creation = event(
            1,
            CONTROLLER,
            "create",
            ("jobs", "shop-7-expand-1"),
            201,
            (Value::Null, created),
        );
        let mut lives = super::super::jobs::lives(&[&creation]);
        let succeeded = [wrote(5, CONTROLLER, &status(3, 7, Some("Succeeded")))];
        let expected = "status of shop: shop-7-expand-1 Succeeded, but its Job was never seen Complete";
        assert_eq!(judge(&succeeded, &lives).1, [expected]);
        lives[0].ended = Some(("Complete".to_owned(), lives[0].created_at));
        assert!(judge(&succeeded, &lives).1.is_empty());
    }

    #[test]
    fn writes_that_only_tell_how_far_things_are_are_told_apart() {
        let step = |message: &str, state: &str| json!({"progress": message, "steps": [{"name": "Reindex", "state": state, "progress": message}]});
        let events = [
            wrote(1, CONTROLLER, &step("1%", "Running")),
            wrote(2, CONTROLLER, &step("2%", "Running")),
            wrote(3, CONTROLLER, &step("done", "Succeeded")),
        ];
        let kinds: Vec<_> = judge(&events, &[])
            .0
            .iter()
            .map(|claimed| claimed.only_progress)
            .collect();
        assert_eq!(kinds, [false, true, false]);
    }
}
