//! The objects of the cluster, with the API server's rules for writing them and the history of all changes.

pub mod admission;
mod create;
mod defaults;
mod delete;
mod managed;
mod patch;
pub mod selector;
mod validation;
mod write;

use std::{collections::BTreeMap, fmt, sync::Arc};

use jiff::Timestamp;
use serde_json::{Value, json};

use self::admission::Admission;
pub use self::{
    delete::{DeleteOptions, Propagation},
    patch::strategic_merge,
    write::{Part, Patch},
};
use super::{clock::Clock, fields, kind::Kind, random::Random};

/// What names one object.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// Its kind.
    pub kind: Kind,
    /// Its namespace; empty for cluster-wide kinds.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl Key {
    /// The key of these parts.
    pub fn new(kind: Kind, namespace: &str, name: &str) -> Self {
        Self {
            kind,
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        }
    }

    /// The key of an object of a kind.
    pub fn of(kind: Kind, object: &Value) -> Self {
        Self::new(kind, fields::namespace(object), fields::name(object))
    }
}

impl fmt::Display for Key {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "{} {}/{}",
            self.kind.traits().kind,
            self.namespace,
            self.name
        )
    }
}

/// What happened to an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// It was created.
    Added,
    /// It was changed.
    Modified,
    /// It is gone.
    Deleted,
}

/// One entry of the history.
#[derive(Clone, Debug)]
pub struct Change {
    /// The version of the store that it made; the first is 1.
    pub version: u64,
    /// When it was made.
    pub at: Timestamp,
    /// Who made it.
    pub actor: Arc<str>,
    /// What happened.
    pub event: Event,
    /// To which object.
    pub key: Key,
    /// The object before.
    pub before: Option<Arc<Value>>,
    /// The object after; for a deletion its last state.
    pub object: Arc<Value>,
}

/// Who asks for a write, and how.
#[derive(Clone, Debug)]
pub struct Caller {
    /// The user, for the history and for admission.
    pub actor: Arc<str>,
    /// The field manager.
    pub manager: String,
    /// Whether the write is only tried.
    pub dry_run: bool,
}

impl Caller {
    /// A caller whose field manager has its own name.
    pub fn new(actor: &str) -> Self {
        Self {
            actor: actor.into(),
            manager: actor.to_owned(),
            dry_run: false,
        }
    }
}

/// The state behind the API server.
pub struct Store {
    clock: Clock,
    random: Random,
    objects: BTreeMap<Key, Arc<Value>>,
    changes: Vec<Change>,
    compacted: u64,
    identities: u64,
    /// Admission plugins, asked in order.
    pub admission: Vec<Admission>,
    /// The pods that a namespace may have, where that is limited.
    pub pod_quota: BTreeMap<String, usize>,
    /// The versions that the objects of each kind made.
    versions: BTreeMap<Kind, Vec<u64>>,
    listener: Option<Listener>,
}

/// Is told of the kind of every change, and of the version that it made.
type Listener = Box<dyn Fn(Kind, u64) + Send>;

impl fmt::Debug for Store {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "Store at version {} with {} objects",
            self.version(),
            self.objects.len()
        )
    }
}

impl Store {
    /// A store with the namespace `default` and nothing else.
    pub fn new(clock: Clock, random: Random) -> Self {
        let mut store = Self {
            clock,
            random,
            objects: BTreeMap::new(),
            changes: Vec::new(),
            compacted: 0,
            identities: 0,
            admission: Vec::new(),
            pod_quota: BTreeMap::new(),
            versions: BTreeMap::new(),
            listener: None,
        };
        let default = json!({"metadata": {"name": "default"}});
        store
            .create(&Caller::new("bootstrap"), Kind::Namespace, "", default)
            .expect("an empty store");
        store
    }

    /// The cluster's clock.
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// The wall-clock time.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// The number of the last change.
    pub fn version(&self) -> u64 {
        self.changes.len() as u64
    }

    /// The history since the beginning; the change with version `v` is at index `v - 1`.
    pub fn changes(&self) -> &[Change] {
        &self.changes
    }

    /// The oldest version from which a watch may still begin.
    pub fn compacted(&self) -> u64 {
        self.compacted
    }

    /// Forgets the history up to now for watches that begin later: they get 410.
    pub fn compact(&mut self) {
        self.compacted = self.version();
    }

    /// Tells somebody of every new version. There is one listener: the last one.
    pub fn listen(&mut self, listener: impl Fn(Kind, u64) + Send + 'static) {
        self.listener = Some(Box::new(listener));
    }

    /// The changes of a kind after a version.
    pub fn changes_of(&self, kind: Kind, after: u64) -> impl Iterator<Item = &Change> {
        let versions = self.versions.get(&kind).map(Vec::as_slice).unwrap_or_default();
        let seen = versions.partition_point(|version| *version <= after);
        versions[seen..]
            .iter()
            .map(|version| &self.changes[usize::try_from(*version - 1).expect("a log in memory")])
    }

    /// The object of a key.
    pub fn get(&self, key: &Key) -> Option<&Arc<Value>> {
        self.objects.get(key)
    }

    /// The object of a kind, namespace and name.
    pub fn find(&self, kind: Kind, namespace: &str, name: &str) -> Option<&Arc<Value>> {
        self.objects.get(&Key::new(kind, namespace, name))
    }

    /// All objects of a kind, of one namespace or of all, by name.
    pub fn list<'a>(
        &'a self,
        kind: Kind,
        namespace: Option<&'a str>,
    ) -> impl Iterator<Item = (&'a Key, &'a Arc<Value>)> {
        self.objects
            .range(Key::new(kind, namespace.unwrap_or_default(), "")..)
            .take_while(move |(key, _)| {
                key.kind == kind && namespace.is_none_or(|wanted| key.namespace == wanted)
            })
    }

    /// All objects.
    pub fn objects(&self) -> impl Iterator<Item = (&Key, &Arc<Value>)> {
        self.objects.iter()
    }

    /// Changes an object in place, as a controller does that writes what it has just read.
    pub fn modify(
        &mut self,
        caller: &Caller,
        key: &Key,
        part: Part,
        change: impl FnOnce(&mut Value),
    ) -> Result<Arc<Value>, super::refusal::Refusal> {
        let Some(current) = self.objects.get(key) else {
            return Err(super::refusal::Refusal::not_found(key.kind, &key.name));
        };
        let mut object = Value::clone(current);
        change(&mut object);
        self.replace(caller, key, object, part)
    }

    /// A UID that no object had before.
    fn identity(&mut self) -> String {
        self.identities += 1;
        format!(
            "{:08x}-0000-4000-8000-{:012x}",
            self.random.below(1 << 32),
            self.identities
        )
    }

    /// Writes an object as it is and records the change.
    fn commit(&mut self, caller: &Caller, event: Event, key: &Key, mut object: Value) -> Arc<Value> {
        let version = self.version() + 1;
        fields::set(&mut object, "/metadata/resourceVersion", version.to_string());
        let object = Arc::new(object);
        let before = match event {
            Event::Added | Event::Modified => self.objects.insert(key.clone(), Arc::clone(&object)),
            Event::Deleted => self.objects.remove(key),
        };
        // What is told of a deletion is the last state that was stored, not what the last write made of it.
        let told = match &before {
            Some(before) if event == Event::Deleted => at_version(before, version),
            Some(_) | None => Arc::clone(&object),
        };
        self.changes.push(Change {
            version,
            at: self.now(),
            actor: Arc::clone(&caller.actor),
            event,
            key: key.clone(),
            before,
            object: told,
        });
        self.versions.entry(key.kind).or_default().push(version);
        if let Some(listener) = &self.listener {
            listener(key.kind, version);
        }
        object
    }
}

/// An object as it is told with the version of a later change.
pub fn at_version(object: &Value, version: u64) -> Arc<Value> {
    let mut object = object.clone();
    fields::set(&mut object, "/metadata/resourceVersion", version.to_string());
    Arc::new(object)
}
