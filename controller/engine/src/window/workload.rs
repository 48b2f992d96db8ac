//! A workload in its window: what status remembers beside what is there.

use slipway_crds::WorkloadName;
use slipway_crds::v1alpha1::status::{SideStatus, WorkloadStatus};

use super::patches::held;
use crate::observed::{DeploymentView, Observed, ReplicaSetView, ServiceView};
use crate::progress::Progress;
use crate::template::Template;

/// One side of a Deployment in a window.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Side {
    /// What served before.
    Old,
    /// What the revision brings.
    New,
}

/// A workload in its window: what status remembers, beside what is there.
#[derive(Clone, Debug)]
pub struct WorkloadWindow<'a> {
    /// What status remembers.
    pub status: &'a WorkloadStatus,
    /// The Deployment.
    pub deployment: &'a DeploymentView,
    /// The old side.
    pub old: Option<&'a ReplicaSetView>,
    /// The new side.
    pub new: Option<&'a ReplicaSetView>,
    /// The Services whose traffic moves.
    pub services: Vec<&'a ServiceView>,
}

impl<'a> WorkloadWindow<'a> {
    /// Finds a workload's objects; none when its Deployment is gone or another one.
    pub fn find(status: &'a WorkloadStatus, observed: &'a Observed) -> Option<Self> {
        let deployment = observed.deployments.get(&status.deployment)?;
        if deployment.uid != status.deployment_uid {
            return None;
        }
        Some(Self {
            status,
            deployment,
            old: match &status.old {
                Some(side) => find_side(deployment, side),
                // It was deleted in the moment in which the window opened: what was made again in its place.
                None if status.window => {
                    let template = deployment
                        .template
                        .without(&status.images, status.variable.as_ref());
                    deployment.by_template(template.digest())
                }
                None => None,
            },
            new: match &status.new {
                Some(side) => find_side(deployment, side),
                None => booting(status, deployment),
            },
            services: services(status, observed),
        })
    }

    /// All workloads whose traffic moves, in order.
    pub fn all(progress: &'a Progress, observed: &'a Observed) -> Vec<Self> {
        progress
            .status
            .workloads
            .iter()
            .filter(|status| status.window || status.remembered.is_some())
            .filter_map(|status| Self::find(status, observed))
            .collect()
    }

    /// One of its sides.
    pub fn side(&self, side: Side) -> Option<&'a ReplicaSetView> {
        match side {
            Side::Old => self.old,
            Side::New => self.new,
        }
    }

    /// The template of the old side: verbatim while its ReplicaSet is there, else worked out from ours.
    pub fn old_template(&self) -> Template {
        let known = self.old.and_then(|set| set.template.clone());
        known.unwrap_or_else(|| {
            self.deployment
                .template
                .without(&self.status.images, self.status.variable.as_ref())
        })
    }

    /// The template of the new side.
    pub fn new_template(&self) -> Template {
        let known = self.new.and_then(|set| set.template.clone());
        known.unwrap_or_else(|| {
            self.old_template()
                .with(&self.status.images, self.status.variable.as_ref())
        })
    }

    /// The template of a side.
    pub fn template(&self, side: Side) -> Template {
        match side {
            Side::Old => self.old_template(),
            Side::New => self.new_template(),
        }
    }

    /// Whether every Service is pinned to a side.
    pub fn pinned(&self, side: Side) -> bool {
        self.side(side).is_some_and(|set| {
            let here = |service: &&ServiceView| service.pin().as_ref() == Some(&set.hash);
            self.services.iter().all(here)
        })
    }

    /// Whether the old side has a ready pod, and no Service sends it anything.
    pub fn left_alone(&self) -> bool {
        self.old.is_some_and(|old| {
            let elsewhere = |service: &&ServiceView| service.pin().is_some_and(|pin| pin != old.hash);
            old.ready > 0 && self.services.iter().all(elsewhere)
        })
    }

    /// Whether every Service was seen to have ready endpoints of one side only, and has some where the side
    /// has ready pods.
    pub fn confirmed(&self, side: Side) -> bool {
        self.side(side).is_some_and(|set| {
            self.pinned(side)
                && self.services.iter().all(|service| {
                    let ours = set.ready_behind(service);
                    ours == service.ready_pods.len() && (ours > 0 || set.ready == 0)
                })
        })
    }

    /// Whether the new side wants and has its full size, by a current status.
    pub fn new_ready(&self) -> bool {
        self.new.is_some_and(|new| {
            new.current()
                && self.deployment.replicas > 0
                && new.wanted == self.deployment.replicas
                && new.replicas == new.wanted
                && new.ready == new.wanted
        })
    }

    pub(super) fn name(&self) -> &'a WorkloadName {
        &self.status.name
    }
}

/// The new side before it is recorded: that of the Deployment's own template, once that is held and carries
/// what the revision changes.
fn booting<'a>(status: &WorkloadStatus, deployment: &'a DeploymentView) -> Option<&'a ReplicaSetView> {
    let ours = held(deployment)
        && deployment
            .template
            .carries(&status.images, status.variable.as_ref());
    ours.then(|| deployment.by_template(deployment.template.digest()))
        .flatten()
}

fn find_side<'a>(deployment: &'a DeploymentView, side: &SideStatus) -> Option<&'a ReplicaSetView> {
    let by_uid = deployment
        .replica_sets
        .iter()
        .find(|set| Some(&set.uid) == side.uid.as_ref());
    by_uid.or_else(|| deployment.by_template(&side.template))
}

pub(super) fn services<'a>(status: &WorkloadStatus, observed: &'a Observed) -> Vec<&'a ServiceView> {
    let known = status.services.iter();
    known
        .filter_map(|pinned| {
            observed
                .services
                .get(&pinned.name)
                .filter(|seen| seen.uid == pinned.uid)
        })
        .collect()
}
