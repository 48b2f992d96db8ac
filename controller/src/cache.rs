//! What the watches saw, pruned to the facts that decisions look at.
//!
//! The controller's own writes are entered as their answers arrive, and nothing older replaces them: so it
//! never acts on an object that is older than its own last write. What a watch has told to be gone no answer brings
//! back that was under way: nothing would tell of its end any more. Resource versions are compared as numbers
//! (KEP-5504).

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Mutex, MutexGuard, PoisonError},
};

/// Namespace and name of an object.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Key {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl Key {
    /// Of an object.
    pub fn new(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self {
            namespace: namespace.into(),
            name: name.into(),
        }
    }
}

impl std::fmt::Display for Key {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}/{}", self.namespace, self.name)
    }
}

#[derive(Clone, Debug)]
struct Entry<V> {
    version: u64,
    value: V,
}

/// Who tells of the state of an object.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Teller {
    /// A watch: it tells of everything, in order.
    Watch,
    /// The answer to a call: it may come after the watch has told of a later state, or of the end.
    Answer,
}

/// The objects of one kind.
#[derive(Debug)]
pub struct Cache<V> {
    state: Mutex<State<V>>,
}

#[derive(Debug)]
struct State<V> {
    entries: BTreeMap<Key, Entry<V>>,
    /// Objects that are gone.
    gone: BTreeMap<Key, Gone>,
    /// How many were ever gone.
    count: u64,
}

/// The end of an object.
#[derive(Clone, Copy, Debug)]
struct Gone {
    /// No answer up to this version brings it back.
    at: u64,
    /// How many were gone before it.
    after: u64,
}

impl<V> Default for Cache<V> {
    fn default() -> Self {
        Self {
            state: Mutex::new(State {
                entries: BTreeMap::new(),
                gone: BTreeMap::new(),
                count: 0,
            }),
        }
    }
}

/// So many objects that are gone are remembered: far more than answers are ever under way.
const REMEMBERED: usize = 1024;

/// A resource version as a number; 0 for one that is none.
pub fn version(resource_version: &str) -> u64 {
    resource_version.parse().unwrap_or_default()
}

impl<V> State<V> {
    fn take(&mut self, key: &Key, at: u64) -> Option<V> {
        let entry = self.entries.remove(key);
        let known = entry.as_ref().map_or(0, |entry| entry.version);
        let gone = Gone {
            at: at.max(known),
            after: self.count,
        };
        self.count += 1;
        self.gone.insert(key.clone(), gone);
        if self.gone.len() > REMEMBERED {
            let oldest = self.gone.iter().min_by_key(|(_, gone)| gone.after);
            if let Some(oldest) = oldest.map(|(key, _)| key.clone()) {
                self.gone.remove(&oldest);
            }
        }
        entry.map(|entry| entry.value)
    }
}

impl<V: Clone> Cache<V> {
    fn lock(&self) -> MutexGuard<'_, State<V>> {
        // Entries are replaced whole, so a panic elsewhere leaves none half-written.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Enters an object, unless a newer state of it is known.
    pub fn apply(&self, key: Key, resource_version: &str, value: V, teller: Teller) {
        let version = version(resource_version);
        let mut state = self.lock();
        let gone = state.gone.get(&key).is_some_and(|gone| version <= gone.at);
        if gone && teller == Teller::Answer {
            return;
        }
        if state
            .entries
            .get(&key)
            .is_none_or(|known| known.version <= version)
        {
            state.gone.remove(&key);
            state.entries.insert(key, Entry { version, value });
        }
    }

    /// Changes an entry in place; for what an answer told without the whole object.
    pub fn change(&self, key: &Key, change: impl FnOnce(&mut V)) {
        if let Some(entry) = self.lock().entries.get_mut(key) {
            change(&mut entry.value);
        }
    }

    /// Removes an object that was gone at a version; one of the same name that was made later stays.
    pub fn remove(&self, key: &Key, resource_version: &str) -> Option<V> {
        let at = version(resource_version);
        let mut state = self.lock();
        let newer = state.entries.get(key).is_some_and(|known| known.version > at);
        if newer { None } else { state.take(key, at) }
    }

    /// Removes an object of which an answer says that it is not there.
    pub fn forget(&self, key: &Key) {
        drop(self.lock().take(key, 0));
    }

    /// After a complete list: removes what it did not name, and says what that was.
    pub fn retain(&self, listed: &BTreeSet<Key>) -> Vec<(Key, V)> {
        let mut state = self.lock();
        let keys = state.entries.keys();
        let gone: Vec<Key> = keys.filter(|key| !listed.contains(*key)).cloned().collect();
        gone.into_iter()
            .filter_map(|key| state.take(&key, u64::MAX).map(|value| (key, value)))
            .collect()
    }

    /// An object.
    pub fn get(&self, key: &Key) -> Option<V> {
        self.lock().entries.get(key).map(|entry| entry.value.clone())
    }

    /// The objects of a namespace, by name.
    pub fn namespace(&self, namespace: &str) -> Vec<(String, V)> {
        let first = Key::new(namespace, "");
        let state = self.lock();
        let all = state
            .entries
            .range(first..)
            .take_while(|(key, _)| key.namespace == namespace);
        all.map(|(key, entry)| (key.name.clone(), entry.value.clone()))
            .collect()
    }

    /// The keys of all objects.
    pub fn keys(&self) -> Vec<Key> {
        self.lock().entries.keys().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_older_state_never_replaces_a_newer_one() {
        let cache = Cache::default();
        let key = Key::new("shop", "web");
        cache.apply(key.clone(), "9", "our own write", Teller::Answer);
        cache.apply(key.clone(), "8", "a watch that lags", Teller::Watch);
        assert_eq!(cache.get(&key), Some("our own write"));
        cache.apply(key.clone(), "10", "the watch has caught up", Teller::Watch);
        assert_eq!(cache.get(&key), Some("the watch has caught up"));
    }

    #[test]
    fn a_namespace_is_read_alone() {
        let cache = Cache::default();
        for (namespace, name) in [("a", "z"), ("b", "x"), ("b", "y"), ("c", "a")] {
            cache.apply(Key::new(namespace, name), "1", (), Teller::Watch);
        }
        let names: Vec<String> = cache.namespace("b").into_iter().map(|(name, ())| name).collect();
        assert_eq!(names, ["x", "y"]);
    }

    #[test]
    fn a_complete_list_removes_what_it_does_not_name() {
        let cache = Cache::default();
        cache.apply(Key::new("a", "kept"), "1", 1, Teller::Watch);
        cache.apply(Key::new("a", "gone"), "2", 2, Teller::Watch);
        let gone = cache.retain(&BTreeSet::from([Key::new("a", "kept")]));
        assert_eq!(gone, [(Key::new("a", "gone"), 2)]);
        assert_eq!(cache.keys(), [Key::new("a", "kept")]);
    }

    #[test]
    fn what_is_gone_is_not_brought_back_by_an_answer_that_comes_late() {
        let cache = Cache::default();
        let key = Key::new("shop", "web");
        cache.apply(key.clone(), "5", "seen", Teller::Watch);
        assert_eq!(cache.remove(&key, "7"), Some("seen"));
        cache.apply(key.clone(), "6", "our own write, just before", Teller::Answer);
        assert_eq!(cache.get(&key), None);
        cache.apply(key.clone(), "8", "made again", Teller::Answer);
        assert_eq!(cache.get(&key), Some("made again"));
        assert_eq!(cache.remove(&key, "7"), None, "it is another one");
        assert_eq!(cache.get(&key), Some("made again"));
    }

    #[test]
    fn what_a_list_does_not_name_comes_back_by_the_watch_alone() {
        let cache = Cache::default();
        let key = Key::new("shop", "web");
        cache.apply(key.clone(), "5", "seen", Teller::Watch);
        drop(cache.retain(&BTreeSet::new()));
        cache.apply(key.clone(), "6", "our own write, just before", Teller::Answer);
        assert_eq!(cache.get(&key), None);
        cache.apply(key.clone(), "9", "made again", Teller::Watch);
        assert_eq!(cache.get(&key), Some("made again"));
    }

    #[test]
    fn only_so_much_is_remembered_of_what_is_gone() {
        let cache = Cache::default();
        for number in 0..=REMEMBERED {
            let key = Key::new("shop", number.to_string());
            cache.apply(key.clone(), "1", (), Teller::Watch);
            cache.remove(&key, &(number + 2).to_string());
        }
        let gone = cache.lock().gone.len();
        assert_eq!(gone, REMEMBERED);
    }
}
