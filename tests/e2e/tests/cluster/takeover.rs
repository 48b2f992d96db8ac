//! The controller dies in the middle of everything: another one goes on, and nothing is done twice.

use anyhow::{Context, Result};
use futures::future::try_join_all;
use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Pod;
use kube::api::DeleteParams;
use kube::{Api, ResourceExt};
use rustix::process::Signal;
use serde_json::{Value, json};
use slipway_crds::v1alpha1::status::StepName;
use slipway_crds::v1alpha1::{Phase, Release};
use slipway_judge::observer::Move::{Flip, Roll};

use super::deletion::{begun, cutover, held, task_runs};
use super::stage::install::SYSTEM;
use super::stage::{Setup, Stage};
use super::traffic::STORY;

/// The Lease runs out after 15 seconds; a busy machine takes its time.
const LEASE: jiff::SignedDuration = jiff::SignedDuration::from_secs(20);

/// After an orderly end the other replica goes on at once.
const AT_ONCE: jiff::SignedDuration = jiff::SignedDuration::from_secs(3);

/// The replica that acts, by the Lease.
async fn leader(stage: &Stage) -> Result<Pod> {
    let leases: Api<Lease> = Api::namespaced(stage.client.clone(), SYSTEM);
    let pods: Api<Pod> = Api::namespaced(stage.client.clone(), SYSTEM);
    stage
        .eventually("a holder of the Lease", || async {
            let holder = leases
                .get("slipway")
                .await?
                .spec
                .and_then(|spec| spec.holder_identity);
            let found = pods.list(&kube::api::ListParams::default()).await?.items;
            Ok(found.into_iter().find(|pod| {
                holder
                    .as_ref()
                    .is_some_and(|holder| holder.starts_with(&pod.name_any()))
            }))
        })
        .await
}

/// Kills the acting replica as soon as something is seen of a Release; when.
async fn kill_leader_when(stage: &Stage, what: &str, is_now: impl Fn(&Release) -> bool) -> Result<Timestamp> {
    let leader = leader(stage).await?;
    let process = i32::try_from(stage.cluster.process_of(&leader)?)?;
    let process = rustix::process::Pid::from_raw(process).context("a process has a number")?;
    stage.until(what, is_now).await?;
    rustix::process::kill_process(process, Signal::KILL)?;
    let at = Timestamp::now();
    println!("{} killed: {what}", leader.name_any());
    Ok(at)
}

/// The first write of the controller after a moment.
fn went_on(stage: &Stage, after: Timestamp) -> Option<Timestamp> {
    stage
        .observer
        .so_far()
        .claims
        .iter()
        .map(|claim| claim.at)
        .find(|at| *at > after)
}

/// Waits until somebody goes on with a Release; how long that took.
async fn until_it_goes_on(stage: &Stage, after: Timestamp) -> Result<jiff::SignedDuration> {
    let look = || async { Ok(went_on(stage, after)) };
    let at = stage.eventually("a write of the other replica", look).await?;
    Ok(at.duration_since(after))
}

fn nap(step: &str) -> Value {
    let command = json!(["/shop", "nap", "12"]);
    match step {
        "prepare" => json!({"prepare": [{"name": "assets", "command": command}]}),
        _ => json!({"migrate": {"expand": {"command": command}}}),
    }
}

/// A stage in each step that lasts, all of them hit by one and the same death.
async fn in_long_steps(first: Stage) -> Result<Vec<Stage>> {
    let hello = |name: &str| Setup::hello(name).pods(1).traffic(10).beside();
    let delay = json!([{"name": "SHOP_REINDEX_DELAY_MS", "value": "3000"}]);
    let prepare = hello("crash-prepare").open().await?;
    let expand = hello("crash-expand").open().await?;
    let watch = hello("crash-watch").open().await?;
    let reindex = Setup::shop("crash-reindex", 2_000)
        .pods(1)
        .traffic(10)
        .beside()
        .open()
        .await?;
    first
        .release(&json!({"preboot": {"minimumWait": "20m", "timeout": "30m"}}))
        .await?;
    watch.release(&json!({"watch": {"for": "20m"}})).await?;
    watch.until_phase(Phase::Watch).await?;
    first.until_sides(2).await?;
    reindex
        .release(&json!({"reindex": {"build": {"env": delay}}}))
        .await?;
    reindex
        .until("a build at work", |release| task_runs(release, StepName::Reindex))
        .await?;
    prepare.release(&nap("prepare")).await?;
    expand.release(&nap("expand")).await?;
    prepare
        .until("a task at work", |release| task_runs(release, StepName::Prepare))
        .await?;
    expand
        .until("a migration at work", |release| {
            task_runs(release, StepName::Expand)
        })
        .await?;
    Ok(vec![first, watch, reindex, prepare, expand])
}

#[tokio::test]
#[ignore = "needs the cluster: cargo verify"]
async fn another_replica_goes_on_wherever_the_first_one_was_killed() -> Result<()> {
    let first = Setup::hello("crash-preboot")
        .pods(2)
        .traffic(20)
        .alone()
        .open()
        .await?;
    let stages = in_long_steps(first).await?;
    let (preboot, watch) = (&stages[0], &stages[1]);

    // First death: the cutover of one, everything else in its own step.
    preboot
        .edit(&json!({"spec": {"preboot": {"minimumWait": "0s"}, "watch": {"for": "0s"}}}))
        .await?;
    let killed = kill_leader_when(preboot, "the intent of the cutover", |release| {
        cutover(release).is_some()
    })
    .await?;
    let pause = until_it_goes_on(preboot, killed).await?;
    println!("went on after {pause:?}");
    assert!(pause <= LEASE);

    // Second death: while the old side of that one ends, or has just ended.
    let killed = kill_leader_when(preboot, "the old side ends", |release| {
        begun(release, StepName::Retire)
    })
    .await?;
    watch.edit(&json!({"spec": {"watch": {"for": "0s"}}})).await?;
    let pause = until_it_goes_on(watch, killed).await?;
    println!("went on after {pause:?}");
    assert!(pause <= LEASE);

    // Third death: between two writes of an opening window.
    watch.until_phase(Phase::Complete).await?;
    watch.edit(&json!({"spec": {"image": "shop:2.1"}})).await?;
    kill_leader_when(watch, "new pods beside the old ones", |release| {
        begun(release, StepName::Preboot) && held(release) && cutover(release).is_none()
    })
    .await?;

    try_join_all(stages.iter().map(|stage| stage.until_phase(Phase::Complete))).await?;
    for stage in stages {
        stage.assert_restored().await?;
        let namespace = stage.namespace.clone();
        let again = namespace.starts_with("crash-watch");
        let account = stage.close().await?;
        account.report().assert_no_failures();
        let order: Vec<_> = account
            .seen
            .order()
            .into_iter()
            .filter(|what| *what != Roll)
            .collect();
        let expected = if again {
            [&STORY[..], &STORY[1..]].concat()
        } else {
            STORY.to_vec()
        };
        assert_eq!(order, expected, "{namespace}");
    }
    Ok(())
}

#[tokio::test]
#[ignore = "needs the cluster: cargo verify"]
async fn another_replica_goes_on_at_once_after_an_orderly_end() -> Result<()> {
    let stage = Setup::hello("handover")
        .pods(2)
        .traffic(50)
        .alone()
        .open()
        .await?;
    stage
        .release(&json!({"preboot": {"minimumWait": "20m", "timeout": "30m"}}))
        .await?;
    stage.until_sides(2).await?;
    let leader = leader(&stage).await?;
    let pods: Api<Pod> = Api::namespaced(stage.client.clone(), SYSTEM);
    pods.delete(&leader.name_any(), &DeleteParams::default()).await?;
    let ended = Timestamp::now();
    stage
        .edit(&json!({"spec": {"preboot": {"minimumWait": "0s"}}}))
        .await?;
    let release = stage.until_past(Phase::Watch).await?;
    println!("{:?}", release.status.as_ref().and_then(|status| status.cutover));
    stage.until_phase(Phase::Complete).await?;
    stage.assert_restored().await?;
    // The next test finds two replicas again.
    stage
        .kubectl(&[
            "--namespace",
            SYSTEM,
            "rollout",
            "status",
            "deployment/slipway",
            "--timeout=60s",
        ])
        .await?;
    let account = stage.close().await?;
    account.report().assert_no_failures();
    assert_eq!(account.seen.order(), STORY);
    let pause = account.seen.first(&Flip).context("a flip")?.duration_since(ended);
    println!("the cutover came {pause:?} after the first replica was told to end");
    assert!(pause <= AT_ONCE, "{pause:?}");
    Ok(())
}
