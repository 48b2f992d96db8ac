//! All reads: from the caches, and live where a decision needs it. A read that fails is a fact of its own,
//! `Unknown`, and no error.

pub mod live;
mod search;

pub(crate) use search::client as search_client;

use std::collections::{BTreeMap, BTreeSet};

use slipway_engine::{
    Intent, Needs, Observed, Progress,
    observed::{DeploymentView, JobView, SearchView, ServiceView},
};

use crate::{cache::Key, context::Context};

/// Looks at everything that a decision wants to know.
pub async fn observe(context: &Context, intent: &Intent, committed: &Progress, needs: &Needs) -> Observed {
    let mut observed = cached(context, intent, committed);
    if let Some(question) = &needs.search {
        observed.search = search::ask(context, &intent.meta.namespace, question).await;
    } else {
        observed.search = SearchView::NotRead;
    }
    if needs.preflight {
        let key = Key::new(intent.meta.namespace.clone(), intent.meta.name.clone());
        let claims = live::volume_claims(intent, &observed);
        observed.preflight = if let Some(known) = context.preflight(&key, &claims) {
            known
        } else {
            let facts = live::preflight(context, &key.namespace, &claims).await;
            context.keep_preflight(key, claims, facts.clone());
            facts
        };
    }
    for name in &needs.pod_troubles {
        if let Some(deployment) = observed.deployments.get(name) {
            let selector = deployment.selector.clone();
            observed
                .pod_troubles
                .extend(live::pod_troubles(context, &intent.meta.namespace, &selector).await);
        }
    }
    observed
}

/// What the caches hold of a Release's namespace.
pub fn cached(context: &Context, intent: &Intent, committed: &Progress) -> Observed {
    let namespace = intent.meta.namespace.as_str();
    let caches = &context.caches;
    let releases = caches.releases.namespace(namespace).into_iter();
    let task_pods = caches
        .task_pods
        .namespace(namespace)
        .into_iter()
        .map(|(_, pod)| pod);
    Observed {
        deployments: deployments(context, namespace),
        services: services(context, namespace),
        jobs: jobs(context, namespace, intent, committed),
        task_pods: task_pods
            .filter(|pod| pod.release_uid.as_ref() == Some(&intent.meta.uid))
            .collect(),
        releases: releases
            .filter_map(|(_, release)| release.metadata.uid.clone())
            .collect(),
        guard: context.guard,
        ..Observed::default()
    }
}

fn deployments(context: &Context, namespace: &str) -> BTreeMap<String, DeploymentView> {
    let mut deployments: BTreeMap<String, DeploymentView> = context
        .caches
        .deployments
        .namespace(namespace)
        .into_iter()
        .collect();
    for (_, set) in context.caches.replica_sets.namespace(namespace) {
        if let Some(deployment) = deployments.get_mut(&set.deployment)
            && deployment.uid == set.owner
        {
            deployment.replica_sets.push(set.view);
        }
    }
    deployments
}

fn services(context: &Context, namespace: &str) -> BTreeMap<String, ServiceView> {
    let known = context.caches.services.namespace(namespace);
    let mut services: BTreeMap<String, ServiceView> = known
        .into_iter()
        .map(|(name, service)| (name, service.view))
        .collect();
    for (_, slice) in context.caches.slices.namespace(namespace) {
        if let Some(service) = services.get_mut(&slice.service) {
            service.ready_pods.extend(slice.ready_pods);
        }
    }
    services
}

/// Jobs of this Release, and those of others that have a name which it uses.
fn jobs(
    context: &Context,
    namespace: &str,
    intent: &Intent,
    committed: &Progress,
) -> BTreeMap<String, JobView> {
    let names: BTreeSet<&String> = committed.status.tasks.iter().map(|task| &task.job).collect();
    let jobs = context.caches.jobs.namespace(namespace).into_iter();
    jobs.filter(|(name, job)| job.release_uid.as_ref() == Some(&intent.meta.uid) || names.contains(name))
        .collect()
}
