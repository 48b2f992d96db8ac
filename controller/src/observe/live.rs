//! What is read again right before what cannot be taken back.

use std::collections::BTreeSet;

use k8s_openapi::api::{apps::v1::ReplicaSet, batch::v1::Job, core::v1::Pod};
use kube::{Api, Resource, api::ListParams, core::DynamicObject, discovery::ApiResource};
use slipway_crds::names;
use slipway_engine::{Intent, ReadAgain};

use crate::{
    cache::{Key, Source},
    context::Context,
    watch::{enter_job, enter_replica_set, enter_task_pod},
};

/// The API of a kind as JSON objects, so that no field is lost.
pub fn dynamic<K: Resource<DynamicType = ()>>(context: &Context, namespace: &str) -> Api<DynamicObject> {
    Api::namespaced_with(context.client.clone(), namespace, &ApiResource::erase::<K>(&()))
}

/// Reads again, into the caches. That an object is gone is for its watch to tell: where the two differ the read
/// fails, and the next pass may know more.
pub async fn read_again(
    context: &Context,
    intent: &Intent,
    objects: &BTreeSet<ReadAgain>,
) -> kube::Result<()> {
    let namespace = intent.meta.namespace.as_str();
    for object in objects {
        match object {
            ReadAgain::ReplicaSet(name) => {
                let set = dynamic::<ReplicaSet>(context, namespace).get(name).await?;
                enter_replica_set(&context.caches, &set, Source::Answer);
            }
            ReadAgain::Job(name) => {
                let name = name.as_str();
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
            ReadAgain::TaskPods => {
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
