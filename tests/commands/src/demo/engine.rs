//! The search engine as the demo asks it, past the controller and the application.

use anyhow::{Context, Result, ensure};
use http_body_util::{BodyExt, Full};
use hyper::{Method, Request, body::Bytes};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use serde_json::Value;

/// A search engine by its address.
#[derive(Clone, Debug)]
pub(super) struct Engine {
    url: String,
    client: Client<HttpConnector, Full<Bytes>>,
}

/// The state of an index that changes with every write, be it of the same content again.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct Watermark {
    /// Documents that a search finds.
    pub(super) documents: u64,
    /// The highest sequence number of each shard, with the shard's index and its UUID.
    shards: Vec<String>,
}

impl Engine {
    pub(super) fn new(url: String) -> Self {
        Self {
            url,
            client: Client::builder(TokioExecutor::new()).build_http(),
        }
    }

    /// The one index behind an alias.
    pub(super) async fn index_of(&self, alias: &str) -> Result<String> {
        let answer = self.ask(Method::GET, &format!("/_alias/{alias}")).await?;
        let indices: Vec<&String> = answer
            .as_object()
            .into_iter()
            .flat_map(|all| all.keys())
            .collect();
        let [index] = indices.as_slice() else {
            anyhow::bail!("alias {alias} leads to {indices:?}, not to one index");
        };
        Ok((*index).clone())
    }

    /// Documents in all indices whose names fit; none where there is no such index.
    pub(super) async fn count(&self, names: &str) -> Result<u64> {
        let path = format!("/{names}/_count?ignore_unavailable=true&allow_no_indices=true");
        self.ask(Method::GET, &path).await?["count"]
            .as_u64()
            .context("the engine counts no documents")
    }

    /// Makes everything written so far count, and reads the watermark.
    pub(super) async fn watermark(&self, index: &str) -> Result<Watermark> {
        self.ask(Method::POST, &format!("/{index}/_refresh")).await?;
        let stats = self
            .ask(Method::GET, &format!("/{index}/_stats/docs?level=shards"))
            .await?;
        let mut shards = Vec::new();
        for (name, one) in stats["indices"].as_object().into_iter().flatten() {
            for (number, copies) in one["shards"].as_object().into_iter().flatten() {
                let last = &copies[0]["seq_no"]["max_seq_no"];
                shards.push(format!("{name} {} {number} {last}", one["uuid"]));
            }
        }
        ensure!(!shards.is_empty(), "the engine knows no shard of {index}");
        Ok(Watermark {
            documents: self.count(index).await?,
            shards,
        })
    }

    async fn ask(&self, method: Method, path: &str) -> Result<Value> {
        let what = format!("{method} {path}");
        let request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.url));
        let request = request.body(Full::default()).context("the path is not valid")?;
        let response = self.client.request(request).await.with_context(|| what.clone())?;
        let status = response.status();
        let body = response
            .into_body()
            .collect()
            .await
            .with_context(|| what.clone())?
            .to_bytes();
        ensure!(
            status.is_success(),
            "{what}: {status} {}",
            String::from_utf8_lossy(&body)
                .chars()
                .take(300)
                .collect::<String>()
        );
        serde_json::from_slice(&body).context(what)
    }
}
