//! The lives of task Jobs, as far as the audit log tells.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::Value;
use slipway_crds::names::{RELEASE, REVISION, STEP};
use slipway_kubernetes::{cluster::Process, fields};

use super::audit::AuditEvent;

/// One Job from its creation on.
#[derive(Clone, Debug)]
pub struct JobLife {
    /// Its labels: what it was for.
    pub labels: BTreeMap<String, String>,
    /// Its name.
    pub name: String,
    /// Its UID.
    pub uid: String,
    /// When it was created.
    pub created_at: Timestamp,
    /// `Complete` or `Failed`, once it had one of these conditions, and when that was written.
    pub ended: Option<(String, Timestamp)>,
    /// When somebody asked for its deletion.
    pub deleted_at: Option<Timestamp>,
    /// When each of its pods ended: a deleted Job's pods live on for their grace.
    pods_ended: BTreeMap<String, Timestamp>,
    /// Whether it is suspended, and the Job controller has seen that and counts no pod: none is made any more.
    at_rest: bool,
}

impl JobLife {
    /// The step that it was for.
    pub fn step(&self) -> &str {
        self.labels.get(STEP).map_or("", String::as_str)
    }

    /// It as a process, for a judge: it may have run from its creation on.
    pub fn process(&self) -> Process {
        let failed = self.ended.as_ref().is_none_or(|(end, _)| end != "Complete");
        Process {
            pod: self.name.clone(),
            uid: self.uid.clone(),
            labels: self.labels.clone(),
            image: String::new(),
            started: self.created_at,
            ended: self.stopped_at().map(|at| (at, i64::from(failed))),
        }
    }

    /// The end of its work: its terminal condition, or when it was deleted before, the end of its last pod, or its
    /// deletion where it had none and none was made any more. `None` when nothing of that was seen.
    pub fn stopped_at(&self) -> Option<Timestamp> {
        match (&self.ended, self.deleted_at) {
            (Some((_, at)), _) => Some(*at),
            (None, Some(deleted)) => {
                let last = self.pods_ended.values().max().copied();
                last.or_else(|| self.at_rest.then_some(deleted))
            }
            (None, None) => None,
        }
    }
}

/// Every task Job that was created, in that order.
pub fn lives(requests: &[&AuditEvent]) -> Vec<JobLife> {
    let mut lives: Vec<JobLife> = Vec::new();
    for event in requests
        .iter()
        .filter(|event| event.succeeded() && event.is_write())
    {
        match (event.object_ref.resource.as_str(), event.verb.as_str()) {
            ("jobs", "create") => lives.extend(begin(event)),
            ("jobs", "delete") => {
                for life in lives.iter_mut().filter(|life| life.name == event.name()) {
                    life.deleted_at.get_or_insert(event.received_at);
                }
            }
            ("jobs", _) => {
                let uid = fields::uid(&event.response_object);
                for life in lives
                    .iter_mut()
                    .filter(|life| life.uid == uid && life.ended.is_none())
                {
                    life.ended = terminal(&event.response_object).map(|end| (end, event.reached_at));
                    life.at_rest = is_at_rest(&event.response_object);
                }
            }
            ("pods", _) if ends_pod(event) => {
                let is_of = |life: &&mut JobLife| is_pod_of(event.name(), &life.name);
                if let Some(life) = lives.iter_mut().rev().find(is_of) {
                    let ended = life.pods_ended.entry(event.name().to_owned());
                    ended.or_insert(event.reached_at);
                }
            }
            _ => {}
        }
    }
    lives
}

fn begin(event: &AuditEvent) -> Option<JobLife> {
    let job = &event.response_object;
    let labels: BTreeMap<String, String> = serde_json::from_value(job["metadata"]["labels"].clone()).ok()?;
    [RELEASE, REVISION, STEP]
        .iter()
        .all(|key| labels.contains_key(*key))
        .then(|| JobLife {
            labels,
            name: event.name().to_owned(),
            uid: fields::uid(job).to_owned(),
            created_at: event.received_at,
            ended: None,
            deleted_at: None,
            pods_ended: BTreeMap::new(),
            at_rest: false,
        })
}

fn is_at_rest(job: &Value) -> bool {
    let pods = ["active", "terminating", "failed", "succeeded"];
    fields::flag(job, "/spec/suspend")
        && fields::is_true(job, "Suspended")
        && pods
            .iter()
            .all(|count| fields::count(job, &format!("/status/{count}")) == 0)
}

/// Whether nothing of a pod can run any more: its node says so, or it is deleted and never had one.
fn ends_pod(event: &AuditEvent) -> bool {
    let pod = &event.response_object;
    let phase = pod["status"]["phase"].as_str();
    let node = event.username().starts_with("system:node:");
    let terminal = node && matches!(phase, Some("Succeeded" | "Failed"));
    let deleted = event.verb == "delete";
    terminal || deleted && (node || phase == Some("Pending") && pod["spec"]["nodeName"].is_null())
}

fn terminal(job: &Value) -> Option<String> {
    let end = ["Complete", "Failed"]
        .into_iter()
        .find(|end| fields::is_true(job, end));
    end.map(str::to_owned)
}

/// A Job's pods are named by the Job and five random characters.
fn is_pod_of(pod: &str, job: &str) -> bool {
    pod.strip_prefix(job)
        .and_then(|rest| rest.strip_prefix('-'))
        .is_some_and(|rest| rest.len() == 5)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use slipway_crds::names::{ATTEMPT, TASK};

    use super::super::audit::one_each;
    use super::super::audit::tests::{CONTROLLER, event};
    use super::super::observation::tests::judge;
    use super::*;

    const JOB_CONTROLLER: &str = "system:serviceaccount:kube-system:job-controller";

    fn job(name: &str, attempt: &str, uid: &str, condition: &str) -> Value {
        json!({
            "metadata": {"name": name, "uid": uid, "labels": {RELEASE: "shop", REVISION: "7", STEP: "expand",
                TASK: "expand", ATTEMPT: attempt}},
            "status": {"conditions": [{"type": condition, "status": "True"}]}
        })
    }

    fn created(at: i64, name: &str, attempt: &str, uid: &str) -> AuditEvent {
        let job = job(name, attempt, uid, "");
        event(at, CONTROLLER, "create", ("jobs", name), 201, (job.clone(), job))
    }

    fn status(at: i64, name: &str, uid: &str, condition: &str) -> AuditEvent {
        let job = job(name, "1", uid, condition);
        event(
            at,
            JOB_CONTROLLER,
            "update",
            ("jobs/status", name),
            200,
            (Value::Null, job),
        )
    }

    fn deleted(at: i64, user: &str, resource: &str, name: &str) -> AuditEvent {
        let body = json!({"preconditions": {"uid": "a"}});
        event(at, user, "delete", (resource, name), 200, (body, Value::Null))
    }

    #[test]
    fn one_attempt_after_the_other_is_well() {
        let events = [
            created(1, "shop-7-expand-1", "1", "a"),
            status(2, "shop-7-expand-1", "a", "FailureTarget"),
            status(3, "shop-7-expand-1", "a", "Failed"),
            created(4, "shop-7-expand-2", "2", "b"),
            deleted(5, CONTROLLER, "jobs", "shop-7-expand-1"),
        ];
        assert_eq!(judge(&events), Vec::<String>::new());
        let lives = lives(&one_each(&events));
        assert_eq!(lives[0].ended.as_ref().unwrap().0, "Failed");
        assert!(lives[0].deleted_at.is_some() && lives[1].stopped_at().is_none());
    }

    #[test]
    fn a_second_job_for_one_attempt_is_seen() {
        let once = created(1, "shop-7-expand-1", "1", "a");
        let end = status(2, "shop-7-expand-1", "a", "Complete");
        let again = created(4, "shop-7-expand-1", "1", "b");
        let found = judge(&[
            once.clone(),
            end.clone(),
            deleted(3, "alice", "jobs", "shop-7-expand-1"),
            again.clone(),
        ]);
        let expected =
            "at most once: Job shop/shop-7-expand-1 is the second start of its attempt (UIDs a and b)";
        assert_eq!(found, [expected]);
        assert_eq!(judge(&[once.clone(), end, again.clone()]), [expected]);
        let mut refused = again;
        refused.response_status.code = 409;
        assert!(judge(&[once, refused]).is_empty());
    }

    #[test]
    fn migrations_that_overlap_are_seen_also_when_the_first_job_was_deleted() {
        let first = created(1, "shop-7-expand-1", "1", "a");
        let second = created(6, "shop-7-expand-2", "2", "b");
        let expected = "no overlap: shop-7-expand-2 runs beside shop-7-expand-1";
        assert_eq!(judge(&[first.clone(), second.clone()]), [expected]);
        let gone = deleted(2, "alice", "jobs", "shop-7-expand-1");
        let pod = |at| deleted(at, "system:node:node", "pods", "shop-7-expand-1-x7k2p");
        assert!(judge(&[first.clone(), gone.clone(), pod(5), second.clone()]).is_empty());
        assert_eq!(judge(&[first, gone, second, pod(9)]), [expected]);
    }

    #[test]
    fn a_job_without_a_pod_is_over_when_it_was_seen_to_be_suspended_and_deleted() {
        let first = created(1, "shop-7-expand-1", "1", "a");
        let suspended = |at, condition: &str, pods: i64| {
            let mut job = job("shop-7-expand-1", "1", "a", condition);
            job["spec"] = json!({"suspend": true});
            job["status"]["active"] = json!(pods);
            event(
                at,
                JOB_CONTROLLER,
                "update",
                ("jobs/status", "shop-7-expand-1"),
                200,
                (Value::Null, job),
            )
        };
        let gone = deleted(3, CONTROLLER, "jobs", "shop-7-expand-1");
        let second = created(6, "shop-7-expand-2", "2", "b");
        let story = |status| judge(&[first.clone(), status, gone.clone(), second.clone()]);
        assert_eq!(story(suspended(2, "Suspended", 0)), Vec::<String>::new());
        let expected = "no overlap: shop-7-expand-2 runs beside shop-7-expand-1";
        assert_eq!(story(suspended(2, "Suspended", 1)), [expected], "a pod lives");
        assert_eq!(story(suspended(2, "Resumed", 0)), [expected], "not seen yet");
    }
}
