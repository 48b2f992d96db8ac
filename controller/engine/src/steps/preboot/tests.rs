use jiff::SignedDuration;
use serde_json::json;
use slipway_crds::v1alpha1::Phase;

use crate::fixture::{Row, Scene, table};
use crate::template::Template;
use crate::window::patches::HOLD_MIN_READY_SECONDS;

const WAITS: &str = "0 of 3 new pods ready";

/// The new pods were made and boot.
#[test]
fn preboot_while_booting() {
    let rows = [
        Row {
            name: "nothing_happens_it_waits",
            change: |_| {},
            does: &[],
            says: WAITS,
        },
        Row {
            name: "resumed_by_somebody_is_locked_again",
            change: |scene| scene.web().paused = None,
            does: &["Lock"],
            says: "opening",
        },
        Row {
            name: "hold_taken_away_is_held_again",
            change: |scene| scene.web().min_ready_seconds = None,
            does: &["Lock"],
            says: "opening",
        },
        Row {
            name: "window_label_taken_off_is_put_back",
            change: |scene| scene.web().window = false,
            does: &["Open"],
            says: "opening",
        },
        Row {
            name: "service_unpinned_is_pinned_again",
            change: |scene| {
                scene.service().selector.remove("pod-template-hash");
            },
            does: &["Pin"],
            says: "opening",
        },
        Row {
            name: "new_side_lost_is_booted_again",
            change: |scene| scene.lose("2"),
            does: &["Repair"],
            says: "opening",
        },
        Row {
            name: "new_side_scaled_away_is_booted_again",
            change: |scene| {
                let new = scene.side("2");
                (new.wanted, new.template) = (0, None);
            },
            does: &["Repair"],
            says: "opening",
        },
        Row {
            name: "new_side_about_to_follow_a_scale_is_waited_for",
            change: |scene| {
                let web = scene.web();
                (web.replicas, web.generation) = (5, web.generation + 1);
            },
            does: &[],
            says: "opening",
        },
        Row {
            name: "serving_side_lost_gives_up",
            change: |scene| scene.lose("1"),
            does: &[],
            says: "ServingSideLost",
        },
        Row {
            name: "scaled_to_zero_gives_up",
            change: |scene| scene.web().replicas = 0,
            does: &[],
            says: "ScaledToZero",
        },
        Row {
            name: "deployment_gone_gives_up",
            change: |scene| {
                scene.observed.deployments.remove(&"web".into());
            },
            does: &[],
            says: "DeploymentMissing",
        },
        Row {
            name: "deployment_made_again_gives_up",
            change: |scene| scene.web().uid = "another".into(),
            does: &[],
            says: "DeploymentReplaced",
        },
        Row {
            name: "time_over_gives_up",
            change: |scene| scene.later(15 * 60),
            does: &[],
            says: "PrebootTimeout",
        },
        Row {
            name: "foreign_template_changes_nothing_while_locked",
            change: |scene| {
                let mut foreign = scene.web().template.value();
                foreign["spec"]["containers"][0]["image"] = json!("evil:1");
                scene.web().template = Template::new(foreign);
            },
            does: &[],
            says: WAITS,
        },
    ];
    table(&Scene::plain(Phase::Preboot), &rows);
}

fn all_ready(scene: &mut Scene) {
    let new = scene.side("2");
    (new.ready, new.replicas) = (3, 3);
}

#[test]
fn preboot_once_ready() {
    let rows = [
        Row {
            name: "all_ready_waits_out_the_minimum",
            change: all_ready,
            does: &[],
            says: "ready, minimum wait 59s left",
        },
        Row {
            name: "minimum_over_goes_on_to_the_cutover",
            change: |scene| {
                all_ready(scene);
                scene.later(60);
            },
            does: &[],
            says: "goes on",
        },
        Row {
            name: "status_of_the_new_side_not_current_waits",
            change: |scene| {
                all_ready(scene);
                scene.later(60);
                scene.side("2").generation += 1;
            },
            does: &[],
            says: "3 of 3 new pods ready",
        },
        Row {
            name: "users_own_min_ready_seconds_are_honoured",
            change: |scene| {
                all_ready(scene);
                scene.later(60);
                let web = scene.committed.workload_mut(&"web".into()).unwrap();
                web.remembered.as_mut().unwrap().min_ready_seconds = Some(30);
            },
            does: &[],
            says: "3 of 3 new pods ready",
        },
    ];
    table(&Scene::plain(Phase::Preboot), &rows);
}

#[test]
fn preboot_hold_value_is_never_remembered_as_the_users() {
    let mut scene = Scene::plain(Phase::Preboot);
    let before = scene
        .committed
        .workload(&"web".into())
        .unwrap()
        .remembered
        .clone();
    scene.web().window = false;
    scene.web().resource_version = "another".to_owned();
    assert_eq!(scene.web().min_ready_seconds, Some(HOLD_MIN_READY_SECONDS));
    let after = scene.decide().progress;
    assert_eq!(after.workload(&"web".into()).unwrap().remembered, before);
}

#[test]
fn preboot_wakes_up_when_its_time_is_over() {
    let scene = Scene::plain(Phase::Preboot);
    let crate::Wake::After(length) = scene.decide().wake else {
        panic!("it would never look again");
    };
    assert!(length <= SignedDuration::from_mins(15));
}
