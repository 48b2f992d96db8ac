//! Tasks: at most once, never two at a time, and success only where it was one.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use slipway_crds::names::{ATTEMPT, RELEASE, RELEASE_UID, REVISION, STEP, TASK};
use slipway_kubernetes::{
    cluster::Process,
    fields,
    kind::Kind,
    store::{Change, Event},
};

use super::{History, Violation};
use crate::past::{Past, ours};

/// Steps whose tasks change the database, and never run at the same time.
const MIGRATIONS: [&str; 5] = ["prepare", "expand", "backfill", "contract", "undo"];

/// Which attempt a Job is for.
const LABELS: [&str; 6] = [RELEASE, RELEASE_UID, REVISION, STEP, TASK, ATTEMPT];

/// What is known of Jobs, by UID.
#[derive(Default)]
pub(super) struct Tasks {
    /// Whether every change is known.
    complete: bool,
    /// The Job that was started for an attempt.
    started: BTreeMap<Vec<String>, String>,
    /// Those that were ever seen.
    seen: BTreeSet<String>,
    /// Those whose work ended well, whatever became of them later.
    ended_well: BTreeSet<String>,
}

impl Tasks {
    pub(super) fn new(complete: bool) -> Self {
        Self {
            complete,
            ..Self::default()
        }
    }

    /// Looks at one change.
    pub(super) fn see(&mut self, change: &Change, past: &Past, found: &mut Vec<Violation>) {
        let object = change.object.as_ref();
        let mut say = |invariant, what| {
            found.push(Violation {
                invariant,
                at: change.at,
                what,
            });
        };
        match change.key.kind {
            Kind::Pod if undisturbed_success(object) => {
                let job = fields::label(object, "batch.kubernetes.io/controller-uid");
                self.ended_well.insert(job.to_owned());
            }
            Kind::Job => {
                self.seen.insert(fields::uid(object).to_owned());
                // The audit log need not keep pods: there the Job's own word counts.
                if !self.complete && fields::is_true(object, "Complete") {
                    self.ended_well.insert(fields::uid(object).to_owned());
                }
                if ours(change) && starts(change) {
                    self.once(change, &mut say);
                    if self.complete && !recorded(change, past) {
                        say(
                            "at most once",
                            format!("{} is started and not recorded before", change.key),
                        );
                    }
                }
            }
            Kind::Release if ours(change) => self.success(change, &mut say),
            _ => {}
        }
    }

    /// Per attempt at most one Job ever runs, and is started once.
    fn once(&mut self, change: &Change, say: &mut impl FnMut(&'static str, String)) {
        let attempt = LABELS.map(|label| fields::label(&change.object, label).to_owned());
        let uid = fields::uid(&change.object);
        if let Some(earlier) = self.started.insert(attempt.to_vec(), uid.to_owned()) {
            let what = format!(
                "{} is the second start of its attempt (UIDs {earlier} and {uid})",
                change.key
            );
            say("at most once", what);
        }
    }

    /// A task is recorded as succeeded only when it was. Of a Job that was never seen nothing can be said where not
    /// every change is known.
    fn success(&self, change: &Change, say: &mut impl FnMut(&'static str, String)) {
        let succeeded = |release: &Value| -> BTreeMap<String, String> {
            let tasks = fields::list(release, "/status/tasks").iter();
            tasks
                .filter(|task| task["outcome"] == "Succeeded")
                .map(|task| ["/job", "/jobUid"].map(|field| fields::text(task, field).to_owned()))
                .map(|[job, uid]| (job, uid))
                .collect()
        };
        let before = change.before.as_deref().map(succeeded).unwrap_or_default();
        for (job, uid) in succeeded(&change.object) {
            let known = self.complete || self.seen.contains(&uid);
            if known && !before.contains_key(&job) && !self.ended_well.contains(&uid) {
                let what = format!("{job} is recorded as succeeded, and its pod has not");
                say("unknown is not success", what);
            }
        }
    }
}

/// Whether a pod has ended well, and nobody tried to evict it.
fn undisturbed_success(pod: &Value) -> bool {
    fields::text(pod, "/status/phase") == "Succeeded" && !fields::is_true(pod, "DisruptionTarget")
}

/// Whether a Job may run from this change on: it is made so, or is suspended no more.
fn starts(change: &Change) -> bool {
    let runs = |job: &Value| !fields::flag(job, "/spec/suspend");
    let before = change.before.as_deref();
    change.event != Event::Deleted && runs(&change.object) && !before.is_some_and(runs)
}

/// Whether a Job's UID was recorded before for an intent that was committed, and has no outcome yet. The audit log
/// does not tell: of a status whose writer died before the answer it keeps nothing.
fn recorded(change: &Change, past: &Past) -> bool {
    let release = fields::label(&change.object, RELEASE);
    let release = past.get(Kind::Release, &change.key.namespace, release);
    let tasks = release.map(|release| fields::list(release, "/status/tasks"));
    let mut tasks = tasks.unwrap_or_default().iter();
    let intent = tasks.find(|task| fields::text(task, "/job") == change.key.name);
    let uid = fields::uid(&change.object);
    intent.is_some_and(|task| !fields::has(task, "/outcome") && fields::text(task, "/jobUid") == uid)
}

/// No two migrations of a Release run at a time.
pub(super) fn no_overlap(history: History<'_>, found: &mut Vec<Violation>) {
    let label = |process: &Process, key| process.labels.get(key).cloned().unwrap_or_default();
    let migrations = history.processes.iter();
    let migrations: Vec<_> = migrations
        .filter(|process| MIGRATIONS.contains(&label(process, STEP).as_str()))
        .collect();
    for (index, one) in migrations.iter().enumerate() {
        for two in migrations.iter().skip(index + 1) {
            let same = label(one, RELEASE) == label(two, RELEASE);
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
