//! The watches: one stream a kind, pruned into the caches, each change waking the Releases that it concerns.

pub mod kinds;

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
use slipway_crds::{names, v1alpha1::Release};
use tokio::sync::{mpsc, oneshot};

use self::kinds::{DEPLOYMENTS, JOBS, RELEASES, REPLICA_SETS, SERVICES, SLICES, TASK_PODS, WatchedKind, key};
pub use self::kinds::{
    enter_deployment, enter_job, enter_release, enter_replica_set, enter_service, enter_task_pod,
};
use crate::{admin::Readiness, caches::Caches, queue::Queue};

/// What is watched, and whom the watches tell.
pub struct Watches {
    /// The Kubernetes API.
    pub client: Client,
    /// One namespace, or all of them.
    pub namespace: Option<String>,
    /// What they fill.
    pub caches: Arc<Caches>,
    /// Whom they tell.
    pub queue: Arc<Queue>,
    /// Which of them have not read their list yet.
    pub readiness: Readiness,
}

/// Lets the watches begin again.
#[derive(Debug)]
pub struct Relist {
    asked: mpsc::Sender<oneshot::Sender<()>>,
    readiness: Readiness,
}

impl Relist {
    /// Has everything listed anew, and waits until it is read: what was written before is in the caches then,
    /// however far behind the watches were.
    pub async fn read(&self) {
        let (begun, begins) = oneshot::channel();
        if self.asked.send(begun).await.is_ok() && begins.await.is_ok() {
            self.readiness.complete().await;
        }
    }
}

impl Watches {
    /// Watches everything until dropped, from now on or from when it was asked to begin again.
    pub fn run(self) -> (impl Future<Output = ()>, Relist) {
        let (asked, mut asks) = mpsc::channel::<oneshot::Sender<()>>(1);
        let readiness = self.readiness.clone();
        self.expect_lists();
        let watching = async move {
            loop {
                tokio::select! {
                    () = self.streams() => return,
                    Some(begun) = asks.recv() => {
                        self.expect_lists();
                        begun.send(()).ok();
                    }
                }
            }
        };
        (watching, Relist { asked, readiness })
    }

    /// One stream that fails is begun anew after a pause; the caches keep what they have.
    async fn streams(&self) {
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

    /// Takes note of every kind whose list is still to be read.
    fn expect_lists(&self) {
        for kind in [
            &RELEASES,
            &DEPLOYMENTS,
            &REPLICA_SETS,
            &SERVICES,
            &SLICES,
            &JOBS,
            &TASK_PODS,
        ] {
            self.readiness.missing(kind.name, "its list is not read yet");
        }
    }

    fn api<K: Resource<DynamicType = ()>>(&self) -> Api<DynamicObject> {
        let resource = ApiResource::erase::<K>(&());
        match &self.namespace {
            Some(namespace) => Api::namespaced_with(self.client.clone(), namespace, &resource),
            None => Api::all_with(self.client.clone(), &resource),
        }
    }

    async fn watch<K: Resource<DynamicType = ()>>(&self, config: watcher::Config, kind: WatchedKind) {
        let stream = watcher::watcher(self.api::<K>(), config).default_backoff();
        pin_mut!(stream);
        let mut listed = BTreeSet::new();
        while let Some(event) = stream.next().await {
            let concerned = match event {
                Ok(Event::Init) => {
                    listed.clear();
                    BTreeSet::new()
                }
                Ok(Event::InitApply(object)) => {
                    listed.extend(key(&object));
                    (kind.enter)(&self.caches, &object)
                }
                Ok(Event::InitDone) => {
                    self.readiness.ready(kind.name);
                    (kind.keep)(&self.caches, &listed)
                }
                Ok(Event::Apply(object)) => (kind.enter)(&self.caches, &object),
                Ok(Event::Delete(object)) => (kind.leave)(&self.caches, &object),
                Err(error) => {
                    tracing::warn!(kind = kind.name, %error, "watch interrupted; it is begun anew");
                    BTreeSet::new()
                }
            };
            for release in concerned {
                self.queue.add(release, Duration::ZERO);
            }
        }
    }
}
