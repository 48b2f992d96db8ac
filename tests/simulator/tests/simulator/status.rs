//! `docs/mechanism.md`, "Which ReplicaSet, and when it is ready": what the statuses say in a window, and when.

use serde_json::json;
use slipway_kubernetes::{fields, kind::Kind, store::Event};

use super::stage::{HOLD, Stage, deployment, hold_patch, seeds};

#[tokio::test(start_paused = true)]
async fn the_held_state_counts_both_sides_and_has_no_progress() {
    for seed in seeds() {
        let stage = Stage::window(seed, 3).await;
        let web = stage.web();
        let count = |name: &str| fields::count(&web, &format!("/status/{name}"));
        assert_eq!(
            [
                "replicas",
                "updatedReplicas",
                "readyReplicas",
                "availableReplicas",
                "unavailableReplicas"
            ]
            .map(count),
            [6, 3, 6, 3, 3]
        );
        assert!(fields::is_true(&web, "Available"));
        assert!(
            fields::condition(&web, "Progressing").is_none(),
            "no deadline, no condition"
        );
        assert_eq!(fields::count(&stage.set("shop:1"), "/spec/minReadySeconds"), 0);
        assert_eq!(fields::count(&stage.set("shop:2"), "/spec/minReadySeconds"), HOLD);
        assert_eq!(stage.available("shop:1"), 3);
        assert_eq!(stage.available("shop:2"), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn hold_fields_must_travel_together() {
    let stage = Stage::new(1, 3).await;
    let too_high =
        json!({"spec": {"minReadySeconds": 2_147_483_647, "progressDeadlineSeconds": 2_147_483_647}});
    for patch in [json!({"spec": {"minReadySeconds": HOLD}}), too_high] {
        let refusal = stage.patch(Kind::Deployment, "web", patch).unwrap_err();
        assert_eq!(refusal.code, 422);
        assert!(
            refusal.message.contains("must be greater than minReadySeconds"),
            "{}",
            refusal.message
        );
    }
    stage.write(hold_patch("shop:1"));
    let only_deadline = json!({"spec": {"progressDeadlineSeconds": 600}});
    assert_eq!(
        stage
            .patch(Kind::Deployment, "web", only_deadline)
            .unwrap_err()
            .code,
        422
    );
}

#[tokio::test(start_paused = true)]
async fn statuses_lag_behind_the_patch_in_the_measured_order() {
    for seed in seeds() {
        let mut stage = Stage::new(seed, 3).await;
        stage.pin("shop:1").await;
        let from = stage.world.cluster().store.changes().len();
        let patched = stage.write(hold_patch("shop:2"));
        let (generation, observed) = (
            fields::count(&patched, "/metadata/generation"),
            fields::count(&patched, "/status/observedGeneration"),
        );
        assert_eq!(generation, observed + 1, "the answer looks complete and is stale");
        assert!(fields::is_true(&patched, "Progressing"));
        stage.rest().await;
        let cluster = stage.world.cluster();
        let changes = &cluster.store.changes()[from..];
        let born = changes
            .iter()
            .find(|change| change.key.kind == Kind::ReplicaSet && change.event == Event::Added)
            .unwrap();
        assert_eq!(fields::count(&born.object, "/spec/replicas"), 3);
        assert_eq!(fields::count(&born.object, "/spec/minReadySeconds"), HOLD);
        assert_eq!(born.object["status"], json!({"replicas": 0}), "no status yet");
        let statuses = changes
            .iter()
            .filter(|change| change.key.kind == Kind::Deployment)
            .map(|c| &c.object);
        let numbers: Vec<_> = statuses
            .map(|web| {
                let count = |name: &str| fields::count(web, &format!("/status/{name}"));
                (
                    count("observedGeneration"),
                    count("replicas"),
                    count("updatedReplicas"),
                    count("readyReplicas"),
                )
            })
            .collect();
        let outdated = numbers.iter().position(|numbers| numbers.0 == observed);
        let created = numbers
            .iter()
            .position(|numbers| numbers.1 == 6 && numbers.2 == 3 && numbers.3 == 3);
        let ready = numbers.iter().position(|numbers| numbers.3 == 6);
        assert!(
            outdated < created && created < ready,
            "created is not ready: {numbers:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_patch_that_changes_nothing_is_no_event() {
    let mut stage = Stage::window(1, 3).await;
    let version = stage.world.cluster().store.version();
    let again = stage.write(hold_patch("shop:2"));
    assert_eq!(again, stage.web());
    stage.rest().await;
    assert_eq!(stage.world.cluster().store.version(), version);
}

#[tokio::test(start_paused = true)]
async fn a_foreign_replica_set_of_the_name_makes_a_collision() {
    // The name that version 2 gets is learned in one world and taken in the next.
    let learned = Stage::window(1, 3).await;
    let name = fields::name(&learned.set("shop:2")).to_owned();
    drop(learned);
    let mut stage = Stage::new(1, 3).await;
    let foreign = json!({
        "apiVersion": "apps/v1", "kind": "ReplicaSet", "metadata": {"name": name},
        "spec": {"replicas": 0, "selector": {"matchLabels": {"app": "other"}}, "template": {
            "metadata": {"labels": {"app": "other"}}, "spec": {"containers": [{"name": "x", "image": "other:1"}]},
        }},
    });
    stage.user(|user| user.create(&foreign));
    stage.pin("shop:1").await;
    stage.hold("shop:2").await;
    assert_eq!(fields::count(&stage.web(), "/status/collisionCount"), 1);
    assert_ne!(fields::name(&stage.set("shop:2")), name);
    assert_eq!(stage.size("shop:2"), (3, 3));
}

#[tokio::test(start_paused = true)]
async fn an_ordinary_rolling_update_keeps_the_service_up() {
    for seed in seeds() {
        let mut stage = Stage::new(seed, 4).await;
        let since = stage.world.now();
        stage.user(|user| user.set_image("web", "web", "shop:2"));
        stage.rest().await;
        assert_eq!((stage.size("shop:1"), stage.size("shop:2")), ((0, 0), (4, 4)));
        assert!(
            stage.world.oracle().fewest("default", "web", since) >= 3,
            "25 % of 4 may be missing"
        );
        let web = stage.web();
        assert_eq!(
            fields::text(fields::condition(&web, "Progressing").unwrap(), "/reason"),
            "NewReplicaSetAvailable"
        );
        assert_eq!(fields::annotation(&web, "deployment.kubernetes.io/revision"), "2");
    }
}

#[tokio::test(start_paused = true)]
async fn a_rollout_that_hangs_exceeds_its_deadline() {
    let mut stage = Stage::new(1, 3).await;
    stage.world.cluster().scripts.image(
        "shop:2",
        slipway_kubernetes::models::behaviour::Behaviour::no_image(),
    );
    stage.user(|user| user.set_image("web", "web", "shop:2"));
    stage.wait(590).await;
    assert_ne!(reason(&stage), "ProgressDeadlineExceeded");
    stage.wait(60).await;
    assert_eq!(reason(&stage), "ProgressDeadlineExceeded");
    assert!(stage.ready() >= 3);
}

fn reason(stage: &Stage) -> String {
    let web = stage.web();
    fields::condition(&web, "Progressing")
        .map(|found| fields::text(found, "/reason").to_owned())
        .unwrap_or_default()
}

#[tokio::test(start_paused = true)]
async fn recreate_stops_everything_first() {
    let mut manifest = deployment(3, "shop:1");
    manifest["spec"]["strategy"] = json!({"type": "Recreate"});
    let mut stage = Stage::of(1, manifest).await;
    stage.user(|user| user.set_image("web", "web", "shop:2"));
    stage.rest().await;
    assert_eq!(stage.size("shop:2"), (3, 3));
    assert!(stage.outage());
    let cluster = stage.world.cluster();
    let first = |image: &str| {
        cluster
            .processes
            .iter()
            .find(|process| process.image == image)
            .unwrap()
            .started
    };
    let old_ended = cluster
        .processes
        .iter()
        .filter(|process| process.image == "shop:1");
    assert!(old_ended.map(|process| process.ended.unwrap().0).max().unwrap() <= first("shop:2"));
}
