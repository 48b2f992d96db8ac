use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicU16, Ordering},
    },
};

use http::{Request, Response};
use http_body_util::BodyExt as _;
use jiff::Timestamp;
use kube::{Client, client::Body};
use serde_json::{Value, json};
use slipway_crds::v1alpha1::ReleaseStatus;
use slipway_engine::{Intent, Observed, Progress, Wake, observed::WindowGuard};

use super::*;
use crate::{
    admin::LastDecisions,
    cache::Source,
    caches::Caches,
    clock::Clock,
    context::{Parts, Planner},
    events::events,
    leader::Fence,
    metrics::Metrics,
    reconcile::{Error, reconcile},
};

/// Decides that the status is to be this one.
struct Decided {
    status: ReleaseStatus,
    broken: Vec<String>,
}

impl Planner for Decided {
    fn decide(&self, _: &Intent, _: &Progress, _: &Observed, _: Timestamp) -> Decision {
        Decision {
            progress: Progress::new(Some(self.status.clone())),
            effects: Vec::new(),
            because: Vec::new(),
            read_again: std::collections::BTreeSet::new(),
            wake: Wake::OnChange,
        }
    }

    fn broken(&self, _: &Intent, _: &Progress, _: &Observed, _: &Decision) -> Vec<String> {
        self.broken.clone()
    }
}

/// A context with one Release. The API server writes every status that it is given, or answers with the code that is
/// set.
fn context(refusal: Arc<AtomicU16>) -> (Context, Key) {
    let service = tower::service_fn(move |request: Request<Body>| {
        let refusal = refusal.load(Ordering::Relaxed);
        async move {
            let body = request.into_body().collect().await.unwrap_or_default().to_bytes();
            let mut object: Value = serde_json::from_slice(&body).unwrap_or_default();
            let code = if refusal == 0 { 200 } else { refusal };
            if code == 200 && object.is_object() {
                object["metadata"]["resourceVersion"] = json!("2");
            } else {
                object = json!({"kind": "Status", "status": "Failure", "reason": "Conflict", "code": code, "message": "no"});
            }
            let answer = Response::builder()
                .status(code)
                .body(Body::from(object.to_string().into_bytes()));
            Ok::<_, Infallible>(answer.unwrap())
        }
    });
    let client = Client::new(service, "apps");
    let metrics = Metrics::new();
    let caches = Arc::new(Caches::default());
    let release = json!({
        "metadata": {"name": "shop", "namespace": "apps", "uid": "uid", "resourceVersion": "1"},
        "spec": {"image": "shop:1", "workloads": [{"name": "web", "deployment": "web"}]},
    });
    let key = Key::new("apps", "shop");
    let release: Release = serde_json::from_value(release).unwrap();
    caches
        .releases
        .apply(key.clone(), "1", release.into(), Source::Watch);
    let parts = Parts {
        events: events(client.clone(), "slipway-0", metrics.clone()).0,
        client,
        clock: Clock::system(),
        fence: Fence::always_open(),
        caches,
        metrics,
        decisions: LastDecisions::new(),
        guard: WindowGuard::Deny,
    };
    (Context::new(parts, Box::new(|_, _| unreachable!())), key)
}

fn status(steps: &Value) -> ReleaseStatus {
    serde_json::from_value(json!({"phase": "Expand", "steps": steps})).unwrap()
}

fn decided(status: ReleaseStatus, broken: &[&str]) -> Box<Decided> {
    Box::new(Decided {
        status,
        broken: broken.iter().map(ToString::to_string).collect(),
    })
}

#[tokio::test]
async fn a_step_is_counted_once_when_it_has_finished() {
    let (mut context, key) = context(Arc::default());
    let step = |ended: Option<&str>| {
        let state = if ended.is_some() { "Succeeded" } else { "Running" };
        let begun = "2026-01-01T00:00:00Z";
        status(&json!([{"name": "Expand", "state": state, "startedAt": begun, "finishedAt": ended}]))
    };
    let counted = r#"slipway_step_seconds_bucket{le="300.0",step="expand"}"#;
    context.planner = decided(step(None), &[]);
    reconcile(&context, &key).await.unwrap();
    assert!(!context.metrics.encode().unwrap().contains(counted));
    context.planner = decided(step(Some("2026-01-01T00:01:10Z")), &[]);
    for _ in 0..2 {
        reconcile(&context, &key).await.unwrap();
        let text = context.metrics.encode().unwrap();
        assert!(text.contains(&format!("{counted} 1")), "{text}");
        assert!(
            text.contains(r#"slipway_step_seconds_sum{step="expand"} 70.0"#),
            "{text}"
        );
    }
}

#[tokio::test]
async fn a_decision_that_is_dropped_is_shown_with_what_it_would_break() {
    let (mut context, key) = context(Arc::default());
    context.planner = decided(status(&json!([])), &["two sides would serve"]);
    let error = reconcile(&context, &key).await.unwrap_err();
    assert!(matches!(error, Error::Invariant(_)), "{error}");
    let shown = context.decisions.of(&key);
    assert_eq!(shown[0]["broken"], json!(["two sides would serve"]));
    assert_eq!(shown[0]["decision"]["progress"]["phase"], json!("Expand"));
}

#[tokio::test(start_paused = true)]
async fn decisions_that_are_outdated_again_and_again_wait_longer() {
    let refusal = Arc::new(AtomicU16::new(409));
    let (mut context, key) = context(refusal.clone());
    context.planner = decided(status(&json!([])), &[]);
    for milliseconds in [500, 1_000, 2_000, 4_000, 8_000, 16_000, 16_000] {
        let pause = reconcile(&context, &key).await.unwrap();
        assert_eq!(pause, Some(Duration::from_millis(milliseconds)));
    }
    refusal.store(0, Ordering::Relaxed);
    reconcile(&context, &key).await.unwrap();
    assert_eq!(context.outdated(&key), Duration::from_millis(500));
}
