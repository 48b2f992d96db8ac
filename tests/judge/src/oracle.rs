//! What an observer outside of the controller sees: traffic, sizes, Jobs, counts of writes.
//!
//! It is fed every change of the store, in order, and asks nobody.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use jiff::Timestamp;
use serde_json::Value;
use slipway_kubernetes::{
    fields,
    kind::Kind,
    models::{deployment::HASH, endpoints::SERVICE},
    store::{Change, Event, Key},
};

/// The ready endpoints of a Service at a time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sample {
    /// Since when.
    pub at: Timestamp,
    /// The number of ready endpoints by the pods' template hash (empty for pods without one).
    pub ready: BTreeMap<String, usize>,
}

impl Sample {
    /// All ready endpoints.
    pub fn total(&self) -> usize {
        self.ready.values().sum()
    }
}

/// A time without any ready endpoint, after there had been some.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outage {
    /// When the last endpoint went.
    pub from: Timestamp,
    /// When the next one came; none while it lasts.
    pub until: Option<Timestamp>,
}

/// The state of a ReplicaSet at a time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Size {
    /// Since when.
    pub at: Timestamp,
    /// The ReplicaSet's namespace and name.
    pub name: String,
    /// Its template's hash.
    pub hash: String,
    /// The pods it shall have.
    pub wanted: i64,
    /// The pods that are ready.
    pub ready: i64,
    /// The pods that are available.
    pub available: i64,
}

/// One Service's endpoints.
#[derive(Debug, Default)]
struct Traffic {
    /// By slice: the UIDs of the pods behind ready endpoints.
    slices: BTreeMap<String, Vec<String>>,
    samples: Vec<Sample>,
}

/// The observer.
#[derive(Debug, Default)]
pub struct Oracle {
    read: usize,
    hashes: BTreeMap<String, String>,
    services: BTreeMap<(String, String), Traffic>,
    sizes: Vec<Size>,
    jobs: Vec<Arc<Value>>,
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
        match change.key.kind {
            Kind::Pod if change.event == Event::Added => {
                let hash = fields::label(&change.object, HASH).to_owned();
                self.hashes.insert(fields::uid(&change.object).to_owned(), hash);
            }
            Kind::Job if change.event == Event::Added => self.jobs.push(Arc::clone(&change.object)),
            Kind::ReplicaSet => self.measure(change),
            Kind::EndpointSlice => self.count_endpoints(change),
            _ => {}
        }
    }

    fn measure(&mut self, change: &Change) {
        let gone = change.event == Event::Deleted;
        let number = |pointer: &str| {
            if gone {
                0
            } else {
                fields::count(&change.object, pointer)
            }
        };
        let size = Size {
            at: change.at,
            name: format!("{}/{}", change.key.namespace, change.key.name),
            hash: fields::label(&change.object, HASH).to_owned(),
            wanted: number("/spec/replicas"),
            ready: number("/status/readyReplicas"),
            available: number("/status/availableReplicas"),
        };
        let last = self.sizes.iter().rev().find(|last| last.name == size.name);
        if last.is_none_or(|last| {
            Size {
                at: size.at,
                ..last.clone()
            } != size
        }) {
            self.sizes.push(size);
        }
    }

    fn count_endpoints(&mut self, change: &Change) {
        let service = fields::label(&change.object, SERVICE).to_owned();
        let traffic = self
            .services
            .entry((change.key.namespace.clone(), service))
            .or_default();
        if change.event == Event::Deleted {
            traffic.slices.remove(&change.key.name);
        } else {
            let endpoints = fields::list(&change.object, "/endpoints").iter();
            let ready = endpoints.filter(|endpoint| fields::flag(endpoint, "/conditions/ready"));
            let pods = ready
                .map(|endpoint| fields::text(endpoint, "/targetRef/uid").to_owned())
                .collect();
            traffic.slices.insert(change.key.name.clone(), pods);
        }
        let mut ready: BTreeMap<String, usize> = BTreeMap::new();
        for pod in traffic.slices.values().flatten() {
            *ready
                .entry(self.hashes.get(pod).cloned().unwrap_or_default())
                .or_default() += 1;
        }
        if traffic.samples.last().is_none_or(|last| last.ready != ready) {
            traffic.samples.push(Sample { at: change.at, ready });
        }
    }

    /// The ready endpoints of a Service over time.
    pub fn samples(&self, namespace: &str, service: &str) -> &[Sample] {
        let traffic = self.services.get(&(namespace.to_owned(), service.to_owned()));
        traffic
            .map(|traffic| traffic.samples.as_slice())
            .unwrap_or_default()
    }

    /// The ready endpoints of a Service now.
    pub fn ready(&self, namespace: &str, service: &str) -> BTreeMap<String, usize> {
        self.samples(namespace, service)
            .last()
            .map(|sample| sample.ready.clone())
            .unwrap_or_default()
    }

    /// The times without any ready endpoint.
    pub fn outages(&self, namespace: &str, service: &str) -> Vec<Outage> {
        let mut outages: Vec<Outage> = Vec::new();
        let samples = self.samples(namespace, service);
        for (before, after) in samples.iter().zip(samples.iter().skip(1)) {
            match (before.total(), after.total()) {
                (0, more) if more > 0 => outages
                    .iter_mut()
                    .rev()
                    .take(1)
                    .for_each(|last| last.until = Some(after.at)),
                (some, 0) if some > 0 => outages.push(Outage {
                    from: after.at,
                    until: None,
                }),
                _ => {}
            }
        }
        outages
    }

    /// The samples since a time in which pods of more than one template had traffic.
    pub fn mixed(&self, namespace: &str, service: &str, since: Timestamp) -> Vec<Sample> {
        let samples = self.samples(namespace, service).iter();
        let mixed = samples.filter(|sample| sample.at >= since && sample.ready.len() > 1);
        mixed.cloned().collect()
    }

    /// The fewest ready endpoints since a time, the state at that time included.
    pub fn fewest(&self, namespace: &str, service: &str, since: Timestamp) -> usize {
        let samples = self.samples(namespace, service);
        let first = samples
            .iter()
            .rposition(|sample| sample.at <= since)
            .unwrap_or_default();
        samples
            .iter()
            .skip(first)
            .map(Sample::total)
            .min()
            .unwrap_or_default()
    }

    /// The sizes of all ReplicaSets over time.
    pub fn sizes(&self) -> &[Size] {
        &self.sizes
    }

    /// The smallest wanted and ready sizes of a ReplicaSet since a time, the state at that time included.
    pub fn smallest(&self, name: &str, since: Timestamp) -> (i64, i64) {
        let own: Vec<_> = self.sizes.iter().filter(|size| size.name == name).collect();
        let first = own.iter().rposition(|size| size.at <= since).unwrap_or_default();
        let own = || own.iter().skip(first);
        let smallest = |number: fn(&Size) -> i64| own().map(|size| number(size)).min().unwrap_or_default();
        (smallest(|size| size.wanted), smallest(|size| size.ready))
    }

    /// The UIDs of all Jobs that ever were, by the values of some labels.
    pub fn jobs_by(&self, labels: &[&str]) -> BTreeMap<Vec<String>, BTreeSet<String>> {
        let mut found: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
        for job in &self.jobs {
            let values = labels
                .iter()
                .map(|key| fields::label(job, key).to_owned())
                .collect();
            found
                .entry(values)
                .or_default()
                .insert(fields::uid(job).to_owned());
        }
        found
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
