//! Tasks, at most once: intent committed, created suspended under a name that cannot be used twice, UID recorded,
//! started on the condition that nobody has done so, outcome recorded before any clean-up.

mod once;
mod outcome;
mod secrets;
mod stop;
mod words;

pub(crate) use once::{failed_before_boot, once, task_run, unknown};
pub(crate) use outcome::{failure, tell_failure};
pub(crate) use stop::cannot_start;
pub use stop::{delete_strays, free_pods, stop_all};

use jiff::{SignedDuration, Timestamp};
use slipway_crds::names;
use slipway_crds::v1alpha1::OnTimeout;
use slipway_crds::v1alpha1::status::{StepName, TaskOutcome, TaskReason, TaskStatus};

use crate::build::job::{JobInput, job};
use crate::build::job_name;
use crate::decision::{Call, Kind, Purpose, ReadAgain};
use crate::draft::{Draft, StepInput};
use crate::intent::{TaskPlan, TaskSettings};
use crate::observed::{JobState, JobView, Observed, TaskPodView};
use crate::progress::since;
use crate::sentence::{ask, human};
use crate::template::{Template, canonical, digest};

/// A task to be run.
#[derive(Clone, Debug)]
pub struct TaskRun<'a> {
    /// What runs.
    pub plan: &'a TaskPlan,
    /// How it is run.
    pub settings: &'a TaskSettings,
    /// The workload's new pod template.
    pub template: Template,
    /// The container of it that the task runs in.
    pub container: String,
    /// The generation variable and its value.
    pub generation: Option<(String, String)>,
    /// `RELEASE_SINCE` of a new attempt.
    pub since: Option<Timestamp>,
}

/// How a task stands.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum TaskState {
    /// At work, or not begun yet: why.
    Running(String),
    /// It ended well.
    Succeeded(TaskStatus),
    /// It reported a failure, or never started.
    Failed(TaskStatus),
    /// What it did cannot be known.
    Unknown(TaskStatus),
    /// An object of another owner has its Job's name.
    Foreign(String),
}

/// Whether its end was asked for by Slipway itself.
fn stopped(task: &TaskStatus) -> bool {
    task.reason.is_some_and(TaskReason::asked_for)
}

/// Digest of what a task is given, without what differs from attempt to attempt. The generation is part of it
/// where the task writes that; which one happens to be live makes no migration another one.
pub fn input_digest(image: &str, plan: &TaskPlan, generation: Option<&(String, String)>) -> String {
    let generation = generation.filter(|_| plan.step == StepName::Reindex);
    let env = serde_json::to_value(&plan.env).unwrap_or_default();
    let commands = serde_json::json!([plan.command, plan.args, plan.postgres_options, generation]);
    digest(&[image, &canonical(&commands), &canonical(&env)])
}

/// Runs a task to its end, attempt by attempt.
pub fn run(input: &StepInput<'_>, draft: &mut Draft, order: &TaskRun<'_>) -> TaskState {
    let TaskRun { plan, settings, .. } = order;
    let Some(task) = input.committed.attempt(plan.step, &plan.name) else {
        return begin(input, draft, order, 1);
    };
    let next = task.attempt + 1;
    match task.outcome {
        None => match observe(input, draft, order, task) {
            TaskState::Failed(ended) if may_retry(input, order, &ended) => {
                tell_failure(input, draft, &ended);
                another(plan)
            }
            TaskState::Unknown(_) if settings.idempotent => another(plan),
            state @ (TaskState::Running(_)
            | TaskState::Succeeded(_)
            | TaskState::Failed(_)
            | TaskState::Unknown(_)
            | TaskState::Foreign(_)) => state,
        },
        Some(_) if task.retried => begin(input, draft, order, next),
        Some(TaskOutcome::Succeeded) => TaskState::Succeeded(task.clone()),
        Some(TaskOutcome::Unknown) if settings.idempotent => begin(input, draft, order, next),
        Some(TaskOutcome::Unknown) => TaskState::Unknown(task.clone()),
        Some(TaskOutcome::Failed) if may_retry(input, order, task) => {
            let ended = task.finished_at.unwrap_or(task.intent_at);
            let pause = SignedDuration::from_secs(10 << task.attempt.clamp(1, 5));
            if draft.elapsed(ended, pause) {
                begin(input, draft, order, next)
            } else {
                let again = human(pause - since(input.now, ended));
                TaskState::Running(format!(
                    "{} The next attempt begins in {again}.",
                    failure(&input.intent.meta, task)
                ))
            }
        }
        Some(TaskOutcome::Failed) => TaskState::Failed(task.clone()),
    }
}

/// Begins a numbered pass, after the ones before have ended.
pub fn begin(input: &StepInput<'_>, draft: &mut Draft, order: &TaskRun<'_>, attempt: i32) -> TaskState {
    let plan = order.plan;
    if input.intent.live.suspend {
        return TaskState::Running(format!(
            "The Release is suspended before task {}. Set spec.suspend to false to go on.",
            plan.name
        ));
    }
    if let Some(other) = overlapping(input.observed, plan.step) {
        return TaskState::Running(format!(
            "Waiting for {other} of an earlier attempt to end before task {} begins.",
            plan.name
        ));
    }
    let revision = input.committed.revision_name();
    let job = job_name(&revision, plan.step, &plan.name, attempt);
    draft.progress.status.tasks.push(TaskStatus {
        step: plan.step,
        name: plan.name.clone(),
        attempt,
        intent_at: draft.now(),
        input_digest: input_digest(&input.plan.image, plan, order.generation.as_ref()),
        job: job.clone(),
        job_uid: None,
        since: order.since,
        started_at: None,
        finished_at: None,
        outcome: None,
        reason: None,
        trouble: None,
        exit_code: None,
        output: None,
        retried: false,
        resumed: false,
        documents: None,
    });
    draft.tell(
        "TaskStarted",
        format!("{}-{attempt}", plan.name),
        format!("{}: Job {job}", plan.name),
    );
    TaskState::Running(format!("Task {} begins.", plan.name))
}

fn another(plan: &TaskPlan) -> TaskState {
    TaskState::Running(format!(
        "Waiting for another attempt of task {} to begin.",
        plan.name
    ))
}

/// Whether an attempt that failed by itself is followed by another one.
fn may_retry(input: &StepInput<'_>, order: &TaskRun<'_>, failed: &TaskStatus) -> bool {
    let (plan, retries) = (order.plan, order.settings.retries);
    let reported = |task: &TaskStatus| task.exit_code.is_some() && !stopped(task);
    let before = input
        .committed
        .attempts(plan.step, &plan.name)
        .rev()
        .take_while(|task| !task.retried)
        .filter(|task| task.job != failed.job && reported(task));
    reported(failed) && i32::try_from(before.count()).is_ok_and(|before| before < retries)
}

/// A Job or pod of this Release's step that may still be at work.
fn overlapping(observed: &Observed, step: StepName) -> Option<String> {
    let word = crate::build::step_word(step);
    let job = observed
        .jobs
        .values()
        .find(|job| job.step.as_deref() == Some(word) && job.state == JobState::Active && !job.suspended);
    let pod = observed
        .task_pods
        .iter()
        .find(|pod| pod.step.as_deref() == Some(word) && pod.at_work());
    job.map(|job| format!("Job {}", job.name))
        .or_else(|| pod.map(|pod| format!("pod {}", pod.name)))
}

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

fn pods_of<'a>(input: &StepInput<'a>, task: &TaskStatus) -> Vec<&'a TaskPodView> {
    let pods = input.observed.task_pods.iter();
    pods.filter(|pod| pod.job == task.job).collect()
}

fn at_work(pods: &[&TaskPodView]) -> bool {
    pods.iter().any(|pod| pod.at_work())
}

/// Whether nothing of a Job runs, and nothing will before somebody lets it.
fn idle(job: &JobView, pods: &[&TaskPodView]) -> bool {
    job.suspended && !at_work(pods)
}

fn foreign(input: &StepInput<'_>, found: &JobView, task: &TaskStatus) -> bool {
    found.release_uid.as_ref() != Some(&input.intent.meta.uid)
        || found.input_digest.as_ref() != Some(&task.input_digest)
        || task.job_uid.as_ref().is_some_and(|uid| *uid != found.uid)
}

/// A suspended Job of ours that no attempt waits for: its creation came late, or a person has stopped it.
fn stray(input: &StepInput<'_>, job: &JobView) -> bool {
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
            name: task.job.clone(),
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
    if stops && !found.deleting {
        draft.delete_job(found);
    }
    let (plan, settings) = (order.plan, order.settings);
    if idle(found, pods) && !found.never_started && !stops {
        return outcome::suspended(input, draft, task, pods);
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
        return starting(input, draft, order, task, pods);
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

/// Its container does not run yet. What its pod says is kept: in the end it is the reason.
fn starting(
    input: &StepInput<'_>,
    draft: &mut Draft,
    order: &TaskRun<'_>,
    task: &TaskStatus,
    pods: &[&TaskPodView],
) -> TaskState {
    let deadline = order.settings.start_deadline;
    if draft.elapsed(task.intent_at, deadline) && task.reason.is_none() {
        note(draft, task, TaskReason::StartDeadlineExceeded);
    }
    let trouble = pods.iter().find_map(|pod| pod.trouble.clone());
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
            draft.warn(
                "TaskSlow",
                format!("{}-{}", order.plan.name, task.attempt),
                message,
            );
        }
        OnTimeout::Fail => note(draft, task, TaskReason::Timeout),
    }
}

fn start(draft: &mut Draft, job: &JobView) {
    let body = serde_json::json!({
        "metadata": { "resourceVersion": job.resource_version },
        "spec": { "suspend": false },
    });
    draft.read_again(ReadAgain::TaskPods);
    draft.patch(Kind::Job, &job.name, &job.uid, Purpose::Start, body);
}

/// Takes note of why a task is being stopped.
pub(crate) fn note(draft: &mut Draft, task: &TaskStatus, reason: TaskReason) {
    if let Some(task) = draft.progress.task_mut(&task.job) {
        task.reason = Some(reason);
    }
}

#[cfg(test)]
mod tests;
