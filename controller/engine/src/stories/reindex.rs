//! What goes wrong with a new index before the old side goes: readers of the live one see nothing of it.

use slipway_crds::v1alpha1::Phase;

use super::{completes, old_side_untouched, reindexing};
use crate::fixture::Script;

#[test]
fn a_failed_build_stops_before_boot() {
    let mut world = reindexing();
    world.script("build", [Script::fails("connection refused")]);
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
    world.built = 5;
    world.until(|world| world.phase() == Phase::Failed);
    assert_eq!(world.reason("Stalled").as_deref(), Some("VerificationFailed"));
    old_side_untouched(&world);
    world.built = 1000;
    world.annotate("retry", "shop-2");
    completes(&mut world);
    world.rest();
    assert_eq!(world.indices.len(), 1, "{:?}", world.indices.keys());
    world.is_told_as("too-few-documents");
}

#[test]
fn fewer_documents_than_the_live_index_stop_before_boot() {
    let mut world = reindexing();
    world.built = 900;
    world.until(|world| world.phase() == Phase::Failed);
    assert_eq!(world.reason("Stalled").as_deref(), Some("VerificationFailed"));
    world.rest();
    assert_eq!(world.indices.len(), 1, "the candidate goes after its time");
    old_side_untouched(&world);
}

#[test]
fn a_build_that_moves_the_live_alias_by_itself_stops_before_boot() {
    let mut world = reindexing();
    world.script("build", [Script::takes(60)]);
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
    world.engine_away = true;
    world.pass(120);
    assert_eq!(world.reason("Stalled").as_deref(), Some("SearchUnavailable"));
    old_side_untouched(&world);
    world.say("world", "the search engine is back");
    world.engine_away = false;
    completes(&mut world);
    world.is_told_as("engine-away");
}

#[test]
fn an_engine_that_goes_away_while_a_build_runs_is_asked_again() {
    let mut world = reindexing();
    world.script("build", [Script::takes(300)]);
    world.reach(Phase::Reindex);
    world.engine_away = true;
    world.pass(200);
    world.engine_away = false;
    completes(&mut world);
}

#[test]
fn an_engine_that_goes_away_in_retire_is_asked_again() {
    let mut world = reindexing();
    world.reach(Phase::Retire);
    world.engine_away = true;
    world.pass(60);
    world.engine_away = false;
    completes(&mut world);
    assert_eq!(world.alias("products").len(), 1);
}

#[test]
fn a_failed_catch_up_before_the_cutover_ends_the_release() {
    let mut world = reindexing();
    world.script("catch-up", [Script::WELL, Script::fails("no route to host")]);
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
    world.script("catch-up", vec![Script::takes(90); 20]);
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
    assert_eq!(world.indices.len(), 1, "the candidate is gone after its time");
    world.mends();
    world.annotate("retry", "shop-2");
    completes(&mut world);
    assert!(
        world.variable("web").is_some(),
        "new pods never read the old index"
    );
}
