//! What a Release names, and the Releases that an object concerns.

use std::collections::{BTreeMap, BTreeSet};

use slipway_crds::{
    DeploymentName, ServiceName, Uid,
    names::RELEASE,
    v1alpha1::{Release, ReleaseStatus, Workload},
};
use slipway_engine::{Intent, Progress, intent::Plan, observed::DeploymentView};

use super::{AddressedService, Caches, equalities};
use crate::cache::{Key, Tag};

/// What a Release names: in its spec, in the spec of its last revision, in what that remembers.
#[derive(Debug, Default)]
pub(super) struct Concern {
    /// Deployments.
    pub(super) deployments: BTreeSet<DeploymentName>,
    /// Services whose traffic moves.
    pub(super) services: BTreeSet<ServiceName>,
    /// The labels of its tasks' pods.
    pub(super) task_labels: BTreeSet<BTreeMap<String, String>>,
}

impl Concern {
    pub(super) fn of_release(release: &Release) -> Self {
        let mut concern = Self::default();
        // What is named is looked at although something else is wrong with the spec.
        concern.workloads(&release.spec.workloads);
        concern.plan(Plan::parse(&release.spec).ok().as_ref());
        concern.status(release.status.as_ref());
        concern
    }

    pub(super) fn of_decision(intent: &Intent, committed: &Progress) -> Self {
        let mut concern = Self::default();
        concern.plan(intent.wanted.as_ref().ok());
        concern.status(Some(&committed.status));
        concern
    }

    fn workloads(&mut self, workloads: &[Workload]) {
        for workload in workloads {
            self.deployments.insert(workload.deployment.clone());
            self.services.extend(workload.services.iter().cloned());
        }
    }

    fn plan(&mut self, plan: Option<&Plan>) {
        let Some(plan) = plan else {
            return;
        };
        self.workloads(&plan.spec.workloads);
        for task in plan.tasks.iter().filter(|task| !task.labels.is_empty()) {
            let mut labels = task.labels.clone();
            labels.insert(RELEASE.to_owned(), String::new());
            self.task_labels.insert(labels);
        }
    }

    fn status(&mut self, status: Option<&ReleaseStatus>) {
        let Some(status) = status else {
            return;
        };
        for workload in &status.workloads {
            self.deployments.insert(workload.deployment.clone());
            let services = workload.services.iter();
            self.services.extend(services.map(|service| service.name.clone()));
        }
        let frozen = status.revision.as_ref().map(|revision| &revision.inputs.0);
        self.plan(frozen.and_then(|spec| Plan::parse(spec).ok()).as_ref());
    }
}

impl Caches {
    /// The Release with a UID.
    pub(crate) fn release_of(&self, namespace: &str, uid: Option<&Uid>) -> BTreeSet<Key> {
        uid.map_or_else(BTreeSet::new, |uid| {
            self.releases_by(namespace, &Tag::Release(uid.clone()))
        })
    }

    /// The Releases that name a Deployment.
    pub(crate) fn naming_deployment(&self, namespace: &str, name: &DeploymentName) -> BTreeSet<Key> {
        self.releases_by(namespace, &Tag::Deployment(name.clone()))
    }

    /// The Releases that name a Service.
    pub(crate) fn naming_service(&self, namespace: &str, name: &ServiceName) -> BTreeSet<Key> {
        self.releases_by(namespace, &Tag::Service(name.clone()))
    }

    fn releases_by(&self, namespace: &str, tag: &Tag) -> BTreeSet<Key> {
        let names = self.releases.names(namespace, tag).into_iter();
        names.map(|name| Key::new(namespace, name)).collect()
    }

    /// The Releases that a change of a Deployment concerns. Those that do not name it look at its labels and its
    /// selector only.
    pub(crate) fn concerned_by_deployment(
        &self,
        key: &Key,
        before: Option<&DeploymentView>,
        after: Option<&DeploymentView>,
    ) -> BTreeSet<Key> {
        let namespace = key.namespace.as_str();
        let mut concerned = self.naming_deployment(namespace, &key.name.as_str().into());
        let states = [before, after];
        for seen in states.into_iter().flatten() {
            concerned.extend(self.release_of(namespace, seen.claim.as_ref()));
        }
        let bears = |seen: &DeploymentView| (seen.template.labels().clone(), seen.selector.clone());
        if before.map(bears) == after.map(bears) {
            return concerned;
        }
        for seen in states.into_iter().flatten() {
            for service in self.services.selecting(namespace, seen.template.labels()) {
                concerned.extend(self.naming_service(namespace, &service.view.name));
            }
            let by_tasks = self.releases.labelled(namespace, &equalities(&seen.selector));
            concerned.extend(by_tasks.into_iter().map(|name| Key::new(namespace, name)));
        }
        concerned
    }

    /// The Releases that a change of a Service concerns. Those that do not name it look at its selector only.
    pub(crate) fn concerned_by_service(
        &self,
        key: &Key,
        before: Option<&AddressedService>,
        after: Option<&AddressedService>,
    ) -> BTreeSet<Key> {
        let namespace = key.namespace.as_str();
        let mut concerned = self.naming_service(namespace, &key.name.as_str().into());
        let states = [before, after];
        for seen in states.into_iter().flatten() {
            concerned.extend(self.release_of(namespace, seen.view.claim.as_ref()));
        }
        let bears = |seen: &AddressedService| seen.view.selector.clone();
        if before.map(bears) == after.map(bears) {
            return concerned;
        }
        for seen in states.into_iter().flatten() {
            for deployment in self.deployments.labelled(namespace, &seen.view.selector) {
                concerned.extend(self.naming_deployment(namespace, &deployment.into()));
            }
            let by_tasks = self.releases.labelled(namespace, &seen.view.selector);
            concerned.extend(by_tasks.into_iter().map(|name| Key::new(namespace, name)));
        }
        concerned
    }
}
