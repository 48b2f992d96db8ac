//! Tasks, at most once: intent committed, created suspended under a name that cannot be used twice, UID recorded,
//! started on the condition that nobody has done so, outcome recorded before any clean-up.

mod attempt;
mod once;
mod outcome;
mod secrets;
mod stop;
mod words;

pub use attempt::observe;
pub(crate) use attempt::{asks, note};
pub(crate) use once::{failed_before_boot, once, task_run, unknown};
pub(crate) use outcome::{failure, tell_failure};
pub(crate) use stop::cannot_start;
pub use stop::{delete_strays, free_pods, stop_all};

use jiff::{SignedDuration, Timestamp};
use slipway_crds::v1alpha1::status::{StepName, TaskOutcome, TaskReason, TaskStatus};
use slipway_crds::{GenerationToken, InputDigest};

use crate::build::job_name;
use crate::draft::{Draft, StepInput};
use crate::intent::{TaskPlan, TaskSettings};
use crate::observed::{JobState, Observed};
use crate::progress::since;
use crate::sentence::human;
use crate::template::{Template, canonical, digest};

/// So many attempts follow each other by themselves where the end of each is unknown.
const MOST_IN_A_ROW: usize = 10;

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
    pub generation: Option<(String, GenerationToken)>,
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
pub fn input_digest(
    image: &str,
    plan: &TaskPlan,
    generation: Option<&(String, GenerationToken)>,
) -> InputDigest {
    let generation = generation.filter(|_| plan.step == StepName::Reindex);
    let env = serde_json::to_value(&plan.env).unwrap_or_default();
    let commands = serde_json::json!([plan.command, plan.args, plan.postgres_options, generation]);
    digest(&[image, &canonical(&commands), &canonical(&env)]).into()
}

/// Runs a task to its end, attempt by attempt.
pub fn run(input: &StepInput<'_>, draft: &mut Draft, order: &TaskRun<'_>) -> TaskState {
    let plan = order.plan;
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
            TaskState::Unknown(_) if may_repeat(input, order) => another(plan),
            state @ (TaskState::Running(_)
            | TaskState::Succeeded(_)
            | TaskState::Failed(_)
            | TaskState::Unknown(_)
            | TaskState::Foreign(_)) => state,
        },
        Some(_) if task.retried => begin(input, draft, order, next),
        Some(TaskOutcome::Succeeded) => TaskState::Succeeded(task.clone()),
        Some(TaskOutcome::Unknown) if may_repeat(input, order) => {
            let pause = if task.attempt == 1 {
                SignedDuration::ZERO
            } else {
                pause(task)
            };
            let doubt = || outcome::doubt(&input.intent.meta, task);
            after(input, draft, order, task, pause, doubt)
        }
        Some(TaskOutcome::Unknown) => TaskState::Unknown(task.clone()),
        Some(TaskOutcome::Failed) if may_retry(input, order, task) => {
            let failure = || failure(&input.intent.meta, task);
            after(input, draft, order, task, pause(task), failure)
        }
        Some(TaskOutcome::Failed) => TaskState::Failed(task.clone()),
    }
}

/// The next attempt follows by itself, a while after the end of the one before.
fn after(
    input: &StepInput<'_>,
    draft: &mut Draft,
    order: &TaskRun<'_>,
    task: &TaskStatus,
    pause: SignedDuration,
    why: impl Fn() -> String,
) -> TaskState {
    let ended = task.finished_at.unwrap_or(task.intent_at);
    if draft.elapsed(ended, pause) {
        return begin(input, draft, order, task.attempt + 1);
    }
    let again = human(pause - since(input.now, ended));
    TaskState::Running(format!("{} The next attempt begins in {again}.", why()))
}

/// Doubled from 20 seconds to 5 minutes.
fn pause(task: &TaskStatus) -> SignedDuration {
    SignedDuration::from_secs(10 << task.attempt.clamp(1, 5))
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

/// Whether an attempt that nobody knows the end of is followed by another one: what is idempotent may run again, and
/// what dies each time, for want of memory say, comes to an end.
fn may_repeat(input: &StepInput<'_>, order: &TaskRun<'_>) -> bool {
    let attempts = input.committed.attempts(order.plan.step, &order.plan.name).rev();
    let in_a_row = attempts.take_while(|task| !task.retried);
    order.settings.idempotent && in_a_row.count() < MOST_IN_A_ROW
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

#[cfg(test)]
mod tests;
