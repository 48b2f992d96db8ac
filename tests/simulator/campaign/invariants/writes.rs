//! Writes: own fields only, always conditional, only by the holder of the Lease, and not too many.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::{
    super::{
        super::{
            clock,
            controller::{CONTROLLER, LEASE},
            fields,
            kind::Kind,
            server::calls::Call,
            store::{Change, Event},
            trace,
        },
        past::ours,
    },
    History, Violation,
};

/// A Lease that is not renewed is valid for this long.
const VALID: SignedDuration = SignedDuration::from_secs(15);
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
        Kind::Job => path.starts_with("metadata.deletion") || path.starts_with("metadata.finalizers"),
        _ => false,
    }
}

/// Looks at all calls.
pub(super) fn calls(history: History<'_>, found: &mut Vec<Violation>) {
    let all = history.calls.iter();
    let mut own: Vec<&Call> = all.filter(|call| call.actor.starts_with(CONTROLLER)).collect();
    // One that was stopped while it sent left later than it began.
    own.sort_by_key(|call| call.at);
    // What strangers do to the Lease makes nobody a leader: who was goes on until it notices.
    let mut leases = history
        .changes
        .iter()
        .filter(|change| change.key.kind == Kind::Lease && change.key.name == LEASE && ours(change))
        .peekable();
    let mut lease = None;
    let mut seconds: BTreeMap<(&str, i64), usize> = BTreeMap::new();
    for call in own {
        while leases.peek().is_some_and(|change| change.at <= call.at) {
            lease = leases.next();
        }
        *seconds
            .entry((call.actor.as_ref(), call.at.as_second()))
            .or_default() += 1;
        if call.mutating() && !matches!(call.kind, Some(Kind::Lease)) {
            fenced(call, lease, found);
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

/// A write is sent only while its sender holds the Lease.
fn fenced(call: &Call, lease: Option<&Change>, found: &mut Vec<Violation>) {
    let lease = lease.filter(|change| change.event != Event::Deleted);
    let holder = lease.map_or("", |change| fields::text(&change.object, "/spec/holderIdentity"));
    let renewed = lease.map(|change| change.at);
    let own = holder
        .strip_prefix(call.actor.as_ref())
        .is_some_and(|rest| rest.starts_with('_'));
    let valid = renewed.is_some_and(|renewed| call.at.duration_since(renewed) < VALID);
    if !own || !valid {
        let renewed = renewed.map(clock::micros).unwrap_or_default();
        found.push(Violation {
            invariant: "fenced",
            at: call.at,
            what: format!("sent while the Lease is {holder}'s, renewed at {renewed}: {call}"),
        });
    }
}
