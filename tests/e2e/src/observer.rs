//! Checks from outside what Slipway promises: it reads the API server's audit log, watches
//! `EndpointSlices` and polls the search engine, and believes nothing that the controller says of itself.
//!
//! Here the world is touched: what is gathered is read and judged by [`slipway_judge::observer`].

mod tail;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use futures::{StreamExt, TryStreamExt};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Bytes;
use hyper_util::client::legacy::Client as HttpClient;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use jiff::Timestamp;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client};
use serde_json::{Value, json};
use slipway_crds::names::SERVICE_NAME;
use slipway_judge::observer::aliases::Aliases;
use slipway_judge::observer::audit::AuditEvent;
use slipway_judge::observer::observation::Gathered;
use slipway_judge::observer::{Engine, Mark, Observation, ObserverConfig};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};

use tail::Tail;

/// How often the audit log is read.
const READ_EVERY: Duration = Duration::from_millis(200);

/// How often the engine is asked.
const POLL_EVERY: Duration = Duration::from_millis(100);

/// The server logs a request right before it answers; so much later even a busy one has.
const LAST_LINES: Duration = Duration::from_millis(500);

/// Lists to begin with: what the first write is compared with.
const BASELINE: [(&str, &str); 4] = [
    ("deployments", "/apis/apps/v1"),
    ("replicasets", "/apis/apps/v1"),
    ("services", "/api/v1"),
    ("releases", "/apis/slipway.dev/v1alpha1"),
];

/// Why the observer could not start.
#[derive(Debug, thiserror::Error)]
pub enum ObserverError {
    /// The audit log cannot be read.
    #[error("cannot read the audit log {path}")]
    AuditLog {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// The API server did not list what is there.
    #[error("cannot list {resource}")]
    List {
        /// Plural of the kind.
        resource: &'static str,
        /// What the server says.
        source: Box<kube::Error>,
    },
}

/// A running observation. Dropping it ends it.
pub struct Observer {
    config: ObserverConfig,
    shared: Arc<Shared>,
    tasks: JoinSet<()>,
}

/// What the background tasks write to.
struct Shared {
    tail: Mutex<Tail>,
    gathered: Mutex<Gathered>,
}

impl Observer {
    /// Begins with the next request that the API server answers.
    pub async fn start(client: Client, config: ObserverConfig) -> Result<Self, ObserverError> {
        let tail = Tail::at_end(config.audit_log.clone()).map_err(|source| ObserverError::AuditLog {
            path: config.audit_log.clone(),
            source,
        })?;
        let mut gathered = Gathered {
            started_at: Timestamp::now(),
            ..Gathered::default()
        };
        for (resource, group) in BASELINE {
            let list = list(&client, resource, group, &config.namespace).await?;
            gathered.baseline.add(&config.namespace, resource, &list);
        }
        let engine = config.engine.clone();
        gathered.aliases = Aliases::new(engine.as_ref().map_or(&[], |engine| &engine.aliases));
        let shared = Arc::new(Shared {
            tail: Mutex::new(tail),
            gathered: Mutex::new(gathered),
        });
        let mut tasks = JoinSet::new();
        tasks.spawn(follow_log(config.clone(), Arc::clone(&shared)));
        if !config.services.is_empty() {
            tasks.spawn(follow_endpoints(client, config.clone(), Arc::clone(&shared)));
        }
        if let Some(engine) = engine {
            tasks.spawn(follow_aliases(engine, Arc::clone(&shared)));
        }
        Ok(Self {
            config,
            shared,
            tasks,
        })
    }

    /// Remembers this moment, so that the observation can be asked for what came after it.
    pub fn mark(&self, name: impl Into<String>) -> Mark {
        let mark = Mark::now(name);
        self.shared.gathered().marks.push(mark.clone());
        mark
    }

    /// What was seen up to now.
    pub fn so_far(&self) -> Observation {
        self.shared.read_log(&self.config);
        Observation::of(self.shared.gathered().clone(), &self.config)
    }

    /// Waits until what was seen satisfies `enough`; `None` when `patience` was over first.
    pub async fn until(
        &self,
        patience: Duration,
        enough: impl Fn(&Observation) -> bool,
    ) -> Option<Observation> {
        let end = Instant::now() + patience;
        loop {
            let observation = self.so_far();
            if enough(&observation) {
                return Some(observation);
            }
            if Instant::now() >= end {
                return None;
            }
            sleep(READ_EVERY / 2).await;
        }
    }

    /// Waits for the log's last lines and ends the observation.
    pub async fn finish(mut self) -> Observation {
        sleep(LAST_LINES).await;
        self.shared.read_log(&self.config);
        self.tasks.shutdown().await;
        Observation::of(self.shared.gathered().clone(), &self.config)
    }
}

impl Shared {
    fn gathered(&self) -> MutexGuard<'_, Gathered> {
        self.gathered
            .lock()
            .expect("nobody panics while adding to what was gathered")
    }

    /// Reads the lines that are new. Only those that concern the namespace or the controller are parsed:
    /// a cluster's log has many more.
    fn read_log(&self, config: &ObserverConfig) {
        let mut tail = self.tail.lock().expect("nobody panics while reading the log");
        let lines = tail.lines();
        let mut gathered = self.gathered();
        let lines = match lines {
            Ok(lines) => lines,
            Err(error) => {
                gathered
                    .unreadable
                    .push(format!("the audit log cannot be read: {error}"));
                return;
            }
        };
        let namespace = format!("\"namespace\":\"{}\"", config.namespace);
        for line in lines {
            if !line.contains(&namespace) && !line.contains(&config.controller_user) {
                continue;
            }
            match AuditEvent::parse(&line) {
                Ok(event) => gathered.events.push(Arc::new(event)),
                Err(error) => gathered
                    .unreadable
                    .push(format!("unreadable line in the audit log: {error}")),
            }
        }
    }
}

async fn list(
    client: &Client,
    resource: &'static str,
    group: &str,
    namespace: &str,
) -> Result<Value, ObserverError> {
    let request = http::Request::get(format!("{group}/namespaces/{namespace}/{resource}")).body(Vec::new());
    let request = request.expect("a list's path is valid");
    match client.request(request).await {
        Ok(list) => Ok(list),
        // The CRD is not installed yet; the server says so in plain text, not with a reason.
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(Value::Null),
        Err(source) => Err(ObserverError::List {
            resource,
            source: Box::new(source),
        }),
    }
}

async fn follow_log(config: ObserverConfig, shared: Arc<Shared>) {
    let mut ticks = interval(READ_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        ticks.tick().await;
        shared.read_log(&config);
    }
}

async fn follow_endpoints(client: Client, config: ObserverConfig, shared: Arc<Shared>) {
    let api: Api<EndpointSlice> = Api::namespaced(client, &config.namespace);
    let selector = format!("{SERVICE_NAME} in ({})", config.services.join(","));
    let slices = watcher(api, watcher::Config::default().labels(&selector)).default_backoff();
    let mut slices = slices.boxed();
    let mut listed = Vec::new();
    loop {
        let event = slices.try_next().await;
        let at = Timestamp::now();
        match event {
            Ok(Some(watcher::Event::Init)) => listed.clear(),
            Ok(Some(watcher::Event::InitApply(slice))) => listed.push(json!(slice)),
            Ok(Some(watcher::Event::InitDone)) => shared.gathered().endpoints.replace(&listed, at),
            Ok(Some(watcher::Event::Apply(slice))) => shared.gathered().endpoints.apply(&json!(slice), at),
            Ok(Some(watcher::Event::Delete(slice))) => shared.gathered().endpoints.delete(&json!(slice), at),
            Ok(None) => return,
            // The watch goes on by itself after a pause; its next list says what was missed.
            Err(error) => tracing::debug!(%error, "the watch of EndpointSlices broke off"),
        }
    }
}

async fn follow_aliases(engine: Engine, shared: Arc<Shared>) {
    let client = HttpClient::builder(TokioExecutor::new()).build_http();
    let uri: hyper::Uri = format!("{}/_alias", engine.url.trim_end_matches('/'))
        .parse()
        .expect("the search engine's URL is valid");
    let mut ticks = interval(POLL_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let answer = timeout(Duration::from_secs(2), ask(&client, uri.clone()))
            .await
            .ok()
            .flatten();
        shared
            .gathered()
            .aliases
            .record(Timestamp::now(), answer.as_ref());
    }
}

/// The engine's answer; `None` when it is away or answers with an error.
async fn ask(client: &HttpClient<HttpConnector, Empty<Bytes>>, uri: hyper::Uri) -> Option<Value> {
    let response = client.get(uri).await.ok()?;
    if !response.status().is_success() {
        return None;
    }
    let body = Limited::new(response.into_body(), 4 * 1024 * 1024)
        .collect()
        .await
        .ok()?
        .to_bytes();
    serde_json::from_slice(&body).ok()
}

#[cfg(test)]
mod tests;
