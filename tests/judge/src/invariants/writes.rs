//! Writes: own fields only, always conditional, only by the holder of the Lease, and not too many.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use slipway_kubernetes::{
    clock, fields,
    kind::Kind,
    store::{Change, Event},
    trace,
};

use super::{History, Violation};
use crate::{
    calls::Call,
    past::{CONTROLLER, LEASE, ours},
};

/// A Lease that is not renewed is valid for this long.
const VALID: SignedDuration = SignedDuration::from_secs(15);
/// A stranger's hand at the Lease is noticed within this time.
const NOTICED: SignedDuration = SignedDuration::from_secs(1);
/// The most writes of one object of a user in ten seconds of virtual time: a release has no more than eight, and
/// people may change their mind twice.
const RESTLESS: usize = 24;
/// The most calls in any second of virtual time, per process and Release.
const HURRY: usize = 150;

/// Looks at one change.
pub(super) fn see(change: &Change, found: &mut Vec<Violation>) {
    let ourselves = matches!(change.key.kind, Kind::Lease | Kind::Event);
    if !ours(change) || change.event != Event::Modified || ourselves {
        return;
    }
    let before = change.before.as_deref().unwrap_or(&Value::Null);
    for path in trace::paths(before, &change.object) {
        if !allowed(change.key.kind, &path) {
            found.push(Violation {
                invariant: "own things only",
                at: change.at,
                what: format!("{} changes {path}", change.key),
            });
        }
    }
}

/// What of an object is ours to change.
fn allowed(kind: Kind, path: &str) -> bool {
    let labels = path.starts_with("metadata.labels");
    let container = path.starts_with("spec.template.spec.containers[")
        || path.starts_with("spec.template.spec.initContainers[");
    match kind {
        Kind::Deployment => {
            labels
                || path == "metadata.generation"
                || (container && (path.contains("].image") || path.contains("].env")))
                || [
                    "spec.minReadySeconds",
                    "spec.progressDeadlineSeconds",
                    "spec.strategy",
                    "spec.paused",
                ]
                .iter()
                .any(|own| path.starts_with(own))
        }
        Kind::ReplicaSet => matches!(path, "spec.minReadySeconds" | "metadata.generation"),
        Kind::Service => labels || path.starts_with("spec.selector"),
        Kind::Pod => path.starts_with("metadata.finalizers"),
        Kind::Release => path.starts_with("status") || path.starts_with("metadata.finalizers"),
        Kind::Job => {
            path.starts_with("metadata.deletion")
                || path.starts_with("metadata.finalizers")
                || matches!(path, "spec.suspend" | "metadata.generation")
        }
        _ => false,
    }
}

/// Looks at all calls.
pub(super) fn calls(history: History<'_>, found: &mut Vec<Violation>) {
    let all = history.calls.iter();
    let mut own: Vec<&Call> = all.filter(|call| call.actor.starts_with(CONTROLLER)).collect();
    // One that was stopped while it sent left later than it began.
    own.sort_by_key(|call| call.at);
    restless(&own, found);
    let mut leases = history
        .changes
        .iter()
        .filter(|change| change.key.kind == Kind::Lease && change.key.name == LEASE)
        .peekable();
    let mut led = Led::default();
    let mut seconds: BTreeMap<(&str, i64), usize> = BTreeMap::new();
    for call in own {
        while let Some(change) = leases.next_if(|change| change.at <= call.at) {
            led.take(change);
        }
        *seconds
            .entry((call.actor.as_ref(), call.at.as_second()))
            .or_default() += 1;
        if call.mutating() && !matches!(call.kind, Some(Kind::Lease)) {
            led.fenced(call, found);
            if call.kind != Some(Kind::Event) {
                conditional(call, found);
            }
        }
    }
    let releases = history
        .changes
        .iter()
        .filter(|change| change.key.kind == Kind::Release && change.event == Event::Added)
        .count();
    for ((actor, second), count) in seconds {
        if count > HURRY * releases.max(1) {
            found.push(Violation {
                invariant: "bounded",
                at: Timestamp::from_second(second).unwrap_or_default(),
                what: format!("{actor} makes {count} calls in one second"),
            });
        }
    }
}

/// An object of a user that is written again and again.
fn restless(own: &[&Call], found: &mut Vec<Violation>) {
    let mut writes: BTreeMap<&str, Vec<Timestamp>> = BTreeMap::new();
    for call in own.iter().filter(|call| call.effective()) {
        if let Some(Kind::Deployment | Kind::ReplicaSet | Kind::Service) = call.kind {
            writes.entry(&call.path).or_default().push(call.at);
        }
    }
    for (path, times) in writes {
        let mut rushes = times.windows(RESTLESS + 1);
        let rush = rushes.find(|rush| rush[RESTLESS].duration_since(rush[0]) < SignedDuration::from_secs(10));
        if let Some(rush) = rush {
            found.push(Violation {
                invariant: "bounded",
                at: rush[0],
                what: format!("{path} is written {} times in ten seconds", RESTLESS + 1),
            });
        }
    }
}

/// Every write says which state it changes.
fn conditional(call: &Call, found: &mut Vec<Violation>) {
    let condition = match call.verb {
        "create" => return,
        "delete" => fields::text(&call.body, "/preconditions/uid"),
        _ => fields::text(&call.body, "/metadata/resourceVersion"),
    };
    if condition.is_empty() {
        found.push(Violation {
            invariant: "own things only",
            at: call.at,
            what: format!("unconditional: {call}"),
        });
    }
}

/// Who leads.
#[derive(Default)]
struct Led<'a> {
    /// What a process last wrote into the Lease.
    lease: Option<&'a Change>,
    /// What was written before that.
    before: Option<&'a Change>,
    /// When a stranger last wrote into it.
    meddled: Option<Timestamp>,
}

impl<'a> Led<'a> {
    /// What a stranger writes makes nobody a leader.
    fn take(&mut self, change: &'a Change) {
        if ours(change) {
            self.before = self.lease.replace(change);
        } else {
            self.meddled = Some(change.at);
        }
    }

    /// A write is sent only while its sender holds the Lease. Whose Lease a stranger gave away knows a moment later.
    fn fenced(&self, call: &Call, found: &mut Vec<Violation>) {
        let given_away = self
            .meddled
            .is_some_and(|meddled| call.at.duration_since(meddled) < NOTICED);
        let leads = holds(call, self.lease) || (given_away && holds(call, self.before));
        if !leads {
            let holder = self.lease.map_or("", holder);
            let renewed = self
                .lease
                .map(|change| clock::micros(change.at))
                .unwrap_or_default();
            found.push(Violation {
                invariant: "fenced",
                at: call.at,
                what: format!("sent while the Lease is {holder}'s, renewed at {renewed}: {call}"),
            });
        }
    }
}

fn holder(change: &Change) -> &str {
    fields::text(&change.object, "/spec/holderIdentity")
}

/// Whether the sender of a call holds the Lease by this record.
fn holds(call: &Call, lease: Option<&Change>) -> bool {
    lease.is_some_and(|change| {
        let own = holder(change).strip_prefix(call.actor.as_ref());
        own.is_some_and(|rest| rest.starts_with('_')) && call.at.duration_since(change.at) < VALID
    })
}
