//! Fenced: no write is sent by a process that does not hold the Lease.
//!
//! Only a simulated history tells it: the audit log knows the user, which all processes share.

use jiff::{SignedDuration, Timestamp};
use slipway_kubernetes::{clock, fields, kind::Kind, store::Change};

use super::{History, Violation};
use crate::{
    calls::Call,
    past::{LEASE, ours},
};

/// A Lease that is not renewed is valid for this long.
const VALID: SignedDuration = SignedDuration::from_secs(15);
/// A stranger's hand at the Lease is noticed within this time.
const NOTICED: SignedDuration = SignedDuration::from_secs(1);

/// Looks at all writes of the controller, in order.
pub(super) fn writes(own: &[&Call], history: History<'_>, found: &mut Vec<Violation>) {
    let leases = history.changes.iter();
    let mut leases = leases
        .filter(|change| change.key.kind == Kind::Lease && change.key.name == LEASE)
        .peekable();
    let mut led = Led::default();
    for call in own {
        while let Some(change) = leases.next_if(|change| change.at <= call.at) {
            led.take(change);
        }
        if call.mutating() && call.kind != Some(Kind::Lease) {
            led.fenced(call, found);
        }
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
