//! A Job that was let run and has no pod.

use slipway_crds::v1alpha1::Phase;
use slipway_crds::v1alpha1::status::TaskReason;

use super::JOB;
use crate::fixture::{Row, Scene, table};

fn without_pod(scene: &mut Scene) {
    scene.observed.task_pods.clear();
    scene.committed.task_mut(&JOB.into()).unwrap().started_at = None;
    let job = scene.observed.jobs.get_mut(&JOB.into()).unwrap();
    (job.pods, job.suspension_seen) = (0, Some(false));
}

fn give_up(scene: &mut Scene) {
    scene.committed.task_mut(&JOB.into()).unwrap().reason = Some(TaskReason::StartDeadlineExceeded);
}

/// A Job that was let run and has no pod: the Job controller's events say why.
#[test]
fn expand_while_its_job_has_no_pod() {
    let rows = [
        Row {
            name: "goes_on_waiting",
            change: without_pod,
            does: &[],
            says: "expand",
        },
        Row {
            name: "given_up_is_suspended_first",
            change: |scene| {
                without_pod(scene);
                give_up(scene);
            },
            does: &["Suspend"],
            says: "expand",
        },
        Row {
            name: "given_up_before_the_job_controller_saw_its_start_waits",
            change: |scene| {
                without_pod(scene);
                give_up(scene);
                scene.observed.jobs.get_mut(&JOB.into()).unwrap().suspension_seen = Some(true);
            },
            does: &[],
            says: "expand",
        },
        Row {
            name: "suspended_and_not_seen_so_waits",
            change: |scene| {
                without_pod(scene);
                give_up(scene);
                scene.observed.jobs.get_mut(&JOB.into()).unwrap().suspended = true;
            },
            does: &[],
            says: "expand",
        },
        Row {
            name: "seen_to_be_suspended_goes",
            change: |scene| {
                without_pod(scene);
                give_up(scene);
                let job = scene.observed.jobs.get_mut(&JOB.into()).unwrap();
                (job.suspended, job.suspension_seen) = (true, Some(true));
            },
            does: &["DeleteJob"],
            says: "expand",
        },
    ];
    table(&Scene::full(Phase::Expand), &rows);
}
