//! What a test asks of a simulated history: ready endpoints over time, counts of creations and deletions.
//!
//! It is fed every change of the store, in order, and asks nobody.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::Value;
use slipway_kubernetes::{
    fields,
    kind::Kind,
    store::{Change, Event, Key},
};

use crate::endpoints::{Endpoints, Ready};

/// The observer.
#[derive(Debug, Default)]
pub struct Oracle {
    read: usize,
    /// By namespace.
    endpoints: BTreeMap<String, Endpoints>,
    births_and_deaths: BTreeMap<Key, (usize, usize)>,
}

/// Whether an object counts: a Job does once it may run.
fn counts(object: &Value) -> bool {
    !fields::flag(object, "/spec/suspend")
}

impl Oracle {
    /// Takes in what is new in a history.
    pub fn observe(&mut self, changes: &[Change]) {
        for change in changes.iter().skip(self.read) {
            self.take(change);
        }
        self.read = changes.len();
    }

    fn take(&mut self, change: &Change) {
        let (births, deaths) = self.births_and_deaths.entry(change.key.clone()).or_default();
        let was = change.before.as_deref().is_some_and(counts);
        match change.event {
            Event::Added | Event::Modified if !was && counts(&change.object) => *births += 1,
            Event::Deleted if was => *deaths += 1,
            Event::Added | Event::Deleted | Event::Modified => {}
        }
        if change.key.kind == Kind::EndpointSlice {
            let endpoints = self.endpoints.entry(change.key.namespace.clone()).or_default();
            if change.event == Event::Deleted {
                endpoints.delete(&change.object, change.at);
            } else {
                endpoints.apply(&change.object, change.at);
            }
        }
    }

    /// The ready endpoints of a Service over time.
    pub fn timeline(&self, namespace: &str, service: &str) -> &[Ready] {
        let endpoints = self.endpoints.get(namespace);
        endpoints.map_or(&[], |endpoints| endpoints.timeline(service))
    }

    /// The ready endpoints of a Service now.
    pub fn ready(&self, namespace: &str, service: &str) -> usize {
        self.timeline(namespace, service).last().map_or(0, Ready::total)
    }

    /// Whether there was a time without any ready endpoint, after there had been some.
    pub fn outage(&self, namespace: &str, service: &str) -> bool {
        let timeline = self.timeline(namespace, service).iter();
        timeline
            .skip_while(|ready| ready.total() == 0)
            .any(|ready| ready.total() == 0)
    }

    /// The fewest ready endpoints since a time, the state at that time included.
    pub fn fewest(&self, namespace: &str, service: &str, since: Timestamp) -> usize {
        let endpoints = self.endpoints.get(namespace);
        let fewest = endpoints.and_then(|endpoints| endpoints.fewest(service, since));
        fewest.unwrap_or_default()
    }

    /// How often each object of some kinds was created and deleted: the same for every run of a scenario.
    pub fn births_and_deaths(&self, kinds: &[Kind]) -> BTreeMap<Key, (usize, usize)> {
        let own = self
            .births_and_deaths
            .iter()
            .filter(|(key, _)| kinds.contains(&key.kind));
        own.map(|(key, counts)| (key.clone(), *counts)).collect()
    }
}
