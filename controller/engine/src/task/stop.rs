//! The end of tasks: what may be stopped, what is waited for, and when a pod is let go.

use slipway_crds::v1alpha1::status::{StepName, TaskReason, TaskStatus};

use super::attempt::{at_work, foreign, idle, note, pods_of, stray};
use super::{TaskState, outcome};
use crate::decision::{Kind, Purpose};
use crate::draft::{Draft, StepInput};
use crate::observed::{JobState, TaskPodView};

/// Whether nothing of a task ever ran, and its pod says why.
pub(crate) fn cannot_start(input: &StepInput<'_>, task: &TaskStatus) -> bool {
    let pods = pods_of(input, task);
    !outcome::started(task, &pods) && pods.iter().any(|pod| pod.trouble.is_some() || pod.deleting)
}

/// Asks for the end of tasks that are at work and may be stopped; migrations that have started are waited for.
/// Says what is still at work.
pub fn stop_all(input: &StepInput<'_>, draft: &mut Draft) -> Vec<String> {
    let tasks = input.committed.open_tasks();
    tasks.filter_map(|task| stop_one(input, draft, task)).collect()
}

fn stop_one(input: &StepInput<'_>, draft: &mut Draft, task: &TaskStatus) -> Option<String> {
    let pods = pods_of(input, task);
    let jobs = &input.observed.jobs;
    let Some(job) = jobs.get(&task.job).filter(|job| !foreign(input, job, task)) else {
        if at_work(&pods) {
            return Some(format!("the pod of task {} to end", task.name));
        }
        outcome::stopped(input, draft, task, &pods);
        return None;
    };
    match &job.state {
        JobState::Complete => {
            outcome::complete(input, draft, task, &pods);
            None
        }
        JobState::Failed { message, .. } => {
            if let TaskState::Failed(ended) = outcome::failed(input, draft, task, &pods, message) {
                outcome::tell_failure(input, draft, &ended);
            }
            None
        }
        JobState::Active
            if task.step == StepName::Expand && !idle(job, &pods) && !cannot_start(input, task) =>
        {
            Some(format!("migration {} to end, which is not killed", task.job))
        }
        JobState::Active => {
            if task.reason != Some(TaskReason::Stopped) {
                note(draft, task, TaskReason::Stopped);
            } else if !job.deleting {
                draft.delete_job(job);
            }
            Some(format!("task {} to be stopped", task.name))
        }
    }
}

/// Deletes suspended Jobs that no attempt waits for.
pub fn delete_strays(input: &StepInput<'_>, draft: &mut Draft) {
    let jobs = input.observed.jobs.values();
    for job in jobs.filter(|job| !job.deleting && stray(input, job)) {
        draft.delete_job(job);
    }
}

/// Takes our finalizer off the pods of tasks whose outcome is committed.
pub fn free_pods(input: &StepInput<'_>, draft: &mut Draft) {
    let tasks = &input.committed.status.tasks;
    for pod in input.observed.task_pods.iter().filter(|pod| pod.finalizer) {
        let task = tasks.iter().find(|task| task.job == pod.job);
        let recorded = task.is_none_or(|task| task.outcome.is_some());
        if (recorded && !pod.at_work()) || pod.never_ran() {
            free(pod, draft);
        }
    }
}

fn free(pod: &TaskPodView, draft: &mut Draft) {
    let others: Vec<&String> = pod
        .finalizers
        .iter()
        .filter(|name| *name != slipway_crds::names::TASK_POD_FINALIZER)
        .collect();
    let body = serde_json::json!({
        "metadata": { "resourceVersion": pod.resource_version, "uid": pod.uid, "finalizers": others },
    });
    draft.patch(Kind::Pod, &pod.name, &pod.uid, Purpose::FreePod, body);
}
