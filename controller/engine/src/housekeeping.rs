//! What is tidied up while nothing is released: old Jobs, and indices that nobody needs any more.

use std::collections::BTreeSet;

use jiff::SignedDuration;
use slipway_crds::v1alpha1::status::{Outcome, RetiredIndex};

use crate::decision::Effect;
use crate::intent::ReindexPlan;
use crate::observed::{JobState, SearchView};
use crate::turn::{StepInput, Turn};
use crate::window::patches::{claim_deployment, let_go};

/// An index that something else still needs is looked at again after this long.
const AGAIN: SignedDuration = SignedDuration::from_hours(1);

/// An engine that gave no answer is asked again after this long.
const ENGINE_AWAY: SignedDuration = SignedDuration::from_mins(1);

/// Lets go of Deployments and Services that the Release does not name any more, and takes off a pin that came late:
/// one that was on its way when its window ended.
pub fn strays(input: &StepInput<'_>, turn: &mut Turn) {
    let (uid, plan) = (Some(&input.intent.meta.uid), input.plan);
    for deployment in input.observed.deployments.values() {
        let named = plan
            .workloads
            .iter()
            .any(|workload| workload.deployment == deployment.name);
        if deployment.claim.as_ref() == uid && !named {
            claim_deployment(deployment, None, turn);
        }
    }
    for service in input.observed.services.values() {
        let named = plan
            .workloads
            .iter()
            .any(|workload| workload.services.contains(&service.name));
        if service.claim.as_ref() == uid && (service.window || !named) {
            let_go(service, turn);
        }
    }
}

/// Deletes Jobs of revisions that the history has forgotten.
pub fn old_jobs(input: &StepInput<'_>, turn: &mut Turn) {
    let known: BTreeSet<i64> = input
        .committed
        .status
        .history
        .iter()
        .map(|past| past.number)
        .collect();
    let oldest = known.first().copied().unwrap_or_default();
    let full = known.len() >= input.intent.live.history;
    for job in input.observed.jobs.values() {
        let forgotten = full && job.revision.is_some_and(|number| number < oldest);
        let ours = job.release_uid.as_ref() == Some(&input.intent.meta.uid);
        if ours && forgotten && job.state != JobState::Active && !job.deleting {
            turn.effects.push(Effect::DeleteJob {
                name: job.name.clone(),
                uid: job.uid.clone(),
            });
        }
    }
}

/// Whether a retired index is due, by its time or because too many generations are kept. What is due by its
/// time, such as a candidate that failed, takes no other generation's place.
pub fn due(retired: &[RetiredIndex], index: &RetiredIndex, keep: usize, now: jiff::Timestamp) -> bool {
    let mut tokens: Vec<Option<&str>> = Vec::new();
    for known in retired.iter().rev().filter(|known| known.delete_after > now) {
        if !tokens.contains(&known.token.as_deref()) {
            tokens.push(known.token.as_deref());
        }
    }
    let place = tokens.iter().position(|token| *token == index.token.as_deref());
    index.delete_after <= now || place.is_some_and(|place| place >= keep.max(1) && keep > 0) || keep == 0
}

/// Deletes, one at a time, indices whose name and UUID were recorded and which no alias but their own
/// holds. A candidate that failed is kept for its time.
pub fn old_indices(input: &StepInput<'_>, turn: &mut Turn) {
    let Some(reindex) = &input.plan.reindex else {
        return;
    };
    failed_candidate(input, turn, reindex);
    let search = input.committed.status.search.clone().unwrap_or_default();
    if let Some(next) = search
        .retired
        .iter()
        .map(|index| index.delete_after)
        .filter(|time| *time > input.now)
        .min()
    {
        turn.wake_after(next.duration_since(input.now));
    }
    let facts = match &input.observed.search {
        SearchView::Read(facts) => facts,
        SearchView::Unknown(_) => {
            turn.wake_after(ENGINE_AWAY);
            return;
        }
        SearchView::NotRead => return,
    };
    let live: BTreeSet<&str> = search
        .live
        .iter()
        .flat_map(|live| &live.indices)
        .map(|index| index.uuid.as_str())
        .collect();
    for index in search
        .retired
        .iter()
        .filter(|index| due(&search.retired, index, reindex.keep_generations, input.now))
    {
        let view = facts
            .indices
            .get(&index.index)
            .filter(|view| view.uuid == index.uuid);
        let Some(view) = view else {
            forget(turn, index);
            continue;
        };
        let own = ReindexPlan::name(&index.alias, index.token.as_deref());
        let others: Vec<&String> = view
            .aliases
            .iter()
            .filter(|alias| **alias != own || index.token.is_none())
            .collect();
        if live.contains(index.uuid.as_str()) || !others.is_empty() {
            let later = turn.now() + AGAIN;
            if let Some(known) = turn
                .progress
                .search_mut()
                .retired
                .iter_mut()
                .find(|known| known.uuid == index.uuid)
            {
                known.delete_after = later;
            }
            continue;
        }
        let own_alias = index.token.as_ref().map(|_| own);
        turn.effects.push(Effect::DeleteIndex {
            url: reindex.url.clone(),
            own_alias,
            index: index.index.clone(),
            uuid: index.uuid.clone(),
        });
        turn.tell(
            "IndexDeleted",
            index.index.clone(),
            format!("index {} is deleted: nothing needs it any more", index.index),
        );
        return;
    }
}

fn forget(turn: &mut Turn, index: &RetiredIndex) {
    turn.progress
        .search_mut()
        .retired
        .retain(|known| known.uuid != index.uuid);
}

fn failed_candidate(input: &StepInput<'_>, turn: &mut Turn, reindex: &ReindexPlan) {
    let candidate = input
        .committed
        .status
        .search
        .as_ref()
        .and_then(|search| search.candidate.as_ref());
    let ended = input.committed.revision().and_then(|revision| revision.ended);
    let (Some(_), Some(ended)) = (candidate, ended) else {
        return;
    };
    if ended.outcome != Outcome::Complete && turn.passed(ended.at, reindex.keep_for) {
        crate::levers::give_up_candidate(turn);
    }
}

#[cfg(test)]
mod tests;
