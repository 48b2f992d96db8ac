//! The fake API server as an HTTP service: what a `kube::Client` stands on.

pub mod faults;
mod route;
mod verbs;
mod watching;

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use http::{Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full, combinators::UnsyncBoxBody};
use hyper::body::Bytes;
use jiff::Timestamp;
use kube::client::Body;
use serde_json::Value;
use slipway_judge::calls::Call;
use slipway_kubernetes::{fields, refusal::Refusal};
use tokio::time::Instant;

use self::{
    faults::{Fault, Moment},
    route::{Asked, Route},
};
use super::cluster::{self, Shared};

/// What the transport reports when there is no answer.
pub type TransportError = Box<dyn std::error::Error + Send + Sync>;

/// The body of an answer.
pub type AnswerBody = UnsyncBoxBody<Bytes, TransportError>;

/// The API server as one client sees it.
#[derive(Clone, Debug)]
pub struct ApiServer {
    cluster: Shared,
    actor: Arc<str>,
}

impl ApiServer {
    /// The server as seen by the client of this name. The name stands in the log, in admission and, where a
    /// request names no other, as the field manager.
    pub fn new(cluster: Shared, actor: &str) -> Self {
        Self {
            cluster,
            actor: actor.into(),
        }
    }

    /// A real client of the kube crate on this server. It needs a tokio runtime.
    pub fn client(&self) -> kube::Client {
        kube::Client::new(self.clone(), "default")
    }
}

impl tower::Service<Request<Body>> for ApiServer {
    type Response = Response<AnswerBody>;
    type Error = TransportError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        Box::pin(answer(
            Arc::clone(&self.cluster),
            Arc::clone(&self.actor),
            request,
        ))
    }
}

/// What goes back to the client.
enum Answer {
    /// A status and a JSON document.
    Document(u16, Arc<Value>),
    /// Plain text: a log.
    Text(String),
    /// The events of a watch.
    Stream(Box<watching::Watching>),
}

impl Answer {
    fn document(code: u16, document: impl Into<Arc<Value>>) -> Self {
        Self::Document(code, document.into())
    }
}

async fn answer(
    cluster: Shared,
    actor: Arc<str>,
    request: Request<Body>,
) -> Result<Response<AnswerBody>, TransportError> {
    let (parts, body) = request.into_parts();
    let body = body.collect().await?.to_bytes();
    let asked = Asked::read(&parts, &body);
    let pause = cluster::lock(&cluster).faults.pause(&actor);
    pause.over().await;
    let (number, fault) = begin(&cluster, &actor, &asked);
    if let Some(Fault::Stopped { sent, lasts }) = fault {
        pause.until(Instant::now() + lasts);
        if !sent {
            pause.over().await;
            let cluster = &mut *cluster::lock(&cluster);
            cluster.calls.sent(number, cluster.clock.now());
        }
    }
    travel(&cluster).await;
    match &fault {
        Some(Fault::Answer(refusal)) => {
            finish(&cluster, number, refusal.code);
            return respond(
                Answer::document(refusal.code, refusal.body()),
                refusal.retry_after,
                false,
            );
        }
        Some(Fault::Silence { applied: false } | Fault::Crash(Moment::BeforeSend)) => {
            return std::future::pending().await;
        }
        Some(Fault::Reset { applied: false }) => return Err("connection reset by peer".into()),
        Some(Fault::Meddled(meddling)) => (meddling.act)(&mut cluster::lock(&cluster)),
        _ => {}
    }
    let (result, retry_after) = if let Some(Fault::Late(by)) = fault {
        let cluster = Arc::clone(&cluster);
        let late = async move {
            tokio::time::sleep(by).await;
            carry_out(&cluster, &actor, &asked, None, number)
        };
        tokio::spawn(late).await?
    } else {
        carry_out(&cluster, &actor, &asked, fault.as_ref(), number)
    };
    match &fault {
        Some(Fault::Applied(refusal)) => {
            return respond(
                Answer::document(refusal.code, refusal.body()),
                refusal.retry_after,
                false,
            );
        }
        Some(Fault::Silence { applied: true } | Fault::Crash(Moment::AfterApply)) => {
            return std::future::pending().await;
        }
        Some(Fault::Reset { applied: true }) => return Err("connection reset by peer".into()),
        _ => {}
    }
    travel(&cluster).await;
    pause.over().await;
    let truncated = matches!(fault, Some(Fault::Truncated));
    let answer = result.unwrap_or_else(|refusal| Answer::document(refusal.code, refusal.body()));
    respond(answer, retry_after, truncated)
}

/// Carries a request out, and writes the status of its answer into the log.
fn carry_out(
    cluster: &Shared,
    actor: &Arc<str>,
    asked: &Asked,
    fault: Option<&Fault>,
    number: usize,
) -> (Result<Answer, Refusal>, Option<u32>) {
    let result = match &asked.route {
        Ok(route) => verbs::serve(cluster, &asked.caller(actor), asked, route, fault),
        Err(refusal) => Err(refusal.clone()),
    };
    let (code, retry_after) = match &result {
        Ok(Answer::Document(code, _)) => (*code, None),
        Ok(Answer::Text(_) | Answer::Stream(_)) => (200, None),
        Err(refusal) => (refusal.code, refusal.retry_after),
    };
    finish(cluster, number, code);
    (result, retry_after)
}

/// Writes the call into the log and asks which fault it meets.
fn begin(cluster: &Shared, actor: &Arc<str>, asked: &Asked) -> (usize, Option<Fault>) {
    let mut cluster = cluster::lock(cluster);
    let at = cluster.clock.now();
    let number = cluster.calls.begin(call(at, actor, asked));
    let cluster = &mut *cluster;
    let call = &cluster.calls.all()[number];
    let fault = cluster.faults.strike(call);
    if let Some(fault) = &fault {
        cluster.calls.note_fault(number, format!("{fault:?}"));
    }
    (number, fault)
}

/// A request as a call for the log.
fn call(at: Timestamp, actor: &Arc<str>, asked: &Asked) -> Call {
    let (kind, namespace, name, subresource) = match &asked.route {
        Ok(Route::Object(key, sub)) => (
            Some(key.kind),
            key.namespace.clone(),
            key.name.clone(),
            sub.clone(),
        ),
        Ok(Route::Collection(kind, namespace)) => {
            let name = fields::name(&asked.body).to_owned();
            (
                Some(*kind),
                namespace.clone().unwrap_or_default(),
                name,
                String::new(),
            )
        }
        Ok(Route::Version | Route::Resources(..)) | Err(_) => Default::default(),
    };
    Call {
        at,
        actor: Arc::clone(actor),
        index: 0,
        write: 0,
        verb: asked.verb(),
        path: asked.path.clone(),
        kind,
        namespace,
        name,
        subresource,
        query: asked.query.clone(),
        body: Arc::clone(&asked.body),
        code: None,
        fault: None,
    }
}

fn finish(cluster: &Shared, number: usize, code: u16) {
    cluster::lock(cluster).calls.finish(number, code);
}

/// The time that a message is on its way.
async fn travel(cluster: &Shared) {
    let wait = {
        let mut cluster = cluster::lock(cluster);
        let latency = cluster.latency.clone();
        cluster.random.within(&latency)
    };
    if !wait.is_zero() {
        tokio::time::sleep(wait).await;
    }
}

fn respond(
    answer: Answer,
    retry_after: Option<u32>,
    truncated: bool,
) -> Result<Response<AnswerBody>, TransportError> {
    let (code, kind, body) = match answer {
        Answer::Document(code, document) => {
            let mut bytes = serde_json::to_vec(&document)?;
            if truncated {
                bytes.truncate(bytes.len() / 2);
            }
            (code, "application/json", whole(bytes))
        }
        Answer::Text(text) => (200, "text/plain", whole(text.into_bytes())),
        Answer::Stream(watching) => (200, "application/json", watching.into_body()),
    };
    let mut response = Response::builder()
        .status(StatusCode::from_u16(code)?)
        .header(header::CONTENT_TYPE, kind);
    if let Some(seconds) = retry_after {
        response = response.header(header::RETRY_AFTER, seconds);
    }
    Ok(response.body(body)?)
}

fn whole(bytes: Vec<u8>) -> AnswerBody {
    Full::from(bytes).map_err(|never| match never {}).boxed_unsync()
}

/// 404 as the server gives it for a path that it does not serve.
fn unknown_path() -> Refusal {
    Refusal::plain(
        404,
        "NotFound",
        "the server could not find the requested resource",
    )
}
