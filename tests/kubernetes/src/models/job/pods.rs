//! Counting a Job's pods, and what a failed one means.

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::{clock, fields};

/// The finalizer that keeps a pod until it is counted.
pub(super) const TRACKING: &str = "batch.kubernetes.io/job-tracking";

/// What is known about a Job's pods.
#[derive(Clone, Debug, Default)]
pub(super) struct Counts {
    pub(super) active: i64,
    pub(super) ready: i64,
    pub(super) terminating: i64,
    pub(super) succeeded: i64,
    pub(super) failed: i64,
    /// Failures that were not seen before, ignored ones included.
    pub(super) newly_failed: u32,
    /// The end of the last pod that failed.
    pub(super) last_failure: Option<Timestamp>,
    /// The message of the failure policy's rule that fails the Job.
    policy: Option<String>,
}

impl Counts {
    pub(super) fn of(job: &Value, pods: &[Arc<Value>]) -> Self {
        let mut counts = Self {
            succeeded: fields::count(job, "/status/succeeded"),
            failed: fields::count(job, "/status/failed"),
            ..Self::default()
        };
        for pod in pods {
            let tracked = fields::list(pod, "/metadata/finalizers")
                .iter()
                .any(|name| name == TRACKING);
            if fields::text(pod, "/status/phase") == "Succeeded" {
                counts.succeeded += i64::from(tracked);
            } else if is_over(job, pod) {
                if tracked {
                    counts.count_failure(job, pod);
                }
                counts.terminating += i64::from(!fields::finished(pod));
            } else if fields::terminating(pod) {
                counts.terminating += 1;
            } else {
                counts.active += 1;
                counts.ready += i64::from(fields::ready(pod));
            }
        }
        counts
    }

    fn count_failure(&mut self, job: &Value, pod: &Value) {
        self.newly_failed += 1;
        self.last_failure = self.last_failure.max(ended(pod));
        match matching_rule(job, pod) {
            Some(("Ignore", _)) => {}
            Some(("FailJob", message)) => {
                self.failed += 1;
                self.policy.get_or_insert(message);
            }
            Some(_) | None => self.failed += 1,
        }
    }

    /// Why the Job fails, if it does.
    pub(super) fn failure(&self, job: &Value, late: bool) -> Option<(&'static str, String)> {
        if let Some(message) = &self.policy {
            Some(("PodFailurePolicy", message.clone()))
        } else if self.failed > fields::count(job, "/spec/backoffLimit") {
            Some((
                "BackoffLimitExceeded",
                "Job has reached the specified backoff limit".to_owned(),
            ))
        } else if late {
            Some((
                "DeadlineExceeded",
                "Job was active longer than specified deadline".to_owned(),
            ))
        } else {
            None
        }
    }
}

/// Whether only pods that have ended are replaced.
pub(super) fn only_replaces_failed(job: &Value) -> bool {
    fields::text(job, "/spec/podReplacementPolicy") == "Failed"
}

/// Whether a pod counts as ended.
pub(super) fn is_over(job: &Value, pod: &Value) -> bool {
    fields::finished(pod) || (fields::terminating(pod) && !only_replaces_failed(job))
}

/// When a pod ended, or was told to.
fn ended(pod: &Value) -> Option<Timestamp> {
    let statuses = fields::list(pod, "/status/containerStatuses").iter();
    let ends =
        statuses.filter_map(|status| clock::read(fields::text(status, "/state/terminated/finishedAt")));
    ends.max().or_else(|| {
        let at = clock::read(fields::text(pod, "/metadata/deletionTimestamp"))?;
        let grace = fields::count(pod, "/metadata/deletionGracePeriodSeconds");
        Some(at - jiff::SignedDuration::from_secs(grace))
    })
}

/// The first rule of the failure policy that a failed pod matches: its action and what is said about it.
fn matching_rule<'a>(job: &'a Value, pod: &Value) -> Option<(&'a str, String)> {
    if fields::text(pod, "/status/phase") != "Failed" {
        return None;
    }
    let place = format!("{}/{}", fields::namespace(pod), fields::name(pod));
    fields::list(job, "/spec/podFailurePolicy/rules")
        .iter()
        .enumerate()
        .find_map(|(index, rule)| {
            let action = fields::text(rule, "/action");
            let matching = format!("matching {action} rule at index {index}");
            let by_code = fields::has(rule, "/onExitCodes").then(|| {
                let (container, code) = exit_code(rule, pod)?;
                Some(format!(
                    "Container {container} for pod {place} failed with exit code {code} {matching}"
                ))
            });
            let message = by_code.flatten().or_else(|| {
                let conditions = fields::list(rule, "/onPodConditions").iter();
                let mut met = conditions.filter(|wanted| {
                    let status = wanted.get("status").and_then(Value::as_str).unwrap_or("True");
                    fields::condition(pod, fields::text(wanted, "/type"))
                        .is_some_and(|found| fields::text(found, "/status") == status)
                });
                let condition = met
                    .next()
                    .map(|wanted| fields::text(wanted, "/type").to_owned())?;
                Some(format!("Pod {place} has condition {condition} {matching}"))
            })?;
            Some((action, message))
        })
}

fn exit_code(rule: &Value, pod: &Value) -> Option<(String, i64)> {
    let wanted = fields::text(rule, "/onExitCodes/containerName");
    let values = fields::list(rule, "/onExitCodes/values");
    let negated = fields::text(rule, "/onExitCodes/operator") == "NotIn";
    fields::list(pod, "/status/containerStatuses")
        .iter()
        .find_map(|status| {
            let name = fields::text(status, "/name");
            let code = fields::number(status, "/state/terminated/exitCode").filter(|code| *code != 0)?;
            let listed = values.iter().any(|value| value.as_i64() == Some(code));
            ((wanted.is_empty() || wanted == name) && listed != negated).then(|| (name.to_owned(), code))
        })
}

/// A pod for a Job.
pub(super) fn pod_of(job: &Value) -> Value {
    let template = &job["spec"]["template"];
    let mut finalizers = fields::list(template, "/metadata/finalizers").to_vec();
    finalizers.push(json!(TRACKING));
    let mut pod = json!({
        "metadata": {
            "generateName": format!("{}-", fields::name(job)),
            "labels": template["metadata"]["labels"],
            "finalizers": finalizers,
            "ownerReferences": [fields::owner_reference(job)],
        },
        "spec": template["spec"],
    });
    if let Some(annotations) = template["metadata"].get("annotations") {
        pod["metadata"]["annotations"] = annotations.clone();
    }
    pod
}
