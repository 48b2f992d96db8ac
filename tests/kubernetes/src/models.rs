//! Small models of the Kubernetes controllers, of the scheduler and of the kubelet.
//!
//! Each one follows the real controller's code closely where a release can notice the difference, and its
//! tests are what was measured on a real cluster. A model is told which objects have changed, looks at one
//! of them at a time, and writes through the same store as everybody else.

pub mod behaviour;
pub mod collector;
pub mod deployment;
pub mod disruption;
pub mod endpoints;
pub mod job;
pub mod kubelet;
pub mod replicaset;

use std::{ops::Range, time::Duration};

use jiff::Timestamp;

use super::{
    cluster::Cluster,
    random::Random,
    store::{Change, Key, Store},
};

/// When a model wants to look at an object again without being told of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wake {
    /// Never.
    Idle,
    /// At this time.
    At(Timestamp),
    /// Soon: a write did not succeed.
    Retry,
}

/// A model of one controller.
pub trait Model: Send {
    /// Its name, which stands in the history as the actor.
    fn name(&self) -> &'static str;

    /// The objects that have to be looked at because of a change.
    fn affected(&mut self, change: &Change, store: &Store) -> Vec<Key>;

    /// How late it notices a change.
    fn lag(&self, _change: &Change) -> Range<Duration> {
        Duration::from_millis(1)..Duration::from_millis(40)
    }

    /// Looks at one object and does what the real controller does.
    fn reconcile(&mut self, key: &Key, cluster: &mut Cluster, random: &mut Random) -> Wake;
}

/// All of them.
pub fn all() -> Vec<Box<dyn Model>> {
    vec![
        Box::new(deployment::Deployments::default()),
        Box::new(replicaset::ReplicaSets),
        Box::new(kubelet::Kubelet::default()),
        Box::new(job::Jobs::default()),
        Box::new(endpoints::EndpointSlices),
        Box::new(collector::GarbageCollector::default()),
        Box::new(collector::Namespaces),
        Box::new(disruption::Disruption),
    ]
}
