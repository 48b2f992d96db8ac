use serde_json::json;
use slipway_crds::v1alpha1::Phase;

use super::adoption::first_number;
use crate::fixture::{Row, Scene, World, full, table};
use crate::intent::Plan;

/// The spec asks for something newer.
fn newer(scene: &mut Scene, change: fn(&mut serde_json::Value)) {
    let plan = scene.intent.wanted.as_ref().unwrap();
    let mut spec = serde_json::to_value(&plan.spec).unwrap();
    spec["image"] = json!("shop:3");
    change(&mut spec);
    scene.intent.wanted = Plan::parse(&serde_json::from_value(spec).unwrap());
}

fn same_index(scene: &mut Scene) {
    newer(scene, |_| {});
}

fn cannot_start(scene: &mut Scene) {
    for task in &mut scene.committed.status.tasks {
        if task.outcome.is_none() {
            task.started_at = None;
        }
    }
    for pod in &mut scene.observed.task_pods {
        (pod.started_at, pod.trouble) = (None, Some("ErrImagePull (shop:2 is not there)".to_owned()));
    }
}

fn another_index(scene: &mut Scene) {
    newer(scene, |spec| {
        spec["reindex"]["rebuild"]["fingerprint"] = json!("three");
    });
}

#[test]
fn newer_spec_while_something_runs() {
    let prepare = [Row {
        name: "prepare_gives_up",
        change: another_index,
        does: &[],
        says: "Superseded",
    }];
    table(&Scene::full(Phase::Prepare), &prepare);
    let expand = [
        Row {
            name: "migration_is_waited_for",
            change: another_index,
            does: &[],
            says: "steered",
        },
        Row {
            name: "migration_that_cannot_start_gives_up",
            change: |scene| {
                another_index(scene);
                cannot_start(scene);
            },
            does: &[],
            says: "Superseded",
        },
    ];
    table(&Scene::full(Phase::Expand), &expand);
    let reindex = [
        Row {
            name: "build_of_another_index_gives_up",
            change: another_index,
            does: &[],
            says: "Superseded",
        },
        Row {
            name: "build_of_the_same_index_is_handed_over",
            change: same_index,
            does: &[],
            says: "steered",
        },
        Row {
            name: "live_settings_supersede_nothing",
            change: |scene| {
                newer(scene, |spec| {
                    spec["image"] = json!("shop:2");
                    spec["watch"] = json!({"for": "2h"});
                });
            },
            does: &[],
            says: "0 of about 1000 documents (0%)",
        },
    ];
    table(&Scene::full(Phase::Reindex), &reindex);
    let watch = [Row {
        name: "after_the_cutover_is_pending",
        change: same_index,
        does: &[],
        says: "steered",
    }];
    table(&Scene::full(Phase::Watch), &watch);
}

#[test]
fn a_handed_over_build_keeps_its_job_and_its_token() {
    let mut scene = Scene::full(Phase::Reindex);
    same_index(&mut scene);
    let before = scene.committed.status.search.clone().unwrap().candidate;
    let after = scene.decide().progress;
    assert_eq!(after.revision_name(), "shop-3".into());
    assert_eq!(after.status.search.unwrap().candidate, before);
    assert!(
        after
            .status
            .tasks
            .iter()
            .any(|task| task.job.as_str() == "shop-2-build-1")
    );
    assert_eq!(after.status.history[0].name, "shop-2".into());
}

#[test]
fn a_number_is_above_everything_that_left_a_trace() {
    let world = World::adopted(&full("shop:1", "one"));
    let scene = Scene::of(&world);
    let plan = scene.intent.wanted.clone().unwrap();
    assert_eq!(first_number(&scene.observed, &plan), 1);
    let mut later = Scene::full(Phase::Expand);
    assert_eq!(first_number(&later.observed, &plan), 3);
    later.observed.jobs.clear();
    assert_eq!(first_number(&later.observed, &plan), 1);
}
