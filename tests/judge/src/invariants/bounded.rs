//! Bounded: no hot loop.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use slipway_kubernetes::{kind::Kind, store::Event};

use super::{History, Violation};
use crate::calls::Call;

/// The most writes of one object of a user in ten seconds of virtual time: a release has no more than eight, and
/// people may change their mind twice.
const RESTLESS: usize = 24;
/// The most calls in any second of virtual time, per process and Release.
const HURRY: usize = 150;

/// Looks at all calls of the controller, in order.
pub(super) fn calls(own: &[&Call], history: History<'_>, found: &mut Vec<Violation>) {
    let created: Vec<Timestamp> = history
        .changes
        .iter()
        .filter(|change| change.key.kind == Kind::Release && change.event == Event::Added)
        .map(|change| change.at)
        .collect();
    restless(own, &created, found);
    let mut seconds: BTreeMap<(&str, i64), usize> = BTreeMap::new();
    for call in own {
        let second = (call.actor.as_ref(), call.at.as_second());
        *seconds.entry(second).or_default() += 1;
    }
    for ((actor, second), count) in seconds {
        if count > HURRY * created.len().max(1) {
            found.push(Violation {
                invariant: "bounded",
                at: Timestamp::from_second(second).unwrap_or_default(),
                what: format!("{actor} makes {count} calls in one second"),
            });
        }
    }
}

/// An object of a user that is written again and again for one Release: where one is created meanwhile, its writes are
/// its own.
fn restless(own: &[&Call], created: &[Timestamp], found: &mut Vec<Violation>) {
    let mut writes: BTreeMap<&str, Vec<Timestamp>> = BTreeMap::new();
    for call in own.iter().filter(|call| call.effective()) {
        if let Some(Kind::Deployment | Kind::ReplicaSet | Kind::Service) = call.kind {
            writes.entry(&call.path).or_default().push(call.at);
        }
    }
    for (path, times) in writes {
        let mut rushes = times.windows(RESTLESS + 1);
        let rush = rushes.find(|rush| {
            let (first, last) = (rush[0], rush[RESTLESS]);
            let one_release = !created.iter().any(|at| (first..=last).contains(at));
            one_release && last.duration_since(first) < SignedDuration::from_secs(10)
        });
        if let Some(rush) = rush {
            found.push(Violation {
                invariant: "bounded",
                at: rush[0],
                what: format!("{path} is written {} times in ten seconds", RESTLESS + 1),
            });
        }
    }
}
