//! What is told of a committed decision: events, log, metrics, the debug page.

use k8s_openapi::api::core::v1::ObjectReference;
use kube::{Resource as _, runtime::events::EventType};
use serde_json::json;
use slipway_crds::v1alpha1::{Phase, Release};
use slipway_engine::{Because, Decision, Effect};

use crate::{cache::Key, context::Context, error::chain, execute};

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

/// Tells what became of an effect.
pub fn carried_out(
    context: &Context,
    effect: &Effect,
    revision: &str,
    done: &Result<execute::Outcome, execute::Error>,
) {
    let (purpose, kind, name) = (effect.word(), effect.call.kind(), effect.call.name());
    let (outcome, cause) = match done {
        Ok(outcome) => (outcome.word(), outcome.cause().map(str::to_owned)),
        Err(error) => ("failed", Some(chain(error))),
    };
    context.metrics.effect(purpose, outcome);
    tracing::info!(kind, name, purpose, revision, outcome, cause, "effect");
}

/// Keeps the last decision for the debug page, and counts Releases by phase.
pub fn remember(context: &Context, key: &Key, decision: &Decision) {
    let phase = decision.progress.status.phase.map(phase_word);
    context.metrics.phase(&key.to_string(), phase);
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
    });
    context.decisions.record(&key.namespace, &key.name, &page);
}

/// A phase as metrics write it.
fn phase_word(phase: Phase) -> &'static str {
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
        Phase::Stopping => "Stopping",
        Phase::RollingBack => "RollingBack",
        Phase::Complete => "Complete",
        Phase::Failed => "Failed",
        Phase::RolledBack => "RolledBack",
        Phase::Aborted => "Aborted",
        Phase::Terminating => "Terminating",
    }
}
