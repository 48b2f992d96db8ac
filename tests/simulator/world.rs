//! The cluster in motion: models, people and clients, moved forward in virtual time.

use std::{
    collections::BTreeMap,
    env,
    sync::{Arc, Mutex, MutexGuard},
    thread,
    time::Duration,
};

use jiff::Timestamp;
use tokio::{sync::watch, time::Instant};

use super::{
    clock::Clock,
    cluster::{self, Cluster, Shared},
    kind::Kind,
    models::{self, Model, Wake},
    oracle::Oracle,
    random::Random,
    search::SearchEngine,
    server::ApiServer,
    store::Key,
    trace,
    users::Kubectl,
};

/// The lines of history that a failed run prints.
const TRACE: usize = 60;
/// The variable that names the one seed to run.
const SEED: &str = "SIMULATOR_SEED";

/// Something to do at a time.
enum Item {
    /// A model looks at an object.
    Look(usize, Key),
    /// Somebody does something.
    Act(Box<dyn FnOnce(&mut Cluster) + Send>),
}

/// When something is to be done: the instant, and a drawn number that orders what falls on the same one.
type Slot = (Instant, u64);

/// A cluster and everything that moves in it. It lives in a tokio runtime of one thread with a paused clock:
/// `#[tokio::test(start_paused = true)]`.
pub struct World {
    seed: u64,
    clock: Clock,
    cluster: Shared,
    models: Vec<Box<dyn Model>>,
    agenda: BTreeMap<Slot, Item>,
    looks: BTreeMap<(usize, Key), Slot>,
    failures: BTreeMap<(usize, Key), u32>,
    routed: usize,
    random: Random,
    oracle: Oracle,
    signal: watch::Receiver<u64>,
}

impl World {
    /// An empty cluster whose every chance comes from this seed.
    pub fn new(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let clock = Clock::start();
        let mut cluster = Cluster::new(clock, random.fork());
        cluster.search = SearchEngine::new(clock);
        let signal = cluster.store.subscribe();
        Self {
            seed,
            clock,
            cluster: Arc::new(Mutex::new(cluster)),
            models: models::all(),
            agenda: BTreeMap::new(),
            looks: BTreeMap::new(),
            failures: BTreeMap::new(),
            routed: 0,
            random,
            oracle: Oracle::default(),
            signal,
        }
    }

    /// The seeds of a test: those given, or the one in `SIMULATOR_SEED`.
    pub fn seeds(usual: impl IntoIterator<Item = u64>) -> Vec<u64> {
        match env::var(SEED).ok().and_then(|seed| seed.parse().ok()) {
            Some(seed) => vec![seed],
            None => usual.into_iter().collect(),
        }
    }

    /// The seed.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// The clock.
    pub fn clock(&self) -> Clock {
        self.clock
    }

    /// The wall-clock time.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// The cluster, to look at or to change by hand.
    pub fn cluster(&self) -> MutexGuard<'_, Cluster> {
        cluster::lock(&self.cluster)
    }

    /// The cluster, to share with what answers for its parts.
    pub fn shared(&self) -> Shared {
        Arc::clone(&self.cluster)
    }

    /// A kube client on the fake API server, under a name of its own.
    pub fn client(&self, actor: &str) -> kube::Client {
        ApiServer::new(self.shared(), actor).client()
    }

    /// What a person with kubectl can do, as the user `user`.
    pub fn kubectl<R>(&self, act: impl FnOnce(&mut Kubectl<'_>) -> R) -> R {
        act(&mut Kubectl::new(&mut self.cluster(), "user"))
    }

    /// What an observer has seen so far.
    pub fn oracle(&mut self) -> &Oracle {
        let cluster = cluster::lock(&self.cluster);
        self.oracle.observe(cluster.store.changes());
        drop(cluster);
        &self.oracle
    }

    /// The random numbers of the world, for a scenario's own choices.
    pub fn random(&mut self) -> &mut Random {
        &mut self.random
    }

    /// Lets somebody do something after a time.
    pub fn after(&mut self, wait: Duration, act: impl FnOnce(&mut Cluster) + Send + 'static) {
        let slot = (Instant::now() + wait, self.random.next());
        self.agenda.insert(slot, Item::Act(Box::new(act)));
    }

    /// Makes a pod stop answering, or answer again.
    pub fn set_sick(&mut self, pod: &Key, sick: bool) {
        let mut cluster = cluster::lock(&self.cluster);
        if sick {
            cluster.scripts.sick.insert(pod.name.clone());
        } else {
            cluster.scripts.sick.remove(&pod.name);
        }
        drop(cluster);
        self.look_at_pod(pod);
    }

    /// Kills a pod's process.
    pub fn kill(&mut self, pod: &Key) {
        self.cluster().scripts.killed.insert(pod.name.clone());
        self.look_at_pod(pod);
    }

    fn look_at_pod(&mut self, pod: &Key) {
        let kubelet = self.models.iter().position(|model| model.name() == "kubelet");
        self.schedule(kubelet.expect("there is a kubelet"), pod.clone(), Instant::now());
    }

    /// Moves on for a time.
    pub async fn run_for(&mut self, time: Duration) {
        let end = Instant::now() + time;
        while self.step(end).await {}
    }

    /// Moves on until something holds, for at most so long. Returns whether it held.
    pub async fn run_until(&mut self, limit: Duration, mut holds: impl FnMut(&mut Self) -> bool) -> bool {
        let end = Instant::now() + limit;
        loop {
            if holds(self) {
                return true;
            }
            if !self.step(end).await {
                return holds(self);
            }
        }
    }

    /// Moves on until nothing has changed for this long, for at most an hour. Returns whether it came to that.
    pub async fn settle(&mut self, quiet: Duration) -> bool {
        let end = Instant::now() + Duration::from_hours(1);
        let mut version = self.cluster().store.version();
        let mut since = Instant::now();
        while self.step(end.min(since + quiet)).await || Instant::now() < end {
            let now = self.cluster().store.version();
            if now != version {
                version = now;
                since = Instant::now();
            } else if Instant::now() >= since + quiet {
                return true;
            }
        }
        false
    }

    /// Does the next thing, or waits for it. Returns false when the time is up.
    async fn step(&mut self, end: Instant) -> bool {
        self.route();
        let now = Instant::now();
        if now >= end {
            return false;
        }
        let next = self.agenda.first_key_value().map(|((at, _), _)| *at);
        let until = next.map_or(end, |next| next.min(end));
        if until > now {
            tokio::select! {
                biased;
                _ = self.signal.changed() => {}
                () = tokio::time::sleep_until(until) => {}
            }
            return true;
        }
        // Clients whose answers have arrived get their turn between any two steps of the models.
        tokio::task::yield_now().await;
        if let Some((slot, item)) = self.agenda.pop_first() {
            self.perform(slot, item);
        }
        true
    }

    fn perform(&mut self, slot: Slot, item: Item) {
        match item {
            Item::Act(act) => act(&mut cluster::lock(&self.cluster)),
            Item::Look(index, key) => {
                let place = (index, key);
                if self.looks.get(&place) == Some(&slot) {
                    self.looks.remove(&place);
                }
                let mut cluster = cluster::lock(&self.cluster);
                let wake = self.models[index].reconcile(&place.1, &mut cluster, &mut self.random);
                drop(cluster);
                self.wake(place, wake);
            }
        }
    }

    fn wake(&mut self, (index, key): (usize, Key), wake: Wake) {
        match wake {
            Wake::Idle => drop(self.failures.remove(&(index, key))),
            Wake::At(at) => {
                self.failures.remove(&(index, key.clone()));
                let at = self.clock.instant(at);
                self.schedule(index, key, at);
            }
            Wake::Retry => {
                let failures = self.failures.entry((index, key.clone())).or_default();
                *failures += 1;
                // The work queues of the real controllers: 5 ms, doubling.
                let wait = Duration::from_millis(5 << (*failures - 1).min(11));
                self.schedule(index, key, Instant::now() + wait);
            }
        }
    }

    /// Tells the models of new changes.
    fn route(&mut self) {
        self.signal.mark_unchanged();
        let shared = self.shared();
        let cluster = cluster::lock(&shared);
        let changes = cluster.store.changes();
        let now = Instant::now();
        let mut planned = Vec::new();
        for change in &changes[self.routed..] {
            for (index, model) in self.models.iter_mut().enumerate() {
                for key in model.affected(change, &cluster.store) {
                    let lag = self.random.within(&model.lag(change));
                    planned.push((index, key, now + lag));
                }
            }
        }
        self.routed = changes.len();
        drop(cluster);
        for (index, key, at) in planned {
            self.schedule(index, key, at);
        }
    }

    /// Plans a look at an object, unless one is planned before that.
    fn schedule(&mut self, model: usize, key: Key, at: Instant) {
        let place = (model, key);
        if let Some(slot) = self.looks.get(&place) {
            if slot.0 <= at {
                return;
            }
            self.agenda.remove(slot);
        }
        let slot = (at, self.random.next());
        self.looks.insert(place.clone(), slot);
        self.agenda.insert(slot, Item::Look(place.0, place.1));
    }

    /// The last changes and the calls of a client, for a report.
    pub fn report(&self) -> String {
        let cluster = self.cluster();
        let seed = self.seed;
        let changes = trace::tail(cluster.store.changes(), TRACE);
        let calls = cluster.calls.all();
        let skipped = calls.len().saturating_sub(TRACE / 2);
        let calls: Vec<_> = calls.iter().skip(skipped).map(ToString::to_string).collect();
        let calls = calls.join("\n");
        format!("seed {seed} (replay with {SEED}={seed})\nlast changes:\n{changes}\nlast calls:\n{calls}")
    }

    /// The objects of a kind in the namespace `default`, as values.
    pub fn all(&self, kind: Kind) -> Vec<Arc<serde_json::Value>> {
        let cluster = self.cluster();
        let found = cluster.store.list(kind, Some("default"));
        found.map(|(_, object)| Arc::clone(object)).collect()
    }

    /// An object of the namespace `default`; null when there is none.
    pub fn get(&self, kind: Kind, name: &str) -> Arc<serde_json::Value> {
        self.cluster()
            .store
            .find(kind, "default", name)
            .cloned()
            .unwrap_or_default()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if thread::panicking() {
            println!("{}", self.report());
        }
    }
}
