//! What happened in a run, in short.

use serde_json::Value;
use slipway_judge::{calls::Call, past::CONTROLLER};
use slipway_kubernetes::{
    kind::Kind,
    store::{Change, Event},
    trace,
};

/// Lines of a transcript.
const LINES: usize = 40;

/// The changes that tell the story: by the controller and by people, and what the ReplicaSets, Jobs and the
/// status have to say; without Leases, events and words.
pub(super) fn short(changes: &[Change], calls: &[Call]) -> String {
    let lines: Vec<String> = changes.iter().filter_map(telling).collect();
    let skipped = lines.len().saturating_sub(LINES);
    let troubled = calls.iter().filter(|call| call.fault.is_some());
    let troubled: Vec<String> = troubled.map(ToString::to_string).collect();
    format!(
        "troubled calls:\n{}\nchanges:\n{}",
        troubled.join("\n"),
        lines.into_iter().skip(skipped).collect::<Vec<_>>().join("\n")
    )
}

/// One change on one line, if it tells something.
fn telling(change: &Change) -> Option<String> {
    let ours = change.actor.starts_with(CONTROLLER) || change.actor.as_ref() == "user";
    match change.key.kind {
        Kind::Lease | Kind::Event | Kind::EndpointSlice => return None,
        Kind::Pod | Kind::Deployment if !ours => return None,
        Kind::Release if change.event == Event::Modified => {}
        _ => return Some(trace::line(change)),
    }
    let before = change.before.as_deref().unwrap_or(&Value::Null);
    let told = [
        "metadata",
        "spec",
        "status.phase",
        "status.revision.c",
        "status.tasks",
        "status.cutover",
    ];
    let differences: Vec<String> = trace::difference(before, &change.object)
        .into_iter()
        .filter(|difference| told.iter().any(|path| difference.starts_with(path)))
        .collect();
    let line = trace::line(&Change {
        before: None,
        ..change.clone()
    });
    let head = line.split(": ").next().unwrap_or_default();
    (!differences.is_empty()).then(|| format!("{head}: {}", differences.join(", ")))
}
