use jiff::SignedDuration;
use slipway_crds::v1alpha1::Phase;
use slipway_crds::v1alpha1::status::{Cause, Course, Reason, StopReason};

use super::cut;
use crate::Progress;
use crate::fixture::Scene;

fn is(progress: &Progress, kind: &str, status: &str) -> bool {
    progress
        .status
        .conditions
        .iter()
        .any(|found| found.type_ == kind && found.status == status)
}

#[test]
fn conditions_follow_the_rules_of_kstatus_in_every_phase() {
    let phases = [
        Phase::Prepare,
        Phase::Expand,
        Phase::Reindex,
        Phase::Preboot,
        Phase::Watch,
        Phase::Retire,
    ];
    for phase in phases {
        let mut scene = Scene::full(phase);
        for broken in [false, true] {
            if broken {
                scene.observed.jobs.clear();
                scene.observed.task_pods.clear();
                scene.observed.services.clear();
            }
            let progress = scene.decide().progress;
            assert!(is(&progress, "Ready", "False"), "{phase:?}");
            let (reconciling, stalled) = (
                is(&progress, "Reconciling", "True"),
                is(&progress, "Stalled", "True"),
            );
            assert!(reconciling != stalled, "{phase:?}: one of the two");
            assert!(
                progress.status.waiting_for.is_some(),
                "{phase:?}: it says what is waited for"
            );
            assert_eq!(
                progress.status.observed_generation,
                Some(scene.intent.meta.generation)
            );
        }
    }
}

#[test]
fn a_transition_time_stays_while_the_status_stays() {
    let mut scene = Scene::plain(Phase::Preboot);
    scene.committed = scene.decide().progress;
    let before = scene.committed.status.conditions.clone();
    scene.now += SignedDuration::from_mins(2);
    let after = scene.decide().progress.status.conditions;
    for (before, after) in before.iter().zip(&after) {
        assert_eq!(
            before.last_transition_time, after.last_transition_time,
            "{}",
            before.type_
        );
    }
}

#[test]
fn a_rollback_is_a_condition_of_its_own() {
    let mut scene = Scene::plain(Phase::Watch);
    let reason = Reason {
        reason: StopReason::NewSideFailed,
        message: "dead".to_owned(),
        at: scene.now,
    };
    let revision = scene.committed.status.revision.as_mut().unwrap();
    (revision.course, revision.cause, revision.reason) =
        (Course::Rollback, Some(Cause::Failed), Some(reason));
    assert!(is(&scene.decide().progress, "RolledBack", "True"));
}

#[test]
fn long_texts_are_cut_by_characters() {
    assert_eq!(cut("short", 10), "short");
    assert_eq!(cut("äöüäöü", 4), "äöü…");
}
