//! Catch-up passes: each repeats what was written since a little before the last one began.

use jiff::Timestamp;
use slipway_crds::v1alpha1::status::{Candidate, StepName, StopReason, TaskOutcome, TaskStatus};

use crate::draft::{Draft, StepInput, Verdict};
use crate::intent::{ReindexPlan, TaskPlan};
use crate::progress::since;
use crate::search::generation_run;
use crate::sentence::{again, human, unchanged};
use crate::task::{self, TaskState, failure, tell_failure};

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
pub fn until_caught_up(
    input: &StepInput<'_>,
    draft: &mut Draft,
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
        if took < reindex.live.max_lag {
            return Pass::Done;
        }
        let passes = input
            .committed
            .attempts(StepName::Reindex, NAME)
            .filter(|pass| pass.intent_at >= candidate.t0);
        if i32::try_from(passes.count()).unwrap_or(i32::MAX) >= reindex.live.max_passes {
            return Pass::Verdict(Verdict::failed(
                StopReason::CatchUpNotConverging,
                format!(
                    "After {} catch-up passes the last one still took {}, more than maxLag {}: writes come faster than they are repeated. Nothing was booted; {}{}",
                    reindex.live.max_passes,
                    human(took),
                    human(reindex.live.max_lag),
                    unchanged(input),
                    again(input)
                ),
            ));
        }
    }
    pass(
        input,
        draft,
        (reindex, catch_up),
        candidate,
        last.filter(|last| last.outcome.is_none())
            .map_or(Timestamp::MAX, |last| last.intent_at),
    )
}

/// A pass that began at `not_before` or later has ended well; else one is run.
pub fn pass_since(input: &StepInput<'_>, draft: &mut Draft, not_before: Timestamp) -> Pass {
    let Some(reindex) = &input.plan.reindex else {
        return Pass::Done;
    };
    let (Some(catch_up), Some(candidate)) = (&reindex.catch_up, input.committed.candidate()) else {
        return Pass::Done;
    };
    let passes = input.committed.attempts(StepName::Reindex, NAME).count();
    let pass = pass(input, draft, (reindex, catch_up), candidate, not_before);
    if draft.progress.attempts(StepName::Reindex, NAME).count() > passes.max(KEPT) {
        forget_oldest(input, draft);
    }
    pass
}

/// Status has a bound, and a long Watch has many passes: the oldest and its Job make room. The newest that
/// ended well says from where the next one repeats, and stays.
fn forget_oldest(input: &StepInput<'_>, draft: &mut Draft) {
    let tasks = &mut draft.progress.status.tasks;
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
        draft.delete_job(job);
    }
}

fn pass(
    input: &StepInput<'_>,
    draft: &mut Draft,
    (reindex, catch_up): (&ReindexPlan, &TaskPlan),
    candidate: &Candidate,
    not_before: Timestamp,
) -> Pass {
    let last = input
        .committed
        .attempt(StepName::Reindex, NAME)
        .filter(|last| last.intent_at >= candidate.t0);
    let from = last.map_or(candidate.t0, |last| reached(input, candidate, last)) - reindex.live.margin;
    let mut order = match generation_run(input, reindex, catch_up, &candidate.token) {
        Ok(order) => order,
        Err(verdict) => return Pass::Verdict(verdict),
    };
    order.since = Some(from);
    let number = input
        .committed
        .attempt(StepName::Reindex, NAME)
        .map_or(1, |last| last.attempt + 1);
    let state = match last {
        None => task::begin(input, draft, &order, number),
        Some(last) => match last.outcome {
            None => task::observe(input, draft, &order, last),
            Some(TaskOutcome::Succeeded) if last.intent_at >= not_before => return Pass::Done,
            Some(TaskOutcome::Failed) if last.resumed && last.intent_at >= not_before => return Pass::Done,
            Some(TaskOutcome::Failed) if !last.retried && !last.resumed => TaskState::Failed(last.clone()),
            // A pass only repeats writes: one that was disturbed is repeated by the next.
            Some(TaskOutcome::Succeeded | TaskOutcome::Failed | TaskOutcome::Unknown) => {
                task::begin(input, draft, &order, number)
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

/// A catch-up pass that failed where only a person decides what follows.
pub fn waits_for_a_person(input: &StepInput<'_>, draft: &mut Draft) {
    let seen = |progress: &crate::Progress| {
        let mut passes = progress.attempts(StepName::Reindex, NAME);
        passes
            .next_back()
            .filter(|pass| pass.outcome == Some(TaskOutcome::Failed))
            .cloned()
    };
    if let Some(failed) = seen(&draft.progress)
        && seen(input.committed).is_none()
    {
        tell_failure(input, draft, &failed);
    }
}

fn verdict(input: &StepInput<'_>, state: TaskState, number: i32) -> Pass {
    match state {
        TaskState::Succeeded(_) | TaskState::Unknown(_) => Pass::Verdict(Verdict::working(
            format!("catch-up pass {number}"),
            "Waiting for the next catch-up pass to begin.",
        )),
        TaskState::Running(message) => {
            Pass::Verdict(Verdict::working(format!("catch-up pass {number}"), message))
        }
        TaskState::Failed(ended) => Pass::Verdict(Verdict::failed(
            StopReason::CatchUpFailed,
            failure(&input.intent.meta, &ended),
        )),
        TaskState::Foreign(message) => Pass::Verdict(Verdict::stalled(StopReason::ForeignJob, message)),
    }
}
