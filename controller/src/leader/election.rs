//! The rules of the election as a state machine without I/O: what was seen goes in, the next move comes out.
//!
//! Time is the monotonic clock of this machine alone. How old a record is is counted from the moment *this process
//! saw it change*; the times written in it come from other clocks and are for humans.

use std::time::Duration;

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use tokio::time::Instant;

/// The times of an election.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// How long a record that nobody renews stays valid.
    pub duration: Duration,
    /// How long after a renewal the next one is sent.
    pub renew_every: Duration,
    /// How long after the start of a renewal that succeeded writes are allowed. The rest up to `duration` is the
    /// margin for what is on its way.
    pub fence_after: Duration,
    /// How long one call about the Lease may take.
    pub call_deadline: Duration,
    /// The wait of a leader after a call that failed; a follower waits four times as long.
    pub retry_after: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            duration: Duration::from_secs(15),
            renew_every: Duration::from_secs(5),
            fence_after: Duration::from_secs(10),
            call_deadline: Duration::from_secs(3),
            retry_after: Duration::from_millis(500),
        }
    }
}

/// A record that asks for more is not waited for longer: a mistyped Lease must not stop all releases for ever.
const LONGEST: Duration = Duration::from_mins(1);

/// What an election wants to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeaseMove {
    /// Read the Lease.
    Look,
    /// There is none: create it, with this process as holder.
    Create,
    /// Replace the record last seen, at its resourceVersion, with this process as holder: take it or renew it.
    Hold,
    /// The fence is down: stop leading, then go on as a follower.
    StepDown,
    /// Nothing before this instant, unless the watch tells something.
    Wait(Instant),
}

/// One process's view of the election.
#[derive(Debug)]
pub struct Election {
    identity: String,
    timing: Timing,
    /// The Lease as last seen, and when it was first seen in this version.
    record: Option<(Lease, Instant)>,
    /// When a Lease that somebody deleted would have run out: its holder may not know yet that it is gone.
    gone_until: Option<Instant>,
    /// Whether `record` may be out of date in a way that matters: look before the next move.
    look: bool,
    /// No call before this instant.
    not_before: Option<Instant>,
    /// When the last successful renewal was *sent*; none for a follower.
    renewed: Option<Instant>,
}

impl Election {
    /// A follower that has seen nothing. `identity` is unique to the process, not to the pod: a container that was
    /// restarted must not inherit what its predecessor held.
    pub fn new(identity: String, timing: Timing) -> Self {
        Self {
            identity,
            timing,
            record: None,
            gone_until: None,
            look: true,
            not_before: None,
            renewed: None,
        }
    }

    /// Until when this process may write; none for a follower.
    pub fn writes_until(&self) -> Option<Instant> {
        self.renewed.map(|renewed| renewed + self.timing.fence_after)
    }

    /// The Lease as last seen.
    pub fn record(&self) -> Option<&Lease> {
        self.record.as_ref().map(|(lease, _)| lease)
    }

    /// Whether the record last seen names this process.
    pub fn holds_record(&self) -> bool {
        self.record()
            .is_some_and(|lease| holder(lease) == Some(&self.identity))
    }

    /// What to do now.
    pub fn next(&self, now: Instant) -> LeaseMove {
        let fence = self.writes_until();
        if fence.is_some_and(|fence| now >= fence) {
            return LeaseMove::StepDown;
        }
        if let Some(not_before) = self.not_before.filter(|not_before| now < *not_before) {
            return LeaseMove::Wait(fence.map_or(not_before, |fence| fence.min(not_before)));
        }
        if self.look {
            return LeaseMove::Look;
        }
        let Some((lease, since)) = &self.record else {
            return match self.gone_until {
                _ if self.renewed.is_some() => LeaseMove::StepDown,
                Some(until) if now < until => LeaseMove::Wait(until),
                Some(_) | None => LeaseMove::Create,
            };
        };
        let due = match (holder(lease), self.renewed) {
            (Some(holder), None) if *holder != self.identity => *since + self.valid_for(lease),
            // Ours, and we lead: the next renewal.
            (Some(holder), Some(renewed)) if *holder == self.identity => renewed + self.timing.renew_every,
            // Somebody else's while we lead: it was taken from us.
            (Some(_) | None, Some(_)) => return LeaseMove::StepDown,
            // Released, or ours by a write whose answer was lost.
            (Some(_) | None, None) => now,
        };
        if now >= due {
            LeaseMove::Hold
        } else {
            LeaseMove::Wait(due)
        }
    }

    /// The API server answered a read or a write with this record (`None`: there is no Lease).
    pub fn saw(&mut self, lease: Option<Lease>, now: Instant) {
        self.look = false;
        self.not_before = None;
        self.remember(lease, now);
    }

    /// The watch told of this record. A watch may lag behind our own writes: a leader takes it as a hint to look,
    /// a follower believes it, because a write on an outdated record is refused.
    pub fn heard(&mut self, lease: Option<Lease>, now: Instant) {
        if self.renewed.is_none() {
            self.remember(lease, now);
        } else if lease.as_ref().and_then(holder) != Some(&self.identity) {
            self.look = true;
        }
    }

    /// Keeps the record, and the time of its first sight as long as it is the same version.
    fn remember(&mut self, lease: Option<Lease>, now: Instant) {
        if let (None, Some((known, since))) = (&lease, &self.record) {
            let other = holder(known).is_some_and(|holder| *holder != self.identity);
            self.gone_until = other.then(|| *since + self.valid_for(known));
        }
        self.record = lease.map(|lease| {
            let since = match &self.record {
                Some((known, since)) if version(known) == version(&lease) => *since,
                Some(_) | None => now,
            };
            (lease, since)
        });
    }

    /// Our write, sent at `sent`, was accepted.
    pub fn held(&mut self, lease: Lease, sent: Instant, now: Instant) {
        self.saw(Some(lease), now);
        self.renewed = Some(sent);
    }

    /// Our write was refused because the record is another by now: look again, soon.
    pub fn outrun(&mut self, now: Instant) {
        self.look = true;
        self.not_before = Some(now + self.timing.retry_after / 5);
    }

    /// A call failed or ended without an answer; it may have been applied. A leader is in more of a hurry.
    pub fn failed(&mut self, now: Instant) {
        self.look = true;
        let patience = if self.renewed.is_some() { 1 } else { 4 };
        self.not_before = Some(now + patience * self.timing.retry_after);
    }

    /// Stops leading.
    pub fn step_down(&mut self) {
        self.renewed = None;
        self.look = true;
    }

    /// The record to write so that this process holds the Lease; what others put into the object is kept.
    pub fn holding(&self, wall: jiff::Timestamp) -> Lease {
        use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
        let mut lease = self.record().cloned().unwrap_or_default();
        let before = lease.spec.take().unwrap_or_default();
        let ours = before.holder_identity.as_ref() == Some(&self.identity);
        let transitions = before.lease_transitions.unwrap_or(0);
        // A write that changes nothing makes no new version: a clock that stands still would renew for nobody to see.
        let last = before.renew_time.as_ref().map(|last| last.0.as_microsecond());
        let renewed = if last == Some(wall.as_microsecond()) {
            wall + jiff::SignedDuration::from_micros(1)
        } else {
            wall
        };
        lease.spec = Some(LeaseSpec {
            holder_identity: Some(self.identity.clone()),
            lease_duration_seconds: i32::try_from(self.timing.duration.as_secs()).ok(),
            renew_time: Some(MicroTime(renewed)),
            acquire_time: if ours {
                before.acquire_time
            } else {
                Some(MicroTime(wall))
            },
            lease_transitions: Some(match self.record {
                Some(_) if !ours => transitions.saturating_add(1),
                Some(_) | None => transitions,
            }),
            ..before
        });
        lease
    }

    /// The record to write so that nobody holds the Lease; none if this process does not hold it.
    pub fn released(&self) -> Option<Lease> {
        let mut lease = self.record().filter(|_| self.holds_record()).cloned()?;
        lease.spec.as_mut()?.holder_identity = Some(String::new());
        Some(lease)
    }

    /// How long a record is valid by what it says itself, within bounds.
    fn valid_for(&self, lease: &Lease) -> Duration {
        let said = lease.spec.as_ref().and_then(|spec| spec.lease_duration_seconds);
        said.and_then(|seconds| u64::try_from(seconds).ok())
            .map_or(self.timing.duration, Duration::from_secs)
            .clamp(self.timing.duration, LONGEST)
    }
}

/// Who holds the Lease; an empty name is nobody.
fn holder(lease: &Lease) -> Option<&String> {
    lease
        .spec
        .as_ref()?
        .holder_identity
        .as_ref()
        .filter(|holder| !holder.is_empty())
}

fn version(lease: &Lease) -> Option<&str> {
    lease.metadata.resource_version.as_deref()
}

#[cfg(test)]
mod tests;
