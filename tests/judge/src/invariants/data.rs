//! The search engine: where the stable alias points, and which indices go.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde_json::Value;
use slipway_kubernetes::{clock, cluster::Process, fields, kind::Kind, search::NameChange, store::Change};

use super::Violation;
use crate::past::Past;

/// The changes of names that were not looked at yet, and what there was before them.
pub(super) struct Data<'a> {
    name_changes: std::iter::Peekable<std::slice::Iter<'a, (Timestamp, NameChange)>>,
    processes: &'a [Process],
}

impl<'a> Data<'a> {
    pub(super) fn new(name_changes: &'a [(Timestamp, NameChange)], processes: &'a [Process]) -> Self {
        Self {
            name_changes: name_changes.iter().peekable(),
            processes,
        }
    }

    /// Looks at what happened in the engine before a change.
    pub(super) fn until(&mut self, change: &Change, past: &Past, found: &mut Vec<Violation>) {
        while let Some((at, renamed)) = self.name_changes.next_if(|(at, _)| *at < change.at) {
            judge(*at, renamed, past, self.processes, found);
        }
    }

    /// Looks at what is left.
    pub(super) fn end(&mut self, past: &Past, found: &mut Vec<Violation>) {
        for (at, renamed) in self.name_changes.by_ref() {
            judge(*at, renamed, past, self.processes, found);
        }
    }
}

fn judge(
    at: Timestamp,
    renamed: &NameChange,
    past: &Past,
    processes: &[Process],
    found: &mut Vec<Violation>,
) {
    let mut say = |invariant, what| found.push(Violation { invariant, at, what });
    for release in past.all(Kind::Release) {
        let stable = stable_aliases(release);
        match renamed {
            NameChange::Alias { alias, before, after } if stable.contains(alias.as_str()) => {
                if after.len() != 1 && !before.is_empty() {
                    say("alias", format!("{alias} is on {after:?}"));
                }
                if !before.is_empty() && !after.iter().all(|index| verified(release, index)) {
                    say(
                        "alias",
                        format!("{alias} moves to {after:?}, which was not verified"),
                    );
                }
                let revision = &release["status"]["revision"];
                let image = fields::text(revision, "/previousImage");
                // Where the image stays the same, what is older than the revision is the old side.
                let since = clock::read(fields::text(revision, "/startedAt")).unwrap_or_default();
                let same = image == fields::text(revision, "/image");
                let old = |process: &&Process| {
                    serves(process, image, at) && !(same && process.started > since) && owned(process, past)
                };
                if let Some(old) = processes.iter().find(old)
                    && !before.is_empty()
                {
                    say(
                        "alias",
                        format!("{alias} moves while {} of {image} is alive", old.pod),
                    );
                }
            }
            NameChange::Deleted { index, uuid } if !retired(release, uuid) => {
                say(
                    "kept",
                    format!("index {index} goes, and was not recorded as not needed"),
                );
            }
            _ => {}
        }
    }
}

fn stable_aliases(release: &Value) -> BTreeSet<&str> {
    let indices = fields::list(release, "/spec/reindex/indices").iter();
    indices.map(|index| fields::text(index, "/alias")).collect()
}

/// Whether an index belongs to a generation that was verified.
fn verified(release: &Value, index: &str) -> bool {
    let candidate = &release["status"]["search"]["candidate"];
    let names = fields::list(candidate, "/indices").iter();
    fields::has(candidate, "/verifiedAt") && names.into_iter().any(|known| known["index"] == index)
}

/// Whether an index was recorded as not needed any more.
fn retired(release: &Value, uuid: &str) -> bool {
    let retired = fields::list(release, "/status/search/retired").iter();
    let deleting = fields::terminating(release);
    deleting || retired.into_iter().any(|index| index["uuid"] == uuid)
}

/// Whether a process is a pod of a Deployment with this image, alive at a time.
fn serves(process: &Process, image: &str, at: Timestamp) -> bool {
    let alive = process.started <= at && process.ended.is_none_or(|(end, _)| end > at);
    let task = process.labels.contains_key("slipway.dev/step");
    !image.is_empty() && alive && !task && process.image == image
}

/// Whether its pod belongs to somebody: one that a stranger orphaned is of no side.
fn owned(process: &Process, past: &Past) -> bool {
    let (namespace, name) = process.pod.split_once('/').unwrap_or_default();
    let pod = past.get(Kind::Pod, namespace, name);
    pod.is_none_or(|pod| fields::controller(pod).is_some())
}
