//! The ways back after the cutover.

use jiff::SignedDuration;
use serde_json::json;
use slipway_crds::v1alpha1::Phase;

use super::{clean, old_side_untouched, order};
use crate::fixture::{World, fails, full, plain, takes};

fn watching() -> World {
    let mut world = World::adopted(&plain("shop:1"));
    world.watch_traffic();
    world.release_image("shop:2");
    world.reach(Phase::Watch);
    world
}

#[test]
fn a_new_side_that_dies_in_watch_is_rolled_back_at_once() {
    let mut world = watching();
    world.fail_pods(&world.set_of("web", "shop:2"), 3, 100_000);
    let before = world.now();
    world.until(|world| world.serves("web") == ["shop:1".to_owned()].into());
    assert!(world.now().duration_since(before).as_secs() < 1);
    world.rest();
    assert_eq!(world.phase(), Phase::RolledBack);
    assert_eq!(world.reason("RolledBack").as_deref(), Some("NewSideFailed"));
    assert_eq!(
        order(&world),
        [
            "Open",
            "Pin",
            "Hold",
            "Lock",
            "Bolt",
            "Flip",
            "FlipBack",
            "Unbolt",
            "EndWindow",
            "Unpin",
            "Close"
        ]
    );
    old_side_untouched(&world);
    world.is_told_as("new-side-dies-in-watch");
}

#[test]
fn a_new_side_that_stays_worse_is_rolled_back_after_thirty_seconds() {
    let mut world = watching();
    world.fail_pods(&world.set_of("web", "shop:2"), 1, 100_000);
    world.pass(25);
    assert_eq!(world.phase(), Phase::Watch);
    world.rest();
    assert_eq!(world.phase(), Phase::RolledBack);
    old_side_untouched(&world);
}

#[test]
fn one_evicted_pod_is_no_reason_to_roll_back() {
    let mut world = watching();
    world.evict(&world.set_of("web", "shop:2"));
    world.rest();
    assert_eq!(world.phase(), Phase::Complete);
    clean(&world);
}

#[test]
fn scaling_in_watch_is_no_reason_to_roll_back() {
    let mut world = watching();
    world.scale("web", 5);
    world.pass(20);
    world.scale("web", 2);
    world.rest();
    assert_eq!(world.phase(), Phase::Complete);
    assert_eq!(world.ready_endpoints("web"), 2);
    clean(&world);
    world.is_told_as("scaled-in-watch");
}

#[test]
fn a_person_decides_where_rollback_is_manual() {
    let mut spec = plain("shop:1");
    spec["rollback"] = json!({"onFailure": "Manual"});
    let mut world = World::adopted(&spec);
    world.release_image("shop:2");
    world.reach(Phase::Watch);
    world.fail_pods(&world.set_of("web", "shop:2"), 3, 100_000);
    world.pass(600);
    assert_eq!(world.reason("Stalled").as_deref(), Some("NewSideFailed"));
    world.annotate("rollback", "shop-2");
    world.rest();
    assert_eq!(world.phase(), Phase::RolledBack);
    old_side_untouched(&world);
    world.is_told_as("manual-rollback");
}

#[test]
fn an_asked_rollback_takes_the_traffic_back() {
    let mut world = watching();
    world.annotate("rollback", "shop-2");
    world.rest();
    assert_eq!(world.phase(), Phase::RolledBack);
    assert_eq!(world.lowest(), 3);
    old_side_untouched(&world);
    world.is_told_as("asked-rollback");
}

#[test]
fn a_rollback_with_an_index_touches_no_alias() {
    let mut world = World::adopted(&full("shop:1", "one"));
    world.watch_traffic();
    world.release_image("shop:2");
    world.edit(|spec| spec["reindex"]["rebuild"]["fingerprint"] = json!("two"));
    world.reach(Phase::Watch);
    world.until(|world| {
        world
            .progress()
            .workload(&"worker".into())
            .is_some_and(|worker| worker.rolled_at.is_some())
    });
    world.annotate("rollback", "shop-2");
    world.rest();
    assert_eq!(world.phase(), Phase::RolledBack);
    assert_eq!(world.alias("products"), ["products_1"]);
    assert_eq!(world.variable("worker"), None, "the worker reads what it read");
    old_side_untouched(&world);
    world.is_told_as("rollback-with-index");
}

#[test]
fn a_rollback_is_refused_once_the_old_side_goes() {
    let mut world = watching();
    world.reach(Phase::Retire);
    world.annotate("rollback", "shop-2");
    world.rest();
    assert_eq!(world.phase(), Phase::Complete);
    assert!(world.lines.iter().any(|line| line.contains("RollbackRefused")));
}

#[test]
fn a_new_side_that_dies_as_the_old_one_is_being_ended_is_rolled_back() {
    let mut world = watching();
    world.until(|world| world.effects.contains(&"EndWindow"));
    world.fail_pods(&world.set_of("web", "shop:2"), 3, 100_000);
    world.rest();
    assert_eq!(world.phase(), Phase::RolledBack);
    assert_eq!(world.reason("RolledBack").as_deref(), Some("NewSideFailed"));
    assert_eq!(world.serves("web"), ["shop:1".to_owned()].into());
    clean(&world);
    world.is_told_as("new-side-dies-in-retire");
}

#[test]
fn a_rollback_is_refused_without_an_old_side() {
    let mut world = watching();
    world.delete_set(&world.set_of("web", "shop:1"));
    world.pass(5);
    world.annotate("rollback", "shop-2");
    world.rest();
    assert_eq!(world.phase(), Phase::Complete);
    assert!(world.lines.iter().any(|line| line.contains("RollbackRefused")));
    clean(&world);
}

#[test]
fn an_old_side_that_is_lost_on_the_way_back_comes_back_first() {
    let mut world = watching();
    world.annotate("rollback", "shop-2");
    world.delete_set(&world.set_of("web", "shop:1"));
    world.rest();
    assert_eq!(world.phase(), Phase::RolledBack);
    assert_eq!(world.serves("web"), ["shop:1".to_owned()].into());
    clean(&world);
    world.is_told_as("old-side-lost-on-the-way-back");
}

#[test]
fn the_version_that_was_rolled_back_is_not_tried_again() {
    let mut world = watching();
    world.annotate("rollback", "shop-2");
    world.rest();
    world.annotate("retry", "shop-2");
    world.rest();
    assert_eq!(world.phase(), Phase::RolledBack);
    world.release_image("shop:2.1");
    world.rest();
    assert_eq!(world.phase(), Phase::Complete);
    assert_eq!(world.serves("web"), ["shop:2.1".to_owned()].into());
}

#[test]
fn a_retry_on_the_way_back_does_not_turn_around() {
    let mut world = watching();
    world.annotate("rollback", "shop-2");
    world.until(|world| world.serves("web") == ["shop:1".to_owned()].into());
    world.annotate("retry", "shop-2");
    world.rest();
    assert_eq!(world.phase(), Phase::RolledBack);
    old_side_untouched(&world);
}

#[test]
fn a_rollout_without_traffic_that_fails_is_reversed() {
    let mut spec = full("shop:1", "one");
    spec["workloads"] = json!([{"name": "worker", "deployment": "worker"}]);
    let mut world = World::adopted(&spec);
    world.breaks("shop:2");
    world.release_image("shop:2");
    world.reach(Phase::Watch);
    world.rest();
    assert_eq!(world.phase(), Phase::Failed);
    assert_eq!(world.image("worker"), "shop:1");
    world.is_told_as("worker-rollout-fails");
}

#[test]
fn a_catch_up_that_fails_in_watch_keeps_the_old_side_until_a_person_decides() {
    for (answer, end) in [
        ("retry", Phase::Complete),
        ("resume", Phase::Complete),
        ("rollback", Phase::RolledBack),
    ] {
        let mut world = World::adopted(&full("shop:1", "one"));
        world.edit(|spec| spec["watch"] = json!({"for": "10m"}));
        world.release_image("shop:2");
        world.edit(|spec| spec["reindex"]["rebuild"]["fingerprint"] = json!("two"));
        world.script("catch-up", [takes(2), takes(2), fails("no")]);
        world.reach(Phase::Watch);
        world.pass(3600);
        assert_eq!(world.phase(), Phase::Watch);
        assert_eq!(world.reason("Stalled").as_deref(), Some("CatchUpFailed"));
        world.annotate(answer, "shop-2");
        assert!(
            world.until(|world| world.phase() == end),
            "{answer}\n{}",
            world.lines.join("\n")
        );
        if answer == "resume" {
            world.is_told_as("catch-up-failed-in-watch-and-resumed");
        }
    }
}

#[test]
fn a_catch_up_that_fails_in_retire_waits_for_a_person() {
    for answer in ["retry", "resume"] {
        let mut world = World::adopted(&full("shop:1", "one"));
        world.release_image("shop:2");
        world.edit(|spec| spec["reindex"]["rebuild"]["fingerprint"] = json!("two"));
        world.reach(Phase::Retire);
        world.script("catch-up", [fails("no")]);
        world.pass(600);
        assert_eq!(
            world.reason("Stalled").as_deref(),
            Some("CatchUpFailed"),
            "{}",
            world.lines.join("\n")
        );
        world.annotate(answer, "shop-2");
        assert!(
            world.until(|world| world.phase() == Phase::Complete),
            "{answer}\n{}",
            world.lines.join("\n")
        );
    }
}

#[test]
fn a_long_watch_stays_within_the_bounds_of_the_status() {
    let mut world = World::adopted(&full("shop:1", "one"));
    world.edit(|spec| spec["watch"] = json!({"for": "2h"}));
    world.release_image("shop:2");
    world.edit(|spec| spec["reindex"]["rebuild"]["fingerprint"] = json!("two"));
    world.reach(Phase::Watch);
    assert!((0..10).any(|_| world.until(|world| world.phase() == Phase::Complete)));
    assert!(world.jobs().len() < 64, "{} Jobs", world.jobs().len());
}

#[test]
fn the_end_of_the_watch_that_status_tells_follows_the_spec() {
    let mut world = World::adopted(&plain("shop:1"));
    world.release_image("shop:2");
    world.reach(Phase::Watch);
    world.pass(1);
    world.edit(|spec| spec["watch"] = json!({"for": "2h"}));
    world.pass(1);
    let status = world.progress().status;
    let cutover = status.cutover.unwrap();
    let until = cutover.confirmed_at.unwrap() + SignedDuration::from_hours(2);
    assert_eq!(cutover.watch_until, Some(until));
    assert_eq!(status.rollback.unwrap().until, Some(until));
}
