//! Which index each alias of a search engine stands on, over time.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde_json::Value;
use slipway_kubernetes::search::NameChange;

/// From a moment on: the indices that an alias stands on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Since when it was seen so.
    pub at: Timestamp,
    /// The indices; `None` while the engine did not answer.
    pub indices: Option<BTreeSet<String>>,
}

/// Follows the watched aliases.
#[derive(Clone, Debug, Default)]
pub struct Aliases {
    timelines: BTreeMap<String, Vec<Standing>>,
    polls: usize,
}

impl Aliases {
    /// Watches these names.
    pub fn new(names: &[String]) -> Self {
        let timelines = names.iter().map(|name| (name.clone(), Vec::new())).collect();
        Self { timelines, polls: 0 }
    }

    /// One answer of `GET /_alias`, or `None` when there was none.
    pub fn record(&mut self, at: Timestamp, answer: Option<&Value>) {
        self.polls += 1;
        for (alias, timeline) in &mut self.timelines {
            let indices = answer.map(|answer| standing_on(alias, answer));
            if timeline.last().is_none_or(|last| last.indices != indices) {
                timeline.push(Standing { at, indices });
            }
        }
    }

    /// What was seen of one alias, each change once, oldest first.
    pub fn timeline(&self, alias: &str) -> &[Standing] {
        self.timelines.get(alias).map_or(&[], Vec::as_slice)
    }

    /// The indices that the alias stood on one after another, gaps and repetitions left out.
    pub fn path(&self, alias: &str) -> Vec<String> {
        let known = self
            .timeline(alias)
            .iter()
            .filter_map(|standing| standing.indices.as_ref());
        let mut path: Vec<_> = known.map(join).collect();
        path.dedup();
        path
    }

    /// How many times the engine was asked.
    pub fn polls(&self) -> usize {
        self.polls
    }

    /// Each alias's ways from the last indices that it stood on, silence left out.
    pub fn name_changes(&self) -> Vec<(Timestamp, NameChange)> {
        let mut changes = Vec::new();
        for (alias, timeline) in &self.timelines {
            let mut before = BTreeSet::new();
            for standing in timeline {
                let Some(after) = standing.indices.clone().filter(|after| *after != before) else {
                    continue;
                };
                let last = if after.is_empty() {
                    before.clone()
                } else {
                    after.clone()
                };
                let change = NameChange::Alias {
                    alias: alias.clone(),
                    before: std::mem::replace(&mut before, last),
                    after,
                };
                changes.push((standing.at, change));
            }
        }
        changes
    }
}

/// The indices that a name stands for: those that bear it as an alias, or the index of that very name.
fn standing_on(alias: &str, answer: &Value) -> BTreeSet<String> {
    let indices = answer.as_object().into_iter().flatten();
    let bears =
        |(index, settings): &(&String, &Value)| *index == alias || settings["aliases"].get(alias).is_some();
    indices.filter(bears).map(|(index, _)| index.clone()).collect()
}

fn join(indices: &BTreeSet<String>) -> String {
    if indices.is_empty() {
        return "none".to_owned();
    }
    indices
        .iter()
        .map(String::as_str)
        .collect::<Vec<_>>()
        .join(" and ")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::invariants::{History, Tolerance, check};

    fn judge(aliases: &Aliases) -> Vec<String> {
        let history = History {
            name_changes: &aliases.name_changes(),
            ..History::default()
        };
        let found = check(history, Tolerance::default());
        found.iter().map(ToString::to_string).collect()
    }

    fn watched(answers: &[Option<Value>]) -> Aliases {
        let mut aliases = Aliases::new(&["products".to_owned()]);
        for (second, answer) in (0..).zip(answers) {
            aliases.record(Timestamp::from_second(second).unwrap(), answer.as_ref());
        }
        aliases
    }

    fn on(indices: &[&str]) -> Value {
        let mut answer = json!({".kibana": {"aliases": {}}, "products_g9": {"aliases": {"other": {}}}});
        for index in indices {
            answer[*index] = json!({"aliases": {"products": {}}});
        }
        answer
    }

    #[test]
    fn an_alias_that_moves_at_once_is_well_and_silence_is_no_violation() {
        let answers = [
            Some(on(&[])),
            Some(on(&["products_g1"])),
            Some(on(&["products_g1"])),
            None,
            Some(on(&["products_g1"])),
            Some(on(&["products_g2"])),
        ];
        let aliases = watched(&answers);
        assert_eq!(judge(&aliases), Vec::<String>::new());
        assert_eq!(aliases.path("products"), ["none", "products_g1", "products_g2"]);
        assert_eq!((aliases.polls(), aliases.timeline("products").len()), (6, 5));
    }

    #[test]
    fn an_alias_on_two_indices_or_on_none_any_more_is_seen() {
        let aliases = watched(&[
            Some(on(&["products_g1"])),
            Some(on(&["products_g1", "products_g2"])),
            Some(on(&[])),
        ]);
        assert_eq!(
            judge(&aliases),
            [
                "alias: products stood on products_g1 and products_g2 (at 1970-01-01T00:00:01.000000Z)",
                "alias: products stood on no index (at 1970-01-01T00:00:02.000000Z)",
            ]
        );
    }

    #[test]
    fn an_index_of_the_aliass_own_name_counts() {
        let answer = json!({"products": {"aliases": {}}});
        assert_eq!(watched(&[Some(answer)]).path("products"), ["products"]);
    }
}
