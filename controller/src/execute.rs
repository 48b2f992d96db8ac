//! One conditional call for each effect. Nothing is decided here; what came back is entered in the caches.

use k8s_openapi::api::{
    apps::v1::{Deployment, ReplicaSet},
    batch::v1::Job,
    core::v1::{Pod, Service},
};
use kube::{
    Resource,
    api::{DeleteParams, Patch as KubePatch, PatchParams, PostParams, Preconditions, PropagationPolicy},
    core::DynamicObject,
};
use serde_json::Value;
use slipway_crds::{names, v1alpha1::Release};
use slipway_engine::{
    Effect,
    decision::{Kind, Patch},
};

use crate::{
    cache::{Key, Source},
    context::Context,
    observe::{live::dynamic, search_client},
    search::{AliasMove, Deletion, IndexRef, SearchError},
    watch::{enter_deployment, enter_job, enter_replica_set, enter_service, enter_task_pod},
};

/// Why an effect was not carried out.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Kubernetes refused or gave no answer.
    #[error("{what} of {name} was not carried out")]
    Kubernetes {
        /// The effect.
        what: &'static str,
        /// The object.
        name: String,
        /// Why.
        #[source]
        source: Box<kube::Error>,
    },
    /// The search engine refused or gave no answer.
    #[error("{what} of {name} was not carried out")]
    Search {
        /// The effect.
        what: &'static str,
        /// The index or alias.
        name: String,
        /// Why.
        #[source]
        source: SearchError,
    },
    /// There is no way to the search engine.
    #[error("{what} of {name} was not carried out: {why}")]
    NoSearch {
        /// The effect.
        what: &'static str,
        /// The index or alias.
        name: String,
        /// Why.
        why: String,
    },
}

/// What became of an effect.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Outcome {
    /// Carried out.
    Done,
    /// The object is not what it was when it was seen: look again.
    Outdated,
}

impl Outcome {
    /// A word for metrics.
    pub fn word(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Outdated => "outdated",
        }
    }
}

/// Carries out one effect.
pub async fn execute(context: &Context, namespace: &str, effect: &Effect) -> Result<Outcome, Error> {
    let what = effect.word();
    match effect {
        Effect::Patch(order) => patch(context, namespace, order)
            .await
            .map_err(|source| kubernetes(what, &order.name, source)),
        Effect::CreateJob { name, job } => create_job(context, namespace, name, job)
            .await
            .map_err(|source| kubernetes(what, name, source)),
        Effect::DeleteJob {
            name,
            uid,
            resource_version,
        } => delete_job(context, namespace, name, uid, resource_version.clone())
            .await
            .map_err(|source| kubernetes(what, name, source)),
        Effect::MoveAlias {
            url,
            alias,
            from,
            to,
            to_uuid,
        } => {
            let client = search_client(context, namespace, url).map_err(|why| no_search(what, alias, why))?;
            let target = IndexRef {
                name: to,
                uuid: to_uuid,
            };
            let moved = async {
                client
                    .move_alias(&client.root().await?, alias, from.as_deref(), target)
                    .await
            };
            match moved.await.map_err(|source| search(what, alias, source))? {
                AliasMove::Moved | AliasMove::AlreadyThere => Ok(Outcome::Done),
                AliasMove::Conflict(_) | AliasMove::TargetChanged => Ok(Outcome::Outdated),
            }
        }
        Effect::DeleteIndex {
            url,
            own_alias,
            index,
            uuid,
        } => {
            let client = search_client(context, namespace, url).map_err(|why| no_search(what, index, why))?;
            let own: Vec<&str> = own_alias.iter().map(String::as_str).collect();
            let deleted = client.delete_index(IndexRef { name: index, uuid }, &own).await;
            match deleted.map_err(|source| search(what, index, source))? {
                Deletion::Deleted | Deletion::AlreadyGone => Ok(Outcome::Done),
                Deletion::Foreign | Deletion::HeldBy(_) => Ok(Outcome::Outdated),
            }
        }
    }
}

fn kubernetes(what: &'static str, name: &str, source: kube::Error) -> Error {
    Error::Kubernetes {
        what,
        name: name.to_owned(),
        source: Box::new(source),
    }
}

fn search(what: &'static str, name: &str, source: SearchError) -> Error {
    Error::Search {
        what,
        name: name.to_owned(),
        source,
    }
}

fn no_search(what: &'static str, name: &str, why: String) -> Error {
    Error::NoSearch {
        what,
        name: name.to_owned(),
        why,
    }
}

/// 409 and 404 say that the object is not what it was when it was seen.
fn outdated(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.is_conflict() || status.is_not_found())
}

async fn patch(context: &Context, namespace: &str, order: &Patch) -> kube::Result<Outcome> {
    let answer = match order.kind {
        Kind::Release => send::<Release>(context, namespace, order).await,
        Kind::Deployment => send::<Deployment>(context, namespace, order).await,
        Kind::ReplicaSet => send::<ReplicaSet>(context, namespace, order).await,
        Kind::Service => send::<Service>(context, namespace, order).await,
        Kind::Job => send::<Job>(context, namespace, order).await,
        Kind::Pod => send::<Pod>(context, namespace, order).await,
    };
    let object = match answer {
        Ok(object) => object,
        Err(error) if outdated(&error) => return Ok(Outcome::Outdated),
        Err(error) => return Err(error),
    };
    match order.kind {
        Kind::Release => enter_release(context, &object),
        Kind::Deployment => enter_deployment(&context.caches, &object, Source::Answer),
        Kind::ReplicaSet => enter_replica_set(&context.caches, &object, Source::Answer),
        Kind::Service => enter_service(&context.caches, &object, Source::Answer),
        Kind::Job => enter_job(&context.caches, &object, Source::Answer),
        Kind::Pod => enter_task_pod(&context.caches, &object, Source::Answer),
    }
    Ok(Outcome::Done)
}

async fn send<K: Resource<DynamicType = ()>>(
    context: &Context,
    namespace: &str,
    order: &Patch,
) -> kube::Result<DynamicObject> {
    let parameters = PatchParams {
        field_manager: Some(names::FIELD_MANAGER.to_owned()),
        ..PatchParams::default()
    };
    let mut body = order.body.clone();
    // Another object of the same name is refused: its UID is immutable.
    if let Some(metadata) = body.pointer_mut("/metadata").and_then(Value::as_object_mut) {
        metadata.insert("uid".to_owned(), Value::from(order.uid.as_str()));
    }
    dynamic::<K>(context, namespace)
        .patch(&order.name, &parameters, &KubePatch::Merge(&body))
        .await
}

fn enter_release(context: &Context, object: &DynamicObject) {
    let release = serde_json::to_value(object).and_then(serde_json::from_value::<Release>);
    if let (Ok(release), Some(namespace), Some(name)) =
        (release, &object.metadata.namespace, &object.metadata.name)
    {
        let version = object.metadata.resource_version.as_deref().unwrap_or_default();
        context
            .caches
            .releases
            .apply(Key::new(namespace, name), version, release.into(), Source::Answer);
    }
}

/// Create-only. A Job that has the name already is entered in the cache: whether it is ours is not decided here.
async fn create_job(context: &Context, namespace: &str, name: &str, job: &Value) -> kube::Result<Outcome> {
    let api = dynamic::<Job>(context, namespace);
    let object: DynamicObject = serde_json::from_value(job.clone()).map_err(kube::Error::SerdeError)?;
    let parameters = PostParams {
        field_manager: Some(names::FIELD_MANAGER.to_owned()),
        ..PostParams::default()
    };
    match api.create(&parameters, &object).await {
        Ok(created) => {
            enter_job(&context.caches, &created, Source::Answer);
            Ok(Outcome::Done)
        }
        Err(kube::Error::Api(status)) if status.is_already_exists() => {
            if let Some(found) = api.get_opt(name).await? {
                enter_job(&context.caches, &found, Source::Answer);
            }
            Ok(Outcome::Outdated)
        }
        Err(error) => Err(error),
    }
}

async fn delete_job(
    context: &Context,
    namespace: &str,
    name: &str,
    uid: &str,
    resource_version: Option<String>,
) -> kube::Result<Outcome> {
    let parameters = DeleteParams {
        propagation_policy: Some(PropagationPolicy::Background),
        preconditions: Some(Preconditions {
            uid: Some(uid.to_owned()),
            resource_version,
        }),
        ..DeleteParams::default()
    };
    let key = Key::new(namespace, name);
    match dynamic::<Job>(context, namespace).delete(name, &parameters).await {
        Ok(answer) => {
            answer
                .map_left(|object| enter_job(&context.caches, &object, Source::Answer))
                .map_right(|_| context.caches.jobs.forget(&key));
            context.caches.jobs.change(&key, |job| job.deleting = true);
            Ok(Outcome::Done)
        }
        Err(error) if outdated(&error) => {
            if matches!(&error, kube::Error::Api(status) if status.is_not_found()) {
                context.caches.jobs.forget(&key);
            }
            Ok(Outcome::Outdated)
        }
        Err(error) => Err(error),
    }
}
