use slipway_crds::v1alpha1::Phase;
use slipway_crds::v1alpha1::status::{
    Cause, Course, Ended, Outcome, Reason, RollbackState, RollbackStatus, StopReason,
};

use crate::fixture::Scene;

struct Pull {
    name: &'static str,
    scene: fn() -> Scene,
    lever: &'static str,
    value: &'static str,
    /// The course afterwards.
    course: Course,
    /// The event, if any.
    tells: Option<&'static str>,
}

fn preboot() -> Scene {
    Scene::plain(Phase::Preboot)
}

fn watch() -> Scene {
    Scene::plain(Phase::Watch)
}

fn retire() -> Scene {
    let mut scene = watch();
    scene.later(60);
    for _look in ["the end of the watch", "the beginning of the step"] {
        scene.committed = scene.decide().progress;
    }
    scene
}

fn steered(mut scene: Scene, course: Course) -> Scene {
    let reason = Reason {
        reason: StopReason::NewSideFailed,
        message: "a test".to_owned(),
        at: scene.now,
    };
    let revision = scene.committed.status.revision.as_mut().unwrap();
    (revision.course, revision.cause, revision.reason) = (course, Some(Cause::Failed), Some(reason));
    scene
}

fn ended(outcome: Outcome) -> Scene {
    let mut scene = steered(preboot(), Course::Stop);
    let at = scene.now;
    scene.committed.status.revision.as_mut().unwrap().ended = Some(Ended { outcome, at });
    scene
}

fn no_way_back() -> Scene {
    let mut scene = watch();
    scene.committed.status.rollback = Some(RollbackStatus {
        state: RollbackState::Unavailable,
        reason: "lost".to_owned(),
        since: None,
        until: None,
        traffic_back_at: None,
    });
    scene
}

#[test]
fn what_each_lever_does_in_each_situation() {
    use Course::{Forward, Rollback, Stop};
    let pull = |name, scene, lever, value, course, tells| Pull {
        name,
        scene,
        lever,
        value,
        course,
        tells,
    };
    let rows = [
        pull(
            "abort_before_the_cutover_stops",
            preboot,
            "abort",
            "shop-2",
            Stop,
            None,
        ),
        pull(
            "abort_of_another_revision_does_nothing",
            preboot,
            "abort",
            "shop-1",
            Forward,
            None,
        ),
        pull(
            "abort_of_a_longer_name_does_nothing",
            preboot,
            "abort",
            "shop-22",
            Forward,
            None,
        ),
        pull(
            "abort_in_watch_rolls_back",
            watch,
            "abort",
            "shop-2",
            Rollback,
            None,
        ),
        pull(
            "abort_in_retire_is_refused",
            retire,
            "abort",
            "shop-2",
            Forward,
            Some("RollbackRefused"),
        ),
        pull(
            "abort_after_the_end_is_refused",
            || ended(Outcome::Failed),
            "abort",
            "shop-2",
            Stop,
            Some("AbortRefused"),
        ),
        pull(
            "rollback_in_watch_rolls_back",
            watch,
            "rollback",
            "shop-2/please",
            Rollback,
            None,
        ),
        pull(
            "rollback_before_the_cutover_is_refused",
            preboot,
            "rollback",
            "shop-2",
            Forward,
            Some("RollbackRefused"),
        ),
        pull(
            "rollback_in_retire_is_refused",
            retire,
            "rollback",
            "shop-2",
            Forward,
            Some("RollbackRefused"),
        ),
        pull(
            "rollback_without_an_old_side_is_refused",
            no_way_back,
            "rollback",
            "shop-2",
            Forward,
            Some("RollbackRefused"),
        ),
        pull(
            "rollback_on_the_way_back_is_refused",
            || steered(watch(), Rollback),
            "rollback",
            "shop-2",
            Rollback,
            Some("RollbackRefused"),
        ),
        pull(
            "retry_of_a_failed_revision_goes_on",
            || ended(Outcome::Failed),
            "retry",
            "shop-2",
            Forward,
            Some("Retried"),
        ),
        pull(
            "retry_of_a_rolled_back_revision_is_refused",
            || ended(Outcome::RolledBack),
            "retry",
            "shop-2",
            Stop,
            Some("RetryRefused"),
        ),
        pull(
            "resume_without_a_failed_pass_is_refused",
            watch,
            "resume",
            "shop-2",
            Forward,
            Some("ResumeRefused"),
        ),
    ];
    for row in rows {
        let mut scene = (row.scene)();
        let value = Some(row.value.to_owned());
        let levers = &mut scene.intent.levers;
        match row.lever {
            "abort" => levers.abort = value,
            "rollback" => levers.rollback = value,
            "retry" => levers.retry = value,
            _ => levers.resume = value,
        }
        let decision = scene.decide();
        let course = decision.progress.revision().map(|revision| revision.course);
        assert_eq!(course, Some(row.course), "{}", row.name);
        let told = |reason: &str| decision.because.iter().any(|because| because.reason == reason);
        assert!(row.tells.is_none_or(told), "{}: {:?}", row.name, decision.because);
        // The same value twice is once.
        scene.committed = decision.progress;
        let again = scene.decide();
        let told = |reason: &str| again.because.iter().any(|because| because.reason == reason);
        assert!(!row.tells.is_some_and(told), "{}: {:?}", row.name, again.because);
    }
}

#[test]
fn retry_on_the_way_out_waits_for_the_end() {
    let mut scene = steered(preboot(), Course::Stop);
    scene.intent.levers.retry = Some("shop-2".to_owned());
    let decision = scene.decide();
    assert_eq!(decision.progress.revision().unwrap().course, Course::Stop);
    assert_eq!(
        decision.progress.status.levers.retry, None,
        "it still counts when the end is reached"
    );
}
