//! The fake API server against a real one: the same random requests, the same answers.
//!
//! No controller runs on either side. Names, versions and times that a server chooses are taken out of the answers
//! before they are compared.

mod requests;

use std::collections::BTreeMap;

use http::{Method, Request, header};
use http_body_util::BodyExt;
use kube::{Client, client::Body};
use serde_json::{Value, json};

pub use self::requests::{Version, Wish, wishes};
use super::{fields, kind::Kind};

/// What a server answered: the status, and the body without what servers choose.
pub type Answer = (u16, Value);

/// One server under test.
pub struct Side {
    client: Client,
    namespace: String,
    /// The versions and UIDs seen of each object, oldest first.
    seen: BTreeMap<(Kind, String), Vec<(String, String)>>,
}

impl Side {
    /// A server, with a fresh namespace of this name.
    pub async fn new(client: Client, namespace: &str) -> Result<Self, kube::Error> {
        let side = Self {
            client,
            namespace: namespace.to_owned(),
            seen: BTreeMap::new(),
        };
        let body = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}});
        side.exchange(&Method::POST, "/api/v1/namespaces", "application/json", &body)
            .await?;
        Ok(side)
    }

    /// Sends what is wished for and returns the answer.
    pub async fn ask(&mut self, wish: &Wish) -> Result<Answer, kube::Error> {
        let path = self.path(wish);
        let body = self.filled(wish);
        let (code, answer) = self
            .exchange(&wish.method, &path, wish.content_type, &body)
            .await?;
        let uid = fields::uid(&answer);
        if !uid.is_empty() && !wish.query.contains("dryRun") {
            let version = fields::text(&answer, "/metadata/resourceVersion").to_owned();
            let key = (wish.kind, fields::name(&answer).to_owned());
            self.seen.entry(key).or_default().push((version, uid.to_owned()));
        }
        Ok((code, self.comparable(answer)))
    }

    fn path(&self, wish: &Wish) -> String {
        let known = wish.kind.traits();
        let root = if known.group.is_empty() { "api" } else { "apis" };
        let (version, namespace) = (wish.kind.api_version(), &self.namespace);
        let mut path = format!("/{root}/{version}/namespaces/{namespace}/{}", known.resource);
        for part in [&wish.name, &wish.subresource]
            .into_iter()
            .filter(|part| !part.is_empty())
        {
            path = format!("{path}/{part}");
        }
        format!("{path}?{}", wish.query)
    }

    /// The body with the versions and UIDs of this side.
    fn filled(&self, wish: &Wish) -> Value {
        let mut body = wish.body.clone();
        let seen = self
            .seen
            .get(&(wish.kind, wish.target.clone()))
            .map(Vec::as_slice)
            .unwrap_or_default();
        let chosen = |version: Version| match version {
            Version::None => None,
            Version::Current => seen.last().cloned(),
            Version::Old => seen.first().cloned(),
            Version::Wrong => Some(("1".to_owned(), "00000000-0000-4000-8000-ffffffffffff".to_owned())),
        };
        let (version_at, uid_at) = if wish.method == Method::DELETE {
            ("/preconditions/resourceVersion", "/preconditions/uid")
        } else {
            ("/metadata/resourceVersion", "/metadata/uid")
        };
        if let Some((version, _)) = chosen(wish.version) {
            fields::set(&mut body, version_at, version);
        }
        if let Some((_, uid)) = chosen(wish.uid) {
            fields::set(&mut body, uid_at, uid);
        }
        body
    }

    async fn exchange(
        &self,
        method: &Method,
        path: &str,
        content_type: &str,
        body: &Value,
    ) -> Result<(u16, Value), kube::Error> {
        let body = if body.is_null() {
            Vec::new()
        } else {
            body.to_string().into_bytes()
        };
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::CONTENT_TYPE, content_type)
            .header(header::ACCEPT, "application/json")
            .body(Body::from(body))
            .expect("a well-formed request");
        let answer = self.client.send(request).await?;
        let code = answer.status().as_u16();
        let bytes = answer.into_body().collect().await?.to_bytes();
        Ok((code, serde_json::from_slice(&bytes).unwrap_or_default()))
    }

    /// An answer without what only this side knows.
    fn comparable(&self, answer: Value) -> Value {
        let mut answer = answer;
        let own = fields::uid(&answer).to_owned();
        if let Some(items) = answer.get_mut("items").and_then(Value::as_array_mut) {
            items.iter_mut().for_each(strip);
        }
        strip(&mut answer);
        let mut text = answer.to_string();
        if !own.is_empty() {
            text = text.replace(&own, "UID");
        }
        for (version, uid) in self.seen.values().flatten() {
            text = text
                .replace(uid, "UID")
                .replace(&format!("({version})"), "(VERSION)");
        }
        serde_json::from_str(&text).unwrap_or_default()
    }
}

/// Takes out what a server chooses, and what no part of this project reads.
fn strip(object: &mut Value) {
    for name in ["uid", "resourceVersion", "creationTimestamp", "continue"] {
        fields::remove(object, &format!("/metadata/{name}"));
    }
    if fields::terminating(object) {
        fields::set(object, "/metadata/deletionTimestamp", "SOME TIME");
    }
    fields::remove(object, "/metadata/managedFields");
    for pointer in ["/details/uid", "/spec/clusterIP", "/spec/clusterIPs"] {
        fields::remove(object, pointer);
    }
    if object.get("status").is_some_and(empty_status) {
        fields::remove(object, "/status");
    }
    if fields::text(object, "/message").contains("Precondition failed") {
        // With a dry run the storage words it otherwise.
        fields::set(object, "/message", "Precondition failed");
    }
    if fields::text(object, "/reason") == "Invalid" {
        // Which fields break rules, and how, is what counts; the real server repeats some and orders them its way.
        let causes = fields::list(object, "/details/causes").iter();
        let mut broken: Vec<_> = causes
            .map(|cause| json!([cause["field"], cause["reason"]]))
            .collect();
        broken.sort_by_key(Value::to_string);
        broken.dedup();
        object["details"]["causes"] = json!(broken);
        fields::remove(object, "/message");
    } else if let Some(causes) = object
        .pointer_mut("/details/causes")
        .and_then(Value::as_array_mut)
    {
        causes.sort_by_key(Value::to_string);
    }
}

/// A status that says nothing: a server may write it out or leave it out.
fn empty_status(status: &Value) -> bool {
    *status == json!({}) || *status == json!({"loadBalancer": {}})
}
