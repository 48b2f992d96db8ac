//! The ways back: a new side that does not boot, one that dies after the cutover, and a person who asks.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context, Result};
use kube::ResourceExt;
use serde_json::json;
use slipway_crds::names::{ABORT, ROLLBACK};
use slipway_crds::v1alpha1::Phase;
use slipway_judge::observer::Move;

use super::stage::{Setup, Stage, condition, phase};
use super::traffic::STORY;

/// After a change of a Service, new connections go the new way within this time.
const PROXY: Duration = Duration::from_millis(500);

async fn uids(stage: &Stage, image: &str) -> Result<BTreeSet<Option<String>>> {
    Ok(stage.pods(image).await?.iter().map(ResourceExt::uid).collect())
}

/// Kills the processes of an image's pods whenever they run. It ends only with an error.
async fn keep_killing<T>(stage: &Stage, image: &str) -> Result<T> {
    loop {
        for pod in stage.pods(image).await? {
            // Between two lives there is nothing to kill.
            drop(stage.kill(&[pod]));
        }
        tokio::time::sleep(PROXY).await;
    }
}

#[tokio::test]
#[ignore = "needs the cluster: cargo verify"]
async fn a_new_side_that_dies_in_watch_is_left_within_a_second() -> Result<()> {
    let stage = Setup::hello("rescue").traffic(100).open().await?;
    let old = uids(&stage, "shop:1.0").await?;
    stage.release(&json!({"watch": {"for": "5m"}})).await?;
    stage.until_phase(Phase::Watch).await?;
    let killed = stage.observer.mark("killed");
    // The kubelet starts a container that died once at once, and it is ready again within a second: all are dead at
    // the same time only if what comes back is killed again.
    let release = tokio::select! {
        release = stage.until_phase(Phase::RolledBack) => release?,
        never = keep_killing(&stage, "shop:2.0") => never?,
    };
    let (reason, message) = condition(&release, "RolledBack").context("condition RolledBack")?;
    assert_eq!(reason, "NewSideFailed", "{message}");
    assert_eq!(
        release.status.as_ref().and_then(|status| status.serving.clone()),
        Some("shop-1".into())
    );
    stage.assert_restored().await?;
    assert_eq!(
        uids(&stage, "shop:1.0").await?,
        old,
        "the old pods were warm all the while"
    );
    assert!(stage.pods("shop:2.0").await?.is_empty());

    let account = stage.close().await?;
    let (report, seen) = (account.report(), &account.seen);
    let back = seen
        .moves
        .iter()
        .find(|moved| moved.what == Move::FlipBack)
        .context("a flip back")?
        .at;
    let dead = seen
        .endpoints
        .since("web", killed.at)
        .iter()
        .find(|ready| ready.total() == 0);
    // The controller may see it, and act, before the Service's endpoints do.
    let dead = dead.map_or(back, |none| none.at);
    println!(
        "traffic back {:?} after the new side was seen dead",
        back.duration_since(dead)
    );
    assert!(back.duration_since(dead) <= jiff::SignedDuration::from_secs(1));
    let served = report.offset(back) + PROXY;
    let late: Vec<_> = report
        .failures()
        .filter(|(sample, _)| sample.at >= served)
        .collect();
    assert!(late.is_empty(), "{}", report.describe_failures(served));
    assert_eq!(
        seen.order(),
        [
            &STORY[..7],
            &[
                Move::FlipBack,
                Move::Unbolt,
                Move::Revert,
                Move::Unpin,
                Move::Close
            ]
        ]
        .concat()
    );
    Ok(())
}

#[tokio::test]
#[ignore = "needs the cluster: cargo verify"]
async fn one_evicted_pod_or_another_size_is_no_reason_to_go_back() -> Result<()> {
    let stage = Setup::hello("no-rescue").traffic(50).open().await?;
    stage.release(&json!({"watch": {"for": "5m"}})).await?;
    stage.until_phase(Phase::Watch).await?;
    let pods = stage.pods("shop:2.0").await?;
    stage.evict(&pods[0]).await?;
    stage.until_sides(3).await?;
    stage.scale(2).await?;
    stage.until_sides(2).await?;
    stage.scale(4).await?;
    stage.until_sides(4).await?;
    assert_eq!(phase(&stage.now()), Some(Phase::Watch));
    stage.edit(&json!({"spec": {"watch": {"for": "0s"}}})).await?;
    stage.until_phase(Phase::Complete).await?;
    stage.assert_restored().await?;
    assert_eq!(stage.pods("shop:2.0").await?.len(), 4);
    stage.close_with(&STORY).await
}

#[tokio::test]
#[ignore = "needs the cluster: cargo verify"]
async fn a_new_side_that_never_gets_ready_is_taken_away_again() -> Result<()> {
    gives_up("never-ready", "shop:never-ready", "0 of 3 ready").await
}

#[tokio::test]
#[ignore = "needs the cluster: cargo verify"]
async fn a_new_side_that_crash_loops_is_taken_away_again() -> Result<()> {
    gives_up("crash-loop", "shop:crash-loop", "CrashLoopBackOff").await
}

async fn gives_up(name: &str, image: &str, says: &str) -> Result<()> {
    let stage = Setup::hello(name).traffic(50).open().await?;
    let old = uids(&stage, "shop:1.0").await?;
    stage
        .release(&json!({"image": image, "preboot": {"timeout": "12s"}}))
        .await?;
    stage.until_phase(Phase::Failed).await?;
    let message = stage.until_stalled("PrebootTimeout").await?;
    assert!(
        message.contains(says) && message.contains("shop-1 serves unchanged"),
        "{message}"
    );
    stage.assert_restored().await?;
    assert_eq!(uids(&stage, "shop:1.0").await?, old);
    assert!(stage.pods(image).await?.is_empty());
    // The mended version goes its way without further ado.
    stage
        .edit(&json!({"spec": {"image": "shop:2.0", "preboot": {"timeout": "2m"}}}))
        .await?;
    stage.until_phase(Phase::Complete).await?;
    let account = stage.close().await?;
    account.report().assert_no_failures();
    let seen = &account.seen;
    assert!(
        seen.endpoints.fewest("web", seen.started_at) >= Some(3),
        "{:?}",
        seen.endpoints.timeline("web")
    );
    let given_up = [
        Move::Claim,
        Move::Open,
        Move::Pin,
        Move::Hold,
        Move::Lock,
        Move::Revert,
        Move::Unpin,
        Move::Close,
    ];
    assert_eq!(seen.order(), [&given_up[..], &STORY[1..]].concat());
    Ok(())
}

#[tokio::test]
#[ignore = "needs the cluster: cargo verify"]
async fn a_person_may_ask_for_the_way_back() -> Result<()> {
    let stage = Setup::hello("asked").pods(2).traffic(50).open().await?;
    stage
        .release(&json!({"preboot": {"minimumWait": "5m", "timeout": "10m"}, "watch": {"for": "5m"}}))
        .await?;
    stage.until_sides(2).await?;
    stage.pull(ABORT).await?;
    stage.until_phase(Phase::Aborted).await?;
    stage.assert_restored().await?;
    assert!(stage.pods("shop:2.0").await?.is_empty());

    stage
        .edit(&json!({"spec": {"image": "shop:2.1", "preboot": {"minimumWait": "0s"}}}))
        .await?;
    stage.until_phase(Phase::Watch).await?;
    stage.pull(ROLLBACK).await?;
    let release = stage.until_phase(Phase::RolledBack).await?;
    assert_eq!(
        condition(&release, "RolledBack").map(|(reason, _)| reason),
        Some("RollbackRequested")
    );
    stage.assert_restored().await?;
    assert_eq!(stage.pods("shop:1.0").await?.len(), 2);
    assert!(stage.pods("shop:2.1").await?.is_empty());
    let account = stage.close().await?;
    account.report().assert_no_failures();
    Ok(())
}
