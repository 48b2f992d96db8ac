//! HTTP to the engine. No TLS: an image with nothing but this program has no certificates to trust.

use std::time::Duration;

use http::{Method, Request, StatusCode, header::CONTENT_TYPE};
use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper_util::{client::legacy::connect::HttpConnector, rt::TokioExecutor};
use serde_json::Value;

use crate::error::Error;

/// A page must not hang on an engine that does.
const TIMEOUT: Duration = Duration::from_secs(10);
/// A bulk request may have to wait for the engine's disks.
const BULK_TIMEOUT: Duration = Duration::from_mins(1);

/// Sends JSON, reads JSON.
pub(super) struct Client {
    base: String,
    http: hyper_util::client::legacy::Client<HttpConnector, Full<Bytes>>,
}

impl Client {
    /// `base` is `http://host:port`, with or without a path in front of the engine's own.
    pub(super) fn new(base: &str) -> Result<Self, Error> {
        let base = base.trim_end_matches('/');
        if !base.starts_with("http://") {
            let text = format!("SEARCH_URL is {base}; set it to a URL that begins with http://");
            return Err(Error::Settings(text));
        }
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(Duration::from_secs(3)));
        let http = hyper_util::client::legacy::Client::builder(TokioExecutor::new())
            .pool_idle_timeout(Duration::from_secs(20))
            .pool_max_idle_per_host(4)
            .build(connector);
        Ok(Self {
            base: base.to_owned(),
            http,
        })
    }

    /// One request. The answer's body is `null` where it is not JSON.
    pub(super) async fn call(
        &self,
        what: &str,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> Result<(StatusCode, Value), Error> {
        let bytes = body.map_or_else(Bytes::new, |body| Bytes::from(body.to_string()));
        self.send(what, method, path, "application/json", bytes, TIMEOUT)
            .await
    }

    /// One bulk request: lines of JSON.
    pub(super) async fn bulk(
        &self,
        what: &str,
        path: &str,
        lines: String,
    ) -> Result<(StatusCode, Value), Error> {
        self.send(
            what,
            Method::POST,
            path,
            "application/x-ndjson",
            Bytes::from(lines),
            BULK_TIMEOUT,
        )
        .await
    }

    async fn send(
        &self,
        what: &str,
        method: Method,
        path: &str,
        content: &str,
        body: Bytes,
        timeout: Duration,
    ) -> Result<(StatusCode, Value), Error> {
        let failed = |reason: String| Error::Search {
            what: what.to_owned(),
            reason,
        };
        let request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.base))
            .header(CONTENT_TYPE, content)
            .body(Full::new(body))
            .map_err(|error| failed(error.to_string()))?;
        let exchange = async {
            let answer = self
                .http
                .request(request)
                .await
                .map_err(|error| failed(chain(&error)))?;
            let status = answer.status();
            let body = answer
                .into_body()
                .collect()
                .await
                .map_err(|error| failed(chain(&error)))?;
            Ok((
                status,
                serde_json::from_slice(&body.to_bytes()).unwrap_or(Value::Null),
            ))
        };
        let late = || failed(format!("no answer within {} s", timeout.as_secs()));
        tokio::time::timeout(timeout, exchange)
            .await
            .unwrap_or_else(|_| Err(late()))
    }
}

/// hyper keeps the cause ("connection refused") in the sources of its errors.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}
