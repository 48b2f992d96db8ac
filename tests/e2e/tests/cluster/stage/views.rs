//! What is in the namespace now.

use anyhow::{Context, Result};
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Pod, Service};
use kube::api::ListParams;
use kube::{Api, Client, ResourceExt};
use serde_json::{Value, json};
use slipway_crds::names::{CLAIM, RELEASE, RELEASE_UID, WINDOW};

use super::Stage;

/// What is the user's own and has to be back after a release.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct UserValues {
    /// By Deployment: minReadySeconds, progressDeadlineSeconds, strategy, paused; everything of the template
    /// but images and the generation variable.
    deployments: Vec<(String, Value)>,
    /// By Service: selector.
    services: Vec<(String, Value)>,
}

impl UserValues {
    /// Reads them.
    pub(crate) async fn read(client: &Client, namespace: &str) -> Result<Self> {
        let deployments: Api<Deployment> = Api::namespaced(client.clone(), namespace);
        let services: Api<Service> = Api::namespaced(client.clone(), namespace);
        let all = ListParams::default();
        let deployments = deployments.list(&all).await?.items;
        let services = services.list(&all).await?.items;
        Ok(Self {
            deployments: deployments
                .iter()
                .map(|found| (found.name_any(), of_deployment(found)))
                .collect(),
            services: services
                .iter()
                .map(|found| {
                    (
                        found.name_any(),
                        json!(found.spec.as_ref().map(|spec| &spec.selector)),
                    )
                })
                .collect(),
        })
    }
}

fn of_deployment(deployment: &Deployment) -> Value {
    let spec = json!(deployment.spec);
    json!({
        "minReadySeconds": spec["minReadySeconds"].as_i64().unwrap_or(0),
        "progressDeadlineSeconds": spec["progressDeadlineSeconds"],
        "strategy": spec["strategy"],
        "paused": spec["paused"].as_bool().unwrap_or(false),
    })
}

impl Stage {
    /// A Deployment.
    pub(crate) async fn deployment(&self, name: &str) -> Result<Deployment> {
        self.api::<Deployment>()
            .get(name)
            .await
            .with_context(|| format!("Deployment {name}"))
    }

    /// The ReplicaSets that want pods or have some.
    pub(crate) async fn sides(&self) -> Result<Vec<ReplicaSet>> {
        let mut sides = self.api::<ReplicaSet>().list(&ListParams::default()).await?.items;
        sides.retain(|side| {
            let wanted = side.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(0);
            wanted > 0 || side.status.as_ref().is_some_and(|status| status.replicas > 0)
        });
        Ok(sides)
    }

    /// The ReplicaSet of `web` with that image.
    pub(crate) async fn side(&self, image: &str) -> Result<ReplicaSet> {
        let sides = self
            .api::<ReplicaSet>()
            .list(&ListParams::default().labels("app=web"))
            .await?;
        let side = sides.into_iter().find(|side| {
            let template = side.spec.as_ref().and_then(|spec| spec.template.as_ref());
            template
                .and_then(|template| template.spec.as_ref())
                .is_some_and(|spec| spec.containers[0].image.as_deref() == Some(image))
        });
        side.with_context(|| format!("no ReplicaSet of {image}"))
    }

    /// Waits until the window is whole: both sides of `web` want and have so many ready pods, held and locked.
    pub(crate) async fn until_sides(&self, pods: i32) -> Result<()> {
        let what = format!("two sides of {pods} ready pods each, held and locked");
        self.eventually(&what, || async {
            let web = self.deployment("web").await?;
            let whole = web
                .metadata
                .labels
                .as_ref()
                .is_some_and(|labels| labels.contains_key(WINDOW))
                && web.spec.as_ref().is_some_and(|spec| {
                    spec.paused == Some(true)
                        && spec.min_ready_seconds == Some(i32::MAX - 1)
                        && spec.replicas == Some(pods)
                });
            let mut sides = self.sides().await?;
            sides.retain(|side| side.name_any().starts_with("web-"));
            let full = |side: &ReplicaSet| {
                let wanted = side.spec.as_ref().and_then(|spec| spec.replicas);
                let status = side.status.as_ref();
                wanted == Some(pods)
                    && status.and_then(|status| status.ready_replicas) == Some(pods)
                    && status.and_then(|status| status.observed_generation) >= side.metadata.generation
            };
            Ok((whole && sides.len() == 2 && sides.iter().all(full)).then_some(()))
        })
        .await
    }

    /// The web pods with that image that are not ending.
    pub(crate) async fn pods(&self, image: &str) -> Result<Vec<Pod>> {
        let mut pods = self
            .api::<Pod>()
            .list(&ListParams::default().labels("app=web"))
            .await?
            .items;
        pods.retain(|pod| pod.metadata.deletion_timestamp.is_none() && image_of(pod) == Some(image));
        Ok(pods)
    }

    /// Waits until the last web pod with that image has ended.
    pub(crate) async fn until_ended(&self, image: &str) -> Result<()> {
        self.eventually("the end of the last pod", || async {
            let pods = self
                .api::<Pod>()
                .list(&ListParams::default().labels("app=web"))
                .await?;
            Ok((!pods.iter().any(|pod| image_of(pod) == Some(image))).then_some(()))
        })
        .await
    }

    /// The pods of tasks.
    pub(crate) async fn task_pods(&self) -> Result<Vec<Pod>> {
        Ok(self
            .api::<Pod>()
            .list(&ListParams::default().labels(RELEASE))
            .await?
            .items)
    }

    /// The Jobs of tasks.
    pub(crate) async fn jobs(&self) -> Result<Vec<Job>> {
        Ok(self
            .api::<Job>()
            .list(&ListParams::default().labels(RELEASE_UID))
            .await?
            .items)
    }

    /// Panics unless every value of the user is as before, and nothing is pinned, held or in a window.
    pub(crate) async fn assert_restored(&self) -> Result<()> {
        assert_eq!(
            UserValues::read(&self.client, &self.namespace).await?,
            self.before
        );
        self.assert_no_label(WINDOW).await
    }

    /// Panics if anything of Slipway is left.
    pub(crate) async fn assert_nothing_left(&self) -> Result<()> {
        self.assert_restored().await?;
        self.assert_no_label(CLAIM).await?;
        let jobs: Vec<_> = self.jobs().await?.iter().map(ResourceExt::name_any).collect();
        assert!(jobs.is_empty(), "Jobs are left: {jobs:?}");
        let stuck = self.task_pods().await?;
        let stuck: Vec<_> = stuck.iter().filter(|pod| !pod.finalizers().is_empty()).collect();
        assert!(stuck.is_empty(), "task pods with a finalizer are left: {stuck:?}");
        Ok(())
    }

    async fn assert_no_label(&self, label: &str) -> Result<()> {
        let with_label = ListParams::default().labels(label);
        let deployments = self.api::<Deployment>().list(&with_label).await?;
        let services = self.api::<Service>().list(&with_label).await?;
        let found: Vec<_> = deployments.iter().map(ResourceExt::name_any).collect();
        let found = [found, services.iter().map(ResourceExt::name_any).collect()].concat();
        assert!(found.is_empty(), "label {label} is left on {found:?}");
        Ok(())
    }

    /// The objects of a kind in the namespace.
    pub(crate) fn api<K>(&self) -> Api<K>
    where
        K: kube::Resource<Scope = k8s_openapi::NamespaceResourceScope, DynamicType = ()>,
    {
        Api::namespaced(self.client.clone(), &self.namespace)
    }
}

/// Ready pods of the newest state of a Deployment; 0 while its status is of an older one.
pub(crate) fn ready(deployment: &Deployment) -> i32 {
    let status = deployment.status.as_ref();
    let current = status.and_then(|status| status.observed_generation) >= deployment.metadata.generation;
    status
        .filter(|_| current)
        .and_then(|status| status.ready_replicas)
        .unwrap_or(0)
}

/// Image of a pod's first container.
pub(crate) fn image_of(pod: &Pod) -> Option<&str> {
    pod.spec.as_ref()?.containers.first()?.image.as_deref()
}
