//! Preflight: everything that can be known to be wrong before anything is changed.
//!
//! An ordered chain of named checks; the first that finds something wins. What only has to come about is
//! waited for, what has to be mended is `Stalled` with what to change.

mod checks;

use std::collections::BTreeSet;

use slipway_crds::Uid;
use slipway_crds::v1alpha1::Move;
use slipway_crds::v1alpha1::status::{FrozenSpec, StopReason};

use crate::draft::{Draft, StepInput, Verdict};
use crate::intent::{Plan, WorkloadPlan};
use crate::observed::{DeploymentView, Observed};
use crate::question::Question;
use crate::search::{self, Counts, baseline, facts};
use crate::window::patches;
use crate::workloads::{container, deployments, workload_status};

/// What a check finds.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Finding {
    /// Wrong: what to change.
    Wrong {
        /// A stable word.
        reason: StopReason,
        /// What is wrong and what to change.
        message: String,
    },
    /// Only to be waited for.
    Waits(String),
}

impl Finding {
    fn wrong(reason: StopReason, message: impl Into<String>) -> Self {
        Self::Wrong {
            reason,
            message: message.into(),
        }
    }

    /// What the step says of it.
    pub fn verdict(self) -> Verdict {
        match self {
            Self::Wrong { reason, message } => Verdict::Stalled { reason, message },
            Self::Waits(message) => Verdict::working("waiting", message),
        }
    }
}

/// Volume claims and autoscalers.
pub fn asks_of_objects(input: &StepInput<'_>) -> Vec<Question> {
    let claims: BTreeSet<String> = deployments(input.observed, input.plan)
        .flat_map(|deployment| deployment.template.volume_claims())
        .collect();
    let claims = (!claims.is_empty()).then(|| Question::VolumeClaims(claims.into_iter().collect()));
    claims.into_iter().chain([Question::Autoscalers]).collect()
}

/// Volume claims, autoscalers, and what the stable aliases are.
pub fn asks(input: &StepInput<'_>) -> Vec<Question> {
    let mut asked = asks_of_objects(input);
    asked.extend(search::asks(input, Counts::AsTheyAre));
    asked
}

/// Checks, claims, and remembers what the revision changes.
pub fn step(input: &StepInput<'_>, draft: &mut Draft) -> Verdict {
    if let Err(finding) = inspect(input, input.plan) {
        return finding.verdict();
    }
    if let Some(reindex) = &input.plan.reindex {
        let facts = match facts(input) {
            Ok(facts) => facts,
            Err(verdict) => return verdict,
        };
        if let Err((reason, message)) = baseline(reindex, facts) {
            return Verdict::stalled(reason, message);
        }
    }
    if !claim(input.observed, &input.intent.meta.uid, input.plan, draft) {
        return Verdict::working(
            "claiming",
            "Waiting for the Deployments and Services to carry the claim label.",
        );
    }
    let first = input.committed.first_installation();
    let mut deployments = deployments(input.observed, input.plan);
    if let Some(deployment) = deployments.find(|deployment| !deployment.at_rest() && !first) {
        return Verdict::rolls(deployment);
    }
    remember(input, draft);
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
pub fn claim(observed: &Observed, uid: &Uid, plan: &Plan, draft: &mut Draft) -> bool {
    let mut all = true;
    for workload in &plan.workloads {
        if let Some(deployment) = observed.deployments.get(&workload.deployment)
            && deployment.claim.as_ref() != Some(uid)
        {
            patches::claim_deployment(deployment, Some(uid), draft);
            all = false;
        }
        for service in workload
            .services
            .iter()
            .filter_map(|name| observed.services.get(name))
        {
            if service.claim.as_ref() != Some(uid) {
                patches::claim_service(service, Some(uid), draft);
                all = false;
            }
        }
    }
    all
}

/// From here on the revision works with what Preflight saw.
fn remember(input: &StepInput<'_>, draft: &mut Draft) {
    let mut workloads = Vec::new();
    for plan in &input.plan.workloads {
        if let Some(deployment) = input.observed.deployments.get(&plan.deployment) {
            let mut workload = workload_status(plan, deployment, &input.plan.image, input.observed);
            if deployment.replicas == 0 && workload.move_ == Move::WithTraffic {
                // Without pods there is no traffic to move: it gets the new version with the others.
                workload.move_ = Move::After;
            }
            if input.plan.all_tasks().any(|task| task.from == plan.name) {
                tell_left_out(plan, deployment, draft);
            }
            workloads.push(workload);
        }
    }
    draft.progress.status.workloads = workloads;
    if let Some(revision) = &mut draft.progress.status.revision {
        revision.inputs = FrozenSpec(Box::new(input.plan.spec.clone()));
    }
}

/// A task has one container of its workload. One that needs another of them, a database proxy say, would fail.
fn tell_left_out(workload: &WorkloadPlan, deployment: &DeploymentView, draft: &mut Draft) {
    let own = container(workload, &deployment.template);
    let containers = deployment.template.containers().into_iter();
    let others: Vec<String> = containers
        .filter(|other| !other.init && Some(&other.name) != own.as_ref())
        .map(|other| other.name)
        .collect();
    if !others.is_empty() {
        draft.tell(
            "SidecarLeftOut",
            workload.name.to_string(),
            format!(
                "Tasks run without container {} of workload {}. If they need it, make it a native sidecar: an init container with restartPolicy Always.",
                others.join(" and "),
                workload.name
            ),
        );
    }
}

#[cfg(test)]
mod tests;
