//! The search engine: where the stable alias points, which indices go, and that what gets traffic reads an index that
//! is there.

use std::{collections::BTreeSet, iter::Peekable, slice};

use jiff::Timestamp;
use serde_json::Value;
use slipway_kubernetes::{
    clock,
    cluster::Process,
    fields,
    kind::Kind,
    models::behaviour::variable,
    search::NameChange,
    store::{Change, Event},
};

use super::{GENERATION, History, Violation};
use crate::past::Past;

/// Alias: it is always on exactly one index, once it was on one.
pub(super) fn one_index(history: History<'_>, found: &mut Vec<Violation>) {
    for (at, name_change) in history.name_changes {
        let NameChange::Alias { alias, before, after } = name_change else {
            continue;
        };
        if after.len() > 1 || after.is_empty() && !before.is_empty() {
            let indices: Vec<_> = after.iter().map(String::as_str).collect();
            let indices = if indices.is_empty() {
                "no index".to_owned()
            } else {
                indices.join(" and ")
            };
            found.push(Violation {
                invariant: "alias",
                at: *at,
                what: format!("{alias} stood on {indices}"),
            });
        }
    }
}

/// What happened in the engine and was not looked at yet. Only a simulated history tells when exactly that was, and
/// what else was so at that time.
pub(super) struct Names<'a> {
    left: Peekable<slice::Iter<'a, (Timestamp, NameChange)>>,
    history: History<'a>,
}

impl<'a> Names<'a> {
    pub(super) fn new(history: History<'a>) -> Self {
        Self {
            left: history.name_changes.iter().peekable(),
            history,
        }
    }

    /// Looks at what happened until a time.
    pub(super) fn until(&mut self, end: Timestamp, past: &Past, found: &mut Vec<Violation>) {
        // A deletion may be followed in the same instant by the status that forgets the index.
        let before = |(at, change): &&(Timestamp, NameChange)| {
            *at < end || *at == end && matches!(change, NameChange::Deleted { .. })
        };
        while let Some((at, name_change)) = self.left.next_if(|known| before(known)) {
            for release in past.all(Kind::Release) {
                let wrong = match name_change {
                    NameChange::Alias { alias, before, after }
                        if !before.is_empty() && stable_aliases(release).contains(alias.as_str()) =>
                    {
                        self.moved(*at, (alias, after), release, past)
                    }
                    NameChange::Deleted { index, uuid } if !retired(release, uuid) => {
                        let what = format!("index {index} goes, and was not recorded as not needed");
                        vec![("kept", what)]
                    }
                    _ => Vec::new(),
                };
                found.extend(wrong.into_iter().map(|(invariant, what)| Violation {
                    invariant,
                    at: *at,
                    what,
                }));
            }
        }
    }

    /// Alias: it moves to a verified index only, and not while old pods live.
    fn moved(
        &self,
        at: Timestamp,
        (alias, after): (&str, &BTreeSet<String>),
        release: &Value,
        past: &Past,
    ) -> Vec<(&'static str, String)> {
        let mut wrong = Vec::new();
        if !after.iter().all(|index| verified(release, index)) {
            let what = format!("{alias} moves to {after:?}, which was not verified");
            wrong.push(("alias", what));
        }
        let revision = &release["status"]["revision"];
        let image = fields::text(revision, "/previousImage");
        // Where the image stays the same, what is older than the revision is the old side.
        let since = clock::read(fields::text(revision, "/startedAt")).unwrap_or_default();
        let same = image == fields::text(revision, "/image");
        let mut processes = self.history.processes.iter();
        let old = processes.find(|process| {
            serves(process, image, at) && !(same && process.started > since) && owned(process, past)
        });
        wrong.extend(old.map(|old| {
            let what = format!("{alias} moves while {} of {image} is alive", old.pod);
            ("alias", what)
        }));
        wrong
    }
}

/// Pairing: no pod gets traffic whose index is not there.
pub(super) fn pairing(change: &Change, past: &Past, history: History<'_>, found: &mut Vec<Violation>) {
    if change.key.kind != Kind::EndpointSlice || change.event == Event::Deleted {
        return;
    }
    for endpoint in fields::list(&change.object, "/endpoints") {
        let pod = fields::text(endpoint, "/targetRef/name");
        let Some(pod) = past.get(Kind::Pod, &change.key.namespace, pod) else {
            continue;
        };
        let generation = variable(pod, GENERATION);
        if fields::flag(endpoint, "/conditions/ready")
            && !generation.is_empty()
            && !exists(history.name_changes, generation, change.at)
        {
            let name = fields::name(pod);
            found.push(Violation {
                invariant: "pairing",
                at: change.at,
                what: format!("{name} gets traffic, and there is no index {generation}"),
            });
        }
    }
}

/// Whether an index of a generation was there at a time.
fn exists(name_changes: &[(Timestamp, NameChange)], generation: &str, at: Timestamp) -> bool {
    let until = name_changes.iter().take_while(|(when, _)| *when <= at);
    let last = until.filter_map(|(_, name_change)| match name_change {
        NameChange::Created { index, .. } => index.ends_with(generation).then_some(true),
        NameChange::Deleted { index, .. } => index.ends_with(generation).then_some(false),
        NameChange::Alias { .. } => None,
    });
    last.last().unwrap_or_default()
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
