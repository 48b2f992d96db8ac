//! Somebody sets another image between any two writes of a window, and the guard is off.

use std::time::Duration;

use anyhow::{Context, Result};
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::core::v1::Service;
use kube::api::{Patch, PatchParams};
use kube::runtime::wait::{Condition, await_condition};
use kube::{Resource, ResourceExt};
use serde::de::DeserializeOwned;
use serde_json::json;
use slipway_crds::names::{POD_TEMPLATE_HASH, WINDOW};
use slipway_crds::v1alpha1::{Phase, Release};
use slipway_engine::window::patches::HOLD_MIN_READY_SECONDS;

use super::stage::install::WindowGuard;
use super::stage::{Setup, Stage, phase};

const IMAGES: [&str; 3] = ["shop:1.0", "shop:2.0", "shop:2.1"];

/// How long each write is waited for.
const PATIENCE: Duration = Duration::from_secs(90);

/// The writes of a window, each seen by what it leaves on an object.
#[derive(Clone, Copy, Debug)]
enum Write {
    Open,
    Pin,
    Hold,
    Lock,
    Bolt,
    Flip,
    Retire,
    Unpin,
}

const WRITES: [Write; 8] = [
    Write::Open,
    Write::Pin,
    Write::Hold,
    Write::Lock,
    Write::Bolt,
    Write::Flip,
    Write::Retire,
    Write::Unpin,
];

#[tokio::test]
#[ignore = "needs the cluster: cargo verify"]
async fn another_image_between_any_two_writes_costs_no_request() -> Result<()> {
    let stage = Setup::hello("meddling")
        .guard(WindowGuard::Off)
        .traffic(50)
        .open()
        .await?;
    stage
        .release(&json!({"image": "shop:1.0", "watch": {"for": "2s"}}))
        .await?;
    stage.until_phase(Phase::Complete).await?;
    for write in WRITES {
        let (runs, asked) = (image(&stage).await?, stage.now().spec.image.clone());
        let other = |not: [&str; 2]| *IMAGES.iter().find(|image| !not.contains(image)).expect("a third");
        let new = other([&runs, &asked]);
        let meddled = other([&runs, new]);
        let old = stage.side(&runs).await?;
        stage.edit(&json!({"spec": {"image": new}})).await?;
        follows(&stage, write, &old)
            .await
            .with_context(|| format!("{write:?}"))?;
        let template =
            json!({"spec": {"template": {"spec": {"containers": [{"name": "shop", "image": meddled}]}}}});
        let web = stage.api::<Deployment>();
        web.patch("web", &PatchParams::default(), &Patch::Strategic(template))
            .await?;
        let release = stage.until("the end of the release", at_rest).await?;
        one_side_serves(&stage)
            .await
            .with_context(|| format!("after {write:?}"))?;
        println!(
            "{runs} → {new}, {meddled} set after {write:?}: {:?}, {} runs",
            phase(&release),
            image(&stage).await?
        );
    }
    let account = stage.close().await?;
    account.report().assert_no_failures();
    Ok(())
}

fn at_rest(release: &Release) -> bool {
    let ended = matches!(
        phase(release),
        Some(Phase::Complete | Phase::Failed | Phase::Aborted | Phase::RolledBack)
    );
    let status = release.status.as_ref();
    let revision = status.and_then(|status| status.revision.as_ref());
    ended && revision.is_some_and(|revision| revision.image == release.spec.image)
}

/// The image of the Deployment's template.
async fn image(stage: &Stage) -> Result<String> {
    let web = stage.deployment("web").await?;
    let template = web.spec.and_then(|spec| spec.template.spec);
    let image = template.and_then(|pod| pod.containers.first()?.image.clone());
    image.context("the Deployment has an image")
}

/// Waits until the Deployment has one side, in full, and is the user's own again.
async fn one_side_serves(stage: &Stage) -> Result<()> {
    stage
        .eventually("one side in full", || async {
            let web = stage.deployment("web").await?;
            let status = web.status.clone().unwrap_or_default();
            let whole = [
                status.replicas,
                status.updated_replicas,
                status.available_replicas,
            ]
            .iter()
            .all(|pods| *pods == Some(3));
            let own =
                !web.labels().contains_key(WINDOW) && status.observed_generation == web.metadata.generation;
            Ok((whole && own && stage.sides().await?.len() == 1).then_some(()))
        })
        .await
}

/// Waits until one of the controller's writes is seen.
async fn follows(stage: &Stage, write: Write, old: &ReplicaSet) -> Result<()> {
    let hash = old.labels()[POD_TEMPLATE_HASH].clone();
    let pinned = move |is_old: bool| {
        let hash = hash.clone();
        move |service: Option<&Service>| {
            let selector = service.and_then(|service| service.spec.as_ref()?.selector.as_ref());
            let pin = selector.and_then(|selector| selector.get(POD_TEMPLATE_HASH));
            pin.is_some_and(|pin| (*pin == hash) == is_old)
        }
    };
    let free = |service: Option<&Service>| !pinned(true)(service) && !pinned(false)(service);
    match write {
        Write::Open => {
            until::<Deployment>(stage, "web", |web: Option<&Deployment>| {
                web.is_some_and(|web| web.labels().contains_key(WINDOW))
            })
            .await
        }
        Write::Pin => until(stage, "web", pinned(true)).await,
        Write::Hold => until(stage, "web", held).await,
        Write::Lock => until(stage, "web", |web: Option<&Deployment>| held(web) && paused(web)).await,
        Write::Bolt => {
            until(stage, &old.name_any(), |side: Option<&ReplicaSet>| {
                let seconds = side.and_then(|side| side.spec.as_ref()?.min_ready_seconds);
                seconds == Some(HOLD_MIN_READY_SECONDS)
            })
            .await
        }
        Write::Flip => until(stage, "web", pinned(false)).await,
        Write::Retire => {
            until(stage, "web", held).await?;
            until(stage, "web", |web: Option<&Deployment>| !held(web)).await
        }
        Write::Unpin => {
            until(stage, "web", pinned(false)).await?;
            until(stage, "web", free).await
        }
    }
}

fn held(web: Option<&Deployment>) -> bool {
    let seconds = web.and_then(|web| web.spec.as_ref()?.min_ready_seconds);
    seconds == Some(HOLD_MIN_READY_SECONDS)
}

fn paused(web: Option<&Deployment>) -> bool {
    web.and_then(|web| web.spec.as_ref()?.paused) == Some(true)
}

async fn until<K>(stage: &Stage, name: &str, is_so: impl Condition<K>) -> Result<()>
where
    K: Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>
        + Clone
        + std::fmt::Debug
        + Send
        + DeserializeOwned
        + 'static,
{
    let seen = await_condition(stage.api::<K>(), name, is_so);
    tokio::time::timeout(PATIENCE, seen)
        .await
        .context("it was not seen in time")??;
    Ok(())
}
