//! Tasks, at most once: intent committed, created suspended under a name that cannot be used twice, UID recorded,
//! started on the condition that nobody has done so, outcome recorded before any clean-up.

mod outcome;
mod secrets;
mod stop;
mod words;

pub(crate) use outcome::{doubt, failure_in};
pub(crate) use stop::cannot_start;
pub use stop::{delete_strays, free_pods, stop_all};

use jiff::{SignedDuration, Timestamp};
use slipway_crds::v1alpha1::OnTimeout;
use slipway_crds::v1alpha1::status::{StepName, TaskOutcome, TaskStatus};

use crate::build::job::{JobInput, job};
use crate::build::job_name;
use crate::decision::{Effect, Kind, Purpose};
use crate::intent::TaskPlan;
use crate::observed::{JobState, JobView, Observed, TaskPodView};
use crate::progress::{since, spoken};
use crate::template::{Template, canonical, digest};
use crate::turn::{StepInput, Turn};

/// A task to be run.
#[derive(Clone, Debug)]
pub struct Order<'a> {
    /// What runs, and how.
    pub plan: &'a TaskPlan,
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

/// Reasons for which Slipway itself stops a Job.
const STOPS: [&str; 3] = ["StartDeadlineExceeded", "Timeout", "Stopped"];

/// Whether its end was asked for by Slipway itself.
fn stopped(task: &TaskStatus) -> bool {
    let reason = task.reason.as_deref();
    reason.is_some_and(|reason| STOPS.contains(&reason))
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
pub fn run(input: &StepInput<'_>, turn: &mut Turn, order: &Order<'_>) -> TaskState {
    let plan = order.plan;
    let Some(task) = input.committed.attempt(plan.step, &plan.name) else {
        return begin(input, turn, order, 1);
    };
    let next = task.attempt + 1;
    match task.outcome {
        None => match observe(input, turn, order, task) {
            TaskState::Failed(ended) if may_retry(input, plan, &ended) => {
                TaskState::Running(format!("another attempt of {} to begin", plan.name))
            }
            TaskState::Unknown(_) if plan.idempotent => {
                TaskState::Running(format!("another attempt of {} to begin", plan.name))
            }
            state @ (TaskState::Running(_)
            | TaskState::Succeeded(_)
            | TaskState::Failed(_)
            | TaskState::Unknown(_)
            | TaskState::Foreign(_)) => state,
        },
        Some(_) if task.retried => begin(input, turn, order, next),
        Some(TaskOutcome::Succeeded) => TaskState::Succeeded(task.clone()),
        Some(TaskOutcome::Unknown) if plan.idempotent => begin(input, turn, order, next),
        Some(TaskOutcome::Unknown) => TaskState::Unknown(task.clone()),
        Some(TaskOutcome::Failed) if may_retry(input, plan, task) => {
            let ended = task.finished_at.unwrap_or(task.intent_at);
            let pause = SignedDuration::from_secs(10 << task.attempt.clamp(1, 5));
            if turn.passed(ended, pause) {
                begin(input, turn, order, next)
            } else {
                let again = spoken(pause - since(input.now, ended));
                TaskState::Running(format!(
                    "attempt {} of {} failed; the next one begins in {again}",
                    task.attempt, plan.name
                ))
            }
        }
        Some(TaskOutcome::Failed) => TaskState::Failed(task.clone()),
    }
}

/// Begins a numbered pass, after the ones before have ended.
pub fn begin(input: &StepInput<'_>, turn: &mut Turn, order: &Order<'_>, attempt: i32) -> TaskState {
    let plan = order.plan;
    if input.intent.live.suspend {
        return TaskState::Running(format!(
            "suspended before {}; set spec.suspend to false to go on",
            plan.name
        ));
    }
    if let Some(other) = overlapping(input.observed, plan.step) {
        return TaskState::Running(format!(
            "{other} of an earlier attempt to end before {} begins",
            plan.name
        ));
    }
    let revision = input.committed.revision_name();
    let job = job_name(&revision, plan.step, &plan.name, attempt);
    turn.progress.status.tasks.push(TaskStatus {
        step: plan.step,
        name: plan.name.clone(),
        attempt,
        intent_at: turn.now(),
        input_digest: input_digest(&input.plan.image, plan, order.generation.as_ref()),
        job: job.clone(),
        job_uid: None,
        since: order.since,
        started_at: None,
        finished_at: None,
        outcome: None,
        reason: None,
        exit_code: None,
        output: None,
        retried: false,
        documents: None,
    });
    turn.tell(
        "TaskStarted",
        format!("{}-{attempt}", plan.name),
        format!("{}: Job {job}", plan.name),
    );
    TaskState::Running(format!("{} begins", plan.name))
}

/// Whether an attempt that failed by itself is followed by another one.
fn may_retry(input: &StepInput<'_>, plan: &TaskPlan, failed: &TaskStatus) -> bool {
    let reported = |task: &TaskStatus| task.exit_code.is_some() && !stopped(task);
    let before = input
        .committed
        .attempts(plan.step, &plan.name)
        .rev()
        .take_while(|task| !task.retried)
        .filter(|task| task.job != failed.job && reported(task));
    reported(failed) && i32::try_from(before.count()).is_ok_and(|before| before < plan.retries)
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
pub fn observe(input: &StepInput<'_>, turn: &mut Turn, order: &Order<'_>, task: &TaskStatus) -> TaskState {
    let pods = pods_of(input, task);
    let found = input.observed.jobs.get(&task.job);
    match found.filter(|found| !stray(input, found)) {
        Some(found) if foreign(input, found, task) => TaskState::Foreign(format!(
            "a Job named {} exists that this revision did not make; look at it, delete it if nobody needs it, then annotate slipway.dev/retry={}",
            task.job,
            input.committed.revision_name()
        )),
        Some(found) => {
            if task.job_uid.is_none() {
                let uid = found.uid.clone();
                if let Some(task) = turn.progress.task_mut(&task.job) {
                    task.job_uid = Some(uid);
                }
            }
            follow(input, turn, order, task, found, &pods)
        }
        None if task.job_uid.is_none() && pods.is_empty() => {
            create(input, turn, order, task);
            TaskState::Running(format!("Job {} to be created", task.job))
        }
        None if at_work(&pods) => TaskState::Running(format!("Job {} is gone; its pod still runs", task.job)),
        None => outcome::without_job(turn, task, &pods),
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

fn create(input: &StepInput<'_>, turn: &mut Turn, order: &Order<'_>, task: &TaskStatus) {
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
        task,
        template: &order.template,
        container: &order.container,
        generation: order
            .generation
            .as_ref()
            .map(|(name, token)| (name.as_str(), token.as_str())),
    });
    turn.effects.push(Effect::CreateJob {
        name: task.job.clone(),
        job: Box::new(body),
    });
}

fn follow(
    input: &StepInput<'_>,
    turn: &mut Turn,
    order: &Order<'_>,
    task: &TaskStatus,
    found: &JobView,
    pods: &[&TaskPodView],
) -> TaskState {
    match &found.state {
        JobState::Active => active(input, turn, order, task, found, pods),
        JobState::Complete => outcome::complete(turn, task, pods),
        JobState::Failed { reason, message } => outcome::failed(turn, task, pods, reason, message),
    }
}

fn active(
    input: &StepInput<'_>,
    turn: &mut Turn,
    order: &Order<'_>,
    task: &TaskStatus,
    found: &JobView,
    pods: &[&TaskPodView],
) -> TaskState {
    let stops = stopped(task);
    if stops && !found.deleting {
        turn.delete_job(found);
    }
    let plan = order.plan;
    if idle(found, pods) && !found.never_started && !stops {
        return outcome::suspended(turn, task, pods);
    }
    if found.never_started && task.job_uid.is_some() && task.reason.is_none() {
        if let Some(other) = overlapping(input.observed, plan.step) {
            return TaskState::Running(format!(
                "{other} of an earlier attempt to end before {} starts",
                plan.name
            ));
        }
        start(turn, found);
    }
    let started = task
        .started_at
        .or_else(|| pods.iter().find_map(|pod| pod.started_at));
    let Some(started) = started else {
        if turn.passed(task.intent_at, plan.start_deadline) && task.reason.is_none() {
            note(turn, task, "StartDeadlineExceeded");
        }
        let trouble = pods.iter().find_map(|pod| pod.trouble.clone());
        let waited = spoken(since(input.now, task.intent_at));
        return TaskState::Running(match trouble {
            Some(trouble) => format!(
                "{} does not start since {waited}: {trouble}. Gives up {} after it was begun",
                plan.name,
                spoken(plan.start_deadline)
            ),
            None => format!("{} to start since {waited}", plan.name),
        });
    };
    if task.started_at.is_none()
        && let Some(task) = turn.progress.task_mut(&task.job)
    {
        task.started_at = Some(started);
    }
    if turn.passed(started, plan.timeout) && task.reason.is_none() {
        let limit = spoken(plan.timeout);
        match plan.on_timeout {
            OnTimeout::Warn => {
                note(turn, task, "Slow");
                turn.warn("TaskSlow", format!("{}-{}", plan.name, task.attempt), format!("{} runs longer than {limit}; it goes on, because a running task is not killed by a clock unless onTimeout is Fail", plan.name));
            }
            OnTimeout::Fail => note(turn, task, "Timeout"),
        }
    }
    TaskState::Running(format!(
        "{} (attempt {}) runs since {}",
        plan.name,
        task.attempt,
        spoken(since(input.now, started))
    ))
}

fn start(turn: &mut Turn, job: &JobView) {
    let body = serde_json::json!({
        "metadata": { "resourceVersion": job.resource_version },
        "spec": { "suspend": false },
    });
    turn.patch(Kind::Job, &job.name, &job.uid, Purpose::Start, body);
}

fn note(turn: &mut Turn, task: &TaskStatus, reason: &str) {
    if let Some(task) = turn.progress.task_mut(&task.job) {
        task.reason = Some(reason.to_owned());
    }
}

#[cfg(test)]
mod tests;
