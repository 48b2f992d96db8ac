//! What is told of a committed decision: events, log, metrics, the debug page.

use std::time::Duration;

use k8s_openapi::api::core::v1::ObjectReference;
use kube::{Resource as _, runtime::events::EventType};
use serde_json::json;
use slipway_crds::v1alpha1::{Phase, Release, status::StepName};
use slipway_engine::{Because, Decision};

use crate::{cache::Key, context::Context, error::chain};

/// Tells what happened. Called once the decision is committed, never before.
pub fn report(context: &Context, release: &Release, because: &[Because]) {
    let about: ObjectReference = release.object_ref(&());
    for fact in because {
        let kind = if fact.warning {
            EventType::Warning
        } else {
            EventType::Normal
        };
        context
            .events
            .publish(about.clone(), kind, fact.reason, &fact.action, &fact.note);
        if fact.warning {
            tracing::warn!(reason = fact.reason, about = fact.action, "{}", fact.note);
        } else {
            tracing::info!(reason = fact.reason, about = fact.action, "{}", fact.note);
        }
    }
}

/// Tells what became of an effect, by the purpose and the revision that it is for; `cause` is what whoever did not
/// carry it out said.
pub fn carried_out(
    context: &Context,
    object: (&str, &str),
    purpose: &'static str,
    revision: &str,
    outcome: &'static str,
    cause: Option<&dyn std::error::Error>,
) {
    context.metrics.effect(purpose, outcome);
    let (kind, name) = object;
    let cause = cause.map(chain);
    tracing::info!(kind, name, purpose, revision, outcome, cause, "effect");
}

/// Counts the steps that a commit ended.
pub fn finished_steps(context: &Context, before: &Release, decision: &Decision) {
    let known = before.status.iter().flat_map(|status| &status.steps);
    let known: Vec<_> = known.map(|step| (step.name, step.finished_at)).collect();
    for step in &decision.progress.status.steps {
        if let (Some(begun), Some(ended)) = (step.started_at, step.finished_at)
            && !known.contains(&(step.name, step.finished_at))
        {
            let took = ended.duration_since(begun);
            let took = Duration::try_from(took).unwrap_or_default();
            context.metrics.step(step_word(step.name), took);
        }
    }
}

/// Counts Releases by phase.
pub fn phase(context: &Context, key: &Key, decision: &Decision) {
    let phase = decision.progress.status.phase.map(phase_word);
    context.metrics.phase(&key.to_string(), phase);
}

/// Keeps a decision for the debug page, before it is carried out, or dropped because it is `broken`.
pub fn remember(context: &Context, key: &Key, decision: &Decision, broken: &[String]) {
    let phase = decision.progress.status.phase.map(phase_word);
    let effects: Vec<&str> = decision
        .effects
        .iter()
        .map(slipway_engine::Effect::word)
        .collect();
    let page = json!({
        "phase": phase,
        "waitingFor": decision.progress.status.waiting_for,
        "effects": effects,
        "wake": format!("{:?}", decision.wake),
        "broken": broken,
    });
    let under_way = decision.progress.running().is_some();
    context.decisions.record(key, under_way, &page);
}

/// A step as metrics write it.
fn step_word(step: StepName) -> &'static str {
    match step {
        StepName::Preflight => "preflight",
        StepName::Prepare => "prepare",
        StepName::Expand => "expand",
        StepName::Reindex => "reindex",
        StepName::Preboot => "preboot",
        StepName::Cutover => "cutover",
        StepName::Watch => "watch",
        StepName::Retire => "retire",
    }
}

/// A phase as metrics write it.
pub(crate) fn phase_word(phase: Phase) -> &'static str {
    match phase {
        Phase::Pending => "Pending",
        Phase::Preflight => "Preflight",
        Phase::Prepare => "Prepare",
        Phase::Expand => "Expand",
        Phase::Reindex => "Reindex",
        Phase::Preboot => "Preboot",
        Phase::Cutover => "Cutover",
        Phase::Watch => "Watch",
        Phase::Retire => "Retire",
        Phase::Complete => "Complete",
        Phase::Failed => "Failed",
        Phase::RolledBack => "RolledBack",
        Phase::Aborted => "Aborted",
        Phase::Terminating => "Terminating",
    }
}

#[cfg(test)]
mod tests;
