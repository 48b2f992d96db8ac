//! From a decision to what people read: phase, progress, the sentence of what is waited for, conditions by
//! the rules of kstatus.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use slipway_crds::v1alpha1::Phase;
use slipway_crds::v1alpha1::status::{Course, Outcome};

use crate::decide::View;
use crate::draft::{Draft, Verdict};
use crate::intent::Intent;
use crate::observed::Observed;
use crate::workloads::container;

/// Cuts a text to a number of characters.
pub fn cut(text: &str, longest: usize) -> String {
    if text.chars().count() <= longest {
        return text.to_owned();
    }
    let head: String = text.chars().take(longest.saturating_sub(1)).collect();
    format!("{head}…")
}

/// Writes the rendered part of the status.
pub fn render(intent: &Intent, observed: &Observed, view: &View, draft: &mut Draft) {
    let (progress, waiting) = words(&view.verdict, draft);
    let wanted = ready(view, intent, draft);
    let drifted = drift(observed, view, draft);
    // As it is stored: conditions tell whole seconds.
    let now = Timestamp::from_second(draft.now().as_second()).unwrap_or(Timestamp::UNIX_EPOCH);
    let status = &mut draft.progress.status;
    status.observed_generation = Some(intent.meta.generation);
    status.phase = Some(view.phase);
    status.progress = progress.map(|text| cut(&text, 128));
    status.waiting_for = waiting.map(|text| cut(&text, 2048));
    let serving = status.serving.clone();
    let mut conditions = wanted;
    conditions.push(match serving {
        Some(name) => truth("Serving", true, "Serving", format!("{name} has the traffic")),
        None => truth(
            "Serving",
            false,
            "NothingServes",
            "no revision was seen to serve yet",
        ),
    });
    conditions.extend(drifted);
    let rolled_back = status
        .revision
        .as_ref()
        .filter(|revision| revision.course == Course::Rollback);
    conditions.extend(rolled_back.map(|revision| {
        let reason = revision.reason.as_ref();
        truth(
            "RolledBack",
            true,
            reason.map_or("RolledBack", |reason| reason.reason.word()),
            reason.map_or_else(String::new, |reason| reason.message.clone()),
        )
    }));
    for condition in &mut conditions {
        condition.observed_generation = Some(intent.meta.generation);
        let before = status
            .conditions
            .iter()
            .find(|known| known.type_ == condition.type_);
        condition.last_transition_time = match before {
            Some(before) if before.status == condition.status => before.last_transition_time.clone(),
            Some(_) | None => Time(now),
        };
    }
    status.conditions = conditions;
}

fn words(verdict: &Verdict, draft: &Draft) -> (Option<String>, Option<String>) {
    match verdict {
        Verdict::Working { progress, message } => (Some(progress.clone()), Some(message.clone())),
        Verdict::Stalled { reason, message } | Verdict::Failed { reason, message } => {
            (Some(reason.word().to_owned()), Some(message.clone()))
        }
        Verdict::Done | Verdict::Skipped => {
            let revision = draft.progress.revision();
            let failed = revision.filter(|revision| {
                revision
                    .ended
                    .is_some_and(|ended| !matches!(ended.outcome, Outcome::Adopted | Outcome::Complete))
            });
            let reason = failed.and_then(|revision| revision.reason.as_ref());
            (
                reason.map(|reason| reason.reason.word().to_owned()),
                reason.map(|reason| reason.message.clone()),
            )
        }
    }
}

fn truth(kind: &str, value: bool, reason: &str, message: impl Into<String>) -> Condition {
    Condition {
        type_: kind.to_owned(),
        status: if value { "True" } else { "False" }.to_owned(),
        reason: reason.to_owned(),
        message: cut(&message.into(), 2048),
        observed_generation: None,
        last_transition_time: Time(Timestamp::UNIX_EPOCH),
    }
}

/// Ready always; Reconciling and Stalled only while true, and never both.
fn ready(view: &View, intent: &Intent, draft: &Draft) -> Vec<Condition> {
    let revision = draft.progress.revision();
    let name = draft.progress.revision_name();
    let up_to_date = revision
        .zip(intent.wanted.as_ref().ok())
        .is_some_and(|(revision, wanted)| revision.digest == wanted.digest);
    match &view.verdict {
        Verdict::Stalled { reason, message } => vec![
            truth("Ready", false, reason.word(), message.clone()),
            truth("Stalled", true, reason.word(), message.clone()),
        ],
        Verdict::Working { message, .. } => reconciling(view.phase, message),
        Verdict::Failed { reason, message } => reconciling(view.phase, &format!("{reason}: {message}")),
        Verdict::Done | Verdict::Skipped => match revision.and_then(|revision| revision.ended) {
            Some(ended) if matches!(ended.outcome, Outcome::Adopted | Outcome::Complete) && up_to_date => {
                vec![truth("Ready", true, "Complete", format!("{name} serves"))]
            }
            Some(ended) if !matches!(ended.outcome, Outcome::Adopted | Outcome::Complete) => {
                let reason = revision.and_then(|revision| revision.reason.as_ref());
                let word = reason.map_or("Failed", |reason| reason.reason.word());
                let message = reason.map_or_else(String::new, |reason| reason.message.clone());
                vec![
                    truth("Ready", false, word, message.clone()),
                    truth("Stalled", true, word, message),
                ]
            }
            Some(_) | None => reconciling(view.phase, "Waiting for the next step to begin."),
        },
    }
}

fn reconciling(phase: Phase, message: &str) -> Vec<Condition> {
    vec![
        truth("Ready", false, phase.word(), message.to_owned()),
        truth("Reconciling", true, phase.word(), message.to_owned()),
    ]
}

/// At rest, an image that somebody changed behind our back is reported, not fought.
fn drift(observed: &Observed, view: &View, draft: &Draft) -> Option<Condition> {
    let revision = draft
        .progress
        .revision()
        .filter(|_| view.phase == Phase::Complete)?;
    let plans = crate::intent::Plan::parse(&revision.inputs.0).ok()?.workloads;
    let drifted = plans.into_iter().find_map(|plan| {
        let template = &observed.deployments.get(&plan.deployment)?.template;
        let image = template.image(&container(&plan, template)?)?;
        (image != revision.image).then(|| {
            format!(
                "Deployment {} runs {image}, not {}: somebody changed it outside of the Release",
                plan.deployment, revision.image
            )
        })
    })?;
    Some(truth("Drifted", true, "ImageChanged", drifted))
}

#[cfg(test)]
mod tests;
