//! The one way to the Kubernetes API: every call is counted, has a deadline, is sent at most once, and a call that
//! changes something is sent only while this process holds the Lease.
//!
//! kube's own retries are off: they repeat POSTs too, up to 15 times, and one of them may fire after the Lease ran
//! out. What failed is tried again by the next reconcile, from what it observes then.

mod call;
mod guard;

use std::time::Duration;

use http::{HeaderValue, header::USER_AGENT};
use kube::{Client, Config, client::ClientBuilder};

pub use self::{
    call::Call,
    guard::{Guard, GuardLayer},
};
use crate::{leader::Fence, metrics::Metrics};

/// How requests name their sender.
const AGENT: &str = concat!("slipway/", env!("CARGO_PKG_VERSION"));
/// A connection that takes longer is given up.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How long calls may take, from sending to the last byte of the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deadlines {
    /// A single object, read or written.
    pub object: Duration,
    /// A list. A watch must have *begun* to answer in this time; then it may be silent: the server ends it after
    /// 290 s, and the watcher gives up on a dead connection by itself a little later.
    pub list: Duration,
}

impl Default for Deadlines {
    fn default() -> Self {
        Self {
            object: Duration::from_secs(10),
            list: Duration::from_secs(30),
        }
    }
}

/// No client for the Kubernetes API could be made.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// Neither a kubeconfig nor a service account.
    #[error("found no way to the Kubernetes API: run in a pod with a service account, or set KUBECONFIG")]
    Infer(#[source] kube::config::InferConfigError),
    /// The configuration names certificates or credentials that cannot be used.
    #[error("the configuration for the Kubernetes API cannot be used")]
    Build(#[source] kube::Error),
}

/// Why a call has no answer. Found in an error of kube by [`call_error`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// This process does not hold the Lease: the call was not sent.
    #[error("not sent: this process does not hold the lease")]
    Fenced,
    /// The Lease ran out while the call was on its way: it may have been applied.
    #[error("given up: the lease ran out before the answer came")]
    CutOff,
    /// No answer in time: a write may have been applied.
    #[error("no answer within {0:?}")]
    Late(Duration),
}

/// What is known about a write that returned an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It was not applied: never sent, or refused by the API server.
    NotApplied,
    /// It may have been applied: only an observation can tell.
    Unknown,
}

/// The client of this process, by kubeconfig or service account.
pub async fn connect(fence: Fence, metrics: Metrics) -> Result<Client, ConnectError> {
    let config = Config::infer().await.map_err(ConnectError::Infer)?;
    with_config(config, fence, metrics).map_err(ConnectError::Build)
}

/// A client for `config`, with its retries off and guarded as this module says.
pub fn with_config(mut config: Config, fence: Fence, metrics: Metrics) -> Result<Client, kube::Error> {
    config.default_retry = false;
    config.connect_timeout = Some(CONNECT_TIMEOUT);
    // A silent watch is no dead one; calls have their deadline from the guard.
    config.read_timeout = None;
    config.headers.push((USER_AGENT, HeaderValue::from_static(AGENT)));
    let guard = GuardLayer::new(fence, metrics, Deadlines::default());
    Ok(ClientBuilder::try_from(config)?.with_layer(&guard).build())
}

/// The guard's own error, if that is what `error` is.
pub fn call_error(error: &kube::Error) -> Option<CallError> {
    let kube::Error::Service(source) = error else {
        return None;
    };
    source.downcast_ref().copied()
}

/// Whether a write that ended with `error` may have been applied. A 5xx does not say: the API server may have
/// passed the write on before it failed to answer.
pub fn fate(error: &kube::Error) -> Fate {
    match (call_error(error), error) {
        (Some(CallError::Fenced), _) | (None, kube::Error::BuildRequest(_)) => Fate::NotApplied,
        (None, kube::Error::Api(status)) if (400..500).contains(&status.code) => Fate::NotApplied,
        _ => Fate::Unknown,
    }
}

/// How long the API server asks to be left alone, if it does.
pub fn retry_after(error: &kube::Error) -> Option<Duration> {
    let kube::Error::Api(status) = error else {
        return None;
    };
    let seconds = status.details.as_ref()?.retry_after_seconds;
    (seconds > 0).then(|| Duration::from_secs(seconds.into()))
}

#[cfg(test)]
mod tests;
