//! What a request asks for.

use std::{collections::BTreeMap, sync::Arc};

use http::{Method, header, request::Parts};
use serde_json::Value;
use slipway_kubernetes::{
    fields,
    kind::Kind,
    refusal::Refusal,
    store::{Caller, Key},
};

use super::unknown_path;

/// The place that a path names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Route {
    /// The server's version.
    Version,
    /// The resources of a group and version.
    Resources(String, String),
    /// All objects of a kind, of one namespace or of all.
    Collection(Kind, Option<String>),
    /// One object and, maybe, one of its subresources.
    Object(Key, String),
}

/// A request, read.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    pub(super) method: Method,
    pub(super) path: String,
    pub(super) route: Result<Route, Refusal>,
    pub(super) query: BTreeMap<String, String>,
    pub(super) content_type: String,
    pub(super) metadata_only: bool,
    pub(super) body: Arc<Value>,
    agent: String,
}

impl Asked {
    /// Reads a request. A body that is no JSON is null.
    pub(super) fn read(parts: &Parts, body: &[u8]) -> Self {
        let header = |name: header::HeaderName| {
            parts
                .headers
                .get(name)
                .and_then(|value| value.to_str().ok())
                .unwrap_or_default()
                .to_owned()
        };
        Self {
            method: parts.method.clone(),
            path: parts.uri.path().to_owned(),
            route: route(parts.uri.path()),
            query: parts.uri.query().map(pairs).unwrap_or_default(),
            content_type: header(header::CONTENT_TYPE),
            metadata_only: header(header::ACCEPT).contains("as=PartialObjectMetadata"),
            body: Arc::new(serde_json::from_slice(body).unwrap_or_default()),
            agent: header(header::USER_AGENT),
        }
    }

    /// The value of a query parameter; empty when it is absent.
    pub(super) fn parameter(&self, name: &str) -> &str {
        self.query.get(name).map(String::as_str).unwrap_or_default()
    }

    /// Whether a query parameter is true.
    pub(super) fn flag(&self, name: &str) -> bool {
        matches!(self.parameter(name), "true" | "1")
    }

    /// The verb as authorization and audit name it.
    pub(super) fn verb(&self) -> &'static str {
        let collection = matches!(self.route, Ok(Route::Collection(..)));
        match self.method.as_str() {
            "GET" if self.flag("watch") => "watch",
            "GET" if collection => "list",
            "POST" => "create",
            "PUT" => "update",
            "PATCH" => "patch",
            "DELETE" if collection => "deletecollection",
            "DELETE" => "delete",
            _ => "get",
        }
    }

    /// Who asks, as the store wants to know it.
    pub(super) fn caller(&self, actor: &Arc<str>) -> Caller {
        let manager = match (self.parameter("fieldManager"), self.agent.split('/').next()) {
            ("", Some("") | None) => actor.as_ref().to_owned(),
            ("", Some(agent)) => agent.to_owned(),
            (manager, _) => manager.to_owned(),
        };
        // A deletion that has a body takes all its options from there.
        let dry_run = if self.method == Method::DELETE && !self.body.is_null() {
            fields::list(&self.body, "/dryRun")
                .iter()
                .any(|stage| stage == "All")
        } else {
            self.parameter("dryRun") == "All"
        };
        Caller {
            actor: Arc::clone(actor),
            manager,
            dry_run,
        }
    }
}

fn route(path: &str) -> Result<Route, Refusal> {
    let parts: Vec<_> = path.split('/').filter(|part| !part.is_empty()).collect();
    let (group, version, rest) = match parts.as_slice() {
        ["version"] => return Ok(Route::Version),
        ["api", version, rest @ ..] => ("", *version, rest),
        ["apis", group, version, rest @ ..] => (*group, *version, rest),
        _ => return Err(unknown_path()),
    };
    let kind = |resource: &str| Kind::of_resource(group, version, resource).ok_or_else(unknown_path);
    let key = |resource: &str, namespace: &str, name: &str, sub: &str| {
        Ok(Route::Object(
            Key::new(kind(resource)?, namespace, name),
            sub.to_owned(),
        ))
    };
    match rest {
        [] => Ok(Route::Resources(group.to_owned(), version.to_owned())),
        ["namespaces", name] => key("namespaces", "", name, ""),
        ["namespaces", name, sub @ ("status" | "finalize")] => key("namespaces", "", name, sub),
        ["namespaces", namespace, resource] => {
            Ok(Route::Collection(kind(resource)?, Some((*namespace).to_owned())))
        }
        ["namespaces", namespace, resource, name] => key(resource, namespace, name, ""),
        ["namespaces", namespace, resource, name, sub] => key(resource, namespace, name, sub),
        [resource] => Ok(Route::Collection(kind(resource)?, None)),
        [resource, name] => key(resource, "", name, ""),
        [resource, name, sub] => key(resource, "", name, sub),
        _ => Err(unknown_path()),
    }
}

fn pairs(query: &str) -> BTreeMap<String, String> {
    query
        .split('&')
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .map(|(key, value)| (decode(key), decode(value)))
        .collect()
}

/// Undoes percent encoding and `+` for a space.
fn decode(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let digits: Vec<_> = rest.by_ref().take(2).collect();
                let digits = std::str::from_utf8(&digits).unwrap_or_default();
                u8::from_str_radix(digits, 16).unwrap_or(b'?')
            }
            plain => plain,
        });
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_name_places() {
        let object = |kind, namespace: &str, name: &str, sub: &str| {
            Ok(Route::Object(Key::new(kind, namespace, name), sub.to_owned()))
        };
        assert_eq!(
            route("/apis/apps/v1/namespaces/a/deployments/web/scale"),
            object(Kind::Deployment, "a", "web", "scale")
        );
        assert_eq!(
            route("/api/v1/namespaces/a"),
            object(Kind::Namespace, "", "a", "")
        );
        assert_eq!(route("/api/v1/pods"), Ok(Route::Collection(Kind::Pod, None)));
        assert_eq!(
            route("/api/v1/namespaces"),
            Ok(Route::Collection(Kind::Namespace, None))
        );
        assert_eq!(
            route("/apis/none/v1/things").map_err(|refusal| refusal.code),
            Err(404)
        );
        assert_eq!(decode("app%3Dweb%2Ctier+x"), "app=web,tier x");
    }
}
