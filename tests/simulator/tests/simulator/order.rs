//! `docs/mechanism.md`, "The hold": abort before the flip, and the order of patches.

use serde_json::json;
use slipway_kubernetes::fields;

use super::stage::{Stage, hold_patch, release_patch, seeds, template_patch, values_patch};

#[tokio::test(start_paused = true)]
async fn abort_in_one_patch_touches_nothing_of_the_old_side() {
    for seed in seeds() {
        for early in [false, true] {
            let mut stage = Stage::new(seed, 8).await;
            let (before, set) = (stage.pods("shop:1"), stage.set("shop:1"));
            let since = stage.world.now();
            stage.pin("shop:1").await;
            stage.write(hold_patch("shop:2"));
            if early {
                stage.wait(1).await;
            } else {
                stage.rest().await;
            }
            stage.write(release_patch("shop:1"));
            stage.rest().await;
            assert_eq!(stage.pods("shop:1"), before);
            let generation = |set: &serde_json::Value| fields::count(set, "/metadata/generation");
            assert_eq!(generation(&stage.set("shop:1")), generation(&set));
            assert_eq!(stage.size("shop:2"), (0, 0));
            assert_eq!(stage.world.oracle().fewest("default", "web", since), 8);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn abort_template_first_alarms_but_serves() {
    let mut stage = Stage::window(1, 8).await;
    let before = stage.pods("shop:1");
    stage.write(template_patch("shop:1"));
    stage.wait(3).await;
    assert_eq!(stage.available("shop:1"), 0, "the old side inherits the hold");
    assert!(!fields::is_true(&stage.web(), "Available"));
    stage.write(values_patch());
    stage.rest().await;
    assert_eq!(stage.pods("shop:1"), before);
    assert!(!stage.outage());
}

#[tokio::test(start_paused = true)]
async fn abort_hold_fields_first_kills_the_old_side() {
    for seed in seeds() {
        let mut stage = Stage::window(seed, 8).await;
        let before = stage.pods("shop:1");
        stage.write(values_patch());
        stage.wait(1).await;
        stage.write(template_patch("shop:1"));
        stage.rest().await;
        assert_eq!(
            stage.pods("shop:1").intersection(&before).count(),
            0,
            "0 of 8 kept"
        );
        assert!(stage.outage());
    }
}

#[tokio::test(start_paused = true)]
async fn restoring_the_strategy_first_kills_a_quarter() {
    let mut stage = Stage::window(1, 8).await;
    let since = stage.world.now();
    let strategy = json!({"spec": {"strategy": values_patch()["spec"]["strategy"]}});
    stage.write(strategy);
    stage.rest().await;
    assert_eq!(stage.world.oracle().fewest("default", "web", since), 6);
    assert_eq!(stage.ready(), 6, "and it stays so");
}

#[tokio::test(start_paused = true)]
async fn start_hold_first_takes_the_old_sides_protection() {
    let mut stage = Stage::new(1, 8).await;
    stage.pin("shop:1").await;
    stage.write(hold_patch("shop:1"));
    stage.wait(3).await;
    assert_eq!(stage.available("shop:1"), 0, "the hold lands on the old side");
    stage.hold("shop:2").await;
    assert!(!fields::is_true(&stage.web(), "Available"));
    assert_eq!(stage.ready(), 8);
    stage.user(|user| user.set_image("web", "web", "shop:3"));
    stage.rest().await;
    assert_eq!(stage.size("shop:1").0, 0, "a third version kills all old pods");
    assert!(stage.outage());
}

#[tokio::test(start_paused = true)]
async fn start_template_first_freezes_the_damage() {
    let mut stage = Stage::new(1, 8).await;
    stage.pin("shop:1").await;
    stage.write(template_patch("shop:2"));
    stage.wait(1).await;
    stage.hold("shop:2").await;
    assert_eq!(
        stage.ready(),
        6,
        "two of eight were killed, and the hold keeps it so"
    );
}

#[tokio::test(start_paused = true)]
async fn a_replica_set_that_comes_back_remembers_its_revisions() {
    let mut stage = Stage::new(1, 1).await;
    for _ in 0..2 {
        stage.write(template_patch("shop:2"));
        stage.rest().await;
        stage.write(template_patch("shop:1"));
        stage.rest().await;
    }
    let revisions = |image: &str| {
        let set = stage.set(image);
        let read =
            |name: &str| fields::annotation(&set, &format!("deployment.kubernetes.io/{name}")).to_owned();
        (read("revision"), read("revision-history"))
    };
    assert_eq!(revisions("shop:1"), ("5".to_owned(), "1,3".to_owned()));
    assert_eq!(revisions("shop:2"), ("4".to_owned(), "2".to_owned()));
}
