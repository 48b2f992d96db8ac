//! What a task's own container says when it has ended.

use slipway_crds::v1alpha1::Phase;
use slipway_crds::v1alpha1::status::TaskReason;

use super::{JOB, disrupted, failed, job, own, pod};
use crate::fixture::{Row, Scene, table};
use crate::observed::{ContainerEnd, TaskPodPhase};

fn never_seen_to_run(scene: &mut Scene) {
    scene.committed.task_mut(&JOB.into()).unwrap().started_at = None;
    let pod = own(scene);
    (pod.phase, pod.started_at) = (TaskPodPhase::Failed, None);
}

/// The task's own container decides, where its program chose the exit code and nobody had asked it to end.
#[test]
fn expand_when_the_tasks_container_has_ended() {
    let rows = [
        Row {
            name: "killed_by_a_signal_is_unknown",
            change: |scene| {
                job(scene, failed());
                pod(scene, TaskPodPhase::Failed, 137);
            },
            does: &[],
            says: "TaskUnknown",
        },
        Row {
            name: "out_of_memory_is_unknown_whatever_the_shell_around_it_says",
            change: |scene| {
                job(scene, failed());
                pod(scene, TaskPodPhase::Failed, 1);
                own(scene).end = Some(ContainerEnd::OutOfMemory);
            },
            does: &[],
            says: "TaskUnknown",
        },
        Row {
            name: "well_though_a_sidecar_failed_goes_on",
            change: |scene| {
                job(scene, failed());
                pod(scene, TaskPodPhase::Failed, 0);
            },
            does: &[],
            says: "goes on",
        },
        Row {
            name: "lost_by_the_kubelet_is_unknown",
            change: |scene| {
                job(scene, failed());
                let pod = own(scene);
                (pod.phase, pod.end, pod.started_at) = (TaskPodPhase::Failed, Some(ContainerEnd::Lost), None);
            },
            does: &[],
            says: "TaskUnknown",
        },
        Row {
            name: "evicted_when_it_was_seen_to_run_is_unknown",
            change: |scene| {
                job(scene, failed());
                disrupted(scene);
                let pod = own(scene);
                (pod.phase, pod.started_at) = (TaskPodPhase::Failed, None);
            },
            does: &[],
            says: "TaskUnknown",
        },
        Row {
            name: "evicted_from_a_node_that_did_not_tell_is_unknown",
            change: |scene| {
                job(scene, failed());
                disrupted(scene);
                never_seen_to_run(scene);
            },
            does: &[],
            says: "TaskUnknown",
        },
        Row {
            name: "evicted_before_it_had_a_node_never_started",
            change: |scene| {
                job(scene, failed());
                disrupted(scene);
                never_seen_to_run(scene);
                own(scene).assigned = false;
            },
            does: &[],
            says: "MigrationFailed",
        },
        Row {
            name: "no_such_command_never_started",
            change: |scene| {
                job(scene, failed());
                never_seen_to_run(scene);
                own(scene).end = Some(ContainerEnd::NotStarted);
            },
            does: &[],
            says: "MigrationFailed",
        },
        Row {
            name: "stopped_by_its_timeout_in_the_middle_is_unknown",
            change: |scene| {
                job(scene, failed());
                pod(scene, TaskPodPhase::Failed, 143);
                own(scene).deleting = true;
                scene.committed.task_mut(&JOB.into()).unwrap().reason = Some(TaskReason::Timeout);
            },
            does: &[],
            says: "TaskUnknown",
        },
        Row {
            name: "well_beside_a_sidecar_that_runs_goes_on",
            change: |scene| {
                pod(scene, TaskPodPhase::Running, 0);
                own(scene).beside = vec!["istio-proxy".to_owned()];
            },
            does: &[],
            says: "goes on",
        },
        Row {
            name: "failed_beside_a_sidecar_that_runs_gives_up",
            change: |scene| {
                pod(scene, TaskPodPhase::Running, 3);
                own(scene).beside = vec!["istio-proxy".to_owned()];
            },
            does: &[],
            says: "MigrationFailed",
        },
        Row {
            name: "killed_beside_a_sidecar_that_runs_is_unknown",
            change: |scene| {
                pod(scene, TaskPodPhase::Running, 137);
                own(scene).beside = vec!["istio-proxy".to_owned()];
            },
            does: &[],
            says: "TaskUnknown",
        },
    ];
    table(&Scene::full(Phase::Expand), &rows);
}

#[test]
fn expand_a_job_that_a_sidecar_keeps_open_goes_once_the_end_of_its_task_is_committed() {
    let mut scene = Scene::full(Phase::Expand);
    pod(&mut scene, TaskPodPhase::Running, 0);
    own(&mut scene).beside = vec!["istio-proxy".to_owned()];
    let decision = scene.decide();
    let told = decision
        .because
        .iter()
        .find(|because| because.reason == "TaskSucceeded");
    let note = &told.unwrap().note;
    assert!(
        note.contains("istio-proxy") && note.contains("native sidecar"),
        "{note}"
    );
    scene.committed = decision.progress;
    let does = crate::fixture::words(&scene.decide());
    assert!(
        does.contains(&"DeleteJob") && does.contains(&"FreePod"),
        "{does:?}"
    );
}
