//! How the objects of each kind get into the caches, and which Releases they concern.

use std::{collections::BTreeSet, sync::Arc};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::core::DynamicObject;
use serde_json::Value;
use slipway_crds::{ServiceName, names, v1alpha1::Release};
use slipway_engine::{classify, observed::DeploymentView};

use crate::{
    cache::{Cache, Indexed, Key, Source},
    caches::{AddressedService, Caches, OwnedReplicaSet, Slice},
};

/// How objects of a kind get into the caches. Each function gives the Releases that the change concerns.
pub struct WatchedKind {
    /// The name of the kind, for people.
    pub name: &'static str,
    /// Enters an object that a watch told of.
    pub enter: fn(&Caches, &DynamicObject) -> BTreeSet<Key>,
    /// Takes out one that a watch told to be gone.
    pub leave: fn(&Caches, &DynamicObject) -> BTreeSet<Key>,
    /// Takes out what a complete list did not name.
    pub keep: fn(&Caches, &BTreeSet<Key>) -> BTreeSet<Key>,
}

/// Namespace and name of an object.
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

/// Takes out an object that is gone, and says whom that concerns.
fn gone<V: Indexed>(
    cache: &Cache<V>,
    object: &DynamicObject,
    concerned: impl Fn(&Key, &V) -> BTreeSet<Key>,
) -> BTreeSet<Key> {
    let removed = key(object).and_then(|key| Some((cache.remove(&key, version(object))?, key)));
    removed.map_or_else(BTreeSet::new, |(value, key)| concerned(&key, &value))
}

/// Takes out what a complete list did not name, and says whom that concerns.
fn kept<V: Indexed>(
    cache: &Cache<V>,
    listed: &BTreeSet<Key>,
    concerned: impl Fn(&Key, &V) -> BTreeSet<Key>,
) -> BTreeSet<Key> {
    let gone = cache.retain(listed).into_iter();
    gone.flat_map(|(key, value)| concerned(&key, &value)).collect()
}

/// Releases.
pub const RELEASES: WatchedKind = WatchedKind {
    name: "releases",
    enter: |caches, object| {
        enter_release(caches, object, Source::Watch);
        key(object).into_iter().collect()
    },
    leave: |caches, object| gone(&caches.releases, object, |key, _| BTreeSet::from([key.clone()])),
    keep: |caches, listed| kept(&caches.releases, listed, |key, _| BTreeSet::from([key.clone()])),
};

/// Deployments.
pub const DEPLOYMENTS: WatchedKind = WatchedKind {
    name: "deployments",
    enter: |caches, object| {
        let before = deployment(caches, object, Source::Watch);
        key(object).map_or_else(BTreeSet::new, |key| {
            let after = caches.deployments.get(&key);
            caches.concerned_by_deployment(&key, before.as_deref(), after.as_deref())
        })
    },
    leave: |caches, object| {
        gone(&caches.deployments, object, |key, gone| {
            caches.concerned_by_deployment(key, Some(gone), None)
        })
    },
    keep: |caches, listed| {
        kept(&caches.deployments, listed, |key, gone| {
            caches.concerned_by_deployment(key, Some(gone), None)
        })
    },
};

/// ReplicaSets.
pub const REPLICA_SETS: WatchedKind = WatchedKind {
    name: "replicasets",
    enter: |caches, object| {
        if owner(object).is_none() {
            // One that was orphaned is of no Deployment any more.
            return (REPLICA_SETS.leave)(caches, object);
        }
        enter_replica_set(caches, object, Source::Watch);
        let known = key(object).and_then(|key| Some((caches.replica_sets.get(&key)?, key)));
        known.map_or_else(BTreeSet::new, |(set, key)| {
            caches.naming_deployment(&key.namespace, &set.deployment)
        })
    },
    leave: |caches, object| {
        gone(&caches.replica_sets, object, |key, set| {
            caches.naming_deployment(&key.namespace, &set.deployment)
        })
    },
    keep: |caches, listed| {
        kept(&caches.replica_sets, listed, |key, set| {
            caches.naming_deployment(&key.namespace, &set.deployment)
        })
    },
};

/// Services.
pub const SERVICES: WatchedKind = WatchedKind {
    name: "services",
    enter: |caches, object| {
        let before = service(caches, object, Source::Watch);
        key(object).map_or_else(BTreeSet::new, |key| {
            let after = caches.services.get(&key);
            caches.concerned_by_service(&key, before.as_deref(), after.as_deref())
        })
    },
    leave: |caches, object| {
        gone(&caches.services, object, |key, gone| {
            caches.concerned_by_service(key, Some(gone), None)
        })
    },
    keep: |caches, listed| {
        kept(&caches.services, listed, |key, gone| {
            caches.concerned_by_service(key, Some(gone), None)
        })
    },
};

/// EndpointSlices.
pub const SLICES: WatchedKind = WatchedKind {
    name: "endpointslices",
    enter: |caches, object| {
        let service = object.metadata.labels.as_ref();
        let service = service.and_then(|labels| labels.get(names::SERVICE_NAME));
        let (Some(key), Some(service)) = (key(object), service) else {
            return BTreeSet::new();
        };
        let service = ServiceName::from(service.as_str());
        let concerned = caches.naming_service(&key.namespace, &service);
        let slice = Arc::new(Slice {
            service,
            ready_pods: classify::ready_pods(&json(object)).into_iter().collect(),
        });
        caches.slices.apply(key, version(object), slice, Source::Watch);
        concerned
    },
    leave: |caches, object| {
        gone(&caches.slices, object, |key, slice| {
            caches.naming_service(&key.namespace, &slice.service)
        })
    },
    keep: |caches, listed| {
        kept(&caches.slices, listed, |key, slice| {
            caches.naming_service(&key.namespace, &slice.service)
        })
    },
};

/// The Release whose name an object carries.
fn of_release(object: &DynamicObject) -> BTreeSet<Key> {
    let labels = object.metadata.labels.as_ref();
    let release = labels.and_then(|labels| labels.get(names::RELEASE));
    let namespace = object.metadata.namespace.as_ref();
    namespace
        .zip(release)
        .map(|(namespace, release)| Key::new(namespace, release))
        .into_iter()
        .collect()
}

/// Jobs of tasks. Of one that is gone the UID of its Release is left to know; that may wait for nothing else.
pub const JOBS: WatchedKind = WatchedKind {
    name: "jobs",
    enter: |caches, object| {
        enter_job(caches, object, Source::Watch);
        of_release(object)
    },
    leave: |caches, object| {
        gone(&caches.jobs, object, |key, job| {
            caches.release_of(&key.namespace, job.release_uid.as_ref())
        })
    },
    keep: |caches, listed| {
        kept(&caches.jobs, listed, |key, job| {
            caches.release_of(&key.namespace, job.release_uid.as_ref())
        })
    },
};

/// Pods of tasks.
pub const TASK_PODS: WatchedKind = WatchedKind {
    name: "task pods",
    enter: |caches, object| {
        enter_task_pod(caches, object, Source::Watch);
        of_release(object)
    },
    leave: |caches, object| {
        gone(&caches.task_pods, object, |key, pod| {
            caches.release_of(&key.namespace, pod.release_uid.as_ref())
        })
    },
    keep: |caches, listed| {
        kept(&caches.task_pods, listed, |key, pod| {
            caches.release_of(&key.namespace, pod.release_uid.as_ref())
        })
    },
};

/// Enters a Release as the API server returned it. One that cannot be read, of a newer version say, is left alone and
/// disturbs no other.
pub fn enter_release(caches: &Caches, object: &DynamicObject, source: Source) {
    let Some(key) = key(object) else {
        return;
    };
    match serde_json::from_value::<Release>(json(object)) {
        Ok(mut release) => {
            release.metadata.managed_fields = None;
            let releases = &caches.releases;
            releases.apply(key, version(object), Arc::new(release), source);
        }
        Err(error) => tracing::error!(release = %key, %error, "a Release cannot be read; it is left alone"),
    }
}

/// Enters a Deployment as the API server returned it.
pub fn enter_deployment(caches: &Caches, object: &DynamicObject, source: Source) {
    drop(deployment(caches, object, source));
}

/// Enters a Deployment, and gives what the watch told of it before.
fn deployment(caches: &Caches, object: &DynamicObject, source: Source) -> Option<Arc<DeploymentView>> {
    let view = Arc::new(classify::deployment(&json(object)));
    let deployments = &caches.deployments;
    deployments.apply(key(object)?, version(object), view, source)
}

/// The Deployment that a ReplicaSet belongs to.
fn owner(set: &DynamicObject) -> Option<&OwnerReference> {
    let mut owners = set.metadata.owner_references.iter().flatten();
    owners.find(|owner| owner.controller == Some(true) && owner.kind == "Deployment")
}

/// Enters a ReplicaSet as the API server returned it.
pub fn enter_replica_set(caches: &Caches, object: &DynamicObject, source: Source) {
    if let (Some(key), Some(owner)) = (key(object), owner(object)) {
        let view = classify::replica_set(&json(object));
        let set = Arc::new(OwnedReplicaSet {
            owner: owner.uid.as_str().into(),
            deployment: owner.name.as_str().into(),
            view,
        });
        caches.replica_sets.apply(key, version(object), set, source);
    }
}

/// Enters a Service as the API server returned it.
pub fn enter_service(caches: &Caches, object: &DynamicObject, source: Source) {
    drop(service(caches, object, source));
}

/// Enters a Service, and gives what the watch told of it before.
fn service(caches: &Caches, object: &DynamicObject, source: Source) -> Option<Arc<AddressedService>> {
    let json = json(object);
    let address = json.pointer("/spec/clusterIP").and_then(Value::as_str);
    let service = AddressedService {
        address: address.and_then(|ip| ip.parse().ok()),
        view: classify::service(&json),
    };
    let services = &caches.services;
    services.apply(key(object)?, version(object), Arc::new(service), source)
}

/// Enters a Job as the API server returned it.
pub fn enter_job(caches: &Caches, object: &DynamicObject, source: Source) {
    if let Some(key) = key(object) {
        let job = Arc::new(classify::job(&json(object)));
        caches.jobs.apply(key, version(object), job, source);
    }
}

/// Enters a task's pod as the API server returned it.
pub fn enter_task_pod(caches: &Caches, object: &DynamicObject, source: Source) {
    if let Some(key) = key(object) {
        let pod = Arc::new(classify::task_pod(&json(object)));
        caches.task_pods.apply(key, version(object), pod, source);
    }
}
