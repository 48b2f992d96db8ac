//! The engine behind the controller's own search client.

use futures::{FutureExt, future::BoxFuture};
use slipway_controller::search::{Answer, Ask, Transport, TransportError};
use slipway_kubernetes::search::Unanswered;

use super::cluster::{self, Shared};

/// A way to the engine of a simulated cluster, with the cluster's latency and the engine's faults.
#[derive(Clone, Debug)]
pub struct SimulatedTransport {
    cluster: Shared,
}

impl SimulatedTransport {
    /// A way to the engine of this cluster.
    pub fn new(cluster: Shared) -> Self {
        Self { cluster }
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
            let result = cluster::lock(&self.cluster).search.exchange(
                ask.method.as_str(),
                &ask.path,
                ask.body.as_ref(),
            );
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
