//! `docs/mechanism.md`, "The hold" and "Scaling in the window": what happens before the flip, and how to get out of
//! it.

use serde_json::json;
use slipway_kubernetes::{fields, kind::Kind, models::behaviour::Behaviour, store::Propagation};

use super::stage::{Stage, deployment, hold_patch, release_patch, seeds};

#[tokio::test(start_paused = true)]
async fn row_1_and_2_a_third_version_takes_only_the_idle_side() {
    for seed in seeds() {
        let mut stage = Stage::window(seed, 3).await;
        let before = stage.pods("shop:1");
        stage.user(|user| user.set_image("web", "web", "shop:3"));
        stage.rest().await;
        assert_eq!(stage.size("shop:2"), (0, 0), "scaled away");
        assert_eq!(stage.size("shop:3"), (3, 3), "at full size");
        assert_eq!(stage.pods("shop:1"), before, "the old side is untouched");
        assert!(!stage.outage());
    }
}

#[tokio::test(start_paused = true)]
async fn row_3_undo_lets_the_old_side_inherit_the_hold_and_touches_no_pod() {
    for seed in seeds() {
        let mut stage = Stage::window(seed, 3).await;
        let before = stage.pods("shop:1");
        stage.user(|user| user.undo("web"));
        stage.rest().await;
        assert_eq!(stage.available("shop:1"), 0);
        assert!(!fields::is_true(&stage.web(), "Available"));
        assert_eq!(stage.pods("shop:1"), before);
        assert!(!stage.outage());
    }
}

#[tokio::test(start_paused = true)]
async fn row_4_pause_and_resume_move_nothing() {
    let mut stage = Stage::window(1, 3).await;
    stage.user(|user| user.pause("web"));
    stage.rest().await;
    stage.user(|user| user.resume("web"));
    stage.rest().await;
    assert_eq!((stage.size("shop:1"), stage.size("shop:2")), ((3, 3), (3, 3)));
    assert!(!stage.outage());
}

#[tokio::test(start_paused = true)]
async fn row_5_scaling_scales_both_sides_exactly() {
    for (start, sizes) in [(3, vec![5, 2, 7]), (1, vec![7, 3]), (7, vec![10, 4])] {
        for locked in [false, true] {
            let mut stage = Stage::window(2, start).await;
            if locked {
                stage.lock().await;
            }
            for size in &sizes {
                stage.user(|user| user.scale("web", *size));
                stage.rest().await;
                assert_eq!(
                    stage.size("shop:1"),
                    (*size, *size),
                    "from {start}, locked: {locked}"
                );
                assert_eq!(
                    stage.size("shop:2"),
                    (*size, *size),
                    "from {start}, locked: {locked}"
                );
            }
            assert!(!stage.outage());
        }
    }
}

#[tokio::test(start_paused = true)]
async fn row_6_scaling_to_zero_and_back_brings_back_only_the_newest() {
    for seed in seeds() {
        let mut stage = Stage::window(seed, 3).await;
        stage.user(|user| user.scale("web", 0));
        stage.rest().await;
        assert_eq!((stage.size("shop:1"), stage.size("shop:2")), ((0, 0), (0, 0)));
        stage.user(|user| user.scale("web", 3));
        stage.rest().await;
        assert_eq!((stage.size("shop:1"), stage.size("shop:2")), ((0, 0), (3, 3)));
        assert_eq!(stage.ready(), 0, "the pin to the old side has no pods");
    }
}

#[tokio::test(start_paused = true)]
async fn row_7_a_deleted_old_replica_set_stays_away() {
    for seed in seeds() {
        let mut stage = Stage::window(seed, 3).await;
        let name = fields::name(&stage.set("shop:1")).to_owned();
        stage.user(|user| user.delete(Kind::ReplicaSet, &name, Propagation::Background));
        stage.rest().await;
        assert!(stage.set("shop:1").is_null());
        assert!(stage.outage());
        assert_eq!(stage.ready(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn row_8_an_orphaned_old_side_serves_on_and_is_adopted_at_surge_size() {
    for seed in seeds() {
        let mut stage = Stage::window(seed, 3).await;
        let name = fields::name(&stage.set("shop:1")).to_owned();
        let before = stage.pods("shop:1");
        stage.user(|user| user.delete(Kind::ReplicaSet, &name, Propagation::Orphan));
        stage.rest().await;
        assert!(stage.set("shop:1").is_null());
        assert_eq!((stage.pods("shop:1"), stage.ready()), (before.clone(), 3));
        let since = stage.world.now();
        stage.write(release_patch("shop:1"));
        stage.rest().await;
        assert_eq!(
            stage.world.oracle().fewest("default", "web", since),
            1,
            "3 → 1 → 3"
        );
        assert_eq!(stage.size("shop:1"), (3, 3));
        assert_eq!(
            stage.pods("shop:1").intersection(&before).count(),
            1,
            "one was adopted and kept"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn rows_9_and_10_a_recreated_deployment_adopts_both_sides() {
    for (image, outage) in [("shop:1", false), ("shop:2", true)] {
        let mut stage = Stage::window(1, 3).await;
        stage.user(|user| user.delete(Kind::Deployment, "web", Propagation::Orphan));
        stage.rest().await;
        assert!(stage.web().is_null());
        assert_eq!((stage.size("shop:1"), stage.size("shop:2")), ((3, 3), (3, 3)));
        stage.user(|user| user.create(&deployment(3, image)));
        stage.rest().await;
        assert_eq!(stage.size(image), (3, 3));
        assert_eq!(stage.outage(), outage, "recreated with {image}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_window_on_an_unfinished_rollout_is_a_trap() {
    for seed in seeds() {
        let mut stage = Stage::new(seed, 3).await;
        stage
            .world
            .cluster()
            .scripts
            .image("shop:1b", Behaviour::never_ready());
        stage.user(|user| user.set_image("web", "web", "shop:1b"));
        stage.wait(10).await;
        assert_eq!(stage.size("shop:1b").0, 1, "an unfinished rollout");
        stage.point_to("shop:1b");
        stage.write(hold_patch("shop:2"));
        stage.rest().await;
        assert_eq!(stage.size("shop:1b").0, 0, "the pinned side was scaled away");
        assert_eq!(stage.ready(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn other_strategies_and_own_values_hold_as_well() {
    let recreate = json!({"type": "Recreate"});
    let careful = json!({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1}});
    for strategy in [recreate, careful] {
        let mut manifest = deployment(3, "shop:1");
        manifest["spec"]["strategy"] = strategy.clone();
        let mut stage = Stage::of(1, manifest).await;
        let before = stage.pods("shop:1");
        stage.open().await;
        let mut back = release_patch("shop:1");
        back["spec"]["strategy"] = strategy.clone();
        if strategy["type"] == "Recreate" {
            let refusal = stage.patch(Kind::Deployment, "web", back.clone()).unwrap_err();
            assert!(
                refusal
                    .message
                    .contains("may not be specified when strategy `type` is 'Recreate'")
            );
            back["spec"]["strategy"]["rollingUpdate"] = json!(null);
        }
        stage.write(back);
        stage.rest().await;
        assert_eq!((stage.size("shop:1"), stage.size("shop:2")), ((3, 3), (0, 0)));
        assert_eq!(stage.pods("shop:1"), before);
        assert!(!stage.outage());
    }
}

#[tokio::test(start_paused = true)]
async fn history_limits_never_clean_up_what_runs() {
    for limit in [0, 1] {
        let mut manifest = deployment(3, "shop:1");
        manifest["spec"]["revisionHistoryLimit"] = json!(limit);
        let mut stage = Stage::of(1, manifest).await;
        stage.open().await;
        stage.lock().await;
        stage.pin("shop:2").await;
        stage.write(release_patch("shop:2"));
        stage.rest().await;
        assert_eq!(stage.set("shop:1").is_null(), limit == 0, "limit {limit}");
        assert!(!stage.outage());
    }
}

#[tokio::test(start_paused = true)]
async fn sick_serving_pods_are_not_replaced_and_hold_the_abort_up() {
    let mut stage = Stage::window(1, 3).await;
    for pod in stage.pod_keys("shop:1") {
        stage.world.set_sick(&pod, true);
    }
    stage.rest().await;
    assert_eq!((stage.size("shop:1"), stage.ready()), ((3, 0), 0));
    stage.write(release_patch("shop:1"));
    stage.rest().await;
    assert!(
        stage.size("shop:2").0 >= 2,
        "the new side waits for the old one's availability"
    );
    for pod in stage.pod_keys("shop:1") {
        stage.world.set_sick(&pod, false);
    }
    stage.rest().await;
    assert_eq!((stage.size("shop:1"), stage.size("shop:2")), ((3, 3), (0, 0)));
}

#[tokio::test(start_paused = true)]
async fn a_crash_looping_new_side_shows_only_in_its_own_counts() {
    let mut stage = Stage::new(1, 3).await;
    stage.world.cluster().scripts.image(
        "shop:2",
        Behaviour::crash_loop(std::time::Duration::from_secs(1), 1),
    );
    let before = stage.pods("shop:1");
    stage.pin("shop:1").await;
    stage.write(hold_patch("shop:2"));
    stage.wait(120).await;
    assert_eq!(stage.size("shop:2"), (3, 0));
    let web = stage.web();
    let kinds: Vec<_> = fields::list(&web, "/status/conditions")
        .iter()
        .map(|found| fields::text(found, "/type"))
        .collect();
    assert_eq!(kinds, ["Available"], "the conditions say nothing");
    let pod = stage
        .world
        .all(Kind::Pod)
        .into_iter()
        .find(|pod| super::stage::image_of(pod) == "shop:2")
        .unwrap();
    let container = &pod["status"]["containerStatuses"][0];
    assert!(fields::count(container, "/restartCount") >= 3);
    stage.write(release_patch("shop:1"));
    stage.wait(60).await;
    assert_eq!((stage.size("shop:2").0, stage.pods("shop:1")), (0, before));
    assert!(!stage.outage());
}

#[tokio::test(start_paused = true)]
async fn a_quota_shows_as_replica_failure_on_both() {
    let mut stage = Stage::new(1, 3).await;
    stage
        .world
        .cluster()
        .store
        .pod_quota
        .insert("default".to_owned(), 4);
    stage.pin("shop:1").await;
    stage.write(hold_patch("shop:2"));
    stage.wait(10).await;
    assert_eq!(stage.size("shop:2"), (3, 1));
    for object in [stage.web(), stage.set("shop:2")] {
        let failure = fields::condition(&object, "ReplicaFailure").expect("the failure is reported");
        assert_eq!(fields::text(failure, "/reason"), "FailedCreate");
        assert!(
            fields::text(failure, "/message").contains("exceeded quota"),
            "{failure}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn disruption_budgets_are_hollow_in_the_window() {
    for spec in [
        json!({"minAvailable": 3}),
        json!({"maxUnavailable": 1}),
        json!({"minAvailable": "100%"}),
    ] {
        let mut stage = Stage::new(1, 3).await;
        let mut budget = json!({
            "apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": "web"}, "spec": spec,
        });
        budget["spec"]["selector"] = json!({"matchLabels": {"app": "web"}});
        stage.user(|user| user.create(&budget));
        stage.open().await;
        let before = fields::count(
            &stage.world.get(Kind::PodDisruptionBudget, "web"),
            "/status/disruptionsAllowed",
        );
        assert!(before >= 3, "{spec}: {before}");
        for pod in stage.pod_keys("shop:1") {
            stage.user(|user| user.evict(&pod.name));
        }
        stage.rest().await;
        assert!(stage.outage(), "{spec}: all serving pods were evicted at once");
        assert_eq!(stage.size("shop:1"), (3, 3), "replaced afterwards");
    }
}

#[tokio::test(start_paused = true)]
async fn a_budget_refuses_and_two_are_an_error() {
    let mut stage = Stage::new(1, 3).await;
    let budget = |name: &str| {
        json!({
            "apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": name},
            "spec": {"minAvailable": 3, "selector": {"matchLabels": {"app": "web"}}},
        })
    };
    stage.user(|user| user.create(&budget("one")));
    stage.rest().await;
    let pod = stage.pod_keys("shop:1").remove(0).name;
    let refusal = stage.world.kubectl(|kubectl| kubectl.evict(&pod)).unwrap_err();
    assert_eq!((refusal.code, refusal.reason), (429, "TooManyRequests"));
    stage.user(|user| user.create(&budget("two")));
    let refusal = stage.world.kubectl(|kubectl| kubectl.evict(&pod)).unwrap_err();
    assert_eq!(refusal.code, 500);
    assert!(
        refusal.message.contains("more than one PodDisruptionBudget"),
        "{}",
        refusal.message
    );
}
