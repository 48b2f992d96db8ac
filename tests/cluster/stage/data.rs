//! A shop's database and search index, as they are before anybody releases version 2.

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::core::v1::Secret;
use kube::api::{Patch, PatchParams};
use kube::{Api, Client};
use serde_json::{Value, json};
use slipway_tests::harness::cluster::Cluster;
use slipway_tests::harness::postgres::Postgres;
use slipway_tests::harness::search_engine::SearchEngine;
use tokio::process::Command;

use super::install;

/// Where a shop keeps its data.
#[derive(Clone, Debug)]
pub struct Data {
    /// Name of its database.
    pub database: String,
    /// Its engine.
    pub engine: SearchEngine,
    /// The alias that its first version reads.
    pub alias: String,
}

impl Data {
    /// Fills a database and an index of its own, and tells the pods of the namespace of both.
    pub async fn load(
        cluster: &Cluster,
        client: &Client,
        namespace: &str,
        engine: SearchEngine,
        products: u32,
    ) -> Result<Self> {
        let postgres = Postgres::start(cluster).await?;
        engine.start(cluster).await?;
        let data = Self {
            database: namespace.to_owned(),
            engine,
            // Indices of different shops live side by side in one engine.
            alias: format!("products-{namespace}"),
        };
        postgres.create_database(&data.database).await?;
        data.run(cluster, "1", None, &["migrate"]).await?;
        if products > 0 {
            data.run(cluster, "1", None, &["load", &products.to_string()])
                .await?;
        }
        data.run(cluster, "1", None, &["reindex"]).await?;
        let secret = json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "shop"},
            "stringData": {
                "DATABASE_URL": postgres.expose(client, namespace, &data.database).await?,
                "SEARCH_URL": engine.expose(client, namespace).await?,
                "SHOP_INDEX": data.alias,
                "SHOP_DRAIN_SECONDS": "1",
            },
        });
        let secrets: Api<Secret> = Api::namespaced(client.clone(), namespace);
        let parameters = PatchParams::apply("slipway-tests").force();
        secrets.patch("shop", &parameters, &Patch::Apply(&secret)).await?;
        Ok(data)
    }

    /// Runs a command of the shop beside the pods, in a version and with a generation; what it prints.
    pub async fn run(
        &self,
        cluster: &Cluster,
        version: &str,
        generation: Option<&str>,
        arguments: &[&str],
    ) -> Result<String> {
        let postgres = Postgres::start(cluster).await?;
        let mut command = Command::from(cluster.command(install::shop().await?)?);
        command.args(arguments);
        command
            .env("SHOP_VERSION", version)
            .env("DATABASE_URL", postgres.url(&self.database))
            .env("SEARCH_URL", self.engine.url())
            .env("SHOP_INDEX", &self.alias)
            .env("SEARCH_INDEX_GENERATION", generation.unwrap_or_default());
        let output = command.output().await.context("cannot start the shop")?;
        ensure!(
            output.status.success(),
            "shop {}: {}",
            arguments.join(" "),
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Compares a version's index with the database, one by one.
    pub async fn check(&self, cluster: &Cluster, version: &str, generation: Option<&str>) -> Result<Value> {
        let said = self.run(cluster, version, generation, &["check"]).await?;
        let last = said.lines().last().context("check says nothing")?;
        serde_json::from_str(last).with_context(|| format!("check says {last}"))
    }
}
