//! A Release that is deleted in the middle of its work leaves an application that serves, and nothing else.

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use slipway_crds::v1alpha1::status::StepName;
use slipway_crds::v1alpha1::{Phase, Release};

use super::stage::{Setup, Stage};

/// Whether a task of that step is at work.
pub(crate) fn task_runs(release: &Release, step: StepName) -> bool {
    let tasks = release.status.as_ref().map_or(&[][..], |status| &status.tasks);
    tasks
        .iter()
        .any(|task| task.step == step && task.started_at.is_some() && task.outcome.is_none())
}

/// Whether the cutover is recorded, and whether it is confirmed too.
pub(crate) fn cutover(release: &Release) -> Option<bool> {
    let cutover = release.status.as_ref()?.cutover?;
    Some(cutover.confirmed_at.is_some())
}

/// Whether a step was begun.
pub(crate) fn begun(release: &Release, step: StepName) -> bool {
    let steps = release.status.as_ref().map_or(&[][..], |status| &status.steps);
    steps
        .iter()
        .any(|found| found.name == step && found.started_at.is_some())
}

/// Whether new pods boot beside the old ones.
pub(crate) fn held(release: &Release) -> bool {
    let workloads = release
        .status
        .as_ref()
        .map_or(&[][..], |status| &status.workloads);
    workloads.iter().any(|workload| workload.locked_at.is_some())
}

fn preflight(release: &Release) -> bool {
    begun(release, StepName::Preflight)
}

fn prepare(release: &Release) -> bool {
    task_runs(release, StepName::Prepare)
}

fn expand(release: &Release) -> bool {
    task_runs(release, StepName::Expand)
}

fn watch(release: &Release) -> bool {
    cutover(release) == Some(true)
}

fn retire(release: &Release) -> bool {
    begun(release, StepName::Retire)
}

/// What differs from a plain Release, the moment of the deletion, and whether the old version is to serve
/// after it; none where either may.
type Case = (&'static str, Value, fn(&Release) -> bool, Option<bool>);

fn cases() -> Vec<Case> {
    let nap = |seconds: &str| json!(["/shop", "nap", seconds]);
    let long = json!({"preboot": {"minimumWait": "20m", "timeout": "30m"}});
    let warm = json!({"watch": {"for": "20m"}});
    vec![
        ("preflight", json!({}), preflight, Some(true)),
        (
            "prepare",
            json!({"prepare": [{"name": "assets", "command": nap("60")}]}),
            prepare,
            Some(true),
        ),
        (
            "expand",
            json!({"migrate": {"expand": {"command": nap("5")}}}),
            expand,
            Some(true),
        ),
        (
            "open",
            long.clone(),
            |release| begun(release, StepName::Preboot),
            Some(true),
        ),
        ("hold", long, held, Some(true)),
        (
            "cutover",
            warm.clone(),
            |release| cutover(release).is_some(),
            None,
        ),
        ("watch", warm, watch, Some(false)),
        ("retire", json!({"watch": {"for": "0s"}}), retire, Some(false)),
    ]
}

#[tokio::test]
#[ignore = "needs the cluster: cargo verify"]
async fn in_each_step_the_application_serves_on_and_nothing_is_left() -> Result<()> {
    let stage = Setup::hello("deletion").pods(2).traffic(50).open().await?;
    let mut serving = "shop:1.0".to_owned();
    for (moment, changes, is_now, old_serves) in cases() {
        let new = if serving == "shop:2.0" {
            "shop:2.1"
        } else {
            "shop:2.0"
        };
        println!("— deleted in {moment}: {serving} → {new}");
        stage.traffic().mark(moment);
        let mut spec = json!({"image": new});
        json_patch::merge(&mut spec, &changes);
        stage.release(&spec).await?;
        stage.until(moment, is_now).await?;
        stage.delete_release().await?;
        stage.until_gone().await?;
        stage
            .assert_nothing_left()
            .await
            .with_context(|| format!("deleted in {moment}"))?;
        serving = only_image(&stage)
            .await
            .with_context(|| format!("deleted in {moment}"))?;
        if let Some(old) = old_serves {
            assert_eq!(serving != new, old, "deleted in {moment}: {serving} serves");
        }
    }
    let account = stage.close().await?;
    account.report().assert_no_failures();
    Ok(())
}

#[tokio::test]
#[ignore = "needs the cluster: cargo verify"]
async fn a_build_is_stopped_and_its_indices_go_with_the_release() -> Result<()> {
    let stage = Setup::shop("deletion-reindex", 3_000)
        .pods(1)
        .traffic(20)
        .open()
        .await?;
    let delay = json!([{"name": "SHOP_REINDEX_DELAY_MS", "value": "3000"}]);
    stage
        .release(&json!({"reindex": {"build": {"env": delay}}}))
        .await?;
    stage
        .until("a build at work", |release| task_runs(release, StepName::Reindex))
        .await?;
    stage.delete_release().await?;
    stage.until_gone().await?;
    stage.assert_nothing_left().await?;
    let data = stage.data.clone().context("it has data")?;
    let indices = data.indices().await?;
    assert_eq!(indices.len(), 1, "only the live index is left: {indices:?}");
    let account = stage.close().await?;
    account.report().assert_no_failures();
    Ok(())
}

#[tokio::test]
#[ignore = "needs the cluster: cargo verify"]
async fn a_finished_release_takes_only_its_name_away() -> Result<()> {
    let stage = Setup::hello("deletion-end").pods(1).open().await?;
    stage.release(&json!({})).await?;
    stage.until_phase(Phase::Complete).await?;
    stage.delete_release().await?;
    stage.until_gone().await?;
    stage.assert_nothing_left().await?;
    assert_eq!(only_image(&stage).await?, "shop:2.0");
    stage.close().await.map(drop)
}

/// The one version that has pods: as many as are wanted, all of them ready.
async fn only_image(stage: &Stage) -> Result<String> {
    let sides = stage.sides().await?;
    ensure!(sides.len() == 1, "{} ReplicaSets have pods", sides.len());
    let spec = sides[0].spec.clone().context("a spec")?;
    let ready = sides[0].status.as_ref().and_then(|status| status.ready_replicas);
    ensure!(
        ready == spec.replicas,
        "{ready:?} of {:?} pods are ready",
        spec.replicas
    );
    let pod = spec
        .template
        .and_then(|template| template.spec)
        .context("a template")?;
    pod.containers[0].image.clone().context("an image")
}
