//! How an attempt ended. Success is narrower than Kubernetes says: a pod that was deleted or evicted and
//! exits 0 on SIGTERM makes its Job Complete.

use jiff::SignedDuration;
use slipway_crds::v1alpha1::status::{StepName, TaskOutcome, TaskStatus};

use super::{STOPS, TaskState, words};
use crate::observed::{TaskPodPhase, TaskPodView};
use crate::progress::{since, spoken};
use crate::turn::Turn;

/// The pod of a finished Job is seen by another watch, a moment later.
const POD_LAG: SignedDuration = SignedDuration::from_secs(30);

fn record(
    turn: &mut Turn,
    task: &TaskStatus,
    pod: Option<&TaskPodView>,
    outcome: TaskOutcome,
    reason: Option<&str>,
) -> TaskStatus {
    let mut ended = turn
        .progress
        .task_mut(&task.job)
        .cloned()
        .unwrap_or_else(|| task.clone());
    ended.outcome = Some(outcome);
    ended.reason = reason.map(str::to_owned);
    let now = turn.now();
    ended.finished_at = Some(now);
    // How long it ran is what counts from here on, and only the node knows: its clock may be another than ours.
    ended.started_at = match pod.and_then(|pod| pod.ran) {
        Some(ran) => Some(now - ran),
        None => ended.started_at.or_else(|| pod.and_then(|pod| pod.started_at)),
    };
    ended.exit_code = pod.and_then(|pod| pod.exit_code);
    let said = pod.and_then(|pod| pod.output.as_deref());
    ended.documents = said.and_then(documents);
    let kept = match outcome {
        TaskOutcome::Succeeded => said.map(words::last),
        TaskOutcome::Failed | TaskOutcome::Unknown => said.map(words::essence),
    };
    ended.output = kept.filter(|text| !text.is_empty());
    if let Some(stored) = turn.progress.task_mut(&task.job) {
        *stored = ended.clone();
    }
    tell(turn, &ended);
    ended
}

fn tell(turn: &mut Turn, task: &TaskStatus) {
    let action = format!("{}-{}", task.name, task.attempt);
    let took = spoken(since(turn.now(), task.started_at.unwrap_or(task.intent_at)));
    match task.outcome {
        Some(TaskOutcome::Succeeded) => {
            turn.tell("TaskSucceeded", action, format!("{} in {took}", task.name));
        }
        Some(TaskOutcome::Failed) => turn.warn("TaskFailed", action, failure(task)),
        Some(TaskOutcome::Unknown) => turn.warn("TaskUnknown", action, doubt(task)),
        None => {}
    }
}

/// What a failed attempt says, in the task's own words.
fn failure(task: &TaskStatus) -> String {
    let length = since(
        task.finished_at.unwrap_or(task.intent_at),
        task.started_at.unwrap_or(task.intent_at),
    );
    let how = match (task.exit_code, task.reason.as_deref()) {
        (_, Some(reason)) if STOPS.contains(&reason) => {
            format!("was stopped after {}: {reason}", spoken(length))
        }
        (Some(code), _) => format!("exited {code} after {}", spoken(length)),
        (None, Some(reason)) => format!("ended: {reason}"),
        (None, None) => "ended without an exit code".to_owned(),
    };
    let words = task
        .output
        .as_deref()
        .map(|text| format!(": \"{}\"", words::in_a_sentence(text)))
        .unwrap_or_default();
    format!("{} (attempt {}) {how}{words}", task.name, task.attempt)
}

/// What is known of an attempt whose outcome is not.
pub(crate) fn doubt(task: &TaskStatus) -> String {
    format!(
        "{} (attempt {}) was disturbed ({}). Whether it is complete cannot be known from here",
        task.name,
        task.attempt,
        task.reason.as_deref().unwrap_or("Unknown")
    )
}

/// The same, with the command that shows all of it where there is more: what was stopped is deleted.
pub(crate) fn failure_in(namespace: &str, task: &TaskStatus) -> String {
    let failure = failure(task);
    if task.exit_code.is_none() || super::stopped(task) {
        return failure;
    }
    let job = &task.job;
    format!("{failure}. `kubectl logs job/{job} -n {namespace}` shows everything it said")
}

/// The number of documents, where the last line of the output is a JSON object that tells it.
fn documents(output: &str) -> Option<i64> {
    let last = output.lines().rev().find(|line| !line.trim().is_empty())?;
    serde_json::from_str::<serde_json::Value>(last)
        .ok()?
        .get("documents")?
        .as_i64()
}

fn being_read(task: &TaskStatus) -> TaskState {
    TaskState::Running(format!("{} has ended; its pod is being read", task.name))
}

/// A Job reads Complete: believed only if its one pod ended undisturbed.
pub(super) fn complete(turn: &mut Turn, task: &TaskStatus, pods: &[&TaskPodView]) -> TaskState {
    let undisturbed =
        |pod: &TaskPodView| pod.phase == TaskPodPhase::Succeeded && !pod.deleting && pod.disrupted.is_none();
    match pods {
        [pod] if undisturbed(pod) => {
            TaskState::Succeeded(record(turn, task, Some(pod), TaskOutcome::Succeeded, None))
        }
        [pod] if matches!(pod.phase, TaskPodPhase::Pending | TaskPodPhase::Running) && !pod.deleting => {
            turn.wake_after(SignedDuration::from_secs(1));
            being_read(task)
        }
        [] => {
            let Some(ended) = task.finished_at else {
                let now = turn.now();
                if let Some(task) = turn.progress.task_mut(&task.job) {
                    task.finished_at = Some(now);
                }
                return being_read(task);
            };
            if turn.passed(ended, POD_LAG) {
                return TaskState::Unknown(record(turn, task, None, TaskOutcome::Unknown, Some("PodLost")));
            }
            being_read(task)
        }
        [pod, ..] => TaskState::Unknown(record(
            turn,
            task,
            Some(pod),
            TaskOutcome::Unknown,
            Some("Interrupted"),
        )),
    }
}

/// A Job reads Failed.
pub(super) fn failed(
    turn: &mut Turn,
    task: &TaskStatus,
    pods: &[&TaskPodView],
    reason: &str,
    message: &str,
) -> TaskState {
    let pod = pods.first().copied();
    if let Some(stopped) = task.reason.as_deref().filter(|reason| STOPS.contains(reason)) {
        return TaskState::Failed(record(turn, task, pod, TaskOutcome::Failed, Some(stopped)));
    }
    let lagging = pod.is_some_and(|pod| {
        matches!(pod.phase, TaskPodPhase::Pending | TaskPodPhase::Running)
            && !pod.deleting
            && pod.disrupted.is_none()
    });
    if lagging {
        turn.wake_after(SignedDuration::from_secs(1));
        return TaskState::Running(format!(
            "{} has failed ({message}); its pod is being read",
            task.name
        ));
    }
    let reported = pod.is_some_and(|pod| pod.exit_code.is_some() && !pod.deleting && pod.disrupted.is_none());
    if reported {
        return TaskState::Failed(record(turn, task, pod, TaskOutcome::Failed, Some(reason)));
    }
    let never_started = pod.is_some_and(|pod| pod.started_at.is_none() && pod.exit_code.is_none());
    if never_started {
        return TaskState::Failed(record(turn, task, pod, TaskOutcome::Failed, Some("NeverStarted")));
    }
    TaskState::Unknown(record(turn, task, pod, TaskOutcome::Unknown, Some("Interrupted")))
}

/// Whether anything of a task was ever seen to run.
pub(super) fn started(task: &TaskStatus, pods: &[&TaskPodView]) -> bool {
    task.started_at.is_some() || pods.iter().any(|pod| pod.started_at.is_some())
}

/// A person has suspended the Job, and nothing of it runs. Resumed, it would run a second time.
pub(super) fn suspended(turn: &mut Turn, task: &TaskStatus, pods: &[&TaskPodView]) -> TaskState {
    let pod = pods.first().copied();
    TaskState::Unknown(record(
        turn,
        task,
        pod,
        TaskOutcome::Unknown,
        Some("JobSuspended"),
    ))
}

/// The Job is gone and nothing of it runs.
pub(super) fn without_job(turn: &mut Turn, task: &TaskStatus, pods: &[&TaskPodView]) -> TaskState {
    let pod = pods.first().copied();
    let started = started(task, pods);
    match task.reason.as_deref() {
        Some("StartDeadlineExceeded") if !started => TaskState::Failed(record(
            turn,
            task,
            pod,
            TaskOutcome::Failed,
            Some("StartDeadlineExceeded"),
        )),
        Some("Timeout") => TaskState::Failed(record(turn, task, pod, TaskOutcome::Failed, Some("Timeout"))),
        Some(_) | None => {
            TaskState::Unknown(record(turn, task, pod, TaskOutcome::Unknown, Some("JobDeleted")))
        }
    }
}

/// A task that was stopped for the end of its revision. What a migration did that started in that very moment
/// cannot be known.
pub(super) fn stopped(turn: &mut Turn, task: &TaskStatus, pods: &[&TaskPodView]) {
    let started = started(task, pods);
    let (outcome, reason) = if task.step == StepName::Expand && started {
        (TaskOutcome::Unknown, "Interrupted")
    } else {
        (TaskOutcome::Failed, "Stopped")
    };
    record(turn, task, pods.first().copied(), outcome, Some(reason));
}
