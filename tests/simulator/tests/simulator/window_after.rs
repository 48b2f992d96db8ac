//! `docs/mechanism.md`, "The lock": what happens after the flip, and what the lock is good for.

use slipway_kubernetes::{fields, kind::Kind, store::Propagation};

use super::stage::{Stage, deployment, release_patch, retire_patch, seeds, values_patch};

/// The window after the flip, without lock and bolt.
async fn flipped(seed: u64) -> Stage {
    let mut stage = Stage::window(seed, 3).await;
    stage.pin("shop:2").await;
    assert!(!stage.outage());
    stage
}

#[tokio::test(start_paused = true)]
async fn rows_1_to_3_without_a_lock_any_foreign_template_is_an_outage() {
    for seed in seeds() {
        for action in 0..3 {
            let mut stage = flipped(seed).await;
            let done = match action {
                0 => stage.world.kubectl(|kubectl| kubectl.restart("web")),
                1 => stage
                    .world
                    .kubectl(|kubectl| kubectl.set_env("web", "web", "X", "1")),
                _ => stage.world.kubectl(|kubectl| kubectl.undo("web")),
            };
            done.unwrap();
            stage.rest().await;
            assert!(stage.outage(), "action {action}");
            assert_eq!(stage.ready(), 0, "action {action}: until the end");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn row_7_the_old_side_deleted_after_the_flip_costs_only_the_way_back() {
    let mut stage = flipped(1).await;
    let name = fields::name(&stage.set("shop:1")).to_owned();
    stage.user(|user| user.delete(Kind::ReplicaSet, &name, Propagation::Background));
    stage.rest().await;
    assert!(!stage.outage());
    assert!(!fields::is_true(&stage.web(), "Available"));
}

#[tokio::test(start_paused = true)]
async fn rows_9_and_10_a_recreated_deployment_after_the_flip() {
    for (image, outage) in [("shop:1", true), ("shop:2", false)] {
        let mut stage = flipped(1).await;
        stage.user(|user| user.delete(Kind::Deployment, "web", Propagation::Orphan));
        stage.rest().await;
        stage.user(|user| user.create(&deployment(3, image)));
        stage.rest().await;
        assert_eq!(stage.outage(), outage, "recreated with {image}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_lock_keeps_a_third_template_out() {
    for seed in seeds() {
        let mut stage = Stage::window(seed, 3).await;
        stage.lock().await;
        stage.pin("shop:2").await;
        assert!(
            stage
                .world
                .kubectl(|kubectl| kubectl.restart("web"))
                .unwrap_err()
                .message
                .contains("paused")
        );
        assert!(
            stage
                .world
                .kubectl(|kubectl| kubectl.undo("web"))
                .unwrap_err()
                .message
                .contains("paused")
        );
        stage.user(|user| user.set_image("web", "web", "shop:3"));
        stage.rest().await;
        assert!(stage.set("shop:3").is_null(), "stored, but no ReplicaSet");
        assert_eq!(fields::number(&stage.web(), "/status/updatedReplicas"), None);
        assert_eq!((stage.size("shop:1"), stage.size("shop:2")), ((3, 3), (3, 3)));
        for size in [5, 2] {
            stage.user(|user| user.scale("web", size));
            stage.rest().await;
            assert_eq!(
                (stage.size("shop:1"), stage.size("shop:2")),
                ((size, size), (size, size))
            );
        }
        stage.write(release_patch("shop:2"));
        stage.rest().await;
        assert_eq!((stage.size("shop:1"), stage.size("shop:2")), ((0, 0), (2, 2)));
        assert!(!stage.outage());
    }
}

#[tokio::test(start_paused = true)]
async fn a_pause_with_the_template_makes_no_replica_set_and_a_pause_without_the_hold_protects_nothing() {
    let mut stage = Stage::new(1, 3).await;
    stage.lock().await;
    stage.user(|user| user.set_image("web", "web", "shop:2"));
    stage.rest().await;
    assert!(stage.set("shop:2").is_null());
    let mut stage = Stage::window(1, 3).await;
    stage.write(retire_patch("shop:2"));
    stage.rest().await;
    assert_eq!(
        stage.size("shop:1"),
        (0, 0),
        "the new side is saturated, the old one goes although paused"
    );
}

#[tokio::test(start_paused = true)]
async fn a_third_template_and_a_release_without_one_is_an_outage() {
    for seed in seeds() {
        let mut stage = Stage::window(seed, 3).await;
        stage.lock().await;
        stage.pin("shop:2").await;
        stage.user(|user| user.set_image("web", "web", "shop:3"));
        stage.wait(2).await;
        stage.write(values_patch());
        stage.rest().await;
        assert!(stage.outage());
    }
}

#[tokio::test(start_paused = true)]
async fn abort_after_the_flip_is_flip_back_and_one_patch() {
    for seed in seeds() {
        let mut stage = flipped(seed).await;
        let before = stage.pods("shop:1");
        let generation = fields::count(&stage.set("shop:1"), "/metadata/generation");
        stage.pin("shop:1").await;
        stage.wait(2).await;
        stage.write(release_patch("shop:1"));
        stage.rest().await;
        assert_eq!(stage.pods("shop:1"), before);
        assert_eq!(
            fields::count(&stage.set("shop:1"), "/metadata/generation"),
            generation
        );
        assert_eq!(stage.size("shop:2"), (0, 0));
        assert!(!stage.outage());
    }
}
