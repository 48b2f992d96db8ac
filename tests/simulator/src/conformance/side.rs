//! One of the two servers.

use std::collections::BTreeMap;

use http::Method;
use kube::Client;
use serde_json::{Value, json};
use slipway_kubernetes::{fields, kind::Kind};

use super::{
    recorded::{From, Watch},
    requests::{Version, Wish},
    wire,
};

/// How a client says that it wants no more than the metadata of an object, and of a list.
const METADATA_ONLY: [&str; 2] = [
    "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1",
    "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1",
];

/// What a server answered: the status, and the body without what servers choose.
pub type Answer = (u16, Value);

/// One server under test.
pub struct Side {
    client: Client,
    namespace: String,
    /// The versions and UIDs seen of each object, oldest first.
    seen: BTreeMap<(Kind, String), Vec<(String, String)>>,
    /// The version of the last list.
    listed: String,
}

impl Side {
    /// A server, with a fresh namespace of this name.
    pub async fn new(client: Client, namespace: &str) -> Result<Self, kube::Error> {
        let side = Self {
            client,
            namespace: namespace.to_owned(),
            seen: BTreeMap::new(),
            listed: String::new(),
        };
        let body = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}});
        let place = "/api/v1/namespaces";
        let (code, answer) = wire::exchange(&side.client, &Method::POST, place, wire::JSON, &body).await?;
        assert_eq!(code, 201, "a namespace of this name is not fresh: {answer}");
        Ok(side)
    }

    /// Sends what is wished for and returns the answer.
    pub async fn ask(&mut self, wish: &Wish) -> Result<Answer, kube::Error> {
        let path = self.path(wish);
        let body = self.filled(wish);
        let listed = wish.name.is_empty() && wish.method == Method::GET;
        let accept = accepted(wish.metadata_only, listed);
        let types = [wish.content_type, accept];
        let (code, bytes) = wire::send(&self.client, &wish.method, &path, types, &body).await?;
        let answer: Value = serde_json::from_slice(&bytes).unwrap_or_default();
        if answer.get("items").is_some() {
            fields::text(&answer, "/metadata/resourceVersion").clone_into(&mut self.listed);
        }
        let uid = fields::uid(&answer);
        if !uid.is_empty() && !wish.query.contains("dryRun") {
            let version = fields::text(&answer, "/metadata/resourceVersion").to_owned();
            let key = (wish.kind, fields::name(&answer).to_owned());
            self.seen.entry(key).or_default().push((version, uid.to_owned()));
        }
        Ok((code, self.comparable(answer)))
    }

    /// Watches until the watch ends, and returns the events; in place of them, the answer of a server that refuses.
    pub async fn watch(&self, watch: &Watch) -> Result<Vec<Value>, kube::Error> {
        let from = match watch.from {
            From::Nothing => String::new(),
            From::Exactly(version) => format!("&resourceVersion={version}"),
            From::List => format!("&resourceVersion={}", self.listed),
        };
        let place = wire::collection(watch.kind, &self.namespace);
        let (query, seconds) = (watch.query, watch.seconds);
        let path = format!("{place}?watch=true&timeoutSeconds={seconds}{from}&{query}");
        let types = [wire::JSON, accepted(watch.metadata_only, false)];
        let (code, lines) = wire::send(&self.client, &Method::GET, &path, types, &Value::Null).await?;
        let lines: Vec<Value> = lines
            .split(|byte| *byte == b'\n')
            .filter_map(|line| serde_json::from_slice(line).ok())
            .collect();
        if code != 200 {
            let only = lines.into_iter().next().unwrap_or_default();
            return Ok(vec![json!({"code": code, "answer": self.comparable(only)})]);
        }
        let is_bookmark = |event: &Value| event["type"] == "BOOKMARK";
        // Bookmarks that only tell a version are not counted, and an object in one has no content.
        let plain = |event: &Value| is_bookmark(event) && !fields::has(event, "/object/metadata/annotations");
        let came = lines.iter().any(plain);
        let event = |event: Value| {
            let object = if is_bookmark(&event) {
                let known = |pointer: &str| fields::at(&event, pointer).cloned();
                json!([known("/object/kind"), known("/object/metadata/annotations")])
            } else {
                self.comparable(event["object"].clone())
            };
            json!({"type": event["type"], "object": object})
        };
        let mut events: Vec<_> = lines.into_iter().filter(|line| !plain(line)).map(event).collect();
        events.extend(watch.bookmark.then(|| json!({"bookmark": came})));
        Ok(events)
    }

    fn path(&self, wish: &Wish) -> String {
        let mut path = wire::collection(wish.kind, &self.namespace);
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

fn accepted(metadata_only: bool, list: bool) -> &'static str {
    match (metadata_only, list) {
        (false, _) => wire::JSON,
        (true, false) => METADATA_ONLY[0],
        (true, true) => METADATA_ONLY[1],
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
    // Versions that nobody has seen stand in these.
    for words in [
        "too old resource version",
        "does not match the ResourceVersion in record",
    ] {
        if let Some((before, _)) = fields::text(object, "/message").split_once(words) {
            let message = format!("{before}{words}");
            fields::set(object, "/message", message);
        }
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
