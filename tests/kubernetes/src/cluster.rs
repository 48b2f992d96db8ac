//! The cluster: objects, nodes, and a search engine beside them.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::{clock::Clock, models::behaviour::Scripts, random::Random, search::SearchEngine, store::Store};

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

/// Everything that the models move.
#[derive(Debug)]
pub struct Cluster {
    /// The cluster's clock.
    pub clock: Clock,
    /// The objects.
    pub store: Store,
    /// The search engine, at the host `search`.
    pub search: SearchEngine,
    /// A second one, at the host `other`, that no container writes to.
    pub other_search: SearchEngine,
    /// What the containers do.
    pub scripts: Scripts,
    /// Every process that ran, in the order of starting.
    pub processes: Vec<Process>,
}

impl Cluster {
    /// An empty cluster.
    pub fn new(clock: Clock, random: Random) -> Self {
        Self {
            store: Store::new(clock.clone(), random),
            search: SearchEngine::new(clock.clone()),
            other_search: SearchEngine::new(clock.clone()),
            clock,
            scripts: Scripts::default(),
            processes: Vec::new(),
        }
    }

    /// The search engine at this host.
    pub fn engine(&mut self, host: &str) -> Option<&mut SearchEngine> {
        match host {
            "search" => Some(&mut self.search),
            "other" => Some(&mut self.other_search),
            _ => None,
        }
    }
}
