//! What a newer spec does to a revision that is under way: it waits, takes the build over, or ends it.

use slipway_crds::v1alpha1::RebuildWhen;
use slipway_crds::v1alpha1::status::{Course, Ended, Outcome, Pending, Reason, StepName};

use super::begin;
use crate::ending::past;
use crate::intent::Plan;
use crate::task;
use crate::turn::{StepInput, Turn};

/// What a newer spec does to a running revision. True when something has to be committed before going on.
pub fn supersede(input: &StepInput<'_>, wanted: &Plan, turn: &mut Turn) -> bool {
    let Some(revision) = input
        .committed
        .running()
        .filter(|revision| revision.digest != wanted.digest)
    else {
        let none = input.committed.status.pending.is_none();
        turn.progress.status.pending = None;
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
        hand_over(input, wanted, turn);
        return true;
    } else {
        let message = format!("a newer version ({}) is wanted", wanted.image);
        let reason = turn.reason("Superseded", message);
        turn.progress.steer(Course::Stop, reason);
        return true;
    };
    let changed = input.committed.status.pending.as_ref() != Some(&pending);
    if changed {
        turn.tell(
            "Queued",
            wanted.digest.clone(),
            format!("{}: {}", pending.image, pending.message),
        );
        turn.progress.status.pending = Some(pending);
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
fn hand_over(input: &StepInput<'_>, wanted: &Plan, turn: &mut Turn) {
    let now = turn.now();
    let number = input.committed.number() + 1;
    let reason = Reason {
        reason: "Superseded".to_owned(),
        message: "its build was handed over to a newer version".to_owned(),
        at: now,
    };
    turn.progress.steer(Course::Stop, reason);
    if let Some(revision) = &mut turn.progress.status.revision {
        revision.ended = Some(Ended {
            outcome: Outcome::Aborted,
            at: now,
        });
    }
    if let Some(past) = past(&turn.progress) {
        turn.progress.status.history.insert(0, past);
        turn.progress.status.history.truncate(input.intent.live.history);
    }
    let candidate = turn
        .progress
        .status
        .search
        .as_mut()
        .and_then(|search| search.candidate.take());
    let mut tasks = turn.progress.status.tasks.clone();
    tasks.retain(|task| task.step == StepName::Reindex);
    begin(input.intent, wanted, input.observed, number, turn);
    if candidate.is_some() {
        turn.progress.search_mut().candidate = candidate;
    }
    turn.progress.status.tasks = tasks;
}
