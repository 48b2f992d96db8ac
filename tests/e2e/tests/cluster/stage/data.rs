//! A shop's database and search index, as they are before anybody releases version 2.

use anyhow::{Context, Result, ensure};
use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper_util::client::legacy::Client as HttpClient;
use hyper_util::rt::TokioExecutor;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{Patch, PatchParams};
use kube::{Api, Client};
use serde_json::{Value, json};
use slipway_e2e::{cluster::Cluster, postgres::Postgres, search_engine::SearchEngine};
use tokio::process::Command;

use super::install;

/// Where a shop keeps its data.
#[derive(Clone, Debug)]
pub(crate) struct Data {
    /// Name of its database.
    pub(crate) database: String,
    /// Its engine, where it has one.
    pub(crate) engine: Option<SearchEngine>,
    /// The alias that its first version reads.
    pub(crate) alias: String,
}

impl Data {
    /// Makes an empty database, and tells the pods of the namespace of it and of the engine, if there is one.
    pub(crate) async fn create(
        cluster: &Cluster,
        client: &Client,
        namespace: &str,
        engine: Option<SearchEngine>,
    ) -> Result<Self> {
        let postgres = Postgres::start(cluster).await?;
        let data = Self {
            database: namespace.to_owned(),
            engine,
            // Indices of different shops live side by side in one engine.
            alias: format!("products-{namespace}"),
        };
        postgres.create_database(&data.database).await?;
        let mut settings = json!({
            "DATABASE_URL": postgres.expose(client, namespace, &data.database).await?,
            "SHOP_INDEX": data.alias,
            "SHOP_DRAIN_SECONDS": "2",
        });
        if let Some(engine) = engine {
            engine.start(cluster).await?;
            settings["SEARCH_URL"] = json!(engine.expose(client, namespace).await?);
        }
        let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "shop"}, "stringData": settings});
        let secrets: Api<Secret> = Api::namespaced(client.clone(), namespace);
        let parameters = PatchParams::apply("slipway-tests").force();
        secrets.patch("shop", &parameters, &Patch::Apply(&secret)).await?;
        Ok(data)
    }

    /// Version 1 moves in, with so many products.
    pub(crate) async fn load(&self, cluster: &Cluster, products: u32) -> Result<()> {
        self.run(cluster, "1", None, &["migrate"]).await?;
        if products > 0 {
            self.run(cluster, "1", None, &["load", &products.to_string()])
                .await?;
        }
        if self.engine.is_some() {
            self.run(cluster, "1", None, &["reindex"]).await?;
        }
        Ok(())
    }

    /// Asks the engine for something that only a person would do.
    pub(crate) async fn ask(&self, method: &str, path: &str, body: &Value) -> Result<Value> {
        let engine = self.engine.context("it has no engine")?;
        let request = http::Request::builder()
            .method(method)
            .uri(format!("{}{path}", engine.url()))
            .header("content-type", "application/json")
            .body(Full::new(if body.is_null() {
                Bytes::new()
            } else {
                Bytes::from(body.to_string())
            }))?;
        let client = HttpClient::builder(TokioExecutor::new()).build_http();
        let response = client
            .request(request)
            .await
            .context("the engine does not answer")?;
        let status = response.status();
        let said = response.into_body().collect().await?.to_bytes();
        ensure!(
            status.is_success(),
            "{method} {path}: {status} {}",
            String::from_utf8_lossy(&said)
        );
        serde_json::from_slice(&said).with_context(|| format!("{method} {path} answers no JSON"))
    }

    /// Names of its indices, live or not.
    pub(crate) async fn indices(&self) -> Result<Vec<String>> {
        let found = self
            .ask("GET", &format!("/{}*/_alias", self.alias), &Value::Null)
            .await?;
        Ok(found
            .as_object()
            .map(|found| found.keys().cloned().collect())
            .unwrap_or_default())
    }

    /// Runs a statement in the database; its rows.
    pub(crate) async fn query(&self, cluster: &Cluster, statement: &str) -> Result<String> {
        Postgres::start(cluster)
            .await?
            .query(&self.database, statement)
            .await
    }

    /// Runs a command of the shop beside the pods, in a version and with a generation; what it prints.
    pub(crate) async fn run(
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
            .env(
                "SEARCH_URL",
                self.engine.map(SearchEngine::url).unwrap_or_default(),
            )
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
    pub(crate) async fn check(
        &self,
        cluster: &Cluster,
        version: &str,
        generation: Option<&str>,
    ) -> Result<Value> {
        let said = self.run(cluster, version, generation, &["check"]).await?;
        let last = said.lines().last().context("check says nothing")?;
        serde_json::from_str(last).with_context(|| format!("check says {last}"))
    }
}
