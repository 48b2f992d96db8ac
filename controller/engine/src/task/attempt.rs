//! One attempt of a task: its Job is made, started and followed until it has ended.

use jiff::SignedDuration;
use slipway_crds::names;
use slipway_crds::v1alpha1::OnTimeout;
use slipway_crds::v1alpha1::status::{TaskReason, TaskStatus};

use super::{TaskRun, TaskState, outcome, overlapping, stop, stopped};
use crate::build::job::{JobInput, job};
use crate::decision::{Call, Kind, Purpose, ReadAgain};
use crate::draft::{Draft, StepInput};
use crate::observed::{JobState, JobView, TaskPodView};
use crate::progress::since;
use crate::question::Question;
use crate::sentence::{ask, human};

/// Looks at an attempt whose end was not seen.
pub fn observe(
    input: &StepInput<'_>,
    draft: &mut Draft,
    order: &TaskRun<'_>,
    task: &TaskStatus,
) -> TaskState {
    let pods = pods_of(input, task);
    let found = input.observed.jobs.get(&task.job);
    match found.filter(|found| !stray(input, found)) {
        Some(found) if foreign(input, found, task) => TaskState::Foreign(format!(
            "A Job named {} exists that this revision did not make. Look at it, delete it if nobody needs it, then go on: {}",
            task.job,
            ask(input, names::RETRY)
        )),
        Some(found) => {
            if task.job_uid.is_none() {
                let uid = found.uid.clone();
                if let Some(task) = draft.progress.task_mut(&task.job) {
                    task.job_uid = Some(uid);
                }
            }
            follow(input, draft, order, task, found, &pods)
        }
        None if task.job_uid.is_none() && pods.is_empty() => {
            create(input, draft, order, task);
            TaskState::Running(format!("Waiting for Job {} to be created.", task.job))
        }
        None if at_work(&pods) => TaskState::Running(format!(
            "Job {} was deleted. Waiting for its pod to end.",
            task.job
        )),
        None => outcome::without_job(input, draft, task, &pods),
    }
}

pub(super) fn pods_of<'a>(input: &StepInput<'a>, task: &TaskStatus) -> Vec<&'a TaskPodView> {
    let pods = input.observed.task_pods.iter();
    pods.filter(|pod| pod.job == task.job).collect()
}

pub(super) fn at_work(pods: &[&TaskPodView]) -> bool {
    pods.iter().any(|pod| pod.at_work())
}

/// Whether nothing of a Job runs, and nothing will before somebody lets it.
pub(super) fn idle(job: &JobView, pods: &[&TaskPodView]) -> bool {
    job.suspended && !at_work(pods)
}

pub(super) fn foreign(input: &StepInput<'_>, found: &JobView, task: &TaskStatus) -> bool {
    found.release_uid.as_ref() != Some(&input.intent.meta.uid)
        || found.input_digest.as_ref() != Some(&task.input_digest)
        || task.job_uid.as_ref().is_some_and(|uid| *uid != found.uid)
}

/// A suspended Job of ours that no attempt waits for: its creation came late, or a person has stopped it.
pub(super) fn stray(input: &StepInput<'_>, job: &JobView) -> bool {
    let waits =
        |task: &TaskStatus| task.job == job.name && task.job_uid.as_ref().is_none_or(|uid| *uid == job.uid);
    job.suspended
        && job.state == JobState::Active
        && job.release_uid.as_ref() == Some(&input.intent.meta.uid)
        && !input.committed.open_tasks().any(waits)
}

fn create(input: &StepInput<'_>, draft: &mut Draft, order: &TaskRun<'_>, task: &TaskStatus) {
    let Some(revision) = input.committed.revision() else {
        return;
    };
    let body = job(&JobInput {
        meta: &input.intent.meta,
        number: revision.number,
        revision: &revision.name,
        image: &revision.image,
        previous_image: revision.previous_image.as_deref(),
        plan: order.plan,
        settings: order.settings,
        task,
        template: &order.template,
        container: &order.container,
        generation: order
            .generation
            .as_ref()
            .map(|(name, token)| (name.as_str(), token.as_str())),
    });
    // A Job is made suspended: nothing has to be read again before.
    draft.call(
        Purpose::CreateJob,
        Call::Create {
            kind: Kind::Job,
            name: task.job.to_string(),
            body,
        },
    );
}

fn follow(
    input: &StepInput<'_>,
    draft: &mut Draft,
    order: &TaskRun<'_>,
    task: &TaskStatus,
    found: &JobView,
    pods: &[&TaskPodView],
) -> TaskState {
    match &found.state {
        JobState::Active => active(input, draft, order, task, found, pods),
        JobState::Complete => outcome::complete(input, draft, task, pods),
        JobState::Failed { message, .. } => outcome::failed(input, draft, task, pods, message),
    }
}

fn active(
    input: &StepInput<'_>,
    draft: &mut Draft,
    order: &TaskRun<'_>,
    task: &TaskStatus,
    found: &JobView,
    pods: &[&TaskPodView],
) -> TaskState {
    let stops = stopped(task);
    if stops && let Some(wait) = stop::end_job(draft, found, pods) {
        return TaskState::Running(format!("Waiting for {wait}."));
    }
    let (plan, settings) = (order.plan, order.settings);
    if idle(found, pods) && !found.never_started && !stops {
        return outcome::suspended(input, draft, task, pods);
    }
    if let Some(ended) = outcome::held_open(input, draft, task, pods) {
        return ended;
    }
    if found.never_started && task.job_uid.is_some() && task.reason.is_none() {
        if let Some(other) = overlapping(input.observed, plan.step) {
            return TaskState::Running(format!(
                "Waiting for {other} of an earlier attempt to end before task {} starts.",
                plan.name
            ));
        }
        start(draft, found);
    }
    let started = task
        .started_at
        .or_else(|| pods.iter().find_map(|pod| pod.started_at));
    let Some(started) = started else {
        return starting(input, draft, order, task, found, pods);
    };
    if task.started_at.is_none()
        && let Some(task) = draft.progress.task_mut(&task.job)
    {
        task.started_at = Some(started);
    }
    if draft.elapsed(started, settings.timeout) && task.reason.is_none() {
        late(draft, order, task);
    }
    TaskState::Running(format!(
        "Task {} (attempt {}) has been running for {}.",
        plan.name,
        task.attempt,
        human(since(input.now, started))
    ))
}

/// The Job controller makes the pod of a Job that was started within a moment; then it is asked what keeps it.
const POD_EXPECTED: SignedDuration = SignedDuration::from_secs(2);

/// A Job that may run and that no pod was ever seen or counted of.
pub(super) fn podless(job: &JobView, pods: &[&TaskPodView]) -> bool {
    job.state == JobState::Active && pods.is_empty() && job.pods == 0 && !job.never_started
}

/// Why a Job that was started has no pod: only its events tell.
pub(crate) fn asks(input: &StepInput<'_>) -> Vec<Question> {
    let open = input.committed.open_tasks();
    let waits = open.filter(|task| since(input.now, task.intent_at) >= POD_EXPECTED);
    let jobs = waits.filter_map(|task| {
        let job = input.observed.jobs.get(&task.job)?;
        let waits = !job.suspended && podless(job, &pods_of(input, task));
        waits.then(|| Question::JobTrouble(job.uid.clone()))
    });
    jobs.collect()
}

/// Its container does not run yet. What its pod says is kept: in the end it is the reason.
fn starting(
    input: &StepInput<'_>,
    draft: &mut Draft,
    order: &TaskRun<'_>,
    task: &TaskStatus,
    found: &JobView,
    pods: &[&TaskPodView],
) -> TaskState {
    let deadline = order.settings.start_deadline;
    if draft.elapsed(task.intent_at, deadline) && task.reason.is_none() {
        note(draft, task, TaskReason::StartDeadlineExceeded);
    }
    if podless(found, pods) {
        draft.wake_after(POD_EXPECTED);
    }
    let of_pod = pods.iter().find_map(|pod| pod.trouble.clone());
    let of_job = input.observed.answers.job_trouble(&found.uid);
    let trouble = of_pod.or_else(|| of_job.map(str::to_owned));
    if let Some(trouble) = &trouble
        && let Some(task) = draft.progress.task_mut(&task.job)
    {
        task.trouble = Some(crate::status::cut(trouble, 512));
    }
    let (name, waited) = (&order.plan.name, since(input.now, task.intent_at));
    TaskState::Running(match trouble {
        Some(trouble) => format!(
            "Task {name} has not started after {}: {trouble}. It is given up in {}.",
            human(waited),
            human(deadline - waited)
        ),
        None => format!("Waiting for task {name} to start: {} so far.", human(waited)),
    })
}

fn late(draft: &mut Draft, order: &TaskRun<'_>, task: &TaskStatus) {
    match order.settings.on_timeout {
        OnTimeout::Warn => {
            note(draft, task, TaskReason::Slow);
            let message = format!(
                "Task {} has been running for longer than {}. It goes on: a running task is not stopped by a clock unless its onTimeout is Fail.",
                order.plan.name,
                human(order.settings.timeout)
            );
            draft.warn("TaskSlow", outcome::about(task), message);
        }
        OnTimeout::Fail => {
            note(draft, task, TaskReason::Timeout);
            if let Some(task) = draft.progress.task_mut(&task.job) {
                let limit = human(order.settings.timeout);
                task.trouble = Some(format!("it ran longer than its timeout of {limit}"));
            }
        }
    }
}

fn start(draft: &mut Draft, job: &JobView) {
    let body = serde_json::json!({
        "metadata": { "resourceVersion": job.resource_version },
        "spec": { "suspend": false },
    });
    draft.read_again(ReadAgain::TaskPods);
    draft.patch(Kind::Job, job.name.as_str(), &job.uid, Purpose::Start, body);
}

/// Takes note of why a task is being stopped.
pub(crate) fn note(draft: &mut Draft, task: &TaskStatus, reason: TaskReason) {
    if let Some(task) = draft.progress.task_mut(&task.job) {
        task.reason = Some(reason);
    }
}
