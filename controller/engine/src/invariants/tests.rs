use serde_json::json;
use slipway_crds::v1alpha1::Phase;
use slipway_crds::v1alpha1::status::TaskOutcome;

use super::broken;
use crate::decision::{Call, Decision, Effect, Kind, Patch, Purpose};
use crate::fixture::Scene;

fn patch(purpose: Purpose, kind: Kind, name: &str) -> Effect {
    let body = json!({"metadata": {"resourceVersion": "1"}, "spec": {}});
    let call = Call::Patch(Patch {
        kind,
        name: name.to_owned(),
        uid: "uid".into(),
        body,
    });
    Effect { call, purpose }
}

fn job(name: &str) -> Effect {
    let call = Call::Create {
        kind: Kind::Job,
        name: name.to_owned(),
        body: json!({}),
    };
    Effect {
        call,
        purpose: Purpose::CreateJob,
    }
}

/// A decision that must never be carried out.
struct Never {
    name: &'static str,
    phase: Phase,
    effect: fn(&Scene) -> Effect,
}

#[test]
fn what_must_never_be_done_is_found() {
    let rows = [
        Never {
            name: "traffic_moved_without_an_intent",
            phase: Phase::Preboot,
            effect: |_| patch(Purpose::Flip, Kind::Service, "web"),
        },
        Never {
            name: "traffic_moved_back_without_an_intent",
            phase: Phase::Watch,
            effect: |_| patch(Purpose::FlipBack, Kind::Service, "web"),
        },
        Never {
            name: "a_side_ended_without_an_intent",
            phase: Phase::Watch,
            effect: |_| patch(Purpose::EndWindow, Kind::Deployment, "web"),
        },
        Never {
            name: "a_template_without_its_hold",
            phase: Phase::Preboot,
            effect: |_| patch(Purpose::Hold, Kind::Deployment, "web"),
        },
        Never {
            name: "a_job_made_twice",
            phase: Phase::Expand,
            effect: |_| job("shop-2-expand-1"),
        },
        Never {
            name: "a_job_without_an_intent",
            phase: Phase::Expand,
            effect: |_| job("shop-2-expand-2"),
        },
        Never {
            name: "a_job_started_that_was_not_recorded",
            phase: Phase::Expand,
            effect: |_| patch(Purpose::Start, Kind::Job, "shop-2-expand-1"),
        },
        Never {
            name: "a_job_started_without_an_intent",
            phase: Phase::Expand,
            effect: |_| patch(Purpose::Start, Kind::Job, "shop-2-expand-2"),
        },
        Never {
            name: "a_pod_let_go_before_its_outcome",
            phase: Phase::Expand,
            effect: |scene| {
                let pods = &scene.observed.task_pods;
                let pod = pods
                    .iter()
                    .find(|pod| pod.job.as_str() == "shop-2-expand-1")
                    .unwrap();
                patch(Purpose::FreePod, Kind::Pod, &pod.name)
            },
        },
        Never {
            name: "an_alias_moved_to_what_nobody_verified",
            phase: Phase::Reindex,
            effect: |_| Effect {
                call: Call::MoveAlias {
                    url: String::new(),
                    alias: "products".into(),
                    from: None,
                    to: "products_x".into(),
                    to_uuid: "x".into(),
                },
                purpose: Purpose::MoveAlias,
            },
        },
        Never {
            name: "an_index_deleted_that_is_needed",
            phase: Phase::Reindex,
            effect: |_| Effect {
                call: Call::DeleteIndex {
                    url: String::new(),
                    own_alias: None,
                    index: "products_1".into(),
                    uuid: "x".into(),
                },
                purpose: Purpose::DeleteIndex,
            },
        },
        Never {
            name: "a_patch_of_whatever_is_there_by_then",
            phase: Phase::Preboot,
            effect: |_| {
                let mut effect = patch(Purpose::Open, Kind::Deployment, "web");
                if let Call::Patch(patch) = &mut effect.call {
                    patch.body = json!({"spec": {"paused": true}});
                }
                effect
            },
        },
    ];
    for row in rows {
        let scene = Scene::full(row.phase);
        let mut decision = scene.decide();
        decision.effects = vec![(row.effect)(&scene)];
        let found = broken(&scene.intent, &scene.committed, &scene.observed, &decision);
        assert_eq!(found.len(), 1, "{}: {found:?}", row.name);
    }
}

#[test]
fn what_status_forgets_or_rewrites_is_found() {
    let scene = Scene::full(Phase::Reindex);
    let check = |decision: &Decision| broken(&scene.intent, &scene.committed, &scene.observed, decision);
    let mut decision = scene.decide();
    assert!(check(&decision).is_empty());
    decision.progress.status.observed_generation = Some(0);
    assert_eq!(check(&decision).len(), 1);
    let mut decision = scene.decide();
    decision
        .progress
        .task_mut(&"shop-2-expand-1".into())
        .unwrap()
        .outcome = Some(TaskOutcome::Failed);
    assert_eq!(check(&decision).len(), 1);
}
