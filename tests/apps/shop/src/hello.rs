//! `hello` and `nap`: a web process and a task that need nothing else, for tests that want many of them.

use std::{process::ExitCode, time::Duration};

use axum::{Router, routing::get};
use http::StatusCode;
use serde_json::json;

use crate::{error::Error, faults::Crash, output, serve, settings::Settings};

/// Answers every request with the version. It boots, drains and fails as `serve` does.
pub(crate) async fn hello(settings: Settings) -> Result<ExitCode, Error> {
    let version = settings.version.number();
    let ready = if settings.faults.crash == Some(Crash::NeverReady) {
        (
            StatusCode::SERVICE_UNAVAILABLE,
            "never ready, as the environment asks",
        )
    } else {
        (StatusCode::OK, "ok")
    };
    let router = Router::new()
        .route("/readyz", get(move || async move { ready }))
        .fallback(move || async move { format!("shop {version}\n") });
    serve::run(settings, router).await
}

/// Takes its time.
pub(crate) async fn nap(seconds: u64) -> Result<(), Error> {
    output::line(&format!("napping {seconds} s"));
    tokio::time::sleep(Duration::from_secs(seconds)).await;
    output::result(&json!({"slept": seconds}));
    Ok(())
}
