//! Retire: the old side goes, the Services select as the user wrote them, the stable alias follows.

use slipway_crds::v1alpha1::status::{
    Candidate, Generation, GenerationIndex, RetireIntent, RollbackState, RollbackStatus, StepName, StopReason,
};
use slipway_crds::{RevisionName, names};

use crate::catch_up::{Pass, pass_since, waits_for_a_person};
use crate::decision::{Call, Purpose};
use crate::draft::{Draft, StepInput, Verdict};
use crate::intent::ReindexPlan;
use crate::observed::{NameView, SearchFacts};
use crate::question::Question;
use crate::search::{self, Counts, facts, retire};
use crate::sentence::{ask, at_work_for};
use crate::window::{self, Side, windows};

/// Where the stable aliases are.
pub fn asks(input: &StepInput<'_>) -> Vec<Question> {
    if input.committed.candidate().is_none() || !input.committed.started(StepName::Retire) {
        return Vec::new();
    }
    search::asks(input, Counts::No)
}

/// The old side down, unpin, close, the last pass, the stable alias.
pub fn step(input: &StepInput<'_>, draft: &mut Draft) -> Verdict {
    if input.committed.status.retire.is_none() && !input.committed.first_installation() {
        // The end of the old side is an intent: it is committed before the first patch.
        intend(draft);
        return Verdict::working("begins", "Waiting for the old side to be stopped.");
    }
    if let Some(message) = dead(input) {
        return Verdict::failed(StopReason::NewSideFailed, message);
    }
    let mut waits = Vec::new();
    let mut done = true;
    for workload in &input.committed.status.workloads {
        done &= window::end(workload, input.observed, Side::New, &mut waits, draft);
    }
    if !done {
        return Verdict::working(
            "old side ends",
            format!(
                "Waiting for {}: {} so far.",
                waits.join("; "),
                at_work_for(input, StepName::Retire)
            ),
        );
    }
    let candidate = input.committed.candidate();
    match candidate.filter(|candidate| candidate.verified_at.is_some()) {
        None => Verdict::Done,
        // What the end of the window recorded is committed before the alias moves.
        Some(_) if input.committed.window_open() => Verdict::working(
            "old side gone",
            "Waiting for the end of the window to be recorded.",
        ),
        Some(candidate) => stable_alias(input, draft, candidate),
    }
}

fn intend(draft: &mut Draft) {
    let now = draft.now();
    let status = &mut draft.progress.status;
    status.retire = Some(RetireIntent { intent_at: now });
    status.rollback = Some(RollbackStatus {
        state: RollbackState::Unavailable,
        reason: "the old side is being stopped".to_owned(),
        since: Some(now),
        until: None,
        traffic_back_at: None,
    });
}

/// Where the new side died right when Watch was over: the traffic gets no answer from it, and what is left of every
/// old side could give one. The old pods end only as new ones are available, so this may last.
fn dead(input: &StepInput<'_>) -> Option<String> {
    let windows = windows(input);
    let mut open = windows.iter().filter(|window| window.deployment.replicas > 0);
    let died = open
        .clone()
        .find(|window| window.new.is_none_or(|new| new.ready == 0))?;
    let way_back = open.all(|window| window.deployment.window && window.left_alone());
    (input.intent.live.automatic_rollback && way_back).then(|| {
        format!(
            "No new pod of {} is ready while the old side is being stopped.",
            died.deployment.name
        )
    })
}

fn stable_alias(input: &StepInput<'_>, draft: &mut Draft, candidate: &Candidate) -> Verdict {
    let Some(reindex) = &input.plan.reindex else {
        return Verdict::Done;
    };
    let gone = input
        .committed
        .step(StepName::Retire)
        .and_then(|step| step.started_at)
        .unwrap_or(input.now);
    match pass_since(input, draft, gone) {
        Pass::Done => {}
        Pass::Verdict(Verdict::Failed { message, .. }) => {
            waits_for_a_person(input, draft);
            return Verdict::stalled(
                StopReason::CatchUpFailed,
                format!(
                    "{message} The last writes of the old pods may be missing in {}. To try again after the fix: {} To go on without: {}",
                    candidate.token,
                    ask(input, names::RETRY),
                    ask(input, names::RESUME)
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
        match move_alias(&reindex.url, candidate, index, facts) {
            Step::There => {}
            Step::Move(call) => {
                draft.call(Purpose::MoveAlias, call);
                return Verdict::working(
                    "alias moves",
                    format!("Waiting for alias {} to move to {}.", index.alias, index.index),
                );
            }
            Step::Conflict(message) => return Verdict::stalled(StopReason::AliasConflict, message),
        }
    }
    become_live(input, draft, reindex, candidate);
    Verdict::Done
}

enum Step {
    There,
    Move(Call),
    Conflict(String),
}

fn move_alias(url: &str, candidate: &Candidate, target: &GenerationIndex, facts: &SearchFacts) -> Step {
    let GenerationIndex {
        alias, index, uuid, ..
    } = target;
    let before = candidate.baseline.iter().find(|before| before.alias == *alias);
    if facts.indices.get(index).is_none_or(|view| view.uuid != *uuid) {
        return Step::Conflict(format!(
            "Index {index}, which the new pods read, was deleted or replaced. Build it again: change the fingerprint or the image."
        ));
    }
    let from = match (facts.names.get(alias), before) {
        (Some(NameView::Alias(indices)), _) if indices.as_slice() == [index.clone()] => {
            return Step::There;
        }
        (Some(NameView::Alias(indices)), Some(before)) if indices.as_slice() == [before.index.clone()] => {
            Some(before.index.clone())
        }
        (None, None) => None,
        (other, before) => {
            let place = NameView::place(other);
            let expected = before.map_or_else(|| "nothing".to_owned(), |before| before.index.to_string());
            return Step::Conflict(format!(
                "Alias {alias} is on {place}, where {expected} was expected: somebody else moved it. Point it to {index} yourself, or back to {expected}."
            ));
        }
    };
    Step::Move(Call::MoveAlias {
        url: url.to_owned(),
        alias: alias.clone(),
        from,
        to: index.clone(),
        to_uuid: uuid.clone(),
    })
}

fn become_live(input: &StepInput<'_>, draft: &mut Draft, reindex: &ReindexPlan, candidate: &Candidate) {
    let delete_after = draft.now() + reindex.live.keep_for;
    let search = draft.progress.search_mut();
    let old = search.live.take().unwrap_or_default();
    let old_indices = if old.indices.is_empty() {
        &candidate.baseline
    } else {
        &old.indices
    };
    let going = old_indices
        .iter()
        .filter(|index| !candidate.indices.iter().any(|new| new.uuid == index.uuid));
    let url = old.url.as_deref().unwrap_or(&reindex.url);
    let mut going = retire(going, old.token.as_ref(), Some(url), delete_after);
    search.retired.append(&mut going);
    search.live = Some(Generation {
        url: Some(reindex.url.clone()),
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
    draft.tell(
        "AliasMoved",
        candidate.token.to_string(),
        format!(
            "alias {}; the indices of {} are kept until {delete_after:.0}",
            names.join(", "),
            input
                .committed
                .revision()
                .and_then(|revision| revision.previous.as_ref())
                .map_or("what was there before", RevisionName::as_str)
        ),
    );
}

#[cfg(test)]
mod tests;
