//! Names and tokens of index generations, and what has to be asked of the engine.

use serde::{Deserialize, Serialize};
use slipway_crds::v1alpha1::RebuildWhen;
use slipway_crds::v1alpha1::status::{Candidate, Generation, GenerationIndex, RetiredIndex, StopReason};
use slipway_crds::{AliasName, GenerationToken, IndexName};

use crate::draft::{StepInput, Verdict};
use crate::intent::{Meta, Plan, ReindexPlan, TaskPlan};
use crate::observed::{NameView, SearchFacts};
use crate::progress::Progress;
use crate::question::{Known, Question};
use crate::sentence::{and, unchanged};
use crate::task::{TaskRun, task_run};
use crate::template::digest;

/// The token of a generation: `g`, the number of the revision, two letters that stand for the Release's UID, and a
/// letter for a repeated build. Names under it were never used before.
pub fn token(meta: &Meta, number: i64, builds: usize) -> GenerationToken {
    let letter = |digit: char| {
        digit
            .to_digit(16)
            .and_then(|value| char::from_digit(value + 16, 32))
    };
    let release: String = digest(&[meta.uid.as_str()])
        .chars()
        .take(2)
        .filter_map(letter)
        .collect();
    let again = u8::try_from(builds)
        .ok()
        .filter(|builds| *builds > 0)
        .map(|builds| char::from(b'a' + builds.min(25)));
    format!(
        "g{number}{release}{}",
        again.map(String::from).unwrap_or_default()
    )
    .into()
}

/// Number of the revision that made a token.
pub fn number_of(token: &GenerationToken) -> Option<i64> {
    let digits: String = token
        .as_str()
        .strip_prefix('g')?
        .chars()
        .take_while(char::is_ascii_digit)
        .collect();
    digits.parse().ok()
}

/// Whether this revision builds a generation of its own. One that is on another engine is of no use.
pub fn rebuilds(plan: &ReindexPlan, live: Option<&Generation>) -> bool {
    match plan.rebuild {
        RebuildWhen::Always => true,
        RebuildWhen::Never => false,
        RebuildWhen::FingerprintChanged => live.is_none_or(|live| {
            live.fingerprint.is_none()
                || live.fingerprint != plan.fingerprint
                || live.url.as_ref().is_some_and(|url| *url != plan.url)
        }),
    }
}

/// What is asked of the engine in one go.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct SearchQuestion {
    /// Address of the engine.
    pub url: String,
    /// Names to resolve: aliases or indices.
    pub names: Vec<AliasName>,
    /// Prefixes of index names to list.
    pub prefixes: Vec<String>,
    /// Indices to look at by name.
    pub indices: Vec<IndexName>,
    /// Whether documents are counted.
    pub counts: Counts,
}

/// Whether documents are counted. A refresh makes every write of this moment count, and disturbs a build.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum Counts {
    /// They are not.
    No,
    /// As the engine sees them now.
    AsTheyAre,
    /// After a refresh.
    Refreshed,
}

/// The question that a plan's reindex needs answered.
pub fn question(plan: &Plan, progress: &Progress, counts: Counts) -> Option<SearchQuestion> {
    let reindex = plan.reindex.as_ref()?;
    let search = progress.status.search.as_ref();
    let live = search.and_then(|search| search.live.as_ref()?.token.as_ref());
    let candidate = search.and_then(|search| search.candidate.as_ref());
    let mut question = SearchQuestion {
        url: reindex.url.clone(),
        names: Vec::new(),
        prefixes: Vec::new(),
        indices: Vec::new(),
        counts,
    };
    for alias in &reindex.aliases {
        question.names.push(alias.clone());
        question
            .names
            .extend(live.map(|token| ReindexPlan::name(alias, Some(token))));
        if let Some(candidate) = candidate {
            let name = ReindexPlan::name(alias, Some(&candidate.token));
            question.prefixes.push(name.to_string());
            question.names.push(name);
        }
    }
    Some(question)
}

/// The same as questions of a step.
pub(crate) fn asks(input: &StepInput<'_>, counts: Counts) -> Vec<Question> {
    let asked = question(input.plan, input.committed, counts);
    asked.map(Question::Search).into_iter().collect()
}

/// What the engine said; else what is waited for.
///
/// # Errors
/// The verdict of the step while the engine gives no usable answer.
pub(crate) fn facts<'a>(input: &StepInput<'a>) -> Result<&'a SearchFacts, Verdict> {
    match input.observed.answers.search() {
        Known::NotAsked => Err(Verdict::working(
            "asking the search engine",
            "Waiting for the search engine to be asked.",
        )),
        Known::Unknown(why) => Err(Verdict::stalled(
            StopReason::SearchUnavailable,
            format!(
                "The search engine gives no answer: {why}. Nothing goes on before it does; {} It is asked again every few seconds. Check spec.reindex.search.url.",
                unchanged(input)
            ),
        )),
        Known::Is(facts) => match &facts.unsupported {
            Some(why) => Err(Verdict::stalled(StopReason::SearchUnsupported, why.clone())),
            None => Ok(facts),
        },
    }
}

/// A build or a pass, with the token of the generation that it writes.
///
/// # Errors
/// The verdict where the workload's Deployment is not there.
pub(crate) fn generation_run<'a>(
    input: &StepInput<'a>,
    reindex: &ReindexPlan,
    plan: &'a TaskPlan,
    token: &GenerationToken,
) -> Result<TaskRun<'a>, Verdict> {
    let generation = Some((reindex.variable.clone(), token.clone()));
    task_run(input, plan).map(|order| TaskRun { generation, ..order })
}

/// The token that new pods carry: the candidate's once it is verified; none where nothing changes.
pub(crate) fn new_token(input: &StepInput<'_>) -> Option<(String, GenerationToken)> {
    let variable = input.plan.reindex.as_ref()?.variable.clone();
    let candidate = input.committed.candidate()?;
    candidate.verified_at?;
    Some((variable, candidate.token.clone()))
}

/// What the stable aliases are now.
///
/// # Errors
/// A reason and a sentence where an alias cannot be released: on several indices, or no alias at all.
pub fn baseline(
    plan: &ReindexPlan,
    facts: &SearchFacts,
) -> Result<Vec<GenerationIndex>, (StopReason, String)> {
    let mut baseline = Vec::new();
    for alias in &plan.aliases {
        match facts.names.get(alias) {
            None => {}
            Some(NameView::Index) => {
                return Err((
                    StopReason::AliasIsIndex,
                    format!(
                        "{alias} is an index itself, not an alias. Make it an alias once: clone it to another name, then in one _aliases call add the alias to the clone and remove_index {alias}."
                    ),
                ));
            }
            Some(NameView::Alias(indices)) if indices.len() != 1 => {
                return Err((
                    StopReason::AliasOnSeveralIndices,
                    format!(
                        "Alias {} is on {}. An alias must be on exactly one index before a release: remove it from the others.",
                        alias,
                        and(indices)
                    ),
                ));
            }
            Some(NameView::Alias(_)) => baseline.extend(index_of(facts, alias, alias)),
        }
    }
    Ok(baseline)
}

/// The index behind a name, as status remembers it.
pub fn index_of(facts: &SearchFacts, alias: &AliasName, name: &AliasName) -> Option<GenerationIndex> {
    let (index, view) = facts.resolve(name)?;
    Some(GenerationIndex {
        alias: alias.clone(),
        index: index.clone(),
        uuid: view.uuid.clone(),
        documents: Some(view.documents),
    })
}

/// A stable alias that is no longer where it was when the build began, and where it is.
pub fn moved<'a>(
    plan: &'a ReindexPlan,
    candidate: &Candidate,
    facts: &SearchFacts,
) -> Option<(&'a AliasName, String)> {
    plan.aliases.iter().find_map(|alias| {
        let before = candidate.baseline.iter().find(|index| index.alias == *alias);
        let now = facts.names.get(alias);
        let same = match (before, now) {
            (None, None) => true,
            (Some(before), Some(NameView::Alias(indices))) => {
                indices.as_slice() == [before.index.clone()]
                    && facts
                        .indices
                        .get(&before.index)
                        .is_some_and(|view| view.uuid == before.uuid)
            }
            (Some(_) | None, _) => false,
        };
        (!same).then(|| (alias, NameView::place(now)))
    })
}

/// All indices that carry a candidate's token, for its clean-up.
pub fn seen(plan: &ReindexPlan, candidate: &Candidate, facts: &SearchFacts) -> Vec<GenerationIndex> {
    let prefix = |alias: &AliasName| ReindexPlan::name(alias, Some(&candidate.token));
    let of = |name: &IndexName| {
        let matching = plan
            .aliases
            .iter()
            .filter(|alias| name.as_str().starts_with(prefix(alias).as_str()));
        matching.max_by_key(|alias| alias.as_str().len())
    };
    let indices = facts
        .indices
        .iter()
        .filter_map(|(name, view)| Some((of(name)?, name, view)));
    indices
        .map(|(alias, name, view)| GenerationIndex {
            alias: alias.clone(),
            index: name.clone(),
            uuid: view.uuid.clone(),
            documents: Some(view.documents),
        })
        .collect()
}

/// Retires the indices of a generation: nobody needs them any more.
pub fn retire<'a>(
    indices: impl IntoIterator<Item = &'a GenerationIndex>,
    token: Option<&GenerationToken>,
    url: Option<&str>,
    delete_after: jiff::Timestamp,
) -> Vec<RetiredIndex> {
    let retired = |index: &GenerationIndex| RetiredIndex {
        url: url.map(str::to_owned),
        alias: index.alias.clone(),
        token: token.cloned(),
        index: index.index.clone(),
        uuid: index.uuid.clone(),
        delete_after,
    };
    indices.into_iter().map(retired).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_tells_the_revision_that_made_it() {
        let meta = Meta {
            uid: "5f0e0a1c".into(),
            ..Meta::default()
        };
        for number in [1, 7, 12, 345] {
            let token = token(&meta, number, 0);
            assert_eq!(number_of(&token), Some(number), "{token}");
        }
        assert_ne!(token(&meta, 7, 0), token(&meta, 7, 1));
        assert_eq!(number_of(&"green".into()), None);
    }
}
