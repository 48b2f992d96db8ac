//! The end of tasks: what may be stopped, what is waited for, and when a pod is let go.

use slipway_crds::v1alpha1::status::{StepName, TaskStatus};

use super::{at_work, foreign, idle, note, outcome, pods_of, stray};
use crate::decision::{Kind, Purpose};
use crate::observed::{JobState, TaskPodView};
use crate::turn::{StepInput, Turn};

/// Whether nothing of a task ever ran, and its pod says why.
pub(crate) fn cannot_start(input: &StepInput<'_>, task: &TaskStatus) -> bool {
    let pods = pods_of(input, task);
    !outcome::started(task, &pods) && pods.iter().any(|pod| pod.trouble.is_some() || pod.deleting)
}

/// Asks for the end of tasks that are at work and may be stopped; migrations that have started are waited for.
/// Says what is still at work.
pub fn stop_all(input: &StepInput<'_>, turn: &mut Turn) -> Vec<String> {
    let tasks = input.committed.open_tasks();
    tasks.filter_map(|task| stop_one(input, turn, task)).collect()
}

fn stop_one(input: &StepInput<'_>, turn: &mut Turn, task: &TaskStatus) -> Option<String> {
    let pods = pods_of(input, task);
    let jobs = &input.observed.jobs;
    let Some(job) = jobs.get(&task.job).filter(|job| !foreign(input, job, task)) else {
        if at_work(&pods) {
            return Some(format!("pod of {} to end", task.name));
        }
        outcome::stopped(turn, task, &pods);
        return None;
    };
    match &job.state {
        JobState::Complete => {
            outcome::complete(turn, task, &pods);
            None
        }
        JobState::Failed { reason, message } => {
            outcome::failed(turn, task, &pods, reason, message);
            None
        }
        JobState::Active
            if task.step == StepName::Expand && !idle(job, &pods) && !cannot_start(input, task) =>
        {
            Some(format!("the migration {} to end; it is not killed", task.job))
        }
        JobState::Active => {
            if task.reason.as_deref() != Some("Stopped") {
                note(turn, task, "Stopped");
            } else if !job.deleting {
                turn.delete_job(job);
            }
            Some(format!("task {} to stop", task.name))
        }
    }
}

/// Deletes suspended Jobs that no attempt waits for.
pub fn delete_strays(input: &StepInput<'_>, turn: &mut Turn) {
    let jobs = input.observed.jobs.values();
    for job in jobs.filter(|job| !job.deleting && stray(input, job)) {
        turn.delete_job(job);
    }
}

/// Takes our finalizer off the pods of tasks whose outcome is committed.
pub fn free_pods(input: &StepInput<'_>, turn: &mut Turn) {
    let tasks = &input.committed.status.tasks;
    for pod in input.observed.task_pods.iter().filter(|pod| pod.finalizer) {
        let task = tasks.iter().find(|task| task.job == pod.job);
        let recorded = task.is_none_or(|task| task.outcome.is_some());
        if (recorded && !pod.at_work()) || pod.never_ran() {
            free(pod, turn);
        }
    }
}

fn free(pod: &TaskPodView, turn: &mut Turn) {
    let others: Vec<&String> = pod
        .finalizers
        .iter()
        .filter(|name| *name != slipway_crds::names::TASK_POD_FINALIZER)
        .collect();
    let body = serde_json::json!({
        "metadata": { "resourceVersion": pod.resource_version, "uid": pod.uid, "finalizers": others },
    });
    turn.patch(Kind::Pod, &pod.name, &pod.uid, Purpose::FreePod, body);
}
