//! The ways that go well.

use serde_json::json;
use slipway_crds::v1alpha1::Phase;
use slipway_crds::v1alpha1::status::Outcome;

use super::{clean, jobs_of, order};
use crate::fixture::{Kind, World, full, plain, takes};

#[test]
fn a_plain_release_moves_the_traffic_once_and_gives_everything_back() {
    let mut world = World::adopted(&plain("shop:1"));
    world.watch_traffic();
    world.release_image("shop:2");
    world.rest();
    assert_eq!(world.phase(), Phase::Complete);
    assert_eq!(
        order(&world),
        [
            "Open",
            "Pin",
            "Hold",
            "Lock",
            "Bolt",
            "Flip",
            "EndWindow",
            "Unpin",
            "Close"
        ]
    );
    assert_eq!(world.lowest(), 3);
    clean(&world);
    world.is_told_as("plain");
}

#[test]
fn a_migration_runs_before_any_pod_boots() {
    let mut spec = plain("shop:1");
    spec["prepare"] = json!([{"name": "assets", "command": ["assets"]}]);
    spec["migrate"] = json!({"expand": {"command": ["migrate"], "lockTimeout": "5s"}});
    let mut world = World::adopted(&spec);
    assert!(world.jobs().is_empty(), "adopting what runs runs nothing");
    world.watch_traffic();
    world.release_image("shop:2");
    world.rest();
    let at = |word: &str| world.effects.iter().position(|deed| *deed == word);
    assert!(world.effects.iter().rposition(|deed| *deed == "CreateJob") < at("Open"));
    assert_eq!(world.lowest(), 3);
    clean(&world);
    world.is_told_as("migrate");
}

#[test]
fn an_index_is_built_and_caught_up_beside_the_live_one_and_the_alias_moves_last() {
    let mut world = World::adopted(&full("shop:1", "one"));
    world.watch_traffic();
    world.script("build", [takes(7200)]);
    world.release_image("shop:2");
    world.edit(|spec| spec["reindex"]["rebuild"]["fingerprint"] = json!("two"));
    world.reach(Phase::Preboot);
    assert_eq!(world.alias("products"), ["products_1"]);
    world.reach(Phase::Retire);
    assert_eq!(world.alias("products"), ["products_1"], "old pods read it");
    world.until(|world| world.phase() == Phase::Complete);
    assert_eq!(world.alias("products").len(), 1);
    assert_ne!(world.alias("products"), ["products_1"]);
    assert!(world.indices().contains_key("products_1"), "kept for its time");
    world.rest();
    assert!(
        !world.indices().contains_key("products_1"),
        "deleted after its time"
    );
    assert_eq!(world.lowest(), 3);
    clean(&world);
    world.is_told_as("reindex");
}

#[test]
fn a_fingerprint_that_did_not_change_builds_nothing() {
    let mut world = World::adopted(&full("shop:1", "one"));
    world.release_image("shop:2");
    world.rest();
    assert_eq!(world.phase(), Phase::Complete);
    assert_eq!(world.alias("products"), ["products_1"]);
    assert!(jobs_of(&world, "build").is_empty());
    world.is_told_as("fingerprint-unchanged");
}

#[test]
fn a_second_release_reads_the_generation_of_the_first() {
    let mut world = World::adopted(&full("shop:1", "one"));
    world.release_image("shop:2");
    world.edit(|spec| spec["reindex"]["rebuild"]["fingerprint"] = json!("two"));
    world.rest();
    let token = world.variable("web");
    assert!(token.is_some());
    world.release_image("shop:3");
    world.rest();
    assert_eq!(world.phase(), Phase::Complete);
    assert_eq!(world.variable("web"), token);
    assert_eq!(world.variable("worker"), token);
}

#[test]
fn the_first_installation_runs_its_tasks_and_needs_no_window() {
    let mut world = World::new(&full("shop:1", "one"));
    world.wipe_engine();
    world.breaks("shop:1");
    world.pass_without_us(1);
    world.lines.clear();
    // Its pods need what the migration and the build make.
    world.until(|world| world.phase() == Phase::Preboot);
    world.mends();
    world.rest();
    assert_eq!(world.phase(), Phase::Complete);
    assert_eq!(order(&world), Vec::<&str>::new());
    assert!(!jobs_of(&world, "build").is_empty(), "{:?}", world.jobs());
    assert_eq!(world.alias("products").len(), 1);
    clean(&world);
    world.is_told_as("first-installation");
}

#[test]
fn adopting_what_runs_restarts_nothing_and_runs_nothing() {
    let mut world = World::new(&full("shop:1", "one"));
    let pods: Vec<String> = world.names(Kind::Pod);
    world.rest();
    assert_eq!(world.phase(), Phase::Complete);
    assert_eq!(world.names(Kind::Pod), pods);
    assert!(world.jobs().is_empty());
    let ended = world.progress().revision().and_then(|revision| revision.ended);
    assert_eq!(ended.map(|ended| ended.outcome), Some(Outcome::Adopted));
    world.is_told_as("adoption");
}

#[test]
fn adopting_with_a_newer_image_releases_it() {
    let mut world = World::new(&plain("shop:2"));
    world.watch_traffic();
    world.rest();
    assert_eq!(world.phase(), Phase::Complete);
    assert_eq!(world.progress().revision_name(), "shop-2".into());
    assert_eq!(world.lowest(), 3);
    clean(&world);
}

#[test]
fn a_rollout_under_way_is_waited_for() {
    let mut world = World::adopted(&plain("shop:1"));
    world.set_image("web", "shop:1.5");
    world.release_image("shop:2");
    world.watch_traffic();
    world.rest();
    assert_eq!(world.phase(), Phase::Complete);
    assert_eq!(world.serves("web"), ["shop:2".to_owned()].into());
    world.is_told_as("unfinished-rollout");
}

#[test]
fn the_users_own_values_are_kept_and_honoured() {
    let mut world = World::adopted(&plain("shop:1"));
    world.own_values("web", 5, 60);
    world.watch_traffic();
    world.release_image("shop:2");
    world.rest();
    let web = world.get(Kind::Deployment, "web");
    let spec = &web["spec"];
    assert_eq!(spec["minReadySeconds"], 5);
    assert_eq!(spec["progressDeadlineSeconds"], 60);
    assert_eq!(spec["strategy"]["rollingUpdate"]["maxSurge"], 1);
    assert_eq!(spec["strategy"]["rollingUpdate"]["maxUnavailable"], 0);
    assert_eq!(world.lowest(), 3);
    world.is_told_as("own-values");
}

#[test]
fn a_broken_old_side_does_not_stop_a_hot_fix() {
    let mut world = World::adopted(&plain("shop:1"));
    world.fail_pods(&world.set_of("web", "shop:1"), 2, 100_000);
    world.release_image("shop:2");
    world.rest();
    assert_eq!(world.phase(), Phase::Complete);
    assert_eq!(world.serves("web"), ["shop:2".to_owned()].into());
    clean(&world);
    world.is_told_as("broken-old-side");
}

#[test]
fn an_old_side_without_one_ready_pod_does_not_stop_a_hot_fix() {
    let mut world = World::adopted(&plain("shop:1"));
    world.fail_pods(&world.set_of("web", "shop:1"), 3, 100_000);
    world.release_image("shop:2");
    world.rest();
    assert_eq!(world.phase(), Phase::Complete);
    assert_eq!(world.serves("web"), ["shop:2".to_owned()].into());
    clean(&world);
}

#[test]
fn a_workload_that_is_scaled_to_zero_is_no_obstacle() {
    let mut spec = full("shop:1", "one");
    spec["workloads"][1]["services"] = json!(["worker"]);
    let mut world = World::new(&spec);
    world.add_service("worker");
    world.rest();
    world.scale("worker", 0);
    world.rest();
    world.release_image("shop:2");
    world.rest();
    assert_eq!(world.phase(), Phase::Complete, "{:?}", world.lines);
    world.scale("worker", 2);
    world.pass(20);
    assert_eq!(world.serves("worker"), ["shop:2".to_owned()].into());
}

#[test]
fn everything_scaled_to_zero_gets_the_new_version_without_a_window() {
    let mut world = World::adopted(&plain("shop:1"));
    world.scale("web", 0);
    world.rest();
    world.release_image("shop:2");
    world.rest();
    assert_eq!(world.phase(), Phase::Complete);
    world.scale("web", 3);
    world.pass(20);
    assert_eq!(world.serves("web"), ["shop:2".to_owned()].into());
    clean(&world);
}

#[test]
fn the_minimum_wait_counts_from_the_start_of_the_new_side() {
    let mut spec = plain("shop:1");
    spec["preboot"] = json!({"minimumWait": "3m"});
    let mut world = World::adopted(&spec);
    world.release_image("shop:2");
    world.reach(Phase::Cutover);
    let begun = world.progress().status.workloads[0].locked_at.unwrap();
    assert!(world.now().duration_since(begun).as_secs() >= 180);
    world.rest();
    world.is_told_as("minimum-wait");
}

#[test]
fn suspended_nothing_new_begins_until_it_is_lifted() {
    let mut world = World::adopted(&full("shop:1", "one"));
    world.release_image("shop:2");
    world.reach(Phase::Expand);
    world.say("user", "spec.suspend = true");
    world.edit(|spec| spec["suspend"] = json!(true));
    world.rest();
    assert!(
        world
            .progress()
            .completed(slipway_crds::v1alpha1::status::StepName::Expand),
        "what runs is observed"
    );
    assert_eq!(world.serves("web"), ["shop:1".to_owned()].into());
    world.say("user", "spec.suspend = false");
    world.edit(|spec| spec["suspend"] = json!(false));
    world.rest();
    assert_eq!(world.phase(), Phase::Complete);
    world.is_told_as("suspend");
}
