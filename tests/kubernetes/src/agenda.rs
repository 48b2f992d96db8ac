//! What is to be done, and when: models that look at objects, and whatever else is planned.

use std::{collections::BTreeMap, time::Duration};

use crate::{
    clock::Clock,
    cluster::Cluster,
    models::{self, Model, Wake},
    random::Random,
    store::Key,
};

/// Something to do at a time.
enum Item<A> {
    /// A model looks at an object.
    Reconcile(usize, Key),
    /// Something of the owner's.
    Act(A),
}

/// When something is to be done: the time since the clock was started, and a drawn number that orders what falls on
/// the same one.
type Slot = (Duration, u64);

/// The plans of all models, and acts `A` of the owner between them.
pub struct Agenda<A> {
    clock: Clock,
    models: Vec<Box<dyn Model>>,
    items: BTreeMap<Slot, Item<A>>,
    planned: BTreeMap<(usize, Key), Slot>,
    failures: BTreeMap<(usize, Key), u32>,
    routed: usize,
    random: Random,
}

impl<A> Agenda<A> {
    /// An empty agenda of all models. Every lag and every order is drawn from `random`.
    pub fn new(clock: Clock, random: Random) -> Self {
        Self {
            clock,
            models: models::all(),
            items: BTreeMap::new(),
            planned: BTreeMap::new(),
            failures: BTreeMap::new(),
            routed: 0,
            random,
        }
    }

    /// The random numbers that everything here is drawn from.
    pub fn random(&mut self) -> &mut Random {
        &mut self.random
    }

    /// When the first thing is to be done, in time since the clock was started; none when there is nothing.
    pub fn first(&self) -> Option<Duration> {
        self.items.first_key_value().map(|((at, _), _)| *at)
    }

    /// Plans an act after a time.
    pub fn after(&mut self, wait: Duration, act: A) {
        let slot = (self.clock.elapsed() + wait, self.random.next());
        self.items.insert(slot, Item::Act(act));
    }

    /// Makes a pod stop answering, or answer again.
    pub fn set_sick(&mut self, cluster: &mut Cluster, pod: &Key, sick: bool) {
        if sick {
            cluster.scripts.sick.insert(pod.name.clone());
        } else {
            cluster.scripts.sick.remove(&pod.name);
        }
        self.look_at_pod(pod);
    }

    /// Kills a pod's process.
    pub fn kill(&mut self, cluster: &mut Cluster, pod: &Key) {
        cluster.scripts.killed.insert(pod.name.clone());
        self.look_at_pod(pod);
    }

    /// Lets the kubelet look at a pod now: something has become of it that no change of the store tells.
    fn look_at_pod(&mut self, pod: &Key) {
        let kubelet = self.models.iter().position(|model| model.name() == "kubelet");
        self.plan(
            kubelet.expect("there is a kubelet"),
            pod.clone(),
            self.clock.elapsed(),
        );
    }

    /// Tells the models of the changes that are new.
    pub fn route(&mut self, cluster: &Cluster) {
        let changes = cluster.store.changes();
        let now = self.clock.elapsed();
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
        for (index, key, at) in planned {
            self.plan(index, key, at);
        }
    }

    /// Does the first thing, whether its time has come or not. An act is handed out: the owner carries it out.
    pub fn perform(&mut self, cluster: &mut Cluster) -> Option<A> {
        let (slot, item) = self.items.pop_first()?;
        match item {
            Item::Act(act) => Some(act),
            Item::Reconcile(index, key) => {
                let place = (index, key);
                if self.planned.get(&place) == Some(&slot) {
                    self.planned.remove(&place);
                }
                let wake = self.models[index].reconcile(&place.1, cluster, &mut self.random);
                self.wake(place, wake);
                None
            }
        }
    }

    fn wake(&mut self, (index, key): (usize, Key), wake: Wake) {
        match wake {
            Wake::Idle => drop(self.failures.remove(&(index, key))),
            Wake::At(at) => {
                self.failures.remove(&(index, key.clone()));
                self.plan(index, key, self.clock.elapsed() + self.clock.until(at));
            }
            Wake::Retry => {
                let failures = self.failures.entry((index, key.clone())).or_default();
                *failures += 1;
                // The work queues of the real controllers: 5 ms, doubling.
                let wait = Duration::from_millis(5 << (*failures - 1).min(11));
                self.plan(index, key, self.clock.elapsed() + wait);
            }
        }
    }

    /// Plans a look at an object, unless one is planned before that.
    fn plan(&mut self, model: usize, key: Key, at: Duration) {
        let place = (model, key);
        if let Some(slot) = self.planned.get(&place) {
            if slot.0 <= at {
                return;
            }
            self.items.remove(slot);
        }
        let slot = (at, self.random.next());
        self.planned.insert(place.clone(), slot);
        self.items.insert(slot, Item::Reconcile(place.0, place.1));
    }
}
