//! Carrying out what a request asks for.

use std::{sync::Arc, time::Duration};

use serde_json::{Value, json};
use slipway_kubernetes::{
    fields,
    kind::Kind,
    models::disruption,
    refusal::Refusal,
    store::{Caller, DeleteOptions, Key, Part, Patch, selector::Selector},
};
use tokio::time::Instant;

use super::{
    Answer,
    faults::Fault,
    route::{Asked, Route},
    unknown_path,
    watching::{self, Watching},
};
use crate::cluster::{self, Cluster, Shared};

/// Serves one request.
pub(super) fn serve(
    shared: &Shared,
    caller: &Caller,
    asked: &Asked,
    route: &Route,
    fault: Option<&Fault>,
) -> Result<Answer, Refusal> {
    let mut cluster = cluster::lock(shared);
    match (route, asked.verb()) {
        (Route::Version, "get") => {
            let version = json!({"major": "1", "minor": "34", "gitVersion": "v1.34.4", "gitCommit": "", "gitTreeState": "",
                "buildDate": "", "goVersion": "", "compiler": "", "platform": ""});
            Ok(Answer::document(200, version))
        }
        (Route::Resources(group, version), "get") => Ok(Answer::document(200, resources(group, version))),
        (Route::Collection(kind, namespace), "watch") => {
            let fault = match fault {
                Some(Fault::Watch(fault)) => Some(*fault),
                _ => None,
            };
            let watching = watch(shared, &mut cluster, caller, asked, *kind, namespace.as_ref())?;
            Ok(Answer::Stream(Box::new(Watching { fault, ..watching })))
        }
        (Route::Collection(kind, namespace), "list") => {
            list(&cluster, asked, *kind, namespace.as_deref()).map(|list| Answer::document(200, list))
        }
        (Route::Collection(kind, namespace), "create") => {
            let namespace = namespace.as_deref().unwrap_or_default();
            check_kind(*kind, &asked.body)?;
            let object = cluster
                .store
                .create(caller, *kind, namespace, Value::clone(&asked.body))?;
            Ok(Answer::document(201, shown(&object, asked.metadata_only)))
        }
        (Route::Collection(kind, namespace), "deletecollection") => {
            delete_all(&mut cluster, caller, asked, *kind, namespace.as_deref())
        }
        (Route::Object(key, subresource), _) => object(&mut cluster, caller, asked, key, subresource),
        _ => Err(Refusal::plain(
            405,
            "MethodNotAllowed",
            "the server does not allow this method on the requested resource",
        )),
    }
}

fn object(
    cluster: &mut Cluster,
    caller: &Caller,
    asked: &Asked,
    key: &Key,
    subresource: &str,
) -> Result<Answer, Refusal> {
    let part = match subresource {
        "" => Part::Main,
        "status" if key.kind.traits().status => Part::Status,
        "scale" if matches!(key.kind, Kind::Deployment | Kind::ReplicaSet) => {
            return scale(cluster, caller, asked, key);
        }
        "log" if key.kind == Kind::Pod => {
            let pod = read(cluster, key)?;
            return Ok(Answer::Text(fields::annotation(&pod, "simulator/log").to_owned()));
        }
        "eviction" if key.kind == Kind::Pod && asked.verb() == "create" => {
            disruption::evict(cluster, caller, key)?;
            let done = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201});
            return Ok(Answer::document(201, done));
        }
        _ => return Err(unknown_path()),
    };
    let object = match asked.verb() {
        "get" => read(cluster, key)?,
        "update" => {
            check_kind(key.kind, &asked.body)?;
            let code = if cluster.store.get(key).is_none() {
                201
            } else {
                200
            };
            let object = cluster
                .store
                .replace(caller, key, Value::clone(&asked.body), part)?;
            return Ok(Answer::document(code, shown(&object, asked.metadata_only)));
        }
        "patch" => {
            let new = cluster.store.get(key).is_none();
            let object = cluster.store.patch(caller, key, &patch(asked, key.kind)?, part)?;
            let code = if new { 201 } else { 200 };
            return Ok(Answer::document(code, shown(&object, asked.metadata_only)));
        }
        "delete" if part == Part::Main => {
            let options = DeleteOptions::parse(&asked.body);
            let (object, gone) = cluster.store.delete(caller, key, &options)?;
            return Ok(Answer::document(
                200,
                deleted(key, &object, gone, asked.metadata_only),
            ));
        }
        _ => return Err(unknown_path()),
    };
    Ok(Answer::document(200, shown(&object, asked.metadata_only)))
}

fn read(cluster: &Cluster, key: &Key) -> Result<Arc<Value>, Refusal> {
    cluster
        .store
        .get(key)
        .cloned()
        .ok_or_else(|| Refusal::not_found(key.kind, &key.name))
}

/// The answer to a deletion: the object itself while it is still there, and for the few kinds that return
/// it; else a short success.
fn deleted(key: &Key, object: &Arc<Value>, gone: bool, metadata_only: bool) -> Arc<Value> {
    if !gone
        || matches!(
            key.kind,
            Kind::Pod | Kind::Service | Kind::PersistentVolumeClaim | Kind::ServiceAccount
        )
    {
        return shown(object, metadata_only);
    }
    let known = key.kind.traits();
    let mut details = json!({"name": key.name, "kind": known.resource, "uid": fields::uid(object)});
    if !known.group.is_empty() {
        details["group"] = known.group.into();
    }
    Arc::new(
        json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details}),
    )
}

fn patch(asked: &Asked, kind: Kind) -> Result<Patch, Refusal> {
    let body = Value::clone(&asked.body);
    match asked.content_type.as_str() {
        "application/merge-patch+json" => Ok(Patch::Merge(body)),
        "application/strategic-merge-patch+json" if kind != Kind::Release => Ok(Patch::Strategic(body)),
        "application/json-patch+json" => Ok(Patch::Json(body)),
        "application/apply-patch+yaml" if asked.parameter("fieldManager").is_empty() => {
            Err(Refusal::bad_request(
                "PatchOptions.meta.k8s.io \"\" is invalid: fieldManager: Required value: is required for apply patch",
            ))
        }
        "application/apply-patch+yaml" => Ok(Patch::Apply {
            body,
            force: asked.flag("force"),
        }),
        other => {
            let message = format!(
                "the body of the request was in an unknown format - accepted media types do not include: {other}"
            );
            Err(Refusal::plain(415, "UnsupportedMediaType", message))
        }
    }
}

/// A body must be of the kind that its URL names, if it names one at all.
fn check_kind(kind: Kind, body: &Value) -> Result<(), Refusal> {
    let named = fields::text(body, "/kind");
    if body.is_object() && (named.is_empty() || named == kind.traits().kind) {
        return Ok(());
    }
    let why = format!(
        "the object provided is unrecognized (must be of type {})",
        kind.traits().kind
    );
    Err(Refusal::bad_request(why))
}

fn selector(asked: &Asked, kind: Kind) -> Result<Selector, Refusal> {
    Selector::parse(
        kind,
        asked.parameter("labelSelector"),
        asked.parameter("fieldSelector"),
    )
}

fn list(cluster: &Cluster, asked: &Asked, kind: Kind, namespace: Option<&str>) -> Result<Value, Refusal> {
    let selector = selector(asked, kind)?;
    let found = cluster
        .store
        .list(kind, namespace)
        .filter(|(_, object)| selector.matches(object));
    let item = |object: &Arc<Value>| {
        let mut item = Value::clone(&shown(object, asked.metadata_only));
        // Lists of built-in kinds do not repeat the kind with each item.
        if kind != Kind::Release && !asked.metadata_only {
            fields::remove(&mut item, "/kind");
            fields::remove(&mut item, "/apiVersion");
        }
        item
    };
    let items: Vec<_> = found.map(|(_, object)| item(object)).collect();
    let items = if items.is_empty() && asked.metadata_only {
        Value::Null
    } else {
        json!(items)
    };
    let (api_version, name) = if asked.metadata_only {
        (
            "meta.k8s.io/v1".to_owned(),
            "PartialObjectMetadataList".to_owned(),
        )
    } else {
        (kind.api_version(), format!("{}List", kind.traits().kind))
    };
    let version = cluster.store.version().to_string();
    Ok(
        json!({"kind": name, "apiVersion": api_version, "metadata": {"resourceVersion": version}, "items": items}),
    )
}

fn watch(
    shared: &Shared,
    cluster: &mut Cluster,
    caller: &Caller,
    asked: &Asked,
    kind: Kind,
    namespace: Option<&String>,
) -> Result<Watching, Refusal> {
    let selector = selector(asked, kind)?;
    if asked.flag("sendInitialEvents") && asked.parameter("resourceVersionMatch") != "NotOlderThan" {
        return Err(Refusal::vague_beginning());
    }
    let asked_version = asked.parameter("resourceVersion");
    let initial = asked.flag("sendInitialEvents") || matches!(asked_version, "" | "0");
    let mut backlog = Vec::new();
    let mut position = asked_version.parse().unwrap_or_default();
    if initial {
        position = cluster.store.version();
        let found = cluster.store.list(kind, namespace.map(String::as_str));
        let found = found.filter(|(_, object)| selector.matches(object));
        backlog.extend(found.map(|(_, object)| watching::line("ADDED", &shown(object, asked.metadata_only))));
        if asked.flag("sendInitialEvents") {
            backlog.push(watching::bookmark(
                kind,
                position,
                json!({"k8s.io/initial-events-end": "true"}),
            ));
        }
        backlog.reverse();
    }
    let seconds = asked.parameter("timeoutSeconds").parse().unwrap_or(1800);
    let end = Instant::now() + Duration::from_secs(seconds);
    Ok(Watching {
        cluster: Arc::clone(shared),
        actor: Arc::clone(&caller.actor),
        kind,
        namespace: namespace.cloned(),
        selector,
        metadata_only: asked.metadata_only,
        fault: None,
        pause: cluster.faults.pause(&caller.actor),
        position,
        known: false,
        backlog,
        bookmarks: asked.flag("allowWatchBookmarks"),
        next_bookmark: watching::next_bookmark(end),
        end,
        signal: cluster.subscribe_to(kind),
        sent: 0,
        over: false,
    })
}

fn delete_all(
    cluster: &mut Cluster,
    caller: &Caller,
    asked: &Asked,
    kind: Kind,
    namespace: Option<&str>,
) -> Result<Answer, Refusal> {
    let selector = selector(asked, kind)?;
    let found = cluster
        .store
        .list(kind, namespace)
        .filter(|(_, object)| selector.matches(object));
    let keys: Vec<_> = found.map(|(key, _)| key.clone()).collect();
    let options = DeleteOptions::parse(&asked.body);
    let before = list(cluster, asked, kind, namespace)?;
    for key in keys {
        cluster.store.delete(caller, &key, &options)?;
    }
    Ok(Answer::document(200, before))
}

/// The scale subresource.
fn scale(cluster: &mut Cluster, caller: &Caller, asked: &Asked, key: &Key) -> Result<Answer, Refusal> {
    let mut object = read(cluster, key)?;
    let mut shown = scale_of(&object);
    match asked.verb() {
        "get" => return Ok(Answer::document(200, shown)),
        "update" => shown = Value::clone(&asked.body),
        "patch" => match patch(asked, key.kind)? {
            Patch::Merge(change) | Patch::Strategic(change) => {
                for pointer in ["/spec/replicas", "/metadata/resourceVersion"] {
                    if let Some(value) = change.pointer(pointer) {
                        fields::set(&mut shown, pointer, value.clone());
                    }
                }
            }
            Patch::Json(_) | Patch::Apply { .. } => return Err(unknown_path()),
        },
        _ => return Err(unknown_path()),
    }
    let version = fields::text(&shown, "/metadata/resourceVersion");
    if !version.is_empty() && version != fields::text(&object, "/metadata/resourceVersion") {
        return Err(Refusal::stale(key.kind, &key.name));
    }
    let wanted = fields::count(&shown, "/spec/replicas");
    object = cluster.store.modify(caller, key, Part::Main, |object| {
        fields::set(object, "/spec/replicas", wanted);
    })?;
    Ok(Answer::document(200, scale_of(&object)))
}

fn scale_of(object: &Value) -> Value {
    let metadata = |name: &str| fields::text(object, &format!("/metadata/{name}")).to_owned();
    let labels = fields::map(object, "/spec/selector/matchLabels")
        .into_iter()
        .flatten();
    let selector: Vec<_> = labels
        .map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default()))
        .collect();
    let mut scale = json!({
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": {
            "name": metadata("name"),
            "namespace": metadata("namespace"),
            "uid": metadata("uid"),
            "resourceVersion": metadata("resourceVersion"),
            "creationTimestamp": metadata("creationTimestamp"),
        },
        "spec": {},
        "status": {"replicas": fields::count(object, "/status/replicas"), "selector": selector.join(",")},
    });
    fields::set_count(
        &mut scale,
        "/spec/replicas",
        fields::count(object, "/spec/replicas"),
    );
    scale
}

/// An object as the client asked to see it.
pub(super) fn shown(object: &Arc<Value>, metadata_only: bool) -> Arc<Value> {
    if metadata_only {
        let metadata = &object["metadata"];
        Arc::new(
            json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": metadata}),
        )
    } else {
        Arc::clone(object)
    }
}

fn resources(group: &str, version: &str) -> Value {
    let known = Kind::ALL.into_iter().map(|kind| (kind, kind.traits()));
    let verbs = [
        "create",
        "delete",
        "deletecollection",
        "get",
        "list",
        "patch",
        "update",
        "watch",
    ];
    let found: Vec<_> = known
        .filter(|(_, known)| known.group == group && known.version == version)
        .map(|(_, known)| {
            json!({"name": known.resource, "singularName": known.kind.to_lowercase(), "namespaced": known.namespaced,
                "kind": known.kind, "verbs": verbs})
        })
        .collect();
    let group_version = if group.is_empty() {
        version.to_owned()
    } else {
        format!("{group}/{version}")
    };
    json!({"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": group_version, "resources": found})
}
