//! An API server that knows one Lease, with links to it that can be cut one by one.

use std::{
    convert::Infallible,
    sync::{Arc, Mutex, MutexGuard},
};

use futures::{StreamExt as _, channel::mpsc};
use http::{Method, Request, Response};
use http_body_util::{BodyExt as _, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::body::{Bytes, Frame};
use k8s_openapi::api::coordination::v1::Lease;
use kube::{Client, client::Body};
use serde_json::{Value, json};
use tower::BoxError;

type Answer = Response<UnsyncBoxBody<Bytes, Infallible>>;

/// How requests of one client fare.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Link {
    Up,
    /// Connections are refused at once.
    Refused,
    /// Nothing comes back, and nothing arrives.
    Hangs,
    /// Requests arrive and are applied; their answers get lost.
    LosesAnswers,
}

#[derive(Default)]
struct State {
    lease: Option<Lease>,
    version: u64,
    watchers: Vec<(usize, mpsc::UnboundedSender<Bytes>)>,
    links: Vec<Link>,
    requests: Vec<String>,
}

#[derive(Clone, Default)]
pub(super) struct FakeLeases(Arc<Mutex<State>>);

impl FakeLeases {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    /// A client with a link of its own, and the link's number.
    pub(super) fn client(&self) -> (Client, usize) {
        let link = {
            let mut state = self.state();
            state.links.push(Link::Up);
            state.links.len() - 1
        };
        let fake = self.clone();
        let service = tower::service_fn(move |request| fake.clone().serve(link, request));
        (Client::new(service, "default"), link)
    }

    pub(super) fn set(&self, link: usize, to: Link) {
        let mut state = self.state();
        state.links[link] = to;
        if to != Link::Up {
            state.watchers.retain(|(of, _)| *of != link);
        }
    }

    pub(super) fn lease(&self) -> Option<Lease> {
        self.state().lease.clone()
    }

    pub(super) fn holder(&self) -> String {
        self.lease()
            .and_then(|lease| lease.spec?.holder_identity)
            .unwrap_or_default()
    }

    pub(super) fn requests(&self) -> Vec<String> {
        self.state().requests.clone()
    }

    /// What a person with kubectl does.
    pub(super) fn edit(&self, change: impl FnOnce(&mut Lease)) {
        let mut state = self.state();
        let mut lease = state.lease.clone().unwrap();
        change(&mut lease);
        state.store(Some(lease));
    }

    pub(super) fn delete(&self) {
        self.state().store(None);
    }

    async fn serve(self, link: usize, request: Request<Body>) -> Result<Answer, BoxError> {
        let of = self.state().links[link];
        match of {
            Link::Up | Link::LosesAnswers => {}
            Link::Refused => return Err("connection refused".into()),
            Link::Hangs => return std::future::pending().await,
        }
        let (head, body) = request.into_parts();
        let body = body.collect_bytes().await?;
        let answer = self.state().answer(link, &head.method, &head.uri, &body);
        if of == Link::LosesAnswers {
            return std::future::pending().await;
        }
        Ok(answer)
    }
}

impl State {
    fn store(&mut self, lease: Option<Lease>) {
        self.version += 1;
        let kind = match (&self.lease, &lease) {
            (None, _) => "ADDED",
            (Some(_), Some(_)) => "MODIFIED",
            (Some(_), None) => "DELETED",
        };
        let before = self.lease.take();
        self.lease = lease.map(|mut lease| {
            lease.metadata.resource_version = Some(self.version.to_string());
            lease
        });
        let mut told = self.lease.clone().or(before).unwrap();
        told.metadata.resource_version = Some(self.version.to_string());
        let line = event(kind, &told);
        self.watchers
            .retain(|(_, watcher)| watcher.unbounded_send(line.clone()).is_ok());
    }

    fn answer(&mut self, link: usize, method: &Method, uri: &http::Uri, body: &[u8]) -> Answer {
        let query = uri.query().unwrap_or_default();
        let watch = query.contains("watch=true");
        let verb = if watch { "WATCH" } else { method.as_str() };
        self.requests.push(format!("{verb} {}", uri.path()));
        let named = uri.path().ends_with("/leases/slipway");
        match (method.as_str(), named) {
            ("GET", false) if watch => self.watch(link, query),
            ("GET", false) => full(
                200,
                &json!({
                    "kind": "LeaseList", "apiVersion": "coordination.k8s.io/v1",
                    "metadata": {"resourceVersion": self.version.to_string()},
                    "items": self.lease.iter().collect::<Vec<_>>(),
                }),
            ),
            ("GET", true) => match &self.lease {
                Some(lease) => full(200, &json!(lease)),
                None => refusal(404),
            },
            ("POST", _) if self.lease.is_some() => refusal(409),
            ("POST", _) => self.write(body),
            ("PUT", true) => {
                let Some(known) = &self.lease else {
                    return refusal(404);
                };
                let wanted: Lease = serde_json::from_slice(body).unwrap();
                if wanted.metadata.resource_version != known.metadata.resource_version {
                    return refusal(409);
                }
                self.write(body)
            }
            _ => refusal(405),
        }
    }

    fn write(&mut self, body: &[u8]) -> Answer {
        self.store(Some(serde_json::from_slice(body).unwrap()));
        full(200, &json!(self.lease))
    }

    fn watch(&mut self, link: usize, query: &str) -> Answer {
        let (sender, receiver) = mpsc::unbounded();
        let from = query
            .split('&')
            .find_map(|pair| pair.strip_prefix("resourceVersion=")?.parse::<u64>().ok());
        if from.is_none_or(|from| from < self.version)
            && let Some(lease) = &self.lease
        {
            sender.unbounded_send(event("MODIFIED", lease)).unwrap();
        }
        self.watchers.push((link, sender));
        let frames = receiver.map(|line| Ok::<_, Infallible>(Frame::data(line)));
        Response::new(StreamBody::new(frames).boxed_unsync())
    }
}

fn event(kind: &str, lease: &Lease) -> Bytes {
    Bytes::from(format!("{}\n", json!({"type": kind, "object": lease})))
}

fn full(status: u16, body: &Value) -> Answer {
    let body = Full::new(Bytes::from(body.to_string())).boxed_unsync();
    Response::builder().status(status).body(body).unwrap()
}

fn refusal(code: u16) -> Answer {
    let reason = match code {
        404 => "NotFound",
        409 => "Conflict",
        _ => "MethodNotAllowed",
    };
    full(
        code,
        &json!({"kind": "Status", "status": "Failure", "code": code, "reason": reason, "message": "no"}),
    )
}
