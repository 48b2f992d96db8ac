//! What every look at a Release shares: the caches, the client, the clock.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
};

use jiff::Timestamp;
use kube::Client;
use slipway_engine::{Answered, Decision, Intent, Observed, Progress, observed::WindowGuard};
use tokio::time::Instant;

use crate::{
    admin::LastDecisions,
    cache::Key,
    caches::Caches,
    clock::Clock,
    events::Events,
    leader::Fence,
    metrics::Metrics,
    search::{HttpTransport, Transport, UrlError},
};

/// What decides, and what must hold of its decisions.
pub trait Mind: Send + Sync {
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

impl Mind for Engine {
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

/// What every look at a Release shares.
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
    pub mind: Box<dyn Mind>,
    /// When only the words of a status were last written.
    worded: Mutex<HashMap<Key, Instant>>,
    /// What was read live for the last pass over each Release.
    answers: Mutex<HashMap<Key, Vec<Answered>>>,
}

/// The way to a real search engine.
pub fn connect_http(url: &str, address: Option<IpAddr>) -> Result<Arc<dyn Transport>, UrlError> {
    Ok(Arc::new(HttpTransport::new(url, address)?))
}

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
            mind: Box::new(Engine),
            worded: Mutex::default(),
            answers: Mutex::default(),
        }
    }

    /// How long ago only the words of a Release's status were written.
    pub(crate) fn words_age(&self, key: &Key) -> Option<std::time::Duration> {
        let worded = self.worded.lock().unwrap_or_else(PoisonError::into_inner);
        worded.get(key).map(Instant::elapsed)
    }

    /// Takes note that the words of a Release's status were written.
    pub(crate) fn words_written(&self, key: &Key) {
        self.worded
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(key.clone(), Instant::now());
    }

    /// What was read live for the last pass over a Release.
    pub(crate) fn answers(&self, key: &Key) -> Vec<Answered> {
        let known = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(key).cloned().unwrap_or_default()
    }

    /// Keeps what was read live for the next pass; nothing is kept of a Release that asks nothing.
    pub(crate) fn keep_answers(&self, key: Key, answers: Vec<Answered>) {
        let mut known = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        if answers.is_empty() {
            known.remove(&key);
        } else {
            known.insert(key, answers);
        }
    }

    /// Forgets a Release that is gone.
    pub fn forget(&self, key: &Key) {
        self.answers
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(key);
        self.worded
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(key);
        self.decisions.forget(&key.namespace, &key.name);
        self.metrics.phase(&key.to_string(), None);
    }
}
