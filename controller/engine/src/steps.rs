//! The steps of a revision. The order lives in one array; a step never names its successor.

pub mod cutover;
pub mod expand;
pub mod preboot;
pub mod preflight;
pub mod prepare;
pub mod reindex;
pub mod retire;
pub mod watch;

use slipway_crds::v1alpha1::status::{StepName, StepState, TaskStatus};

use crate::intent::TaskPlan;
use crate::observed::{JobState, TaskPodPhase};
use crate::progress::spoken;
use crate::task::{self, Order, TaskState};
use crate::turn::{StepInput, Turn, Verdict};

/// The order in which a revision takes its steps.
pub const ORDER: [StepName; 8] = [
    StepName::Preflight,
    StepName::Prepare,
    StepName::Expand,
    StepName::Reindex,
    StepName::Preboot,
    StepName::Cutover,
    StepName::Watch,
    StepName::Retire,
];

fn dispatch(step: StepName, input: &StepInput<'_>, turn: &mut Turn) -> Verdict {
    match step {
        StepName::Preflight => preflight::step(input, turn),
        StepName::Prepare => prepare::step(input, turn),
        StepName::Expand => expand::step(input, turn),
        StepName::Reindex => reindex::step(input, turn),
        StepName::Preboot => preboot::step(input, turn),
        StepName::Cutover => cutover::step(input, turn),
        StepName::Watch => watch::step(input, turn),
        StepName::Retire => retire::step(input, turn),
    }
}

/// Whether `suspend` keeps a step from starting. Rescue and the end of an open window never wait for it.
fn waits_for_suspend(step: StepName) -> bool {
    match step {
        StepName::Preflight
        | StepName::Prepare
        | StepName::Expand
        | StepName::Reindex
        | StepName::Preboot
        | StepName::Cutover => true,
        StepName::Watch | StepName::Retire => false,
    }
}

/// Walks to the first step that is not behind us, and lets it work. Says which, and what it says; none when
/// all are done.
pub fn walk(input: &StepInput<'_>, turn: &mut Turn) -> Option<(StepName, Verdict)> {
    for name in ORDER {
        if turn.progress.passed(name) {
            continue;
        }
        let begun = turn.progress.begun(name);
        if !begun && input.intent.live.suspend && waits_for_suspend(name) {
            let message = "suspended; set spec.suspend to false to go on".to_owned();
            return Some((name, Verdict::working("suspended", message)));
        }
        let now = turn.now();
        turn.progress.step_mut(name).started_at.get_or_insert(now);
        let verdict = dispatch(name, input, turn);
        record(name, &verdict, turn);
        if !matches!(verdict, Verdict::Done | Verdict::Skipped) {
            return Some((name, verdict));
        }
        // The next step looks at what this one has recorded and done.
        if !turn.effects.is_empty() || verdict == Verdict::Done {
            return Some((name, Verdict::working("goes on", "the next step to begin")));
        }
    }
    None
}

fn record(name: StepName, verdict: &Verdict, turn: &mut Turn) {
    let now = turn.now();
    let step = turn.progress.step_mut(name);
    let (state, reason, message, progress) = match verdict {
        Verdict::Done => (StepState::Succeeded, None, None, None),
        Verdict::Skipped => (StepState::Skipped, None, None, None),
        Verdict::Working { progress, message } => (StepState::Running, None, Some(message), Some(progress)),
        Verdict::Stalled { reason, message } => {
            let state = if *reason == "TaskUnknown" {
                StepState::Unknown
            } else {
                StepState::Waiting
            };
            (state, Some(*reason), Some(message), None)
        }
        Verdict::Failed { reason, message } => (StepState::Failed, Some(*reason), Some(message), None),
    };
    step.state = state;
    step.reason = reason.map(str::to_owned);
    step.message = message.map(|text| crate::status::cut(text, 2048));
    step.progress = progress.map(|text| crate::status::cut(text, 128));
    step.finished_at = match verdict {
        Verdict::Done | Verdict::Skipped | Verdict::Failed { .. } => Some(now),
        Verdict::Working { .. } | Verdict::Stalled { .. } => None,
    };
}

/// What a task needs besides its plan: the new pod spec of its workload.
pub(crate) fn order<'a>(input: &StepInput<'_>, plan: &'a TaskPlan) -> Option<Order<'a>> {
    let workload = input.committed.workload(&plan.from)?;
    let deployment = input.observed.deployments.get(&workload.deployment)?;
    let settled = deployment.active().next().and_then(|set| set.template.clone());
    let base = if workload.window { None } else { settled };
    let template = base
        .unwrap_or_else(|| deployment.template.clone())
        .with(&workload.images, workload.variable.as_ref());
    let container = workload
        .images
        .iter()
        .find(|change| !change.init)
        .map(|change| change.container.clone());
    let named = input
        .plan
        .workloads
        .iter()
        .find(|known| known.name == plan.from)?
        .container
        .clone();
    let only = || {
        template
            .containers()
            .into_iter()
            .find(|found| !found.init)
            .map(|found| found.name)
    };
    let container = named.or(container).or_else(only)?;
    Some(Order {
        plan,
        template,
        container,
        generation: None,
        since: None,
    })
}

/// A task failed before anything was booted.
fn failed_before_boot(input: &StepInput<'_>, reason: &'static str, ended: &TaskStatus) -> Verdict {
    Verdict::failed(
        reason,
        format!(
            "{}. Nothing was booted; {} serves unchanged. {}",
            task::failure_in(&input.intent.meta.namespace, ended),
            serving(input),
            again(input)
        ),
    )
}

/// Runs a prepare or migrate task, once for what it is given.
pub(crate) fn run_once(input: &StepInput<'_>, turn: &mut Turn, plan: &TaskPlan) -> Verdict {
    let Some(mut order) = order(input, plan) else {
        return Verdict::stalled(
            "WorkloadMissing",
            format!(
                "task {} runs in the pod spec of workload {}, whose Deployment is not there",
                plan.name, plan.from
            ),
        );
    };
    // Before the build, what reads the index reads the live generation.
    order.generation = live_generation(input);
    let digest = task::input_digest(&input.plan.image, plan, None);
    if input.committed.attempt(plan.step, &plan.name).is_none()
        && (input.committed.ran(&digest) || ran_before_status_was_lost(input, &digest))
    {
        if comes_now(input, turn, plan.step) {
            turn.tell(
                "TaskSkipped",
                plan.name.clone(),
                format!(
                    "{} ran before with the same image, command and environment",
                    plan.name
                ),
            );
        }
        return Verdict::Skipped;
    }
    match task::run(input, turn, &order) {
        TaskState::Running(message) => Verdict::working(plan.name.clone(), message),
        TaskState::Succeeded(_) => Verdict::Done,
        TaskState::Failed(ended) if plan.step == StepName::Expand => {
            failed_before_boot(input, "MigrationFailed", &ended)
        }
        TaskState::Failed(ended) => failed_before_boot(input, "TaskFailed", &ended),
        TaskState::Unknown(ended) => Verdict::stalled(
            "TaskUnknown",
            format!(
                "{}. Look at what it did, then annotate slipway.dev/retry or slipway.dev/abort with {}",
                task::doubt(&ended),
                input.committed.revision_name()
            ),
        ),
        TaskState::Foreign(message) => Verdict::stalled("ForeignJob", message),
    }
}

/// Whether a step comes to a task in this very decision: the step begins, or one of its tasks has just ended.
fn comes_now(input: &StepInput<'_>, turn: &Turn, step: StepName) -> bool {
    let begins = input
        .committed
        .step(step)
        .is_none_or(|step| step.started_at.is_none());
    let open = input
        .committed
        .open_tasks()
        .filter(|task| task.step == step)
        .count();
    begins
        || turn
            .progress
            .open_tasks()
            .filter(|task| task.step == step)
            .count()
            < open
}

/// A Job with the same input that ended well is proof enough where the status that recorded it was lost.
fn ran_before_status_was_lost(input: &StepInput<'_>, digest: &str) -> bool {
    let jobs = input.observed.jobs.values();
    let mut same =
        jobs.filter(|job| job.input_digest.as_deref() == Some(digest) && job.state == JobState::Complete);
    same.any(|job| {
        let mut pods = input.observed.task_pods.iter().filter(|pod| pod.job == job.name);
        pods.any(|pod| pod.phase == TaskPodPhase::Succeeded && !pod.deleting && pod.disrupted.is_none())
    })
}

fn live_generation(input: &StepInput<'_>) -> Option<(String, String)> {
    let variable = input.plan.reindex.as_ref()?.variable.clone();
    let token = input
        .committed
        .status
        .search
        .as_ref()?
        .live
        .as_ref()?
        .token
        .clone()?;
    Some((variable, token))
}

/// What a person can do after a failure.
pub(crate) fn again(input: &StepInput<'_>) -> String {
    format!(
        "After the fix: a new image in spec.image, or annotate slipway.dev/retry={} to run this one again",
        input.committed.revision_name()
    )
}

/// Name of what serves, for messages.
pub(crate) fn serving(input: &StepInput<'_>) -> String {
    input
        .committed
        .status
        .serving
        .clone()
        .unwrap_or_else(|| "what was there before".to_owned())
}

/// How long ago a step was begun, as people say it.
pub(crate) fn begun(input: &StepInput<'_>, name: StepName) -> String {
    let started = input
        .committed
        .step(name)
        .and_then(|step| step.started_at)
        .unwrap_or(input.now);
    spoken(crate::progress::since(input.now, started))
}
