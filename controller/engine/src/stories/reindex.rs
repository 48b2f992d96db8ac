//! What goes wrong with a new index before the old side goes: readers of the live one see nothing of it.

use serde_json::json;
use slipway_crds::v1alpha1::Phase;

use super::{completes, old_side_untouched, reindexing};
use crate::fixture::{fails, takes};

#[test]
fn a_failed_build_stops_before_boot() {
    let mut world = reindexing();
    world.script("build", [fails("connection refused")]);
    world.rest();
    assert_eq!(world.reason("Stalled").as_deref(), Some("BuildFailed"));
    old_side_untouched(&world);
    world.annotate("retry", "shop-2");
    world.until(|world| world.phase() == Phase::Complete);
    assert_eq!(world.phase(), Phase::Complete);
    world.is_told_as("build-failed-and-retried");
}

#[test]
fn too_few_documents_stop_before_boot_and_retry_builds_anew() {
    let mut world = reindexing();
    world.builds(5);
    world.until(|world| world.phase() == Phase::Failed);
    assert_eq!(world.reason("Stalled").as_deref(), Some("VerificationFailed"));
    old_side_untouched(&world);
    world.builds(1000);
    world.annotate("retry", "shop-2");
    completes(&mut world);
    world.rest();
    assert_eq!(world.indices().len(), 1, "{:?}", world.indices().keys());
    world.is_told_as("too-few-documents");
}

#[test]
fn fewer_documents_than_the_live_index_stop_before_boot() {
    let mut world = reindexing();
    world.builds(900);
    world.until(|world| world.phase() == Phase::Failed);
    assert_eq!(world.reason("Stalled").as_deref(), Some("VerificationFailed"));
    world.rest();
    assert_eq!(world.indices().len(), 1, "the candidate goes after its time");
    old_side_untouched(&world);
}

#[test]
fn a_build_that_moves_the_live_alias_by_itself_stops_before_boot() {
    let mut world = reindexing();
    world.script("build", [takes(60)]);
    world.reach(Phase::Reindex);
    world.pass(20);
    world.say(
        "world",
        "the build command moves alias products to products_20261121",
    );
    world.add_index("products_20261121", 1000, &[]);
    world.point("products", "products_20261121");
    world.until(|world| world.phase() == Phase::Failed);
    assert_eq!(world.reason("Stalled").as_deref(), Some("LiveAliasMoved"));
    assert_eq!(world.serves("web"), ["shop:1".to_owned()].into());
    world.point("products", "products_1");
    world.annotate("retry", "shop-2");
    completes(&mut world);
    world.is_told_as("live-alias-moved");
}

#[test]
fn an_engine_that_is_away_is_waited_for_and_asked_again() {
    let mut world = reindexing();
    world.engine().down = true;
    world.pass(120);
    assert_eq!(world.reason("Stalled").as_deref(), Some("SearchUnavailable"));
    old_side_untouched(&world);
    world.say("world", "the search engine is back");
    world.engine().down = false;
    completes(&mut world);
    world.is_told_as("engine-away");
}

#[test]
fn an_engine_that_goes_away_while_a_build_runs_is_asked_again() {
    let mut world = reindexing();
    world.script("build", [takes(300)]);
    world.reach(Phase::Reindex);
    world.engine().down = true;
    world.pass(200);
    world.engine().down = false;
    completes(&mut world);
}

#[test]
fn an_engine_that_goes_away_in_retire_is_asked_again() {
    let mut world = reindexing();
    world.reach(Phase::Retire);
    world.engine().down = true;
    world.pass(60);
    world.engine().down = false;
    completes(&mut world);
    assert_eq!(world.alias("products").len(), 1);
}

#[test]
fn a_failed_catch_up_before_the_cutover_ends_the_release() {
    let mut world = reindexing();
    world.script("catch-up", [takes(2), fails("no route to host")]);
    world.until(|world| world.phase() == Phase::Failed);
    assert_eq!(world.reason("Stalled").as_deref(), Some("CatchUpFailed"));
    old_side_untouched(&world);
    world.annotate("retry", "shop-2");
    completes(&mut world);
    world.is_told_as("catch-up-failed-before-cutover");
}

#[test]
fn catch_up_that_never_gets_shorter_ends_the_release() {
    let mut world = reindexing();
    world.script("catch-up", vec![takes(90); 20]);
    world.until(|world| world.phase() == Phase::Failed);
    assert_eq!(world.reason("Stalled").as_deref(), Some("CatchUpNotConverging"));
    old_side_untouched(&world);
}

#[test]
fn a_candidate_that_went_while_its_release_was_down_is_built_anew_by_retry() {
    let mut world = reindexing();
    world.breaks("shop:2");
    world.rest();
    assert_eq!(world.phase(), Phase::Failed);
    assert_eq!(world.indices().len(), 1, "the candidate is gone after its time");
    world.mends();
    world.annotate("retry", "shop-2");
    completes(&mut world);
    assert!(
        world.variable("web").is_some(),
        "new pods never read the old index"
    );
}

/// The engine's address is fixed when Preflight is over: what was built there goes live there.
#[test]
fn another_engine_in_the_spec_of_a_running_release_waits_for_the_next_version() {
    for phase in [Phase::Reindex, Phase::Preboot, Phase::Watch, Phase::Retire] {
        let mut world = reindexing();
        world.reach(phase);
        world.edit(|spec| spec["reindex"]["search"]["url"] = json!("http://other:9200"));
        completes(&mut world);
        assert_eq!(world.alias("products"), ["products_g2om"], "in {phase:?}");
    }
}

#[test]
fn another_engine_means_another_build_with_the_next_version() {
    let mut world = reindexing();
    world.reach(Phase::Reindex);
    completes(&mut world);
    world.address = "http://other:9200".to_owned();
    world.wipe_engine();
    world.edit(|spec| spec["reindex"]["search"]["url"] = json!("http://other:9200"));
    world.rest();
    world.release_image("shop:3");
    world.reach(Phase::Reindex);
    completes(&mut world);
    assert_eq!(world.alias("products"), ["products_g3om"]);
}

#[test]
fn a_wrong_address_is_corrected_while_preflight_asks() {
    let mut world = reindexing();
    world.edit(|spec| spec["reindex"]["search"]["url"] = json!("http://serach:9200"));
    world.pass(30);
    assert_eq!(world.reason("Stalled").as_deref(), Some("SearchUnavailable"));
    world.edit(|spec| spec["reindex"]["search"]["url"] = json!("http://search:9200"));
    completes(&mut world);
}

#[test]
fn a_build_whose_counts_stand_still_is_stopped_where_its_timeout_may_stop_it() {
    let mut world = reindexing();
    world.edit(|spec| {
        spec["reindex"]["build"] = json!({"command": ["reindex"], "stallTimeout": "5m", "onTimeout": "Fail"});
    });
    world.script("build", [takes(3600)]);
    world.rest();
    assert_eq!(world.reason("Stalled").as_deref(), Some("BuildStalled"));
    old_side_untouched(&world);
    world.is_told_as("build-stalled");
}

#[test]
fn a_build_that_writes_is_not_stalled() {
    let mut world = reindexing();
    world.edit(|spec| {
        spec["reindex"]["build"] = json!({"command": ["reindex"], "stallTimeout": "5m", "onTimeout": "Fail"});
    });
    world.script("build", [takes(3600)]);
    world.reach(Phase::Reindex);
    let token = world.progress().candidate().unwrap().token.clone();
    world.add_index(&format!("products_{token}"), 0, &[]);
    for documents in 1..15 {
        world.pass(200);
        world.add_index(&format!("products_{token}"), documents, &[]);
    }
    assert_eq!(world.phase(), Phase::Reindex);
}
