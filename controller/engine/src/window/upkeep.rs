//! What keeps a window whole while steps come and go: shared by all that work in one.

use slipway_crds::v1alpha1::status::StopReason;

use super::{Side, WorkloadWindow, keep_pins, lock, open};
use crate::draft::{Draft, StepInput, Verdict};
use crate::sentence::again;
use crate::workloads::changes_with_traffic;

/// The windows of a revision, looked after.
#[derive(Debug)]
pub struct Kept<'a> {
    /// One for each workload whose traffic moves.
    pub windows: Vec<WorkloadWindow<'a>>,
    /// Whether nothing had to be put back.
    pub whole: bool,
}

/// Looks after the windows while a side serves: label, pins and lock are put back where something took them off.
///
/// # Errors
/// The verdict where a window cannot go on: its Deployment is gone, or another one; before the traffic moves also
/// where it wants no pods, or the side that serves was lost.
pub fn keep<'a>(input: &StepInput<'a>, draft: &mut Draft, serving: Side) -> Result<Kept<'a>, Verdict> {
    let lost = match serving {
        Side::Old => in_the_way(input).or_else(|| serving_side_lost(input)),
        Side::New => gone(input),
    };
    if let Some(verdict) = lost {
        return Err(verdict);
    }
    let windows = windows(input);
    let opened = every(&windows, |window| open(window, draft));
    let pinned = every(&windows, |window| keep_pins(window, serving, draft));
    // The label and the lock are written to the same object.
    let locked = opened && every(&windows, |window| lock(window, draft));
    Ok(Kept {
        windows,
        whole: opened && pinned && locked,
    })
}

/// The workloads that go through a window.
pub fn windows<'a>(input: &StepInput<'a>) -> Vec<WorkloadWindow<'a>> {
    let workloads = input.committed.status.workloads.iter();
    workloads
        .filter(|workload| changes_with_traffic(workload))
        .filter_map(|workload| WorkloadWindow::find(workload, input.observed))
        .collect()
}

/// True when it holds for all; every one is looked at, so that all work side by side.
pub fn every<'a>(windows: &[WorkloadWindow<'a>], mut stage: impl FnMut(&WorkloadWindow<'a>) -> bool) -> bool {
    let mut all = true;
    for window in windows {
        all &= stage(window);
    }
    all
}

/// What keeps a window from going on: a Deployment that is gone, or wants no pods.
pub fn in_the_way(input: &StepInput<'_>) -> Option<Verdict> {
    if let Some(verdict) = gone(input) {
        return Some(verdict);
    }
    let zero = windows(input)
        .into_iter()
        .find(|window| window.deployment.replicas == 0)?;
    Some(Verdict::failed(
        StopReason::ScaledToZero,
        format!(
            "Deployment {} was scaled to 0 while a release was in progress; the release was ended. Scale it up.{}",
            zero.deployment.name,
            again(input)
        ),
    ))
}

/// A Deployment of the window that is gone, or another one of its name.
pub fn gone(input: &StepInput<'_>) -> Option<Verdict> {
    let mut workloads = input.committed.status.workloads.iter();
    workloads.find_map(|workload| {
        if !changes_with_traffic(workload) {
            return None;
        }
        let name = &workload.deployment;
        match input.observed.deployments.get(name) {
            Some(deployment) if deployment.uid == workload.deployment_uid => None,
            Some(_) => Some(Verdict::failed(
                StopReason::DeploymentReplaced,
                format!("Deployment {name} was deleted and created again.{}", again(input)),
            )),
            None => Some(Verdict::failed(
                StopReason::DeploymentMissing,
                format!("Deployment {name} was deleted. Create it again.{}", again(input)),
            )),
        }
    })
}

/// Before the traffic moves the old side is what serves: without it the revision is given up, which brings it back.
pub fn serving_side_lost(input: &StepInput<'_>) -> Option<Verdict> {
    let windows = windows(input);
    let lost = windows.iter().find(|window| {
        let opened = window.status.window && super::opened(window);
        opened && window.old.is_none_or(|old| old.wanted == 0)
    })?;
    Some(Verdict::failed(
        StopReason::ServingSideLost,
        format!(
            "The ReplicaSet that serves Deployment {} was deleted or scaled away. It is being brought back, and this revision is given up.{}",
            lost.deployment.name,
            again(input)
        ),
    ))
}
