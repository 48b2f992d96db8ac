//! Everything that is there before the release: database, search engine, controller, and the shop in version 1.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Stdio,
};

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::core::v1::{Secret, Service};
use kube::{Api, Client, api::PostParams};
use serde_json::{Value, json};
use slipway_e2e::{
    cargo::root,
    cluster::Cluster,
    helm, namespaces,
    postgres::Postgres,
    progress::{Progress, Stage},
    search_engine::SearchEngine,
};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::Command,
};

use super::{NAMESPACE, Options, SYSTEM, engine::Engine, numbers::grouped};

const ENGINE: SearchEngine = SearchEngine::OpenSearch;
const DATABASE: &str = "shop";

/// The running application and how to reach it.
pub(super) struct Application<'a> {
    pub(super) cluster: &'a Cluster,
    pub(super) client: Client,
    pub(super) engine: Engine,
    /// Where customers go.
    pub(super) address: SocketAddr,
    postgres: Postgres<'a>,
    binary: PathBuf,
}

impl<'a> Application<'a> {
    /// Sets all of it up.
    pub(super) async fn set_up(
        cluster: &'a Cluster,
        options: &Options,
        binary: &Path,
        progress: &Progress,
    ) -> Result<Self> {
        let client = cluster.client().await?;
        namespaces::create(&client, NAMESPACE).await?;
        let (postgres, ()) = tokio::try_join!(database(cluster, progress), search_engine(cluster, progress))?;
        let mut application = Self {
            cluster,
            client,
            engine: Engine::new(ENGINE.url()),
            address: SocketAddr::from(([127, 0, 0, 1], 80)),
            postgres,
            binary: binary.to_owned(),
        };
        tokio::try_join!(controller(cluster, progress), application.fill(options, progress))?;
        application.address = application.deploy(options, progress).await?;
        Ok(application)
    }

    /// Runs a command of the shop beside the cluster and returns the JSON that it ends with.
    pub(super) async fn shop(
        &self,
        version: &str,
        generation: &str,
        arguments: &[&str],
        mut show: impl FnMut(&str),
    ) -> Result<Value> {
        let what = format!("shop {}", arguments.join(" "));
        let mut command = Command::from(self.cluster.command(&self.binary)?);
        command.args(arguments).env("SHOP_VERSION", version);
        command
            .env("DATABASE_URL", self.postgres.url(DATABASE))
            .env("SEARCH_URL", ENGINE.url());
        command.env("SEARCH_INDEX_GENERATION", generation);
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        let mut child = command.spawn().with_context(|| format!("cannot start {what}"))?;
        let output = child.stdout.take().context("the output is piped")?;
        let mut lines = BufReader::new(output).lines();
        let mut last = String::new();
        while let Some(line) = lines.next_line().await.with_context(|| what.clone())? {
            show(&line);
            last = line;
        }
        let ended = child.wait_with_output().await.with_context(|| what.clone())?;
        ensure!(
            ended.status.success(),
            "{what} failed ({}): {}",
            ended.status,
            String::from_utf8_lossy(&ended.stderr).trim()
        );
        serde_json::from_str(&last).with_context(|| format!("{what} ends with {last:?}, not with JSON"))
    }

    /// `kubectl` in the shop's namespace; returns what it prints.
    pub(super) async fn kubectl(&self, arguments: &[&str]) -> Result<String> {
        let mut command = Command::from(self.cluster.command("kubectl")?);
        command.args(["--namespace", NAMESPACE]).args(arguments);
        let output = command.output().await.context("cannot start kubectl")?;
        ensure!(
            output.status.success(),
            "kubectl {}: {}",
            arguments.join(" "),
            String::from_utf8_lossy(&output.stderr).trim()
        );
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Schema, rows and index of version 1, as an application has them that never heard of Slipway.
    async fn fill(&self, options: &Options, progress: &Progress) -> Result<()> {
        let stage = progress.stage("shop's data");
        let products = options.products.to_string();
        self.shop("1", "", &["migrate"], |_| {}).await?;
        for arguments in [["load", &products].as_slice(), &["reindex"]] {
            let said = arguments[0];
            self.shop("1", "", arguments, |line| stage.flash(&format!("{said}: {line}")))
                .await?;
        }
        stage.done(&format!(
            "{} products in the database and in the index",
            grouped(options.products.into())
        ));
        Ok(())
    }

    /// The Deployments and the Service, as their owner applies them. Returns the Service's address.
    async fn deploy(&self, options: &Options, progress: &Progress) -> Result<SocketAddr> {
        let stage = progress.stage("shop 1.0 serving");
        self.secret().await?;
        let [web, worker] = ["web.yaml", "worker.yaml"].map(manifest);
        self.kubectl(&["apply", "--filename", &web, "--filename", &worker])
            .await?;
        for deployment in ["deployment/web", "deployment/worker"] {
            stage.note(&format!("waiting for {deployment}"));
            self.kubectl(&["rollout", "status", deployment, "--timeout", "2m"])
                .await?;
        }
        let services: Api<Service> = Api::namespaced(self.client.clone(), NAMESPACE);
        let service = services.get("web").await.context("cannot read Service web")?;
        let address = service
            .spec
            .and_then(|spec| spec.cluster_ip)
            .context("Service web has no ClusterIP")?;
        stage.done(&format!(
            "3 web, 2 worker · {} products · {} requests/s",
            grouped(options.products.into()),
            options.rate
        ));
        Ok(SocketAddr::new(
            address.parse().context("a ClusterIP is an address")?,
            80,
        ))
    }

    async fn secret(&self) -> Result<()> {
        let database = self.postgres.expose(&self.client, NAMESPACE, DATABASE).await?;
        let search = ENGINE.expose(&self.client, NAMESPACE).await?;
        let secret: Secret = serde_json::from_value(json!({
            "metadata": { "name": "shop" },
            "stringData": BTreeMap::from([("DATABASE_URL", database), ("SEARCH_URL", search)]),
        }))?;
        let secrets: Api<Secret> = Api::namespaced(self.client.clone(), NAMESPACE);
        secrets
            .create(&PostParams::default(), &secret)
            .await
            .context("cannot make Secret shop")?;
        Ok(())
    }
}

/// The path of one of the shop's manifests.
pub(super) fn manifest(name: &str) -> String {
    format!("{}/tests/apps/shop/k8s/{name}", root().display())
}

async fn database<'a>(cluster: &'a Cluster, progress: &Progress) -> Result<Postgres<'a>> {
    let stage = progress.stage("PostgreSQL");
    stage.note("starting");
    let postgres = Postgres::start(cluster).await?;
    postgres.create_database(DATABASE).await?;
    let version = postgres.query(DATABASE, "SHOW server_version").await?;
    let version = version.split(' ').next().unwrap_or_default();
    let took = super::spoken(stage.elapsed());
    stage.done(&format!("{version}, {took}"));
    Ok(postgres)
}

async fn search_engine(cluster: &Cluster, progress: &Progress) -> Result<()> {
    let stage = progress.stage(&format!("{ENGINE:?}"));
    stage.note("starting");
    ENGINE.start(cluster).await?;
    stage.done_in_time();
    Ok(())
}

/// Installs the controller by its two charts with real Helm.
async fn controller(cluster: &Cluster, progress: &Progress) -> Result<()> {
    let stage: Stage = progress.stage("slipway installed");
    let charts = root().join("charts");
    for chart in ["slipway-crds", "slipway"] {
        stage.note(&format!("helm install {chart}"));
        helm::install(cluster, chart, &charts.join(chart), SYSTEM, &json!({})).await?;
    }
    stage.done("helm, 2 replicas");
    Ok(())
}
