//! What others do to the application while both sides are up: before the cutover and after it, with the
//! window guard and without.
//!
//! One window is kept open through many disturbances, so that each one meets what the ones before have left.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::apps::v1::ReplicaSet;
use kube::ResourceExt;
use kube::api::DeleteParams;
use serde_json::{Value, json};
use slipway_crds::v1alpha1::Phase;
use slipway_crds::v1alpha1::status::RollbackState;
use slipway_judge::observer::Move;

use super::stage::install::WindowGuard;
use super::stage::{Account, Setup, Stage, condition, phase};

const PODS: u32 = 3;

/// A Release whose window stays open until a test lets it go on.
fn open_end() -> Value {
    json!({"preboot": {"minimumWait": "20m", "timeout": "30m"}, "watch": {"for": "20m"}})
}

/// What a user's command came to.
async fn attempt(stage: &Stage, guard: WindowGuard, name: &str, done: Result<String>) -> Result<()> {
    match done {
        Ok(_) => println!("{name}: passed"),
        Err(error) => {
            let said = error.to_string();
            // kubectl itself refuses some commands on a paused Deployment.
            let explained = match guard {
                WindowGuard::Deny => {
                    said.contains("Release shop is in the middle of shop-2") || said.contains("paused")
                }
                WindowGuard::Off => said.contains("paused"),
            };
            ensure!(explained, "{name} was refused without an explanation: {said}");
            println!("{name}: refused: {}", said.lines().last().unwrap_or_default());
        }
    }
    stage
        .until_sides(PODS.cast_signed())
        .await
        .with_context(|| format!("after {name}"))
}

/// Everything that costs no request, at whatever moment of the window.
async fn disturb(stage: &Stage, guard: WindowGuard) -> Result<()> {
    let plain = stage.manifests.clone();
    attempt(
        stage,
        guard,
        "apply of the unchanged manifests",
        stage.apply(&plain, &[]).await,
    )
    .await?;
    if guard == WindowGuard::Deny {
        // With the guard off, preflight refuses manifests that have these fields.
        let fields = json!({"spec": {"minReadySeconds": 0, "progressDeadlineSeconds": 600, "paused": false,
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"}}}});
        let mut full = plain.clone();
        json_patch::merge(&mut full[0], &fields);
        attempt(
            stage,
            guard,
            "apply of manifests with strategy",
            stage.apply(&full, &[]).await,
        )
        .await?;
    }
    let forced = ["--server-side", "--force-conflicts", "--field-manager=gitops"];
    attempt(
        stage,
        guard,
        "forced server-side apply",
        stage.apply(&plain, &forced).await,
    )
    .await?;
    for (name, arguments) in [
        ("rollout restart", &["rollout", "restart", "deployment/web"][..]),
        ("rollout undo", &["rollout", "undo", "deployment/web"]),
        ("rollout resume", &["rollout", "resume", "deployment/web"]),
        ("set image", &["set", "image", "deployment/web", "shop=shop:2.1"]),
        ("rollout pause", &["rollout", "pause", "deployment/web"]),
    ] {
        attempt(stage, guard, name, stage.kubectl(arguments).await).await?;
    }
    stage.scale(5).await?;
    stage.until_sides(5).await?;
    stage.scale(PODS).await?;
    stage.until_sides(PODS.cast_signed()).await?;
    for image in ["shop:1.0", "shop:2.0"] {
        let pods = stage.pods(image).await?;
        stage.evict(&pods[0]).await?;
        stage
            .until_sides(PODS.cast_signed())
            .await
            .with_context(|| format!("after the eviction of a pod of {image}"))?;
    }
    Ok(())
}

async fn delete_side(stage: &Stage, image: &str) -> Result<()> {
    let side = stage.side(image).await?;
    stage
        .api::<ReplicaSet>()
        .delete(&side.name_any(), &DeleteParams::background())
        .await?;
    Ok(())
}

/// Goes on to the cutover.
async fn cut_over(stage: &Stage) -> Result<()> {
    stage
        .edit(&json!({"spec": {"preboot": {"minimumWait": "0s"}}}))
        .await?;
    stage.until_phase(Phase::Watch).await.map(drop)
}

/// Goes on to the end.
async fn finish(stage: &Stage) -> Result<()> {
    stage.edit(&json!({"spec": {"watch": {"for": "0s"}}})).await?;
    stage.until_phase(Phase::Complete).await.map(drop)
}

async fn everything_at_once(name: &str, guard: WindowGuard) -> Result<()> {
    let stage = Setup::hello(name).guard(guard).traffic(50).open().await?;
    stage.release(&open_end()).await?;
    stage.until_sides(PODS.cast_signed()).await?;
    println!("before the cutover");
    disturb(&stage, guard).await?;
    delete_side(&stage, "shop:2.0").await?;
    stage
        .until_sides(PODS.cast_signed())
        .await
        .context("after the deletion of the new side")?;
    assert_eq!(phase(&stage.now()), Some(Phase::Preboot));

    cut_over(&stage).await?;
    println!("after the cutover");
    disturb(&stage, guard).await?;
    assert_eq!(phase(&stage.now()), Some(Phase::Watch));
    delete_side(&stage, "shop:1.0").await?;
    stage
        .until("no way back", |release| {
            let rollback = release
                .status
                .as_ref()
                .and_then(|status| status.rollback.as_ref());
            rollback.is_some_and(|rollback| rollback.state == RollbackState::Unavailable)
        })
        .await?;
    finish(&stage).await?;
    assert_eq!(stage.pods("shop:2.0").await?.len(), PODS as usize);
    stage.assert_restored().await?;
    let account = stage.close().await?;
    account.report().assert_no_failures();
    Ok(())
}

#[tokio::test]
#[ignore = "needs the cluster: cargo verify"]
async fn with_the_guard_nothing_that_others_do_loses_a_request() -> Result<()> {
    everything_at_once("guarded", WindowGuard::Deny).await
}

#[tokio::test]
#[ignore = "needs the cluster: cargo verify"]
async fn without_the_guard_lock_and_bolt_hold_as_well() -> Result<()> {
    everything_at_once("unguarded", WindowGuard::Off).await
}

/// What stands against manifests with the hold's fields where no guard does.
#[tokio::test]
#[ignore = "needs the cluster: cargo verify"]
async fn without_the_guard_manifests_with_the_windows_fields_are_refused() -> Result<()> {
    let fields = json!({"spec": {"minReadySeconds": 1}});
    let stage = Setup::hello("unguarded-fields")
        .guard(WindowGuard::Off)
        .pods(1)
        .deployment(&fields)
        .open()
        .await?;
    stage.release(&json!({})).await?;
    let message = stage.until_stalled("ManifestHoldsFields").await?;
    assert!(message.contains("windowGuard.mode"), "{message}");
    stage.delete_release().await?;
    stage.until_gone().await?;
    stage.assert_nothing_left().await?;
    stage.close().await.map(drop)
}

/// The one gap that is known: without the guard, a resume and a third template right after it, after the
/// cutover. It is undone as fast as it is seen; what it costs is told, and the release ends well.
#[tokio::test]
#[ignore = "needs the cluster: cargo verify"]
async fn without_the_guard_a_third_template_is_undone() -> Result<()> {
    let stage = Setup::hello("third")
        .guard(WindowGuard::Off)
        .traffic(100)
        .open()
        .await?;
    stage.release(&open_end()).await?;
    stage.until_sides(PODS.cast_signed()).await?;
    cut_over(&stage).await?;
    let third = stage.traffic().mark("a third template");
    let patch = json!({"spec": {"paused": false, "template": {"spec": {"containers": [{"name": "shop", "image": "shop:2.1"}]}}}});
    stage
        .kubectl(&["patch", "deployment", "web", "--patch", &patch.to_string()])
        .await?;
    stage
        .eventually("the Deployment to be paused again", || async {
            let web = stage.deployment("web").await?;
            Ok((web.spec.and_then(|spec| spec.paused) == Some(true)).then_some(()))
        })
        .await?;
    stage
        .eventually("three ready pods behind the Service", || async {
            let seen = stage.observer.so_far();
            Ok(seen
                .endpoints
                .timeline("web")
                .last()
                .filter(|ready| ready.total() == 3)
                .map(drop))
        })
        .await?;
    if phase(&stage.now()) == Some(Phase::Watch) {
        finish(&stage).await?;
    } else {
        stage.until_phase(Phase::RolledBack).await?;
    }
    stage.assert_restored().await?;
    assert!(
        stage.pods("shop:2.1").await?.is_empty(),
        "the third template has no pods"
    );
    let account = stage.close().await?;
    let lost = account.report().failed_since(&third);
    println!(
        "a resume with a third template cost {lost} of {} requests",
        account.report().total()
    );
    assert_eq!(lost, account.report().failed());
    Ok(())
}

/// Requests fail while nothing is there to answer, and none after the first ready endpoint is.
fn served_again_within_a_second(account: &Account, accident: &str) {
    let (report, seen) = (account.report(), &account.seen);
    let mark = report
        .marks
        .iter()
        .find(|mark| mark.name == accident)
        .expect("a mark");
    let mut empty = false;
    let mut back = mark.at;
    for ready in seen.endpoints.since("web", mark.at) {
        if ready.total() > 0 && empty {
            back = ready.at;
        }
        empty = ready.total() == 0;
    }
    let served = report.offset(back.max(mark.at)) + Duration::from_secs(1);
    let late = report
        .failures()
        .filter(|(sample, _)| sample.at >= served)
        .count();
    let before = report
        .failures()
        .filter(|(sample, _)| sample.at < report.offset(mark.at))
        .count();
    println!("{accident}: {} requests lost", report.failed());
    assert_eq!(
        (before, late),
        (0, 0),
        "{}",
        report.describe_failures(Duration::ZERO)
    );
}

#[tokio::test]
#[ignore = "needs the cluster: cargo verify"]
async fn scaling_to_zero_ends_a_release_before_the_cutover() -> Result<()> {
    let stage = Setup::hello("zero").pods(2).traffic(50).open().await?;
    stage.release(&open_end()).await?;
    stage.until_sides(2).await?;
    stage.traffic().mark("zero");
    stage.scale(0).await?;
    let message = stage.until_stalled("ScaledToZero").await?;
    assert!(message.contains("scaled to 0"), "{message}");
    stage.until_phase(Phase::Failed).await?;
    stage.assert_restored().await?;
    stage.scale(2).await?;
    until_endpoints(&stage, 2).await?;
    assert_eq!(stage.pods("shop:1.0").await?.len(), 2);
    served_again_within_a_second(&stage.close().await?, "zero");
    Ok(())
}

#[tokio::test]
#[ignore = "needs the cluster: cargo verify"]
async fn scaling_to_zero_after_the_cutover_keeps_the_new_version() -> Result<()> {
    let stage = Setup::hello("zero-watch").pods(2).traffic(50).open().await?;
    stage.release(&open_end()).await?;
    stage.until_sides(2).await?;
    cut_over(&stage).await?;
    stage.traffic().mark("zero");
    stage.scale(0).await?;
    stage.until_phase(Phase::Complete).await?;
    stage.assert_restored().await?;
    stage.scale(2).await?;
    until_endpoints(&stage, 2).await?;
    assert_eq!(stage.pods("shop:2.0").await?.len(), 2);
    served_again_within_a_second(&stage.close().await?, "zero");
    Ok(())
}

#[tokio::test]
#[ignore = "needs the cluster: cargo verify"]
async fn a_serving_side_that_is_deleted_before_the_cutover_comes_back() -> Result<()> {
    let stage = Setup::hello("lost").traffic(50).open().await?;
    stage.release(&open_end()).await?;
    stage.until_sides(PODS.cast_signed()).await?;
    stage.traffic().mark("deleted");
    delete_side(&stage, "shop:1.0").await?;
    let message = stage.until_stalled("ServingSideLost").await?;
    assert!(message.contains("being brought back"), "{message}");
    stage.until_phase(Phase::Failed).await?;
    stage.assert_restored().await?;
    until_endpoints(&stage, 3).await?;
    assert_eq!(stage.pods("shop:1.0").await?.len(), 3);
    served_again_within_a_second(&stage.close().await?, "deleted");
    Ok(())
}

#[tokio::test]
#[ignore = "needs the cluster: cargo verify"]
async fn a_serving_side_that_is_deleted_after_the_cutover_gives_the_traffic_back() -> Result<()> {
    let stage = Setup::hello("lost-watch").traffic(50).open().await?;
    stage.release(&open_end()).await?;
    stage.until_sides(PODS.cast_signed()).await?;
    cut_over(&stage).await?;
    let deleted = stage.traffic().mark("deleted");
    delete_side(&stage, "shop:2.0").await?;
    let release = stage.until_phase(Phase::RolledBack).await?;
    println!("{:?}", condition(&release, "RolledBack"));
    stage.assert_restored().await?;
    assert_eq!(stage.pods("shop:1.0").await?.len(), 3);
    let account = stage.close().await?;
    let back = account
        .seen
        .moves
        .iter()
        .find(|moved| moved.what == Move::FlipBack)
        .context("a flip back")?;
    assert!(
        back.at.duration_since(deleted.at) < jiff::SignedDuration::from_secs(2),
        "{}",
        account.seen.transcript()
    );
    served_again_within_a_second(&account, "deleted");
    Ok(())
}

async fn until_endpoints(stage: &Stage, number: usize) -> Result<()> {
    let seen = stage.observer.until(Duration::from_mins(1), |seen| {
        seen.endpoints
            .timeline("web")
            .last()
            .is_some_and(|ready| ready.total() == number)
    });
    seen.await
        .with_context(|| format!("there are not {number} endpoints"))?;
    // What is asked now tells whether requests are answered again.
    stage.more_traffic(50).await
}
