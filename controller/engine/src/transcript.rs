//! A decision as lines of text: what stories are kept as, and what a replay prints.

use std::fmt::Write as _;

use serde_json::Value;
use slipway_crds::IndexName;

use crate::decision::{Call, Decision, Effect, Kind, Patch};
use crate::window::patches::HOLD_MIN_READY_SECONDS;

/// What a decision tells, then what it does; where it does neither, what it waits for.
pub fn lines(decision: &Decision) -> Vec<String> {
    let mut lines: Vec<String> = decision
        .because
        .iter()
        .map(|because| {
            let sign = if because.warning { '!' } else { '·' };
            format!("{sign} {}: {}", because.reason, because.note)
        })
        .collect();
    let effects: Vec<String> = decision.effects.iter().map(effect).collect();
    if !effects.is_empty() {
        lines.push(effects.join(", "));
    } else if lines.is_empty() {
        let status = &decision.progress.status;
        let stalled = status.conditions.iter().find(|found| found.type_ == "Stalled");
        let word = stalled.map_or_else(
            || status.waiting_for.clone().unwrap_or_else(|| "at rest".to_owned()),
            |found| format!("Stalled {}: {}", found.reason, found.message),
        );
        lines.push(format!("({word})"));
    }
    lines
}

fn effect(effect: &Effect) -> String {
    match &effect.call {
        Call::Patch(patch) => describe_patch(effect, patch),
        Call::MoveAlias { alias, from, to, .. } => {
            let from = from.as_ref().map_or("nothing", IndexName::as_str);
            format!("{} {alias} {from} → {to}", effect.word())
        }
        call @ (Call::Create { .. } | Call::Delete { .. } | Call::DeleteIndex { .. }) => {
            format!("{} {}", effect.word(), call.name())
        }
    }
}

fn describe_patch(effect: &Effect, patch: &Patch) -> String {
    let mut line = format!("{} {}", effect.word(), patch.name);
    let text = |pointer: &str| patch.body.pointer(pointer).and_then(Value::as_str);
    match patch.kind {
        Kind::Service => {
            if let Some(hash) = text("/spec/selector/pod-template-hash") {
                let _infallible = write!(line, " → {hash}");
            }
        }
        Kind::Deployment => {
            if let Some(image) = text("/spec/template/spec/containers/0/image") {
                let _infallible = write!(line, " {image}");
            }
            if patch.body.pointer("/spec/paused") == Some(&Value::Bool(true)) {
                line.push_str(" paused");
            }
            if patch.body.pointer("/spec/minReadySeconds") == Some(&HOLD_MIN_READY_SECONDS.into()) {
                line.push_str(" held");
            }
        }
        Kind::ReplicaSet | Kind::Release | Kind::Job | Kind::Pod => {}
    }
    line
}
