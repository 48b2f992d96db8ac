//! How a Release begins: on what runs, on what just changes, on what is broken, on nothing, on a mistake.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context, Result};
use k8s_openapi::api::apps::v1::Deployment;
use kube::ResourceExt;
use kube::api::ListParams;
use rustix::process::Signal;
use serde_json::{Value, json};
use slipway_crds::names::CLAIM;
use slipway_crds::v1alpha1::Phase;
use slipway_crds::v1alpha1::status::Outcome;
use slipway_judge::observer::Move;
use tokio::time::sleep;

use super::stage::manifests::hello;
use super::stage::{Setup, Stage, revision};
use super::traffic::STORY;

#[tokio::test]
#[ignore = "needs the cluster: cargo verify"]
async fn adopting_what_runs_restarts_nothing_and_runs_nothing() -> Result<()> {
    let stage = Setup::hello("adoption").traffic(50).open().await?;
    let before = uids(&stage, "shop:1.0").await?;
    let migrate = json!({"expand": {"command": ["/shop", "nap", "1"]}});
    stage
        .release(&json!({"image": "shop:1.0", "migrate": migrate}))
        .await?;
    let release = stage.until_phase(Phase::Complete).await?;
    let adopted = release
        .status
        .as_ref()
        .and_then(|status| status.revision.as_ref())
        .context("a revision")?;
    assert_eq!(adopted.ended.context("it ended")?.outcome, Outcome::Adopted);
    assert_eq!(revision(&release), "shop-1");
    assert_eq!(uids(&stage, "shop:1.0").await?, before);
    let account = stage.close().await?;
    account.report().assert_no_failures();
    assert_eq!(account.seen.order(), [Move::Claim]);
    assert!(account.seen.jobs.is_empty(), "{:?}", account.seen.jobs);
    Ok(())
}

#[tokio::test]
#[ignore = "needs the cluster: cargo verify"]
async fn a_rollout_that_is_under_way_is_waited_for() -> Result<()> {
    let slow = json!({"spec": {"minReadySeconds": 4, "strategy": {"rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}}});
    let stage = Setup::hello("rollout")
        .pods(2)
        .deployment(&slow)
        .traffic(50)
        .open()
        .await?;
    stage
        .kubectl(&["set", "image", "deployment/web", "shop=shop:2.1"])
        .await?;
    stage.release(&json!({})).await?;
    stage
        .until("what is waited for", |release| {
            let waiting = release
                .status
                .as_ref()
                .and_then(|status| status.waiting_for.as_deref());
            waiting.is_some_and(|text| text.contains("finish the rollout"))
        })
        .await?;
    stage.until_phase(Phase::Complete).await?;
    stage.assert_restored().await?;
    assert_eq!(stage.pods("shop:2.0").await?.len(), 2);
    stage.close_with(&STORY).await
}

#[tokio::test]
#[ignore = "needs the cluster: cargo verify"]
async fn a_broken_pod_does_not_stop_a_hot_fix() -> Result<()> {
    let stage = Setup::hello("hot-fix").traffic(50).open().await?;
    let pods = stage.pods("shop:1.0").await?;
    stage.signal(&pods[0], Signal::STOP)?;
    stage
        .observer
        .until(Duration::from_mins(1), |seen| {
            seen.endpoints
                .timeline("web")
                .last()
                .is_some_and(|ready| ready.total() == 2)
        })
        .await
        .context("the stopped pod is still an endpoint")?;
    // kube-proxy follows within moments; what was under way to the stopped pod is lost.
    sleep(Duration::from_secs(1)).await;
    let broken = stage.traffic().mark("broken");
    stage.release(&json!({})).await?;
    stage.until_phase(Phase::Complete).await?;
    stage.assert_restored().await?;
    assert_eq!(stage.pods("shop:2.0").await?.len(), 3);
    let account = stage.close().await?;
    account.report().assert_no_failures_since(&broken);
    assert_eq!(account.seen.order(), STORY);
    Ok(())
}

#[tokio::test]
#[ignore = "needs the cluster: cargo verify"]
async fn a_first_installation_prepares_everything_before_its_pods_serve() -> Result<()> {
    let stage = Setup::shop("first", 0).empty().unsettled().open().await?;
    let alias = stage.data.as_ref().context("it has data")?.alias.clone();
    let reindex = json!({"indices": [{"alias": alias, "minimumDocuments": 0}]});
    stage.release(&json!({"reindex": reindex})).await?;
    stage.until_phase(Phase::Complete).await?;
    stage.assert_restored().await?;
    assert_eq!(stage.pods("shop:2.0").await?.len(), 2);
    let web = stage.deployment("web").await?;
    assert_eq!(web.status.and_then(|status| status.available_replicas), Some(2));
    let account = stage.close().await?;
    let steps: Vec<_> = account
        .seen
        .jobs
        .iter()
        .map(slipway_judge::observer::jobs::JobLife::step)
        .collect();
    assert_eq!(&steps[..3], ["prepare", "expand", "reindex"]);
    assert_eq!(account.seen.order(), [Move::Claim, Move::Roll]);
    Ok(())
}

/// Idle: the longest that a watch lives is about ten minutes, so that some of them begin anew in this time.
#[tokio::test]
#[ignore = "needs the cluster: cargo verify"]
async fn after_the_end_nothing_is_asked_but_lease_and_watch() -> Result<()> {
    let stage = Setup::hello("idle").pods(1).open().await?;
    stage.release(&json!({})).await?;
    stage.until_phase(Phase::Complete).await?;
    // The event that tells of the end is written a moment after it.
    sleep(Duration::from_secs(5)).await;
    let idle = stage.observer.mark("idle");
    sleep(Duration::from_mins(5)).await;
    let account = stage.close().await?;
    let busy = account.seen.requests_since(&idle).beyond_idle();
    assert_eq!(busy.count(), 0, "{}", busy.list(idle.at));
    Ok(())
}

/// A mistake: what the user has besides, how the Release differs from a good one, and what is said of it.
struct Mistake {
    objects: Vec<Value>,
    spec: Value,
    reason: &'static str,
    says: &'static [&'static str],
}

#[tokio::test]
#[ignore = "needs the cluster: cargo verify"]
async fn a_mistake_is_named_and_changes_nothing() -> Result<()> {
    let stage = Setup::hello("mistakes").pods(1).open().await?;
    let refused = stage
        .release(&json!({"imagee": "shop:2.0"}))
        .await
        .expect_err("an unknown field");
    assert!(
        refused.to_string().contains("unknown field \"imagee\""),
        "{refused}"
    );
    for mistake in mistakes() {
        if !mistake.objects.is_empty() {
            stage.apply(&mistake.objects, &[]).await?;
        }
        let before = generations(&stage).await?;
        stage.release(&mistake.spec).await?;
        let message = stage.until_stalled(mistake.reason).await?;
        println!("{}: {message}", mistake.reason);
        for words in mistake.says {
            assert!(
                message.contains(words),
                "{} does not say {words:?}: {message}",
                mistake.reason
            );
        }
        assert_eq!(
            generations(&stage).await?,
            before,
            "{} changed something",
            mistake.reason
        );
        stage.delete_release().await?;
        stage.until_gone().await?;
        if !mistake.objects.is_empty() {
            let list = json!({"apiVersion": "v1", "kind": "List", "items": mistake.objects});
            stage.delete(&list).await?;
        }
    }
    stage.assert_nothing_left().await?;
    stage.close().await.map(drop)
}

#[tokio::test]
#[ignore = "needs the cluster: cargo verify"]
async fn what_belongs_to_another_release_is_not_touched() -> Result<()> {
    let stage = Setup::hello("rivals").pods(1).open().await?;
    let mut rival = stage.release.clone();
    json_patch::merge(
        &mut rival,
        &json!({"metadata": {"name": "rival"}, "spec": {"image": "shop:1.0"}}),
    );
    stage.apply(&[rival], &[]).await?;
    stage
        .kubectl(&["wait", "--for=condition=Ready", "--timeout=60s", "release/rival"])
        .await?;
    let claim = stage.deployment("web").await?.labels()[CLAIM].clone();
    stage.release(&json!({})).await?;
    let message = stage.until_stalled("ClaimedBy").await?;
    assert!(
        message.contains("Deployment web belongs to another Release"),
        "{message}"
    );
    assert_eq!(stage.deployment("web").await?.labels()[CLAIM], claim);
    // The first one gives it up, and the second goes on by itself.
    stage.kubectl(&["delete", "release", "rival"]).await?;
    stage.until_phase(Phase::Complete).await?;
    stage.close().await.map(drop)
}

fn mistakes() -> Vec<Mistake> {
    let service = |name: &str, selector: Value| {
        json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name},
            "spec": {"selector": selector, "ports": [{"port": 80, "targetPort": 8080}]}})
    };
    let workload = |deployment: &str, services: &[&str]| json!({"workloads": [{"name": "web", "deployment": deployment, "services": services}]});
    let container = json!({"name": "proxy", "image": "shop:1.0", "args": ["hello"]});
    let mut pair = other("pair", &json!({}));
    let containers = pair["spec"]["template"]["spec"]["containers"]
        .as_array_mut()
        .expect("a list");
    containers.push(container);
    let claim = json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "files"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Mi"}}}});
    let volume = json!([{"name": "files", "persistentVolumeClaim": {"claimName": "files"}}]);
    let recreate = json!({"spec": {"strategy": {"type": "Recreate"}}});
    let fronts = json!({"spec": {"template": {"metadata": {"labels": {"tier": "front"}}}}});
    let engine = json!({"reindex": {"search": {"url": "http://search:9200"}, "indices": [{"alias": "products"}],
        "env": "SEARCH_INDEX_GENERATION", "rebuild": {"when": "Always"}, "build": {"command": ["/shop", "reindex"]}}});
    let mistake = |objects: Vec<Value>, spec: Value, reason, says| Mistake {
        objects,
        spec,
        reason,
        says,
    };
    vec![
        mistake(
            vec![],
            workload("wbe", &["web"]),
            "DeploymentMissing",
            &["spec.workloads[0]", "no Deployment wbe"],
        ),
        mistake(
            vec![],
            workload("web", &["wbe"]),
            "ServiceMissing",
            &["no Service wbe"],
        ),
        mistake(
            vec![pair, service("pair", json!({"app": "pair"}))],
            workload("pair", &["pair"]),
            "InvalidSpec",
            &["2 containers (shop, proxy)", "Name the one"],
        ),
        mistake(
            vec![service("lost", json!({"app": "nobody"}))],
            workload("web", &["web", "lost"]),
            "ServiceSelectsNothing",
            &["Service lost", "Deployment web"],
        ),
        mistake(
            vec![service("metrics", json!({"app": "web"}))],
            json!({}),
            "ServiceUnlisted",
            &["Service metrics", "Add it to services, or to leave"],
        ),
        mistake(
            vec![
                other("one", &fronts),
                other("two", &fronts),
                service("wide", json!({"tier": "front"})),
            ],
            workload("one", &["wide"]),
            "ServiceSelectsOthers",
            &["Service wide", "Deployment two"],
        ),
        mistake(
            vec![other("once", &recreate), service("once", json!({"app": "once"}))],
            workload("once", &["once"]),
            "RecreateStrategy",
            &["Recreate", "move: After"],
        ),
        mistake(
            vec![
                claim,
                other(
                    "disk",
                    &json!({"spec": {"template": {"spec": {"volumes": volume}}}}),
                ),
                service("disk", json!({"app": "disk"})),
            ],
            workload("disk", &["disk"]),
            "VolumeNotShareable",
            &["claim files", "ReadWriteMany"],
        ),
        mistake(
            vec![],
            json!({"image": "shop:latest"}),
            "InvalidSpec",
            &["latest", "digest"],
        ),
        mistake(vec![], json!({"image": "shop"}), "InvalidSpec", &["spec.image"]),
        mistake(
            vec![],
            engine.clone(),
            "SearchUnavailable",
            &["no Service search", "spec.reindex.search.url"],
        ),
        mistake(
            vec![service("search", json!({"app": "nobody"}))],
            engine,
            "SearchUnavailable",
            &["gives no answer", "spec.reindex.search.url"],
        ),
    ]
}

/// Another Deployment without pods.
fn other(name: &str, patch: &Value) -> Value {
    let labels = json!({"app": name});
    let mut deployment = hello(0).swap_remove(0);
    json_patch::merge(
        &mut deployment,
        &json!({"metadata": {"name": name, "labels": labels},
            "spec": {"selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels}}}}),
    );
    json_patch::merge(&mut deployment, patch);
    deployment
}

async fn uids(stage: &Stage, image: &str) -> Result<BTreeSet<Option<String>>> {
    Ok(stage.pods(image).await?.iter().map(ResourceExt::uid).collect())
}

/// What changes with every change of a spec.
async fn generations(stage: &Stage) -> Result<Vec<(String, Option<i64>)>> {
    let deployments = stage.api::<Deployment>().list(&ListParams::default()).await?;
    Ok(deployments
        .iter()
        .map(|found| (found.name_any(), found.metadata.generation))
        .collect())
}
