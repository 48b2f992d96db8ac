//! One conditional call for each effect. Nothing is decided here; what came back is entered in the caches.

use k8s_openapi::api::{
    apps::v1::{Deployment, ReplicaSet},
    batch::v1::Job,
    core::v1::{Pod, Service},
};
use kube::{
    Api,
    api::{DeleteParams, Patch as KubePatch, PatchParams, PostParams, Preconditions, PropagationPolicy},
    core::DynamicObject,
};
use serde_json::Value;
use slipway_crds::{AliasName, IndexName, names, v1alpha1::Release};
use slipway_engine::{
    Call, Effect,
    decision::{Kind, Patch},
};

use crate::{
    cache::{Key, Source},
    context::Context,
    observe::{live::dynamic, search_client},
    search::{AliasMove, Deletion, IndexRef, SearchClient, SearchError},
    watch::{enter_deployment, enter_job, enter_release, enter_replica_set, enter_service, enter_task_pod},
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
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Outcome {
    /// Carried out.
    Done,
    /// The object is not what it was when it was seen: why, in the words of the one who refused.
    Outdated(String),
}

impl Outcome {
    /// A word for logs and metrics.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Outdated(_) => "outdated",
        }
    }

    /// Why it was not carried out.
    pub fn cause(&self) -> Option<&str> {
        match self {
            Self::Done => None,
            Self::Outdated(why) => Some(why),
        }
    }
}

/// Carries out one effect.
pub async fn execute(context: &Context, namespace: &str, effect: &Effect) -> Result<Outcome, Error> {
    let (what, name) = (effect.word(), effect.call.name());
    let of_kubernetes = |source| Error::Kubernetes {
        what,
        name: name.to_owned(),
        source: Box::new(source),
    };
    let of_search = |source| Error::Search {
        what,
        name: name.to_owned(),
        source,
    };
    let connect = |url: &str| {
        search_client(context, namespace, url).map_err(|why| Error::NoSearch {
            what,
            name: name.to_owned(),
            why,
        })
    };
    match &effect.call {
        Call::Create { kind, name, body } => create(context, namespace, (*kind, name), body)
            .await
            .map_err(of_kubernetes),
        Call::Patch(order) => patch(context, namespace, order).await.map_err(of_kubernetes),
        Call::Delete {
            kind,
            name,
            uid,
            resource_version,
        } => {
            let preconditions = Preconditions {
                uid: Some(uid.to_string()),
                resource_version: resource_version.clone(),
            };
            delete(context, namespace, (*kind, name), preconditions)
                .await
                .map_err(of_kubernetes)
        }
        Call::MoveAlias {
            url,
            alias,
            from,
            to,
            to_uuid,
        } => {
            let client = connect(url)?;
            let target = IndexRef {
                name: to.as_str(),
                uuid: to_uuid.as_str(),
            };
            let moved = move_alias(
                &client,
                alias.as_str(),
                from.as_ref().map(IndexName::as_str),
                target,
            )
            .await;
            moved.map_err(of_search)
        }
        Call::DeleteIndex {
            url,
            own_alias,
            index,
            uuid,
        } => {
            let client = connect(url)?;
            let target = IndexRef {
                name: index.as_str(),
                uuid: uuid.as_str(),
            };
            let deleted = delete_index(&client, own_alias.as_ref().map(AliasName::as_str), target).await;
            deleted.map_err(of_search)
        }
    }
}

async fn move_alias(
    client: &SearchClient,
    alias: &str,
    from: Option<&str>,
    to: IndexRef<'_>,
) -> Result<Outcome, SearchError> {
    let root = client.root().await?;
    Ok(match client.move_alias(&root, alias, from, to).await? {
        AliasMove::Moved | AliasMove::AlreadyThere => Outcome::Done,
        AliasMove::Conflict(found) => Outcome::Outdated(format!("the alias is elsewhere: {found:?}")),
        AliasMove::TargetChanged => Outcome::Outdated(format!("{} is another index by now", to.name)),
    })
}

async fn delete_index(
    client: &SearchClient,
    own_alias: Option<&str>,
    index: IndexRef<'_>,
) -> Result<Outcome, SearchError> {
    let own: Vec<&str> = own_alias.into_iter().collect();
    Ok(match client.delete_index(index, &own).await? {
        Deletion::Deleted | Deletion::AlreadyGone => Outcome::Done,
        Deletion::Foreign => Outcome::Outdated(format!("{} is another index by now", index.name)),
        Deletion::HeldBy(aliases) => Outcome::Outdated(format!("other aliases hold it: {aliases:?}")),
    })
}

/// 409 and 404 say that the object is not what it was when it was seen.
fn outdated(error: kube::Error) -> kube::Result<Outcome> {
    if let kube::Error::Api(status) = &error
        && (status.is_conflict() || status.is_not_found())
    {
        return Ok(Outcome::Outdated(status.message.clone()));
    }
    Err(error)
}

/// The API of a kind, as JSON objects.
fn api(context: &Context, namespace: &str, kind: Kind) -> Api<DynamicObject> {
    match kind {
        Kind::Release => dynamic::<Release>(context, namespace),
        Kind::Deployment => dynamic::<Deployment>(context, namespace),
        Kind::ReplicaSet => dynamic::<ReplicaSet>(context, namespace),
        Kind::Service => dynamic::<Service>(context, namespace),
        Kind::Job => dynamic::<Job>(context, namespace),
        Kind::Pod => dynamic::<Pod>(context, namespace),
    }
}

/// Enters what an answer told.
fn enter(context: &Context, kind: Kind, object: &DynamicObject) {
    match kind {
        Kind::Release => enter_release(&context.caches, object, Source::Answer),
        Kind::Deployment => enter_deployment(&context.caches, object, Source::Answer),
        Kind::ReplicaSet => enter_replica_set(&context.caches, object, Source::Answer),
        Kind::Service => enter_service(&context.caches, object, Source::Answer),
        Kind::Job => enter_job(&context.caches, object, Source::Answer),
        Kind::Pod => enter_task_pod(&context.caches, object, Source::Answer),
    }
}

async fn patch(context: &Context, namespace: &str, order: &Patch) -> kube::Result<Outcome> {
    let parameters = PatchParams {
        field_manager: Some(names::FIELD_MANAGER.to_owned()),
        ..PatchParams::default()
    };
    let mut body = order.body.clone();
    // Another object of the same name is refused: its UID is immutable.
    if let Some(metadata) = body.pointer_mut("/metadata").and_then(Value::as_object_mut) {
        metadata.insert("uid".to_owned(), Value::from(order.uid.as_str()));
    }
    let answer = api(context, namespace, order.kind)
        .patch(&order.name, &parameters, &KubePatch::Merge(&body))
        .await;
    match answer {
        Ok(object) => {
            enter(context, order.kind, &object);
            Ok(Outcome::Done)
        }
        Err(error) => outdated(error),
    }
}

/// Create-only. An object that has the name already is entered in the cache: whether it is ours is not decided here.
async fn create(
    context: &Context,
    namespace: &str,
    (kind, name): (Kind, &str),
    body: &Value,
) -> kube::Result<Outcome> {
    let api = api(context, namespace, kind);
    let object: DynamicObject = serde_json::from_value(body.clone()).map_err(kube::Error::SerdeError)?;
    let parameters = PostParams {
        field_manager: Some(names::FIELD_MANAGER.to_owned()),
        ..PostParams::default()
    };
    match api.create(&parameters, &object).await {
        Ok(created) => {
            enter(context, kind, &created);
            Ok(Outcome::Done)
        }
        Err(kube::Error::Api(status)) if status.is_already_exists() => {
            if let Some(found) = api.get_opt(name).await? {
                enter(context, kind, &found);
            }
            Ok(Outcome::Outdated(status.message.clone()))
        }
        Err(error) => Err(error),
    }
}

/// In the background, with what it owns. Jobs alone are deleted.
async fn delete(
    context: &Context,
    namespace: &str,
    (kind, name): (Kind, &str),
    preconditions: Preconditions,
) -> kube::Result<Outcome> {
    let parameters = DeleteParams {
        propagation_policy: Some(PropagationPolicy::Background),
        preconditions: Some(preconditions),
        ..DeleteParams::default()
    };
    let key = Key::new(namespace, name);
    match api(context, namespace, kind).delete(name, &parameters).await {
        Ok(answer) => {
            answer
                .map_left(|object| enter(context, kind, &object))
                .map_right(|_| context.caches.jobs.forget(&key));
            context.caches.jobs.change(&key, |job| job.deleting = true);
            Ok(Outcome::Done)
        }
        Err(error) => {
            if matches!(&error, kube::Error::Api(status) if status.is_not_found()) {
                context.caches.jobs.forget(&key);
            }
            outdated(error)
        }
    }
}
