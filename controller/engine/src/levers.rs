//! What people ask for by annotation: `<revision>` or `<revision>/<anything>`. The same value twice is
//! once; one for another revision does nothing.

use slipway_crds::v1alpha1::status::{
    Cause, Course, Outcome, RollbackState, StepName, StepState, StopReason, TaskOutcome,
};

use crate::draft::Draft;
use crate::intent::Intent;
use crate::search::retire;
use crate::steps::route_of;

/// Acts on the first annotation that is new. True when something has to be committed before going on.
pub fn pull(intent: &Intent, draft: &mut Draft) -> bool {
    let Some(revision) = draft.progress.revision().cloned() else {
        return false;
    };
    let handled = draft.progress.status.levers.clone();
    let fresh = |value: &Option<String>, known: &Option<String>| {
        let name = value
            .as_deref()
            .map(|value| value.split('/').next().unwrap_or(value));
        (value != known && name == Some(revision.name.as_str())).then(|| value.clone())
    };
    let levers = &intent.levers;
    if let Some(value) = fresh(&levers.abort, &handled.abort) {
        draft.progress.status.levers.abort = value;
        abort(draft);
        return true;
    }
    if let Some(value) = fresh(&levers.rollback, &handled.rollback) {
        draft.progress.status.levers.rollback = value;
        rollback(draft);
        return true;
    }
    // On the way out nothing turns around: a retry waits for the end of the clean-up.
    let leaving = revision.ended.is_none() && revision.course != Course::Forward;
    if let Some(value) = fresh(&levers.retry, &handled.retry).filter(|_| !leaving) {
        draft.progress.status.levers.retry = value;
        retry(draft);
        return true;
    }
    if let Some(value) = fresh(&levers.resume, &handled.resume) {
        draft.progress.status.levers.resume = value;
        resume(draft);
        return true;
    }
    false
}

fn abort(draft: &mut Draft) {
    let name = draft.progress.revision_name();
    if draft.progress.running().is_none() {
        draft.warn(
            "AbortRefused",
            name.to_string(),
            format!("{name} has ended already; there is nothing to abort."),
        );
    } else if draft.progress.status.cutover.is_none() && !retiring(draft) {
        let message = "A person gave it up by the annotation slipway.dev/abort.";
        draft.steer(
            Course::Stop,
            Cause::AbortRequested,
            StopReason::AbortRequested,
            message,
        );
    } else {
        rollback(draft);
    }
}

/// Whether the old side is being stopped, which nobody can ask back.
fn retiring(draft: &Draft) -> bool {
    draft.progress.started(StepName::Retire)
}

fn rollback(draft: &mut Draft) {
    let name = draft.progress.revision_name();
    let status = &draft.progress.status;
    let lost = status
        .rollback
        .as_ref()
        .is_some_and(|rollback| rollback.state == RollbackState::Unavailable);
    let forward = draft
        .progress
        .running()
        .is_some_and(|revision| revision.course == Course::Forward);
    let warm = forward && status.cutover.is_some() && !retiring(draft) && !lost;
    if warm {
        let message = "A person asked for it by annotation.";
        draft.steer(
            Course::Rollback,
            Cause::RollbackRequested,
            StopReason::RollbackRequested,
            message,
        );
    } else {
        let why = if draft.progress.status.cutover.is_none() {
            "it has not been cut over"
        } else if draft.progress.running().is_some() && !forward {
            "it is on its way back already"
        } else {
            "its old side is gone"
        };
        draft.warn(
            "RollbackRefused",
            name.to_string(),
            format!("{name} cannot be rolled back: {why}. Put the earlier image in spec.image instead."),
        );
    }
}

/// A failed or unknown step is run again; a failed revision goes on from there.
fn retry(draft: &mut Draft) {
    let name = draft.progress.revision_name();
    let ended = draft.progress.revision().and_then(|revision| revision.ended);
    if ended.is_some_and(|ended| draft.progress.status.cutover.is_some() || !retriable(ended.outcome)) {
        draft.warn(
            "RetryRefused",
            name.to_string(),
            format!("{name} cannot be retried after it served. Change spec.image to release it again."),
        );
        return;
    }
    let candidate = draft.progress.candidate().is_some();
    let route = route_of(&draft.progress).iter().copied();
    let from_boot: Vec<StepName> = route.skip_while(|step| *step != StepName::Preboot).collect();
    let status = &mut draft.progress.status;
    for step in status.steps.iter().map(|step| step.name).collect::<Vec<_>>() {
        let last = status.tasks.iter_mut().rfind(|task| task.step == step);
        if let Some(last) =
            last.filter(|task| matches!(task.outcome, Some(TaskOutcome::Failed | TaskOutcome::Unknown)))
        {
            last.retried = true;
        }
    }
    if ended.is_some() {
        // Preflight looks at everything again, and what was booted is gone; what succeeded stays succeeded.
        for step in &mut status.steps {
            let again = step.name == StepName::Preflight
                || !matches!(step.state, StepState::Succeeded | StepState::Skipped)
                || (step.name == StepName::Reindex && step.state == StepState::Succeeded && !candidate);
            if again || from_boot.contains(&step.name) {
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
            give_up_candidate(draft);
        }
    }
    if let Some(revision) = &mut draft.progress.status.revision {
        revision.ended = None;
        revision.cause = None;
        revision.reason = None;
        revision.course = Course::Forward;
    }
    draft.progress.status.rejected = None;
    draft.tell(
        "Retried",
        name.to_string(),
        format!("{name} goes on: a person asked for it by the annotation slipway.dev/retry."),
    );
}

fn retriable(outcome: Outcome) -> bool {
    match outcome {
        Outcome::Failed | Outcome::Aborted => true,
        Outcome::Adopted | Outcome::Complete | Outcome::RolledBack => false,
    }
}

/// A candidate that was not finished is built anew under another token; its leftovers are deleted in time.
pub fn give_up_candidate(draft: &mut Draft) {
    let now = draft.now();
    let Some(search) = &mut draft.progress.status.search else {
        return;
    };
    if let Some(candidate) = search.candidate.take() {
        let (token, url) = (Some(&candidate.token), candidate.url.as_deref());
        search.retired.extend(retire(&candidate.indices, token, url, now));
    }
}

/// After a failed catch-up pass: go on without it.
fn resume(draft: &mut Draft) {
    let name = draft.progress.revision_name();
    let running = draft.progress.running().is_some();
    let pass = draft
        .progress
        .status
        .tasks
        .iter_mut()
        .rfind(|task| task.step == StepName::Reindex && task.name == "catch-up");
    match pass.filter(|pass| running && pass.outcome == Some(TaskOutcome::Failed)) {
        Some(pass) => {
            pass.resumed = true;
            draft.warn(
                "Resumed",
                name.to_string(),
                format!("{name} goes on although its last catch-up pass failed: a person asked for it."),
            );
        }
        None => draft.warn(
            "ResumeRefused",
            name.to_string(),
            format!("{name} has no failed catch-up pass to go on after."),
        ),
    }
}

#[cfg(test)]
mod tests;
