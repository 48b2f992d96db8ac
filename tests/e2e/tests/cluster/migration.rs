//! The migration, once and at most once, on a real PostgreSQL.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Pod, ResourceQuota};
use kube::ResourceExt;
use kube::api::{DeleteParams, ListParams, PostParams};
use serde_json::{Value, json};
use slipway_crds::names::{ABORT, RETRY};
use slipway_crds::v1alpha1::status::{TaskOutcome, TaskReason, TaskStatus};
use slipway_crds::v1alpha1::{Phase, Release};

use super::stage::{Setup, Stage};
use super::traffic::STORY;

/// How soon a person reads what a task's pod says of why it does not start.
const SOON: Duration = Duration::from_secs(10);

/// A Release whose migration runs with these variables.
fn migrate(environment: &[(&str, &str)]) -> Value {
    let environment: Vec<_> = environment
        .iter()
        .map(|(name, value)| json!({"name": name, "value": value}))
        .collect();
    json!({"migrate": {"expand": {"command": ["/shop", "migrate"], "env": environment, "lockTimeout": "5s"}}})
}

/// A Release whose migration sleeps.
fn nap(seconds: &str, settings: &Value) -> Value {
    let mut expand = json!({"command": ["/shop", "nap", seconds]});
    json_patch::merge(&mut expand, settings);
    json!({"migrate": {"expand": expand}})
}

fn tasks(release: &Release) -> &[TaskStatus] {
    release.status.as_ref().map_or(&[], |status| &status.tasks)
}

fn waiting(release: &Release) -> &str {
    release
        .status
        .as_ref()
        .and_then(|status| status.waiting_for.as_deref())
        .unwrap_or_default()
}

/// Waits until the migration's process is at work; its pod.
async fn running(stage: &Stage) -> Result<Pod> {
    stage
        .until("a running migration", |release| {
            tasks(release)
                .last()
                .is_some_and(|task| task.started_at.is_some())
        })
        .await?;
    stage.task_pods().await?.pop().context("a task pod")
}

/// Waits until the pod of a task says itself why it does not start: how soon it does is the cluster's affair.
async fn pod_says(stage: &Stage) -> Result<()> {
    let says = |pod: &Pod| {
        let status = pod.status.clone().unwrap_or_default();
        let mut conditions = status.conditions.iter().flatten();
        let waiting = status
            .container_statuses
            .iter()
            .flatten()
            .filter_map(|container| {
                let waiting = container.state.as_ref()?.waiting.as_ref()?;
                waiting.reason.as_deref()
            });
        conditions.any(|condition| condition.reason.as_deref() == Some("Unschedulable"))
            || waiting.into_iter().any(|reason| reason != "ContainerCreating")
    };
    let look = async || {
        let pods = stage.task_pods().await?;
        let live = pods
            .iter()
            .filter(|pod| pod.metadata.deletion_timestamp.is_none());
        Ok(live.into_iter().any(says).then_some(()))
    };
    stage
        .eventually("a task's pod that says why it does not start", look)
        .await
}

/// A person gives the revision up: all is as it was, and nothing ran twice.
async fn given_up_after_one_job(stage: Stage) -> Result<()> {
    stage.pull(ABORT).await?;
    stage.until_phase(Phase::Aborted).await?;
    stage.assert_restored().await?;
    let account = stage.close().await?;
    assert_eq!(account.seen.jobs.len(), 1, "{:?}", account.seen.jobs);
    Ok(())
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
async fn a_migration_that_fails_is_told_in_its_own_words_and_can_be_retried() -> Result<()> {
    let stage = Setup::hello("migration")
        .pods(2)
        .database()
        .traffic(50)
        .open()
        .await?;
    stage.release(&migrate(&[("SHOP_FAIL_MIGRATION", "sql")])).await?;
    let release = stage.until_phase(Phase::Failed).await?;
    let message = stage.until_stalled("MigrationFailed").await?;
    assert!(
        message.contains("column \"prize_cents\"") && message.contains("does not exist"),
        "{message}"
    );
    assert!(
        message.contains("Nothing was booted; shop-1 serves unchanged"),
        "{message}"
    );
    assert!(message.contains("slipway.dev/retry=shop-2"), "{message}");
    let task = &tasks(&release)[0];
    assert_eq!(
        (task.outcome, task.exit_code),
        (Some(TaskOutcome::Failed), Some(1))
    );
    assert!(stage.pods("shop:2.0").await?.is_empty());
    stage.assert_restored().await?;

    let data = stage.data.clone().context("it has data")?;
    data.query(
        &stage.cluster,
        "alter table products add column prize_cents bigint",
    )
    .await?;
    stage.pull(RETRY).await?;
    let release = stage.until_phase(Phase::Complete).await?;
    assert_eq!(
        tasks(&release)
            .iter()
            .map(|task| task.attempt)
            .collect::<Vec<_>>(),
        [1, 2]
    );
    assert_eq!(
        data.query(
            &stage.cluster,
            "select count(*) from _sqlx_migrations where version in (3, 9999)"
        )
        .await?,
        "2"
    );
    stage.close_with(&STORY).await
}

#[tokio::test]
#[ignore = "needs the cluster: cargo verify"]
async fn what_has_run_once_is_not_run_again() -> Result<()> {
    let stage = Setup::hello("once").pods(1).database().open().await?;
    stage.release(&migrate(&[])).await?;
    stage.until_phase(Phase::Complete).await?;
    for image in ["shop:2.1", "shop:2.0"] {
        stage.edit(&json!({"spec": {"image": image}})).await?;
        stage.until_phase(Phase::Complete).await?;
    }
    let account = stage.close().await?;
    let ran: Vec<_> = account.seen.jobs.iter().map(|job| job.name.as_str()).collect();
    assert_eq!(
        ran,
        ["shop-2-expand-1", "shop-3-expand-1"],
        "shop-4 has the image of shop-2, whose migration ran"
    );
    Ok(())
}

#[tokio::test]
#[ignore = "needs the cluster: cargo verify"]
async fn an_evicted_migration_that_claims_success_is_not_believed() -> Result<()> {
    let stage = Setup::hello("evicted").pods(1).database().open().await?;
    stage
        .release(&migrate(&[
            ("SHOP_EXIT_ZERO_ON_TERM", "1"),
            ("SHOP_MIGRATION_SLEEP", "60"),
        ]))
        .await?;
    let pod = running(&stage).await?;
    stage.evict(&pod).await?;
    let message = stage.until_stalled("TaskUnknown").await?;
    println!("{message}");
    let release = stage.now();
    let [task] = tasks(&release) else {
        panic!("one attempt: {:?}", tasks(&release))
    };
    assert_eq!(
        (task.outcome, task.reason),
        (Some(TaskOutcome::Unknown), Some(TaskReason::Interrupted))
    );
    let job: Job = stage.api().get("shop-2-expand-1").await?;
    println!(
        "its Job reads {:?}",
        job.status.and_then(|status| status.conditions)
    );
    assert!(stage.pods("shop:2.0").await?.is_empty());

    given_up_after_one_job(stage).await
}

#[tokio::test]
#[ignore = "needs the cluster: cargo verify"]
async fn a_job_deleted_by_hand_leaves_its_outcome_unknown() -> Result<()> {
    let stage = Setup::hello("deleted").pods(1).database().open().await?;
    stage
        .release(&migrate(&[
            ("SHOP_IGNORE_SIGTERM", "1"),
            ("SHOP_MIGRATION_SLEEP", "6"),
        ]))
        .await?;
    let pod = running(&stage).await?;
    stage
        .api::<Job>()
        .delete("shop-2-expand-1", &DeleteParams::background())
        .await?;
    stage
        .until("the word on the pod that lives on", |release| {
            waiting(release).contains("Waiting for its pod to end")
        })
        .await?;
    assert!(stage.api::<Pod>().get_opt(&pod.name_any()).await?.is_some());
    stage.until_stalled("TaskUnknown").await?;
    assert!(stage.pods("shop:2.0").await?.is_empty());
    // A person has looked, and says: once more.
    stage.pull(RETRY).await?;
    stage.until_phase(Phase::Complete).await?;
    let account = stage.close().await?;
    let ran: Vec<_> = account.seen.jobs.iter().map(|job| job.name.as_str()).collect();
    assert_eq!(ran, ["shop-2-expand-1", "shop-2-expand-2"]);
    Ok(())
}

#[tokio::test]
#[ignore = "needs the cluster: cargo verify"]
async fn what_keeps_a_task_from_starting_is_told_within_seconds() -> Result<()> {
    let stage = Setup::hello("starting").pods(1).open().await?;
    let secret = json!([{"name": "KEY", "valueFrom": {"secretKeyRef": {"name": "missing", "key": "key"}}}]);
    let cases = [
        ("shop:missing", json!({}), "shop:missing"),
        (
            "shop:2.0",
            json!({"resources": {"requests": {"cpu": "1000"}}}),
            "Insufficient cpu",
        ),
        ("shop:2.0", json!({"env": secret}), "secret \"missing\" not found"),
    ];
    for (image, settings, says) in cases {
        let mut spec = nap("1", &settings);
        spec["image"] = json!(image);
        stage.release(&spec).await?;
        pod_says(&stage).await?;
        let said = Instant::now();
        let release = stage
            .until(says, |release| waiting(release).contains(says))
            .await?;
        println!(
            "{:.1}s after its pod: {}",
            said.elapsed().as_secs_f64(),
            waiting(&release)
        );
        assert!(said.elapsed() < SOON, "told after {:?}", said.elapsed());
        stage.pull(ABORT).await?;
        stage.until_phase(Phase::Aborted).await?;
    }
    stage.assert_restored().await?;
    stage.close().await.map(drop)
}

#[tokio::test]
#[ignore = "needs the cluster: cargo verify"]
async fn a_task_that_never_starts_ends_the_release_in_time() -> Result<()> {
    let stage = Setup::hello("deadline").pods(1).open().await?;
    let expand = json!({"command": ["/shop", "nap", "1"], "startDeadline": "4s"});
    stage
        .release(&json!({"image": "shop:missing", "migrate": {"expand": expand}}))
        .await?;
    stage.until_phase(Phase::Failed).await?;
    let message = stage.until_stalled("MigrationFailed").await?;
    println!("{message}");
    stage.assert_restored().await?;
    stage.close().await.map(drop)
}

#[tokio::test]
#[ignore = "needs the cluster: cargo verify"]
async fn a_migration_that_is_killed_is_not_tried_again_by_itself() -> Result<()> {
    let stage = Setup::hello("killed").pods(1).open().await?;
    stage.release(&nap("60", &json!({"retries": 2}))).await?;
    let pod = running(&stage).await?;
    stage.kill(&[pod])?;
    let message = stage.until_stalled("TaskUnknown").await?;
    println!("{message}");
    assert!(message.contains("signal 9 ended it"), "{message}");
    assert!(message.contains("application_name shop-2-expand-1"), "{message}");
    let release = stage.now();
    let ends: Vec<_> = tasks(&release)
        .iter()
        .map(|task| (task.outcome, task.reason))
        .collect();
    assert_eq!(ends, [(Some(TaskOutcome::Unknown), Some(TaskReason::Killed))]);
    given_up_after_one_job(stage).await
}

#[tokio::test]
#[ignore = "needs the cluster: cargo verify"]
async fn a_migration_without_room_for_its_pod_says_so_and_never_runs_once_it_is_given_up() -> Result<()> {
    let stage = Setup::hello("quota").pods(1).open().await?;
    fill(&stage).await?;
    stage.release(&nap("1", &json!({}))).await?;
    let begun = Instant::now();
    let says = "exceeded quota: full";
    let release = stage
        .until(says, |release| waiting(release).contains(says))
        .await?;
    println!("{:.1}s: {}", begun.elapsed().as_secs_f64(), waiting(&release));
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
