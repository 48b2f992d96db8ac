//! Reindex: a new generation is built and caught up beside the live one, under names that only the new
//! version knows.

use slipway_crds::v1alpha1::status::{
    Candidate, Counted, Generation, StepName, StopReason, TaskOutcome, TaskReason, TaskStatus,
};

use slipway_crds::{AliasName, v1alpha1::OnTimeout};

use crate::catch_up::{Pass, until_caught_up};
use crate::draft::{Draft, StepInput, Verdict};
use crate::intent::ReindexPlan;
use crate::observed::{NameView, SearchFacts};
use crate::question::Question;
use crate::search::{
    self, Counts, baseline, facts, generation_run, index_of, moved, rebuilds, retire, seen, token,
};
use crate::sentence::{again, and, at_work_for, human, unchanged};
use crate::task::{self, TaskState, failed_before_boot};

/// What the names and indices of both generations are. While a build runs its documents are counted as they are: a
/// refresh would disturb it.
pub fn asks(input: &StepInput<'_>) -> Vec<Question> {
    let built = |reindex: &ReindexPlan| {
        let build = input.committed.attempt(reindex.build.step, &reindex.build.name);
        build.is_some_and(|build| build.outcome == Some(TaskOutcome::Succeeded))
    };
    let verifies = input.committed.candidate().is_some() && input.plan.reindex.as_ref().is_some_and(built);
    let counts = if verifies {
        Counts::Refreshed
    } else {
        Counts::AsTheyAre
    };
    search::asks(input, counts)
}

/// Build, proof that no live alias moved, catch-up, verification.
pub fn step(input: &StepInput<'_>, draft: &mut Draft) -> Verdict {
    let Some(reindex) = &input.plan.reindex else {
        return Verdict::Skipped;
    };
    let known = input.committed.status.search.clone().unwrap_or_default();
    if known.candidate.is_none() && !rebuilds(reindex, known.live.as_ref()) {
        draft.tell(
            "ReindexSkipped",
            "fingerprint",
            "The fingerprint is that of the live generation; there is nothing to build.",
        );
        return Verdict::Skipped;
    }
    let facts = match facts(input) {
        Ok(facts) => facts,
        Err(verdict) => return verdict,
    };
    match &known.candidate {
        None => begin(input, draft, reindex, facts),
        Some(candidate) => build(input, draft, reindex, candidate, facts),
    }
}

fn begin(input: &StepInput<'_>, draft: &mut Draft, reindex: &ReindexPlan, facts: &SearchFacts) -> Verdict {
    let baseline = match baseline(reindex, facts) {
        Ok(baseline) => baseline,
        Err((reason, message)) => return Verdict::stalled(reason, message),
    };
    let builds = input
        .committed
        .attempts(reindex.build.step, &reindex.build.name)
        .count();
    let token = token(&input.intent.meta, input.committed.number(), builds);
    let names: Vec<String> = reindex
        .aliases
        .iter()
        .map(|alias| ReindexPlan::name(alias, Some(&token)).to_string())
        .collect();
    let now = draft.now();
    let live = baseline
        .iter()
        .map(|index| format!("{} stays on {}", index.alias, index.index))
        .collect::<Vec<_>>();
    draft.tell(
        "BuildStarted",
        token.to_string(),
        format!(
            "search generation {token}: building {}; {}",
            names.join(", "),
            live.join(", ")
        ),
    );
    let search = draft.progress.search_mut();
    search.engine = Some(facts.engine.clone());
    let live = search.live.get_or_insert_with(Generation::default);
    live.indices.clone_from(&baseline);
    live.url = Some(reindex.url.clone());
    search.candidate = Some(Candidate {
        url: Some(reindex.url.clone()),
        token,
        fingerprint: reindex.fingerprint.clone(),
        t0: now,
        baseline,
        indices: Vec::new(),
        counted: None,
        verified_at: None,
    });
    Verdict::working("begins", "Waiting for the build to begin.")
}

fn build(
    input: &StepInput<'_>,
    draft: &mut Draft,
    reindex: &ReindexPlan,
    candidate: &Candidate,
    facts: &SearchFacts,
) -> Verdict {
    if let Some((alias, place)) = moved(reindex, candidate, facts) {
        return live_alias_moved(input, reindex, candidate, alias, &place);
    }
    let order = match generation_run(input, reindex, &reindex.build, &candidate.token) {
        Ok(order) => order,
        Err(verdict) => return verdict,
    };
    match task::run(input, draft, &order) {
        TaskState::Running(message) => {
            remember_seen(draft, reindex, candidate, facts);
            draft.wake_after(jiff::SignedDuration::from_secs(2));
            let documents = documents(&seen(reindex, candidate, facts), facts);
            stalls(input, draft, reindex, candidate, documents);
            building(input, candidate, facts, documents, &message)
        }
        TaskState::Succeeded(ended) => after_build(input, draft, reindex, candidate, facts, &ended),
        TaskState::Failed(ended) => {
            remember_seen(draft, reindex, candidate, facts);
            let stalled = ended.reason == Some(TaskReason::Stalled);
            let reason = if stalled {
                StopReason::BuildStalled
            } else {
                StopReason::BuildFailed
            };
            failed_before_boot(input, reason, &ended)
        }
        TaskState::Unknown(ended) => task::unknown(input, &ended),
        TaskState::Foreign(message) => Verdict::stalled(StopReason::ForeignJob, message),
    }
}

fn live_alias_moved(
    input: &StepInput<'_>,
    reindex: &ReindexPlan,
    candidate: &Candidate,
    alias: &AliasName,
    place: &str,
) -> Verdict {
    let before = candidate.baseline.iter().find(|index| index.alias == *alias);
    let before = before.map_or_else(|| "nothing".to_owned(), |index| index.index.to_string());
    Verdict::failed(
        StopReason::LiveAliasMoved,
        format!(
            "Alias {alias} moved from {before} to {place} by itself while the new generation was built. Old pods now read an index they do not know. Point it back to {before}, and let the build command append the variable {} to its names.{}",
            reindex.variable,
            again(input)
        ),
    )
}

fn remember_seen(draft: &mut Draft, reindex: &ReindexPlan, candidate: &Candidate, facts: &SearchFacts) {
    let mut seen = seen(reindex, candidate, facts);
    // Counts change with every look; only which indices there are is worth a write.
    for index in &mut seen {
        index.documents = None;
    }
    if let Some(candidate) = &mut draft.progress.search_mut().candidate {
        candidate.indices = seen;
    }
}

fn documents(indices: &[slipway_crds::v1alpha1::status::GenerationIndex], facts: &SearchFacts) -> i64 {
    let views = indices.iter().filter_map(|index| facts.indices.get(&index.index));
    views.map(|view| view.documents).sum()
}

/// A build whose document counts stand still is reported once, and stopped where `onTimeout` says so.
fn stalls(
    input: &StepInput<'_>,
    draft: &mut Draft,
    reindex: &ReindexPlan,
    candidate: &Candidate,
    documents: i64,
) {
    let Some(build) = input.committed.attempt(reindex.build.step, &reindex.build.name) else {
        return;
    };
    let Some(started) = build.started_at else {
        return;
    };
    let now = draft.now();
    let known = candidate
        .counted
        .filter(|counted| counted.documents == documents && counted.at >= started);
    let mut counted = known.unwrap_or(Counted {
        documents,
        at: now,
        stalled: false,
    });
    let limit = reindex.live.stall_timeout;
    if draft.elapsed(counted.at, limit)
        && !counted.stalled
        && build.reason.is_none_or(|reason| !reason.asked_for())
    {
        counted.stalled = true;
        let what = format!(
            "The document counts of the build have stood still at {documents} for {}",
            human(limit)
        );
        match input.plan.settings(&reindex.build).on_timeout {
            OnTimeout::Fail => task::note(draft, build, TaskReason::Stalled),
            OnTimeout::Warn => draft.warn(
                StopReason::BuildStalled.word(),
                format!("build-{}", build.attempt),
                format!(
                    "{what} (build.stallTimeout). It goes on, because its onTimeout is Warn. Its output: kubectl logs job/{} -n {}",
                    build.job, input.intent.meta.namespace
                ),
            ),
        }
    }
    if let Some(candidate) = &mut draft.progress.search_mut().candidate {
        candidate.counted = Some(counted);
    }
}

fn building(
    input: &StepInput<'_>,
    candidate: &Candidate,
    facts: &SearchFacts,
    built: i64,
    message: &str,
) -> Verdict {
    let live = documents(&candidate.baseline, facts);
    let progress = match (built * 100).checked_div(live) {
        Some(percent) => format!("{built} of about {live} documents ({}%)", percent.min(100)),
        None => format!("{built} documents"),
    };
    let message = format!(
        "{message} Built so far: {progress}, after {}.",
        at_work_for(input, StepName::Reindex)
    );
    Verdict::working(progress, message)
}

fn after_build(
    input: &StepInput<'_>,
    draft: &mut Draft,
    reindex: &ReindexPlan,
    candidate: &Candidate,
    facts: &SearchFacts,
    ended: &TaskStatus,
) -> Verdict {
    let mut indices = Vec::new();
    for alias in &reindex.aliases {
        let name = ReindexPlan::name(alias, Some(&candidate.token));
        if let Some(mut index) = index_of(facts, alias, &name) {
            index.documents = None;
            indices.push(index);
        } else {
            let found = match facts.names.get(&name) {
                Some(NameView::Alias(indices)) => format!("an alias on {}", and(indices)),
                Some(NameView::Index) | None => "nothing of that name".to_owned(),
            };
            return Verdict::failed(
                StopReason::BuildIncomplete,
                format!(
                    "The build ended well but left {found} where index {name} should be. Let the build command append the variable {} to its names. Nothing was booted; {}{}",
                    reindex.variable,
                    unchanged(input),
                    again(input)
                ),
            );
        }
    }
    let stray: Vec<_> = seen(reindex, candidate, facts)
        .into_iter()
        .filter(|stray| !indices.iter().any(|kept| kept.uuid == stray.uuid))
        .collect();
    let delete_after = draft.now() + reindex.live.keep_for;
    let stray = retire(&stray, Some(&candidate.token), Some(&reindex.url), delete_after);
    let search = draft.progress.search_mut();
    for index in stray {
        if !search.retired.iter().any(|known| known.uuid == index.uuid) {
            search.retired.push(index);
        }
    }
    if let Some(candidate) = &mut search.candidate
        && candidate.verified_at.is_none()
    {
        candidate.indices.clone_from(&indices);
    }
    match until_caught_up(input, draft, reindex, candidate) {
        Pass::Done => verify(input, draft, reindex, candidate, facts, ended),
        Pass::Verdict(verdict) => verdict,
    }
}

fn verify(
    input: &StepInput<'_>,
    draft: &mut Draft,
    reindex: &ReindexPlan,
    candidate: &Candidate,
    facts: &SearchFacts,
    ended: &TaskStatus,
) -> Verdict {
    if let Err(problem) = complete(reindex, candidate, facts, ended) {
        return Verdict::failed(
            StopReason::VerificationFailed,
            format!(
                "{problem}. Nothing was booted; {}{}",
                unchanged(input),
                again(input)
            ),
        );
    }
    let now = draft.now();
    let mut counts = Vec::new();
    if let Some(candidate) = &mut draft.progress.search_mut().candidate {
        candidate.verified_at = Some(now);
        for index in &mut candidate.indices {
            index.documents = facts.indices.get(&index.index).map(|view| view.documents);
            counts.push(format!(
                "{} {} documents",
                index.index,
                index.documents.unwrap_or_default()
            ));
        }
    }
    draft.tell(
        "BuildSucceeded",
        candidate.token.to_string(),
        format!(
            "{}, in {}",
            counts.join(", "),
            at_work_for(input, StepName::Reindex)
        ),
    );
    Verdict::Done
}

/// Compares a candidate with its minimum, with the old index and with what the build reported.
fn complete(
    reindex: &ReindexPlan,
    candidate: &Candidate,
    facts: &SearchFacts,
    ended: &TaskStatus,
) -> Result<(), String> {
    let enough = |have: i64, want: i64| have * 100_000 >= want * (100_000 - reindex.live.tolerance);
    let mut total = 0;
    for alias in &reindex.aliases {
        let name = ReindexPlan::name(alias, Some(&candidate.token));
        let Some((index, view)) = facts.resolve(&name) else {
            return Err(format!("Index {name} is gone"));
        };
        if let Some(trouble) = &view.trouble {
            return Err(format!("Index {index} is not usable: {trouble}"));
        }
        let minimum = reindex
            .live
            .minimum_documents
            .get(alias)
            .copied()
            .unwrap_or_default();
        if view.documents < minimum {
            return Err(format!(
                "Index {index} has {} documents, fewer than minimumDocuments {minimum}",
                view.documents
            ));
        }
        let old = candidate.baseline.iter().find(|old| old.alias == *alias);
        if let Some(old) = old
            .and_then(|old| facts.indices.get(&old.index))
            .filter(|old| !enough(view.documents, old.documents))
        {
            return Err(format!(
                "Index {index} has {} documents, the live one {}; that is less than verify.countTolerance allows",
                view.documents, old.documents
            ));
        }
        total += view.documents;
    }
    match ended.documents {
        Some(reported) if !enough(total, reported) => Err(format!(
            "The build reported {reported} documents, the new indices have {total}"
        )),
        Some(_) | None => Ok(()),
    }
}

#[cfg(test)]
mod tests;
