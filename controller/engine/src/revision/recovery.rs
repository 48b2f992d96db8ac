//! A window that nobody remembers: the status was lost while it was open.

use slipway_crds::VersionDigest;
use slipway_crds::v1alpha1::status::{
    Amount, Cause, Course, Remembered, SideStatus, StopReason, Strategy, WorkloadStatus,
};

use super::adoption::first_number;
use super::revision;
use crate::draft::{Draft, StepInput};
use crate::observed::DeploymentView;
use crate::window::patches::{held, remember, strategy_held};
use crate::window::side_of;
use crate::workloads::workload_status;

/// A window without a record of it: the status was lost. True when that had to be recorded. It is ended on the side that serves, with the
/// values that Kubernetes would have set by default, because the user's own are not known any more.
pub fn recover(input: &StepInput<'_>, draft: &mut Draft) -> bool {
    let mut workloads: Vec<WorkloadStatus> = Vec::new();
    for plan in &input.plan.workloads {
        let Some(deployment) = input.observed.deployments.get(&plan.deployment) else {
            continue;
        };
        let services = plan
            .services
            .iter()
            .filter_map(|name| input.observed.services.get(name));
        let services: Vec<_> = services.collect();
        let ours = deployment.claim.as_ref() == Some(&input.intent.meta.uid);
        if !ours || !(deployment.window || services.iter().any(|service| service.window)) {
            continue;
        }
        let pin = services.iter().find_map(|service| service.pin());
        let serving = deployment
            .replica_sets
            .iter()
            .find(|set| Some(&set.hash) == pin.as_ref());
        let serving = serving.or_else(|| deployment.by_template(deployment.template.digest()));
        let mut status = workload_status(plan, deployment, &input.plan.image, input.observed);
        status.images.clear();
        status.old = serving.map(side_of);
        status.new = Some(SideStatus::default());
        status.window = true;
        status.bolted_at = Some(draft.now());
        let defaults = defaults(deployment);
        status.remembered = Some(if held(deployment) {
            defaults
        } else if strategy_held(deployment) {
            // A side is ending: the strategy is given back last.
            Remembered {
                paused: None,
                strategy: defaults.strategy,
                ..remember(deployment)
            }
        } else {
            // Only opened: but for `paused`, what is there is the user's.
            Remembered {
                paused: None,
                ..remember(deployment)
            }
        });
        draft.warn("WindowRecovered", deployment.name.to_string(), format!(
            "The status of the Release was lost while the window of Deployment {} was open; it is ended on the side that serves. strategy, minReadySeconds and progressDeadlineSeconds are Kubernetes' defaults now: apply your manifest again",
            deployment.name
        ));
        workloads.push(status);
    }
    if workloads.is_empty() {
        return false;
    }
    let now = draft.now();
    let number = first_number(input.observed, input.plan);
    let mut lost = revision(input.intent, input.plan, number, now);
    // Not the version's own digest: what the spec asks for is begun anew afterwards.
    lost.digest = VersionDigest::default();
    draft.progress.status.revision = Some(lost);
    draft.steer(
        Course::Stop,
        Cause::StatusLost,
        StopReason::StatusLost,
        "The status was lost.",
    );
    draft.progress.status.workloads = workloads;
    true
}

fn defaults(deployment: &DeploymentView) -> Remembered {
    let quarter = || Some(Amount(serde_json::json!("25%")));
    Remembered {
        min_ready_seconds: None,
        progress_deadline_seconds: Some(600),
        strategy: Some(Strategy {
            type_: Some("RollingUpdate".to_owned()),
            max_surge: quarter(),
            max_unavailable: quarter(),
        }),
        paused: None,
        resource_version: deployment.resource_version.clone(),
    }
}
