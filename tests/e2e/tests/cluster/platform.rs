//! What every other suite stands on: pods, Services, PostgreSQL and the search engines work.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{Pod, Service},
};
use kube::{
    Api, Client,
    api::{ListParams, PostParams},
};
use serde_json::json;
use slipway_e2e::{
    cluster::Cluster, components::PAUSE_IMAGE, namespaces, postgres::Postgres, search_engine::SearchEngine,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::sleep,
};

/// Three pods that answer with their own name, behind Service `echo`.
async fn deploy_echo(client: &Client, namespace: &str) -> Result<String> {
    let labels = json!({ "app": "echo" });
    let deployment: Deployment = serde_json::from_value(json!({
        "metadata": { "name": "echo" },
        "spec": {
            "replicas": 3,
            "selector": { "matchLabels": labels },
            "template": {
                "metadata": { "labels": labels },
                "spec": { "containers": [{
                    "name": "echo",
                    "image": PAUSE_IMAGE,
                    "args": [":8080"],
                    "resources": { "requests": { "cpu": "10m" } },
                    "readinessProbe": { "httpGet": { "path": "/", "port": 8080 }, "periodSeconds": 1 },
                }] },
            },
        },
    }))?;
    let service: Service = serde_json::from_value(json!({
        "metadata": { "name": "echo" },
        "spec": { "selector": labels, "ports": [{ "port": 80, "targetPort": 8080 }] },
    }))?;
    let deployments: Api<Deployment> = Api::namespaced(client.clone(), namespace);
    deployments.create(&PostParams::default(), &deployment).await?;
    let services: Api<Service> = Api::namespaced(client.clone(), namespace);
    let service = services.create(&PostParams::default(), &service).await?;
    let started = Instant::now();
    while deployments
        .get_status("echo")
        .await?
        .status
        .and_then(|status| status.ready_replicas)
        != Some(3)
    {
        ensure!(
            started.elapsed() < Duration::from_mins(1),
            "the pods are not ready after a minute"
        );
        sleep(Duration::from_millis(100)).await;
    }
    service
        .spec
        .and_then(|spec| spec.cluster_ip)
        .context("a Service has a ClusterIP")
}

async fn get(address: &str) -> Result<String> {
    let mut stream = TcpStream::connect((address, 80)).await?;
    stream
        .write_all(b"GET / HTTP/1.1\r\nHost: echo\r\nConnection: close\r\n\r\n")
        .await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    let (head, body) = answer.split_once("\r\n\r\n").context("the answer has a body")?;
    ensure!(head.starts_with("HTTP/1.1 200"), "{head}");
    Ok(body.to_owned())
}

#[tokio::test]
#[ignore = "needs the cluster: cargo verify"]
async fn pods_answer_through_their_cluster_ip() -> Result<()> {
    let cluster = Cluster::attach()?;
    let client = cluster.client().await?;
    namespaces::create(&client, "platform-echo").await?;
    let address = deploy_echo(&client, "platform-echo").await?;
    sleep(Duration::from_secs(1)).await;
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..60 {
        seen.insert(get(&address).await?);
    }
    assert_eq!(seen.len(), 3, "each of the three pods answers: {seen:?}");
    let pods: Api<Pod> = Api::namespaced(client.clone(), "platform-echo");
    for pod in pods.list(&ListParams::default()).await? {
        let process = cluster.process_of(&pod)?;
        assert!(std::fs::read_to_string(format!("/proc/{process}/cmdline"))?.starts_with("/pause"));
    }
    namespaces::delete(&client, "platform-echo").await
}

#[tokio::test]
#[ignore = "needs the cluster: cargo verify"]
async fn each_test_has_its_own_database() -> Result<()> {
    let cluster = Cluster::attach()?;
    let client = cluster.client().await?;
    let postgres = Postgres::start(&cluster).await?;
    postgres.create_database("platform").await?;
    postgres
        .query("platform", "CREATE TABLE product (id int)")
        .await?;
    postgres
        .query("platform", "INSERT INTO product SELECT generate_series(1, 3)")
        .await?;
    assert_eq!(
        postgres
            .query("platform", "SELECT count(*), max(id) FROM product")
            .await?,
        "3|3"
    );
    let error = postgres
        .query("platform", "SELECT totl FROM product")
        .await
        .expect_err("no such column");
    assert!(
        error.to_string().contains("column \"totl\" does not exist"),
        "{error}"
    );

    namespaces::create(&client, "platform-database").await?;
    let url = postgres.expose(&client, "platform-database", "platform").await?;
    let address = url
        .trim_start_matches("postgres://postgres@")
        .trim_end_matches("/platform");
    reachable(address).await?;
    namespaces::delete(&client, "platform-database").await
}

#[tokio::test]
#[ignore = "needs the cluster: cargo verify"]
async fn search_engines_answer_through_a_service() -> Result<()> {
    let cluster = Cluster::attach()?;
    let client = cluster.client().await?;
    for (engine, namespace) in [
        (SearchEngine::OpenSearch, "platform-opensearch"),
        (SearchEngine::Elasticsearch, "platform-elasticsearch"),
    ] {
        engine.start(&cluster).await?;
        namespaces::create(&client, namespace).await?;
        let url = engine.expose(&client, namespace).await?;
        reachable(url.trim_start_matches("http://")).await?;
        namespaces::delete(&client, namespace).await?;
    }
    Ok(())
}

/// Waits until a ClusterIP takes a connection: kube-proxy follows within moments.
async fn reachable(address: &str) -> Result<()> {
    let started = Instant::now();
    while let Err(error) = TcpStream::connect(address).await {
        ensure!(started.elapsed() < Duration::from_secs(10), "{address}: {error}");
        sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}
