//! What the watches saw, pruned to the facts that decisions look at.
//!
//! The controller's own writes are entered as their answers arrive, and nothing older replaces them: so it
//! never acts on an object that is older than its own last write. Resource versions are compared as numbers
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

/// The objects of one kind.
#[derive(Debug)]
pub struct Cache<V> {
    entries: Mutex<BTreeMap<Key, Entry<V>>>,
}

impl<V> Default for Cache<V> {
    fn default() -> Self {
        Self {
            entries: Mutex::new(BTreeMap::new()),
        }
    }
}

/// A resource version as a number; 0 for one that is none.
pub fn version(resource_version: &str) -> u64 {
    resource_version.parse().unwrap_or_default()
}

impl<V: Clone> Cache<V> {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<Key, Entry<V>>> {
        // Entries are replaced whole, so a panic elsewhere leaves none half-written.
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Enters an object, unless a newer state of it is known.
    pub fn apply(&self, key: Key, resource_version: &str, value: V) {
        let version = version(resource_version);
        let mut entries = self.lock();
        if entries.get(&key).is_none_or(|known| known.version <= version) {
            entries.insert(key, Entry { version, value });
        }
    }

    /// Changes an entry in place; for what an answer told without the whole object.
    pub fn change(&self, key: &Key, change: impl FnOnce(&mut V)) {
        if let Some(entry) = self.lock().get_mut(key) {
            change(&mut entry.value);
        }
    }

    /// Removes an object.
    pub fn remove(&self, key: &Key) -> Option<V> {
        self.lock().remove(key).map(|entry| entry.value)
    }

    /// After a complete list: removes what it did not name, and says what that was.
    pub fn retain(&self, listed: &BTreeSet<Key>) -> Vec<(Key, V)> {
        let mut entries = self.lock();
        let gone: Vec<Key> = entries
            .keys()
            .filter(|key| !listed.contains(*key))
            .cloned()
            .collect();
        gone.into_iter()
            .filter_map(|key| entries.remove(&key).map(|entry| (key, entry.value)))
            .collect()
    }

    /// An object.
    pub fn get(&self, key: &Key) -> Option<V> {
        self.lock().get(key).map(|entry| entry.value.clone())
    }

    /// The objects of a namespace, by name.
    pub fn namespace(&self, namespace: &str) -> Vec<(String, V)> {
        let first = Key::new(namespace, "");
        let entries = self.lock();
        let all = entries
            .range(first..)
            .take_while(|(key, _)| key.namespace == namespace);
        all.map(|(key, entry)| (key.name.clone(), entry.value.clone()))
            .collect()
    }

    /// The keys of all objects.
    pub fn keys(&self) -> Vec<Key> {
        self.lock().keys().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_older_state_never_replaces_a_newer_one() {
        let cache = Cache::default();
        let key = Key::new("shop", "web");
        cache.apply(key.clone(), "9", "our own write");
        cache.apply(key.clone(), "8", "a watch that lags");
        assert_eq!(cache.get(&key), Some("our own write"));
        cache.apply(key.clone(), "10", "the watch has caught up");
        assert_eq!(cache.get(&key), Some("the watch has caught up"));
    }

    #[test]
    fn a_namespace_is_read_alone() {
        let cache = Cache::default();
        for (namespace, name) in [("a", "z"), ("b", "x"), ("b", "y"), ("c", "a")] {
            cache.apply(Key::new(namespace, name), "1", ());
        }
        let names: Vec<String> = cache.namespace("b").into_iter().map(|(name, ())| name).collect();
        assert_eq!(names, ["x", "y"]);
    }

    #[test]
    fn a_complete_list_removes_what_it_does_not_name() {
        let cache = Cache::default();
        cache.apply(Key::new("a", "kept"), "1", 1);
        cache.apply(Key::new("a", "gone"), "2", 2);
        let gone = cache.retain(&BTreeSet::from([Key::new("a", "kept")]));
        assert_eq!(gone, [(Key::new("a", "gone"), 2)]);
        assert_eq!(cache.keys(), [Key::new("a", "kept")]);
    }
}
