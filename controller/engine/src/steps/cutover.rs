//! Cutover: the one moment when the traffic moves. Recorded before it is done, confirmed by observation.

use slipway_crds::v1alpha1::status::{Cutover, RollbackState, RollbackStatus, StepName, StopReason};

use crate::catch_up::{Pass, pass_since};
use crate::decision::Purpose;
use crate::draft::{Draft, StepInput, Verdict};
use crate::intent::ReindexPlan;
use crate::observed::SearchFacts;
use crate::question::Question;
use crate::search::{self, Counts, facts};
use crate::sentence::{again, human, unchanged};
use crate::window::{Kept, Side, WorkloadWindow, bolt, every, in_the_way, keep, pin, windows};
use crate::workloads::moves_traffic;

/// Whether the new generation is still what was verified.
pub fn asks(input: &StepInput<'_>) -> Vec<Question> {
    if input.committed.candidate().is_none() {
        return Vec::new();
    }
    search::asks(input, Counts::No)
}

/// The last catch-up pass, the intent, the bolt, the flip.
pub fn step(input: &StepInput<'_>, draft: &mut Draft) -> Verdict {
    if !moves_traffic(&input.committed.status.workloads) {
        return Verdict::Skipped;
    }
    match input.committed.status.cutover {
        None => before(input, draft),
        Some(cutover) => flip(input, draft, cutover),
    }
}

/// Still reversible: everything is looked at once more before the intent.
fn before(input: &StepInput<'_>, draft: &mut Draft) -> Verdict {
    let windows = match keep(input, draft, Side::Old) {
        Ok(Kept { windows, whole: true }) => windows,
        Ok(Kept { whole: false, .. }) => {
            return Verdict::working(
                "waiting",
                "Waiting for the window to be whole again before the cutover.",
            );
        }
        Err(verdict) => return verdict,
    };
    if let Some(verdict) = unready(input, draft, &windows) {
        return verdict;
    }
    if input.intent.live.suspend {
        return Verdict::suspended();
    }
    let ready = input
        .committed
        .step(StepName::Preboot)
        .and_then(|step| step.finished_at)
        .unwrap_or(input.now);
    match pass_since(input, draft, ready) {
        Pass::Done => {}
        Pass::Verdict(Verdict::Failed { message, .. }) => {
            return Verdict::failed(
                StopReason::CatchUpFailed,
                format!(
                    "{message} The traffic was not moved; {}{}",
                    unchanged(input),
                    again(input)
                ),
            );
        }
        Pass::Verdict(verdict) => return verdict,
    }
    if let Some(verdict) = pairing(input) {
        return verdict;
    }
    let now = draft.now();
    draft.progress.status.cutover = Some(Cutover {
        intent_at: now,
        confirmed_at: None,
        watch_until: None,
    });
    for window in &windows {
        let ready = window.new.map(|new| new.ready);
        draft.workload(&window.status.name, |workload| {
            workload.ready_at_cutover = ready;
            workload.last_pin_change_at = Some(now);
            workload.bolted_at = Some(now);
        });
    }
    Verdict::working("moving", "Waiting for the traffic to move.")
}

/// New pods that are not ready any more are waited for, as long as a boot may take.
fn unready(input: &StepInput<'_>, draft: &mut Draft, windows: &[WorkloadWindow<'_>]) -> Option<Verdict> {
    let mut verdict = None;
    for window in windows {
        if window.new_ready() {
            draft.workload(&window.status.name, |workload| workload.degraded_since = None);
            continue;
        }
        let now = draft.now();
        let since = window.status.degraded_since.unwrap_or(now);
        draft.workload(&window.status.name, |workload| {
            workload.degraded_since = Some(since);
        });
        let limit = input.intent.live.preboot_timeout;
        if draft.elapsed(since, limit) {
            return Some(Verdict::failed(
                StopReason::PrebootTimeout,
                format!(
                    "The new pods of {} were ready, then not ready any more for {} before the traffic was to move. The new side is removed; {}{}",
                    window.deployment.name,
                    human(limit),
                    unchanged(input),
                    again(input)
                ),
            ));
        }
        verdict = Some(Verdict::working(
            "waiting",
            "Waiting for every new pod to be ready at the moment of the cutover.",
        ));
    }
    verdict
}

/// No pod gets traffic while the generation that it reads is missing or another one.
fn pairing(input: &StepInput<'_>) -> Option<Verdict> {
    let reindex = input.plan.reindex.as_ref()?;
    let candidate = input.committed.status.search.as_ref()?.candidate.as_ref()?;
    let seen: &SearchFacts = match facts(input) {
        Ok(seen) => seen,
        Err(verdict) => return Some(verdict),
    };
    for index in &candidate.indices {
        let name = ReindexPlan::name(&index.alias, Some(&candidate.token));
        let same = seen
            .resolve(&name)
            .is_some_and(|(_, view)| view.uuid == index.uuid && view.trouble.is_none());
        if !same {
            return Some(Verdict::failed(
                StopReason::GenerationLost,
                format!(
                    "Index {} was deleted, replaced or is not usable, so the new pods would read what nobody verified. The traffic was not moved; {}{}",
                    index.index,
                    unchanged(input),
                    again(input)
                ),
            ));
        }
    }
    if let Some((alias, place)) = search::moved(reindex, candidate, seen) {
        return Some(Verdict::failed(
            StopReason::LiveAliasMoved,
            format!(
                "Alias {alias} moved to {place} while old pods read it. Point it back.{}",
                again(input)
            ),
        ));
    }
    None
}

/// The intent is committed: bolt, flip, confirm. What goes wrong from here on is a rollback.
fn flip(input: &StepInput<'_>, draft: &mut Draft, cutover: Cutover) -> Verdict {
    let in_the_way = in_the_way(input);
    let windows = windows(input);
    if windows.is_empty() || in_the_way.is_some() {
        return in_the_way.unwrap_or(Verdict::Done);
    }
    // A side that died in this moment gets no traffic.
    let dead = |window: &&WorkloadWindow<'_>| !window.pinned(Side::New) && !fit(window);
    if let Some(dead) = windows.iter().find(dead) {
        return Verdict::failed(
            StopReason::NewSideLost,
            format!(
                "The new pods of {} were no longer ready when the traffic was to move.",
                dead.deployment.name
            ),
        );
    }
    if !every(&windows, |window| window.pinned(Side::New) || bolt(window, draft)) {
        return Verdict::working("moving", "Waiting for the old side to be bolted.");
    }
    if !every(&windows, |window| pin(window, Side::New, Purpose::Flip, draft)) {
        return Verdict::working(
            "moving",
            "Waiting for the endpoints of the Services to be those of the new pods.",
        );
    }
    confirmed(input, draft, cutover, &windows);
    Verdict::Done
}

/// Fully ready, or as ready as when the intent was made.
fn fit(window: &WorkloadWindow<'_>) -> bool {
    window.new.is_some_and(|new| {
        new.ready > 0 && new.ready >= window.status.ready_at_cutover.unwrap_or(1).min(new.wanted)
    })
}

fn confirmed(input: &StepInput<'_>, draft: &mut Draft, cutover: Cutover, windows: &[WorkloadWindow<'_>]) {
    let now = draft.now();
    let until = now + input.intent.live.watch_for;
    draft.progress.status.cutover = Some(Cutover {
        confirmed_at: Some(now),
        watch_until: Some(until),
        ..cutover
    });
    draft.progress.status.serving = Some(input.committed.revision_name());
    for window in windows {
        draft.workload(&window.status.name, |workload| {
            workload.last_pin_change_at = Some(now);
        });
    }
    let candidate = input.committed.candidate();
    let (state, reason) = match candidate {
        Some(_) => (
            RollbackState::Stale,
            "the old side is warm; its index misses what is written since the cutover",
        ),
        None => (RollbackState::Ready, "the old side is warm"),
    };
    draft.progress.status.rollback = Some(RollbackStatus {
        state,
        reason: reason.to_owned(),
        since: Some(now),
        until: Some(until),
        traffic_back_at: None,
    });
    let services: Vec<&str> = windows
        .iter()
        .flat_map(|window| window.services.iter().map(|service| service.name.as_str()))
        .collect();
    let reads = candidate
        .map(|candidate| format!(" (reads {})", candidate.token))
        .unwrap_or_default();
    draft.tell(
        "CutOver",
        input.committed.revision_name().to_string(),
        format!(
            "traffic of Service {} moved to {}{reads}; the old side stays warm for {}",
            services.join(", "),
            input.committed.revision_name(),
            human(input.intent.live.watch_for)
        ),
    );
}

#[cfg(test)]
mod tests;
