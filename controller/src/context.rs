//! What every pass over a Release shares: the caches, the client, the clock.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use jiff::Timestamp;
use kube::Client;
use slipway_engine::{Answered, Decision, Intent, Observed, Progress, observed::WindowGuard};
use tokio::time::Instant;

use crate::{
    admin::LastDecisions,
    backoff::doubled,
    cache::Key,
    caches::Caches,
    clock::Clock,
    events::Events,
    leader::Fence,
    metrics::Metrics,
    search::{Transport, UrlError},
};

/// What decides, and what must hold of its decisions.
pub trait Planner: Send + Sync {
    /// What to do about a Release.
    fn decide(&self, intent: &Intent, committed: &Progress, observed: &Observed, now: Timestamp) -> Decision;

    /// The invariants that a decision breaks; it is dropped if there are any.
    fn broken(
        &self,
        intent: &Intent,
        committed: &Progress,
        observed: &Observed,
        decision: &Decision,
    ) -> Vec<String>;
}

/// The engine; the simulator shows what would happen with one that errs.
#[derive(Clone, Copy, Debug)]
pub struct Engine;

impl Planner for Engine {
    fn decide(&self, intent: &Intent, committed: &Progress, observed: &Observed, now: Timestamp) -> Decision {
        slipway_engine::decide(intent, committed, observed, now)
    }

    fn broken(
        &self,
        intent: &Intent,
        committed: &Progress,
        observed: &Observed,
        decision: &Decision,
    ) -> Vec<String> {
        slipway_engine::invariants::broken(intent, committed, observed, decision)
    }
}

/// Makes the way to a search engine.
pub type Connect = dyn Fn(&str, Option<IpAddr>) -> Result<Arc<dyn Transport>, UrlError> + Send + Sync;

/// What every pass over a Release shares.
pub struct Context {
    /// The Kubernetes API.
    pub client: Client,
    /// The time.
    pub clock: Clock,
    /// Whether this process may write.
    pub fence: Fence,
    /// What the watches saw.
    pub caches: Arc<Caches>,
    /// Makes the way to a search engine.
    pub connect: Box<Connect>,
    /// Takes events.
    pub events: Events,
    /// Counts.
    pub metrics: Metrics,
    /// For the debug page.
    pub decisions: LastDecisions,
    /// What the installation does against changes by others.
    pub guard: WindowGuard,
    /// What decides.
    pub planner: Box<dyn Planner>,
    /// What the last passes over each Release left behind.
    left: Mutex<HashMap<Key, Left>>,
}

/// What the last passes over a Release left behind. It is lost with the process, and nothing rests on it but pauses
/// and repeated reads.
#[derive(Debug, Default)]
struct Left {
    /// When only the words of its status were last written.
    worded: Option<Instant>,
    /// How often in a row a decision was outdated before it was carried out.
    outdated: u32,
    /// What was read live for the last pass.
    answers: Vec<Answered>,
}

/// After an outdated decision the watch brings the newer state; in case it does not, this long. Doubled each time
/// in a row.
const AGAIN: Duration = Duration::from_millis(500);

/// The longest wait after an outdated decision.
const AGAIN_AT_MOST: Duration = Duration::from_secs(16);

/// So many outdated decisions in a row are a warning.
const STRANGE: u32 = 5;

/// The parts that a context is made of.
pub struct Parts {
    /// The Kubernetes API.
    pub client: Client,
    /// The time.
    pub clock: Clock,
    /// Whether this process may write.
    pub fence: Fence,
    /// What the watches saw.
    pub caches: Arc<Caches>,
    /// Takes events.
    pub events: Events,
    /// Counts.
    pub metrics: Metrics,
    /// For the debug page.
    pub decisions: LastDecisions,
    /// What the installation does against changes by others.
    pub guard: WindowGuard,
}

impl Context {
    /// Brings the parts together.
    pub fn new(parts: Parts, connect: Box<Connect>) -> Self {
        let Parts {
            client,
            clock,
            fence,
            caches,
            events,
            metrics,
            decisions,
            guard,
        } = parts;
        Self {
            client,
            clock,
            fence,
            caches,
            connect,
            events,
            metrics,
            decisions,
            guard,
            planner: Box::new(Engine),
            left: Mutex::default(),
        }
    }

    fn left(&self) -> MutexGuard<'_, HashMap<Key, Left>> {
        self.left.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How long ago only the words of a Release's status were written.
    pub(crate) fn words_age(&self, key: &Key) -> Option<Duration> {
        let worded = self.left().get(key)?.worded;
        worded.as_ref().map(Instant::elapsed)
    }

    /// Takes note that the words of a Release's status were written.
    pub(crate) fn words_written(&self, key: &Key) {
        self.left().entry(key.clone()).or_default().worded = Some(Instant::now());
    }

    /// What was read live for the last pass over a Release.
    pub(crate) fn answers(&self, key: &Key) -> Vec<Answered> {
        let left = self.left();
        left.get(key).map(|left| left.answers.clone()).unwrap_or_default()
    }

    /// Keeps what was read live for the next pass.
    pub(crate) fn keep_answers(&self, key: Key, answers: Vec<Answered>) {
        self.left().entry(key).or_default().answers = answers;
    }

    /// A decision about a Release was outdated before it was carried out. Says how long until the next pass.
    pub(crate) fn outdated(&self, key: &Key) -> Duration {
        let times = {
            let mut left = self.left();
            let left = left.entry(key.clone()).or_default();
            left.outdated = left.outdated.saturating_add(1);
            left.outdated
        };
        let pause = doubled(AGAIN, times, AGAIN_AT_MOST);
        if times >= STRANGE {
            tracing::warn!(
                times,
                ?pause,
                "decisions are outdated again and again before they are carried out: somebody else changes the same objects"
            );
        }
        pause
    }

    /// A decision about a Release was carried out.
    pub(crate) fn up_to_date(&self, key: &Key) {
        if let Some(left) = self.left().get_mut(key) {
            left.outdated = 0;
        }
    }

    /// Forgets a Release that is gone.
    pub fn forget(&self, key: &Key) {
        self.left().remove(key);
        self.decisions.forget(key);
        self.metrics.phase(&key.to_string(), None);
    }
}
