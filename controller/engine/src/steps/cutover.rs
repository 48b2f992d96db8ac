//! Cutover: the one moment when the traffic moves. Recorded before it is done, confirmed by observation.

use slipway_crds::v1alpha1::status::{Cutover, RollbackState, RollbackStatus, StepName};

use super::preboot::{benches, every, in_the_way};
use super::reindex::{Pass, facts, pass_since};
use super::{again, preflight, serving};
use crate::decision::Purpose;
use crate::intent::ReindexPlan;
use crate::observed::SearchFacts;
use crate::progress::spoken;
use crate::turn::{StepInput, Turn, Verdict};
use crate::window::{Bench, Which, bolt, keep_pins, lock, pin};

/// The last catch-up pass, the intent, the bolt, the flip.
pub fn step(input: &StepInput<'_>, turn: &mut Turn) -> Verdict {
    if !preflight::moves_traffic(&input.committed.status.workloads)
        || input
            .committed
            .revision()
            .is_some_and(|revision| revision.first_installation)
    {
        return Verdict::Skipped;
    }
    match input.committed.status.cutover {
        None => before(input, turn),
        Some(cutover) => flip(input, turn, cutover),
    }
}

/// Still reversible: everything is looked at once more before the intent.
fn before(input: &StepInput<'_>, turn: &mut Turn) -> Verdict {
    if let Some(verdict) = in_the_way(input) {
        return verdict;
    }
    let benches = benches(input);
    if let Some(lost) = benches
        .iter()
        .find(|bench| bench.old.is_none_or(|old| old.wanted == 0))
    {
        return Verdict::failed(
            "ServingSideLost",
            format!(
                "the ReplicaSet that serves Deployment {} was deleted or scaled away; it is being brought back and this revision is given up. {}",
                lost.deployment.name,
                again(input)
            ),
        );
    }
    let pinned = every(&benches, |bench| keep_pins(bench, Which::Old, turn));
    let locked = every(&benches, |bench| lock(bench, turn));
    if !pinned || !locked {
        return Verdict::working("waiting", "the window to be whole again before the cutover");
    }
    if let Some(verdict) = unready(input, turn, &benches) {
        return verdict;
    }
    if input.intent.live.suspend {
        return Verdict::working(
            "suspended",
            "suspended before the cutover; set spec.suspend to false to go on",
        );
    }
    let ready = input
        .committed
        .step(StepName::Preboot)
        .and_then(|step| step.finished_at)
        .unwrap_or(input.now);
    match pass_since(input, turn, ready) {
        Pass::Done => {}
        Pass::Verdict(Verdict::Failed { message, .. }) => {
            return Verdict::failed(
                "CatchUpFailed",
                format!(
                    "{message}. The traffic was not moved; {} serves unchanged. {}",
                    serving(input),
                    again(input)
                ),
            );
        }
        Pass::Verdict(verdict) => return verdict,
    }
    if let Some(verdict) = pairing(input) {
        return verdict;
    }
    let now = turn.now();
    turn.progress.status.cutover = Some(Cutover {
        intent_at: now,
        confirmed_at: None,
        watch_until: None,
    });
    for bench in &benches {
        let ready = bench.new.map(|new| new.ready);
        turn.workload(&bench.status.name, |workload| {
            workload.ready_at_cutover = ready;
            workload.last_pin_change_at = Some(now);
            workload.bolted_at = Some(now);
        });
    }
    Verdict::working("moving", "the traffic to move")
}

/// New pods that are not ready any more are waited for, as long as a boot may take.
fn unready(input: &StepInput<'_>, turn: &mut Turn, benches: &[Bench<'_>]) -> Option<Verdict> {
    let mut verdict = None;
    for bench in benches {
        if bench.new_ready() {
            turn.workload(&bench.status.name, |workload| workload.degraded_since = None);
            continue;
        }
        let now = turn.now();
        let since = bench.status.degraded_since.unwrap_or(now);
        turn.workload(&bench.status.name, |workload| {
            workload.degraded_since = Some(since);
        });
        let limit = input.intent.live.preboot_timeout;
        if turn.passed(since, limit) {
            return Some(Verdict::failed(
                "PrebootTimeout",
                format!(
                    "the new pods of {} were ready, then not ready any more for {} before the traffic was to move. The new side was removed; {} serves unchanged. {}",
                    bench.deployment.name,
                    spoken(limit),
                    serving(input),
                    again(input)
                ),
            ));
        }
        verdict = Some(Verdict::working(
            "waiting",
            "every new pod to be ready at the moment of the cutover",
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
                "GenerationLost",
                format!(
                    "index {} was deleted, replaced or is not usable, so the new pods would read what nobody verified. The traffic was not moved; {} serves unchanged. {}",
                    index.index,
                    serving(input),
                    again(input)
                ),
            ));
        }
    }
    if let Some((alias, place)) = crate::search::moved(reindex, candidate, seen) {
        return Some(Verdict::failed(
            "LiveAliasMoved",
            format!(
                "alias {alias} moved to {place} while old pods read it. Point it back; then {}",
                again(input)
            ),
        ));
    }
    None
}

/// The intent is committed: bolt, flip, confirm. What goes wrong from here on is a rollback.
fn flip(input: &StepInput<'_>, turn: &mut Turn, cutover: Cutover) -> Verdict {
    let benches = benches(input);
    if benches.is_empty() || in_the_way(input).is_some() {
        return in_the_way(input).unwrap_or(Verdict::Done);
    }
    // A side that died in this moment gets no traffic.
    if let Some(dead) = benches
        .iter()
        .find(|bench| !bench.pinned(Which::New) && !fit(bench))
    {
        return Verdict::failed(
            "NewSideLost",
            format!(
                "the new pods of {} were no longer ready when the traffic was to move. {}",
                dead.deployment.name,
                again(input)
            ),
        );
    }
    if !every(&benches, |bench| bench.pinned(Which::New) || bolt(bench, turn)) {
        return Verdict::working("moving", "the old side to be bolted");
    }
    if !every(&benches, |bench| pin(bench, Which::New, Purpose::Flip, turn)) {
        return Verdict::working(
            "moving",
            "the endpoints of the Services to be those of the new pods",
        );
    }
    confirmed(input, turn, cutover, &benches);
    Verdict::Done
}

/// Fully ready, or as ready as when the intent was made.
fn fit(bench: &Bench<'_>) -> bool {
    bench.new.is_some_and(|new| {
        new.ready > 0 && new.ready >= bench.status.ready_at_cutover.unwrap_or(1).min(new.wanted)
    })
}

fn confirmed(input: &StepInput<'_>, turn: &mut Turn, cutover: Cutover, benches: &[Bench<'_>]) {
    let now = turn.now();
    let until = now + input.intent.live.watch_for;
    turn.progress.status.cutover = Some(Cutover {
        confirmed_at: Some(now),
        watch_until: Some(until),
        ..cutover
    });
    turn.progress.status.serving = Some(input.committed.revision_name());
    for bench in benches {
        turn.workload(&bench.status.name, |workload| {
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
    turn.progress.status.rollback = Some(RollbackStatus {
        state,
        reason: reason.to_owned(),
        since: Some(now),
        until: Some(until),
    });
    let services: Vec<&str> = benches
        .iter()
        .flat_map(|bench| bench.services.iter().map(|service| service.name.as_str()))
        .collect();
    let reads = candidate
        .map(|candidate| format!(" (reads {})", candidate.token))
        .unwrap_or_default();
    turn.tell(
        "CutOver",
        input.committed.revision_name(),
        format!(
            "traffic of Service {} moved to {}{reads}; the old side stays warm for {}",
            services.join(", "),
            input.committed.revision_name(),
            spoken(input.intent.live.watch_for)
        ),
    );
}

#[cfg(test)]
mod tests;
