//! What people ask for by annotation: `<revision>` or `<revision>/<anything>`. The same value twice is
//! once; one for another revision does nothing.

use slipway_crds::v1alpha1::status::{Course, RollbackState, StepName, StepState, TaskOutcome};

use crate::intent::Intent;
use crate::turn::Turn;

/// Acts on the first annotation that is new. True when something has to be committed before going on.
pub fn pull(intent: &Intent, turn: &mut Turn) -> bool {
    let Some(revision) = turn.progress.revision().cloned() else {
        return false;
    };
    let handled = turn.progress.status.levers.clone();
    let fresh = |value: &Option<String>, known: &Option<String>| {
        let name = value
            .as_deref()
            .map(|value| value.split('/').next().unwrap_or(value));
        (value != known && name == Some(&revision.name)).then(|| value.clone())
    };
    let levers = &intent.levers;
    if let Some(value) = fresh(&levers.abort, &handled.abort) {
        turn.progress.status.levers.abort = value;
        abort(turn);
        return true;
    }
    if let Some(value) = fresh(&levers.rollback, &handled.rollback) {
        turn.progress.status.levers.rollback = value;
        rollback(turn);
        return true;
    }
    // On the way out nothing turns around: a retry waits for the end of the clean-up.
    let leaving = revision.ended.is_none() && revision.course != Course::Forward;
    if let Some(value) = fresh(&levers.retry, &handled.retry).filter(|_| !leaving) {
        turn.progress.status.levers.retry = value;
        retry(turn);
        return true;
    }
    if let Some(value) = fresh(&levers.resume, &handled.resume) {
        turn.progress.status.levers.resume = value;
        resume(turn);
        return true;
    }
    false
}

fn abort(turn: &mut Turn) {
    let name = turn.progress.revision_name();
    if turn.progress.running().is_none() {
        turn.warn(
            "AbortRefused",
            name.clone(),
            format!("{name} has ended already; there is nothing to abort"),
        );
    } else if turn.progress.status.cutover.is_none() && !retiring(turn) {
        let reason = turn.reason("AbortRequested", "a person asked for it by slipway.dev/abort");
        turn.progress.steer(Course::Stop, reason);
    } else {
        rollback(turn);
    }
}

/// Whether the old side is being stopped, which nobody can ask back.
fn retiring(turn: &Turn) -> bool {
    turn.progress.begun(StepName::Retire)
}

fn rollback(turn: &mut Turn) {
    let name = turn.progress.revision_name();
    let status = &turn.progress.status;
    let lost = status
        .rollback
        .as_ref()
        .is_some_and(|rollback| rollback.state == RollbackState::Unavailable);
    let forward = turn
        .progress
        .running()
        .is_some_and(|revision| revision.course == Course::Forward);
    let warm = forward && status.cutover.is_some() && !retiring(turn) && !lost;
    if warm {
        let reason = turn.reason("RollbackRequested", "a person asked for it by annotation");
        turn.progress.steer(Course::Rollback, reason);
    } else {
        let why = if turn.progress.status.cutover.is_none() {
            "it has not been cut over"
        } else if turn.progress.running().is_some() && !forward {
            "it is on its way back already"
        } else {
            "its old side is gone"
        };
        turn.warn(
            "RollbackRefused",
            name.clone(),
            format!("{name} cannot be rolled back: {why}. Put the earlier image in spec.image instead"),
        );
    }
}

/// A failed or unknown step is run again; a failed revision goes on from there.
fn retry(turn: &mut Turn) {
    let name = turn.progress.revision_name();
    let ended = turn.progress.revision().and_then(|revision| revision.ended);
    if ended.is_some_and(|ended| turn.progress.status.cutover.is_some() || !retriable(ended.outcome)) {
        turn.warn(
            "RetryRefused",
            name.clone(),
            format!("{name} cannot be retried after it served; change spec.image to release it again"),
        );
        return;
    }
    let candidate = turn.progress.candidate().is_some();
    let status = &mut turn.progress.status;
    for step in status.steps.iter().map(|step| step.name).collect::<Vec<_>>() {
        let last = status.tasks.iter_mut().rfind(|task| task.step == step);
        if let Some(last) =
            last.filter(|task| matches!(task.outcome, Some(TaskOutcome::Failed | TaskOutcome::Unknown)))
        {
            last.retried = true;
        }
    }
    if ended.is_some() {
        // Preflight looks at everything again; what succeeded stays succeeded.
        for step in &mut status.steps {
            let again = step.name == StepName::Preflight
                || !matches!(step.state, StepState::Succeeded | StepState::Skipped)
                || (step.name == StepName::Reindex && step.state == StepState::Succeeded && !candidate);
            if again || step.name >= StepName::Preboot {
                step.state = StepState::Waiting;
                (step.reason, step.message, step.started_at, step.finished_at) = (None, None, None, None);
            }
        }
        let reindexed = status
            .steps
            .iter()
            .any(|step| step.name == StepName::Reindex && step.state == StepState::Succeeded);
        if !reindexed {
            // Another generation needs another build, even after one that ended well.
            let build = status
                .tasks
                .iter_mut()
                .rfind(|task| task.step == StepName::Reindex && task.name == "build");
            if let Some(build) = build {
                build.retried = true;
            }
            give_up_candidate(turn);
        }
    }
    if let Some(revision) = &mut turn.progress.status.revision {
        revision.ended = None;
        revision.reason = None;
        revision.course = Course::Forward;
    }
    turn.progress.status.rejected = None;
    turn.tell(
        "Retried",
        name.clone(),
        format!("{name} goes on: a person asked for it by slipway.dev/retry"),
    );
}

fn retriable(outcome: slipway_crds::v1alpha1::status::Outcome) -> bool {
    use slipway_crds::v1alpha1::status::Outcome;
    match outcome {
        Outcome::Failed | Outcome::Aborted => true,
        Outcome::Adopted | Outcome::Complete | Outcome::RolledBack => false,
    }
}

/// A candidate that was not finished is built anew under another token; its leftovers are deleted in time.
pub fn give_up_candidate(turn: &mut Turn) {
    let now = turn.now();
    let Some(search) = &mut turn.progress.status.search else {
        return;
    };
    if let Some(candidate) = search.candidate.take() {
        let leftovers = candidate.indices.iter();
        search
            .retired
            .extend(leftovers.map(|index| crate::search::retired(index, Some(&candidate.token), now)));
    }
}

/// After a failed catch-up pass: go on without it.
fn resume(turn: &mut Turn) {
    let name = turn.progress.revision_name();
    let running = turn.progress.running().is_some();
    let pass = turn
        .progress
        .status
        .tasks
        .iter_mut()
        .rfind(|task| task.step == StepName::Reindex && task.name == "catch-up");
    match pass.filter(|pass| running && pass.outcome == Some(TaskOutcome::Failed)) {
        Some(pass) => {
            pass.reason = Some("Resumed".to_owned());
            turn.warn(
                "Resumed",
                name.clone(),
                format!("{name} goes on although its last catch-up pass failed: a person asked for it"),
            );
        }
        None => turn.warn(
            "ResumeRefused",
            name.clone(),
            format!("{name} has no failed catch-up pass to go on after"),
        ),
    }
}

#[cfg(test)]
mod tests;
