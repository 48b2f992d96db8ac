//! Names and tokens of index generations, and what has to be asked of the engine.

use slipway_crds::v1alpha1::RebuildWhen;
use slipway_crds::v1alpha1::status::{Candidate, Generation, GenerationIndex, RetiredIndex};

use crate::intent::{Meta, Plan, ReindexPlan};
use crate::observed::{NameView, SearchFacts};
use crate::progress::Progress;
use crate::template::digest;

/// The token of a generation: `g`, the number of the revision, two letters that stand for the Release's UID, and a
/// letter for a repeated build. Names under it were never used before.
pub fn token(meta: &Meta, number: i64, builds: usize) -> String {
    let letter = |digit: char| {
        digit
            .to_digit(16)
            .and_then(|value| char::from_digit(value + 16, 32))
    };
    let release: String = digest(&[&meta.uid]).chars().take(2).filter_map(letter).collect();
    let again = u8::try_from(builds)
        .ok()
        .filter(|builds| *builds > 0)
        .map(|builds| char::from(b'a' + builds.min(25)));
    format!(
        "g{number}{release}{}",
        again.map(String::from).unwrap_or_default()
    )
}

/// Number of the revision that made a token.
pub fn number_of(token: &str) -> Option<i64> {
    let digits: String = token
        .strip_prefix('g')?
        .chars()
        .take_while(char::is_ascii_digit)
        .collect();
    digits.parse().ok()
}

/// Whether this revision builds a generation of its own.
pub fn rebuilds(plan: &ReindexPlan, live: Option<&Generation>) -> bool {
    match plan.rebuild {
        RebuildWhen::Always => true,
        RebuildWhen::Never => false,
        RebuildWhen::FingerprintChanged => {
            live.is_none_or(|live| live.fingerprint.is_none() || live.fingerprint != plan.fingerprint)
        }
    }
}

/// What is asked of the engine in one go.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Question {
    /// Address of the engine.
    pub url: String,
    /// Names to resolve: aliases or indices.
    pub names: Vec<String>,
    /// Prefixes of index names to list.
    pub prefixes: Vec<String>,
    /// Indices to look at by name.
    pub indices: Vec<String>,
    /// Whether the document counts have to be those of this moment.
    pub refresh: bool,
}

/// The question that a plan's reindex needs answered.
pub fn question(plan: &Plan, progress: &Progress, refresh: bool) -> Option<Question> {
    let reindex = plan.reindex.as_ref()?;
    let search = progress.status.search.clone().unwrap_or_default();
    let mut question = Question {
        url: reindex.url.clone(),
        refresh,
        ..Question::default()
    };
    let live = search.live.as_ref().and_then(|live| live.token.as_deref());
    let candidate = search
        .candidate
        .as_ref()
        .map(|candidate| candidate.token.as_str());
    for alias in &reindex.aliases {
        question.names.push(alias.alias.clone());
        question
            .names
            .extend(live.map(|token| ReindexPlan::name(&alias.alias, Some(token))));
        if let Some(token) = candidate {
            let name = ReindexPlan::name(&alias.alias, Some(token));
            question.names.push(name.clone());
            question.prefixes.push(name);
        }
    }
    question
        .indices
        .extend(search.retired.iter().map(|retired| retired.index.clone()));
    Some(question)
}

/// What the stable aliases are now.
///
/// # Errors
/// A reason and a sentence where an alias cannot be released: on several indices, or no alias at all.
pub fn baseline(
    plan: &ReindexPlan,
    facts: &SearchFacts,
) -> Result<Vec<GenerationIndex>, (&'static str, String)> {
    let mut baseline = Vec::new();
    for alias in &plan.aliases {
        match facts.names.get(&alias.alias) {
            None => {}
            Some(NameView::Index) => {
                return Err((
                    "AliasIsIndex",
                    format!(
                        "{} is an index itself, not an alias; make it an alias once: clone it to another name, then in one _aliases call add the alias to the clone and remove_index {}",
                        alias.alias, alias.alias
                    ),
                ));
            }
            Some(NameView::Alias(indices)) if indices.len() != 1 => {
                return Err((
                    "AliasOnSeveralIndices",
                    format!(
                        "alias {} is on {}; an alias must be on exactly one index before a release: remove it from the others",
                        alias.alias,
                        indices.join(" and ")
                    ),
                ));
            }
            Some(NameView::Alias(_)) => baseline.extend(index_of(facts, &alias.alias, &alias.alias)),
        }
    }
    Ok(baseline)
}

/// The index behind a name, as status remembers it.
pub fn index_of(facts: &SearchFacts, alias: &str, name: &str) -> Option<GenerationIndex> {
    let (index, view) = facts.resolve(name)?;
    Some(GenerationIndex {
        alias: alias.to_owned(),
        index: index.to_owned(),
        uuid: view.uuid.clone(),
        documents: Some(view.documents),
    })
}

/// A stable alias that is no longer where it was when the build began, and where it is.
pub fn moved<'a>(
    plan: &'a ReindexPlan,
    candidate: &Candidate,
    facts: &SearchFacts,
) -> Option<(&'a str, String)> {
    plan.aliases.iter().find_map(|alias| {
        let before = candidate.baseline.iter().find(|index| index.alias == alias.alias);
        let now = facts.names.get(&alias.alias);
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
        let place = match now {
            None => "nothing".to_owned(),
            Some(NameView::Index) => "an index of its own name".to_owned(),
            Some(NameView::Alias(indices)) => indices.join(" and "),
        };
        (!same).then_some((alias.alias.as_str(), place))
    })
}

/// All indices that carry a candidate's token, for its clean-up.
pub fn seen(plan: &ReindexPlan, candidate: &Candidate, facts: &SearchFacts) -> Vec<GenerationIndex> {
    let prefix = |alias: &str| ReindexPlan::name(alias, Some(&candidate.token));
    let of = |name: &str| {
        let matching = plan
            .aliases
            .iter()
            .filter(|alias| name.starts_with(&prefix(&alias.alias)));
        matching.max_by_key(|alias| alias.alias.len())
    };
    let indices = facts
        .indices
        .iter()
        .filter_map(|(name, view)| Some((of(name)?, name, view)));
    indices
        .map(|(alias, name, view)| GenerationIndex {
            alias: alias.alias.clone(),
            index: name.clone(),
            uuid: view.uuid.clone(),
            documents: Some(view.documents),
        })
        .collect()
}

/// What status remembers of an index that nobody needs any more.
pub fn retired(index: &GenerationIndex, token: Option<&str>, delete_after: jiff::Timestamp) -> RetiredIndex {
    RetiredIndex {
        alias: index.alias.clone(),
        token: token.map(str::to_owned),
        index: index.index.clone(),
        uuid: index.uuid.clone(),
        delete_after,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_tells_the_revision_that_made_it() {
        let meta = Meta {
            uid: "5f0e0a1c".to_owned(),
            ..Meta::default()
        };
        for number in [1, 7, 12, 345] {
            let token = token(&meta, number, 0);
            assert_eq!(number_of(&token), Some(number), "{token}");
        }
        assert_ne!(token(&meta, 7, 0), token(&meta, 7, 1));
        assert_eq!(number_of("green"), None);
    }
}
