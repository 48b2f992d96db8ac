//! The end of tasks: what may be stopped, what is waited for, and when a pod is let go.

use slipway_crds::v1alpha1::status::{StepName, TaskReason, TaskStatus};

use super::attempt::{at_work, foreign, idle, note, podless, pods_of, stray};
use super::{TaskState, outcome};
use crate::decision::{Kind, Purpose};
use crate::draft::{Draft, StepInput};
use crate::observed::{JobState, JobView, TaskPodView};

/// Whether nothing of a task ever ran, and its pod says why, or the Job controller that makes none.
pub(crate) fn cannot_start(input: &StepInput<'_>, task: &TaskStatus) -> bool {
    let pods = pods_of(input, task);
    let job = input.observed.jobs.get(&task.job);
    let no_pod = job.is_some_and(|job| podless(job, &pods)) && task.trouble.is_some();
    let stuck = no_pod || pods.iter().any(|pod| pod.trouble.is_some() || pod.deleting);
    !outcome::started(task, &pods) && stuck
}

/// Ends a Job. One that has no pod is suspended first, and deleted when the Job controller has taken notice: a pod
/// that it is about to make would otherwise run without its Job. Says what that waits for.
pub(super) fn end_job(draft: &mut Draft, job: &JobView, pods: &[&TaskPodView]) -> Option<String> {
    let seen = || Some(format!("the Job controller to take notice of Job {}", job.name));
    if job.deleting {
        return None;
    }
    if podless(job, pods) && job.suspension_seen != Some(job.suspended) {
        return seen();
    }
    if podless(job, pods) && !job.suspended {
        let body = serde_json::json!({
            "metadata": { "resourceVersion": job.resource_version },
            "spec": { "suspend": true },
        });
        draft.patch(Kind::Job, job.name.as_str(), &job.uid, Purpose::Suspend, body);
        return seen();
    }
    draft.delete_job(job);
    None
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
    if let Some(ended) = outcome::held_open(input, draft, task, &pods) {
        if let TaskState::Failed(ended) = ended {
            outcome::tell_failure(input, draft, &ended);
        }
        return None;
    }
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
            let wait = if task.reason == Some(TaskReason::Stopped) {
                end_job(draft, job, &pods)
            } else {
                note(draft, task, TaskReason::Stopped);
                None
            };
            wait.or_else(|| Some(format!("task {} to be stopped", task.name)))
        }
    }
}

/// Deletes suspended Jobs that no attempt waits for, and those that another container keeps open when the end of their
/// task is committed.
pub fn delete_strays(input: &StepInput<'_>, draft: &mut Draft) {
    let jobs = input.observed.jobs.values();
    let over = |job: &&JobView| stray(input, job) || outlived(input, job);
    for job in jobs.filter(|job| !job.deleting).filter(over) {
        draft.delete_job(job);
    }
}

fn outlived(input: &StepInput<'_>, job: &JobView) -> bool {
    let ended = |task: &TaskStatus| task.outcome.is_some() && task.job_uid.as_ref() == Some(&job.uid);
    let mut pods = input.observed.task_pods.iter();
    job.state == JobState::Active
        && input.committed.status.tasks.iter().any(ended)
        && pods.any(|pod| pod.job == job.name && pod.held_open())
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
