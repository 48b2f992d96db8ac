//! What the watches saw, by kind; and which of it concerns a Release.

mod concern;

use std::{borrow::Cow, collections::BTreeMap, net::IpAddr};

use kube::core::{Expression, Selector};

use slipway_crds::{DeploymentName, JobName, ServiceName, Uid, v1alpha1::Release};
use slipway_engine::{
    Intent, Observed, Progress,
    observed::{DeploymentView, JobView, ReplicaSetView, ServiceView, TaskPodView},
};

use self::concern::Concern;
use crate::cache::{Cache, Indexed, Key, Tag};

/// A ReplicaSet and the Deployment that owns it.
#[derive(Clone, Debug)]
pub struct OwnedReplicaSet {
    /// UID of the Deployment.
    pub owner: Uid,
    /// Name of the Deployment.
    pub deployment: DeploymentName,
    /// Itself.
    pub view: ReplicaSetView,
}

/// A Service and its address.
#[derive(Clone, Debug)]
pub struct AddressedService {
    /// `spec.clusterIP`; none for a headless one.
    pub address: Option<IpAddr>,
    /// Itself.
    pub view: ServiceView,
}

/// The ready pods of an EndpointSlice.
#[derive(Clone, Debug)]
pub struct Slice {
    /// Name of the Service.
    pub service: ServiceName,
    /// Names of its ready pods.
    pub ready_pods: Vec<String>,
}

/// What the watches saw.
#[derive(Debug, Default)]
pub struct Caches {
    /// Releases.
    pub releases: Cache<Release>,
    /// Deployments, without their ReplicaSets.
    pub deployments: Cache<DeploymentView>,
    /// ReplicaSets.
    pub replica_sets: Cache<OwnedReplicaSet>,
    /// Services, without their endpoints.
    pub services: Cache<AddressedService>,
    /// EndpointSlices.
    pub slices: Cache<Slice>,
    /// Jobs of tasks.
    pub jobs: Cache<JobView>,
    /// Pods of tasks.
    pub task_pods: Cache<TaskPodView>,
}

impl Indexed for Release {
    fn tags(&self) -> Vec<Tag> {
        let concern = Concern::of_release(self);
        let labels = concern.task_labels.into_iter().flatten();
        let labels = labels.map(|(name, label)| Tag::Label(name, label));
        let deployments = concern.deployments.into_iter().map(Tag::Deployment);
        let services = concern.services.into_iter().map(Tag::Service);
        let uid = self.metadata.uid.as_deref().map(|uid| Tag::Release(uid.into()));
        deployments.chain(services).chain(uid).chain(labels).collect()
    }
}

impl Indexed for DeploymentView {
    fn tags(&self) -> Vec<Tag> {
        let labels = self.template.labels().iter();
        let labels = labels.map(|(name, label)| Tag::Label(name.clone(), label.clone()));
        labels.chain(self.claim.clone().map(Tag::Release)).collect()
    }

    fn selector(&self) -> Option<Cow<'_, BTreeMap<String, String>>> {
        Some(Cow::Owned(equalities(&self.selector)))
    }
}

impl Indexed for OwnedReplicaSet {
    fn tags(&self) -> Vec<Tag> {
        vec![Tag::Owner(self.owner.clone())]
    }
}

impl Indexed for AddressedService {
    fn tags(&self) -> Vec<Tag> {
        self.view.claim.clone().map(Tag::Release).into_iter().collect()
    }

    fn selector(&self) -> Option<Cow<'_, BTreeMap<String, String>>> {
        Some(Cow::Borrowed(&self.view.selector)).filter(|selector| !selector.is_empty())
    }
}

impl Indexed for Slice {
    fn tags(&self) -> Vec<Tag> {
        vec![Tag::Service(self.service.clone())]
    }
}

impl Indexed for JobView {
    fn tags(&self) -> Vec<Tag> {
        self.release_uid.clone().map(Tag::Release).into_iter().collect()
    }
}

impl Indexed for TaskPodView {
    fn tags(&self) -> Vec<Tag> {
        self.release_uid.clone().map(Tag::Release).into_iter().collect()
    }
}

/// The labels that a selector asks for by one value. Pods that have them may still be left out by another
/// expression: the engine asks the whole selector.
fn equalities(selector: &Selector) -> BTreeMap<String, String> {
    let expressions = selector.clone().into_iter();
    expressions
        .filter_map(|expression| match expression {
            Expression::Equal(name, value) => Some((name, value)),
            Expression::In(name, values) if values.len() == 1 => {
                values.into_iter().next().map(|value| (name, value))
            }
            Expression::In(..)
            | Expression::NotIn(..)
            | Expression::NotEqual(..)
            | Expression::Exists(_)
            | Expression::DoesNotExist(_) => None,
        })
        .collect()
}

impl Caches {
    /// What concerns a Release: the Deployments and Services that it names or has claimed; the Services that select the
    /// pods of its Deployments or of its tasks; the Deployments whose pods its Services select, or that would take its
    /// task pods for their own; its Jobs and task pods; and who else has a claim on any of this.
    pub fn observed(&self, intent: &Intent, committed: &Progress) -> Observed {
        let namespace = intent.meta.namespace.as_str();
        let own = Tag::Release(intent.meta.uid.clone());
        let concern = Concern::of_decision(intent, committed);
        let mut services = self.services(namespace, &own, &concern);
        let mut deployments = self.deployments(namespace, &own, &concern, &services);
        // Of others only their labels and selectors count.
        for name in &concern.deployments {
            if let Some(deployment) = deployments.get_mut(name) {
                let owner = Tag::Owner(deployment.uid.clone());
                let sets = self.replica_sets.tagged(namespace, &owner);
                deployment.replica_sets = sets.iter().map(|set| set.view.clone()).collect();
            }
        }
        for name in &concern.services {
            if let Some(service) = services.get_mut(name) {
                let slices = self.slices.tagged(namespace, &Tag::Service(name.clone()));
                let ready = slices.iter().flat_map(|slice| &slice.ready_pods);
                service.ready_pods = ready.cloned().collect();
            }
        }
        let claims = deployments
            .values()
            .filter_map(|deployment| deployment.claim.clone());
        let claims = claims.chain(services.values().filter_map(|service| service.claim.clone()));
        let alive = |uid: &Uid| {
            !self
                .releases
                .names(namespace, &Tag::Release(uid.clone()))
                .is_empty()
        };
        let task_pods = self.task_pods.tagged(namespace, &own);
        Observed {
            releases: claims.filter(alive).collect(),
            jobs: self.jobs(namespace, &own, committed),
            task_pods: task_pods.iter().map(|pod| TaskPodView::clone(pod)).collect(),
            deployments,
            services,
            ..Observed::default()
        }
    }

    fn services(&self, namespace: &str, own: &Tag, concern: &Concern) -> BTreeMap<ServiceName, ServiceView> {
        let named = concern.services.iter();
        let named = named.filter_map(|name| self.services.get(&Key::new(namespace, name.as_str())));
        let deployments = concern.deployments.iter();
        let deployments =
            deployments.filter_map(|name| self.deployments.get(&Key::new(namespace, name.as_str())));
        let of_pods = deployments
            .flat_map(|deployment| self.services.selecting(namespace, deployment.template.labels()));
        let of_tasks = concern.task_labels.iter();
        let of_tasks = of_tasks.flat_map(|labels| self.services.selecting(namespace, labels));
        let services = named.chain(of_pods).chain(of_tasks);
        services
            .chain(self.services.tagged(namespace, own))
            .map(|service| (service.view.name.clone(), service.view.clone()))
            .collect()
    }

    fn deployments(
        &self,
        namespace: &str,
        own: &Tag,
        concern: &Concern,
        services: &BTreeMap<ServiceName, ServiceView>,
    ) -> BTreeMap<DeploymentName, DeploymentView> {
        let moved = concern.services.iter().filter_map(|name| services.get(name));
        let selected = moved.flat_map(|service| self.deployments.labelled(namespace, &service.selector));
        let named = concern
            .deployments
            .iter()
            .map(ToString::to_string)
            .chain(selected);
        let named = named.filter_map(|name| self.deployments.get(&Key::new(namespace, name)));
        let of_tasks = concern.task_labels.iter();
        let of_tasks = of_tasks.flat_map(|labels| self.deployments.selecting(namespace, labels));
        named
            .chain(of_tasks)
            .chain(self.deployments.tagged(namespace, own))
            .map(|deployment| (deployment.name.clone(), DeploymentView::clone(&deployment)))
            .collect()
    }

    /// Jobs of this Release, and those of others that have a name which it uses.
    fn jobs(&self, namespace: &str, own: &Tag, committed: &Progress) -> BTreeMap<JobName, JobView> {
        let named = committed.status.tasks.iter();
        named
            .filter_map(|task| self.jobs.get(&Key::new(namespace, task.job.as_str())))
            .chain(self.jobs.tagged(namespace, own))
            .map(|job| (job.name.clone(), JobView::clone(&job)))
            .collect()
    }
}

#[cfg(test)]
mod tests;
