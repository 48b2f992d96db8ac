//! A real OpenSearch or Elasticsearch beside the cluster, run from the jars of Maven Central.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use http_body_util::{BodyExt, Empty};
use hyper::body::Bytes;
use hyper_util::{client::legacy::Client as HttpClient, rt::TokioExecutor};
use tokio::task::spawn_blocking;

use super::{
    cache,
    cluster::Cluster,
    network::{NODE_ADDRESS, expose},
    packages::{program, run_shown},
    process::{Process, wait_until},
    progress::Progress,
};

/// Which engine.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum SearchEngine {
    /// OpenSearch 2.
    OpenSearch,
    /// Elasticsearch 7, the last with a free licence.
    Elasticsearch,
}

/// What differs from engine to engine.
struct Traits {
    /// Its folder in `tests/e2e/binaries`, its configuration file's and its log's name.
    name: &'static str,
    pom: &'static str,
    main_class: &'static str,
    /// The runner's first node listens on the next port after this; it takes none above 9299.
    base_port: u16,
}

impl SearchEngine {
    /// Every engine.
    pub const ALL: [Self; 2] = [Self::OpenSearch, Self::Elasticsearch];

    /// Fetches the engine's jars into the cache, once. Outside of the namespaces, which have no way out.
    ///
    /// # Errors
    /// When Maven is missing or fails.
    pub fn fetch(self, progress: &Progress) -> Result<()> {
        let stage = progress.stage(&format!("{} {}", self.traits().name, self.version()));
        let folder = self.folder()?;
        if folder.exists() {
            stage.done("in the cache");
            return Ok(());
        }
        stage.note("fetching its jars from Maven Central (once)");
        let maven = program("mvn").context("Maven is missing: apt-get install maven")?;
        cache::fill_once(&folder, |draft| {
            let mut command = Command::new(maven);
            command.args(["--batch-mode", "dependency:copy-dependencies", "--file"]);
            command.arg(
                Path::new(env!("CARGO_MANIFEST_DIR"))
                    .join("binaries")
                    .join(self.traits().name),
            );
            command.arg(format!("-DoutputDirectory={}", draft.display()));
            run_shown(&mut command, |line| stage.flash(line))
        })?;
        stage.done_in_time();
        Ok(())
    }

    /// Starts the engine in the cluster's network, or finds the one that another test has started.
    ///
    /// # Errors
    /// When it does not come up; the message has the end of its log.
    pub async fn start(self, cluster: &Cluster) -> Result<()> {
        let Traits {
            name,
            main_class,
            base_port,
            ..
        } = self.traits();
        let state = cluster.sandbox().state().join(name);
        let lock = state.with_extension("lock");
        let _lock = spawn_blocking(move || cache::lock(&lock))
            .await
            .context("the lock's thread panicked")??;
        if self.is_up().await {
            return Ok(());
        }
        let jars = self.folder()?;
        ensure!(
            jars.exists(),
            "the jars of {name} are missing: `cargo cluster -- up` fetches them"
        );
        let java = program("java").context("Java is missing: apt-get install default-jre-headless")?;
        let configuration = state.join("configuration");
        fs::create_dir_all(&configuration)
            .with_context(|| format!("cannot create {}", configuration.display()))?;
        let settings = format!(
            "network.host: {NODE_ADDRESS}\n\
             discovery.type: single-node\n\
             cluster.routing.allocation.disk.threshold_enabled: false\n"
        );
        fs::write(configuration.join(format!("{name}.yml")), settings)
            .context("cannot write the settings")?;
        let arguments = [
            "-Xms512m",
            "-Xmx512m",
            "-XX:+UseSerialGC",
            "-cp",
            &format!("{}/*", jars.display()),
            main_class,
            "-basePath",
            &state.display().to_string(),
            "-confPath",
            &configuration.display().to_string(),
            "-numOfNode",
            "1",
            "-clusterName",
            name,
            "-baseHttpPort",
            &base_port.to_string(),
        ]
        .map(str::to_owned);
        let mut process = Process::start(cluster.sandbox(), name, java, &arguments, &[])?;
        wait_until(name, Duration::from_mins(2), &mut [&mut process], || self.is_up()).await
    }

    /// Where processes that run inside, but not in a pod, call it.
    pub fn url(self) -> String {
        format!("http://{NODE_ADDRESS}:{}", self.port())
    }

    /// Gives pods of a namespace a Service `search`, and returns the URL by its ClusterIP.
    ///
    /// # Errors
    /// When the API server refuses.
    pub async fn expose(self, client: &kube::Client, namespace: &str) -> Result<String> {
        let address = expose(client, namespace, "search", 9200, self.port()).await?;
        Ok(format!("http://{address}:9200"))
    }

    fn port(self) -> u16 {
        self.traits().base_port + 1
    }

    fn traits(self) -> Traits {
        match self {
            Self::OpenSearch => Traits {
                name: "opensearch",
                pom: include_str!("../binaries/opensearch/pom.xml"),
                main_class: "org.codelibs.opensearch.runner.OpenSearchRunner",
                base_port: 9200,
            },
            Self::Elasticsearch => Traits {
                name: "elasticsearch",
                pom: include_str!("../binaries/elasticsearch/pom.xml"),
                main_class: "org.codelibs.elasticsearch.runner.ElasticsearchClusterRunner",
                base_port: 9210,
            },
        }
    }

    /// The version of its runner, which is the engine's with one more number; the last that the pom names.
    fn version(self) -> &'static str {
        let text = self.traits().pom.rsplit("<version>").next().unwrap_or_default();
        text.split('<').next().unwrap_or_default()
    }

    fn folder(self) -> Result<PathBuf> {
        Ok(cache::directory()?.join(format!("{}-{}", self.traits().name, self.version())))
    }

    async fn is_up(self) -> bool {
        let client = HttpClient::builder(TokioExecutor::new()).build_http::<Empty<Bytes>>();
        let url = format!("{}/_cluster/health", self.url());
        let Ok(url) = url.parse() else { return false };
        let Ok(response) = client.get(url).await else {
            return false;
        };
        let Ok(body) = response.into_body().collect().await else {
            return false;
        };
        let health = String::from_utf8_lossy(&body.to_bytes()).into_owned();
        health.contains("\"green\"") || health.contains("\"yellow\"")
    }
}

#[cfg(test)]
mod tests {
    use super::SearchEngine;

    #[test]
    fn versions_come_from_the_poms() {
        assert_eq!(SearchEngine::OpenSearch.version(), "2.19.1.0");
        assert_eq!(SearchEngine::Elasticsearch.version(), "7.10.2.0");
    }
}
