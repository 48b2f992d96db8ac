//! The watches: one stream a kind, pruned into the caches, each change asking for a look at the Releases that
//! it concerns.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use futures::{StreamExt as _, pin_mut};
use k8s_openapi::api::{
    apps::v1::{Deployment, ReplicaSet},
    batch::v1::Job,
    core::v1::{Pod, Service},
    discovery::v1::EndpointSlice,
};
use kube::{
    Api, Client, Resource,
    core::DynamicObject,
    discovery::ApiResource,
    runtime::{
        WatchStreamExt as _,
        watcher::{self, Event},
    },
};
use serde_json::Value;
use slipway_crds::{names, v1alpha1::Release};
use slipway_engine::{
    classify,
    observed::{JobView, TaskPodView},
};

use crate::{
    admin::Readiness,
    cache::{Cache, Key},
    context::{AddressedService, Caches, OwnedReplicaSet, Slice},
    queue::Queue,
};

/// Where the watches look, and whom they tell.
#[derive(Clone)]
pub struct Watches {
    /// The Kubernetes API.
    pub client: Client,
    /// One namespace, or all of them.
    pub namespace: Option<String>,
    /// What they fill.
    pub caches: Arc<Caches>,
    /// Whom they tell.
    pub queue: Arc<Queue>,
    /// Which of them have not read their first list yet.
    pub readiness: Readiness,
}

/// What an object is about: names of Deployments or Services, or of the Release itself.
#[derive(Clone, Debug, Eq, PartialEq)]
enum About {
    Release(Key),
    Deployment(Key),
    Service(Key),
}

/// How objects of a kind get into the caches.
struct Room {
    kind: &'static str,
    enter: fn(&Caches, &DynamicObject) -> Option<About>,
    leave: fn(&Caches, &Key) -> Option<About>,
    keep: fn(&Caches, &BTreeSet<Key>) -> Vec<About>,
}

impl Watches {
    /// Watches everything until dropped. One stream that fails is begun anew after a pause; the caches keep what
    /// they have.
    pub async fn run(self) {
        let labelled = watcher::Config::default().labels(names::RELEASE_UID);
        let all = watcher::Config::default;
        tokio::join!(
            self.watch::<Release>(all(), RELEASES),
            self.watch::<Deployment>(all(), DEPLOYMENTS),
            self.watch::<ReplicaSet>(all(), REPLICA_SETS),
            self.watch::<Service>(all(), SERVICES),
            self.watch::<EndpointSlice>(all(), SLICES),
            self.watch::<Job>(labelled.clone(), JOBS),
            self.watch::<Pod>(labelled, TASK_PODS),
        );
    }

    /// Takes note of every kind whose first list is still to be read.
    pub fn expect_first_lists(&self) {
        for room in [
            &RELEASES,
            &DEPLOYMENTS,
            &REPLICA_SETS,
            &SERVICES,
            &SLICES,
            &JOBS,
            &TASK_PODS,
        ] {
            self.readiness
                .missing(room.kind, "its first list is not read yet");
        }
    }

    fn api<K: Resource<DynamicType = ()>>(&self) -> Api<DynamicObject> {
        let resource = ApiResource::erase::<K>(&());
        match &self.namespace {
            Some(namespace) => Api::namespaced_with(self.client.clone(), namespace, &resource),
            None => Api::all_with(self.client.clone(), &resource),
        }
    }

    async fn watch<K: Resource<DynamicType = ()>>(&self, config: watcher::Config, room: Room) {
        let stream = watcher::watcher(self.api::<K>(), config).default_backoff();
        pin_mut!(stream);
        let mut listed = BTreeSet::new();
        while let Some(event) = stream.next().await {
            let about = match event {
                Ok(Event::Init) => {
                    listed.clear();
                    Vec::new()
                }
                Ok(Event::InitApply(object)) => {
                    listed.extend(key(&object));
                    (room.enter)(&self.caches, &object).into_iter().collect()
                }
                Ok(Event::InitDone) => {
                    self.readiness.ready(room.kind);
                    (room.keep)(&self.caches, &listed)
                }
                Ok(Event::Apply(object)) => (room.enter)(&self.caches, &object).into_iter().collect(),
                Ok(Event::Delete(object)) => key(&object)
                    .and_then(|key| (room.leave)(&self.caches, &key))
                    .into_iter()
                    .collect(),
                Err(error) => {
                    tracing::warn!(kind = room.kind, %error, "watch interrupted; it is begun anew");
                    Vec::new()
                }
            };
            for about in &about {
                self.tell(about);
            }
        }
    }

    /// Asks for a look at every Release that an object is about.
    fn tell(&self, about: &About) {
        for key in concerned(&self.caches, about) {
            self.queue.add(key, Duration::ZERO);
        }
    }
}

/// The Releases that an object is about.
fn concerned(caches: &Caches, about: &About) -> Vec<Key> {
    let key = match about {
        About::Release(key) => return vec![key.clone()],
        About::Deployment(key) | About::Service(key) => key,
    };
    let uses = |release: &Release| match about {
        About::Release(_) => false,
        About::Deployment(key) => uses_deployment(release, &key.name),
        About::Service(key) => uses_service(release, &key.name),
    };
    let releases = caches.releases.namespace(&key.namespace).into_iter();
    releases
        .filter(|(_, release)| uses(release))
        .map(|(name, _)| Key::new(key.namespace.clone(), name))
        .collect()
}

fn uses_deployment(release: &Release, name: &str) -> bool {
    let frozen = release
        .status
        .as_ref()
        .map(|status| status.workloads.as_slice())
        .unwrap_or_default();
    release
        .spec
        .workloads
        .iter()
        .any(|workload| workload.deployment == name)
        || frozen.iter().any(|workload| workload.deployment == name)
}

fn uses_service(release: &Release, name: &str) -> bool {
    let frozen = release
        .status
        .as_ref()
        .map(|status| status.workloads.as_slice())
        .unwrap_or_default();
    let workloads = release.spec.workloads.iter();
    workloads
        .flat_map(|workload| workload.services.iter().chain(&workload.leave))
        .any(|service| service == name)
        || frozen
            .iter()
            .flat_map(|workload| &workload.services)
            .any(|service| service.name == name)
}

fn key(object: &DynamicObject) -> Option<Key> {
    Some(Key::new(
        object.metadata.namespace.clone()?,
        object.metadata.name.clone()?,
    ))
}

fn version(object: &DynamicObject) -> &str {
    object.metadata.resource_version.as_deref().unwrap_or_default()
}

/// The whole object as JSON: nothing that a newer Kubernetes added is lost.
fn json(object: &DynamicObject) -> Value {
    serde_json::to_value(object).unwrap_or_default()
}

fn kept<V: Clone>(cache: &Cache<V>, listed: &BTreeSet<Key>, about: impl Fn(Key, V) -> About) -> Vec<About> {
    cache
        .retain(listed)
        .into_iter()
        .map(|(key, value)| about(key, value))
        .collect()
}

const RELEASES: Room = Room {
    kind: "releases",
    enter: |caches, object| {
        let key = key(object)?;
        match serde_json::from_value::<Release>(json(object)) {
            Ok(release) => caches
                .releases
                .apply(key.clone(), version(object), Arc::new(release)),
            // One that cannot be read, of a newer version say, is left alone and disturbs no other.
            Err(error) => {
                tracing::error!(release = %key, %error, "a Release cannot be read; it is left alone");
            }
        }
        Some(About::Release(key))
    },
    leave: |caches, key| {
        caches.releases.remove(key);
        Some(About::Release(key.clone()))
    },
    keep: |caches, listed| kept(&caches.releases, listed, |key, _| About::Release(key)),
};

const DEPLOYMENTS: Room = Room {
    kind: "deployments",
    enter: |caches, object| {
        enter_deployment(caches, object);
        key(object).map(About::Deployment)
    },
    leave: |caches, key| {
        caches.deployments.remove(key);
        Some(About::Deployment(key.clone()))
    },
    keep: |caches, listed| kept(&caches.deployments, listed, |key, _| About::Deployment(key)),
};

const REPLICA_SETS: Room = Room {
    kind: "replicasets",
    enter: |caches, object| {
        enter_replica_set(caches, object);
        let key = key(object)?;
        let owner = caches.replica_sets.get(&key)?.deployment;
        Some(About::Deployment(Key::new(key.namespace, owner)))
    },
    leave: |caches, key| {
        let set = caches.replica_sets.remove(key)?;
        Some(About::Deployment(Key::new(key.namespace.clone(), set.deployment)))
    },
    keep: |caches, listed| {
        kept(&caches.replica_sets, listed, |key, set| {
            About::Deployment(Key::new(key.namespace, set.deployment))
        })
    },
};

const SERVICES: Room = Room {
    kind: "services",
    enter: |caches, object| {
        enter_service(caches, object);
        key(object).map(About::Service)
    },
    leave: |caches, key| {
        caches.services.remove(key);
        Some(About::Service(key.clone()))
    },
    keep: |caches, listed| kept(&caches.services, listed, |key, _| About::Service(key)),
};

const SLICES: Room = Room {
    kind: "endpointslices",
    enter: |caches, object| {
        let key = key(object)?;
        let service = object.metadata.labels.as_ref()?.get(names::SERVICE_NAME)?.clone();
        let slice = Slice {
            service: service.clone(),
            ready_pods: classify::ready_pods(&json(object)),
        };
        caches.slices.apply(key.clone(), version(object), slice);
        Some(About::Service(Key::new(key.namespace, service)))
    },
    leave: |caches, key| {
        let slice = caches.slices.remove(key)?;
        Some(About::Service(Key::new(key.namespace.clone(), slice.service)))
    },
    keep: |caches, listed| {
        kept(&caches.slices, listed, |key, slice| {
            About::Service(Key::new(key.namespace, slice.service))
        })
    },
};

fn of_release(object: &DynamicObject) -> Option<About> {
    let namespace = object.metadata.namespace.clone()?;
    let release = object.metadata.labels.as_ref()?.get(names::RELEASE)?.clone();
    Some(About::Release(Key::new(namespace, release)))
}

/// The Release with a UID: what is left to know of one whose Job or pod is gone. It may wait for nothing else.
fn of_uid(caches: &Caches, namespace: &str, uid: &str) -> Option<About> {
    let releases = caches.releases.namespace(namespace).into_iter();
    let mut own = releases.filter(|(_, release)| release.metadata.uid.as_deref() == Some(uid));
    own.next()
        .map(|(name, _)| About::Release(Key::new(namespace, name)))
}

const JOBS: Room = Room {
    kind: "jobs",
    enter: |caches, object| {
        enter_job(caches, object);
        of_release(object)
    },
    leave: |caches, key| {
        let job = caches.jobs.remove(key)?;
        of_uid(caches, &key.namespace, job.release_uid.as_ref()?)
    },
    keep: |caches, listed| {
        let gone = caches.jobs.retain(listed);
        let told = |(key, job): (Key, JobView)| of_uid(caches, &key.namespace, job.release_uid.as_ref()?);
        gone.into_iter().filter_map(told).collect()
    },
};

const TASK_PODS: Room = Room {
    kind: "task pods",
    enter: |caches, object| {
        enter_task_pod(caches, object);
        of_release(object)
    },
    leave: |caches, key| {
        let pod = caches.task_pods.remove(key)?;
        of_uid(caches, &key.namespace, pod.release_uid.as_ref()?)
    },
    keep: |caches, listed| {
        let gone = caches.task_pods.retain(listed);
        let told = |(key, pod): (Key, TaskPodView)| of_uid(caches, &key.namespace, pod.release_uid.as_ref()?);
        gone.into_iter().filter_map(told).collect()
    },
};

/// Enters a Deployment as the API server returned it.
pub fn enter_deployment(caches: &Caches, object: &DynamicObject) {
    if let Some(key) = key(object) {
        caches
            .deployments
            .apply(key, version(object), classify::deployment(&json(object)));
    }
}

/// Enters a ReplicaSet as the API server returned it.
pub fn enter_replica_set(caches: &Caches, object: &DynamicObject) {
    let owners = object.metadata.owner_references.iter().flatten();
    let owner = owners
        .into_iter()
        .find(|owner| owner.controller == Some(true) && owner.kind == "Deployment");
    if let (Some(key), Some(owner)) = (key(object), owner) {
        let view = classify::replica_set(&json(object));
        let set = OwnedReplicaSet {
            owner: owner.uid.clone(),
            deployment: owner.name.clone(),
            view,
        };
        caches.replica_sets.apply(key, version(object), set);
    }
}

/// Enters a Service as the API server returned it.
pub fn enter_service(caches: &Caches, object: &DynamicObject) {
    if let Some(key) = key(object) {
        let json = json(object);
        let address = json
            .pointer("/spec/clusterIP")
            .and_then(Value::as_str)
            .and_then(|ip| ip.parse().ok());
        let service = AddressedService {
            address,
            view: classify::service(&json),
        };
        caches.services.apply(key, version(object), service);
    }
}

/// Enters a Job as the API server returned it.
pub fn enter_job(caches: &Caches, object: &DynamicObject) {
    if let Some(key) = key(object) {
        caches
            .jobs
            .apply(key, version(object), classify::job(&json(object)));
    }
}

/// Enters a task's pod as the API server returned it.
pub fn enter_task_pod(caches: &Caches, object: &DynamicObject) {
    if let Some(key) = key(object) {
        caches
            .task_pods
            .apply(key, version(object), classify::task_pod(&json(object)));
    }
}
