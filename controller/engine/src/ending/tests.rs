use slipway_crds::v1alpha1::Phase;
use slipway_crds::v1alpha1::status::{Cause, Course, Reason, StepName, StopReason};

use crate::fixture::{Row, Scene, table};
use crate::window::patches::HOLD_MIN_READY_SECONDS;

fn steered(phase: Phase, course: Course) -> Scene {
    let mut scene = Scene::plain(phase);
    let reason = Reason {
        reason: StopReason::NewSideFailed,
        message: "a test".to_owned(),
        at: scene.now,
    };
    let revision = scene.committed.status.revision.as_mut().unwrap();
    (revision.course, revision.cause, revision.reason) = (course, Some(Cause::Failed), Some(reason));
    scene
}

#[test]
fn stop_in_preboot() {
    let rows = [
        Row {
            name: "both_sides_there_ends_the_new_one",
            change: |_| {},
            does: &["EndWindow"],
            says: "cleaning up",
        },
        Row {
            name: "serving_side_lost_is_brought_back_first",
            change: |scene| scene.lose("1"),
            does: &["Repair"],
            says: "cleaning up",
        },
        Row {
            name: "service_unpinned_is_pinned_before_any_pod_goes",
            change: |scene| {
                scene.service().selector.remove("pod-template-hash");
            },
            does: &["Pin"],
            says: "cleaning up",
        },
        Row {
            name: "label_taken_off_still_gives_everything_back",
            change: |scene| scene.web().window = false,
            does: &["EndWindow"],
            says: "cleaning up",
        },
        Row {
            name: "scaled_to_zero_gives_everything_back_at_once",
            change: |scene| scene.web().replicas = 0,
            does: &["EndWindow"],
            says: "cleaning up",
        },
        Row {
            name: "suspended_still_cleans_up",
            change: |scene| scene.intent.live.suspend = true,
            does: &["EndWindow"],
            says: "cleaning up",
        },
    ];
    table(&steered(Phase::Preboot, Course::Stop), &rows);
}

/// A window that was recorded and nothing more.
fn recorded() -> Scene {
    let mut scene = steered(Phase::Preboot, Course::Stop);
    let remembered = scene.committed.status.workloads[0].remembered.clone().unwrap();
    scene.lose("2");
    let old = scene.side("1").template_digest.clone();
    scene.service().window = false;
    scene.service().selector.remove("pod-template-hash");
    let web = scene.web();
    web.resource_version.clone_from(&remembered.resource_version);
    web.template = web.replica_sets[0].template.clone().unwrap();
    assert_eq!(*web.template.digest(), old);
    web.status_replicas = web.replicas;
    (web.window, web.paused) = (false, remembered.paused);
    web.min_ready_seconds = remembered.min_ready_seconds;
    web.progress_deadline_seconds = remembered.progress_deadline_seconds;
    web.strategy = remembered.strategy;
    scene
}

#[test]
fn stop_of_a_window_that_was_not_opened() {
    let rows = [
        Row {
            name: "an_open_may_still_come_so_its_version_is_taken_away",
            change: |_| {},
            does: &["Open"],
            says: "cleaning up",
        },
        Row {
            name: "another_version_no_open_can_come",
            change: |scene| scene.web().resource_version = "100000".to_owned(),
            does: &[],
            says: "cleaning up",
        },
        Row {
            name: "closed_and_pinned_late_is_unpinned_and_not_opened_again",
            change: |scene| {
                scene.lose("1");
                scene.web().resource_version = "100000".to_owned();
                scene.service().window = true;
            },
            does: &["Unpin"],
            says: "cleaning up",
        },
        Row {
            name: "older_than_the_record_is_not_looked_at",
            change: |scene| scene.web().resource_version = "1".to_owned(),
            does: &[],
            says: "cleaning up",
        },
        Row {
            name: "opened_a_hold_may_still_come_so_its_version_is_taken_away",
            change: |scene| (scene.web().window, scene.web().paused) = (true, Some(true)),
            does: &["EndWindow"],
            says: "cleaning up",
        },
    ];
    table(&recorded(), &rows);
    let mut older = recorded();
    older.web().resource_version = "1".to_owned();
    assert!(older.decide().progress.window_open(), "the record stays");
    let mut other = recorded();
    other.web().resource_version = "100000".to_owned();
    assert!(!other.decide().progress.window_open(), "the record goes");
}

#[test]
fn rollback_in_watch() {
    let rows = [
        Row {
            name: "old_side_ready_moves_the_traffic_first",
            change: |_| {},
            does: &["FlipBack"],
            says: "moving back",
        },
        Row {
            name: "one_old_pod_ready_is_enough",
            change: |scene| scene.side("1").ready = 1,
            does: &["FlipBack"],
            says: "moving back",
        },
        Row {
            name: "no_old_pod_ready_stays_on_the_new_side",
            change: |scene| scene.side("1").ready = 0,
            does: &[],
            says: "OldSideNotReady",
        },
        Row {
            name: "no_pod_of_either_side_ready_moves",
            change: |scene| {
                scene.side("1").ready = 0;
                scene.side("2").ready = 0;
            },
            does: &["FlipBack"],
            says: "moving back",
        },
        Row {
            name: "old_side_lost_is_brought_back_first",
            change: |scene| scene.lose("1"),
            does: &["Repair"],
            says: "OldSideNotReady",
        },
        Row {
            name: "suspended_still_goes_back",
            change: |scene| scene.intent.live.suspend = true,
            does: &["FlipBack"],
            says: "moving back",
        },
    ];
    table(&steered(Phase::Watch, Course::Rollback), &rows);
}

#[test]
fn rollback_in_retire() {
    let rows = [
        Row {
            name: "old_side_may_still_be_ended_so_it_is_held_first",
            change: |_| {},
            does: &["Repair"],
            says: "old side kept",
        },
        Row {
            name: "old_side_held_again_moves_the_traffic",
            change: |scene| {
                let old = scene.side("1").template.clone().unwrap();
                scene.web().template = old;
            },
            does: &["FlipBack"],
            says: "moving back",
        },
    ];
    let mut scene = steered(Phase::Watch, Course::Rollback);
    scene.committed.step_mut(StepName::Retire).started_at = Some(scene.now);
    table(&scene, &rows);
}

/// The traffic is back, and two seconds are over.
fn back() -> Scene {
    let mut scene = steered(Phase::Watch, Course::Rollback);
    let old = scene.side("1").clone();
    let service = scene.service();
    service
        .selector
        .insert("pod-template-hash".to_owned(), old.hash.to_string());
    service.ready_pods = (0..3)
        .map(|number| format!("{}-0000{number}", old.name))
        .collect();
    scene.committed = scene.decide().progress;
    scene.later(2);
    scene
}

#[test]
fn rollback_once_the_traffic_is_back() {
    let rows = [
        Row {
            name: "bolted_unbolts_before_any_pod_goes",
            change: |_| {},
            does: &["Unbolt"],
            says: "rolled back, cleaning up",
        },
        Row {
            name: "unbolted_ends_the_new_side",
            change: |scene| scene.side("1").min_ready_seconds = None,
            does: &["EndWindow"],
            says: "rolled back, cleaning up",
        },
        Row {
            name: "current_template_under_the_hold_is_not_fought_over",
            change: |scene| {
                let old = scene.side("1").template.clone().unwrap();
                scene.web().template = old;
                scene.side("1").min_ready_seconds = Some(HOLD_MIN_READY_SECONDS);
            },
            does: &["EndWindow"],
            says: "rolled back, cleaning up",
        },
    ];
    table(&back(), &rows);
}
