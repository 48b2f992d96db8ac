//! What the engine is told that is not so.

use jiff::Timestamp;
use slipway_crds::v1alpha1::status::{Cutover, StepName, StepState};
use slipway_engine::{
    Observed, Progress,
    observed::{DeploymentView, TaskPodPhase},
};
use slipway_judge::past::HOLD;

use super::Error;

/// Changes what was committed and what was seen.
pub(super) fn mutate(
    error: Error,
    committed: &Progress,
    observed: &Observed,
    now: Timestamp,
) -> (Progress, Observed) {
    let (mut told, mut seen) = (committed.clone(), observed.clone());
    if error == Error::UnsettledWindow {
        seen.deployments.values_mut().for_each(settle);
    }
    let booting = committed.running().is_some();
    if !booting {
        return (told, seen);
    }
    match error {
        Error::EvictedSuccess => {
            for pod in &mut seen.task_pods {
                if pod.phase == TaskPodPhase::Succeeded {
                    (pod.disrupted, pod.deleting) = (None, false);
                }
            }
        }
        Error::EffectBeforeCommit => {
            if committed.completed(StepName::Preboot) && told.status.cutover.is_none() {
                told.status.cutover = Some(Cutover {
                    intent_at: now,
                    confirmed_at: None,
                    watch_until: None,
                });
            }
        }
        Error::UngatedRescue => {
            if observed.deployments.get(&"web".into()).is_some_and(rescuable) {
                told.step_mut(StepName::Preboot).state = StepState::Succeeded;
            }
        }
        _ => {
            if let Some(web) = seen.deployments.get_mut(&"web".into()) {
                deployment(error, web);
            }
            if error == Error::UnpinAfterClose && committed.completed(StepName::Watch) {
                let settled = observed
                    .deployments
                    .get(&"web".into())
                    .is_some_and(|web| !held(web));
                if let Some(service) = seen.services.get_mut(&"web".into()).filter(|_| settled) {
                    service.selector.remove("pod-template-hash");
                    service.window = false;
                }
            }
        }
    }
    (told, seen)
}

/// Makes a rollout that is under way look done.
fn settle(deployment: &mut DeploymentView) {
    let current = deployment.template.digest().clone();
    deployment
        .replica_sets
        .retain(|set| set.template_digest == current);
    deployment.observed_generation = deployment.generation;
}

/// Whether only the new side is left, in full.
fn rescuable(deployment: &DeploymentView) -> bool {
    let current = deployment.template.digest();
    let (new, old): (Vec<_>, Vec<_>) = deployment
        .active()
        .partition(|set| set.template_digest == *current);
    let full = new.iter().any(|set| set.ready >= deployment.replicas);
    held(deployment) && full && old.iter().all(|set| set.ready == 0)
}

fn held(deployment: &DeploymentView) -> bool {
    deployment.min_ready_seconds.map(i64::from) == Some(HOLD)
}

fn deployment(error: Error, web: &mut DeploymentView) {
    match error {
        Error::HoldWithoutLock if held(web) => web.paused = Some(true),
        Error::BothWithoutBolt => {
            let current = web.template.digest().clone();
            for set in web
                .replica_sets
                .iter_mut()
                .filter(|set| set.template_digest != current)
            {
                set.min_ready_seconds = i32::try_from(HOLD).ok();
                set.available = 0;
            }
        }
        Error::UnreadySide if held(web) => {
            for set in &mut web.replica_sets {
                set.ready = set.wanted;
                set.replicas = set.wanted;
            }
            web.ready_replicas = web.replica_sets.iter().map(|set| set.wanted).sum();
        }
        _ => {}
    }
}
