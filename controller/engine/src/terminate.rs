//! Deletion: a migration that runs is waited for, a build is stopped, the window is ended on the side that
//! serves, and nothing of ours is left but what serves.

use serde_json::json;
use slipway_crds::Uid;
use slipway_crds::names::RELEASE_FINALIZER;
use slipway_crds::v1alpha1::status::{Course, StepName};

use crate::decision::{Call, Kind, Purpose};
use crate::draft::{Draft, StepInput, Verdict};
use crate::intent::{Intent, ReindexPlan};
use crate::observed::Observed;
use crate::question::{Known, Question};
use crate::search::{Counts, question};
use crate::task::stop_all;
use crate::window::patches::{claim_deployment, let_go};
use crate::window::{self, Side};
use crate::{ending, revision};

/// What is there of a generation that never served.
pub fn asks(input: &StepInput<'_>) -> Vec<Question> {
    let candidate = input.committed.candidate();
    let asked = candidate.and_then(|candidate| {
        let mut asked = question(input.plan, input.committed, Counts::No)?;
        asked.url = candidate.url.clone().unwrap_or(asked.url);
        Some(Question::Search(asked))
    });
    asked.into_iter().collect()
}

/// Ends what runs, then lets go of everything. `input` is absent where nothing was ever begun.
pub fn terminate(
    intent: &Intent,
    observed: &Observed,
    input: Option<&StepInput<'_>>,
    draft: &mut Draft,
) -> Verdict {
    if !intent.meta.guarded() {
        return Verdict::Done;
    }
    if let Some(input) = input
        && input.committed.revision().is_none()
        && revision::recover(input, draft)
    {
        let message = "Ending a window that was found open on the side that serves.";
        return Verdict::working("recovering", message);
    }
    if let Some(verdict) = input.and_then(|input| end_what_runs(input, draft)) {
        return verdict;
    }
    if !unclaim(&intent.meta.uid, observed, draft) {
        return Verdict::working("letting go", "Waiting for the claim labels to come off.");
    }
    let mut jobs = observed
        .jobs
        .values()
        .filter(|job| job.release_uid.as_ref() == Some(&intent.meta.uid))
        .peekable();
    let pods = observed.task_pods.iter().any(|pod| pod.finalizer);
    if jobs.peek().is_some() || pods {
        for job in jobs.filter(|job| !job.deleting) {
            draft.delete_job(job);
        }
        return Verdict::working("letting go", "Waiting for the Jobs and pods of its tasks to go.");
    }
    let others: Vec<&String> = intent
        .meta
        .finalizers
        .iter()
        .filter(|name| *name != RELEASE_FINALIZER)
        .collect();
    let body =
        json!({ "metadata": { "resourceVersion": intent.meta.resource_version, "finalizers": others } });
    draft.patch(
        Kind::Release,
        &intent.meta.name,
        &intent.meta.uid,
        Purpose::LetGo,
        body,
    );
    Verdict::working("letting go", "Waiting for the finalizer to come off.")
}

fn end_what_runs(input: &StepInput<'_>, draft: &mut Draft) -> Option<Verdict> {
    let status = &input.committed.status;
    let confirmed = status
        .cutover
        .is_some_and(|cutover| cutover.confirmed_at.is_some());
    let course = input.committed.revision().map(|revision| revision.course);
    let keeps_new = confirmed && course != Some(Course::Rollback);
    let half_way = status.cutover.is_some() && !keeps_new && input.committed.running().is_some();
    if half_way {
        // The pins may be on either side: they go back first.
        return ending::roll_back(input, draft);
    }
    let mut waits = stop_all(input, draft);
    let keep = if keeps_new { Side::New } else { Side::Old };
    for workload in &status.workloads {
        window::end(workload, input.observed, keep, &mut waits, draft);
    }
    if !waits.is_empty() || input.committed.window_open() {
        return Some(Verdict::working(
            "cleaning up",
            format!(
                "Cleaning up before the deletion. Waiting for {}.",
                waits.join("; ")
            ),
        ));
    }
    let served = input.committed.completed(StepName::Retire) || keeps_new;
    if served { None } else { candidate(input, draft) }
}

/// A generation that never served goes with its Release, where the engine answers.
fn candidate(input: &StepInput<'_>, draft: &mut Draft) -> Option<Verdict> {
    let reindex = input.plan.reindex.as_ref()?;
    let candidate = input.committed.candidate()?;
    let facts = match input.observed.answers.search() {
        Known::NotAsked => {
            return Some(Verdict::working(
                "cleaning up",
                "Waiting for the search engine to be asked.",
            ));
        }
        Known::Unknown(why) => {
            let token = &candidate.token;
            draft.warn(
                "CandidateLeft",
                token.to_string(),
                format!(
                    "The search engine gives no answer ({why}). Indices that end in _{token} may be left: delete them."
                ),
            );
            return None;
        }
        Known::Is(facts) => facts,
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
    let waits = format!("Waiting for index {} to be deleted.", next.index);
    let call = Call::DeleteIndex {
        url: candidate.url.clone().unwrap_or_else(|| reindex.url.clone()),
        own_alias,
        index: next.index,
        uuid: next.uuid,
    };
    draft.call(Purpose::DeleteIndex, call);
    Some(Verdict::working("cleaning up", waits))
}

fn unclaim(uid: &Uid, observed: &Observed, draft: &mut Draft) -> bool {
    let before = draft.effects.len();
    for deployment in observed
        .deployments
        .values()
        .filter(|seen| seen.claim.as_ref() == Some(uid))
    {
        claim_deployment(deployment, None, draft);
    }
    for service in observed
        .services
        .values()
        .filter(|seen| seen.claim.as_ref() == Some(uid))
    {
        let_go(service, draft);
    }
    draft.effects.len() == before
}

#[cfg(test)]
mod tests;
