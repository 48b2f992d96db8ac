//! Catch-up passes: each repeats what was written since a little before the last one began.

use jiff::Timestamp;
use slipway_crds::v1alpha1::status::{Candidate, StepName, TaskOutcome, TaskStatus};

use super::super::{again, serving};
use super::generation_order;
use crate::intent::{CatchUpPlan, ReindexPlan};
use crate::progress::{since, spoken};
use crate::task::{self, TaskState};
use crate::turn::{StepInput, Turn, Verdict};

const NAME: &str = "catch-up";

/// This many passes are remembered once the new pods boot.
const KEPT: usize = 12;

/// How a pass stands.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Pass {
    /// Behind us.
    Done,
    /// At work, or gone wrong.
    Verdict(Verdict),
}

/// Passes until one is short enough.
pub(super) fn until_caught_up(
    input: &StepInput<'_>,
    turn: &mut Turn,
    reindex: &ReindexPlan,
    candidate: &Candidate,
) -> Pass {
    let Some(catch_up) = &reindex.catch_up else {
        return Pass::Done;
    };
    let last = input.committed.attempt(StepName::Reindex, NAME);
    if let Some(last) =
        last.filter(|last| last.outcome == Some(TaskOutcome::Succeeded) && last.intent_at >= candidate.t0)
    {
        let took = since(
            last.finished_at.unwrap_or(input.now),
            last.started_at.unwrap_or(last.intent_at),
        );
        if took < catch_up.max_lag {
            return Pass::Done;
        }
        let passes = input
            .committed
            .attempts(StepName::Reindex, NAME)
            .filter(|pass| pass.intent_at >= candidate.t0);
        if i32::try_from(passes.count()).unwrap_or(i32::MAX) >= catch_up.max_passes {
            return Pass::Verdict(Verdict::failed(
                "CatchUpNotConverging",
                format!(
                    "after {} catch-up passes the last one still took {}, more than maxLag {}: writes come faster than they are repeated. Nothing was booted; {} serves unchanged. {}",
                    catch_up.max_passes,
                    spoken(took),
                    spoken(catch_up.max_lag),
                    serving(input),
                    again(input)
                ),
            ));
        }
    }
    pass(
        input,
        turn,
        catch_up,
        candidate,
        last.filter(|last| last.outcome.is_none())
            .map_or(Timestamp::MAX, |last| last.intent_at),
    )
}

/// A pass that began at `not_before` or later has ended well; else one is run.
pub fn pass_since(input: &StepInput<'_>, turn: &mut Turn, not_before: Timestamp) -> Pass {
    let Some(reindex) = &input.plan.reindex else {
        return Pass::Done;
    };
    let (Some(catch_up), Some(candidate)) = (&reindex.catch_up, input.committed.candidate()) else {
        return Pass::Done;
    };
    let passes = input.committed.attempts(StepName::Reindex, NAME).count();
    let pass = pass(input, turn, catch_up, candidate, not_before);
    if turn.progress.attempts(StepName::Reindex, NAME).count() > passes.max(KEPT) {
        forget_oldest(input, turn);
    }
    pass
}

/// Status has a bound, and a long Watch has many passes: the oldest and its Job make room. The newest that
/// ended well says from where the next one repeats, and stays.
fn forget_oldest(input: &StepInput<'_>, turn: &mut Turn) {
    let tasks = &mut turn.progress.status.tasks;
    let ours = |task: &TaskStatus| task.step == StepName::Reindex && task.name == NAME;
    let good = |task: &TaskStatus| ours(task) && task.outcome == Some(TaskOutcome::Succeeded);
    let newest_good = tasks.iter().rposition(good).unwrap_or_default();
    let oldest = tasks
        .iter()
        .position(|task| ours(task) && task.outcome.is_some())
        .filter(|at| *at < newest_good);
    let Some(forgotten) = oldest.map(|at| tasks.remove(at)) else {
        return;
    };
    let job = input.observed.jobs.get(&forgotten.job);
    if let Some(job) = job.filter(|job| forgotten.job_uid.as_ref() == Some(&job.uid) && !job.deleting) {
        turn.delete_job(job);
    }
}

fn pass(
    input: &StepInput<'_>,
    turn: &mut Turn,
    catch_up: &CatchUpPlan,
    candidate: &Candidate,
    not_before: Timestamp,
) -> Pass {
    let last = input
        .committed
        .attempt(StepName::Reindex, NAME)
        .filter(|last| last.intent_at >= candidate.t0);
    let from = last.map_or(candidate.t0, |last| reached(input, candidate, last)) - catch_up.margin;
    let Some(mut order) = generation_order(input, &catch_up.task, Some(&candidate.token)) else {
        return Pass::Verdict(Verdict::stalled(
            "WorkloadMissing",
            format!(
                "the catch-up runs in the pod spec of workload {}, whose Deployment is not there",
                catch_up.task.from
            ),
        ));
    };
    order.since = Some(from);
    let number = input
        .committed
        .attempt(StepName::Reindex, NAME)
        .map_or(1, |last| last.attempt + 1);
    let state = match last {
        None => task::begin(input, turn, &order, number),
        Some(last) => match last.outcome {
            None => task::observe(input, turn, &order, last),
            Some(TaskOutcome::Succeeded) if last.intent_at >= not_before => return Pass::Done,
            Some(TaskOutcome::Failed) if resumed(last) && last.intent_at >= not_before => return Pass::Done,
            Some(TaskOutcome::Failed) if !last.retried && !resumed(last) => TaskState::Failed(last.clone()),
            // A pass only repeats writes: one that was disturbed is repeated by the next.
            Some(TaskOutcome::Succeeded | TaskOutcome::Failed | TaskOutcome::Unknown) => {
                task::begin(input, turn, &order, number)
            }
        },
    };
    verdict(input, state, number)
}

/// From where the next pass has to repeat: the beginning of the last one that ended well.
fn reached(input: &StepInput<'_>, candidate: &Candidate, last: &TaskStatus) -> Timestamp {
    let passes = input.committed.attempts(StepName::Reindex, NAME);
    let good = passes
        .filter(|pass| pass.outcome == Some(TaskOutcome::Succeeded) && pass.intent_at >= candidate.t0)
        .map(|pass| pass.intent_at)
        .max();
    good.unwrap_or(candidate.t0).min(last.intent_at)
}

/// Whether a person said to go on although this pass failed.
pub fn resumed(task: &TaskStatus) -> bool {
    task.reason.as_deref() == Some("Resumed")
}

fn verdict(input: &StepInput<'_>, state: TaskState, number: i32) -> Pass {
    match state {
        TaskState::Succeeded(_) | TaskState::Unknown(_) => Pass::Verdict(Verdict::working(
            format!("catch-up pass {number}"),
            "the next catch-up pass to begin",
        )),
        TaskState::Running(message) => {
            Pass::Verdict(Verdict::working(format!("catch-up pass {number}"), message))
        }
        TaskState::Failed(ended) => {
            let message = task::failure_in(&input.intent.meta.namespace, &ended);
            Pass::Verdict(Verdict::failed("CatchUpFailed", message))
        }
        TaskState::Foreign(message) => Pass::Verdict(Verdict::stalled("ForeignJob", message)),
    }
}
