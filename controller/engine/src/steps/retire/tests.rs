use slipway_crds::v1alpha1::Phase;
use slipway_crds::v1alpha1::status::{RollbackState, TaskOutcome, TaskStatus};

use crate::decide;
use crate::fixture::{Row, Scene, table, words};
use crate::observed::NameView;

/// The end of the old side is committed, nothing is done yet.
fn begun() -> Scene {
    let mut scene = Scene::plain(Phase::Watch);
    scene.later(60);
    let decision = decide(&scene.intent, &scene.committed, &scene.observed, scene.now);
    assert!(decision.effects.is_empty(), "{:?}", words(&decision));
    scene.committed = decision.progress;
    scene
}

/// The patch that ends the old side is in force.
fn one_side(scene: &mut Scene, paused: bool) {
    let remembered = scene
        .committed
        .workload(&"web".into())
        .unwrap()
        .remembered
        .clone()
        .unwrap();
    let web = scene.web();
    web.min_ready_seconds = remembered.min_ready_seconds;
    web.progress_deadline_seconds = remembered.progress_deadline_seconds;
    web.paused = Some(paused);
}

#[test]
fn retire_takes_the_way_back_away_before_the_old_side() {
    let rollback = begun().committed.status.rollback.unwrap();
    assert_eq!(rollback.state, RollbackState::Unavailable);
    assert_eq!(rollback.reason, "the old side is being stopped");
}

#[test]
fn retire_while_both_sides_are_there() {
    let rows = [
        Row {
            name: "pins_at_rest_ends_the_old_side",
            change: |_| {},
            does: &["EndWindow"],
            says: "old side ends",
        },
        Row {
            name: "pin_lost_and_no_kept_pod_ready_waits_for_one",
            change: |scene| {
                scene.side("2").ready = 0;
                scene.service().selector.remove("pod-template-hash");
            },
            does: &[],
            says: "old side ends",
        },
        Row {
            name: "kept_pod_not_ready_lets_the_deployment_roll",
            change: |scene| {
                one_side(scene, true);
                scene.side("2").ready = 2;
            },
            does: &["EndWindow"],
            says: "old side ends",
        },
        Row {
            name: "what_rolls_is_not_paused_again",
            change: |scene| one_side(scene, false),
            does: &[],
            says: "old side ends",
        },
        Row {
            name: "pin_lost_is_made_again_first",
            change: |scene| {
                scene.service().selector.remove("pod-template-hash");
            },
            does: &["Pin"],
            says: "old side ends",
        },
        Row {
            name: "pin_changed_just_now_waits_two_seconds",
            change: |scene| {
                let now = scene.now;
                scene
                    .committed
                    .workload_mut(&"web".into())
                    .unwrap()
                    .last_pin_change_at = Some(now);
            },
            does: &[],
            says: "old side ends",
        },
        Row {
            name: "service_unpinned_is_pinned_before_any_pod_goes",
            change: |scene| {
                scene.service().selector.remove("pod-template-hash");
            },
            does: &["Pin"],
            says: "old side ends",
        },
        Row {
            name: "new_side_dead_and_old_one_ready_gives_the_new_one_up",
            change: |scene| scene.side("2").ready = 0,
            does: &[],
            says: "NewSideFailed",
        },
        Row {
            name: "new_side_lost_and_old_one_ready_gives_the_new_one_up",
            change: |scene| scene.lose("2"),
            does: &[],
            says: "NewSideFailed",
        },
        Row {
            name: "new_side_lost_and_old_one_not_ready_is_brought_back_first",
            change: |scene| {
                scene.side("1").ready = 0;
                scene.lose("2");
            },
            does: &["Repair"],
            says: "old side ends",
        },
        Row {
            name: "new_side_dead_stays_where_a_person_wants_to_decide",
            change: |scene| {
                scene.side("2").ready = 0;
                scene.intent.live.automatic_rollback = false;
            },
            does: &["EndWindow"],
            says: "old side ends",
        },
        Row {
            name: "scaled_to_zero_gives_everything_back_at_once",
            change: |scene| scene.web().replicas = 0,
            does: &["EndWindow"],
            says: "old side ends",
        },
        Row {
            name: "deployment_gone_gives_the_service_back",
            change: |scene| {
                scene.observed.deployments.remove(&"web".into());
            },
            does: &["Unpin"],
            says: "old side ends",
        },
    ];
    table(&begun(), &rows);
}

/// Every pass has ended well, the window is closed, the aliases are next.
fn alias_next() -> Scene {
    let mut scene = Scene::full(Phase::Retire);
    let now = scene.now;
    for task in &mut scene.committed.status.tasks {
        task.outcome.get_or_insert(TaskOutcome::Succeeded);
        task.finished_at.get_or_insert(now);
    }
    let last: TaskStatus = scene.committed.status.tasks.last().unwrap().clone();
    scene.committed.status.tasks.push(TaskStatus {
        attempt: 9,
        intent_at: now,
        job: "last".into(),
        ..last
    });
    for workload in &mut scene.committed.status.workloads {
        (workload.window, workload.remembered) = (false, None);
    }
    scene.observed.task_pods.clear();
    scene
}

#[test]
fn retire_once_the_old_side_is_gone() {
    let rows = [
        Row {
            name: "alias_where_it_was_moves",
            change: |_| {},
            does: &["MoveAlias"],
            says: "alias moves",
        },
        Row {
            name: "window_open_somewhere_moves_nothing",
            change: |scene| scene.committed.workload_mut(&"web".into()).unwrap().window = true,
            does: &[],
            says: "old side gone",
        },
        Row {
            name: "alias_moved_by_somebody_asks",
            change: Scene::move_alias,
            does: &[],
            says: "AliasConflict",
        },
        Row {
            name: "new_index_replaced_asks",
            change: Scene::replace_indices,
            does: &[],
            says: "AliasConflict",
        },
        Row {
            name: "engine_away_waits",
            change: Scene::engine_away,
            does: &[],
            says: "SearchUnavailable",
        },
        Row {
            name: "last_pass_failed_asks",
            change: |scene| {
                let last = scene.committed.status.tasks.last_mut().unwrap();
                last.outcome = Some(TaskOutcome::Failed);
            },
            does: &[],
            says: "CatchUpFailed",
        },
        Row {
            name: "last_pass_failed_and_resumed_moves",
            change: |scene| {
                let last = scene.committed.status.tasks.last_mut().unwrap();
                (last.outcome, last.resumed) = (Some(TaskOutcome::Failed), true);
            },
            does: &["MoveAlias"],
            says: "alias moves",
        },
    ];
    table(&alias_next(), &rows);
}

#[test]
fn retire_alias_already_there_completes() {
    let mut scene = alias_next();
    let new = scene
        .committed
        .status
        .search
        .clone()
        .unwrap()
        .candidate
        .unwrap()
        .indices[0]
        .clone();
    scene
        .engine()
        .names
        .insert("products".into(), NameView::Alias(vec![new.index.clone()]));
    scene.committed = scene.decide().progress;
    let decision = scene.decide();
    assert_eq!(decision.progress.status.phase, Some(Phase::Complete));
    let search = decision.progress.status.search.unwrap();
    assert!(search.candidate.is_none());
    assert_eq!(search.live.unwrap().indices[0].uuid, new.uuid);
    assert_eq!(search.retired[0].index, "products_1".into());
}
