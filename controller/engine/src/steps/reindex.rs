//! Reindex: a new generation is built and caught up beside the live one, under names that only the new
//! version knows.

mod passes;

use slipway_crds::v1alpha1::status::{Candidate, Generation, TaskStatus};

use super::{again, begun, failed_before_boot, order, serving};
use crate::intent::{Plan, ReindexPlan};
use crate::observed::{NameView, SearchFacts, SearchView};
use crate::search::{baseline, index_of, moved, rebuilds, retired, seen, token};
use crate::task::{self, Order, TaskState};
use crate::turn::{StepInput, Turn, Verdict};

pub use passes::{Pass, pass_since, resumed};

/// Build, proof that no live alias moved, catch-up, verification.
pub fn step(input: &StepInput<'_>, turn: &mut Turn) -> Verdict {
    let Some(reindex) = &input.plan.reindex else {
        return Verdict::Skipped;
    };
    let search = input.committed.status.search.clone().unwrap_or_default();
    if search.candidate.is_none() && !rebuilds(reindex, search.live.as_ref()) {
        turn.tell(
            "ReindexSkipped",
            "fingerprint",
            "the fingerprint is that of the live generation; nothing to build",
        );
        return Verdict::Skipped;
    }
    let facts = match facts(input) {
        Ok(facts) => facts,
        Err(verdict) => return verdict,
    };
    match &search.candidate {
        None => begin(input, turn, reindex, facts),
        Some(candidate) => build(input, turn, reindex, candidate, facts),
    }
}

/// What the engine said; else what is waited for.
///
/// # Errors
/// The verdict of the step while the engine gives no usable answer.
pub(crate) fn facts<'a>(input: &StepInput<'a>) -> Result<&'a SearchFacts, Verdict> {
    match &input.observed.search {
        SearchView::NotRead => Err(Verdict::working(
            "asking the search engine",
            "the search engine to be asked",
        )),
        SearchView::Unknown(why) => Err(Verdict::stalled(
            "SearchUnavailable",
            format!(
                "the search engine gives no answer: {why}. Nothing goes on before it does; {} serves unchanged. Asked again every few seconds; check spec.reindex.search.url",
                serving(input)
            ),
        )),
        SearchView::Read(facts) => match &facts.unsupported {
            Some(why) => Err(Verdict::stalled("SearchUnsupported", why.clone())),
            None => Ok(facts),
        },
    }
}

fn begin(input: &StepInput<'_>, turn: &mut Turn, reindex: &ReindexPlan, facts: &SearchFacts) -> Verdict {
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
        .map(|alias| ReindexPlan::name(&alias.alias, Some(&token)))
        .collect();
    let now = turn.now();
    let live = baseline
        .iter()
        .map(|index| format!("{} stays on {}", index.alias, index.index))
        .collect::<Vec<_>>();
    turn.tell(
        "BuildStarted",
        token.clone(),
        format!(
            "search generation {token}: building {}; {}",
            names.join(", "),
            live.join(", ")
        ),
    );
    let search = turn.progress.search_mut();
    search.engine = Some(facts.engine.clone());
    let live = search.live.get_or_insert_with(Generation::default);
    live.indices.clone_from(&baseline);
    search.candidate = Some(Candidate {
        token,
        fingerprint: reindex.fingerprint.clone(),
        t0: now,
        baseline,
        indices: Vec::new(),
        verified_at: None,
    });
    Verdict::working("begins", "the build to begin")
}

fn build(
    input: &StepInput<'_>,
    turn: &mut Turn,
    reindex: &ReindexPlan,
    candidate: &Candidate,
    facts: &SearchFacts,
) -> Verdict {
    if let Some((alias, place)) = moved(reindex, candidate, facts) {
        return live_alias_moved(input, reindex, candidate, alias, &place);
    }
    let Some(order) = generation_order(input, &reindex.build, Some(&candidate.token)) else {
        return Verdict::stalled(
            "WorkloadMissing",
            format!(
                "the build runs in the pod spec of workload {}, whose Deployment is not there",
                reindex.build.from
            ),
        );
    };
    match task::run(input, turn, &order) {
        TaskState::Running(message) => {
            remember_seen(turn, reindex, candidate, facts);
            turn.wake_after(jiff::SignedDuration::from_secs(2));
            building(input, reindex, candidate, facts, &message)
        }
        TaskState::Succeeded(ended) => after_build(input, turn, reindex, candidate, facts, &ended),
        TaskState::Failed(ended) => {
            remember_seen(turn, reindex, candidate, facts);
            failed_before_boot(input, "BuildFailed", &ended)
        }
        TaskState::Unknown(ended) => Verdict::stalled(
            "TaskUnknown",
            format!(
                "{}. Annotate slipway.dev/retry={} to build a new generation, or slipway.dev/abort",
                task::doubt(&ended),
                input.committed.revision_name()
            ),
        ),
        TaskState::Foreign(message) => Verdict::stalled("ForeignJob", message),
    }
}

fn live_alias_moved(
    input: &StepInput<'_>,
    reindex: &ReindexPlan,
    candidate: &Candidate,
    alias: &str,
    place: &str,
) -> Verdict {
    let before = candidate.baseline.iter().find(|index| index.alias == alias);
    let before = before.map_or_else(|| "nothing".to_owned(), |index| index.index.clone());
    Verdict::failed(
        "LiveAliasMoved",
        format!(
            "alias {alias} moved from {before} to {place} by itself while the new generation was built. Old pods now read an index they do not know. Point it back to {before}; then let the build command append the variable {} to its names, and annotate slipway.dev/retry={}",
            reindex.variable,
            input.committed.revision_name()
        ),
    )
}

/// The order of a build or a pass: with the token of the generation that it writes.
pub(crate) fn generation_order<'a>(
    input: &StepInput<'_>,
    plan: &'a crate::intent::TaskPlan,
    token: Option<&str>,
) -> Option<Order<'a>> {
    let variable = input
        .plan
        .reindex
        .as_ref()
        .map(|reindex| reindex.variable.clone())?;
    let order = order(input, plan)?;
    Some(Order {
        generation: token.map(|token| (variable, token.to_owned())),
        ..order
    })
}

fn remember_seen(turn: &mut Turn, reindex: &ReindexPlan, candidate: &Candidate, facts: &SearchFacts) {
    let mut seen = seen(reindex, candidate, facts);
    // Counts change with every look; only which indices there are is worth a write.
    for index in &mut seen {
        index.documents = None;
    }
    if let Some(candidate) = &mut turn.progress.search_mut().candidate {
        candidate.indices = seen;
    }
}

fn building(
    input: &StepInput<'_>,
    reindex: &ReindexPlan,
    candidate: &Candidate,
    facts: &SearchFacts,
    message: &str,
) -> Verdict {
    let documents = |names: Vec<(&str, String)>| -> i64 {
        names
            .iter()
            .filter_map(|(_, name)| facts.indices.get(name))
            .map(|view| view.documents)
            .sum()
    };
    let built = documents(
        seen(reindex, candidate, facts)
            .iter()
            .map(|index| ("", index.index.clone()))
            .collect(),
    );
    let live = documents(
        candidate
            .baseline
            .iter()
            .map(|index| ("", index.index.clone()))
            .collect(),
    );
    let progress = match (built * 100).checked_div(live) {
        Some(percent) => format!("{built} of about {live} documents ({}%)", percent.min(100)),
        None => format!("{built} documents"),
    };
    let message = format!(
        "{message}: {progress} since {}",
        begun(input, slipway_crds::v1alpha1::status::StepName::Reindex)
    );
    Verdict::working(progress, message)
}

fn after_build(
    input: &StepInput<'_>,
    turn: &mut Turn,
    reindex: &ReindexPlan,
    candidate: &Candidate,
    facts: &SearchFacts,
    ended: &TaskStatus,
) -> Verdict {
    let mut indices = Vec::new();
    for alias in &reindex.aliases {
        let name = ReindexPlan::name(&alias.alias, Some(&candidate.token));
        if let Some(mut index) = index_of(facts, &alias.alias, &name) {
            index.documents = None;
            indices.push(index);
        } else {
            let found = match facts.names.get(&name) {
                Some(NameView::Alias(indices)) => format!("an alias on {}", indices.join(" and ")),
                Some(NameView::Index) | None => "nothing of that name".to_owned(),
            };
            return Verdict::failed(
                "BuildIncomplete",
                format!(
                    "the build ended well but left {found} where index {name} should be. Let the build command append the variable {} to its names. Nothing was booted; {} serves unchanged. {}",
                    reindex.variable,
                    serving(input),
                    again(input)
                ),
            );
        }
    }
    let stray = seen(reindex, candidate, facts)
        .into_iter()
        .filter(|stray| !indices.iter().any(|kept| kept.uuid == stray.uuid));
    let stray: Vec<_> = stray
        .map(|index| retired(&index, Some(&candidate.token), turn.now() + reindex.keep_for))
        .collect();
    let search = turn.progress.search_mut();
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
    match passes::until_caught_up(input, turn, reindex, candidate) {
        Pass::Done => verify(input, turn, reindex, candidate, facts, ended),
        Pass::Verdict(verdict) => verdict,
    }
}

fn verify(
    input: &StepInput<'_>,
    turn: &mut Turn,
    reindex: &ReindexPlan,
    candidate: &Candidate,
    facts: &SearchFacts,
    ended: &TaskStatus,
) -> Verdict {
    if let Err(problem) = complete(reindex, candidate, facts, ended) {
        return Verdict::failed(
            "VerificationFailed",
            format!(
                "{problem}. Nothing was booted; {} serves unchanged. {}",
                serving(input),
                again(input)
            ),
        );
    }
    let now = turn.now();
    let mut counts = Vec::new();
    if let Some(candidate) = &mut turn.progress.search_mut().candidate {
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
    turn.tell(
        "BuildSucceeded",
        candidate.token.clone(),
        format!(
            "{}, in {}",
            counts.join(", "),
            begun(input, slipway_crds::v1alpha1::status::StepName::Reindex)
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
    let enough = |have: i64, want: i64| have * 100_000 >= want * (100_000 - reindex.tolerance);
    let mut total = 0;
    for alias in &reindex.aliases {
        let name = ReindexPlan::name(&alias.alias, Some(&candidate.token));
        let Some((index, view)) = facts.resolve(&name) else {
            return Err(format!("index {name} is gone"));
        };
        if let Some(trouble) = &view.trouble {
            return Err(format!("index {index} is not usable: {trouble}"));
        }
        if view.documents < alias.minimum_documents {
            return Err(format!(
                "index {index} has {} documents, fewer than minimumDocuments {}",
                view.documents, alias.minimum_documents
            ));
        }
        let old = candidate.baseline.iter().find(|old| old.alias == alias.alias);
        if let Some(old) = old
            .and_then(|old| facts.indices.get(&old.index))
            .filter(|old| !enough(view.documents, old.documents))
        {
            return Err(format!(
                "index {index} has {} documents, the live one {}; that is less than verify.countTolerance allows",
                view.documents, old.documents
            ));
        }
        total += view.documents;
    }
    match ended.documents {
        Some(reported) if !enough(total, reported) => Err(format!(
            "the build reported {reported} documents, the new indices have {total}"
        )),
        Some(_) | None => Ok(()),
    }
}

/// The token that new pods carry: the candidate's once it is verified; none where nothing changes.
pub fn new_token(plan: &Plan, progress: &crate::progress::Progress) -> Option<(String, String)> {
    let variable = plan.reindex.as_ref()?.variable.clone();
    let candidate = progress.status.search.as_ref()?.candidate.as_ref()?;
    candidate.verified_at?;
    Some((variable, candidate.token.clone()))
}

#[cfg(test)]
mod tests;
