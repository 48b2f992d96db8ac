//! Live reads: what Preflight wants to know, why pods do not get ready, and fresh eyes right before what
//! cannot be taken back.

use std::collections::BTreeMap;

use k8s_openapi::api::{
    apps::v1::ReplicaSet,
    autoscaling::v2::HorizontalPodAutoscaler,
    batch::v1::Job,
    core::v1::{PersistentVolumeClaim, Pod},
};
use kube::{
    Api, Resource, ResourceExt as _,
    api::ListParams,
    core::{DynamicObject, Selector},
    discovery::ApiResource,
};
use slipway_crds::{
    names,
    v1alpha1::status::{StepName, TaskOutcome},
};
use slipway_engine::{
    Decision, Effect, Intent, Observed, Progress, classify,
    decision::{Patch, Purpose},
    observed::{PodTrouble, PreflightFacts},
};

use crate::{
    cache::{Key, Source},
    context::Context,
    watch::{enter_job, enter_replica_set, enter_task_pod},
};

/// The API of a kind as JSON objects, so that no field is lost.
pub fn dynamic<K: Resource<DynamicType = ()>>(context: &Context, namespace: &str) -> Api<DynamicObject> {
    Api::namespaced_with(context.client.clone(), namespace, &ApiResource::erase::<K>(&()))
}

/// The volume claims that the pods of a Release mount.
pub fn volume_claims(intent: &Intent, observed: &Observed) -> Vec<String> {
    let workloads = intent.wanted.iter().flat_map(|plan| &plan.workloads);
    workloads
        .filter_map(|workload| observed.deployments.get(&workload.deployment))
        .flat_map(|deployment| deployment.template.volume_claims())
        .collect()
}

/// What kind these claims are, and autoscalers that bear on a release. What cannot be read stays unknown.
pub async fn preflight(context: &Context, namespace: &str, claims: &[String]) -> PreflightFacts {
    let volume_claims = if claims.is_empty() {
        Some(BTreeMap::new())
    } else {
        let api: Api<PersistentVolumeClaim> = Api::namespaced(context.client.clone(), namespace);
        let list = api.list(&ListParams::default()).await;
        list.ok().map(|list| {
            let modes = |claim: &PersistentVolumeClaim| {
                claim.spec.as_ref().and_then(|spec| spec.access_modes.clone())
            };
            list.items
                .iter()
                .map(|claim| (claim.name_any(), modes(claim).unwrap_or_default()))
                .collect()
        })
    };
    let api: Api<HorizontalPodAutoscaler> = Api::namespaced(context.client.clone(), namespace);
    let runaway = api
        .list(&ListParams::default())
        .await
        .map(|list| list.items.iter().filter_map(runaway).collect());
    PreflightFacts {
        volume_claims,
        runaway_autoscalers: runaway.unwrap_or_default(),
    }
}

/// The Deployment that an autoscaler scales by a metric of type Value, and the autoscaler's name.
fn runaway(autoscaler: &HorizontalPodAutoscaler) -> Option<(String, String)> {
    let spec = autoscaler.spec.as_ref()?;
    let metrics = spec.metrics.iter().flatten();
    let targets = metrics.filter_map(|metric| {
        let external = metric.external.as_ref().map(|external| &external.target);
        external.or_else(|| metric.object.as_ref().map(|object| &object.target))
    });
    let by_value = targets.into_iter().any(|target| target.type_ == "Value");
    (by_value && spec.scale_target_ref.kind == "Deployment")
        .then(|| (spec.scale_target_ref.name.clone(), autoscaler.name_any()))
}

/// Why pods of a workload are not ready.
pub async fn pod_troubles(context: &Context, namespace: &str, selector: &Selector) -> Vec<PodTrouble> {
    let list = dynamic::<Pod>(context, namespace)
        .list(&ListParams::default().labels_from(selector))
        .await;
    let pods = list.map(|list| list.items).unwrap_or_default();
    pods.iter()
        .filter_map(|pod| serde_json::to_value(pod).ok())
        .filter_map(|pod| classify::pod_trouble(&pod))
        .collect()
}

/// What has to be looked at again before an effect that cannot be taken back.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Fresh {
    /// A ReplicaSet, by name: the side that is to have the traffic, or to be kept.
    ReplicaSet(String),
    /// The task pods of this Release: none of an earlier attempt may be alive.
    TaskPods,
    /// A Job, by name.
    Job(String),
}

/// What has to be looked at again before a decision is committed and its effects are carried out.
pub fn wanted(committed: &Progress, decision: &Decision, observed: &Observed) -> Vec<Fresh> {
    let effects = decision.effects.iter();
    let mut wanted: Vec<Fresh> = effects
        .flat_map(|effect| fresh(effect, committed, observed))
        .collect();
    for job in doubted(committed, decision) {
        wanted.extend([Fresh::TaskPods, Fresh::Job(job)]);
    }
    // From the end of Watch on there is no way back.
    if decision.progress.passed(StepName::Watch) && !committed.passed(StepName::Watch) {
        wanted.extend(new_sides(committed, observed).map(Fresh::ReplicaSet));
    }
    wanted.sort();
    wanted.dedup();
    wanted
}

/// Jobs of tasks that are about to be given up as unknown, which only a person can take back: a watch that lags
/// is no reason for that.
fn doubted(committed: &Progress, decision: &Decision) -> impl Iterator<Item = String> {
    let open: Vec<&String> = committed.open_tasks().map(|task| &task.job).collect();
    let tasks = decision.progress.status.tasks.iter();
    tasks
        .filter(move |task| task.outcome == Some(TaskOutcome::Unknown) && open.contains(&&task.job))
        .map(|task| task.job.clone())
}

/// The ReplicaSets of the sides that have the traffic after the cutover.
fn new_sides(committed: &Progress, observed: &Observed) -> impl Iterator<Item = String> {
    let workloads = committed.status.workloads.iter();
    let uids = workloads.filter_map(|workload| workload.new.as_ref()?.uid.as_ref());
    let sets = observed
        .deployments
        .values()
        .flat_map(|deployment| &deployment.replica_sets);
    let sets: Vec<_> = sets.collect();
    uids.filter_map(move |uid| {
        sets.iter()
            .find(|set| set.uid == *uid)
            .map(|set| set.name.clone())
    })
}

fn fresh(effect: &Effect, committed: &Progress, observed: &Observed) -> Vec<Fresh> {
    match effect {
        Effect::Patch(patch) if patch.purpose == Purpose::Start => vec![Fresh::TaskPods],
        // The side that is kept in Retire was read at the end of Watch.
        Effect::Patch(patch) if patch.purpose == Purpose::Settle && committed.passed(StepName::Watch) => {
            Vec::new()
        }
        Effect::Patch(patch) => side(patch, observed).map(Fresh::ReplicaSet).into_iter().collect(),
        // A Job is made suspended. The engine is asked again in every look, and compares before it sets.
        Effect::CreateJob { .. }
        | Effect::DeleteJob { .. }
        | Effect::MoveAlias { .. }
        | Effect::DeleteIndex { .. } => Vec::new(),
    }
}

/// The ReplicaSet that a patch gives the traffic to, or keeps.
fn side(patch: &Patch, observed: &Observed) -> Option<String> {
    let mut sets = observed
        .deployments
        .values()
        .flat_map(|deployment| &deployment.replica_sets);
    match patch.purpose {
        Purpose::Flip | Purpose::FlipBack => {
            let hash = patch
                .body
                .pointer("/spec/selector")?
                .get(names::POD_TEMPLATE_HASH)?
                .as_str()?;
            sets.find(|set| set.hash == hash).map(|set| set.name.clone())
        }
        Purpose::Settle => {
            let deployment = observed.deployments.get(&patch.name)?;
            let patched =
                slipway_engine::template::merged(&deployment.template, patch.body.pointer("/spec/template"));
            deployment
                .by_template(patched.digest())
                .map(|set| set.name.clone())
        }
        Purpose::Guard
        | Purpose::LetGo
        | Purpose::Claim
        | Purpose::Unclaim
        | Purpose::Open
        | Purpose::Pin
        | Purpose::Hold
        | Purpose::Lock
        | Purpose::Bolt
        | Purpose::Unbolt
        | Purpose::Repair
        | Purpose::Unpin
        | Purpose::Close
        | Purpose::Roll
        | Purpose::Start
        | Purpose::FreePod => None,
    }
}

/// Reads again, into the caches. That an object is gone is for its watch to tell: where the two differ the look
/// fails, and the next one may know more.
pub async fn refresh(context: &Context, intent: &Intent, wanted: &[Fresh]) -> kube::Result<()> {
    let namespace = intent.meta.namespace.as_str();
    for fresh in wanted {
        match fresh {
            Fresh::ReplicaSet(name) => {
                let set = dynamic::<ReplicaSet>(context, namespace).get(name).await?;
                enter_replica_set(&context.caches, &set, Source::Answer);
            }
            Fresh::Job(name) => {
                let known = context.caches.jobs.get(&Key::new(namespace, name)).is_some();
                let jobs = dynamic::<Job>(context, namespace);
                let job = if known {
                    Some(jobs.get(name).await?)
                } else {
                    jobs.get_opt(name).await?
                };
                if let Some(job) = job {
                    enter_job(&context.caches, &job, Source::Answer);
                }
            }
            Fresh::TaskPods => {
                let labels = format!("{}={}", names::RELEASE_UID, intent.meta.uid);
                let list = dynamic::<Pod>(context, namespace)
                    .list(&ListParams::default().labels(&labels))
                    .await?;
                for pod in &list.items {
                    enter_task_pod(&context.caches, pod, Source::Answer);
                }
            }
        }
    }
    Ok(())
}
