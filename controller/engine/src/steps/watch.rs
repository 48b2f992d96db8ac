//! Watch: both sides are full and ready, and rollback is one change of a Service. Workloads without traffic
//! follow in their own rolling update.

use jiff::SignedDuration;
use slipway_crds::names;
use slipway_crds::v1alpha1::status::{RollbackState, StepName, StopReason};

use crate::catch_up::{Pass, pass_since, waits_for_a_person};
use crate::decision::ReadAgain;
use crate::draft::{Draft, StepInput, Verdict};
use crate::progress::since;
use crate::rollouts;
use crate::sentence::{ask, human};
use crate::window::{Side, WorkloadWindow, gone, keep, windows};

/// A side that is worse than at the cutover this long, while the old one is better, is given up.
const DEGRADED: SignedDuration = SignedDuration::from_secs(30);

/// Watches; from its end on there is no way back, so the side that has the traffic is read again then.
pub fn step(input: &StepInput<'_>, draft: &mut Draft) -> Verdict {
    let verdict = watch(input, draft);
    if verdict == Verdict::Done {
        for set in windows(input).iter().filter_map(|window| window.new) {
            draft.read_again(ReadAgain::ReplicaSet(set.name.clone()));
        }
    }
    verdict
}

/// Rescue first, then the others, then the time.
fn watch(input: &StepInput<'_>, draft: &mut Draft) -> Verdict {
    let cutover = input.committed.status.cutover;
    if cutover.is_some_and(|cutover| cutover.confirmed_at.is_none()) {
        return Verdict::working("begins", "Waiting for the cutover to be recorded.");
    }
    if let Some(verdict) = gone(input).or_else(|| rescue(input, draft, &windows(input))) {
        return verdict;
    }
    let zero = |window: &&WorkloadWindow<'_>| window.deployment.replicas == 0;
    if let Some(zero) = windows(input).iter().find(zero) {
        let name = &zero.deployment.name;
        draft.warn(
            "ScaledToZero",
            name.to_string(),
            format!("Deployment {name} was scaled to 0. The old side goes now."),
        );
        return Verdict::Done;
    }
    match keep(input, draft, Side::New) {
        Ok(kept) => way_back(draft, &kept.windows),
        Err(verdict) => return verdict,
    }
    match rollouts::roll_forward(input, draft) {
        Verdict::Done | Verdict::Skipped => {}
        verdict @ (Verdict::Working { .. } | Verdict::Stalled { .. } | Verdict::Failed { .. }) => {
            return verdict;
        }
    }
    let Some(cutover) = cutover else {
        return Verdict::Done;
    };
    let confirmed = cutover.confirmed_at.unwrap_or(cutover.intent_at);
    tell_until(draft, confirmed + input.intent.live.watch_for);
    if let Some(verdict) = keep_caught_up(input, draft) {
        return verdict;
    }
    if draft.elapsed(confirmed, input.intent.live.watch_for) {
        return degraded(draft).unwrap_or(Verdict::Done);
    }
    let left = human(input.intent.live.watch_for - since(input.now, confirmed));
    Verdict::working(
        format!("old side warm, {left} left"),
        format!(
            "The old side stays warm for {left} more (spec.watch.for). To go back: {}",
            ask(input, names::ROLLBACK)
        ),
    )
}

/// The time is live: status tells the one that holds now.
fn tell_until(draft: &mut Draft, until: jiff::Timestamp) {
    let status = &mut draft.progress.status;
    if let Some(cutover) = &mut status.cutover {
        cutover.watch_until = Some(until);
    }
    if let Some(rollback) = &mut status.rollback
        && rollback.state != RollbackState::Unavailable
    {
        rollback.until = Some(until);
    }
}

/// Whether the new side has to be given up.
fn rescue(input: &StepInput<'_>, draft: &mut Draft, windows: &[WorkloadWindow<'_>]) -> Option<Verdict> {
    for window in windows.iter().filter(|window| window.deployment.replicas > 0) {
        let new = window.new.map_or(0, |new| new.ready);
        let old = window.old.map_or(0, |old| old.ready);
        let expected = window
            .status
            .ready_at_cutover
            .unwrap_or(1)
            .min(window.deployment.replicas);
        let worse = new < expected && old > new;
        let name = &window.deployment.name;
        let failed = |message: String| {
            if input.intent.live.automatic_rollback {
                Verdict::failed(StopReason::NewSideFailed, message)
            } else {
                Verdict::stalled(
                    StopReason::NewSideFailed,
                    format!(
                        "{message} rollback.onFailure is Manual. To go back: {}",
                        ask(input, names::ROLLBACK)
                    ),
                )
            }
        };
        if new == 0 && old > 0 {
            return Some(failed(format!(
                "No new pod of {name} is ready; the old side has {old}."
            )));
        }
        if !worse {
            if window.status.degraded_since.is_some() {
                draft.workload(&window.status.name, |workload| workload.degraded_since = None);
            }
            continue;
        }
        let now = draft.now();
        let from = window.status.degraded_since.unwrap_or(now);
        draft.workload(&window.status.name, |workload| {
            workload.degraded_since = Some(from);
        });
        if draft.elapsed(from, DEGRADED) {
            return Some(failed(format!(
                "Only {new} of {expected} new pods of {name} were ready for {}; the old side has {old}.",
                human(DEGRADED)
            )));
        }
    }
    None
}

/// While it is open whether the new side has to be given up, the old one is not ended.
fn degraded(draft: &Draft) -> Option<Verdict> {
    let mut workloads = draft.progress.status.workloads.iter();
    let worse = workloads.find(|workload| workload.degraded_since.is_some())?;
    Some(Verdict::working(
        "new side degraded",
        format!(
            "Waiting for the new pods of {} to be ready again. The traffic goes back after {} with fewer of them than at the cutover.",
            worse.deployment,
            human(DEGRADED)
        ),
    ))
}

/// Says when the old side is lost: there is no way back then.
fn way_back(draft: &mut Draft, windows: &[WorkloadWindow<'_>]) {
    let lost = windows
        .iter()
        .find(|window| window.old.is_none_or(|old| old.wanted == 0));
    let now = draft.now();
    if let (Some(lost), Some(rollback)) = (lost, &mut draft.progress.status.rollback)
        && rollback.state != RollbackState::Unavailable
    {
        rollback.state = RollbackState::Unavailable;
        rollback.reason = format!(
            "the old ReplicaSet of Deployment {} was deleted or scaled away",
            lost.deployment.name
        );
        rollback.since = Some(now);
        draft.warn(
            "WayBackLost",
            lost.deployment.name.to_string(),
            format!(
                "The old ReplicaSet of Deployment {} is gone. The new side serves, and there is no way back.",
                lost.deployment.name
            ),
        );
    }
}

/// Old pods still write to their own index and to the database; passes repeat that for the new one. One
/// that fails keeps the old side warm until a person decides.
fn keep_caught_up(input: &StepInput<'_>, draft: &mut Draft) -> Option<Verdict> {
    let reindex = input.plan.reindex.as_ref()?;
    reindex.catch_up.as_ref()?;
    let last = input
        .committed
        .attempts(StepName::Reindex, "catch-up")
        .next_back()
        .filter(|last| !last.resumed)?;
    let ended = last.finished_at.unwrap_or(input.now);
    let due = last.outcome.is_none() || last.retried || draft.elapsed(ended, reindex.live.max_lag);
    let not_before = if due { ended } else { last.intent_at };
    match pass_since(input, draft, not_before) {
        Pass::Verdict(Verdict::Failed { message, .. }) => {
            waits_for_a_person(input, draft);
            Some(Verdict::stalled(
                StopReason::CatchUpFailed,
                format!(
                    "{message} The old side stays warm until you decide. To try again: {} To go back: {} To go on without: {}",
                    ask(input, names::RETRY),
                    ask(input, names::ROLLBACK),
                    ask(input, names::RESUME)
                ),
            ))
        }
        Pass::Verdict(verdict @ Verdict::Stalled { .. }) => Some(verdict),
        // A pass at work does not lengthen the watch: one more runs when the old pods are gone.
        Pass::Verdict(Verdict::Working { .. } | Verdict::Done | Verdict::Skipped) | Pass::Done => None,
    }
}

#[cfg(test)]
mod tests;
