//! The scene of the measurements: a Deployment `web`, its Service, and an operator who patches by hand.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use serde_json::{Value, json};
use slipway_kubernetes::{
    fields,
    kind::Kind,
    models::deployment::HASH,
    refusal::Refusal,
    store::{Caller, Key, Part, Patch},
};
use slipway_simulator::world::World;

/// minReadySeconds of the hold and of the bolt.
pub(crate) const HOLD: i64 = 2_147_483_646;
const NO_DEADLINE: i64 = 2_147_483_647;

pub(crate) struct Stage {
    pub(crate) world: World,
    replicas: i64,
}

pub(crate) fn deployment(replicas: i64, image: &str) -> Value {
    json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web"},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": "web"}},
            "template": {
                "metadata": {"labels": {"app": "web"}},
                "spec": {"containers": [{"name": "web", "image": image, "ports": [{"containerPort": 8080}]}]},
            },
        },
    })
}

pub(crate) fn service() -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "web"},
        "spec": {"selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": 8080}]},
    })
}

/// The seeds that every row is tried with.
pub(crate) fn seeds() -> Vec<u64> {
    World::seeds(1..=2)
}

impl Stage {
    /// Version 1 with so many pods, at rest.
    pub(crate) async fn new(seed: u64, replicas: i64) -> Self {
        Self::of(seed, deployment(replicas, "shop:1")).await
    }

    pub(crate) async fn of(seed: u64, manifest: Value) -> Self {
        let world = World::new(seed);
        let replicas = fields::count(&manifest, "/spec/replicas");
        let mut stage = Self { world, replicas };
        stage.world.user(|user| user.apply(&manifest));
        stage.world.user(|user| user.apply(&service()));
        stage.rest().await;
        assert_eq!(stage.ready(), usize::try_from(replicas).unwrap());
        stage
    }

    pub(crate) async fn rest(&mut self) {
        assert!(
            self.world.settle(Duration::from_secs(45)).await,
            "the cluster comes to rest"
        );
    }

    pub(crate) async fn wait(&mut self, seconds: u64) {
        self.world.run_for(Duration::from_secs(seconds)).await;
    }

    pub(crate) fn patch(&self, kind: Kind, name: &str, patch: Value) -> Result<Arc<Value>, Refusal> {
        let key = Key::new(kind, "default", name);
        self.world
            .cluster()
            .store
            .patch(&Caller::new("op"), &key, &Patch::Merge(patch), Part::Main)
    }

    pub(crate) fn web(&self) -> Arc<Value> {
        self.world.get(Kind::Deployment, "web")
    }

    /// The ReplicaSet with this image (of the only container).
    pub(crate) fn set(&self, image: &str) -> Arc<Value> {
        let sets = self.world.all(Kind::ReplicaSet);
        let found = sets
            .into_iter()
            .find(|set| image_of(&set["spec"]["template"]) == image);
        found.unwrap_or_default()
    }

    pub(crate) fn hash(&self, image: &str) -> String {
        fields::label(&self.set(image), HASH).to_owned()
    }

    /// Wanted and ready pods of the ReplicaSet with this image.
    pub(crate) fn size(&self, image: &str) -> (i64, i64) {
        let set = self.set(image);
        (
            fields::count(&set, "/spec/replicas"),
            fields::count(&set, "/status/readyReplicas"),
        )
    }

    pub(crate) fn available(&self, image: &str) -> i64 {
        fields::count(&self.set(image), "/status/availableReplicas")
    }

    /// The UIDs of the living pods with this image.
    pub(crate) fn pods(&self, image: &str) -> BTreeSet<String> {
        let pods = self.world.all(Kind::Pod);
        let own = pods
            .iter()
            .filter(|pod| image_of(pod) == image && !fields::terminating(pod));
        own.map(|pod| fields::uid(pod).to_owned()).collect()
    }

    pub(crate) fn pod_keys(&self, image: &str) -> Vec<Key> {
        let pods = self.world.all(Kind::Pod);
        let own = pods
            .iter()
            .filter(|pod| image_of(pod) == image && !fields::terminating(pod));
        own.map(|pod| Key::of(Kind::Pod, pod)).collect()
    }

    pub(crate) fn ready(&mut self) -> usize {
        self.world.oracle().ready("default", "web")
    }

    pub(crate) fn outage(&mut self) -> bool {
        self.world.oracle().outage("default", "web")
    }

    /// Changes the Deployment.
    pub(crate) fn write(&self, patch: Value) -> Arc<Value> {
        self.patch(Kind::Deployment, "web", patch).unwrap()
    }

    pub(crate) fn point_to(&self, image: &str) {
        let hash = self.hash(image);
        self.patch(Kind::Service, "web", json!({"spec": {"selector": {HASH: hash}}}))
            .unwrap();
    }

    pub(crate) async fn pin(&mut self, image: &str) {
        self.point_to(image);
        self.wait(1).await;
    }

    pub(crate) async fn unpin(&mut self) {
        self.patch(Kind::Service, "web", json!({"spec": {"selector": {HASH: null}}}))
            .unwrap();
        self.wait(1).await;
    }

    /// Template and hold in one patch; the new side boots beside the old one.
    pub(crate) async fn hold(&mut self, image: &str) {
        self.write(hold_patch(image));
        self.rest().await;
    }

    pub(crate) async fn lock(&mut self) {
        self.write(json!({"spec": {"paused": true}}));
        self.wait(1).await;
    }

    pub(crate) async fn bolt(&mut self, image: &str) {
        let name = fields::name(&self.set(image)).to_owned();
        self.patch(
            Kind::ReplicaSet,
            &name,
            json!({"spec": {"minReadySeconds": HOLD}}),
        )
        .unwrap();
        self.wait(1).await;
    }

    /// Pin to version 1, hold with version 2: the window before the flip, not locked.
    pub(crate) async fn window(seed: u64, replicas: i64) -> Self {
        let mut stage = Self::new(seed, replicas).await;
        stage.open().await;
        stage
    }

    pub(crate) async fn open(&mut self) {
        self.pin("shop:1").await;
        self.hold("shop:2").await;
        assert_eq!(self.size("shop:1"), (self.replicas, self.replicas));
        assert_eq!(self.size("shop:2"), (self.replicas, self.replicas));
    }
}

pub(crate) fn image_of(pod_like: &Value) -> &str {
    fields::text(pod_like, "/spec/containers/0/image")
}

fn template(image: &str) -> Value {
    json!({"spec": {"containers": [{"name": "web", "image": image, "ports": [{"containerPort": 8080}]}]}})
}

pub(crate) fn hold_patch(image: &str) -> Value {
    json!({"spec": {
        "template": template(image),
        "minReadySeconds": HOLD,
        "progressDeadlineSeconds": NO_DEADLINE,
        "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "100%", "maxUnavailable": 0}},
        "paused": false,
    }})
}

/// Template and the user's values in one patch: the way out of a window, in both directions.
pub(crate) fn release_patch(image: &str) -> Value {
    let mut patch = values_patch();
    patch["spec"]["template"] = template(image);
    patch
}

/// Retire: our template and the user's values, still locked, and with the hold's strategy. The strategy comes
/// back when the other side is gone: with it in the same patch the controller may scale both sides down in
/// proportion, and would then never finish while paused.
pub(crate) fn retire_patch(image: &str) -> Value {
    let mut patch = release_patch(image);
    patch["spec"]["paused"] = json!(true);
    patch["spec"].as_object_mut().unwrap().remove("strategy");
    patch
}

/// The user's values without a template.
pub(crate) fn values_patch() -> Value {
    json!({"spec": {
        "minReadySeconds": 0,
        "progressDeadlineSeconds": 600,
        "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"}},
        "paused": false,
    }})
}

pub(crate) fn template_patch(image: &str) -> Value {
    json!({"spec": {"template": template(image)}})
}
