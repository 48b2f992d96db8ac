//! What users and accidents do.

use std::process::Stdio;

use anyhow::{Context, Result, bail};
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use kube::api::{DeleteParams, EvictParams, Patch, PatchParams};
use serde_json::{Value, json};
use slipway_crds::v1alpha1::Release;
use slipway_e2e::cluster::Cluster;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use super::{Stage, revision};

/// Runs kubectl with something on its standard input; what it prints, or why it failed in its own words.
pub(crate) async fn kubectl(
    cluster: &Cluster,
    namespace: &str,
    arguments: &[&str],
    input: &str,
) -> Result<String> {
    let mut command = Command::from(cluster.command("kubectl")?);
    command.args(["--namespace", namespace]).args(arguments);
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().context("cannot start kubectl")?;
    let mut stdin = child.stdin.take().context("kubectl's input is piped")?;
    stdin
        .write_all(input.as_bytes())
        .await
        .context("kubectl does not read")?;
    drop(stdin);
    let output = child
        .wait_with_output()
        .await
        .context("cannot wait for kubectl")?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned());
    }
    bail!(
        "kubectl {}: {}",
        arguments.join(" "),
        String::from_utf8_lossy(&output.stderr).trim()
    )
}

impl Stage {
    /// Runs kubectl in the namespace.
    pub(crate) async fn kubectl(&self, arguments: &[&str]) -> Result<String> {
        kubectl(&self.cluster, &self.namespace, arguments, "").await
    }

    /// `kubectl apply` of objects, with more flags.
    pub(crate) async fn apply(&self, objects: &[Value], flags: &[&str]) -> Result<String> {
        let list = json!({"apiVersion": "v1", "kind": "List", "items": objects});
        let arguments = [&["apply", "-f", "-"], flags].concat();
        kubectl(&self.cluster, &self.namespace, &arguments, &list.to_string()).await
    }

    /// Deletes objects, and returns when they are gone.
    pub(crate) async fn delete(&self, objects: &Value) -> Result<()> {
        let arguments = ["delete", "-f", "-", "--timeout=60s"];
        kubectl(&self.cluster, &self.namespace, &arguments, &objects.to_string())
            .await
            .map(drop)
    }

    /// Applies the Release with changes to its spec (RFC 7386).
    pub(crate) async fn release(&self, spec: &Value) -> Result<()> {
        let mut release = self.release.clone();
        json_patch::merge(&mut release["spec"], spec);
        self.apply(&[release], &[]).await?;
        self.caught_up().await
    }

    /// Edits the Release (RFC 7386).
    pub(crate) async fn edit(&self, patch: &Value) -> Result<()> {
        let parameters = PatchParams::default();
        let releases = self.releases();
        let edited = releases.patch("shop", &parameters, &Patch::Merge(patch)).await;
        edited.context("cannot edit the Release")?;
        self.caught_up().await
    }

    /// Returns when what is waited for next cannot be a state of before.
    async fn caught_up(&self) -> Result<()> {
        let generation = self.releases().get("shop").await?.metadata.generation;
        let seen = self.until("the change", |release| release.metadata.generation >= generation);
        seen.await.map(drop)
    }

    /// Pulls a lever: the annotation, for the newest revision.
    pub(crate) async fn pull(&self, lever: &str) -> Result<()> {
        let release: Release = self.releases().get("shop").await?;
        self.edit(&json!({"metadata": {"annotations": {lever: revision(&release)}}}))
            .await
    }

    /// `kubectl scale` of the web pods.
    pub(crate) async fn scale(&self, pods: u32) -> Result<()> {
        self.kubectl(&["scale", "deployment/web", &format!("--replicas={pods}")])
            .await
            .map(drop)
    }

    /// Asks for the Release's deletion.
    pub(crate) async fn delete_release(&self) -> Result<()> {
        self.releases().delete("shop", &DeleteParams::default()).await?;
        Ok(())
    }

    /// Evicts a pod, as a drain does.
    pub(crate) async fn evict(&self, pod: &Pod) -> Result<()> {
        self.api::<Pod>()
            .evict(&pod.name_any(), &EvictParams::default())
            .await?;
        Ok(())
    }

    /// Kills the process of each pod, as running out of memory does.
    pub(crate) fn kill(&self, pods: &[Pod]) -> Result<()> {
        for pod in pods {
            self.signal(pod, rustix::process::Signal::KILL)?;
        }
        Ok(())
    }

    /// Sends a signal to the process of a pod.
    pub(crate) fn signal(&self, pod: &Pod, signal: rustix::process::Signal) -> Result<()> {
        let number = i32::try_from(self.cluster.process_of(pod)?)?;
        let process = rustix::process::Pid::from_raw(number).context("a process has a number")?;
        rustix::process::kill_process(process, signal).context("cannot send a signal")
    }
}
