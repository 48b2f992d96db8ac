//! The tower layer that keeps the promises of [`crate::client`].

use std::{
    error::Error as StdError,
    task::{Context, Poll},
    time::Duration,
};

use futures::{FutureExt as _, future::BoxFuture};
use http::{Request, Response, StatusCode, header::RETRY_AFTER, response::Parts};
use http_body_util::{BodyExt as _, Either, Full};
use hyper::body::{Body as HttpBody, Bytes};
use kube::client::Body;
use serde_json::{Value, json};
use tokio::time::timeout;
use tower::{BoxError, Layer, Service};

use super::{Call, CallError, Deadlines};
use crate::{leader::Fence, metrics::Metrics};

/// Makes a [`Guard`] around a service.
#[derive(Clone, Debug)]
pub struct GuardLayer {
    fence: Fence,
    metrics: Metrics,
    deadlines: Deadlines,
}

impl GuardLayer {
    /// A layer with this fence and these deadlines.
    pub fn new(fence: Fence, metrics: Metrics, deadlines: Deadlines) -> Self {
        Self {
            fence,
            metrics,
            deadlines,
        }
    }
}

impl<S> Layer<S> for GuardLayer {
    type Service = Guard<S>;

    fn layer(&self, inner: S) -> Guard<S> {
        Guard {
            inner,
            rules: self.clone(),
        }
    }
}

/// A service that counts calls, ends them at their deadline, and sends writes only while the fence is open.
#[derive(Clone, Debug)]
pub struct Guard<S> {
    inner: S,
    rules: GuardLayer,
}

/// An answer: streamed if it is a watch, else read to its end.
type Answer<B> = Response<Either<B, Full<Bytes>>>;

impl<S, B> Service<Request<Body>> for Guard<S>
where
    S: Service<Request<Body>, Response = Response<B>>,
    S::Future: Send + 'static,
    S::Error: Into<BoxError> + 'static,
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn StdError + Send + Sync>>,
{
    type Response = Answer<B>;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Answer<B>, BoxError>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(context).map_err(Into::into)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let call = Call::of(&request);
        let fence = (call.is_write() && !call.is_about_lease()).then(|| self.rules.fence.clone());
        if fence.as_ref().is_some_and(|fence| !fence.allows_writes()) {
            return std::future::ready(Err(CallError::Fenced.into())).boxed();
        }
        self.rules.metrics.api_request(call.verb, &call.resource);
        let deadline = match call.verb {
            "list" | "watch" | "deletecollection" => self.rules.deadlines.list,
            _ => self.rules.deadlines.object,
        };
        let answer = in_time(deadline, answer(self.inner.call(request), call.verb == "watch"));
        match fence {
            None => answer.boxed(),
            Some(fence) => async move {
                // What is not sent yet when the fence closes is dropped unsent; what is sent is not waited for.
                fence
                    .guard(answer)
                    .await
                    .unwrap_or_else(|| Err(CallError::CutOff.into()))
            }
            .boxed(),
        }
    }
}

async fn in_time<T>(
    deadline: Duration,
    work: impl Future<Output = Result<T, BoxError>>,
) -> Result<T, BoxError> {
    timeout(deadline, work)
        .await
        .unwrap_or_else(|_| Err(CallError::Late(deadline).into()))
}

/// Waits for the head of the answer, and for all of it unless it is a watch that began.
async fn answer<B, E>(
    sent: impl Future<Output = Result<Response<B>, E>>,
    watch: bool,
) -> Result<Answer<B>, BoxError>
where
    E: Into<BoxError>,
    B: HttpBody<Data = Bytes>,
    B::Error: Into<Box<dyn StdError + Send + Sync>>,
{
    let (head, body) = sent.await.map_err(Into::into)?.into_parts();
    if watch && head.status.is_success() {
        return Ok(Response::from_parts(head, Either::Left(body)));
    }
    let bytes = body.collect().await.map_err(Into::into)?.to_bytes();
    let bytes = with_retry_after(&head, bytes);
    Ok(Response::from_parts(head, Either::Right(Full::new(bytes))))
}

/// kube's error carries the body of a refusal and not its headers, so a `Retry-After` in seconds is put into the
/// body, where the API server itself mostly puts it.
fn with_retry_after(head: &Parts, body: Bytes) -> Bytes {
    let refused = matches!(
        head.status,
        StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE
    );
    let asked = head
        .headers
        .get(RETRY_AFTER)
        .and_then(|value| value.to_str().ok()?.parse::<u32>().ok());
    let Some(seconds) = asked.filter(|seconds| refused && *seconds > 0) else {
        return body;
    };
    let mut status: Value = serde_json::from_slice(&body)
        .ok()
        .filter(Value::is_object)
        .unwrap_or_else(|| {
            json!({
                "kind": "Status",
                "status": "Failure",
                "code": head.status.as_u16(),
                "reason": head.status.canonical_reason(),
                "message": String::from_utf8_lossy(&body),
            })
        });
    if let Some(status) = status.as_object_mut() {
        let details = status.entry("details").or_insert_with(|| json!({}));
        if let Some(details) = details.as_object_mut() {
            details
                .entry("retryAfterSeconds")
                .or_insert_with(|| json!(seconds));
        }
    }
    Bytes::from(status.to_string())
}
