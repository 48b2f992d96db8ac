//! Tasks that run once for what they are given: preparation and migration.

use slipway_crds::v1alpha1::status::{StepName, StopReason, TaskStatus};
use slipway_crds::{GenerationToken, InputDigest, names};

use super::{TaskRun, TaskState, failure, input_digest, run};
use crate::draft::{Draft, StepInput, Verdict};
use crate::intent::TaskPlan;
use crate::observed::{JobState, TaskPodPhase};
use crate::sentence::{again, ask, unchanged};

/// What a task needs besides its plan: the new pod spec of its workload.
///
/// # Errors
/// The verdict where the workload's Deployment is not there.
pub(crate) fn task_run<'a>(input: &StepInput<'a>, plan: &'a TaskPlan) -> Result<TaskRun<'a>, Verdict> {
    find(input, plan).ok_or_else(|| {
        Verdict::stalled(
            StopReason::WorkloadMissing,
            format!(
                "Task {} runs in the pod spec of workload {}, whose Deployment does not exist. Create it again.",
                plan.name, plan.from
            ),
        )
    })
}

fn find<'a>(input: &StepInput<'a>, plan: &'a TaskPlan) -> Option<TaskRun<'a>> {
    let workload = input.committed.workload(&plan.from)?;
    let deployment = input.observed.deployments.get(&workload.deployment)?;
    let current = deployment.active().next().and_then(|set| set.template.clone());
    let base = if workload.window { None } else { current };
    let template = base
        .unwrap_or_else(|| deployment.template.clone())
        .with(&workload.images, workload.variable.as_ref());
    let mut workloads = input.plan.workloads.iter();
    let named = workloads.find(|known| known.name == plan.from)?.container.clone();
    let changed = || {
        let mut images = workload.images.iter();
        images
            .find(|change| !change.init)
            .map(|change| change.container.clone())
    };
    let only = || {
        let mut containers = template.containers().into_iter();
        containers.find(|found| !found.init).map(|found| found.name)
    };
    let container = named.or_else(changed).or_else(only)?;
    Some(TaskRun {
        plan,
        settings: input.plan.settings(plan),
        template,
        container,
        generation: None,
        since: None,
    })
}

/// A task failed before anything was booted.
pub(crate) fn failed_before_boot(input: &StepInput<'_>, reason: StopReason, ended: &TaskStatus) -> Verdict {
    Verdict::failed(
        reason,
        format!(
            "{} Nothing was booted; {}{}",
            failure(&input.intent.meta, ended),
            unchanged(input),
            again(input)
        ),
    )
}

/// What a task did cannot be known.
pub(crate) fn unknown(input: &StepInput<'_>, ended: &TaskStatus) -> Verdict {
    Verdict::stalled(
        StopReason::TaskUnknown,
        format!(
            "{} Look at what it did, then run it again: {} or give the revision up: {}",
            super::outcome::doubt(&input.intent.meta, ended),
            ask(input, names::RETRY),
            ask(input, names::ABORT)
        ),
    )
}

/// Runs a prepare or migrate task, once for what it is given.
pub(crate) fn once(input: &StepInput<'_>, draft: &mut Draft, plan: &TaskPlan) -> Verdict {
    let mut order = match task_run(input, plan) {
        Ok(order) => order,
        Err(verdict) => return verdict,
    };
    // Before the build, what reads the index reads the live generation.
    order.generation = live_generation(input);
    let digest = input_digest(&input.plan.image, plan, None);
    if input.committed.attempt(plan.step, &plan.name).is_none()
        && (input.committed.ran(&digest) || ran_before_status_was_lost(input, &digest))
    {
        if comes_now(input, draft, plan.step) {
            draft.tell(
                "TaskSkipped",
                plan.name.clone(),
                format!(
                    "Task {} ran before with the same image, command and environment.",
                    plan.name
                ),
            );
        }
        return Verdict::Skipped;
    }
    match run(input, draft, &order) {
        TaskState::Running(message) => Verdict::working(plan.name.clone(), message),
        TaskState::Succeeded(_) => Verdict::Done,
        TaskState::Failed(ended) if plan.step == StepName::Expand => {
            failed_before_boot(input, StopReason::MigrationFailed, &ended)
        }
        TaskState::Failed(ended) => failed_before_boot(input, StopReason::TaskFailed, &ended),
        TaskState::Unknown(ended) => unknown(input, &ended),
        TaskState::Foreign(message) => Verdict::stalled(StopReason::ForeignJob, message),
    }
}

/// Whether a step comes to a task in this very decision: the step begins, or one of its tasks has just ended.
fn comes_now(input: &StepInput<'_>, draft: &Draft, step: StepName) -> bool {
    let open = |progress: &crate::Progress| progress.open_tasks().filter(|task| task.step == step).count();
    !input.committed.started(step) || open(&draft.progress) < open(input.committed)
}

/// A Job with the same input that ended well is proof enough where the status that recorded it was lost.
fn ran_before_status_was_lost(input: &StepInput<'_>, digest: &InputDigest) -> bool {
    let jobs = input.observed.jobs.values();
    let mut same =
        jobs.filter(|job| job.input_digest.as_ref() == Some(digest) && job.state == JobState::Complete);
    same.any(|job| {
        let mut pods = input.observed.task_pods.iter().filter(|pod| pod.job == job.name);
        pods.any(|pod| pod.phase == TaskPodPhase::Succeeded && pod.undisturbed())
    })
}

fn live_generation(input: &StepInput<'_>) -> Option<(String, GenerationToken)> {
    let variable = input.plan.reindex.as_ref()?.variable.clone();
    let live = input.committed.status.search.as_ref()?.live.as_ref()?;
    Some((variable, live.token.clone()?))
}
