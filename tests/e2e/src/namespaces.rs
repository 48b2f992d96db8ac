//! A namespace of its own for each test.

use std::time::Duration;

use anyhow::{Context, Result};
use k8s_openapi::api::core::v1::{Namespace, ServiceAccount};
use kube::{
    Api, Client,
    api::{DeleteParams, PostParams},
};
use serde_json::json;
use tokio::time::{sleep, timeout};

/// Makes a namespace, and returns when pods can be made in it.
///
/// # Errors
/// When it exists already, or its service account does not appear within 20 seconds.
pub async fn create(client: &Client, name: &str) -> Result<()> {
    let namespace: Namespace = serde_json::from_value(json!({ "metadata": { "name": name } }))?;
    Api::all(client.clone())
        .create(&PostParams::default(), &namespace)
        .await
        .with_context(|| format!("cannot make namespace {name}"))?;
    let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), name);
    timeout(Duration::from_secs(20), async {
        while accounts.get_opt("default").await.ok().flatten().is_none() {
            sleep(Duration::from_millis(50)).await;
        }
    })
    .await
    .with_context(|| format!("namespace {name} has no service account after 20s"))
}

/// Asks for a namespace and everything in it to be deleted; does not wait for it.
///
/// # Errors
/// When the API server refuses.
pub async fn delete(client: &Client, name: &str) -> Result<()> {
    let namespaces: Api<Namespace> = Api::all(client.clone());
    namespaces
        .delete(name, &DeleteParams::default())
        .await
        .with_context(|| format!("cannot delete namespace {name}"))?;
    Ok(())
}
