//! How the objects of each kind get into the caches, and what they are about.

use std::{collections::BTreeSet, sync::Arc};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::core::DynamicObject;
use serde_json::Value;
use slipway_crds::{names, v1alpha1::Release};
use slipway_engine::{
    classify,
    observed::{JobView, TaskPodView},
};

use crate::{
    cache::{Cache, Key, Teller},
    context::{AddressedService, Caches, OwnedReplicaSet, Slice},
};

/// What an object is about: names of Deployments or Services, or of the Release itself.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum About {
    Release(Key),
    Deployment(Key),
    Service(Key),
}

/// How objects of a kind get into the caches.
pub(super) struct Room {
    pub(super) kind: &'static str,
    pub(super) enter: fn(&Caches, &DynamicObject) -> Option<About>,
    pub(super) leave: fn(&Caches, &DynamicObject) -> Option<About>,
    pub(super) keep: fn(&Caches, &BTreeSet<Key>) -> Vec<About>,
}

pub(super) fn key(object: &DynamicObject) -> Option<Key> {
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

pub(super) const RELEASES: Room = Room {
    kind: "releases",
    enter: |caches, object| {
        let key = key(object)?;
        match serde_json::from_value::<Release>(json(object)) {
            Ok(release) => {
                caches
                    .releases
                    .apply(key.clone(), version(object), Arc::new(release), Teller::Watch);
            }
            // One that cannot be read, of a newer version say, is left alone and disturbs no other.
            Err(error) => {
                tracing::error!(release = %key, %error, "a Release cannot be read; it is left alone");
            }
        }
        Some(About::Release(key))
    },
    leave: |caches, object| {
        let key = key(object)?;
        caches.releases.remove(&key, version(object));
        Some(About::Release(key))
    },
    keep: |caches, listed| kept(&caches.releases, listed, |key, _| About::Release(key)),
};

pub(super) const DEPLOYMENTS: Room = Room {
    kind: "deployments",
    enter: |caches, object| {
        enter_deployment(caches, object, Teller::Watch);
        key(object).map(About::Deployment)
    },
    leave: |caches, object| {
        let key = key(object)?;
        caches.deployments.remove(&key, version(object));
        Some(About::Deployment(key))
    },
    keep: |caches, listed| kept(&caches.deployments, listed, |key, _| About::Deployment(key)),
};

pub(super) const REPLICA_SETS: Room = Room {
    kind: "replicasets",
    enter: |caches, object| {
        if owner(object).is_none() {
            // One that was orphaned is of no Deployment any more.
            return (REPLICA_SETS.leave)(caches, object);
        }
        enter_replica_set(caches, object, Teller::Watch);
        let key = key(object)?;
        let owner = caches.replica_sets.get(&key)?.deployment;
        Some(About::Deployment(Key::new(key.namespace, owner)))
    },
    leave: |caches, object| {
        let key = key(object)?;
        let set = caches.replica_sets.remove(&key, version(object))?;
        Some(About::Deployment(Key::new(key.namespace, set.deployment)))
    },
    keep: |caches, listed| {
        kept(&caches.replica_sets, listed, |key, set| {
            About::Deployment(Key::new(key.namespace, set.deployment))
        })
    },
};

pub(super) const SERVICES: Room = Room {
    kind: "services",
    enter: |caches, object| {
        enter_service(caches, object, Teller::Watch);
        key(object).map(About::Service)
    },
    leave: |caches, object| {
        let key = key(object)?;
        caches.services.remove(&key, version(object));
        Some(About::Service(key))
    },
    keep: |caches, listed| kept(&caches.services, listed, |key, _| About::Service(key)),
};

pub(super) const SLICES: Room = Room {
    kind: "endpointslices",
    enter: |caches, object| {
        let key = key(object)?;
        let service = object.metadata.labels.as_ref()?.get(names::SERVICE_NAME)?.clone();
        let slice = Slice {
            service: service.clone(),
            ready_pods: classify::ready_pods(&json(object)),
        };
        caches
            .slices
            .apply(key.clone(), version(object), slice, Teller::Watch);
        Some(About::Service(Key::new(key.namespace, service)))
    },
    leave: |caches, object| {
        let key = key(object)?;
        let slice = caches.slices.remove(&key, version(object))?;
        Some(About::Service(Key::new(key.namespace, slice.service)))
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

pub(super) const JOBS: Room = Room {
    kind: "jobs",
    enter: |caches, object| {
        enter_job(caches, object, Teller::Watch);
        of_release(object)
    },
    leave: |caches, object| {
        let key = key(object)?;
        let job = caches.jobs.remove(&key, version(object))?;
        of_uid(caches, &key.namespace, job.release_uid.as_ref()?)
    },
    keep: |caches, listed| {
        let gone = caches.jobs.retain(listed);
        let told = |(key, job): (Key, JobView)| of_uid(caches, &key.namespace, job.release_uid.as_ref()?);
        gone.into_iter().filter_map(told).collect()
    },
};

pub(super) const TASK_PODS: Room = Room {
    kind: "task pods",
    enter: |caches, object| {
        enter_task_pod(caches, object, Teller::Watch);
        of_release(object)
    },
    leave: |caches, object| {
        let key = key(object)?;
        let pod = caches.task_pods.remove(&key, version(object))?;
        of_uid(caches, &key.namespace, pod.release_uid.as_ref()?)
    },
    keep: |caches, listed| {
        let gone = caches.task_pods.retain(listed);
        let told = |(key, pod): (Key, TaskPodView)| of_uid(caches, &key.namespace, pod.release_uid.as_ref()?);
        gone.into_iter().filter_map(told).collect()
    },
};

/// Enters a Deployment as the API server returned it.
pub fn enter_deployment(caches: &Caches, object: &DynamicObject, teller: Teller) {
    if let Some(key) = key(object) {
        caches
            .deployments
            .apply(key, version(object), classify::deployment(&json(object)), teller);
    }
}

/// The Deployment that a ReplicaSet belongs to.
fn owner(set: &DynamicObject) -> Option<&OwnerReference> {
    let mut owners = set.metadata.owner_references.iter().flatten();
    owners.find(|owner| owner.controller == Some(true) && owner.kind == "Deployment")
}

/// Enters a ReplicaSet as the API server returned it.
pub fn enter_replica_set(caches: &Caches, object: &DynamicObject, teller: Teller) {
    if let (Some(key), Some(owner)) = (key(object), owner(object)) {
        let view = classify::replica_set(&json(object));
        let set = OwnedReplicaSet {
            owner: owner.uid.clone(),
            deployment: owner.name.clone(),
            view,
        };
        caches.replica_sets.apply(key, version(object), set, teller);
    }
}

/// Enters a Service as the API server returned it.
pub fn enter_service(caches: &Caches, object: &DynamicObject, teller: Teller) {
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
        caches.services.apply(key, version(object), service, teller);
    }
}

/// Enters a Job as the API server returned it.
pub fn enter_job(caches: &Caches, object: &DynamicObject, teller: Teller) {
    if let Some(key) = key(object) {
        caches
            .jobs
            .apply(key, version(object), classify::job(&json(object)), teller);
    }
}

/// Enters a task's pod as the API server returned it.
pub fn enter_task_pod(caches: &Caches, object: &DynamicObject, teller: Teller) {
    if let Some(key) = key(object) {
        caches
            .task_pods
            .apply(key, version(object), classify::task_pod(&json(object)), teller);
    }
}
