//! Retire: the old side goes, the Services select as the user wrote them, the stable alias follows.

use slipway_crds::v1alpha1::status::{Candidate, Generation, RollbackState, RollbackStatus, StepName};

use super::preboot::benches;
use super::reindex::{Pass, facts, pass_since};
use crate::decision::Effect;
use crate::intent::ReindexPlan;
use crate::observed::{NameView, SearchFacts};
use crate::search::retired;
use crate::turn::{StepInput, Turn, Verdict};
use crate::window::{Which, settle};

/// The old side down, unpin, close, the last pass, the stable alias.
pub fn step(input: &StepInput<'_>, turn: &mut Turn) -> Verdict {
    let rollback = input.committed.status.rollback.as_ref();
    if rollback.is_none_or(|rollback| rollback.state != RollbackState::Unavailable) {
        // The end of the old side is an intent: it is committed before the first patch.
        let since = Some(turn.now());
        let reason = "the old side is being stopped".to_owned();
        turn.progress.status.rollback = Some(RollbackStatus {
            state: RollbackState::Unavailable,
            reason,
            since,
            until: None,
        });
        return Verdict::working("begins", "the old side to be stopped");
    }
    if let Some(message) = dead(input) {
        return Verdict::failed("NewSideFailed", message);
    }
    let mut waits = Vec::new();
    let mut done = true;
    for workload in &input.committed.status.workloads {
        done &= settle(workload, input.observed, Which::New, &mut waits, turn);
    }
    if !done {
        return Verdict::working(
            "old side ends",
            format!(
                "{}, since {}",
                waits.join("; "),
                super::begun(input, StepName::Retire)
            ),
        );
    }
    let candidate = input.committed.candidate();
    match candidate.filter(|candidate| candidate.verified_at.is_some()) {
        None => Verdict::Done,
        // What settle recorded is committed before the alias moves.
        Some(_) if input.committed.window_open() => {
            Verdict::working("old side gone", "the end of the window to be recorded")
        }
        Some(candidate) => stable_alias(input, turn, candidate),
    }
}

/// Where the new side died right when Watch was over: the traffic gets no answer from it, and what is left of every
/// old side could give one. The old pods end only as new ones are available, so this may last.
fn dead(input: &StepInput<'_>) -> Option<String> {
    let benches = benches(input);
    let mut open = benches.iter().filter(|bench| bench.deployment.replicas > 0);
    let died = open
        .clone()
        .find(|bench| bench.new.is_none_or(|new| new.ready == 0))?;
    let way_back = open.all(|bench| bench.deployment.window && bench.left_alone());
    (input.intent.live.automatic_rollback && way_back).then(|| {
        format!(
            "no new pod of {} is ready while the old side is being stopped",
            died.deployment.name
        )
    })
}

fn stable_alias(input: &StepInput<'_>, turn: &mut Turn, candidate: &Candidate) -> Verdict {
    let Some(reindex) = &input.plan.reindex else {
        return Verdict::Done;
    };
    let gone = input
        .committed
        .step(StepName::Retire)
        .and_then(|step| step.started_at)
        .unwrap_or(input.now);
    match pass_since(input, turn, gone) {
        Pass::Done => {}
        Pass::Verdict(Verdict::Failed { message, .. }) => {
            return Verdict::stalled(
                "CatchUpFailed",
                format!(
                    "{message}. The last writes of the old pods may be missing in {}. After the fix annotate slipway.dev/retry, or slipway.dev/resume to go on without, with {}",
                    candidate.token,
                    input.committed.revision_name()
                ),
            );
        }
        Pass::Verdict(verdict) => return verdict,
    }
    let facts = match facts(input) {
        Ok(facts) => facts,
        Err(verdict) => return verdict,
    };
    for index in &candidate.indices {
        match move_alias(
            &reindex.url,
            candidate,
            &index.alias,
            &index.index,
            &index.uuid,
            facts,
        ) {
            Step::There => {}
            Step::Move(effect) => {
                turn.effects.push(effect);
                return Verdict::working(
                    "alias moves",
                    format!("alias {} to move to {}", index.alias, index.index),
                );
            }
            Step::Conflict(message) => return Verdict::stalled("AliasConflict", message),
        }
    }
    become_live(input, turn, reindex, candidate);
    Verdict::Done
}

enum Step {
    There,
    Move(Effect),
    Conflict(String),
}

fn move_alias(
    url: &str,
    candidate: &Candidate,
    alias: &str,
    index: &str,
    uuid: &str,
    facts: &SearchFacts,
) -> Step {
    let before = candidate.baseline.iter().find(|before| before.alias == alias);
    if facts.indices.get(index).is_none_or(|view| view.uuid != uuid) {
        return Step::Conflict(format!(
            "index {index} was deleted or replaced; the new pods read it. Build it again: change the fingerprint or the image"
        ));
    }
    let from = match (facts.names.get(alias), before) {
        (Some(NameView::Alias(indices)), _) if indices.as_slice() == [index.to_owned()] => {
            return Step::There;
        }
        (Some(NameView::Alias(indices)), Some(before)) if indices.as_slice() == [before.index.clone()] => {
            Some(before.index.clone())
        }
        (None, None) => None,
        (other, before) => {
            let place = match other {
                None => "nothing".to_owned(),
                Some(NameView::Index) => "an index of its own name".to_owned(),
                Some(NameView::Alias(indices)) => indices.join(" and "),
            };
            let expected = before.map_or_else(|| "nothing".to_owned(), |before| before.index.clone());
            return Step::Conflict(format!(
                "alias {alias} is on {place}, where {expected} was expected: somebody else moved it. Point it to {index} yourself, or back to {expected}"
            ));
        }
    };
    Step::Move(Effect::MoveAlias {
        url: url.to_owned(),
        alias: alias.to_owned(),
        from,
        to: index.to_owned(),
        to_uuid: uuid.to_owned(),
    })
}

fn become_live(input: &StepInput<'_>, turn: &mut Turn, reindex: &ReindexPlan, candidate: &Candidate) {
    let delete_after = turn.now() + reindex.keep_for;
    let search = turn.progress.search_mut();
    let old = search.live.take().unwrap_or_default();
    let old_indices = if old.indices.is_empty() {
        &candidate.baseline
    } else {
        &old.indices
    };
    let mut going: Vec<_> = old_indices
        .iter()
        .filter(|index| !candidate.indices.iter().any(|new| new.uuid == index.uuid))
        .map(|index| retired(index, old.token.as_deref(), delete_after))
        .collect();
    search.retired.append(&mut going);
    search.live = Some(Generation {
        token: Some(candidate.token.clone()),
        fingerprint: candidate.fingerprint.clone(),
        indices: candidate.indices.clone(),
    });
    search.candidate = None;
    let names: Vec<String> = candidate
        .indices
        .iter()
        .map(|index| format!("{} moved to {}", index.alias, index.index))
        .collect();
    turn.tell(
        "AliasMoved",
        candidate.token.clone(),
        format!(
            "alias {}; the indices of {} are kept until {delete_after:.0}",
            names.join(", "),
            input
                .committed
                .revision()
                .and_then(|revision| revision.previous.as_deref())
                .unwrap_or("what was there before")
        ),
    );
}

#[cfg(test)]
mod tests;
