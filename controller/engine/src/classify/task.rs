//! Jobs and pods.

use jiff::Timestamp;
use serde_json::Value;
use slipway_crds::{InputDigest, Uid, names};

use super::{condition, label, owned, text};
use crate::observed::{ContainerEnd, JobState, JobView, PodTrouble, TaskPodPhase, TaskPodView};

/// Reads a Job. Only the terminal conditions count: `FailureTarget` and `SuccessCriteriaMet` come before
/// the pod has ended.
pub fn job(object: &Value) -> JobView {
    let state = match (
        condition(object, "Complete", "True"),
        condition(object, "Failed", "True"),
    ) {
        (Some(_), _) => JobState::Complete,
        (None, Some(failed)) => JobState::Failed {
            reason: owned(failed, "/reason"),
            message: owned(failed, "/message"),
        },
        (None, None) => JobState::Active,
    };
    let annotations = object.pointer("/metadata/annotations");
    let suspended = object.pointer("/spec/suspend").and_then(Value::as_bool) == Some(true);
    let generation = object.pointer("/metadata/generation").and_then(Value::as_i64);
    JobView {
        name: owned(object, "/metadata/name").into(),
        uid: owned(object, "/metadata/uid").into(),
        resource_version: owned(object, "/metadata/resourceVersion"),
        release_uid: label(object, names::RELEASE_UID).map(Uid::from),
        step: label(object, names::STEP),
        revision: label(object, names::REVISION).and_then(|number| number.parse().ok()),
        input_digest: annotations
            .and_then(|all| all.get(names::INPUT_DIGEST))
            .and_then(Value::as_str)
            .map(InputDigest::from),
        deleting: text(object, "/metadata/deletionTimestamp").is_some(),
        suspended,
        // The generation counts the changes of the spec: in the first one nobody has let the Job run yet.
        never_started: suspended && generation == Some(1),
        // One that it did not see suspended gets no condition, but the time at which it was let run.
        suspension_seen: match condition(object, "Suspended", "True") {
            Some(_) => Some(true),
            None => text(object, "/status/startTime").map(|_| false),
        },
        pods: counted_pods(object),
        state,
    }
}

fn counted_pods(job: &Value) -> i64 {
    let status = job.pointer("/status");
    let count = |name: &str| status?.get(name)?.as_i64();
    let counted = ["active", "succeeded", "failed", "terminating"]
        .into_iter()
        .filter_map(count);
    let uncounted = status.and_then(|status| status.get("uncountedTerminatedPods")?.as_object());
    let uncounted = uncounted.into_iter().flat_map(|lists| lists.values());
    let uncounted = uncounted.filter_map(|list| list.as_array()?.len().try_into().ok());
    counted.chain(uncounted).sum()
}

/// The newest of a Job's events that says why it has no pod, in the Job controller's words.
pub fn job_trouble<'a>(events: impl Iterator<Item = &'a Value>) -> Option<String> {
    let failed = events.filter(|event| text(event, "/reason") == Some("FailedCreate"));
    let at = |event: &&Value| {
        let times = [
            "/series/lastObservedTime",
            "/deprecatedLastTimestamp",
            "/eventTime",
            "/metadata/creationTimestamp",
        ];
        times
            .iter()
            .filter_map(|pointer| text(event, pointer))
            .max()
            .map(str::to_owned)
    };
    let newest = failed.max_by_key(at)?;
    Some(format!(
        "FailedCreate ({})",
        crate::status::cut(&owned(newest, "/note"), 300)
    ))
}

/// Reads a task's pod.
pub fn task_pod(object: &Value) -> TaskPodView {
    let finalizers: Vec<String> = object
        .pointer("/metadata/finalizers")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .map(str::to_owned)
        .collect();
    let (container, beside) = containers(object);
    let terminated = container.and_then(|container| container.pointer("/state/terminated"));
    let end = terminated.map(end);
    let started = container.and_then(|container| {
        text(container, "/state/running/startedAt").or_else(|| text(container, "/state/terminated/startedAt"))
    });
    let started = started.and_then(|time| time.parse::<Timestamp>().ok());
    TaskPodView {
        name: owned(object, "/metadata/name"),
        uid: owned(object, "/metadata/uid").into(),
        resource_version: owned(object, "/metadata/resourceVersion"),
        job: label(object, "batch.kubernetes.io/job-name")
            .unwrap_or_default()
            .into(),
        release_uid: label(object, names::RELEASE_UID).map(Uid::from),
        step: label(object, names::STEP),
        finalizer: finalizers.iter().any(|name| name == names::TASK_POD_FINALIZER),
        finalizers,
        deleting: text(object, "/metadata/deletionTimestamp").is_some(),
        disrupted: condition(object, "DisruptionTarget", "True").map(|found| owned(found, "/reason")),
        assigned: text(object, "/spec/nodeName").is_some(),
        phase: match text(object, "/status/phase") {
            Some("Running") => TaskPodPhase::Running,
            Some("Succeeded") => TaskPodPhase::Succeeded,
            Some("Failed") => TaskPodPhase::Failed,
            Some(_) | None => TaskPodPhase::Pending,
        },
        // Of a process that could not be started the runtime tells the beginning of time.
        started_at: started.filter(|_| end != Some(ContainerEnd::NotStarted)),
        ran: terminated
            .filter(|_| end != Some(ContainerEnd::NotStarted))
            .and_then(|state| {
                let time = |pointer| text(state, pointer)?.parse::<Timestamp>().ok();
                Some(time("/finishedAt")?.duration_since(time("/startedAt")?))
            }),
        trouble: trouble(object),
        end,
        beside,
        // The kubelet's code for a container that it cannot find tells nothing of what it did.
        exit_code: terminated
            .filter(|_| matches!(end, Some(ContainerEnd::Exited | ContainerEnd::OutOfMemory)))
            .and_then(|state| state.get("exitCode"))
            .and_then(Value::as_i64)
            .and_then(|code| i32::try_from(code).ok()),
        output: terminated
            .and_then(|state| text(state, "/message"))
            .map(str::to_owned),
    }
}

/// The status of the task's own container, and the names of others that have not ended. Admission may have put those
/// before it.
fn containers(object: &Value) -> (Option<&Value>, Vec<String>) {
    let statuses = object.pointer("/status/containerStatuses");
    let statuses = statuses.and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let annotations = object.pointer("/metadata/annotations");
    let named = annotations
        .and_then(|all| all.get(names::CONTAINER))
        .and_then(Value::as_str);
    let first = statuses.first().and_then(|status| text(status, "/name"));
    let name = named.or(first);
    let (own, others): (Vec<&Value>, Vec<&Value>) =
        statuses.iter().partition(|status| text(status, "/name") == name);
    let open = others
        .into_iter()
        .filter(|status| status.pointer("/state/terminated").is_none());
    (
        own.first().copied(),
        open.map(|status| owned(status, "/name")).collect(),
    )
}

fn end(terminated: &Value) -> ContainerEnd {
    match text(terminated, "/reason") {
        Some("OOMKilled") => ContainerEnd::OutOfMemory,
        Some("StartError" | "ContainerCannotRun") => ContainerEnd::NotStarted,
        Some("ContainerStatusUnknown") => ContainerEnd::Lost,
        Some(_) | None => ContainerEnd::Exited,
    }
}

/// Reads why a workload's pod is not ready; none for a ready one.
pub fn pod_trouble(object: &Value) -> Option<PodTrouble> {
    if condition(object, "Ready", "True").is_some() || text(object, "/metadata/deletionTimestamp").is_some() {
        return None;
    }
    Some(PodTrouble {
        pod: owned(object, "/metadata/name"),
        hash: label(object, names::POD_TEMPLATE_HASH).unwrap_or_default().into(),
        trouble: trouble(object).unwrap_or_else(|| "its readiness probe does not succeed yet".to_owned()),
    })
}

/// The pod's own words for why it does not start: a waiting container, or what keeps it from a node.
fn trouble(object: &Value) -> Option<String> {
    let statuses = ["/status/containerStatuses", "/status/initContainerStatuses"];
    let containers = statuses
        .iter()
        .filter_map(|pointer| object.pointer(pointer)?.as_array())
        .flatten();
    for container in containers {
        let ended = container.pointer("/state/terminated");
        if let Some(ended) = ended.filter(|ended| end(ended) == ContainerEnd::NotStarted) {
            let message = text(ended, "/message").unwrap_or_default();
            let reason = owned(ended, "/reason");
            return Some(format!("{reason} ({})", crate::status::cut(message, 300)));
        }
        let waiting = container.pointer("/state/waiting");
        if let Some(reason) = waiting.and_then(|waiting| text(waiting, "/reason"))
            && reason != "ContainerCreating"
            && reason != "PodInitializing"
        {
            let message = waiting
                .and_then(|waiting| text(waiting, "/message"))
                .unwrap_or_default();
            let before = container
                .pointer("/lastState/terminated")
                .and_then(|last| last.get("exitCode"));
            let exited = before
                .map(|code| format!(", last exit code {code}"))
                .unwrap_or_default();
            return Some(format!("{reason} ({}){exited}", crate::status::cut(message, 300)));
        }
    }
    let unscheduled = condition(object, "PodScheduled", "False")?;
    Some(format!(
        "{} ({})",
        owned(unscheduled, "/reason"),
        owned(unscheduled, "/message")
    ))
}
