//! What the watches saw, pruned to the facts that decisions rest on.
//!
//! The controller's own writes are entered as their answers arrive, and nothing older replaces them: so it
//! never acts on an object that is older than its own last write. What a watch has told to be gone no answer brings
//! back that was under way: nothing would tell of its end any more. Resource versions are compared as numbers
//! (KEP-5504).

mod index;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use self::index::Index;
pub use self::index::{Indexed, Tag};

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

#[derive(Debug)]
struct Entry<V> {
    version: u64,
    value: Arc<V>,
    /// What the watch told last; it may be behind an answer.
    told: Option<Arc<V>>,
}

/// Where the state of an object comes from.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Source {
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
    index: Index,
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
                index: Index::default(),
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

impl<V: Indexed> State<V> {
    fn put(&mut self, key: Key, entry: Entry<V>) {
        self.index.enter(&key, &*entry.value);
        self.entries.insert(key, entry);
    }

    /// Takes an entry out, to be put back changed or not at all.
    fn pull(&mut self, key: &Key) -> Option<Entry<V>> {
        let entry = self.entries.remove(key)?;
        self.index.leave(key, &*entry.value);
        Some(entry)
    }

    fn take(&mut self, key: &Key, at: u64) -> Option<Arc<V>> {
        let entry = self.pull(key);
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

    fn values<'a>(&self, namespace: &str, names: impl IntoIterator<Item = &'a String>) -> Vec<Arc<V>> {
        let keys = names.into_iter().map(|name| Key::new(namespace, name));
        keys.filter_map(|key| self.entries.get(&key))
            .map(|entry| entry.value.clone())
            .collect()
    }
}

impl<V: Indexed> Cache<V> {
    fn lock(&self) -> MutexGuard<'_, State<V>> {
        // Entries are replaced whole, so a panic elsewhere leaves none half-written.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Enters an object, unless a newer state of it is known. Gives what the watch told before, if a watch tells
    /// this: what an answer brought in between is news to those who follow the watch.
    pub fn apply(&self, key: Key, resource_version: &str, value: Arc<V>, source: Source) -> Option<Arc<V>> {
        let version = version(resource_version);
        let mut state = self.lock();
        let gone = state.gone.get(&key).is_some_and(|gone| version <= gone.at);
        if gone && source == Source::Answer {
            return None;
        }
        let known = state.pull(&key);
        let before = known.as_ref().and_then(|entry| entry.told.clone());
        let mut entry = match known {
            Some(newer) if newer.version > version => newer,
            Some(_) | None => {
                state.gone.remove(&key);
                Entry {
                    version,
                    value,
                    told: before.clone(),
                }
            }
        };
        if source == Source::Watch {
            entry.told = Some(entry.value.clone());
        }
        state.put(key, entry);
        before
    }

    /// Changes an entry in place; for what an answer told without the whole object.
    pub fn change(&self, key: &Key, change: impl FnOnce(&mut V))
    where
        V: Clone,
    {
        let mut state = self.lock();
        if let Some(mut entry) = state.pull(key) {
            change(Arc::make_mut(&mut entry.value));
            state.put(key.clone(), entry);
        }
    }

    /// Removes an object that was gone at a version; one of the same name that was made later stays.
    pub fn remove(&self, key: &Key, resource_version: &str) -> Option<Arc<V>> {
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
    pub fn retain(&self, listed: &BTreeSet<Key>) -> Vec<(Key, Arc<V>)> {
        let mut state = self.lock();
        let keys = state.entries.keys();
        let gone: Vec<Key> = keys.filter(|key| !listed.contains(*key)).cloned().collect();
        gone.into_iter()
            .filter_map(|key| state.take(&key, u64::MAX).map(|value| (key, value)))
            .collect()
    }

    /// An object.
    pub fn get(&self, key: &Key) -> Option<Arc<V>> {
        self.lock().entries.get(key).map(|entry| entry.value.clone())
    }

    /// The names of the objects with a tag, in order.
    pub fn names(&self, namespace: &str, tag: &Tag) -> Vec<String> {
        let state = self.lock();
        let names = state.index.names(namespace, tag);
        names.into_iter().flatten().cloned().collect()
    }

    /// The objects with a tag, by name.
    pub fn tagged(&self, namespace: &str, tag: &Tag) -> Vec<Arc<V>> {
        let state = self.lock();
        let names = state.index.names(namespace, tag);
        state.values(namespace, names.into_iter().flatten())
    }

    /// The objects that select pods with these labels, by name.
    pub fn selecting(&self, namespace: &str, labels: &BTreeMap<String, String>) -> Vec<Arc<V>> {
        let state = self.lock();
        let mut candidates = state.values(namespace, state.index.selecting(namespace, labels));
        candidates.retain(|value| {
            let selector = value.selector();
            selector.is_some_and(|selector| index::selects(&selector, labels))
        });
        candidates
    }

    /// The names of the objects whose pods carry all labels of a selector, in order.
    pub fn labelled(&self, namespace: &str, selector: &BTreeMap<String, String>) -> Vec<String> {
        let state = self.lock();
        let names = state.index.labelled(namespace, selector);
        names.into_iter().cloned().collect()
    }

    /// The keys of all objects.
    pub fn keys(&self) -> Vec<Key> {
        self.lock().entries.keys().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Indexed for &'static str {
        fn tags(&self) -> Vec<Tag> {
            vec![Tag::Service((*self).into())]
        }
    }

    #[test]
    fn an_older_state_never_replaces_a_newer_one() {
        let cache = Cache::<&str>::default();
        let key = Key::new("shop", "web");
        cache.apply(key.clone(), "9", "our own write".into(), Source::Answer);
        cache.apply(key.clone(), "8", "a watch that lags".into(), Source::Watch);
        assert_eq!(cache.get(&key), Some("our own write".into()));
        cache.apply(key.clone(), "10", "the watch has caught up".into(), Source::Watch);
        assert_eq!(cache.get(&key), Some("the watch has caught up".into()));
    }

    #[test]
    fn a_namespace_is_read_alone_and_by_what_an_object_is_now() {
        let cache = Cache::<&str>::default();
        for (namespace, name) in [("a", "z"), ("b", "x"), ("b", "y"), ("c", "a")] {
            cache.apply(Key::new(namespace, name), "1", "shop".into(), Source::Watch);
        }
        let tag = Tag::Service("shop".into());
        assert_eq!(cache.names("b", &tag), ["x", "y"]);
        cache.apply(Key::new("b", "x"), "2", "other".into(), Source::Watch);
        assert_eq!(cache.names("b", &tag), ["y"]);
        cache.change(&Key::new("b", "y"), |value| *value = "other");
        assert!(cache.names("b", &tag).is_empty());
        assert_eq!(cache.names("b", &Tag::Service("other".into())), ["x", "y"]);
        drop(cache.retain(&BTreeSet::new()));
        assert!(cache.names("b", &Tag::Service("other".into())).is_empty());
    }

    #[test]
    fn a_watch_learns_what_it_told_before_whatever_an_answer_brought_in_between() {
        let cache = Cache::<&str>::default();
        let key = Key::new("shop", "web");
        let enter =
            |at: &str, value: &'static str, source| cache.apply(key.clone(), at, value.into(), source);
        assert_eq!(enter("1", "told", Source::Watch), None);
        enter("3", "somebody's change and our own after it", Source::Answer);
        let before = enter("2", "somebody's change", Source::Watch);
        assert_eq!(before, Some("told".into()));
        let before = enter("3", "somebody's change and our own after it", Source::Watch);
        assert_eq!(before, Some("somebody's change and our own after it".into()));
    }

    #[test]
    fn a_complete_list_removes_what_it_does_not_name() {
        let cache = Cache::<&str>::default();
        cache.apply(Key::new("a", "kept"), "1", "1".into(), Source::Watch);
        cache.apply(Key::new("a", "gone"), "2", "2".into(), Source::Watch);
        let gone = cache.retain(&BTreeSet::from([Key::new("a", "kept")]));
        assert_eq!(gone, [(Key::new("a", "gone"), "2".into())]);
        assert_eq!(cache.keys(), [Key::new("a", "kept")]);
    }

    #[test]
    fn what_is_gone_is_not_brought_back_by_an_answer_that_comes_late() {
        let cache = Cache::<&str>::default();
        let key = Key::new("shop", "web");
        cache.apply(key.clone(), "5", "seen".into(), Source::Watch);
        assert_eq!(cache.remove(&key, "7"), Some("seen".into()));
        cache.apply(
            key.clone(),
            "6",
            "our own write, just before".into(),
            Source::Answer,
        );
        assert_eq!(cache.get(&key), None);
        cache.apply(key.clone(), "8", "made again".into(), Source::Answer);
        assert_eq!(cache.get(&key), Some("made again".into()));
        assert_eq!(cache.remove(&key, "7"), None, "it is another one");
        assert_eq!(cache.get(&key), Some("made again".into()));
    }

    #[test]
    fn what_a_list_does_not_name_comes_back_by_the_watch_alone() {
        let cache = Cache::<&str>::default();
        let key = Key::new("shop", "web");
        cache.apply(key.clone(), "5", "seen".into(), Source::Watch);
        drop(cache.retain(&BTreeSet::new()));
        cache.apply(
            key.clone(),
            "6",
            "our own write, just before".into(),
            Source::Answer,
        );
        assert_eq!(cache.get(&key), None);
        cache.apply(key.clone(), "9", "made again".into(), Source::Watch);
        assert_eq!(cache.get(&key), Some("made again".into()));
    }

    #[test]
    fn only_so_much_is_remembered_of_what_is_gone() {
        let cache = Cache::<&str>::default();
        for number in 0..=REMEMBERED {
            let key = Key::new("shop", number.to_string());
            cache.apply(key.clone(), "1", "".into(), Source::Watch);
            cache.remove(&key, &(number + 2).to_string());
        }
        let gone = cache.lock().gone.len();
        assert_eq!(gone, REMEMBERED);
    }
}
