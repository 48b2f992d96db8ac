use slipway_crds::v1alpha1::Phase;
use slipway_crds::v1alpha1::status::{Cutover, StepName};

use crate::fixture::{Row, Scene, table};
use crate::window::patches::HOLD_MIN_READY_SECONDS;

/// A plain release right before its intent: all is ready, the minimum wait is over.
fn before() -> Scene {
    let mut scene = Scene::plain(Phase::Preboot);
    let new = scene.side("2");
    (new.ready, new.replicas) = (3, 3);
    scene.later(60);
    scene.committed = scene.decide().progress;
    // What Preboot and Cutover recorded in one go, without the intent.
    scene.committed.status.cutover = None;
    scene
}

/// The intent is committed.
fn intended() -> Scene {
    let mut scene = before();
    scene.committed.status.cutover = Some(Cutover {
        intent_at: scene.now,
        confirmed_at: None,
        watch_until: None,
    });
    scene.committed.step_mut(StepName::Cutover).started_at = Some(scene.now);
    scene
        .committed
        .workload_mut(&"web".into())
        .unwrap()
        .ready_at_cutover = Some(3);
    scene
}

fn bolted(scene: &mut Scene) {
    let old = scene.side("1");
    (old.min_ready_seconds, old.available) = (Some(HOLD_MIN_READY_SECONDS), 0);
}

#[test]
fn cutover_before_the_intent() {
    let rows = [
        Row {
            name: "all_ready_records_the_intent_and_does_nothing_yet",
            change: |_| {},
            does: &[],
            says: "moving",
        },
        Row {
            name: "one_pod_not_ready_waits",
            change: |scene| scene.side("2").ready = 2,
            does: &[],
            says: "waiting",
        },
        Row {
            name: "serving_side_lost_gives_up",
            change: |scene| scene.lose("1"),
            does: &[],
            says: "ServingSideLost",
        },
        Row {
            name: "suspended_waits",
            change: |scene| scene.intent.live.suspend = true,
            does: &[],
            says: "suspended",
        },
        Row {
            name: "resumed_by_somebody_is_locked_first",
            change: |scene| scene.web().paused = None,
            does: &["Lock"],
            says: "waiting",
        },
        Row {
            name: "service_unpinned_is_pinned_to_the_old_side_first",
            change: |scene| {
                scene.service().selector.remove("pod-template-hash");
            },
            does: &["Pin"],
            says: "waiting",
        },
    ];
    table(&before(), &rows);
}

#[test]
fn cutover_after_the_intent() {
    let rows = [
        Row {
            name: "not_bolted_bolts_and_moves_nothing",
            change: |_| {},
            does: &["Bolt"],
            says: "moving",
        },
        Row {
            name: "bolt_not_yet_observed_waits",
            change: |scene| {
                bolted(scene);
                scene.side("1").available = 3;
            },
            does: &[],
            says: "moving",
        },
        Row {
            name: "bolted_flips",
            change: bolted,
            does: &["Flip"],
            says: "moving",
        },
        Row {
            name: "new_side_died_in_this_moment_gets_no_traffic",
            change: |scene| {
                bolted(scene);
                scene.side("2").ready = 0;
            },
            does: &[],
            says: "NewSideLost",
        },
        Row {
            name: "endpoints_not_yet_those_of_the_new_pods_waits",
            change: |scene| {
                bolted(scene);
                let new = scene.side("2").hash.clone();
                let selector = &mut scene.service().selector;
                selector.insert("pod-template-hash".to_owned(), new.to_string());
            },
            does: &[],
            says: "moving",
        },
        Row {
            name: "suspended_no_longer_stops_it",
            change: |scene| {
                bolted(scene);
                scene.intent.live.suspend = true;
            },
            does: &["Flip"],
            says: "moving",
        },
    ];
    table(&intended(), &rows);
}

#[test]
fn cutover_confirmed_starts_the_watch() {
    let mut scene = intended();
    bolted(&mut scene);
    let new = scene.side("2").clone();
    let service = scene.service();
    service
        .selector
        .insert("pod-template-hash".to_owned(), new.hash.to_string());
    service.ready_pods = (0..3)
        .map(|number| format!("{}-0000{number}", new.name))
        .collect();
    let decision = scene.decide();
    let cutover = decision.progress.status.cutover.unwrap();
    assert!(cutover.confirmed_at.is_some());
    assert_eq!(decision.progress.status.serving, Some("shop-2".into()));
    assert!(decision.because.iter().any(|because| because.reason == "CutOver"));
}

#[test]
fn cutover_index_gone_moves_nothing() {
    let mut scene = Scene::full(Phase::Cutover);
    // The last pass has ended well.
    for task in &mut scene.committed.status.tasks {
        task.outcome = Some(slipway_crds::v1alpha1::status::TaskOutcome::Succeeded);
        task.finished_at = Some(scene.now);
    }
    scene.observed.task_pods.clear();
    let rows = [
        Row {
            name: "index_there_records_the_intent",
            change: |_| {},
            does: &[],
            says: "moving",
        },
        Row {
            name: "index_replaced_gives_up",
            change: Scene::replace_indices,
            does: &[],
            says: "GenerationLost",
        },
        Row {
            name: "live_alias_moved_gives_up",
            change: Scene::move_alias,
            does: &[],
            says: "LiveAliasMoved",
        },
        Row {
            name: "engine_away_waits",
            change: Scene::engine_away,
            does: &[],
            says: "SearchUnavailable",
        },
        Row {
            name: "engine_not_asked_waits",
            change: Scene::engine_not_asked,
            does: &[],
            says: "asking the search engine",
        },
    ];
    table(&scene, &rows);
}
