//! Tasks: at most once, never two at a time, and success only where it was one.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use slipway_kubernetes::{
    fields,
    kind::Kind,
    store::{Change, Event},
};

use super::{History, Violation};
use crate::past::{Past, ours};

/// Steps whose tasks never run at the same time.
const MIGRATIONS: [&str; 2] = ["prepare", "expand"];

const LABELS: [&str; 5] = [
    "slipway.dev/release-uid",
    "slipway.dev/revision",
    "slipway.dev/step",
    "slipway.dev/task",
    "slipway.dev/attempt",
];

/// Looks at one change.
pub(super) fn see(change: &Change, past: &Past, found: &mut Vec<Violation>) {
    match (change.key.kind, change.event) {
        (Kind::Job, _) if ours(change) && starts(change) => recorded_first(change, past, found),
        (Kind::Release, Event::Modified) if ours(change) => recorded(change, past, found),
        _ => {}
    }
}

/// Whether a Job may run from this change on: it is made so, or is suspended no more.
fn starts(change: &Change) -> bool {
    let runs = |job: &Value| !fields::flag(job, "/spec/suspend");
    let before = change.before.as_deref();
    change.event != Event::Deleted && runs(&change.object) && !before.is_some_and(runs)
}

/// A Job runs only when its UID was recorded for an intent that was committed before.
fn recorded_first(change: &Change, past: &Past, found: &mut Vec<Violation>) {
    let release = fields::label(&change.object, "slipway.dev/release");
    let release = past.get(Kind::Release, &change.key.namespace, release);
    let tasks = release
        .map(|release| fields::list(release, "/status/tasks"))
        .unwrap_or_default();
    let intent = tasks
        .iter()
        .find(|task| fields::text(task, "/job") == change.key.name);
    let uid = fields::uid(&change.object);
    let open =
        intent.is_some_and(|task| !fields::has(task, "/outcome") && fields::text(task, "/jobUid") == uid);
    if !open {
        found.push(Violation {
            invariant: "at most once",
            at: change.at,
            what: format!("{} is started and not recorded before", change.key),
        });
    }
}

/// What is recorded of a task is what happened, and stays.
fn recorded(change: &Change, past: &Past, found: &mut Vec<Violation>) {
    let before = change.before.as_deref().unwrap_or(&Value::Null);
    let by_job = |object: &'_ Value| -> BTreeMap<String, Value> {
        let tasks = fields::list(object, "/status/tasks").iter();
        tasks
            .map(|task| (fields::text(task, "/job").to_owned(), task["outcome"].clone()))
            .collect()
    };
    let known = by_job(before);
    for (job, outcome) in by_job(&change.object) {
        let earlier = known.get(&job).cloned().unwrap_or_default();
        if earlier == outcome {
            continue;
        }
        if !earlier.is_null() {
            found.push(Violation {
                invariant: "monotone",
                at: change.at,
                what: format!("the outcome of {job} changes from {earlier} to {outcome}"),
            });
        }
        if outcome == "Succeeded" && !past.ended_well(&change.key.namespace, &job) {
            found.push(Violation {
                invariant: "unknown is not success",
                at: change.at,
                what: format!("{job} is recorded as succeeded, and its pod has not"),
            });
        }
    }
}

/// Per attempt at most one Job ever runs, and is started once.
pub(super) fn at_most_once(history: History<'_>, found: &mut Vec<Violation>) {
    let mut seen: BTreeSet<Vec<String>> = BTreeSet::new();
    let started = history
        .changes
        .iter()
        .filter(|change| change.key.kind == Kind::Job && ours(change) && starts(change));
    for change in started {
        let attempt = LABELS
            .iter()
            .map(|label| fields::label(&change.object, label).to_owned())
            .collect();
        if !seen.insert(attempt) {
            found.push(Violation {
                invariant: "at most once",
                at: change.at,
                what: format!("{} is the second start of its attempt", change.key),
            });
        }
    }
}

/// No two migrations of a Release run at a time.
pub(super) fn no_overlap(history: History<'_>, found: &mut Vec<Violation>) {
    let migrations: Vec<_> = history
        .processes
        .iter()
        .filter(|process| {
            let step = process.labels.get("slipway.dev/step");
            step.is_some_and(|step| MIGRATIONS.contains(&step.as_str()))
        })
        .collect();
    for (index, one) in migrations.iter().enumerate() {
        for two in migrations.iter().skip(index + 1) {
            let same = one.labels.get(LABELS[0]) == two.labels.get(LABELS[0]);
            let overlaps = one.ended.is_none_or(|(end, _)| end > two.started)
                && two.ended.is_none_or(|(end, _)| end > one.started);
            if same && overlaps {
                found.push(Violation {
                    invariant: "no overlap",
                    at: two.started,
                    what: format!("{} runs beside {}", two.pod, one.pod),
                });
            }
        }
    }
}
