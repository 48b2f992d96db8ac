//! How a stage is set up.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Service;
use kube::{Api, Client};
use serde_json::{Value, json};
use slipway_e2e::{
    cluster::Cluster,
    namespaces,
    observer::Observer,
    search_engine::SearchEngine,
    traffic::{Mix, Mode, Traffic, TrafficConfig},
};
use slipway_judge::observer::ObserverConfig;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep};

use super::data::Data;
use super::follow::Follower;
use super::install::{Place, WindowGuard};
use super::manifests;
use super::verbs::kubectl;
use super::views::{UserValues, ready};
use super::{PATIENCE, Stage};

/// A stage to be set up.
#[derive(Clone, Debug)]
pub(crate) struct Setup {
    name: String,
    pods: u32,
    products: Option<u32>,
    engine: SearchEngine,
    guard: WindowGuard,
    alone: bool,
    beside: bool,
    traffic: Option<u32>,
    mode: Mode,
    deployment: Value,
    settled: bool,
    empty: bool,
    database: bool,
}

impl Setup {
    /// Pods that only tell their version: many tests need no more.
    pub(crate) fn hello(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            pods: 3,
            products: None,
            engine: SearchEngine::OpenSearch,
            guard: WindowGuard::Deny,
            alone: false,
            beside: false,
            traffic: None,
            mode: Mode::NewConnections,
            deployment: json!({}),
            settled: true,
            empty: false,
            database: false,
        }
    }

    /// The whole shop, with so many products in its database and its index.
    pub(crate) fn shop(name: &str, products: u32) -> Self {
        Self {
            products: Some(products),
            pods: 2,
            ..Self::hello(name)
        }
    }

    /// Another number of web pods than three (two in the shop).
    pub(crate) fn pods(self, pods: u32) -> Self {
        Self { pods, ..self }
    }

    /// Elasticsearch in place of OpenSearch.
    pub(crate) fn elasticsearch(self) -> Self {
        Self {
            engine: SearchEngine::Elasticsearch,
            ..self
        }
    }

    /// So many requests a second from the beginning to the end.
    pub(crate) fn traffic(self, rate: u32) -> Self {
        Self {
            traffic: Some(rate),
            ..self
        }
    }

    /// By connections that stay open.
    pub(crate) fn kept_alive(self, connections: usize) -> Self {
        Self {
            mode: Mode::KeepAlive { connections },
            ..self
        }
    }

    /// Without the window guard.
    pub(crate) fn guard(self, guard: WindowGuard) -> Self {
        Self { guard, ..self }
    }

    /// With nobody else in the cluster: for tests that disturb the controller.
    pub(crate) fn alone(self) -> Self {
        Self { alone: true, ..self }
    }

    /// Beside another stage of the same test, which has the place for both.
    pub(crate) fn beside(self) -> Self {
        Self { beside: true, ..self }
    }

    /// Changes the user's Deployment `web` (RFC 7386).
    pub(crate) fn deployment(mut self, patch: &Value) -> Self {
        json_patch::merge(&mut self.deployment, patch);
        self
    }

    /// Before the first installation: the shop's manifests of version 2, an empty database, no index, no worker.
    pub(crate) fn empty(self) -> Self {
        Self { empty: true, ..self }
    }

    /// With a database for its tasks, as version 1 left it.
    pub(crate) fn database(self) -> Self {
        Self {
            database: true,
            ..self
        }
    }

    /// Returns before the pods are ready.
    pub(crate) fn unsettled(self) -> Self {
        Self {
            settled: false,
            ..self
        }
    }

    /// Sets it up.
    pub(crate) async fn open(self) -> Result<Stage> {
        let cluster = Cluster::attach()?;
        let place = if self.beside {
            None
        } else {
            Some(Place::take(&cluster, self.guard, self.alone).await?)
        };
        let client = cluster.client().await?;
        let namespace = namespace(&client, &self.name).await?;
        let data = self.data(&cluster, &client, &namespace).await?;
        let (mut objects, release) = self.manifests(data.as_ref())?;
        for object in &mut objects {
            if object["kind"] == "Deployment" && object["metadata"]["name"] == "web" {
                json_patch::merge(object, &self.deployment);
            }
        }
        apply(&cluster, &namespace, &objects).await?;
        if self.settled {
            for object in objects.iter().filter(|object| object["kind"] == "Deployment") {
                let name = object["metadata"]["name"].as_str().unwrap_or_default();
                settled(&client, &namespace, name).await?;
            }
        }
        let mut config = ObserverConfig::new(cluster.audit_log(), &namespace).services(&["web"]);
        if let Some((data, engine)) = data.as_ref().and_then(|data| Some((data, data.engine?))) {
            config = config.aliases(engine.url(), &[&data.alias]);
        }
        let observer = Observer::start(client.clone(), config).await?;
        let traffic = match self.traffic {
            Some(rate) => Some(self.start_traffic(&client, &namespace, rate).await?),
            None => None,
        };
        Ok(Stage {
            before: UserValues::read(&client, &namespace).await?,
            follower: Follower::start(&client, &namespace, "shop"),
            cluster,
            client,
            namespace,
            manifests: objects,
            release,
            data,
            observer,
            traffic,
            _place: place,
        })
    }

    async fn data(&self, cluster: &Cluster, client: &Client, namespace: &str) -> Result<Option<Data>> {
        let search = self.products.map(|_| self.engine);
        if search.is_none() && !self.database {
            return Ok(None);
        }
        let data = Data::create(cluster, client, namespace, search).await?;
        if !self.empty {
            data.load(cluster, self.products.unwrap_or(0)).await?;
        }
        Ok(Some(data))
    }

    fn manifests(&self, data: Option<&Data>) -> Result<(Vec<Value>, Value)> {
        let (mut objects, mut release) = match (self.products, data) {
            (Some(_), Some(data)) => (manifests::shop(self.pods)?, manifests::shop_release(&data.alias)?),
            _ => (manifests::hello(self.pods), manifests::hello_release()),
        };
        if self.database {
            let container = &mut objects[0]["spec"]["template"]["spec"]["containers"][0];
            container["envFrom"] = json!([{"secretRef": {"name": "shop"}}]);
        }
        if self.empty {
            objects.retain(|object| object["metadata"]["name"] == "web");
            objects[0]["spec"]["template"]["spec"]["containers"][0]["image"] = json!("shop:2.0");
            release["spec"]["workloads"]
                .as_array_mut()
                .context("workloads")?
                .truncate(1);
        }
        Ok((objects, release))
    }

    async fn start_traffic(&self, client: &Client, namespace: &str, rate: u32) -> Result<Traffic> {
        let services: Api<Service> = Api::namespaced(client.clone(), namespace);
        let service = services.get("web").await?;
        let address = service
            .spec
            .and_then(|spec| spec.cluster_ip)
            .context("a ClusterIP")?;
        let target = SocketAddr::new(address.parse()?, 80);
        let started = Instant::now();
        // kube-proxy follows within moments.
        while let Err(error) = TcpStream::connect(target).await {
            ensure!(started.elapsed() < PATIENCE, "{target}: {error}");
            sleep(Duration::from_millis(50)).await;
        }
        let mix = match self.products {
            Some(products) => Mix::shop(products.into()),
            None => Mix::only("/"),
        };
        let config = TrafficConfig::new(target, mix)
            .rate(rate)
            .mode(self.mode)
            // A busy machine answers late; late is not lost.
            .timeout(Duration::from_secs(10));
        let traffic = Traffic::start(config);
        let flows = traffic.flowing(u64::from(rate) / 2, PATIENCE).await;
        ensure!(flows, "no traffic flows: {:?}", traffic.live());
        Ok(traffic)
    }
}

/// A namespace of that name; with a number behind it, where an earlier run has left one.
pub(crate) async fn namespace(client: &Client, name: &str) -> Result<String> {
    for number in 1..100 {
        let name = if number == 1 {
            name.to_owned()
        } else {
            format!("{name}-{number}")
        };
        match namespaces::create(client, &name).await {
            Ok(()) => return Ok(name),
            Err(error) if format!("{error:#}").contains("already exists") => {}
            Err(error) => return Err(error),
        }
    }
    anyhow::bail!("too many namespaces {name} are left: cargo cluster -- down")
}

async fn apply(cluster: &Cluster, namespace: &str, objects: &[Value]) -> Result<()> {
    let list = json!({"apiVersion": "v1", "kind": "List", "items": objects});
    kubectl(cluster, namespace, &["apply", "-f", "-"], &list.to_string()).await?;
    Ok(())
}

async fn settled(client: &Client, namespace: &str, name: &str) -> Result<()> {
    let deployments: Api<Deployment> = Api::namespaced(client.clone(), namespace);
    let started = Instant::now();
    loop {
        let deployment = deployments.get(name).await?;
        let wanted = deployment.spec.as_ref().and_then(|spec| spec.replicas);
        if Some(ready(&deployment)) == wanted {
            return Ok(());
        }
        ensure!(
            started.elapsed() < PATIENCE,
            "the pods of {name} are not ready: {:?}",
            deployment.status
        );
        sleep(Duration::from_millis(100)).await;
    }
}
