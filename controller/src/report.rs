//! What is told of a committed decision: events, log, metrics, the debug page.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::ObjectReference;
use kube::{Resource as _, runtime::events::EventType};
use serde_json::json;
use slipway_crds::{
    RevisionName,
    v1alpha1::{Phase, Release},
};
use slipway_engine::{Because, Decision, Effect, Intent, Observed, Progress, build::step_word};

use crate::{cache::Key, commit::Change, context::Context, error::chain, execute};

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
    revision: &RevisionName,
    done: &Result<execute::Outcome, execute::Error>,
) {
    let (purpose, kind, name) = (effect.word(), effect.call.kind(), effect.call.name());
    let (outcome, cause) = match done {
        Ok(outcome) => (outcome.word(), outcome.cause().map(str::to_owned)),
        Err(error) => ("failed", Some(chain(error))),
    };
    context.metrics.effect(purpose, outcome);
    tracing::info!(
        kind,
        name,
        purpose,
        revision = revision.as_str(),
        outcome,
        cause,
        "effect"
    );
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
    let phase = decision.progress.status.phase.map(Phase::word);
    context.metrics.phase(&key.to_string(), phase);
}

/// Keeps a decision with what it rested on, before it is carried out, or dropped because it is `broken`: enough to make
/// it again from a file (`slipway replay`).
pub fn remember(
    context: &Context,
    key: &Key,
    at: Timestamp,
    (intent, committed, observed): (&Intent, &Progress, &Observed),
    decision: &Decision,
    change: Change,
    broken: &[String],
) {
    if change != Change::Facts && decision.effects.is_empty() && broken.is_empty() {
        return;
    }
    let record = json!({
        "at": at,
        "intent": intent,
        "committed": committed,
        "observed": observed,
        "decision": decision,
        "broken": broken,
    });
    let under_way = decision.progress.running().is_some();
    context.decisions.record(key, under_way, &record);
}

#[cfg(test)]
mod tests;
