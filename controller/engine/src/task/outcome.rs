//! How an attempt ended. Success is narrower than Kubernetes says: a pod that was deleted or evicted and
//! exits 0 on SIGTERM makes its Job Complete.

use jiff::SignedDuration;
use slipway_crds::v1alpha1::status::{StepName, TaskOutcome, TaskReason, TaskStatus};

use super::{TaskState, words};
use crate::decision::ReadAgain;
use crate::draft::{Draft, StepInput};
use crate::intent::Meta;
use crate::observed::{ContainerEnd, TaskPodPhase, TaskPodView};
use crate::progress::since;
use crate::sentence::human;

/// The pod of a finished Job is seen by another watch, a moment later.
const POD_LAG: SignedDuration = SignedDuration::from_secs(30);

fn record(
    input: &StepInput<'_>,
    draft: &mut Draft,
    task: &TaskStatus,
    pod: Option<&TaskPodView>,
    outcome: TaskOutcome,
    reason: Option<TaskReason>,
) -> TaskStatus {
    let mut ended = draft
        .progress
        .task_mut(&task.job)
        .cloned()
        .unwrap_or_else(|| task.clone());
    let timed_out = ended.reason == Some(TaskReason::Timeout);
    ended.outcome = Some(outcome);
    ended.reason = reason;
    let now = draft.now();
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
    if ended.started_at.is_none() {
        ended.trouble = pod.and_then(|pod| pod.trouble.clone()).or(ended.trouble);
    } else if !timed_out {
        // What kept it from starting is over.
        ended.trouble = None;
    }
    if let Some(stored) = draft.progress.task_mut(&task.job) {
        *stored = ended.clone();
    }
    let took = human(since(now, ended.started_at.unwrap_or(ended.intent_at)));
    let action = about(task);
    match outcome {
        TaskOutcome::Succeeded => {
            let beside = pod.filter(|pod| pod.held_open()).map(beside).unwrap_or_default();
            draft.tell(
                "TaskSucceeded",
                action,
                format!("{} in {took}{beside}", task.name),
            );
        }
        TaskOutcome::Failed if reason == Some(TaskReason::Stopped) => {
            draft.tell("TaskStopped", action, format!("{} after {took}", task.name));
        }
        // Whoever runs the task tells of it, with what follows from it.
        TaskOutcome::Failed => {}
        TaskOutcome::Unknown => {
            // Only a person can take it back: a watch that lags is no reason for it.
            draft.read_again(ReadAgain::TaskPods);
            draft.read_again(ReadAgain::Job(task.job.clone()));
            draft.warn("TaskUnknown", action, doubt(&input.intent.meta, &ended));
        }
    }
    ended
}

/// What keeps the pod of a task that has ended, and the way to be rid of it.
fn beside(pod: &TaskPodView) -> String {
    format!(
        ". Container {} of its pod has not ended, which keeps its Job open: Slipway deletes the Job. Make it a native sidecar (an init container with restartPolicy Always), or keep it out of task pods by spec.tasks.annotations or spec.tasks.labels",
        pod.beside.join(" and ")
    )
}

/// What an event of a task is about: its attempt.
pub(super) fn about(task: &TaskStatus) -> String {
    format!("{}-{}", task.name, task.attempt)
}

/// What a failed attempt says, in the task's own words.
pub(crate) fn failure(meta: &Meta, task: &TaskStatus) -> String {
    let ended = task.finished_at.unwrap_or(task.intent_at);
    let took = human(since(ended, task.started_at.unwrap_or(task.intent_at)));
    let how = match (task.exit_code, task.reason) {
        (_, Some(TaskReason::StartDeadlineExceeded)) => {
            format!("did not start within {took}")
        }
        (_, Some(TaskReason::Timeout)) => format!("was stopped after {took}: it ran longer than its timeout"),
        (_, Some(TaskReason::Stalled)) => {
            format!("was stopped after {took}: the document counts stood still")
        }
        (_, Some(TaskReason::Stopped)) => format!("was stopped after {took}"),
        (Some(code), _) => format!("exited {code} after {took}"),
        (None, Some(TaskReason::NeverStarted)) => "never started".to_owned(),
        (None, Some(_) | None) => "ended without an exit code".to_owned(),
    };
    // What kept it from starting says more than what the kubelet writes of a container that never was.
    let words = match (&task.trouble, &task.output) {
        (Some(trouble), _) => format!(": {trouble}"),
        (None, Some(output)) => format!(": \"{}\"", words::in_a_sentence(output)),
        (None, None) => String::new(),
    };
    let all = match task.started_at {
        Some(_) => format!(" All of its output: {}.", logs(meta, task)),
        None => String::new(),
    };
    format!("Task {} (attempt {}) {how}{words}.{all}", task.name, task.attempt)
}

/// Tells of a failed attempt that does not end its revision.
pub(crate) fn tell_failure(input: &StepInput<'_>, draft: &mut Draft, task: &TaskStatus) {
    draft.warn("TaskFailed", about(task), failure(&input.intent.meta, task));
}

/// The command that shows all that a task said.
fn logs(meta: &Meta, task: &TaskStatus) -> String {
    format!("kubectl logs job/{} -n {}", task.job, meta.namespace)
}

/// What is known of an attempt whose outcome is not.
pub(crate) fn doubt(meta: &Meta, task: &TaskStatus) -> String {
    let reason = task.reason.map_or("Unknown", TaskReason::word);
    let how = match (task.reason, task.exit_code) {
        (Some(TaskReason::OOMKilled), _) => {
            ": it needed more memory than it may have; resources sets what it may".to_owned()
        }
        (Some(TaskReason::Killed), Some(code)) => format!(": signal {} ended it", code - 128),
        (Some(_) | None, _) => match &task.trouble {
            Some(trouble) => format!(": {trouble}"),
            None => String::new(),
        },
    };
    let left = match task.started_at {
        Some(_) => format!(
            " What it began may still be at work: in PostgreSQL, a session with application_name {}.",
            task.job
        ),
        None => String::new(),
    };
    format!(
        "Task {} (attempt {}) was disturbed ({reason}{how}). Whether it is complete cannot be known from here.{left} Its output, as far as it is there: {}.",
        task.name,
        task.attempt,
        logs(meta, task)
    )
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
    TaskState::Running(format!(
        "Task {} has ended. Waiting for its pod to be read.",
        task.name
    ))
}

/// A Job reads Complete: believed only if its one pod ended undisturbed.
pub(super) fn complete(
    input: &StepInput<'_>,
    draft: &mut Draft,
    task: &TaskStatus,
    pods: &[&TaskPodView],
) -> TaskState {
    match pods {
        [pod] if pod.phase == TaskPodPhase::Succeeded && pod.undisturbed() => {
            succeeded(input, draft, task, pod)
        }
        [pod] if matches!(pod.phase, TaskPodPhase::Pending | TaskPodPhase::Running) && !pod.deleting => {
            draft.wake_after(SignedDuration::from_secs(1));
            being_read(task)
        }
        [] => {
            let Some(ended) = task.finished_at else {
                let now = draft.now();
                if let Some(task) = draft.progress.task_mut(&task.job) {
                    task.finished_at = Some(now);
                }
                return being_read(task);
            };
            if draft.elapsed(ended, POD_LAG) {
                return unknown(input, draft, task, None, TaskReason::PodLost);
            }
            being_read(task)
        }
        [pod, ..] => unknown(input, draft, task, Some(pod), TaskReason::Interrupted),
    }
}

fn succeeded(input: &StepInput<'_>, draft: &mut Draft, task: &TaskStatus, pod: &TaskPodView) -> TaskState {
    TaskState::Succeeded(record(
        input,
        draft,
        task,
        Some(pod),
        TaskOutcome::Succeeded,
        None,
    ))
}

fn unknown(
    input: &StepInput<'_>,
    draft: &mut Draft,
    task: &TaskStatus,
    pod: Option<&TaskPodView>,
    reason: TaskReason,
) -> TaskState {
    TaskState::Unknown(record(
        input,
        draft,
        task,
        pod,
        TaskOutcome::Unknown,
        Some(reason),
    ))
}

fn ended_badly(
    input: &StepInput<'_>,
    draft: &mut Draft,
    task: &TaskStatus,
    pod: Option<&TaskPodView>,
    reason: TaskReason,
) -> TaskState {
    TaskState::Failed(record(input, draft, task, pod, TaskOutcome::Failed, Some(reason)))
}

/// A Job reads Failed.
pub(super) fn failed(
    input: &StepInput<'_>,
    draft: &mut Draft,
    task: &TaskStatus,
    pods: &[&TaskPodView],
    message: &str,
) -> TaskState {
    let pod = pods.first().copied();
    if let Some(stopped) = task.reason.filter(|reason| reason.asked_for()) {
        return stopped_for(input, draft, task, pods, stopped);
    }
    let lagging = pod.is_some_and(|pod| {
        matches!(pod.phase, TaskPodPhase::Pending | TaskPodPhase::Running) && pod.undisturbed()
    });
    if lagging {
        draft.wake_after(SignedDuration::from_secs(1));
        return TaskState::Running(format!(
            "Task {} has failed ({message}). Waiting for its pod to be read.",
            task.name
        ));
    }
    ended(input, draft, task, pods)
}

/// The task's own container has ended, and another one keeps its pod and its Job open: what the Job says is not
/// waited for.
pub(super) fn held_open(
    input: &StepInput<'_>,
    draft: &mut Draft,
    task: &TaskStatus,
    pods: &[&TaskPodView],
) -> Option<TaskState> {
    let held = matches!(pods, [pod] if pod.held_open());
    held.then(|| ended(input, draft, task, pods))
}

/// What the end of the task's own container says. An exit code counts where the program chose it and nobody had
/// asked it to end: not when a signal ended it, or the want of memory.
fn ended(input: &StepInput<'_>, draft: &mut Draft, task: &TaskStatus, pods: &[&TaskPodView]) -> TaskState {
    let Some(pod) = pods.first().copied() else {
        return unknown(input, draft, task, None, TaskReason::Interrupted);
    };
    match (pod.end, pod.exit_code) {
        (Some(ContainerEnd::Exited | ContainerEnd::OutOfMemory), Some(0)) if pod.undisturbed() => {
            succeeded(input, draft, task, pod)
        }
        (Some(ContainerEnd::OutOfMemory), Some(_)) if pod.undisturbed() => {
            unknown(input, draft, task, Some(pod), TaskReason::OOMKilled)
        }
        (Some(ContainerEnd::Exited), Some(_)) if pod.undisturbed() => match pod.signal() {
            Some(_) => unknown(input, draft, task, Some(pod), TaskReason::Killed),
            None => ended_badly(input, draft, task, Some(pod), TaskReason::Exited),
        },
        (Some(ContainerEnd::NotStarted) | None, _) if never_began(task, pod) => {
            ended_badly(input, draft, task, Some(pod), TaskReason::NeverStarted)
        }
        (Some(_) | None, _) => unknown(input, draft, task, Some(pod), TaskReason::Interrupted),
    }
}

/// Whether it is certain that nothing of a task ran. A node that was lost, or made room, has not told what it did.
fn never_began(task: &TaskStatus, pod: &TaskPodView) -> bool {
    let told = pod.undisturbed() || !pod.assigned || pod.end == Some(ContainerEnd::NotStarted);
    told && !started(task, &[pod])
}

/// Slipway itself stopped it. What a migration did until then cannot be known, whoever stopped it.
fn stopped_for(
    input: &StepInput<'_>,
    draft: &mut Draft,
    task: &TaskStatus,
    pods: &[&TaskPodView],
    reason: TaskReason,
) -> TaskState {
    let pod = pods.first().copied();
    if task.step == StepName::Expand && started(task, pods) {
        return unknown(input, draft, task, pod, TaskReason::Interrupted);
    }
    ended_badly(input, draft, task, pod, reason)
}

/// Whether anything of a task was ever seen to run.
pub(super) fn started(task: &TaskStatus, pods: &[&TaskPodView]) -> bool {
    task.started_at.is_some() || pods.iter().any(|pod| pod.started_at.is_some())
}

/// A person has suspended the Job, and nothing of it runs. Resumed, it would run a second time.
pub(super) fn suspended(
    input: &StepInput<'_>,
    draft: &mut Draft,
    task: &TaskStatus,
    pods: &[&TaskPodView],
) -> TaskState {
    let pod = pods.first().copied();
    unknown(input, draft, task, pod, TaskReason::JobSuspended)
}

/// The Job is gone and nothing of it runs.
pub(super) fn without_job(
    input: &StepInput<'_>,
    draft: &mut Draft,
    task: &TaskStatus,
    pods: &[&TaskPodView],
) -> TaskState {
    let pod = pods.first().copied();
    match task.reason {
        Some(reason @ TaskReason::StartDeadlineExceeded) if !started(task, pods) => {
            ended_badly(input, draft, task, pod, reason)
        }
        Some(reason @ (TaskReason::Timeout | TaskReason::Stalled)) => {
            stopped_for(input, draft, task, pods, reason)
        }
        Some(_) | None => unknown(input, draft, task, pod, TaskReason::JobDeleted),
    }
}

/// A task that was stopped for the end of its revision. What a migration did that started in that very moment
/// cannot be known.
pub(super) fn stopped(input: &StepInput<'_>, draft: &mut Draft, task: &TaskStatus, pods: &[&TaskPodView]) {
    drop(stopped_for(input, draft, task, pods, TaskReason::Stopped));
}
