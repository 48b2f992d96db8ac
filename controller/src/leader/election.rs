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
        lease.spec = Some(LeaseSpec {
            holder_identity: Some(self.identity.clone()),
            lease_duration_seconds: i32::try_from(self.timing.duration.as_secs()).ok(),
            renew_time: Some(MicroTime(wall)),
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
mod tests {
    use super::*;

    const fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn lease(holder: &str, version: &str, duration: i32) -> Lease {
        let mut lease = Lease::default();
        lease.metadata.resource_version = Some(version.into());
        lease.spec = Some(LeaseSpec {
            holder_identity: Some(holder.into()),
            lease_duration_seconds: Some(duration),
            lease_transitions: Some(4),
            ..LeaseSpec::default()
        });
        lease
    }

    fn election() -> (Election, Instant) {
        (Election::new("a".into(), Timing::default()), Instant::now())
    }

    /// An election that leads since `now`.
    fn leading() -> (Election, Instant) {
        let (mut election, now) = election();
        election.saw(Some(lease("", "1", 15)), now);
        election.held(lease("a", "2", 15), now, now);
        (election, now)
    }

    #[test]
    fn follower_moves() {
        let cases: [(&str, Option<Lease>, Duration, Option<Duration>); 8] = [
            // what is seen, how long after, and when Hold is due after the first sight (None: Create)
            ("no lease", None, s(0), None),
            ("released", Some(lease("", "1", 15)), s(0), Some(s(0))),
            (
                "ours by a lost answer",
                Some(lease("a", "1", 15)),
                s(0),
                Some(s(0)),
            ),
            ("other's, fresh", Some(lease("b", "1", 15)), s(0), Some(s(15))),
            (
                "other's, not quite over",
                Some(lease("b", "1", 15)),
                s(14),
                Some(s(15)),
            ),
            ("other's, over", Some(lease("b", "1", 15)), s(15), Some(s(15))),
            (
                "other's, too short to believe",
                Some(lease("b", "1", 1)),
                s(0),
                Some(s(15)),
            ),
            (
                "other's, too long to believe",
                Some(lease("b", "1", 99_999)),
                s(0),
                Some(s(60)),
            ),
        ];
        for (name, seen, after, due) in cases {
            let (mut election, start) = election();
            assert_eq!(election.next(start), LeaseMove::Look, "{name}");
            election.saw(seen, start);
            let expected = match due {
                None => LeaseMove::Create,
                Some(due) if after >= due => LeaseMove::Hold,
                Some(due) => LeaseMove::Wait(start + due),
            };
            assert_eq!(election.next(start + after), expected, "{name}");
        }
    }

    #[test]
    fn a_renewal_seen_starts_the_count_anew_and_the_same_version_does_not() {
        let (mut election, start) = election();
        election.saw(Some(lease("b", "1", 15)), start);
        election.heard(Some(lease("b", "2", 15)), start + s(10));
        assert_eq!(election.next(start + s(16)), LeaseMove::Wait(start + s(25)));
        election.heard(Some(lease("b", "2", 15)), start + s(20));
        assert_eq!(election.next(start + s(24)), LeaseMove::Wait(start + s(25)));
        assert_eq!(election.next(start + s(25)), LeaseMove::Hold);
    }

    #[test]
    fn times_written_by_other_clocks_are_not_read() {
        use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
        for written in ["1970-01-01T00:00:00Z", "2999-01-01T00:00:00Z"] {
            let (mut election, start) = election();
            let mut record = lease("b", "1", 15);
            record.spec.as_mut().unwrap().renew_time = Some(MicroTime(written.parse().unwrap()));
            election.saw(Some(record), start);
            assert_eq!(election.next(start + s(14)), LeaseMove::Wait(start + s(15)));
            assert_eq!(election.next(start + s(15)), LeaseMove::Hold);
        }
    }

    #[test]
    fn a_leader_renews_and_steps_down_at_the_fence() {
        let (election, start) = leading();
        assert_eq!(election.writes_until(), Some(start + s(10)));
        assert_eq!(election.next(start + s(4)), LeaseMove::Wait(start + s(5)));
        assert_eq!(election.next(start + s(5)), LeaseMove::Hold);
        assert_eq!(election.next(start + s(10)), LeaseMove::StepDown);
    }

    #[test]
    fn the_fence_counts_from_when_the_renewal_was_sent() {
        let (mut election, start) = leading();
        election.held(lease("a", "3", 15), start + s(5), start + s(8));
        assert_eq!(election.writes_until(), Some(start + s(15)));
        // Slept through it all: the answer is there, the time is over.
        election.held(lease("a", "4", 15), start + s(10), start + s(70));
        assert_eq!(election.next(start + s(70)), LeaseMove::StepDown);
    }

    #[test]
    fn a_failed_renewal_is_tried_again_before_the_fence() {
        let (mut election, start) = leading();
        let now = start + s(8);
        election.failed(now);
        let pause = Timing::default().retry_after;
        assert_eq!(election.next(now), LeaseMove::Wait(now + pause));
        assert_eq!(election.next(now + pause), LeaseMove::Look);
        election.failed(start + Duration::from_millis(9900));
        assert_eq!(
            election.next(start + Duration::from_millis(9900)),
            LeaseMove::Wait(start + s(10))
        );
    }

    #[test]
    fn a_leader_takes_the_watch_as_a_hint_only() {
        let (mut election, start) = leading();
        election.heard(Some(lease("a", "1", 15)), start);
        assert_eq!(election.next(start), LeaseMove::Wait(start + s(5)));
        election.heard(Some(lease("b", "0", 15)), start);
        assert_eq!(election.next(start), LeaseMove::Look);
        election.saw(Some(lease("a", "2", 15)), start);
        assert_eq!(election.next(start), LeaseMove::Wait(start + s(5)));
        election.heard(None, start);
        election.saw(Some(lease("b", "3", 15)), start);
        assert_eq!(election.next(start), LeaseMove::StepDown);
        election.step_down();
        assert_eq!(
            (election.writes_until(), election.next(start)),
            (None, LeaseMove::Look)
        );
    }

    #[test]
    fn a_deleted_lease_is_waited_out_and_ends_our_own_lead() {
        let (mut election, start) = election();
        election.saw(Some(lease("b", "1", 15)), start);
        election.heard(None, start + s(3));
        assert_eq!(election.next(start + s(3)), LeaseMove::Wait(start + s(15)));
        assert_eq!(election.next(start + s(15)), LeaseMove::Create);

        let (mut election, start) = leading();
        election.heard(None, start + s(1));
        assert_eq!(election.next(start + s(1)), LeaseMove::Look);
        election.saw(None, start + s(1));
        assert_eq!(election.next(start + s(1)), LeaseMove::StepDown);
        election.step_down();
        election.saw(None, start + s(1));
        assert_eq!(election.next(start + s(1)), LeaseMove::Create);
    }

    #[test]
    fn a_refused_write_looks_again_after_a_breath() {
        let (mut election, start) = election();
        election.saw(Some(lease("", "1", 15)), start);
        election.outrun(start);
        let LeaseMove::Wait(at) = election.next(start) else {
            panic!("no pause")
        };
        assert_eq!(election.next(at), LeaseMove::Look);
    }

    #[test]
    fn what_is_written_keeps_the_rest_of_the_object() {
        let wall = "2026-01-01T00:00:00Z".parse().unwrap();
        let (mut election, now) = election();
        let mut seen = lease("b", "7", 15);
        seen.metadata.labels = Some([("kept".to_owned(), "yes".to_owned())].into());
        election.saw(Some(seen), now);
        let taken = election.holding(wall);
        assert_eq!(version(&taken), Some("7"));
        assert!(taken.metadata.labels.as_ref().unwrap().contains_key("kept"));
        let spec = taken.spec.as_ref().unwrap();
        assert_eq!(spec.holder_identity.as_deref(), Some("a"));
        assert_eq!(
            (spec.lease_duration_seconds, spec.lease_transitions),
            (Some(15), Some(5))
        );
        assert_eq!(spec.acquire_time.as_ref().unwrap().0, wall);
        assert!(election.released().is_none());

        election.held(taken, now, now);
        let later = "2026-01-01T00:00:05Z".parse().unwrap();
        let spec = election.holding(later).spec.unwrap();
        assert_eq!(spec.lease_transitions, Some(5));
        assert_eq!(
            (spec.acquire_time.unwrap().0, spec.renew_time.unwrap().0),
            (wall, later)
        );
        let released = election.released().unwrap();
        assert_eq!(released.spec.unwrap().holder_identity.as_deref(), Some(""));
        assert_eq!(released.metadata.resource_version.as_deref(), Some("7"));
    }
}
