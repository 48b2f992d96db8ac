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
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
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
    // The clock stands still.
    for seen in [later, later + jiff::SignedDuration::from_micros(1)] {
        let mut known = lease("a", "8", 15);
        known.spec.as_mut().unwrap().renew_time = Some(MicroTime(seen));
        election.held(known, now, now);
        let renewed = election.holding(later).spec.unwrap().renew_time.unwrap().0;
        assert_ne!(renewed, seen, "a renewal that changes nothing is seen by nobody");
    }
    let released = election.released().unwrap();
    assert_eq!(released.spec.unwrap().holder_identity.as_deref(), Some(""));
    assert_eq!(released.metadata.resource_version.as_deref(), Some("8"));
}
