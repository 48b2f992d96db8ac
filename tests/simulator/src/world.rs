//! The cluster in motion: models, people and clients, moved forward in virtual time.

use std::{
    env,
    sync::{Arc, Mutex, MutexGuard},
    thread,
    time::Duration,
};

use jiff::Timestamp;
use slipway_judge::oracle::Oracle;
use slipway_kubernetes::{
    agenda::Agenda, clock::Clock, kind::Kind, random::Random, store::Key, trace, users::Kubectl,
};
use tokio::{sync::watch, time::Instant};

use super::{
    cluster::{self, Cluster, Shared},
    server::ApiServer,
};

/// The lines of history that a failed run prints.
const TRACE: usize = 60;
/// The variable that names the one seed to run.
const SEED: &str = "SIMULATOR_SEED";

/// Something that somebody does at a time.
type Act = Box<dyn FnOnce(&mut Cluster) + Send>;

/// A cluster and everything that moves in it. It lives in a tokio runtime of one thread with a paused clock:
/// `#[tokio::test(start_paused = true)]`.
pub struct World {
    seed: u64,
    clock: Clock,
    cluster: Shared,
    origin: Instant,
    agenda: Agenda<Act>,
    oracle: Oracle,
    signal: watch::Receiver<u64>,
}

impl World {
    /// An empty cluster whose every chance comes from this seed.
    pub fn new(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let origin = Instant::now();
        let clock = Clock::new(move || origin.elapsed());
        let cluster = Cluster::new(clock.clone(), random.fork());
        let signal = cluster.subscribe();
        Self {
            seed,
            agenda: Agenda::new(clock.clone(), random),
            clock,
            cluster: Arc::new(Mutex::new(cluster)),
            origin,
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
    pub fn clock(&self) -> &Clock {
        &self.clock
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
        self.agenda.random()
    }

    /// Lets somebody do something after a time.
    pub fn after(&mut self, wait: Duration, act: impl FnOnce(&mut Cluster) + Send + 'static) {
        self.agenda.after(wait, Box::new(act));
    }

    /// Makes a pod stop answering, or answer again.
    pub fn set_sick(&mut self, pod: &Key, sick: bool) {
        let mut cluster = cluster::lock(&self.cluster);
        self.agenda.set_sick(&mut cluster, pod, sick);
    }

    /// Kills a pod's process.
    pub fn kill(&mut self, pod: &Key) {
        let mut cluster = cluster::lock(&self.cluster);
        self.agenda.kill(&mut cluster, pod);
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
        self.signal.mark_unchanged();
        self.agenda.route(&cluster::lock(&self.cluster));
        let now = Instant::now();
        if now >= end {
            return false;
        }
        let until = self
            .agenda
            .first()
            .map_or(end, |first| end.min(self.origin + first));
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
        let mut cluster = cluster::lock(&self.cluster);
        if let Some(act) = self.agenda.perform(&mut cluster) {
            act(&mut cluster);
        }
        true
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
