//! Everything outside of the controller, in one place.

use std::{
    collections::BTreeMap,
    ops::{Deref, DerefMut, Range},
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use jiff::SignedDuration;
use slipway_judge::calls::Calls;
use slipway_kubernetes::{clock::Clock, cluster, kind::Kind, random::Random};
use tokio::sync::watch;

use super::{server::faults::Faults, wall::Wall};

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

/// The cluster, and what is between it and the controller: the API server's log, the network, clocks. It can be
/// used like the cluster inside of it.
#[derive(Debug)]
pub struct Cluster {
    inside: cluster::Cluster,
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
    news: Arc<News>,
}

/// Tells of every new version of the store, and of those of each kind.
#[derive(Debug)]
struct News {
    all: watch::Sender<u64>,
    kinds: BTreeMap<Kind, watch::Sender<u64>>,
}

impl Cluster {
    /// An empty cluster.
    pub fn new(clock: Clock, mut random: Random) -> Self {
        let mut inside = cluster::Cluster::new(clock, random.fork());
        let kinds = Kind::ALL.into_iter().map(|kind| (kind, watch::Sender::new(0)));
        let news = Arc::new(News {
            all: watch::Sender::new(0),
            kinds: kinds.collect(),
        });
        let told = Arc::clone(&news);
        inside.store.listen(move |kind, version| {
            told.kinds[&kind].send_replace(version);
            told.all.send_replace(version);
        });
        Self {
            inside,
            calls: Calls::default(),
            faults: Faults::default(),
            lags: BTreeMap::new(),
            told: BTreeMap::new(),
            walls: BTreeMap::new(),
            latency: Duration::ZERO..Duration::from_millis(3),
            random,
            news,
        }
    }

    /// Tells of every new version of the store.
    pub fn subscribe(&self) -> watch::Receiver<u64> {
        self.news.all.subscribe()
    }

    /// Tells of every new version that an object of a kind made.
    pub fn subscribe_to(&self, kind: Kind) -> watch::Receiver<u64> {
        self.news.kinds[&kind].subscribe()
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

impl Deref for Cluster {
    type Target = cluster::Cluster;

    fn deref(&self) -> &Self::Target {
        &self.inside
    }
}

impl DerefMut for Cluster {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.inside
    }
}

/// The cluster as its clients and the world share it. One thread: the lock is never waited for.
pub type Shared = Arc<Mutex<Cluster>>;

/// Looks into the cluster, also after a test has failed while doing so.
pub fn lock(cluster: &Shared) -> MutexGuard<'_, Cluster> {
    cluster.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
