//! Workloads without traffic: their Deployments' own rolling updates, forward and back.

use slipway_crds::names;
use slipway_crds::v1alpha1::Move;
use slipway_crds::v1alpha1::status::{StepName, StopReason, WorkloadStatus};

use crate::draft::{Draft, StepInput, Verdict};
use crate::observed::DeploymentView;
use crate::sentence::{again, ask, at_work_for, human};
use crate::window::patches::roll;
use crate::workloads::changes;

/// The workloads without traffic that change.
fn others(workloads: &[WorkloadStatus]) -> impl Iterator<Item = &WorkloadStatus> {
    workloads
        .iter()
        .filter(|workload| workload.move_ == Move::After && changes(workload))
}

/// They get the new version by their own rolling update.
pub fn roll_forward(input: &StepInput<'_>, draft: &mut Draft) -> Verdict {
    for workload in others(&input.committed.status.workloads) {
        let Some(deployment) = input.observed.deployments.get(&workload.deployment) else {
            return Verdict::deployment_gone(&workload.deployment);
        };
        if !carries(deployment, workload) {
            return begin(input, draft, workload, deployment);
        }
        if workload.rolled_at.is_none() {
            let now = draft.now();
            draft.workload(&workload.name, |workload| workload.rolled_at = Some(now));
        }
        if let Some(verdict) = rolling(input, deployment) {
            return verdict;
        }
    }
    Verdict::Done
}

fn carries(deployment: &DeploymentView, workload: &WorkloadStatus) -> bool {
    deployment
        .template
        .carries(&workload.images, workload.variable.as_ref())
}

fn begin(
    input: &StepInput<'_>,
    draft: &mut Draft,
    workload: &WorkloadStatus,
    deployment: &DeploymentView,
) -> Verdict {
    let name = &deployment.name;
    if workload.rolled_at.is_some() {
        return Verdict::stalled(
            StopReason::ForeignTemplate,
            format!(
                "The pod template of Deployment {name} was changed by somebody else after this revision had set it. Apply the new image again, or go back: {}",
                ask(input, names::ROLLBACK)
            ),
        );
    }
    let template = deployment
        .template
        .with(&workload.images, workload.variable.as_ref());
    roll(deployment, &template, draft);
    draft.tell(
        "Rolling",
        name.to_string(),
        format!("Deployment {name} rolls to {}", input.plan.image),
    );
    Verdict::working(
        "rolling",
        format!("Waiting for Deployment {name} to get the new template."),
    )
}

fn rolling(input: &StepInput<'_>, deployment: &DeploymentView) -> Option<Verdict> {
    if rolled_out(deployment) {
        return None;
    }
    let name = &deployment.name;
    let current = deployment.observed_generation >= deployment.generation;
    if let Some(message) = deployment.not_progressing.as_ref().filter(|_| current) {
        let message = format!("The rolling update of Deployment {name} does not progress: {message}");
        return Some(if input.intent.live.automatic_rollback {
            Verdict::failed(StopReason::RolloutFailed, message)
        } else {
            Verdict::stalled(StopReason::RolloutFailed, message)
        });
    }
    Some(Verdict::working(
        format!(
            "{name} {} of {} updated",
            deployment.updated_replicas, deployment.replicas
        ),
        format!(
            "Waiting for the rolling update of Deployment {name}: {} of {} pods updated, {} available, after {}.",
            deployment.updated_replicas,
            deployment.replicas,
            deployment.available_replicas,
            at_work_for(input, StepName::Watch)
        ),
    ))
}

/// They get back what they ran; they were changed in Watch and not sooner.
pub fn roll_back(input: &StepInput<'_>, draft: &mut Draft, waits: &mut Vec<String>) {
    if !input.committed.started(StepName::Watch) {
        return;
    }
    for workload in others(&input.committed.status.workloads) {
        let deployment = input.observed.deployments.get(&workload.deployment);
        if let Some(deployment) = deployment.filter(|found| carries(found, workload)) {
            let template = deployment
                .template
                .without(&workload.images, workload.variable.as_ref());
            roll(deployment, &template, draft);
            waits.push(format!("Deployment {} to roll back", deployment.name));
        }
    }
}

/// A first installation: nothing serves, so the Deployments simply get the new version.
pub fn install(input: &StepInput<'_>, draft: &mut Draft) -> Verdict {
    let mut available = true;
    for workload in &input.committed.status.workloads {
        let Some(deployment) = input.observed.deployments.get(&workload.deployment) else {
            return Verdict::deployment_gone(&workload.deployment);
        };
        if !carries(deployment, workload) {
            let template = deployment
                .template
                .with(&workload.images, workload.variable.as_ref());
            roll(deployment, &template, draft);
            available = false;
        }
        available &= rolled_out(deployment);
    }
    if available {
        return Verdict::Done;
    }
    let started = input.committed.step(StepName::Preboot);
    let started = started.and_then(|step| step.started_at).unwrap_or(input.now);
    let limit = input.intent.live.preboot_timeout;
    if draft.elapsed(started, limit) {
        return Verdict::failed(
            StopReason::PrebootTimeout,
            format!(
                "The pods of the first version were not available within {}.{}",
                human(limit),
                again(input)
            ),
        );
    }
    Verdict::working(
        "pods start",
        format!(
            "Waiting for the pods of the first version to be available: {} so far.",
            at_work_for(input, StepName::Preboot)
        ),
    )
}

/// Whether a Deployment's own rolling update is over and all its pods are available.
fn rolled_out(deployment: &DeploymentView) -> bool {
    deployment.observed_generation >= deployment.generation
        && deployment.updated_replicas == deployment.replicas
        && deployment.status_replicas == deployment.replicas
        && deployment.available_replicas == deployment.replicas
}
