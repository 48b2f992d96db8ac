//! How revisions begin, and what goes before: adoption of what runs, a lost window, a newer spec in mid-flight.

mod adoption;
mod recovery;
mod supersede;

use slipway_crds::RevisionName;
use slipway_crds::v1alpha1::Move;
use slipway_crds::v1alpha1::status::{Course, FrozenSpec, Revision, StepName};

pub use self::{adoption::adopt, recovery::recover, supersede::supersede};
use crate::draft::{Draft, StepInput, Verdict};
use crate::ending::past;
use crate::intent::{Intent, Meta, Plan};
use crate::levers::give_up_candidate;
use crate::observed::Observed;
use crate::steps::route;
use crate::workloads::{container, deployments};

/// No pod is ready, so there is nothing whose traffic could be moved. One that is ready has traffic already, also
/// while it does not count as available yet.
fn nothing_runs(observed: &Observed, plan: &Plan) -> bool {
    deployments(observed, plan).all(|deployment| {
        let pods = deployment.ready_replicas.max(deployment.available_replicas);
        pods == 0 && !deployment.window
    })
}

fn running_image(observed: &Observed, plan: &Plan) -> Option<String> {
    let workload = plan.workloads.first()?;
    let template = &observed.deployments.get(&workload.deployment)?.template;
    template.image(&container(workload, template)?)
}

fn revision_name(meta: &Meta, number: i64) -> RevisionName {
    format!("{}-{number}", meta.name).into()
}

fn revision(intent: &Intent, plan: &Plan, number: i64, now: jiff::Timestamp) -> Revision {
    Revision {
        number,
        name: revision_name(&intent.meta, number),
        digest: plan.digest.clone(),
        image: plan.image.clone(),
        previous_image: None,
        previous: None,
        started_at: now,
        inputs: FrozenSpec(Box::new(plan.spec.clone())),
        course: Course::Forward,
        cause: None,
        reason: None,
        ended: None,
        first_installation: false,
    }
}

/// Begins a revision: everything of the last one makes room.
pub fn begin(intent: &Intent, plan: &Plan, observed: &Observed, number: i64, draft: &mut Draft) {
    let previous = draft.progress.status.serving.clone();
    let previous_image = running_image(observed, plan);
    let mut next = revision(intent, plan, number, draft.now());
    let zero = || deployments(observed, plan).all(|deployment| deployment.replicas == 0);
    next.first_installation = nothing_runs(observed, plan) && (previous.is_none() || zero());
    next.previous.clone_from(&previous);
    next.previous_image.clone_from(&previous_image);
    let was = match previous_image {
        _ if next.first_installation => ", the first installation".to_owned(),
        Some(image) => format!(", was {image}"),
        None => String::new(),
    };
    let name = next.name.clone();
    let first_installation = next.first_installation;
    let steps = outline(plan, first_installation);
    if draft.progress.revision().is_some() {
        give_up_candidate(draft);
    }
    let status = &mut draft.progress.status;
    status.revision = Some(next);
    status.pending = None;
    status.rejected = None;
    status.steps.clear();
    status.tasks.clear();
    status.workloads.clear();
    status.cutover = None;
    status.retire = None;
    status.rollback = None;
    for step in route(first_installation) {
        draft.progress.step_mut(*step);
    }
    let planned = format!("revision {name} ({}{was}): {steps}", plan.image);
    draft.tell("Planned", name.to_string(), planned);
}

/// What a revision will do, in the order of its route.
fn outline(plan: &Plan, first_installation: bool) -> String {
    let traffic = plan
        .workloads
        .iter()
        .any(|workload| workload.move_ == Move::WithTraffic);
    let word = |step: &StepName| match step {
        StepName::Preflight => None,
        StepName::Prepare => (!plan.prepare.is_empty()).then_some("prepare"),
        StepName::Expand => plan.expand.as_ref().map(|_| "expand"),
        StepName::Reindex => plan.reindex.as_ref().map(|_| "reindex"),
        StepName::Preboot if first_installation => Some("rollout"),
        StepName::Preboot => traffic.then_some("preboot"),
        StepName::Cutover => traffic.then_some("cutover"),
        StepName::Watch => Some("watch"),
        StepName::Retire => (!first_installation).then_some("retire"),
    };
    let words: Vec<&str> = route(first_installation).iter().filter_map(word).collect();
    words.join(", ")
}

/// Puts the revision that has ended into the history.
fn file_away(input: &StepInput<'_>, draft: &mut Draft) {
    if let Some(past) = past(&draft.progress) {
        draft.progress.status.history.insert(0, past);
        draft.progress.status.history.truncate(input.intent.live.history);
    }
}

/// At rest: begins the version that the spec describes, if that is another one.
pub fn next(input: &StepInput<'_>, draft: &mut Draft) -> Option<Verdict> {
    let revision = input.committed.revision()?;
    if revision.digest == input.plan.digest {
        return None;
    }
    if input.intent.live.suspend {
        return Some(Verdict::suspended());
    }
    // A task's pod tells its outcome until its finalizer is gone; then its record may make room.
    if input.observed.task_pods.iter().any(|pod| pod.finalizer) {
        return Some(Verdict::working(
            "begins",
            "Waiting for the task pods of the last revision to be let go.",
        ));
    }
    let number = revision.number + 1;
    file_away(input, draft);
    begin(input.intent, input.plan, input.observed, number, draft);
    Some(Verdict::working("begins", "Waiting for the revision to begin."))
}

#[cfg(test)]
mod tests;
