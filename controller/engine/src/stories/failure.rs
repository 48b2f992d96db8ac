//! What goes wrong before the cutover: the old side serves on, untouched.

use std::time::Duration;

use serde_json::json;
use slipway_crds::v1alpha1::Phase;

use slipway_kubernetes::models::behaviour::Behaviour;

use super::{clean, jobs_of, old_side_untouched, reindexing};
use crate::fixture::{Kind, World, fails, full, plain, takes};

fn migrating() -> World {
    let mut spec = plain("shop:1");
    spec["migrate"] = json!({"expand": {"command": ["migrate"]}});
    World::adopted(&spec)
}

/// A minute of a migration that takes ten, and ends well on SIGTERM.
fn in_mid_migration(mut world: World) -> World {
    world.script_patient("expand", 600);
    world.release_image("shop:2");
    world.reach(Phase::Expand);
    world.pass(60);
    world
}

#[test]
fn a_failed_migration_stops_the_release_and_retry_goes_on() {
    let mut world = migrating();
    world.script(
        "expand",
        [fails("PG::UndefinedColumn: column orders.totl does not exist")],
    );
    world.release_image("shop:2");
    world.rest();
    assert_eq!(world.phase(), Phase::Failed);
    assert_eq!(world.reason("Stalled").as_deref(), Some("MigrationFailed"));
    assert!(
        world
            .progress()
            .status
            .waiting_for
            .unwrap()
            .contains("orders.totl")
    );
    old_side_untouched(&world);
    world.annotate("retry", "shop-2");
    world.rest();
    assert_eq!(world.phase(), Phase::Complete);
    clean(&world);
    world.is_told_as("migration-failed-and-retried");
}

#[test]
fn the_same_retry_twice_is_once() {
    let mut world = migrating();
    world.script("expand", [fails("one"), fails("two")]);
    world.release_image("shop:2");
    world.rest();
    world.annotate("retry", "shop-2");
    world.rest();
    world.annotate("retry", "shop-2");
    world.rest();
    assert_eq!(world.jobs().len(), 2);
    world.annotate("retry", "shop-2/again");
    world.rest();
    assert_eq!(world.jobs().len(), 3);
    assert_eq!(world.phase(), Phase::Complete);
}

#[test]
fn a_failed_version_is_not_tried_again_until_the_spec_changes() {
    let mut world = migrating();
    world.script("expand", [fails("no")]);
    world.release_image("shop:2");
    world.rest();
    world.edit(|spec| spec["watch"] = json!({"for": "2m"}));
    world.rest();
    assert_eq!(world.phase(), Phase::Failed);
    assert_eq!(world.jobs().len(), 1);
    world.release_image("shop:2.1");
    world.rest();
    assert_eq!(world.phase(), Phase::Complete);
    assert_eq!(world.progress().revision_name(), "shop-3".into());
}

#[test]
fn back_to_the_version_that_serves_after_a_failure_runs_nothing() {
    let mut world = migrating();
    world.script("expand", [fails("no")]);
    world.release_image("shop:2");
    world.rest();
    world.release_image("shop:1");
    world.rest();
    assert_eq!(world.phase(), Phase::Complete);
    assert_eq!(world.jobs().len(), 1, "{:?}", world.jobs());
    old_side_untouched(&world);
    world.is_told_as("back-to-what-serves");
}

#[test]
fn back_to_an_earlier_version_with_another_index_runs_no_migration_twice() {
    let mut world = World::adopted(&full("shop:1", "one"));
    for (image, fingerprint) in [("shop:2", "two"), ("shop:3", "three"), ("shop:2", "two")] {
        world.release_image(image);
        world.edit(|spec| spec["reindex"]["rebuild"]["fingerprint"] = json!(fingerprint));
        world.until(|world| {
            world.phase() == Phase::Complete
                && world.progress().revision().is_some_and(|now| now.image == image)
        });
    }
    let migrations = jobs_of(&world, "expand");
    assert_eq!(migrations, ["shop-2-expand-1", "shop-3-expand-1"]);
}

#[test]
fn an_interrupted_migration_that_reads_complete_is_unknown_and_a_person_decides() {
    let mut world = in_mid_migration(migrating());
    world.evict_task("shop-2-expand-1");
    world.rest();
    assert_eq!(world.reason("Stalled").as_deref(), Some("TaskUnknown"));
    assert_eq!(world.jobs().len(), 1, "nothing runs twice");
    old_side_untouched(&world);
    world.annotate("abort", "shop-2");
    world.rest();
    assert_eq!(world.phase(), Phase::Aborted);
    clean(&world);
    world.is_told_as("migration-interrupted-and-aborted");
}

#[test]
fn a_migration_whose_job_is_deleted_is_unknown_when_its_pod_has_ended() {
    let mut world = in_mid_migration(migrating());
    world.delete_job("shop-2-expand-1");
    world.rest();
    assert_eq!(world.reason("Stalled").as_deref(), Some("TaskUnknown"));
    assert!(world.jobs().is_empty(), "it is never made again");
    world.annotate("retry", "shop-2");
    world.rest();
    assert_eq!(world.phase(), Phase::Complete);
    world.is_told_as("migration-job-deleted-and-retried");
}

#[test]
fn a_task_that_cannot_start_says_why_and_gives_up_in_time() {
    let mut world = migrating();
    world.edit(|spec| spec["migrate"]["expand"]["startDeadline"] = json!("1m"));
    world.script("expand", [Behaviour::no_image()]);
    world.release_image("shop:2");
    world.pass(30);
    let waiting = world.progress().status.waiting_for.unwrap();
    assert!(waiting.contains("Back-off pulling image \"shop:2\""), "{waiting}");
    world.rest();
    assert_eq!(world.phase(), Phase::Failed);
    old_side_untouched(&world);
    world.is_told_as("task-cannot-start");
}

/// A quota, say, that has no room for the pod of a task.
fn refused() -> World {
    let mut world = migrating();
    world.no_room(true);
    world.release_image("shop:2");
    world.pass(5);
    let waiting = world.progress().status.waiting_for.unwrap();
    assert!(waiting.contains("exceeded quota"), "{waiting}");
    world
}

/// There is room again, and nothing runs.
fn nothing_ever_runs(world: &mut World, job: &str) {
    assert!(!world.jobs().iter().any(|known| known == job));
    world.no_room(false);
    world.pass(60);
    assert!(!world.names(Kind::Pod).iter().any(|pod| pod.starts_with(job)));
}

#[test]
fn a_migration_whose_pod_is_refused_ends_at_once_when_it_is_given_up() {
    let mut world = refused();
    world.annotate("abort", "shop-2");
    world.rest();
    assert_eq!(world.phase(), Phase::Aborted);
    clean(&world);
    nothing_ever_runs(&mut world, "shop-2-expand-1");
    world.is_told_as("no-pod-and-aborted");
}

#[test]
fn a_migration_whose_pod_is_refused_makes_way_for_a_newer_version() {
    let mut world = refused();
    world.release_image("shop:3");
    assert!(world.until(|world| world.progress().number() == 3));
    nothing_ever_runs(&mut world, "shop-2-expand-1");
    assert_eq!(world.phase(), Phase::Watch, "the newer one's migration ran");
}

#[test]
fn a_release_whose_migration_has_no_pod_can_be_deleted() {
    let mut world = refused();
    world.delete();
    assert!(world.until(|world| world.release().is_none()));
    nothing_ever_runs(&mut world, "shop-2-expand-1");
}

#[test]
fn a_migration_that_was_killed_is_not_tried_again_by_itself() {
    let mut world = migrating();
    world.edit(|spec| spec["migrate"]["expand"]["retries"] = json!(2));
    let killed = Behaviour::task(Duration::from_secs(2), 137);
    world.script("expand", [killed]);
    world.release_image("shop:2");
    world.rest();
    assert_eq!(world.reason("Stalled").as_deref(), Some("TaskUnknown"));
    assert_eq!(world.jobs().len(), 1, "nothing runs twice");
    let waiting = world.progress().status.waiting_for.unwrap();
    assert!(waiting.contains("signal 9 ended it"), "{waiting}");
    assert!(waiting.contains("application_name shop-2-expand-1"), "{waiting}");
    old_side_untouched(&world);
}

#[test]
fn an_idempotent_task_that_is_killed_each_time_comes_to_an_end() {
    let mut world = migrating();
    world.edit(|spec| spec["migrate"]["expand"]["idempotent"] = json!(true));
    let killed = Behaviour::task(Duration::from_secs(2), 137);
    world.script("expand", vec![killed; 20]);
    world.release_image("shop:2");
    world.rest();
    assert_eq!(world.reason("Stalled").as_deref(), Some("TaskUnknown"));
    assert_eq!(world.jobs().len(), 10);
}

#[test]
fn a_task_is_tried_again_as_often_as_its_retries_say() {
    let mut world = migrating();
    world.edit(|spec| spec["migrate"]["expand"]["retries"] = json!(2));
    world.script("expand", [fails("one"), fails("two")]);
    world.release_image("shop:2");
    world.rest();
    assert_eq!(world.phase(), Phase::Complete, "{}", world.lines.join("\n"));
    assert_eq!(world.jobs().len(), 3);
    world.is_told_as("task-retries");
}

#[test]
fn a_task_that_may_be_repeated_is_after_an_unknown_outcome() {
    let mut world = migrating();
    world.edit(|spec| spec["migrate"]["expand"]["idempotent"] = json!(true));
    let mut world = in_mid_migration(world);
    world.evict_task("shop-2-expand-1");
    world.rest();
    assert_eq!(world.phase(), Phase::Complete, "{}", world.lines.join("\n"));
    assert_eq!(world.jobs().len(), 2);
    world.is_told_as("idempotent-task-interrupted");
}

#[test]
fn a_slow_migration_is_reported_and_not_killed() {
    let mut world = migrating();
    world.edit(|spec| spec["migrate"]["expand"]["timeout"] = json!("1m"));
    world.script("expand", [takes(300)]);
    world.release_image("shop:2");
    world.rest();
    assert_eq!(world.phase(), Phase::Complete);
    assert!(world.lines.iter().any(|line| line.contains("TaskSlow")));
}

#[test]
fn a_migration_that_the_clock_may_stop_is_unknown_when_it_was_stopped_in_the_middle() {
    let mut world = migrating();
    world.edit(|spec| {
        spec["migrate"]["expand"]["timeout"] = json!("1m");
        spec["migrate"]["expand"]["onTimeout"] = json!("Fail");
    });
    world.script("expand", [takes(300)]);
    world.release_image("shop:2");
    world.rest();
    assert_eq!(world.reason("Stalled").as_deref(), Some("TaskUnknown"));
    let waiting = world.progress().status.waiting_for.unwrap();
    assert!(
        waiting.contains("(Interrupted: it ran longer than its timeout of 60s)"),
        "{waiting}"
    );
    world.annotate("abort", "shop-2");
    world.rest();
    assert_eq!(world.phase(), Phase::Aborted);
    old_side_untouched(&world);
    world.is_told_as("task-timeout");
}

#[test]
fn new_pods_that_never_get_ready_go_and_the_old_side_stays_full() {
    let mut world = World::adopted(&plain("shop:1"));
    world.watch_traffic();
    world.pods_of("shop:2", Behaviour::crash_loop(Duration::from_secs(1), 1));
    world.release_image("shop:2");
    world.rest();
    assert_eq!(world.reason("Stalled").as_deref(), Some("PrebootTimeout"));
    assert!(
        world
            .progress()
            .status
            .waiting_for
            .unwrap()
            .contains("CrashLoopBackOff")
    );
    old_side_untouched(&world);
    world.pods_of("shop:2", Behaviour::server());
    world.annotate("retry", "shop-2");
    world.rest();
    assert_eq!(world.phase(), Phase::Complete);
    clean(&world);
    world.is_told_as("preboot-timeout-and-retried");
}

#[test]
fn a_retry_while_the_new_side_is_cleaned_up_waits_for_that() {
    let mut world = World::adopted(&plain("shop:1"));
    world.breaks("shop:2");
    world.release_image("shop:2");
    world.until(|world| world.lines.iter().any(|line| line.contains("PrebootTimeout")));
    world.mends();
    world.annotate("retry", "shop-2");
    world.rest();
    assert_eq!(world.phase(), Phase::Complete);
    clean(&world);
}

#[test]
fn new_pods_that_die_between_boot_and_cutover_are_not_waited_for_without_end() {
    let mut world = reindexing();
    world.script("catch-up", [takes(2), takes(30)]);
    world.reach(Phase::Cutover);
    let new = world.set_of("web", "shop:2");
    world.fail_pods(&new, 3, 1_000_000);
    assert!(
        world.until(|world| world.phase() == Phase::Failed),
        "{}",
        world.lines.join("\n")
    );
    old_side_untouched(&world);
}
