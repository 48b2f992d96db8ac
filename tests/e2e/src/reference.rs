//! A second API server beside a cluster's own, on which no controller works: what one writes there stays as it is.

use std::time::Duration;

use anyhow::{Context, Result};
use kube::{
    Client, Config,
    config::{KubeConfigOptions, Kubeconfig},
};

use super::{
    cluster::{Cluster, is_ready},
    components,
    network::{NODE_ADDRESS, REFERENCE_PORT},
    process::{Process, wait_until},
};

/// How long it may take to answer; some seconds on a fast machine.
const PATIENCE: Duration = Duration::from_mins(2);

/// The server. It ends when this is dropped, or with the cluster.
pub struct Reference {
    process: Process,
    client: Client,
}

impl Reference {
    /// Starts it, in a part of its own of the cluster's etcd, and returns when it answers.
    ///
    /// # Errors
    /// When it does not come up; the message then has the end of its log.
    pub async fn start(cluster: &Cluster) -> Result<Self> {
        let client = client(cluster).await?;
        let mut process = components::reference(cluster.sandbox())?;
        wait_until("the second API server", PATIENCE, &mut [&mut process], || {
            is_ready(&client)
        })
        .await?;
        Ok(Self { process, client })
    }

    /// A client with every right.
    pub fn client(&self) -> &Client {
        &self.client
    }
}

impl Drop for Reference {
    fn drop(&mut self) {
        self.process.kill();
    }
}

async fn client(cluster: &Cluster) -> Result<Client> {
    let mut kubeconfig = Kubeconfig::read_from(cluster.kubeconfig()).context("cannot read the kubeconfig")?;
    for server in kubeconfig
        .clusters
        .iter_mut()
        .filter_map(|named| named.cluster.as_mut())
    {
        server.server = Some(format!("https://{NODE_ADDRESS}:{REFERENCE_PORT}"));
    }
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default())
        .await
        .context("the kubeconfig is not valid")?;
    Client::try_from(config).context("cannot make a client")
}
