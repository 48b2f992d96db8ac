//! Deletion: a migration that runs is waited for, a build is stopped, the window is ended on the side that
//! serves, and nothing of ours is left but what serves.

use serde_json::json;
use slipway_crds::names::RELEASE_FINALIZER;
use slipway_crds::v1alpha1::status::{Course, StepName};

use crate::decision::{Effect, Kind, Purpose};
use crate::intent::{Intent, ReindexPlan};
use crate::observed::{Observed, SearchView};
use crate::task::stop_all;
use crate::turn::{StepInput, Turn, Verdict};
use crate::window::patches::{claim_deployment, let_go};
use crate::window::{Which, settle};
use crate::{ending, revision};

/// Ends what runs, then lets go of everything. `input` is absent where nothing was ever begun.
pub fn terminate(
    intent: &Intent,
    observed: &Observed,
    input: Option<&StepInput<'_>>,
    turn: &mut Turn,
) -> Verdict {
    if !intent
        .meta
        .finalizers
        .iter()
        .any(|name| name == RELEASE_FINALIZER)
    {
        return Verdict::Done;
    }
    if let Some(input) = input
        && input.committed.revision().is_none()
        && revision::recover(input, turn)
    {
        let message = "a window that was found open to be ended on the side that serves";
        return Verdict::working("recovering", message);
    }
    if let Some(verdict) = input.and_then(|input| end_what_runs(input, turn)) {
        return verdict;
    }
    if !unclaim(&intent.meta.uid, observed, turn) {
        return Verdict::working("letting go", "the claim labels to come off");
    }
    let mut jobs = observed
        .jobs
        .values()
        .filter(|job| job.release_uid.as_ref() == Some(&intent.meta.uid))
        .peekable();
    let pods = observed.task_pods.iter().any(|pod| pod.finalizer);
    if jobs.peek().is_some() || pods {
        for job in jobs.filter(|job| !job.deleting) {
            turn.delete_job(job);
        }
        return Verdict::working("letting go", "the Jobs and pods of its tasks to go");
    }
    let others: Vec<&String> = intent
        .meta
        .finalizers
        .iter()
        .filter(|name| *name != RELEASE_FINALIZER)
        .collect();
    let body =
        json!({ "metadata": { "resourceVersion": intent.meta.resource_version, "finalizers": others } });
    turn.patch(
        Kind::Release,
        &intent.meta.name,
        &intent.meta.uid,
        Purpose::LetGo,
        body,
    );
    Verdict::working("letting go", "the finalizer to come off")
}

fn end_what_runs(input: &StepInput<'_>, turn: &mut Turn) -> Option<Verdict> {
    let status = &input.committed.status;
    let confirmed = status
        .cutover
        .is_some_and(|cutover| cutover.confirmed_at.is_some());
    let course = input.committed.revision().map(|revision| revision.course);
    let keeps_new = confirmed && course != Some(Course::Rollback);
    let half_way = status.cutover.is_some() && !keeps_new && input.committed.running().is_some();
    if half_way {
        // The pins may be on either side: they go back first.
        return ending::roll_back(input, turn);
    }
    let mut waits = stop_all(input, turn);
    let keep = if keeps_new { Which::New } else { Which::Old };
    for workload in &status.workloads {
        settle(workload, input.observed, keep, &mut waits, turn);
    }
    if !waits.is_empty() || input.committed.window_open() {
        return Some(Verdict::working(
            "cleaning up",
            format!("to be deleted: {}", waits.join("; ")),
        ));
    }
    let served = input.committed.passed(StepName::Retire) || keeps_new;
    if served { None } else { candidate(input, turn) }
}

/// A generation that never served goes with its Release, where the engine answers.
fn candidate(input: &StepInput<'_>, turn: &mut Turn) -> Option<Verdict> {
    let reindex = input.plan.reindex.as_ref()?;
    let candidate = input.committed.candidate()?;
    let facts = match &input.observed.search {
        SearchView::NotRead => return Some(Verdict::working("cleaning up", "the search engine to be asked")),
        SearchView::Unknown(why) => {
            turn.warn("CandidateLeft", candidate.token.clone(), format!("the search engine gives no answer ({why}); indices that end in _{} may be left: delete them", candidate.token));
            return None;
        }
        SearchView::Read(facts) => facts,
    };
    let next = crate::search::seen(reindex, candidate, facts)
        .into_iter()
        .find(|index| {
            let own = ReindexPlan::name(&index.alias, Some(&candidate.token));
            facts
                .indices
                .get(&index.index)
                .is_some_and(|view| view.aliases.iter().all(|alias| *alias == own))
        })?;
    let own_alias = Some(ReindexPlan::name(&next.alias, Some(&candidate.token)));
    turn.effects.push(Effect::DeleteIndex {
        url: reindex.url.clone(),
        own_alias,
        index: next.index.clone(),
        uuid: next.uuid,
    });
    Some(Verdict::working(
        "cleaning up",
        format!("index {} to be deleted", next.index),
    ))
}

fn unclaim(uid: &str, observed: &Observed, turn: &mut Turn) -> bool {
    let before = turn.effects.len();
    for deployment in observed
        .deployments
        .values()
        .filter(|seen| seen.claim.as_deref() == Some(uid))
    {
        claim_deployment(deployment, None, turn);
    }
    for service in observed
        .services
        .values()
        .filter(|seen| seen.claim.as_deref() == Some(uid))
    {
        let_go(service, turn);
    }
    turn.effects.len() == before
}

#[cfg(test)]
mod tests;
