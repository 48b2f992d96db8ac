mod ended;
mod podless;

use slipway_crds::v1alpha1::Phase;
use slipway_crds::v1alpha1::status::{TaskOutcome, TaskReason};

use crate::fixture::{Row, Scene, table};
use crate::observed::{ContainerEnd, JobState, TaskPodPhase, TaskPodView};

const JOB: &str = "shop-2-expand-1";

fn job(scene: &mut Scene, state: JobState) {
    scene.observed.jobs.get_mut(&JOB.into()).unwrap().state = state;
}

fn failed() -> JobState {
    JobState::Failed {
        reason: "BackoffLimitExceeded".to_owned(),
        message: "no more".to_owned(),
    }
}

fn pod(scene: &mut Scene, phase: TaskPodPhase, exit: i32) {
    let pod = scene
        .observed
        .task_pods
        .iter_mut()
        .find(|pod| pod.job.as_str() == JOB)
        .unwrap();
    (pod.phase, pod.exit_code) = (phase, Some(exit));
    pod.end = Some(ContainerEnd::Exited);
}

fn disrupted(scene: &mut Scene) {
    own(scene).disrupted = Some("EvictionByEvictionAPI".to_owned());
}

/// The migration's pod.
fn own(scene: &mut Scene) -> &mut TaskPodView {
    let mut pods = scene.observed.task_pods.iter_mut();
    pods.find(|pod| pod.job.as_str() == JOB).unwrap()
}

/// The Job as it was made: nobody has let it run, and there is no pod.
fn as_made(scene: &mut Scene) {
    scene.observed.task_pods.clear();
    let job = scene.observed.jobs.get_mut(&JOB.into()).unwrap();
    (job.suspended, job.never_started) = (true, true);
    if let Some(task) = scene.committed.task_mut(&JOB.into()) {
        task.started_at = None;
    }
}

/// Where an attempt has its Job, and nobody has let it run yet.
#[test]
fn expand_while_the_job_waits_for_its_start() {
    let rows = [
        Row {
            name: "recorded_is_started",
            change: as_made,
            does: &["Start"],
            says: "expand",
        },
        Row {
            name: "not_recorded_is_recorded_first",
            change: |scene| {
                as_made(scene);
                scene.committed.task_mut(&JOB.into()).unwrap().job_uid = None;
            },
            does: &[],
            says: "expand",
        },
        Row {
            name: "a_pod_of_another_attempt_is_waited_for",
            change: |scene| {
                let mut pod = scene.observed.task_pods[0].clone();
                as_made(scene);
                pod.job = "shop-1-expand-1".into();
                scene.observed.task_pods.push(pod);
            },
            does: &[],
            says: "expand",
        },
        Row {
            name: "another_one_than_was_recorded_came_late_and_goes",
            change: |scene| {
                as_made(scene);
                scene.committed.task_mut(&JOB.into()).unwrap().job_uid = Some("gone".into());
            },
            does: &["DeleteJob"],
            says: "TaskUnknown",
        },
        Row {
            name: "suspended_by_a_person_is_unknown",
            change: |scene| {
                as_made(scene);
                scene.observed.jobs.get_mut(&JOB.into()).unwrap().never_started = false;
            },
            does: &[],
            says: "TaskUnknown",
        },
        Row {
            name: "suspended_by_a_person_is_told_once_its_pod_has_ended",
            change: |scene| {
                let pod = scene.observed.task_pods[0].clone();
                as_made(scene);
                scene.observed.jobs.get_mut(&JOB.into()).unwrap().never_started = false;
                scene.observed.task_pods.push(pod);
            },
            does: &[],
            says: "expand",
        },
        Row {
            name: "stopped_by_its_timeout_and_suspended_by_a_person_still_goes",
            change: |scene| {
                as_made(scene);
                scene.observed.jobs.get_mut(&JOB.into()).unwrap().never_started = false;
                scene.committed.task_mut(&JOB.into()).unwrap().reason = Some(TaskReason::Timeout);
            },
            does: &["DeleteJob"],
            says: "expand",
        },
        Row {
            name: "given_up_before_it_started_goes",
            change: |scene| {
                as_made(scene);
                scene.committed.task_mut(&JOB.into()).unwrap().reason =
                    Some(TaskReason::StartDeadlineExceeded);
            },
            does: &["DeleteJob"],
            says: "expand",
        },
    ];
    table(&Scene::full(Phase::Expand), &rows);
}

/// Success is narrower than Kubernetes says, and nothing is ever made twice.
#[test]
fn expand_while_the_migration_runs() {
    let rows = [
        Row {
            name: "runs_on_waits",
            change: |_| {},
            does: &[],
            says: "expand",
        },
        Row {
            name: "complete_and_its_pod_succeeded_goes_on",
            change: |scene| {
                job(scene, JobState::Complete);
                pod(scene, TaskPodPhase::Succeeded, 0);
            },
            does: &[],
            says: "goes on",
        },
        Row {
            name: "complete_but_its_pod_was_evicted_is_unknown",
            change: |scene| {
                job(scene, JobState::Complete);
                pod(scene, TaskPodPhase::Succeeded, 0);
                disrupted(scene);
            },
            does: &[],
            says: "TaskUnknown",
        },
        Row {
            name: "complete_but_its_pod_was_deleted_is_unknown",
            change: |scene| {
                job(scene, JobState::Complete);
                pod(scene, TaskPodPhase::Succeeded, 0);
                scene
                    .observed
                    .task_pods
                    .iter_mut()
                    .for_each(|pod| pod.deleting = true);
            },
            does: &[],
            says: "TaskUnknown",
        },
        Row {
            name: "complete_but_its_pod_not_yet_ended_waits",
            change: |scene| job(scene, JobState::Complete),
            does: &[],
            says: "expand",
        },
        Row {
            name: "complete_without_a_pod_waits_for_it",
            change: |scene| {
                job(scene, JobState::Complete);
                scene.observed.task_pods.clear();
            },
            does: &[],
            says: "expand",
        },
        Row {
            name: "complete_without_a_pod_for_long_is_unknown",
            change: |scene| {
                job(scene, JobState::Complete);
                scene.observed.task_pods.clear();
                let now = scene.now;
                scene.committed.task_mut(&JOB.into()).unwrap().finished_at = Some(now);
                scene.later(30);
            },
            does: &[],
            says: "TaskUnknown",
        },
        Row {
            name: "failed_by_itself_gives_up",
            change: |scene| {
                job(scene, failed());
                pod(scene, TaskPodPhase::Failed, 3);
            },
            does: &[],
            says: "MigrationFailed",
        },
        Row {
            name: "failed_by_eviction_is_unknown",
            change: |scene| {
                job(scene, failed());
                pod(scene, TaskPodPhase::Failed, 143);
                disrupted(scene);
            },
            does: &[],
            says: "TaskUnknown",
        },
        Row {
            name: "job_gone_and_its_pod_runs_waits",
            change: |scene| scene.observed.jobs.clear(),
            does: &[],
            says: "expand",
        },
        Row {
            name: "job_gone_and_its_pod_about_to_start_on_its_node_waits",
            change: |scene| {
                scene.observed.jobs.clear();
                for pod in &mut scene.observed.task_pods {
                    (pod.phase, pod.started_at, pod.deleting) = (TaskPodPhase::Pending, None, true);
                }
            },
            does: &[],
            says: "expand",
        },
        Row {
            name: "job_gone_and_nothing_runs_is_unknown",
            change: |scene| {
                scene.observed.jobs.clear();
                scene.observed.task_pods.clear();
            },
            does: &[],
            says: "TaskUnknown",
        },
        Row {
            name: "job_never_seen_is_made",
            change: |scene| {
                scene.observed.jobs.clear();
                scene.observed.task_pods.clear();
                scene.committed.task_mut(&JOB.into()).unwrap().job_uid = None;
            },
            does: &["CreateJob"],
            says: "expand",
        },
        Row {
            name: "job_never_seen_but_a_pod_of_it_waits",
            change: |scene| {
                scene.observed.jobs.clear();
                scene.committed.task_mut(&JOB.into()).unwrap().job_uid = None;
            },
            does: &[],
            says: "expand",
        },
        Row {
            name: "job_of_another_input_asks",
            change: |scene| {
                scene.observed.jobs.get_mut(&JOB.into()).unwrap().input_digest = Some("another".into());
            },
            does: &[],
            says: "ForeignJob",
        },
        Row {
            name: "another_job_under_its_name_asks",
            change: |scene| scene.observed.jobs.get_mut(&JOB.into()).unwrap().uid = "another".into(),
            does: &[],
            says: "ForeignJob",
        },
        Row {
            name: "suspended_is_observed_to_its_end",
            change: |scene| {
                scene.intent.live.suspend = true;
                job(scene, JobState::Complete);
                pod(scene, TaskPodPhase::Succeeded, 0);
            },
            does: &[],
            says: "goes on",
        },
    ];
    table(&Scene::full(Phase::Expand), &rows);
}

#[test]
fn expand_ended_pod_is_let_go_only_after_its_outcome_is_committed() {
    let mut scene = Scene::full(Phase::Expand);
    job(&mut scene, JobState::Complete);
    pod(&mut scene, TaskPodPhase::Succeeded, 0);
    let decision = scene.decide();
    assert!(crate::fixture::words(&decision).is_empty());
    scene.committed = decision.progress;
    let task = scene
        .committed
        .attempt(slipway_crds::v1alpha1::status::StepName::Expand, "expand")
        .unwrap();
    assert_eq!(task.outcome, Some(TaskOutcome::Succeeded));
    assert!(crate::fixture::words(&scene.decide()).contains(&"FreePod"));
}

#[test]
fn expand_its_own_last_words_are_told() {
    let mut scene = Scene::full(Phase::Expand);
    job(&mut scene, failed());
    pod(&mut scene, TaskPodPhase::Failed, 1);
    for pod in &mut scene.observed.task_pods {
        pod.output =
            Some("== migrating\nPG::UndefinedColumn: column orders.totl does not exist\n".to_owned());
    }
    let waiting = scene.decide().progress.status.waiting_for.unwrap();
    assert!(
        waiting.contains("orders.totl") && waiting.contains("exited 1"),
        "{waiting}"
    );
    assert!(
        waiting.contains("kubectl logs job/shop-2-expand-1 -n default"),
        "{waiting}"
    );
}

#[test]
fn expand_runs_with_another_at_work_waits_for_that() {
    let mut scene = Scene::full(Phase::Expand);
    scene
        .committed
        .status
        .tasks
        .retain(|task| task.job.as_str() != JOB);
    let decision = scene.decide();
    assert!(crate::fixture::words(&decision).is_empty());
    assert!(
        !decision
            .progress
            .status
            .tasks
            .iter()
            .any(|task| task.name == "expand")
    );
}
