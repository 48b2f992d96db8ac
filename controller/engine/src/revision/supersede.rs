//! What a newer spec does to a revision that is under way: it waits, takes the build over, or ends it.

use slipway_crds::v1alpha1::RebuildWhen;
use slipway_crds::v1alpha1::status::{Cause, Course, Ended, Outcome, Pending, StepName, StopReason};

use super::{begin, file_away};
use crate::draft::{Draft, StepInput};
use crate::intent::Plan;
use crate::task;

/// What a newer spec does to a running revision. True when something has to be committed before going on.
pub fn supersede(input: &StepInput<'_>, wanted: &Plan, draft: &mut Draft) -> bool {
    let Some(revision) = input
        .committed
        .running()
        .filter(|revision| revision.digest != wanted.digest)
    else {
        let none = input.committed.status.pending.is_none();
        draft.progress.status.pending = None;
        return !none;
    };
    let waits = |message: &str| Pending {
        digest: wanted.digest.clone(),
        image: wanted.image.clone(),
        message: message.to_owned(),
    };
    let migrating = input
        .committed
        .open_tasks()
        .any(|task| task.step == StepName::Expand && !task::cannot_start(input, task));
    let reindexing = input.committed.candidate().is_some();
    let always = input
        .plan
        .reindex
        .as_ref()
        .is_some_and(|reindex| reindex.rebuild == RebuildWhen::Always);
    let pending = if input.committed.status.cutover.is_some() {
        waits(&format!(
            "{} has the traffic already; the newer version begins when it is complete",
            revision.name
        ))
    } else if revision.course != Course::Forward {
        waits(&format!("{} is being cleaned up", revision.name))
    } else if migrating {
        waits(&format!(
            "the migration of {} runs; the newer version begins when it has ended",
            revision.name
        ))
    } else if reindexing && always {
        waits(&format!(
            "{} is building its index; without a fingerprint the newer version could not use it and would never get through",
            revision.name
        ))
    } else if reindexing && keeps_build(input, wanted) {
        hand_over(input, wanted, draft);
        return true;
    } else {
        let message = format!("A newer version ({}) is wanted.", wanted.image);
        draft.steer(Course::Stop, Cause::Superseded, StopReason::Superseded, message);
        return true;
    };
    let changed = input.committed.status.pending.as_ref() != Some(&pending);
    if changed {
        draft.tell(
            "Queued",
            wanted.digest.to_string(),
            format!("{}: {}", pending.image, pending.message),
        );
        draft.progress.status.pending = Some(pending);
    }
    changed
}

/// The newer version wants the very generation that is being built.
fn keeps_build(input: &StepInput<'_>, wanted: &Plan) -> bool {
    let (Some(old), Some(new)) = (&input.plan.reindex, &wanted.reindex) else {
        return false;
    };
    let same = old.fingerprint == new.fingerprint
        && old.aliases == new.aliases
        && old.variable == new.variable
        && old.url == new.url;
    let only_build = input
        .committed
        .open_tasks()
        .all(|task| task.step == StepName::Reindex);
    same && new.rebuild == RebuildWhen::FingerprintChanged && only_build && !input.committed.window_open()
}

/// The newer version takes over the running build: hourly merges must not starve a two-hour build.
fn hand_over(input: &StepInput<'_>, wanted: &Plan, draft: &mut Draft) {
    let now = draft.now();
    let number = input.committed.number() + 1;
    let message = "Its build was handed over to a newer version.";
    draft.steer(Course::Stop, Cause::Superseded, StopReason::Superseded, message);
    if let Some(revision) = &mut draft.progress.status.revision {
        revision.ended = Some(Ended {
            outcome: Outcome::Aborted,
            at: now,
        });
    }
    file_away(input, draft);
    let candidate = draft
        .progress
        .status
        .search
        .as_mut()
        .and_then(|search| search.candidate.take());
    let mut tasks = draft.progress.status.tasks.clone();
    tasks.retain(|task| task.step == StepName::Reindex);
    begin(input.intent, wanted, input.observed, number, draft);
    if candidate.is_some() {
        draft.progress.search_mut().candidate = candidate;
    }
    draft.progress.status.tasks = tasks;
}
