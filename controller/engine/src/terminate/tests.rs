use slipway_crds::v1alpha1::Phase;

use crate::fixture::{Row, Scene, World, plain, table};

fn deleted(mut scene: Scene) -> Scene {
    scene.intent.meta.deleting = true;
    scene
}

#[test]
fn deletion_while_a_migration_runs_waits_for_it() {
    let rows = [
        Row {
            name: "runs_is_not_killed",
            change: |_| {},
            does: &[],
            says: "cleaning up",
        },
        Row {
            name: "gone_lets_go",
            change: |scene| {
                scene.observed.jobs.clear();
                scene.observed.task_pods.clear();
                let now = scene.now;
                for task in &mut scene.committed.status.tasks {
                    task.outcome = Some(slipway_crds::v1alpha1::status::TaskOutcome::Failed);
                    task.finished_at = Some(now);
                }
            },
            does: &["Unclaim", "Unclaim", "Unclaim"],
            says: "letting go",
        },
    ];
    table(&deleted(Scene::full(Phase::Expand)), &rows);
}

#[test]
fn deletion_while_a_window_is_open() {
    let rows = [Row {
        name: "before_the_cutover_keeps_the_old_side",
        change: |_| {},
        does: &["EndWindow"],
        says: "cleaning up",
    }];
    table(&deleted(Scene::plain(Phase::Preboot)), &rows);
    let rows = [Row {
        name: "after_the_cutover_keeps_the_new_side",
        change: |_| {},
        does: &[],
        says: "cleaning up",
    }];
    table(&deleted(Scene::plain(Phase::Watch)), &rows);
}

#[test]
fn deletion_with_a_window_and_a_lost_status_recovers_first() {
    let mut scene = deleted(Scene::plain(Phase::Preboot));
    scene.committed = crate::Progress::default();
    let decision = scene.decide();
    assert!(
        decision
            .because
            .iter()
            .any(|because| because.reason == "WindowRecovered")
    );
    assert!(decision.progress.window_open());
}

#[test]
fn deletion_takes_a_pin_that_came_late_off_before_the_claim() {
    let mut scene = deleted(Scene::of(&World::adopted(&plain("shop:1"))));
    scene.service().window = true;
    assert_eq!(crate::fixture::words(&scene.decide()), ["Unclaim", "Unpin"]);
}

#[test]
fn deletion_with_nothing_left_takes_the_finalizer_off() {
    let mut scene = deleted(Scene::plain(Phase::Watch));
    scene.committed.status.workloads.clear();
    scene.web().claim = None;
    scene.service().claim = None;
    let decision = scene.decide();
    assert_eq!(crate::fixture::words(&decision), ["LetGo"]);
}
