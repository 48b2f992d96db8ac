//! The story itself, without tasks: version 1 to version 2 under steady traffic.

use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::json;
use slipway_crds::v1alpha1::Phase;
use slipway_e2e::own_time::{self, sides::Watching};
use slipway_judge::observer::Move::{self, Bolt, Claim, Close, Flip, Hold, Lock, Open, Pin, Retire, Unpin};

use super::stage::{PATIENCE, Setup, phase, revision};

/// The writes of a window, in the order in which they keep every request safe.
pub(crate) const STORY: [Move; 10] = [Claim, Open, Pin, Hold, Lock, Bolt, Flip, Retire, Unpin, Close];

/// What a plain release asks of the API server at most, without what is sent again: 18, and one status write for the
/// user's `minReadySeconds`. docs/measurements.md lists them.
const BUDGET: usize = 19;

#[tokio::test]
#[ignore = "needs the cluster: cargo verify"]
async fn a_release_loses_no_request_and_leaves_no_trace() -> Result<()> {
    let own = json!({"spec": {
        "minReadySeconds": 1, "progressDeadlineSeconds": 321,
        "strategy": {"rollingUpdate": {"maxSurge": 1, "maxUnavailable": "20%"}},
    }});
    let stage = Setup::hello("traffic")
        .deployment(&own)
        .traffic(200)
        .open()
        .await?;
    stage.release(&json!({"image": "shop:1.0"})).await?;
    stage.until_phase(Phase::Complete).await?;
    let started = stage.observer.mark("release");
    stage.edit(&json!({"spec": {"image": "shop:2.0"}})).await?;
    stage.until_phase(Phase::Watch).await?;
    assert_eq!(stage.pods("shop:1.0").await?.len(), 3, "the old side stays warm");
    let release = stage.until_phase(Phase::Complete).await?;
    assert_eq!(revision(&release), "shop-2");
    stage.assert_restored().await?;
    assert_eq!(stage.sides().await?.len(), 1);
    assert_eq!(stage.pods("shop:2.0").await?.len(), 3);

    let account = stage.close().await?;
    let (report, seen) = (account.report(), &account.seen);
    report.assert_no_failures();
    assert_eq!(seen.order(), STORY, "{}", seen.transcript());
    assert!(
        seen.endpoints.fewest("web", started.at) >= Some(3),
        "{:?}",
        seen.endpoints.timeline("web")
    );
    let flip = report.offset(seen.first(&Flip).expect("a flip"));
    assert_eq!(report.arrived_before("2", flip), 0);
    assert_eq!(
        report.answered_between("1", flip + Duration::from_secs(1), Duration::MAX),
        0
    );
    let budgeted = seen.requests_since(&started).budgeted();
    println!("{} requests\n{}", budgeted.count(), budgeted.list(started.at));
    let outrun = budgeted.outrun().count();
    let accepted = budgeted.count() - outrun;
    // A window whose opening was outrun records again what it has to put back.
    let recorded_again = outrun.min(1);
    assert!(
        accepted <= BUDGET + recorded_again,
        "{accepted} accepted requests, {outrun} outrun"
    );
    Ok(())
}

#[tokio::test]
#[ignore = "needs the cluster: cargo verify"]
async fn connections_that_stay_open_are_drained() -> Result<()> {
    let stage = Setup::hello("traffic-kept")
        .pods(2)
        .traffic(100)
        .kept_alive(20)
        .open()
        .await?;
    stage.release(&json!({})).await?;
    stage.until_phase(Phase::Complete).await?;
    stage.until_ended("shop:1.0").await?;
    let ended = stage.traffic().mark("the old pods have ended");
    stage.more_traffic(100).await?;
    let account = stage.close().await?;
    let report = account.report();
    report.assert_no_failures();
    let ended = report.offset(ended.at);
    assert_eq!(report.answered_between("1", ended, Duration::MAX), 0);
    assert!(report.answered_between("2", ended, Duration::MAX) > 0);
    assert_eq!(account.seen.order(), STORY);
    Ok(())
}

/// Slipway's own time for a release, at the median, where nothing else keeps the machine busy.
const OWN_TIME: Duration = Duration::from_secs(1);

#[tokio::test]
#[ignore = "needs the cluster: cargo verify"]
async fn the_median_release_takes_less_than_a_second_of_slipways_own_time() -> Result<()> {
    let stage = Setup::hello("own-time").alone().open().await?;
    let watching = Watching::start(stage.client.clone(), &stage.namespace);
    stage
        .release(&json!({"image": "shop:1.0", "watch": {"for": "1s"}}))
        .await?;
    stage.until_phase(Phase::Complete).await?;
    let mut own_times = Vec::new();
    for (number, version) in (2..).zip(["2.0", "1.0", "2.0", "1.0", "2.0"]) {
        let started = stage.observer.mark("release");
        // Another migration each time: one that has run is not run again.
        let migration = ["/shop".to_owned(), "--version".to_owned(), number.to_string()];
        stage
            .edit(&json!({"spec": {
                "image": format!("shop:{version}"), "migrate": {"expand": {"command": migration}},
            }}))
            .await?;
        let wanted = format!("shop-{number}");
        let release = stage
            .until("the next version complete", |release| {
                revision(release) == wanted && phase(release) == Some(Phase::Complete)
            })
            .await?;
        let seen = stage
            .observer
            .until(PATIENCE, |seen| seen.order_since(&started).last() == Some(&Close))
            .await
            .context("the window was not closed")?;
        let waits = own_time::waits(&release, &seen, &watching.sides());
        let status = release.status.clone().unwrap_or_default();
        let whole = own_time::whole(&status).context("the release has no end")?;
        let own = whole.own(&waits);
        println!("{wanted}: {own:.3?} of {:.3?} by Slipway itself", whole.length());
        own_times.push(own);
    }
    assert_eq!(stage.close().await?.seen.jobs.len(), own_times.len());
    own_times.sort();
    let median = own_times[own_times.len() / 2];
    println!("median {median:.3?} of {own_times:.3?}");
    assert!(median <= OWN_TIME, "{median:.3?} of {own_times:.3?}");
    Ok(())
}
