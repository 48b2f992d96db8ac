//! Installs charts with the real Helm at the pinned version.

use std::{
    path::Path,
    process::{Output, Stdio},
};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use tokio::{io::AsyncWriteExt, process::Command};

use super::cluster::Cluster;

/// Installs or upgrades the chart in a folder as `release`, and returns when what it made is ready.
///
/// # Errors
/// When Helm fails, also when something is not ready within two minutes; the message has Helm's own.
pub async fn install(
    cluster: &Cluster,
    release: &str,
    chart: &Path,
    namespace: &str,
    values: &Value,
) -> Result<()> {
    ensure!(
        chart.join("Chart.yaml").exists(),
        "no chart is in {}",
        chart.display()
    );
    let mut command = helm(cluster)?;
    command.args(["upgrade", "--install", release]).arg(chart);
    command.args(["--namespace", namespace, "--create-namespace", "--values", "-"]);
    command.args(["--wait", "--timeout", "2m"]);
    let output = run(command, &values.to_string()).await?;
    if output.status.success() {
        return Ok(());
    }
    let pods = Command::from(cluster.command("kubectl")?)
        .args(["get", "pods,events", "--namespace", namespace])
        .output()
        .await
        .context("cannot start kubectl")?;
    bail!(
        "helm upgrade --install {release} {}: {}\n{}",
        chart.display(),
        String::from_utf8_lossy(&output.stderr).trim(),
        String::from_utf8_lossy(&pods.stdout)
    )
}

/// Removes an installed release, and returns when its objects are gone.
///
/// # Errors
/// When Helm fails.
pub async fn uninstall(cluster: &Cluster, release: &str, namespace: &str) -> Result<()> {
    let mut command = helm(cluster)?;
    command.args([
        "uninstall",
        release,
        "--namespace",
        namespace,
        "--wait",
        "--timeout",
        "2m",
    ]);
    let output = run(command, "").await?;
    ensure!(
        output.status.success(),
        "helm uninstall {release}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}

fn helm(cluster: &Cluster) -> Result<Command> {
    let mut command = Command::from(cluster.command("helm")?);
    for variable in ["HELM_CACHE_HOME", "HELM_CONFIG_HOME", "HELM_DATA_HOME"] {
        command.env(variable, cluster.sandbox().state().join("helm"));
    }
    Ok(command)
}

async fn run(mut command: Command, input: &str) -> Result<Output> {
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().context("cannot start helm")?;
    let mut stdin = child.stdin.take().context("helm's input is piped")?;
    stdin
        .write_all(input.as_bytes())
        .await
        .context("helm does not read the values")?;
    drop(stdin);
    child.wait_with_output().await.context("cannot wait for helm")
}
