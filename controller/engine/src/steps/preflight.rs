//! Preflight: everything that can be known to be wrong before anything is changed.
//!
//! An ordered chain of named checks; the first that finds something wins. What only has to settle is
//! waited for, what has to be mended is `Stalled` with what to change.

mod checks;

use slipway_crds::v1alpha1::Move;
use slipway_crds::v1alpha1::status::{ImageChange, PinnedService, VariableChange, WorkloadStatus};

use crate::intent::{Plan, WorkloadPlan};
use crate::observed::{DeploymentView, Observed};
use crate::search;
use crate::template::Template;
use crate::turn::{StepInput, Turn, Verdict};
use crate::window::{patches, side_of};

/// What a check finds.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Finding {
    /// Wrong: what to change.
    Wrong {
        /// A stable word.
        reason: &'static str,
        /// What is wrong and what to change.
        message: String,
    },
    /// Not settled yet.
    Unsettled(String),
}

impl Finding {
    fn wrong(reason: &'static str, message: impl Into<String>) -> Self {
        Self::Wrong {
            reason,
            message: message.into(),
        }
    }

    fn verdict(self) -> Verdict {
        match self {
            Self::Wrong { reason, message } => Verdict::Stalled { reason, message },
            Self::Unsettled(message) => Verdict::working("waiting", message),
        }
    }
}

/// Checks, claims, and remembers what the revision changes.
pub fn step(input: &StepInput<'_>, turn: &mut Turn) -> Verdict {
    if let Err(finding) = inspect(input, input.plan) {
        return finding.verdict();
    }
    if let Some(reindex) = &input.plan.reindex {
        let facts = match super::reindex::facts(input) {
            Ok(facts) => facts,
            Err(verdict) => return verdict,
        };
        if let Err((reason, message)) = search::baseline(reindex, facts) {
            return Verdict::stalled(reason, message);
        }
    }
    if !claim(input.observed, &input.intent.meta.uid, input.plan, turn) {
        return Verdict::working(
            "claiming",
            "the Deployments and Services to carry the claim label",
        );
    }
    let first = input
        .committed
        .revision()
        .is_some_and(|revision| revision.first_installation);
    for workload in &input.plan.workloads {
        let Some(deployment) = input.observed.deployments.get(&workload.deployment) else {
            continue;
        };
        if !deployment.settled() && !first {
            return Verdict::working(
                "waiting",
                format!(
                    "Deployment {} to finish the rollout that is under way: a release begins with one ReplicaSet. See kubectl rollout status deployment/{}",
                    deployment.name, deployment.name
                ),
            );
        }
    }
    remember(input, turn);
    Verdict::Done
}

/// All checks, in order.
///
/// # Errors
/// The first finding.
pub fn inspect(input: &StepInput<'_>, plan: &Plan) -> Result<(), Finding> {
    for (at, workload) in plan.workloads.iter().enumerate() {
        checks::Subject {
            input,
            workload,
            field: format!("spec.workloads[{at}]"),
        }
        .all()?;
    }
    checks::task_labels(input.observed, plan)
}

/// Puts the claim label on what belongs to the Release. Says whether it is on all of it.
pub fn claim(observed: &Observed, uid: &str, plan: &Plan, turn: &mut Turn) -> bool {
    let mut all = true;
    for workload in &plan.workloads {
        if let Some(deployment) = observed.deployments.get(&workload.deployment)
            && deployment.claim.as_deref() != Some(uid)
        {
            patches::claim_deployment(deployment, Some(uid), turn);
            all = false;
        }
        for service in workload
            .services
            .iter()
            .filter_map(|name| observed.services.get(name))
        {
            if service.claim.as_deref() != Some(uid) {
                patches::claim_service(service, Some(uid), turn);
                all = false;
            }
        }
    }
    all
}

/// The container of a workload that gets the image.
pub fn container(workload: &WorkloadPlan, template: &Template) -> Option<String> {
    let containers: Vec<String> = template
        .containers()
        .into_iter()
        .filter(|found| !found.init)
        .map(|found| found.name)
        .collect();
    match (&workload.container, containers.as_slice()) {
        (Some(name), all) => all.iter().find(|found| *found == name).cloned(),
        (None, [only]) => Some(only.clone()),
        (None, _) => None,
    }
}

/// The images that a version changes in a template: every one that equals that of the workload's container.
pub fn image_changes(workload: &WorkloadPlan, template: &Template, image: &str) -> Vec<ImageChange> {
    let current = container(workload, template).and_then(|name| template.image(&name));
    template
        .containers()
        .into_iter()
        .filter(|found| Some(&found.image) == current.as_ref() && found.image != image)
        .map(|found| ImageChange {
            container: found.name,
            init: found.init,
            from: found.image,
            to: image.to_owned(),
        })
        .collect()
}

fn remember(input: &StepInput<'_>, turn: &mut Turn) {
    let mut workloads = Vec::new();
    for plan in &input.plan.workloads {
        if let Some(deployment) = input.observed.deployments.get(&plan.deployment) {
            let mut workload = workload_status(plan, deployment, &input.plan.image, input.observed);
            if deployment.replicas == 0 && workload.move_ == Move::WithTraffic {
                // Without pods there is no traffic to move: it gets the new version with the others.
                workload.move_ = Move::After;
            }
            workloads.push(workload);
        }
    }
    turn.progress.status.workloads = workloads;
}

/// What status remembers of a workload when a revision begins.
pub fn workload_status(
    plan: &WorkloadPlan,
    deployment: &DeploymentView,
    image: &str,
    observed: &Observed,
) -> WorkloadStatus {
    let services = plan
        .services
        .iter()
        .filter_map(|name| observed.services.get(name));
    WorkloadStatus {
        name: plan.name.clone(),
        deployment: deployment.name.clone(),
        deployment_uid: deployment.uid.clone(),
        move_: plan.move_,
        images: image_changes(plan, &deployment.template, image),
        variable: None,
        remembered: None,
        old: deployment.active().next().map(side_of),
        new: None,
        services: services
            .map(|service| PinnedService {
                name: service.name.clone(),
                uid: service.uid.clone(),
            })
            .collect(),
        rolled_at: None,
        locked_at: None,
        ready_since: None,
        bolted_at: None,
        last_pin_change_at: None,
        ready_at_cutover: None,
        degraded_since: None,
        window: false,
    }
}

/// The generation variable that the new pods of a workload carry, where it differs from what they carry.
pub fn variable_change(
    plan: &WorkloadPlan,
    template: &Template,
    name: &str,
    token: &str,
) -> Option<VariableChange> {
    let container = container(plan, template)?;
    let from = template.variable(&container, name);
    (from.as_deref() != Some(token)).then(|| VariableChange {
        container,
        name: name.to_owned(),
        from,
        to: token.to_owned(),
    })
}

/// Whether a revision moves traffic at all: some workload with Services changes its template.
pub fn moves_traffic(workloads: &[WorkloadStatus]) -> bool {
    workloads.iter().any(changes_with_traffic)
}

/// Whether a workload goes through a window.
pub fn changes_with_traffic(workload: &WorkloadStatus) -> bool {
    workload.move_ == Move::WithTraffic && changes(workload)
}

/// Whether a revision changes the template of a workload.
pub fn changes(workload: &WorkloadStatus) -> bool {
    !workload.images.is_empty() || workload.variable.is_some()
}

#[cfg(test)]
mod tests;
