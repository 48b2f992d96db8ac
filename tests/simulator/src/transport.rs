//! The engine behind the controller's own search client.

use futures::{FutureExt, future::BoxFuture};
use serde_json::Value;
use slipway_controller::search::{Answer, Ask, Transport, TransportError};
use slipway_kubernetes::search::Unanswered;

use super::cluster::{self, Shared};

/// A way to an engine of a simulated cluster, with the cluster's latency and the engine's faults.
#[derive(Clone, Debug)]
pub struct SimulatedTransport {
    cluster: Shared,
    host: String,
}

impl SimulatedTransport {
    /// A way to the engine of this cluster that an address such as `http://search:9200` names.
    pub fn new(cluster: Shared, url: &str) -> Self {
        let host = url.trim_start_matches("http://").split(':').next();
        Self {
            cluster,
            host: host.unwrap_or_default().to_owned(),
        }
    }

    fn exchange(&self, ask: &Ask) -> Result<(u16, Value), Unanswered> {
        let mut cluster = cluster::lock(&self.cluster);
        let engine = cluster.engine(&self.host).ok_or(Unanswered::NotSent)?;
        engine.exchange(ask.method.as_str(), &ask.path, ask.body.as_ref())
    }

    fn latency(&self) -> std::time::Duration {
        let mut cluster = cluster::lock(&self.cluster);
        let range = cluster.latency.clone();
        cluster.random.within(&range)
    }
}

impl Transport for SimulatedTransport {
    fn send(&self, ask: Ask) -> BoxFuture<'_, Result<Answer, TransportError>> {
        async move {
            tokio::time::sleep(self.latency()).await;
            let result = self.exchange(&ask);
            tokio::time::sleep(self.latency()).await;
            match result {
                Ok((status, body)) => Ok(Answer { status, body }),
                Err(Unanswered::NotSent) => Err(TransportError::NotSent("connection refused".to_owned())),
                Err(Unanswered::Lost) => Err(TransportError::Lost("connection reset by peer".to_owned())),
            }
        }
        .boxed()
    }
}
