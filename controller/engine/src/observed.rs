//! What was seen of the world: small facts, no Kubernetes objects.
//!
//! The cached part is complete once the shell's watches are in step. What had to be read live is an answer to a
//! question of a step ([`crate::question`]); a read that failed is unknown, and no step advances on that.

mod task;

use std::collections::{BTreeMap, BTreeSet};

use kube::core::Selector;
use serde::{Deserialize, Serialize};
use slipway_crds::v1alpha1::status::Strategy;
use slipway_crds::{
    AliasName, DeploymentName, IndexName, IndexUuid, JobName, ServiceName, TemplateDigest, TemplateHash, Uid,
};

use crate::question::Answers;
use crate::sentence::and;
use crate::template::Template;

pub use task::{ContainerEnd, JobState, JobView, TaskPodPhase, TaskPodView};

/// Everything that a decision looks at.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Observed {
    /// The Deployments that concern the Release, by name; those that it does not name come without ReplicaSets.
    pub deployments: BTreeMap<DeploymentName, DeploymentView>,
    /// The Services that concern the Release, by name; those that it does not name come without pods.
    pub services: BTreeMap<ServiceName, ServiceView>,
    /// The Jobs that carry this Release's UID, or a name that it would use.
    pub jobs: BTreeMap<JobName, JobView>,
    /// Pods of this Release's tasks.
    pub task_pods: Vec<TaskPodView>,
    /// UIDs of the Releases that exist and have claimed one of these objects.
    pub releases: BTreeSet<Uid>,
    /// What was read live, because a step asked for it.
    pub answers: Answers,
    /// What the controller's installation does against changes by others in a window.
    pub guard: WindowGuard,
}

/// What the controller's installation does against changes by others in a window.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub enum WindowGuard {
    /// Admission refuses them.
    #[default]
    Deny,
    /// Admission warns, or no policy is installed.
    Off,
}

/// A Deployment.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct DeploymentView {
    /// Its name.
    pub name: DeploymentName,
    /// Its UID.
    pub uid: Uid,
    /// Its resource version.
    pub resource_version: String,
    /// `metadata.generation`.
    pub generation: i64,
    /// `status.observedGeneration`.
    pub observed_generation: i64,
    /// True once it is being deleted.
    pub deleting: bool,
    /// Value of the claim label.
    pub claim: Option<Uid>,
    /// Whether the window label is on it.
    pub window: bool,
    /// `spec.replicas`.
    pub replicas: i32,
    /// `spec.selector`, labels and expressions.
    pub selector: Selector,
    /// `spec.template`.
    pub template: Template,
    /// `spec.minReadySeconds`.
    pub min_ready_seconds: Option<i32>,
    /// `spec.progressDeadlineSeconds`.
    pub progress_deadline_seconds: Option<i32>,
    /// `spec.strategy`.
    pub strategy: Option<Strategy>,
    /// `spec.paused`.
    pub paused: Option<bool>,
    /// `status.replicas`.
    pub status_replicas: i32,
    /// `status.updatedReplicas`.
    pub updated_replicas: i32,
    /// `status.readyReplicas`.
    pub ready_replicas: i32,
    /// `status.availableReplicas`.
    pub available_replicas: i32,
    /// Message of the condition Progressing when that is False.
    pub not_progressing: Option<String>,
    /// Field managers, other than ours, that set a field which the window uses.
    pub hold_managers: BTreeSet<String>,
    /// Its ReplicaSets.
    pub replica_sets: Vec<ReplicaSetView>,
}

/// A ReplicaSet of a Deployment.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct ReplicaSetView {
    /// Its name.
    pub name: String,
    /// Its UID.
    pub uid: Uid,
    /// Its resource version.
    pub resource_version: String,
    /// Its `pod-template-hash`.
    pub hash: TemplateHash,
    /// Digest of its pod template.
    pub template_digest: TemplateDigest,
    /// Its pod template; kept only while it wants pods.
    pub template: Option<Template>,
    /// `spec.replicas`.
    pub wanted: i32,
    /// `spec.minReadySeconds`.
    pub min_ready_seconds: Option<i32>,
    /// `metadata.generation`.
    pub generation: i64,
    /// `status.observedGeneration`.
    pub observed_generation: i64,
    /// `status.replicas`.
    pub replicas: i32,
    /// `status.readyReplicas`.
    pub ready: i32,
    /// `status.availableReplicas`.
    pub available: i32,
    /// Message of the condition `ReplicaFailure` when that is True, such as an exceeded quota.
    pub failure: Option<String>,
}

/// A Service and its endpoints.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct ServiceView {
    /// Its name.
    pub name: ServiceName,
    /// Its UID.
    pub uid: Uid,
    /// Its resource version.
    pub resource_version: String,
    /// Value of the claim label.
    pub claim: Option<Uid>,
    /// Whether the window label is on it.
    pub window: bool,
    /// `spec.selector`; empty for a Service without one.
    pub selector: BTreeMap<String, String>,
    /// Target ports that are names.
    pub named_ports: Vec<String>,
    /// Names of the pods behind its ready endpoints.
    pub ready_pods: BTreeSet<String>,
}

/// A workload pod that is not ready, with the pod's own words.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct PodTrouble {
    /// Name of the pod.
    pub pod: String,
    /// Its `pod-template-hash`.
    pub hash: TemplateHash,
    /// Reason and message.
    pub trouble: String,
}

/// Facts read from the search engine in one go.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct SearchFacts {
    /// Product and version, such as `opensearch 2.19.1`.
    pub engine: String,
    /// Why this version cannot be used.
    pub unsupported: Option<String>,
    /// What each name that was asked for stands for; a name that is absent here stands for nothing.
    pub names: BTreeMap<AliasName, NameView>,
    /// Indices that were asked for by name.
    pub indices: BTreeMap<IndexName, IndexView>,
}

/// What a name stands for in the search engine.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum NameView {
    /// An alias on these indices.
    Alias(Vec<IndexName>),
    /// An index of that name itself.
    Index,
}

impl NameView {
    /// Where a name stands, as a sentence says it; `None` is a name that stands for nothing.
    pub fn place(view: Option<&Self>) -> String {
        match view {
            None => "nothing".to_owned(),
            Some(Self::Index) => "an index of its own name".to_owned(),
            Some(Self::Alias(indices)) => and(indices),
        }
    }
}

/// An index.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct IndexView {
    /// Its UUID.
    pub uuid: IndexUuid,
    /// Documents, where counts were asked for.
    pub documents: i64,
    /// Names of all aliases on it.
    pub aliases: BTreeSet<AliasName>,
    /// Its health is red, or it refuses writes: why.
    pub trouble: Option<String>,
}

impl SearchFacts {
    /// The one index behind a name; none where there is none or several.
    pub fn resolve(&self, name: &AliasName) -> Option<(&IndexName, &IndexView)> {
        match self.names.get(name)? {
            NameView::Alias(indices) => match indices.as_slice() {
                [only] => self.indices.get_key_value(only),
                _ => None,
            },
            NameView::Index => self.indices.get_key_value(&name.as_str().into()),
        }
    }
}

impl DeploymentView {
    /// Whether no rollout is under way: the status is current and one ReplicaSet at most wants pods.
    pub fn at_rest(&self) -> bool {
        self.observed_generation >= self.generation
            && self.active().count() <= 1
            && self.active().all(|set| set.observed_generation >= set.generation)
            && self
                .active()
                .all(|set| set.template_digest == *self.template.digest())
    }

    /// Its ReplicaSets that want pods.
    pub fn active(&self) -> impl Iterator<Item = &ReplicaSetView> {
        self.replica_sets.iter().filter(|set| set.wanted > 0)
    }

    /// The ReplicaSet of a template.
    pub fn by_template(&self, digest: &TemplateDigest) -> Option<&ReplicaSetView> {
        self.replica_sets
            .iter()
            .find(|set| set.template_digest == *digest)
    }
}

impl ReplicaSetView {
    /// Whether its status is that of its newest spec.
    pub fn current(&self) -> bool {
        self.observed_generation >= self.generation
    }

    /// Whether a pod of this name is one of its pods: pods are named after their ReplicaSet, whose name is
    /// cut to 58 characters for that (`maxGeneratedNameLength` in apiserver/pkg/storage/names).
    pub fn owns(&self, pod: &str) -> bool {
        let prefix: String = format!("{}-", self.name).chars().take(58).collect();
        pod.len() == prefix.len() + 5 && pod.starts_with(&prefix)
    }

    /// Its pods behind a Service.
    pub fn ready_behind(&self, service: &ServiceView) -> usize {
        service.ready_pods.iter().filter(|pod| self.owns(pod)).count()
    }
}

impl ServiceView {
    /// Whether it selects pods with these labels, the pin left aside.
    pub fn selects(&self, labels: &BTreeMap<String, String>) -> bool {
        let mut keys = self
            .selector
            .iter()
            .filter(|(key, _)| *key != slipway_crds::names::POD_TEMPLATE_HASH);
        !self.selector.is_empty() && keys.all(|(key, value)| labels.get(key) == Some(value))
    }

    /// The hash that it is pinned to.
    pub fn pin(&self) -> Option<TemplateHash> {
        let pin = self.selector.get(slipway_crds::names::POD_TEMPLATE_HASH)?;
        Some(pin.as_str().into())
    }
}
