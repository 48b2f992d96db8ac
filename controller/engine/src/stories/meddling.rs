//! What others do to the objects of a release while its window is open.

use serde_json::json;
use slipway_crds::v1alpha1::Phase;

use super::{clean, old_side_untouched};
use crate::fixture::{Kind, World, full, plain};

/// A plain release whose new pods are ready and wait.
fn booted() -> World {
    let mut spec = plain("shop:1");
    spec["preboot"] = json!({"minimumWait": "5m"});
    let mut world = World::adopted(&spec);
    world.watch_traffic();
    world.release_image("shop:2");
    world.reach(Phase::Preboot);
    world.pass(60);
    world
}

fn watching() -> World {
    let mut world = booted();
    world.reach(Phase::Watch);
    world.pass(5);
    world
}

fn ends_as(world: &mut World, phase: Phase, image: &str) {
    world.rest();
    assert_eq!(world.phase(), phase, "{}", world.lines.join("\n"));
    assert_eq!(
        world.serves("web"),
        [image.to_owned()].into(),
        "{}",
        world.lines.join("\n")
    );
    clean(world);
}

#[test]
fn scale_in_the_window_is_followed_by_both_sides() {
    let mut world = booted();
    world.scale("web", 5);
    world.pass(20);
    ends_as(&mut world, Phase::Complete, "shop:2");
    assert_eq!(world.ready_endpoints("web"), 5);
    assert!(!world.effects.contains(&"Repair"), "{}", world.lines.join("\n"));
    world.is_told_as("scaled-in-preboot");
}

#[test]
fn scale_to_zero_before_the_cutover_ends_the_release() {
    let mut world = booted();
    world.scale("web", 0);
    world.rest();
    assert_eq!(world.phase(), Phase::Failed);
    assert_eq!(world.reason("Stalled").as_deref(), Some("ScaledToZero"));
    world.scale("web", 3);
    world.pass(20);
    old_side_untouched(&world);
    world.is_told_as("scaled-to-zero-before-cutover");
}

#[test]
fn scale_to_zero_after_the_cutover_ends_the_window() {
    let mut world = watching();
    world.scale("web", 0);
    world.rest();
    assert_eq!(world.phase(), Phase::Complete);
    world.scale("web", 3);
    world.pass(20);
    ends_as(&mut world, Phase::Complete, "shop:2");
    world.is_told_as("scaled-to-zero-after-cutover");
}

#[test]
fn scale_to_zero_and_back_at_once_is_served_again() {
    for world in [booted(), watching()] {
        let mut world = world;
        world.scale("web", 0);
        world.pass(1);
        world.scale("web", 3);
        world.pass(30);
        assert_eq!(world.ready_endpoints("web"), 3, "{}", world.lines.join("\n"));
        world.rest();
        clean(&world);
    }
}

#[test]
fn the_serving_replica_set_deleted_before_the_cutover_is_brought_back() {
    let mut world = booted();
    world.delete_set(&world.set_of("web", "shop:1"));
    world.pass(6);
    assert_eq!(
        world.serves("web"),
        ["shop:1".to_owned()].into(),
        "{}",
        world.lines.join("\n")
    );
    ends_as(&mut world, Phase::Failed, "shop:1");
    assert_eq!(world.reason("Stalled").as_deref(), Some("ServingSideLost"));
    world.is_told_as("serving-side-deleted-before-cutover");
}

#[test]
fn the_idle_replica_set_deleted_before_the_cutover_is_booted_again() {
    let mut world = booted();
    world.delete_set(&world.set_of("web", "shop:2"));
    ends_as(&mut world, Phase::Complete, "shop:2");
    assert_eq!(world.lowest(), 3);
    world.is_told_as("idle-side-deleted-before-cutover");
}

#[test]
fn the_serving_replica_set_deleted_after_the_cutover_rolls_back() {
    let mut world = watching();
    world.delete_set(&world.set_of("web", "shop:2"));
    world.pass(1);
    assert_eq!(world.serves("web"), ["shop:1".to_owned()].into());
    ends_as(&mut world, Phase::RolledBack, "shop:1");
    world.is_told_as("serving-side-deleted-after-cutover");
}

#[test]
fn the_old_replica_set_deleted_after_the_cutover_takes_the_way_back_with_it() {
    let mut world = watching();
    world.delete_set(&world.set_of("web", "shop:1"));
    world.pass(5);
    let rollback = world.progress().status.rollback.unwrap();
    assert!(rollback.reason.contains("deleted"), "{}", rollback.reason);
    ends_as(&mut world, Phase::Complete, "shop:2");
    world.is_told_as("old-side-deleted-after-cutover");
}

#[test]
fn both_replica_sets_deleted_after_the_cutover_come_back() {
    let mut world = watching();
    world.delete_set(&world.set_of("web", "shop:1"));
    world.delete_set(&world.set_of("web", "shop:2"));
    world.pass(8);
    assert_eq!(world.ready_endpoints("web"), 3, "{}", world.lines.join("\n"));
    world.rest();
    assert_eq!(world.ready_endpoints("web"), 3);
    clean(&world);
}

#[test]
fn both_replica_sets_deleted_before_the_cutover_come_back() {
    let mut world = booted();
    world.delete_set(&world.set_of("web", "shop:1"));
    world.delete_set(&world.set_of("web", "shop:2"));
    world.pass(8);
    assert_eq!(
        world.serves("web"),
        ["shop:1".to_owned()].into(),
        "{}",
        world.lines.join("\n")
    );
    ends_as(&mut world, Phase::Failed, "shop:1");
}

#[test]
fn a_foreign_template_while_locked_is_overwritten_in_the_end() {
    let mut world = watching();
    world.set_image("web", "evil:1");
    world.pass(5);
    assert_eq!(world.lowest(), 3);
    ends_as(&mut world, Phase::Complete, "shop:2");
    assert!(world.lines.iter().any(|line| line.contains("ForeignTemplate")));
    assert_eq!(world.lowest(), 3);
    world.is_told_as("foreign-template-after-cutover");
}

#[test]
fn a_foreign_template_before_the_cutover_does_not_serve() {
    let mut world = booted();
    world.set_image("web", "evil:1");
    ends_as(&mut world, Phase::Complete, "shop:2");
    assert_eq!(world.lowest(), 3);
    world.is_told_as("foreign-template-before-cutover");
}

#[test]
fn what_a_rollout_before_the_window_leaves_is_the_old_side() {
    let mut world = World::adopted(&full("shop:1", "one"));
    world.release_image("shop:2");
    world.reach(Phase::Expand);
    world.restart("web");
    ends_as(&mut world, Phase::Complete, "shop:2");
}

#[test]
fn resume_is_undone() {
    for world in [booted(), watching()] {
        let mut world = world;
        world.resume("web");
        world.pass(2);
        assert_eq!(
            world.get(Kind::Deployment, "web")["spec"]["paused"],
            true,
            "{}",
            world.lines.join("\n")
        );
        ends_as(&mut world, Phase::Complete, "shop:2");
        assert_eq!(world.lowest(), 3);
    }
}

#[test]
fn a_service_applied_by_force_is_pinned_again_at_once() {
    for world in [booted(), watching()] {
        let mut world = world;
        world.apply_service("web");
        world.pass(2);
        assert_eq!(world.serves("web").len(), 1, "{}", world.lines.join("\n"));
        ends_as(&mut world, Phase::Complete, "shop:2");
        assert!(world.lines.iter().any(|line| line.contains("RePinned")));
    }
}

#[test]
fn a_manifest_with_its_own_strategy_takes_no_pod_away() {
    for world in [booted(), watching()] {
        let mut world = world;
        world.guard_windows();
        world.apply_manifest("web", "shop:1");
        world.pass(10);
        assert_eq!(world.lowest(), 3, "{}", world.lines.join("\n"));
        world.rest();
        assert_eq!(
            world.serves("web"),
            ["shop:2".to_owned()].into(),
            "{}",
            world.lines.join("\n")
        );
        assert_eq!(world.lowest(), 3, "{}", world.lines.join("\n"));
    }
}

/// The Deployment controller is faster than Slipway: this is what the guard is for.
#[test]
fn the_old_manifest_with_its_own_strategy_and_no_guard_is_made_good_again() {
    for world in [booted(), watching()] {
        let mut world = world;
        world.apply_manifest("web", "shop:1");
        world.pass(10);
        assert!(world.lowest() >= 2, "{}", world.lines.join("\n"));
        assert_eq!(world.ready_endpoints("web"), 3, "{}", world.lines.join("\n"));
        world.rest();
        assert_eq!(world.serves("web"), ["shop:2".to_owned()].into());
        assert!(world.lowest() >= 2, "{}", world.lines.join("\n"));
    }
}

#[test]
fn the_window_label_taken_off_does_not_make_the_hold_the_users_own() {
    for world in [booted(), watching()] {
        let mut world = world;
        world.unlabel("web");
        ends_as(&mut world, Phase::Complete, "shop:2");
        assert_eq!(world.lowest(), 3);
    }
}

#[test]
fn the_window_label_taken_off_before_an_abort_leaves_nothing_behind() {
    for world in [booted(), watching()] {
        let mut world = world;
        world.unlabel("web");
        world.annotate("abort", "shop-2");
        world.rest();
        clean(&world);
        assert_eq!(world.serves("web"), ["shop:1".to_owned()].into());
    }
}

/// A release that was given up, and whose new side is being ended while the old one is not whole.
fn ending() -> World {
    let mut world = booted();
    world.breaks("shop:1");
    world.annotate("abort", "shop-2");
    world.until(|world| world.effects.contains(&"EndWindow"));
    world
}

/// Until the other side is gone the Services stay pinned, and the strategy is still to be given back.
#[test]
fn the_window_label_taken_off_while_a_side_ends_leaves_nothing_behind() {
    let mut world = ending();
    world.unlabel("web");
    world.pass(10);
    world.mends();
    ends_as(&mut world, Phase::Aborted, "shop:1");
}

/// The user's own strategy is not to be seen then, though the other values are.
#[test]
fn a_status_lost_while_a_side_ends_leaves_nothing_behind() {
    let mut world = ending();
    world.lose_status();
    world.pass(10);
    world.mends();
    ends_as(&mut world, Phase::Aborted, "shop:1");
}

#[test]
fn a_deployment_deleted_in_the_window_ends_the_release() {
    for world in [booted(), watching()] {
        let mut world = world;
        world.delete_deployment("web");
        world.rest();
        clean(&world);
        let phase = world.phase();
        assert!(
            matches!(phase, Phase::Failed | Phase::RolledBack),
            "{phase:?} {}",
            world.lines.join("\n")
        );
    }
}

#[test]
fn blinking_pods_are_the_applications_business() {
    let mut world = booted();
    world.fail_pods(&world.set_of("web", "shop:1"), 2, 10);
    world.pass(20);
    world.fail_pods(&world.set_of("web", "shop:2"), 3, 10);
    ends_as(&mut world, Phase::Complete, "shop:2");
}

#[test]
fn a_workload_taken_out_of_the_release_is_let_go() {
    let mut spec = plain("shop:1");
    spec["workloads"] = json!([
        {"name": "web", "deployment": "web", "services": ["web"]},
        {"name": "worker", "deployment": "worker"},
    ]);
    let mut world = World::adopted(&spec);
    world.edit(|spec| {
        spec["image"] = json!("shop:2");
        spec["workloads"] = json!([{"name": "web", "deployment": "web", "services": ["web"]}]);
    });
    ends_as(&mut world, Phase::Complete, "shop:2");
    assert!(
        world.get(Kind::Deployment, "worker")["metadata"]["labels"]
            .get("slipway.dev/claim")
            .is_none()
    );
    assert_eq!(world.image("worker"), "shop:1");
}
