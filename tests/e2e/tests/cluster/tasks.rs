//! Tasks that something outside of them ends, or keeps from beginning.

use std::time::{Duration, Instant};

use anyhow::Result;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Pod, ResourceQuota};
use kube::ResourceExt;
use kube::api::{DeleteParams, ListParams, PostParams};
use serde_json::{Value, json};
use slipway_crds::names::ABORT;
use slipway_crds::v1alpha1::Phase;
use slipway_crds::v1alpha1::status::{TaskOutcome, TaskReason};

use super::stage::{Setup, Stage};

/// How soon a person reads why a task's Job has no pod.
const SOON: Duration = Duration::from_secs(10);

fn nap(seconds: &str, settings: &Value) -> Value {
    let mut expand = json!({"command": ["/shop", "nap", seconds]});
    json_patch::merge(&mut expand, settings);
    json!({"migrate": {"expand": expand}})
}

/// Leaves no room for another pod.
async fn fill(stage: &Stage) -> Result<()> {
    let pods = stage.api::<Pod>().list(&ListParams::default()).await?.items.len();
    let quota = json!({"metadata": {"name": "full"}, "spec": {"hard": {"pods": pods.to_string()}}});
    let quota: ResourceQuota = serde_json::from_value(quota)?;
    stage.api().create(&PostParams::default(), &quota).await?;
    let counted = async || {
        let quota: ResourceQuota = stage.api().get("full").await?;
        Ok(quota.status.and_then(|status| status.used))
    };
    stage
        .eventually("a quota that counts the pods", counted)
        .await
        .map(drop)
}

#[tokio::test]
#[ignore = "needs the cluster: cargo verify"]
async fn a_migration_that_is_killed_is_not_tried_again_by_itself() -> Result<()> {
    let stage = Setup::hello("killed").pods(1).open().await?;
    stage.release(&nap("60", &json!({"retries": 2}))).await?;
    stage
        .until("a running migration", |release| {
            let tasks = release.status.iter().flat_map(|status| &status.tasks);
            tasks.into_iter().any(|task| task.started_at.is_some())
        })
        .await?;
    stage.kill(&stage.task_pods().await?)?;
    let message = stage.until_stalled("TaskUnknown").await?;
    println!("{message}");
    assert!(message.contains("signal 9 ended it"), "{message}");
    assert!(message.contains("application_name shop-2-expand-1"), "{message}");
    let release = stage.now();
    let tasks: Vec<_> = release.status.iter().flat_map(|status| &status.tasks).collect();
    let ends: Vec<_> = tasks.iter().map(|task| (task.outcome, task.reason)).collect();
    assert_eq!(ends, [(Some(TaskOutcome::Unknown), Some(TaskReason::Killed))]);
    stage.pull(ABORT).await?;
    stage.until_phase(Phase::Aborted).await?;
    stage.assert_restored().await?;
    let account = stage.close().await?;
    assert_eq!(account.seen.jobs.len(), 1, "{:?}", account.seen.jobs);
    Ok(())
}

#[tokio::test]
#[ignore = "needs the cluster: cargo verify"]
async fn a_migration_without_room_for_its_pod_says_so_and_never_runs_once_it_is_given_up() -> Result<()> {
    let stage = Setup::hello("quota").pods(1).open().await?;
    fill(&stage).await?;
    stage.release(&nap("1", &json!({}))).await?;
    let begun = Instant::now();
    let waits = |release: &slipway_crds::v1alpha1::Release| {
        let waiting = release
            .status
            .as_ref()
            .and_then(|status| status.waiting_for.as_deref());
        waiting.is_some_and(|waiting| waiting.contains("exceeded quota: full"))
    };
    let release = stage.until("the quota's own words", waits).await?;
    println!(
        "{:.1}s: {:?}",
        begun.elapsed().as_secs_f64(),
        release.status.as_ref().map(|status| &status.waiting_for)
    );
    assert!(begun.elapsed() < SOON, "told after {:?}", begun.elapsed());
    stage.pull(ABORT).await?;
    stage.until_phase(Phase::Aborted).await?;
    assert!(stage.api::<Job>().get_opt("shop-2-expand-1").await?.is_none());

    // There is room again: what was given up does not run, and what comes next does.
    let quotas = stage.api::<ResourceQuota>();
    quotas.delete("full", &DeleteParams::default()).await?;
    stage.edit(&json!({"spec": {"image": "shop:2.1"}})).await?;
    stage.until_phase(Phase::Complete).await?;
    let pods: Vec<_> = stage
        .task_pods()
        .await?
        .iter()
        .map(ResourceExt::name_any)
        .collect();
    assert!(
        pods.iter().all(|pod| pod.starts_with("shop-3-expand-1-")) && !pods.is_empty(),
        "{pods:?}"
    );
    stage.close().await.map(drop)
}
