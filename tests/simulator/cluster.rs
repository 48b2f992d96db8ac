//! Everything outside of the controller, in one place.

use std::{
    collections::BTreeMap,
    ops::Range,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};

use super::{
    clock::{Clock, Wall},
    kind::Kind,
    models::behaviour::Scripts,
    random::Random,
    search::SearchEngine,
    server::{calls::Calls, faults::Faults},
    store::Store,
};

/// One run of a container's process, as the node saw it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    /// The pod's namespace and name.
    pub pod: String,
    /// The pod's UID.
    pub uid: String,
    /// The pod's labels when the process started.
    pub labels: BTreeMap<String, String>,
    /// The image that runs.
    pub image: String,
    /// When it started.
    pub started: Timestamp,
    /// When it ended, and with which code.
    pub ended: Option<(Timestamp, i64)>,
}

/// How late one client's watches of a kind are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Lag {
    /// Not at all.
    #[default]
    None,
    /// Every event comes this much later.
    Delay(Duration),
    /// No event after this version comes until the lag is lifted.
    Frozen(u64),
}

/// The cluster: API server, nodes, search engine and the network between them and the controller.
#[derive(Debug)]
pub struct Cluster {
    /// The cluster's clock.
    pub clock: Clock,
    /// The objects.
    pub store: Store,
    /// The search engine.
    pub search: SearchEngine,
    /// What the containers do.
    pub scripts: Scripts,
    /// Every process that ran, in the order of starting.
    pub processes: Vec<Process>,
    /// Every call that clients made.
    pub calls: Calls,
    /// The faults that clients meet.
    pub faults: Faults,
    /// The lag of watches by client and kind.
    pub lags: BTreeMap<(Arc<str>, Kind), Lag>,
    /// How many changes each client was told of by its watches.
    pub told: BTreeMap<(Arc<str>, Kind), usize>,
    /// The wall clocks of the controller's machines by process.
    pub walls: BTreeMap<String, Wall>,
    /// How long a request, and how long its answer, is on its way.
    pub latency: Range<Duration>,
    /// Draws latencies.
    pub random: Random,
}

impl Cluster {
    /// An empty cluster.
    pub fn new(clock: Clock, mut random: Random) -> Self {
        Self {
            clock,
            store: Store::new(clock, random.fork()),
            search: SearchEngine::default(),
            scripts: Scripts::default(),
            processes: Vec::new(),
            calls: Calls::default(),
            faults: Faults::default(),
            lags: BTreeMap::new(),
            told: BTreeMap::new(),
            walls: BTreeMap::new(),
            latency: Duration::ZERO..Duration::from_millis(3),
            random,
        }
    }

    /// The wall clock of a process; one that has none yet gets one that is so far ahead.
    pub fn wall(&mut self, process: &str, ahead: SignedDuration) -> Wall {
        let shown = self.clock.now() + ahead;
        let wall = self.walls.entry(process.to_owned());
        wall.or_insert_with(|| Wall::showing(shown)).clone()
    }

    /// The lag of one client's watches of a kind.
    pub fn lag(&self, actor: &Arc<str>, kind: Kind) -> Lag {
        if self.lags.is_empty() {
            return Lag::None;
        }
        let own = self.lags.get(&(Arc::clone(actor), kind));
        own.copied().unwrap_or_default()
    }
}

/// The cluster as its clients and the world share it. One thread: the lock is never waited for.
pub type Shared = Arc<Mutex<Cluster>>;

/// Looks into the cluster, also after a test has failed while doing so.
pub fn lock(cluster: &Shared) -> MutexGuard<'_, Cluster> {
    cluster.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
