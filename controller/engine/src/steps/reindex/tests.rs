use slipway_crds::v1alpha1::Phase;
use slipway_crds::v1alpha1::status::TaskOutcome;

use crate::fixture::{Row, Scene, table};
use crate::observed::{ContainerEnd, JobState, TaskPodPhase};
use crate::question::Question;
use crate::search::Counts;

fn ended(scene: &mut Scene, exit: i32) {
    let (job, pod) = if exit == 0 {
        (JobState::Complete, TaskPodPhase::Succeeded)
    } else {
        let (reason, message) = ("BackoffLimitExceeded".to_owned(), "no more".to_owned());
        (JobState::Failed { reason, message }, TaskPodPhase::Failed)
    };
    scene
        .observed
        .jobs
        .get_mut(&"shop-2-build-1".into())
        .unwrap()
        .state = job;
    let pods = scene.observed.task_pods.iter_mut();
    for found in pods.filter(|pod| pod.job.as_str() == "shop-2-build-1") {
        (found.phase, found.exit_code) = (pod, Some(exit));
        found.end = Some(ContainerEnd::Exited);
    }
}

#[test]
fn reindex_while_the_build_runs() {
    let runs = "0 of about 1000 documents (0%)";
    let rows = [
        Row {
            name: "nothing_happens_it_waits",
            change: |_| {},
            does: &[],
            says: runs,
        },
        Row {
            name: "live_alias_moved_gives_up",
            change: Scene::move_alias,
            does: &[],
            says: "LiveAliasMoved",
        },
        Row {
            name: "live_alias_gone_gives_up",
            change: |scene| {
                scene.engine().names.remove(&"products".into());
            },
            does: &[],
            says: "LiveAliasMoved",
        },
        Row {
            name: "live_index_replaced_gives_up",
            change: |scene| scene.engine().indices.get_mut(&"products_1".into()).unwrap().uuid = "x".into(),
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
            name: "engine_too_old_asks",
            change: |scene| scene.engine().unsupported = Some("too old".to_owned()),
            does: &[],
            says: "SearchUnsupported",
        },
        Row {
            name: "build_fails_gives_up",
            change: |scene| ended(scene, 1),
            does: &[],
            says: "BuildFailed",
        },
        Row {
            name: "build_leaves_nothing_gives_up",
            change: |scene| ended(scene, 0),
            does: &[],
            says: "BuildIncomplete",
        },
        Row {
            name: "job_gone_and_nothing_runs_asks",
            change: |scene| {
                scene.observed.jobs.clear();
                scene.observed.task_pods.clear();
            },
            does: &[],
            says: "TaskUnknown",
        },
        Row {
            name: "job_gone_and_its_pod_runs_waits",
            change: |scene| scene.observed.jobs.clear(),
            does: &[],
            says: runs,
        },
        Row {
            name: "job_of_somebody_else_asks",
            change: |scene| {
                let job = scene.observed.jobs.get_mut(&"shop-2-build-1".into()).unwrap();
                job.release_uid = Some("another".into());
            },
            does: &[],
            says: "ForeignJob",
        },
    ];
    table(&Scene::full(Phase::Reindex), &rows);
}

/// A refresh makes the engine write out what a build has sent so far: it would disturb one that runs.
#[test]
fn documents_are_counted_as_they_are_until_the_new_index_is_verified() {
    let asked = |scene: &Scene| {
        let asked = crate::questions(&scene.intent, &scene.committed, &scene.observed, scene.now);
        asked.into_iter().find_map(|question| match question {
            Question::Search(question) => Some(question.counts),
            Question::VolumeClaims(_)
            | Question::Autoscalers
            | Question::PodTroubles(_)
            | Question::JobTrouble(_) => None,
        })
    };
    let mut scene = Scene::full(Phase::Reindex);
    assert_eq!(asked(&scene), Some(Counts::AsTheyAre));
    scene
        .committed
        .task_mut(&"shop-2-build-1".into())
        .unwrap()
        .outcome = Some(TaskOutcome::Succeeded);
    assert_eq!(asked(&scene), Some(Counts::Refreshed));
    assert_eq!(asked(&Scene::full(Phase::Preboot)), None);
    assert_eq!(asked(&Scene::full(Phase::Cutover)), Some(Counts::No));
}
