//! What is tidied up while nothing is released: old Jobs, and indices that nobody needs any more.

use std::collections::BTreeSet;

use jiff::SignedDuration;
use slipway_crds::v1alpha1::status::{Outcome, RetiredIndex, SearchStatus};
use slipway_crds::{AliasName, GenerationToken};

use crate::decision::{Call, Purpose};
use crate::draft::{Draft, StepInput};
use crate::intent::ReindexPlan;
use crate::observed::{JobState, SearchFacts};
use crate::question::{Known, Question};
use crate::search::{Counts, SearchQuestion};
use crate::window::patches::{claim_deployment, let_go};

/// An index that something else still needs is looked at again after this long.
const AGAIN: SignedDuration = SignedDuration::from_hours(1);

/// An engine that gave no answer is asked again after this long.
const ENGINE_AWAY: SignedDuration = SignedDuration::from_mins(1);

/// Lets go of Deployments and Services that the Release does not name any more, and takes off a pin that came late:
/// one that was on its way when its window ended.
pub fn strays(input: &StepInput<'_>, draft: &mut Draft) {
    let (uid, plan) = (Some(&input.intent.meta.uid), input.plan);
    for deployment in input.observed.deployments.values() {
        let named = plan
            .workloads
            .iter()
            .any(|workload| workload.deployment == deployment.name);
        if deployment.claim.as_ref() == uid && !named {
            claim_deployment(deployment, None, draft);
        }
    }
    for service in input.observed.services.values() {
        let named = plan
            .workloads
            .iter()
            .any(|workload| workload.services.contains(&service.name));
        if service.claim.as_ref() == uid && (service.window || !named) {
            let_go(service, draft);
        }
    }
}

/// Deletes Jobs of revisions that the history has forgotten.
pub fn old_jobs(input: &StepInput<'_>, draft: &mut Draft) {
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
            draft.delete_job(job);
        }
    }
}

/// Whether a retired index is due, by its time or because too many generations are kept. What is due by its
/// time, such as a candidate that failed, takes no other generation's place.
pub fn due(retired: &[RetiredIndex], index: &RetiredIndex, keep: usize, now: jiff::Timestamp) -> bool {
    let mut tokens: Vec<Option<&GenerationToken>> = Vec::new();
    for known in retired.iter().rev().filter(|known| known.delete_after > now) {
        if !tokens.contains(&known.token.as_ref()) {
            tokens.push(known.token.as_ref());
        }
    }
    let place = tokens.iter().position(|token| *token == index.token.as_ref());
    index.delete_after <= now || place.is_some_and(|place| place >= keep.max(1) && keep > 0) || keep == 0
}

/// Address of the engine that a retired index is on.
fn engine<'a>(reindex: &'a ReindexPlan, index: &'a RetiredIndex) -> &'a str {
    index.url.as_deref().unwrap_or(&reindex.url)
}

/// The indices whose time is over, of one engine: others have their turn when it is done.
fn due_indices<'a>(input: &StepInput<'a>, reindex: &'a ReindexPlan) -> (&'a str, Vec<&'a RetiredIndex>) {
    let search = input.committed.status.search.as_ref();
    let retired = search.map_or(&[][..], |search| &search.retired);
    let keep = reindex.live.keep_generations;
    let mut all = retired
        .iter()
        .filter(|index| due(retired, index, keep, input.now));
    let Some(first) = all.next() else {
        return (&reindex.url, Vec::new());
    };
    let url = engine(reindex, first);
    let same = all.filter(|index| engine(reindex, index) == url);
    (url, std::iter::once(first).chain(same).collect())
}

/// At rest, what the indices are whose time is over.
pub fn asks(input: &StepInput<'_>) -> Option<Question> {
    let reindex = input.plan.reindex.as_ref()?;
    if input.committed.revision()?.ended.is_none() || input.begins() {
        return None;
    }
    let (url, due) = due_indices(input, reindex);
    let retired = &input.committed.status.search.as_ref()?.retired;
    // All of this engine: one that is due a moment later must not be taken for gone.
    let on_it = retired.iter().filter(|index| engine(reindex, index) == url);
    (!due.is_empty()).then(|| {
        Question::Search(SearchQuestion {
            url: url.to_owned(),
            names: Vec::new(),
            prefixes: Vec::new(),
            indices: on_it.map(|index| index.index.clone()).collect(),
            counts: Counts::No,
        })
    })
}

/// Deletes, one at a time, indices whose name and UUID were recorded and which no alias but their own
/// holds. A candidate that failed is kept for its time.
pub fn old_indices(input: &StepInput<'_>, draft: &mut Draft) {
    let Some(reindex) = &input.plan.reindex else {
        return;
    };
    failed_candidate(input, draft, reindex);
    let search = input.committed.status.search.clone().unwrap_or_default();
    let times = search.retired.iter().map(|index| index.delete_after);
    if let Some(next) = times.filter(|time| *time > input.now).min() {
        draft.wake_after(next.duration_since(input.now));
    }
    let (url, due) = due_indices(input, reindex);
    let facts = match input.observed.answers.search() {
        Known::Is(facts) => facts,
        Known::Unknown(why) if url != reindex.url => return leave(draft, &due, url, why),
        Known::Unknown(_) => return draft.wake_after(ENGINE_AWAY),
        Known::NotAsked => return,
    };
    for index in due {
        let own_alias = index
            .token
            .as_ref()
            .map(|token| ReindexPlan::name(&index.alias, Some(token)));
        match fate(index, own_alias.as_ref(), &search, facts) {
            Fate::Gone => forget(draft, index),
            Fate::Needed => look_later(draft, index),
            Fate::Free => return delete(draft, index, own_alias, url),
        }
    }
}

/// What becomes of an index whose time is over.
enum Fate {
    /// It is there no more.
    Gone,
    /// It is live, or an alias of somebody else holds it.
    Needed,
    /// Nothing needs it.
    Free,
}

fn fate(
    index: &RetiredIndex,
    own_alias: Option<&AliasName>,
    search: &SearchStatus,
    facts: &SearchFacts,
) -> Fate {
    let view = facts.indices.get(&index.index);
    let Some(view) = view.filter(|view| view.uuid == index.uuid) else {
        return Fate::Gone;
    };
    let mut live = search.live.iter().flat_map(|live| &live.indices);
    let is_live = live.any(|live| live.uuid == index.uuid);
    if is_live || view.aliases.iter().any(|alias| Some(alias) != own_alias) {
        return Fate::Needed;
    }
    Fate::Free
}

fn look_later(draft: &mut Draft, index: &RetiredIndex) {
    let later = draft.now() + AGAIN;
    let retired = &mut draft.progress.search_mut().retired;
    if let Some(known) = retired.iter_mut().find(|known| known.uuid == index.uuid) {
        known.delete_after = later;
    }
}

fn delete(draft: &mut Draft, index: &RetiredIndex, own_alias: Option<AliasName>, url: &str) {
    let call = Call::DeleteIndex {
        url: url.to_owned(),
        own_alias,
        index: index.index.clone(),
        uuid: index.uuid.clone(),
    };
    draft.call(Purpose::DeleteIndex, call);
    draft.tell(
        "IndexDeleted",
        index.index.to_string(),
        format!("index {} is deleted: nothing needs it any more", index.index),
    );
}

/// An engine that the spec does not name any more, and that is away, is not asked for ever.
fn leave(draft: &mut Draft, due: &[&RetiredIndex], url: &str, why: &str) {
    for index in due {
        draft.warn(
            "IndexLeft",
            index.index.to_string(),
            format!(
                "The search engine {url}, which the spec does not name any more, gives no answer ({why}). Index {} may be left there: delete it.",
                index.index
            ),
        );
        forget(draft, index);
    }
}

fn forget(draft: &mut Draft, index: &RetiredIndex) {
    draft
        .progress
        .search_mut()
        .retired
        .retain(|known| known.uuid != index.uuid);
}

fn failed_candidate(input: &StepInput<'_>, draft: &mut Draft, reindex: &ReindexPlan) {
    let ended = input.committed.revision().and_then(|revision| revision.ended);
    let (Some(_), Some(ended)) = (input.committed.candidate(), ended) else {
        return;
    };
    if ended.outcome != Outcome::Complete && draft.elapsed(ended.at, reindex.live.keep_for) {
        crate::levers::give_up_candidate(draft);
    }
}

#[cfg(test)]
mod tests;
