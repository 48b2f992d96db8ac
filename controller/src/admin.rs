//! The admin server: is the process alive, is it ready, what has it done, what did it decide last.

mod decisions;

use std::{collections::BTreeMap, net::SocketAddr, sync::Arc, time::Duration};

use axum::{
    Json, Router,
    extract::{Path, State},
    http::{StatusCode, header::CONTENT_TYPE},
    response::{IntoResponse, Response},
    routing::get,
};
use serde_json::Value;
use tokio::{net::TcpListener, sync::watch, time::Instant};

pub use self::decisions::LastDecisions;
use crate::{
    cache::Key,
    metrics::{self, Metrics},
};

/// A process whose loop was silent for longer is not alive.
pub const MAX_SILENCE: Duration = Duration::from_secs(30);

/// A sign of life that the main loop renews.
#[derive(Clone, Debug)]
pub struct Heartbeat(Arc<watch::Sender<Instant>>);

impl Heartbeat {
    /// A heart that beat just now.
    pub fn new() -> Self {
        Self(Arc::new(watch::Sender::new(Instant::now())))
    }

    /// The loop went round.
    pub fn beat(&self) {
        self.0.send_replace(Instant::now());
    }

    /// How long ago that was.
    pub fn silence(&self) -> Duration {
        self.0.borrow().elapsed()
    }
}

impl Default for Heartbeat {
    fn default() -> Self {
        Self::new()
    }
}

/// What must be there before this process can work. A follower is as ready as a leader.
#[derive(Clone, Debug, Default)]
pub struct Readiness(watch::Sender<BTreeMap<&'static str, String>>);

impl Readiness {
    /// Nothing is missing, until somebody says so.
    pub fn new() -> Self {
        Self::default()
    }

    /// `part` is not there; `why` says what is waited for and what a person can do.
    pub fn missing(&self, part: &'static str, why: impl Into<String>) {
        self.0
            .send_modify(|missing| drop(missing.insert(part, why.into())));
    }

    /// `part` is there.
    pub fn ready(&self, part: &'static str) {
        self.0.send_modify(|missing| drop(missing.remove(part)));
    }

    /// Waits until nothing is missing.
    pub async fn complete(&self) {
        self.0.subscribe().wait_for(BTreeMap::is_empty).await.ok();
    }

    /// One line for each part that is missing.
    pub fn report(&self) -> Vec<String> {
        let missing = self.0.borrow();
        missing
            .iter()
            .map(|(part, why)| format!("{part}: {why}"))
            .collect()
    }
}

/// What the admin server shows.
#[derive(Clone, Debug)]
pub struct Admin {
    /// For `/healthz`.
    pub heartbeat: Heartbeat,
    /// For `/readyz`.
    pub readiness: Readiness,
    /// For `/metrics`.
    pub metrics: Metrics,
}

/// The admin server could not listen.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: choose another --admin-address or --debug-address")]
pub struct BindError {
    /// The address that was asked for.
    pub address: SocketAddr,
    /// What the system says.
    #[source]
    pub source: std::io::Error,
}

/// Listens on `address`, so that an address in use ends the process at its start and not later.
pub async fn bind(address: SocketAddr) -> Result<TcpListener, BindError> {
    TcpListener::bind(address)
        .await
        .map_err(|source| BindError { address, source })
}

/// Serves until the future is dropped.
pub async fn serve(listener: TcpListener, admin: Admin) -> std::io::Result<()> {
    axum::serve(listener, router(admin)).await
}

fn router(admin: Admin) -> Router {
    Router::new()
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .route("/metrics", get(encoded_metrics))
        .with_state(admin)
}

/// Serves the last decisions until the future is dropped. They repeat pod templates and what tasks printed: the address
/// is to be one that is reached through the API server alone, by `kubectl port-forward`.
pub async fn serve_debug(listener: TcpListener, decisions: LastDecisions) -> std::io::Result<()> {
    axum::serve(listener, debug_router(decisions)).await
}

fn debug_router(decisions: LastDecisions) -> Router {
    Router::new()
        .route("/debug/releases", get(releases))
        .route("/debug/releases/{namespace}/{name}", get(release))
        .with_state(decisions)
}

async fn healthz(State(admin): State<Admin>) -> (StatusCode, String) {
    let silence = admin.heartbeat.silence();
    if silence <= MAX_SILENCE {
        (StatusCode::OK, "ok\n".to_owned())
    } else {
        (
            StatusCode::SERVICE_UNAVAILABLE,
            format!("the main loop is silent since {}s\n", silence.as_secs()),
        )
    }
}

async fn readyz(State(admin): State<Admin>) -> (StatusCode, String) {
    let missing = admin.readiness.report();
    if missing.is_empty() {
        (StatusCode::OK, "ok\n".to_owned())
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, missing.join("\n") + "\n")
    }
}

async fn encoded_metrics(State(admin): State<Admin>) -> Response {
    match admin.metrics.encode() {
        Ok(text) => ([(CONTENT_TYPE, metrics::CONTENT_TYPE)], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

async fn releases(State(decisions): State<LastDecisions>) -> Json<BTreeMap<String, Value>> {
    Json(decisions.all())
}

async fn release(
    State(decisions): State<LastDecisions>,
    Path((namespace, name)): Path<(String, String)>,
) -> (StatusCode, Json<Vec<Value>>) {
    let decisions = decisions.of(&Key::new(namespace, name));
    let status = if decisions.is_empty() {
        StatusCode::NOT_FOUND
    } else {
        StatusCode::OK
    };
    (status, Json(decisions))
}

#[cfg(test)]
mod tests {
    use axum::{body::Body, http::Request};
    use http_body_util::BodyExt as _;
    use serde_json::json;
    use tower::ServiceExt as _;

    use super::*;

    fn admin() -> Admin {
        Admin {
            heartbeat: Heartbeat::new(),
            readiness: Readiness::new(),
            metrics: Metrics::new(),
        }
    }

    async fn get(admin: &Admin, path: &str) -> (u16, String) {
        ask(router(admin.clone()), path).await
    }

    async fn ask(router: Router, path: &str) -> (u16, String) {
        let request = Request::builder().uri(path).body(Body::empty()).unwrap();
        let response = router.oneshot(request).await.unwrap();
        let status = response.status().as_u16();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_loop_is_not_alive() {
        let admin = admin();
        assert_eq!(get(&admin, "/healthz").await, (200, "ok\n".into()));
        tokio::time::advance(MAX_SILENCE + Duration::from_secs(1)).await;
        assert_eq!(
            get(&admin, "/healthz").await,
            (503, "the main loop is silent since 31s\n".into())
        );
        admin.heartbeat.beat();
        assert_eq!(get(&admin, "/healthz").await.0, 200);
    }

    #[tokio::test]
    async fn readiness_names_what_is_missing() {
        let admin = admin();
        admin.readiness.missing(
            "crd",
            "releases.slipway.dev is not installed: install the chart slipway-crds",
        );
        admin.readiness.missing("deployments", "first list");
        let (status, body) = get(&admin, "/readyz").await;
        assert_eq!(status, 503);
        assert!(
            body.contains("crd: releases.slipway.dev is not installed") && body.contains("deployments: ")
        );
        admin.readiness.ready("crd");
        admin.readiness.ready("deployments");
        assert_eq!(get(&admin, "/readyz").await, (200, "ok\n".into()));
    }

    #[tokio::test]
    async fn decisions_are_shown_until_forgotten() {
        let decisions = LastDecisions::new();
        let shown = async |path| ask(debug_router(decisions.clone()), path).await;
        let key = Key::new("apps", "shop");
        for phase in ["Expand", "Watch"] {
            let record = json!({ "at": "now", "decision": {"progress": {"phase": phase}, "effects": [{"purpose": "Flip"}]} });
            decisions.record(&key, true, &record);
        }
        let (_, body) = shown("/debug/releases").await;
        assert_eq!(
            body,
            r#"{"apps/shop":{"at":"now","broken":null,"effects":["Flip"],"phase":"Watch","waitingFor":null}}"#
        );
        let (_, body) = shown("/debug/releases/apps/shop").await;
        let both: Vec<Value> = serde_json::from_str(&body).unwrap();
        assert_eq!(both.len(), 2);
        assert_eq!(both[0]["decision"]["progress"]["phase"], "Expand");
        decisions.forget(&key);
        assert_eq!(shown("/debug/releases").await.1, "{}");
        assert_eq!(shown("/debug/releases/apps/shop").await, (404, "[]".into()));
        assert_eq!(
            get(&admin(), "/debug/releases").await.0,
            404,
            "not where all can see it"
        );
    }

    #[tokio::test]
    async fn metrics_are_open_metrics() {
        let (status, body) = get(&admin(), "/metrics").await;
        assert_eq!(status, 200);
        assert!(
            body.contains("slipway_leader 0") && body.ends_with("# EOF\n"),
            "{body}"
        );
    }

    #[tokio::test]
    async fn an_address_in_use_is_named() {
        let first = bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let address = first.local_addr().unwrap();
        let error = bind(address).await.unwrap_err();
        assert!(error.to_string().contains(&address.to_string()), "{error}");
    }
}
