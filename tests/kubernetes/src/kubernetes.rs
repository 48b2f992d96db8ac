//! A cluster in which time stands still until it is told to go by.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use jiff::Timestamp;
use serde_json::Value;

use crate::{
    agenda::Agenda,
    clock::Clock,
    cluster::Cluster,
    kind::Kind,
    random::Random,
    refusal::Refusal,
    store::{Caller, DeleteOptions, Key, Part, Patch},
    users::Kubectl,
};

/// Something that happens at a time.
type Act = Box<dyn FnOnce(&mut Cluster) + Send>;

/// A cluster with everything that moves in it, for tests that are one thread and no runtime.
///
/// ```
/// use std::time::Duration;
///
/// use serde_json::json;
/// use slipway_kubernetes::{Kubernetes, fields, kind::Kind, models::behaviour::Behaviour};
///
/// let mut kubernetes = Kubernetes::new(1);
/// let deployment = json!({
///     "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"},
///     "spec": {
///         "replicas": 3, "selector": {"matchLabels": {"app": "web"}},
///         "template": {
///             "metadata": {"labels": {"app": "web"}},
///             "spec": {"containers": [{"name": "web", "image": "shop:1"}]},
///         },
///     },
/// });
/// kubernetes.kubectl().create(&deployment).unwrap();
/// assert!(kubernetes.rest(Duration::from_secs(30)));
/// let ready = |kubernetes: &Kubernetes| fields::count(&kubernetes.get(Kind::Deployment, "web"), "/status/readyReplicas");
/// assert_eq!(ready(&kubernetes), 3);
///
/// // A version whose pods never get ready, written by a controller: as in the API server, an old version is refused.
/// kubernetes.cluster.scripts.image("shop:2", Behaviour::never_ready());
/// let image = json!({
///     "metadata": {"resourceVersion": "1"},
///     "spec": {"template": {"spec": {"containers": [{"name": "web", "image": "shop:2"}]}}},
/// });
/// let refusal = kubernetes.patch("slipway", Kind::Deployment, "web", image.clone()).unwrap_err();
/// assert_eq!(refusal.code, 409);
/// kubernetes.kubectl().set_image("web", "web", "shop:2").unwrap();
/// kubernetes.advance(Duration::from_secs(60));
/// assert_eq!(kubernetes.all(Kind::Pod).len(), 4);
/// assert_eq!(ready(&kubernetes), 3);
/// ```
pub struct Kubernetes {
    /// The cluster, to look at, to script, or to change by hand.
    pub cluster: Cluster,
    agenda: Agenda<Act>,
    elapsed: Arc<AtomicU64>,
}

impl Kubernetes {
    /// An empty cluster whose every chance comes from this seed.
    pub fn new(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let elapsed = Arc::new(AtomicU64::new(0));
        let shown = Arc::clone(&elapsed);
        let clock = Clock::new(move || Duration::from_nanos(shown.load(Ordering::Relaxed)));
        Self {
            cluster: Cluster::new(clock.clone(), random.fork()),
            agenda: Agenda::new(clock, random),
            elapsed,
        }
    }

    /// The wall-clock time.
    pub fn now(&self) -> Timestamp {
        self.cluster.clock.now()
    }

    /// An object of the namespace `default`; null when there is none.
    pub fn get(&self, kind: Kind, name: &str) -> Arc<Value> {
        let found = self.cluster.store.find(kind, "default", name);
        found.cloned().unwrap_or_default()
    }

    /// The objects of a kind in the namespace `default`, by name.
    pub fn all(&self, kind: Kind) -> Vec<Arc<Value>> {
        let found = self.cluster.store.list(kind, Some("default"));
        found.map(|(_, object)| Arc::clone(object)).collect()
    }

    /// What a person with kubectl can do in the namespace `default`.
    pub fn kubectl(&mut self) -> Kubectl<'_> {
        Kubectl::new(&mut self.cluster, "user")
    }

    /// Somebody creates an object in the namespace `default`.
    pub fn create(&mut self, actor: &str, kind: Kind, object: Value) -> Result<Arc<Value>, Refusal> {
        let store = &mut self.cluster.store;
        store.create(&Caller::new(actor), kind, "default", object)
    }

    /// Somebody changes an object by a merge patch. A resource version in it is a condition.
    pub fn patch(
        &mut self,
        actor: &str,
        kind: Kind,
        name: &str,
        patch: Value,
    ) -> Result<Arc<Value>, Refusal> {
        self.patch_part(actor, kind, name, patch, Part::Main)
    }

    /// Somebody changes the status of an object by a merge patch.
    pub fn patch_status(
        &mut self,
        actor: &str,
        kind: Kind,
        name: &str,
        patch: Value,
    ) -> Result<Arc<Value>, Refusal> {
        self.patch_part(actor, kind, name, patch, Part::Status)
    }

    fn patch_part(
        &mut self,
        actor: &str,
        kind: Kind,
        name: &str,
        patch: Value,
        part: Part,
    ) -> Result<Arc<Value>, Refusal> {
        let key = Key::new(kind, "default", name);
        let store = &mut self.cluster.store;
        store.patch(&Caller::new(actor), &key, &Patch::Merge(patch), part)
    }

    /// Somebody deletes an object; the options may name its UID and its version.
    pub fn delete(
        &mut self,
        actor: &str,
        kind: Kind,
        name: &str,
        options: &DeleteOptions,
    ) -> Result<(), Refusal> {
        let key = Key::new(kind, "default", name);
        let store = &mut self.cluster.store;
        store.delete(&Caller::new(actor), &key, options).map(drop)
    }

    /// Makes a pod stop answering, or answer again.
    pub fn set_sick(&mut self, pod: &str, sick: bool) {
        let pod = Key::new(Kind::Pod, "default", pod);
        self.agenda.set_sick(&mut self.cluster, &pod, sick);
    }

    /// Kills a pod's process.
    pub fn kill(&mut self, pod: &str) {
        let pod = Key::new(Kind::Pod, "default", pod);
        self.agenda.kill(&mut self.cluster, &pod);
    }

    /// Lets something happen after a time.
    pub fn after(&mut self, wait: Duration, act: impl FnOnce(&mut Cluster) + Send + 'static) {
        self.agenda.after(wait, Box::new(act));
    }

    /// Lets time go by, with everything that happens in it.
    pub fn advance(&mut self, time: Duration) {
        let end = self.cluster.clock.elapsed() + time;
        while self.step(end) {}
        self.show(end);
    }

    /// Lets time go by until a condition holds, for at most so long. Returns whether it held.
    pub fn until(&mut self, limit: Duration, holds: impl Fn(&Self) -> bool) -> bool {
        let end = self.cluster.clock.elapsed() + limit;
        while !holds(self) {
            if !self.step(end) {
                self.show(end);
                return holds(self);
            }
        }
        true
    }

    /// Lets time go by until nothing has changed for this long, for at most an hour. Returns whether it came to
    /// that.
    pub fn rest(&mut self, quiet: Duration) -> bool {
        let end = self.cluster.clock.elapsed() + Duration::from_hours(1);
        let (mut version, mut since) = (self.cluster.store.version(), self.cluster.clock.elapsed());
        while since + quiet <= end {
            if !self.step(since + quiet) {
                self.show(since + quiet);
                return true;
            }
            let now = self.cluster.store.version();
            if now != version {
                (version, since) = (now, self.cluster.clock.elapsed());
            }
        }
        false
    }

    /// When the next thing happens by itself, as the clock will show it; none when nothing is planned.
    pub fn next_moment(&mut self) -> Option<Timestamp> {
        self.agenda.route(&self.cluster);
        let wait = self.agenda.first()?.saturating_sub(self.cluster.clock.elapsed());
        Some(crate::clock::after(self.now(), wait))
    }

    /// Does the next thing that is due until then. Returns false when there is none.
    fn step(&mut self, end: Duration) -> bool {
        self.agenda.route(&self.cluster);
        let Some(at) = self.agenda.first().filter(|at| *at <= end) else {
            return false;
        };
        self.show(at.max(self.cluster.clock.elapsed()));
        if let Some(act) = self.agenda.perform(&mut self.cluster) {
            act(&mut self.cluster);
        }
        true
    }

    fn show(&mut self, elapsed: Duration) {
        let nanoseconds = u64::try_from(elapsed.as_nanos()).expect("a run shorter than an age");
        self.elapsed.store(nanoseconds, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::json;

    use super::*;
    use crate::{fields, models::behaviour::Behaviour};

    fn job(name: &str, command: &str) -> Value {
        let container = json!({"name": "main", "image": "shop:1", "command": [command]});
        let pod = json!({"spec": {"restartPolicy": "Never", "containers": [container]}});
        json!({"metadata": {"name": name}, "spec": {"suspend": true, "backoffLimit": 0, "template": pod}})
    }

    #[test]
    fn tasks_run_once_they_are_started_and_end_as_they_are_scripted() {
        let mut kubernetes = Kubernetes::new(1);
        let fails = Behaviour::task(Duration::from_mins(2), 1).says("no such table");
        kubernetes.cluster.scripts.command("migrate", fails);
        let made = kubernetes.create("slipway", Kind::Job, job("expand", "migrate"));
        kubernetes.advance(Duration::from_mins(5));
        assert!(kubernetes.all(Kind::Pod).is_empty(), "it is suspended");
        let start = json!({"metadata": {"resourceVersion": "1"}, "spec": {"suspend": false}});
        assert_eq!(
            kubernetes
                .patch("slipway", Kind::Job, "expand", start)
                .unwrap_err()
                .code,
            409
        );
        drop(made.unwrap());
        let start = json!({"spec": {"suspend": false}});
        drop(kubernetes.patch("slipway", Kind::Job, "expand", start).unwrap());
        let failed =
            |kubernetes: &Kubernetes| fields::is_true(&kubernetes.get(Kind::Job, "expand"), "Failed");
        assert!(!kubernetes.until(Duration::from_mins(1), failed));
        assert!(kubernetes.until(Duration::from_mins(2), failed));
        let pods = kubernetes.all(Kind::Pod);
        let ended = "/status/containerStatuses/0/state/terminated/message";
        assert_eq!(fields::text(&pods[0], ended), "no such table");
    }

    #[test]
    fn pods_that_are_killed_or_sick_get_no_traffic_until_they_are_well_again() {
        let mut kubernetes = Kubernetes::new(2);
        let labels = json!({"app": "web"});
        let template = json!({"metadata": {"labels": labels}, "spec": {"containers": [{"name": "web", "image": "shop:1"}]}});
        let spec = json!({"replicas": 3, "selector": {"matchLabels": labels}, "template": template});
        let deployment = json!({"metadata": {"name": "web"}, "spec": spec});
        drop(kubernetes.create("user", Kind::Deployment, deployment).unwrap());
        let service =
            json!({"metadata": {"name": "web"}, "spec": {"selector": labels, "ports": [{"port": 80}]}});
        drop(kubernetes.create("user", Kind::Service, service).unwrap());
        assert!(kubernetes.rest(Duration::from_secs(30)));
        let ready = |kubernetes: &Kubernetes| -> usize {
            let slices = kubernetes.all(Kind::EndpointSlice);
            let endpoints = slices.iter().flat_map(|slice| fields::list(slice, "/endpoints"));
            endpoints
                .filter(|endpoint| fields::flag(endpoint, "/conditions/ready"))
                .count()
        };
        assert_eq!(ready(&kubernetes), 3);
        let names: Vec<String> = kubernetes
            .all(Kind::Pod)
            .iter()
            .map(|pod| fields::name(pod).to_owned())
            .collect();
        kubernetes.set_sick(&names[0], true);
        assert!(kubernetes.until(Duration::from_mins(1), |kubernetes| ready(kubernetes) == 2));
        kubernetes.kill(&names[1]);
        assert!(kubernetes.until(Duration::from_mins(1), |kubernetes| ready(kubernetes) == 1));
        kubernetes.set_sick(&names[0], false);
        assert!(kubernetes.rest(Duration::from_secs(30)));
        assert_eq!(ready(&kubernetes), 3);
        assert_eq!(
            kubernetes.all(Kind::Pod).len(),
            3,
            "a process comes again in its pod"
        );
    }

    #[test]
    fn a_seed_is_a_run() {
        let history = |seed| {
            let mut kubernetes = Kubernetes::new(seed);
            kubernetes.after(Duration::from_secs(5), |cluster| {
                let made = cluster.store.create(
                    &Caller::new("slipway"),
                    Kind::Job,
                    "default",
                    job("expand", "true"),
                );
                drop(made.unwrap());
            });
            kubernetes.advance(Duration::from_secs(4));
            assert!(kubernetes.all(Kind::Job).is_empty());
            kubernetes.advance(Duration::from_secs(2));
            let start = json!({"spec": {"suspend": false}});
            drop(kubernetes.patch("slipway", Kind::Job, "expand", start).unwrap());
            assert!(kubernetes.next_moment().is_some());
            assert!(kubernetes.rest(Duration::from_mins(1)));
            let changes = kubernetes.cluster.store.changes().iter();
            changes
                .map(|change| (change.at, change.key.to_string()))
                .collect::<BTreeMap<_, _>>()
        };
        assert_eq!(history(1), history(1));
        assert_ne!(history(1), history(2));
    }
}
