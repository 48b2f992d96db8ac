//! A model of Elasticsearch and OpenSearch: the calls that a release makes, and what builds write.
//!
//! Documents are only counted. What was written becomes visible by a refresh.

mod answers;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use jiff::Timestamp;
use serde_json::Value;

use super::clock::Clock;

/// One index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Index {
    /// Its identity.
    pub uuid: String,
    /// When it was made.
    pub created: Timestamp,
    /// The documents that searches and counts see.
    pub visible: u64,
    /// The documents that there are.
    pub documents: u64,
    /// The number of the last operation; −1 before the first.
    pub max_seq_no: i64,
    /// The settings `index.blocks.*` that are set.
    pub blocks: BTreeSet<String>,
    /// How well it is held: green, yellow or red.
    pub health: &'static str,
}

/// Something that happened to names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NameChange {
    /// An index was made.
    Created {
        /// Its name.
        index: String,
        /// Its identity.
        uuid: String,
    },
    /// An index was deleted.
    Deleted {
        /// Its name.
        index: String,
        /// Its identity.
        uuid: String,
    },
    /// An alias was moved, made or taken away.
    Alias {
        /// Its name.
        alias: String,
        /// The indices it was on.
        before: BTreeSet<String>,
        /// The indices it is on now.
        after: BTreeSet<String>,
    },
}

/// What happens to a request.
#[derive(Clone, Debug, PartialEq)]
pub enum SearchFault {
    /// It never arrives.
    NotSent,
    /// The answer is lost.
    Lost {
        /// Whether the request is carried out.
        applied: bool,
    },
    /// It is answered so, and nothing is carried out.
    Answer(u16, Value),
}

/// A request that got no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unanswered {
    /// It certainly was not carried out.
    NotSent,
    /// Nobody knows.
    Lost,
}

/// The engine.
#[derive(Debug)]
pub struct SearchEngine {
    /// Its version, such as 2.19.1.
    pub version: String,
    /// Whether it is OpenSearch; else it is Elasticsearch.
    pub open_search: bool,
    /// All indices.
    pub indices: BTreeMap<String, Index>,
    /// All aliases with the indices they are on.
    pub aliases: BTreeMap<String, BTreeSet<String>>,
    /// What happened to names, in order.
    pub name_changes: Vec<(Timestamp, NameChange)>,
    /// Every request: when, method, path, status of the answer (0 for none).
    pub requests: Vec<(Timestamp, String, String, u16)>,
    /// The fates of the next requests; an empty one lets its request pass.
    pub fates: VecDeque<Option<SearchFault>>,
    /// Whether the engine cannot be reached at all.
    pub down: bool,
    clock: Clock,
    identities: u64,
}

impl SearchEngine {
    /// An empty OpenSearch that goes by this clock.
    pub fn new(clock: Clock) -> Self {
        Self {
            version: "2.19.1".to_owned(),
            open_search: true,
            indices: BTreeMap::new(),
            aliases: BTreeMap::new(),
            name_changes: Vec::new(),
            requests: Vec::new(),
            fates: VecDeque::new(),
            down: false,
            clock,
            identities: 0,
        }
    }

    /// Whether a removal in an alias change may be made a condition.
    pub fn must_exist(&self) -> bool {
        let mut numbers = self
            .version
            .split('.')
            .map(|part| part.parse().unwrap_or_default());
        let version: (u32, u32) = (
            numbers.next().unwrap_or_default(),
            numbers.next().unwrap_or_default(),
        );
        version >= if self.open_search { (2, 12) } else { (7, 11) }
    }

    /// Makes an index unless a name is taken. Returns whether it was made.
    pub fn create(&mut self, name: &str) -> bool {
        if self.indices.contains_key(name) || self.aliases.contains_key(name) {
            return false;
        }
        self.identities += 1;
        let uuid = format!("uuid-{:04}", self.identities);
        let now = self.clock.now();
        let index = Index {
            uuid: uuid.clone(),
            created: now,
            visible: 0,
            documents: 0,
            max_seq_no: -1,
            blocks: BTreeSet::new(),
            health: "green",
        };
        self.indices.insert(name.to_owned(), index);
        self.name_changes.push((
            now,
            NameChange::Created {
                index: name.to_owned(),
                uuid,
            },
        ));
        true
    }

    /// Writes documents to an index, or through an alias that is on exactly one; makes the index if the name
    /// is free, as an engine does by default. Not visible before a refresh.
    pub fn write(&mut self, name: &str, documents: u64) {
        if self.targets(name).is_empty() {
            self.create(name);
        }
        if let [target] = self.targets(name).as_slice() {
            let index = self.indices.get_mut(target).expect("a target exists");
            index.documents += documents;
            index.max_seq_no += i64::try_from(documents).expect("a countable number");
        }
    }

    /// Makes what was written to an index, or behind an alias, visible.
    pub fn refresh(&mut self, name: &str) {
        for target in self.targets(name) {
            let index = self.indices.get_mut(&target).expect("a target exists");
            index.visible = index.documents;
        }
    }

    /// Puts an alias on these indices and no others.
    pub fn set_alias(&mut self, alias: &str, indices: &[&str]) {
        let after: BTreeSet<_> = indices.iter().map(|index| (*index).to_owned()).collect();
        let before = self.aliases.get(alias).cloned().unwrap_or_default();
        if before == after {
            return;
        }
        if after.is_empty() {
            self.aliases.remove(alias);
        } else {
            self.aliases.insert(alias.to_owned(), after.clone());
        }
        self.name_changes.push((
            self.clock.now(),
            NameChange::Alias {
                alias: alias.to_owned(),
                before,
                after,
            },
        ));
    }

    /// Deletes an index. Returns whether there was one.
    pub fn delete(&mut self, name: &str) -> bool {
        let Some(index) = self.indices.remove(name) else {
            return false;
        };
        let on: Vec<_> = self.aliases.iter().filter(|(_, on)| on.contains(name)).collect();
        let on: Vec<_> = on
            .into_iter()
            .map(|(alias, on)| (alias.clone(), on.clone()))
            .collect();
        for (alias, mut left) in on {
            left.remove(name);
            self.set_alias(&alias, &left.iter().map(String::as_str).collect::<Vec<_>>());
        }
        self.name_changes.push((
            self.clock.now(),
            NameChange::Deleted {
                index: name.to_owned(),
                uuid: index.uuid,
            },
        ));
        true
    }

    /// What searchkick's reindex of one model does under a name: a new index behind an alias of that name,
    /// made at once when the alias is new, else flipped at the end, with the old one deleted.
    pub fn searchkick_reindex(&mut self, alias: &str, documents: u64) {
        let physical = format!("{alias}_{:017}", self.clock.now().as_millisecond());
        self.create(&physical);
        self.write(&physical, documents);
        self.refresh(&physical);
        let before = self.aliases.get(alias).cloned().unwrap_or_default();
        self.set_alias(alias, &[&physical]);
        for old in before {
            self.delete(&old);
        }
    }

    /// The indices that a name, a pattern or an alias reaches.
    pub fn targets(&self, name: &str) -> Vec<String> {
        let by_alias = self.aliases.get(name).into_iter().flatten();
        let by_name = self.indices.keys().filter(|index| matches(name, index));
        by_alias.chain(by_name).cloned().collect()
    }

    /// One request as it travels: it may meet a fault on its way.
    pub fn exchange(
        &mut self,
        method: &str,
        path: &str,
        body: Option<&Value>,
    ) -> Result<(u16, Value), Unanswered> {
        let fate = if self.down {
            Some(SearchFault::NotSent)
        } else {
            self.fates.pop_front().flatten()
        };
        let result = match fate {
            None => Ok(self.handle(method, path, body)),
            Some(SearchFault::NotSent) => Err(Unanswered::NotSent),
            Some(SearchFault::Answer(status, body)) => Ok((status, body)),
            Some(SearchFault::Lost { applied }) => {
                if applied {
                    self.handle(method, path, body);
                }
                Err(Unanswered::Lost)
            }
        };
        let status = result.as_ref().map_or(0, |(status, _)| *status);
        self.requests
            .push((self.clock.now(), method.to_owned(), path.to_owned(), status));
        result
    }
}

/// Whether a name matches a pattern with at most one `*`.
fn matches(pattern: &str, name: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == name,
        Some((head, tail)) => name.strip_prefix(head).is_some_and(|rest| rest.ends_with(tail)),
    }
}
