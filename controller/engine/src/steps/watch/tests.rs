use slipway_crds::v1alpha1::Phase;

use crate::fixture::{Row, Scene, table};

const WARM: &str = "old side warm, 59s left";

#[test]
fn watch_while_warm() {
    let rows = [
        Row {
            name: "nothing_happens_stays_warm",
            change: |_| {},
            does: &[],
            says: WARM,
        },
        Row {
            name: "no_new_pod_ready_goes_back_at_once",
            change: |scene| scene.side("2").ready = 0,
            does: &[],
            says: "NewSideFailed",
        },
        Row {
            name: "no_pod_of_either_side_ready_goes_nowhere",
            change: |scene| {
                scene.side("1").ready = 0;
                scene.side("2").ready = 0;
            },
            does: &[],
            says: WARM,
        },
        Row {
            name: "one_new_pod_not_ready_is_watched",
            change: |scene| scene.side("2").ready = 2,
            does: &[],
            says: WARM,
        },
        Row {
            name: "one_new_pod_not_ready_at_the_end_keeps_the_old_side",
            change: |scene| {
                scene.side("2").ready = 2;
                scene
                    .committed
                    .workload_mut(&"web".into())
                    .unwrap()
                    .degraded_since = Some(scene.now);
                let now = scene.now;
                scene.committed.status.cutover.as_mut().unwrap().confirmed_at =
                    Some(now - jiff::SignedDuration::from_mins(10));
            },
            does: &[],
            says: "new side degraded",
        },
        Row {
            name: "worse_for_thirty_seconds_goes_back",
            change: |scene| {
                scene.side("2").ready = 2;
                scene
                    .committed
                    .workload_mut(&"web".into())
                    .unwrap()
                    .degraded_since = Some(scene.now);
                scene.later(30);
            },
            does: &[],
            says: "NewSideFailed",
        },
        Row {
            name: "as_bad_as_the_old_side_stays",
            change: |scene| {
                scene.side("1").ready = 2;
                scene.side("2").ready = 2;
                scene
                    .committed
                    .workload_mut(&"web".into())
                    .unwrap()
                    .degraded_since = Some(scene.now);
                scene.later(30);
            },
            does: &[],
            says: "old side warm, 29s left",
        },
        Row {
            name: "manual_asks_a_person",
            change: |scene| {
                scene.intent.live.automatic_rollback = false;
                scene.side("2").ready = 0;
            },
            does: &[],
            says: "NewSideFailed",
        },
        Row {
            name: "service_unpinned_is_pinned_to_the_new_side",
            change: |scene| {
                scene.service().selector.remove("pod-template-hash");
            },
            does: &["Pin"],
            says: WARM,
        },
        Row {
            name: "resumed_by_somebody_is_locked_again",
            change: |scene| scene.web().paused = None,
            does: &["Lock"],
            says: WARM,
        },
        Row {
            name: "serving_side_lost_goes_back",
            change: |scene| scene.lose("2"),
            does: &[],
            says: "NewSideFailed",
        },
        Row {
            name: "both_sides_lost_brings_the_serving_one_back",
            change: |scene| {
                scene.lose("1");
                scene.lose("2");
            },
            does: &["Repair"],
            says: WARM,
        },
        Row {
            name: "old_side_lost_stays",
            change: |scene| scene.lose("1"),
            does: &[],
            says: WARM,
        },
        Row {
            name: "deployment_gone_ends_explained",
            change: |scene| {
                scene.observed.deployments.remove(&"web".into());
            },
            does: &[],
            says: "DeploymentMissing",
        },
        Row {
            name: "scaled_to_zero_goes_on_to_retire",
            change: |scene| scene.web().replicas = 0,
            does: &[],
            says: "goes on",
        },
        Row {
            name: "time_over_goes_on_to_retire",
            change: |scene| scene.later(60),
            does: &[],
            says: "goes on",
        },
        Row {
            name: "suspended_time_over_still_ends_the_window",
            change: |scene| {
                scene.intent.live.suspend = true;
                scene.later(60);
            },
            does: &[],
            says: "goes on",
        },
    ];
    table(&Scene::plain(Phase::Watch), &rows);
}

#[test]
fn watch_lost_old_side_says_that_there_is_no_way_back() {
    let mut scene = Scene::plain(Phase::Watch);
    scene.lose("1");
    let decision = scene.decide();
    let rollback = decision.progress.status.rollback.unwrap();
    assert_eq!(
        rollback.state,
        slipway_crds::v1alpha1::status::RollbackState::Unavailable
    );
    assert!(
        decision
            .because
            .iter()
            .any(|because| because.reason == "WayBackLost")
    );
}
