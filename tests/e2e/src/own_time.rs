//! How long a release and each of its steps took, and how much of that was the controller's own doing: not a
//! task's, not a pod's start or end, not a wait that the Release asks for.

pub mod sides;

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use slipway_crds::v1alpha1::{
    Release,
    status::{ReleaseStatus, SideStatus, StepName, StepState},
};

use sides::Sides;
use slipway_judge::observer::{Move, Observation};

/// A Deployment is not touched sooner than this after its Service was pointed elsewhere: kube-proxy follows by then.
const AFTER_A_PIN: SignedDuration = SignedDuration::from_secs(2);

/// From one moment to another.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Span {
    /// Its begin.
    pub from: Timestamp,
    /// Its end, not before its begin.
    pub to: Timestamp,
}

/// How long a step took.
#[derive(Clone, Debug)]
pub struct Measured {
    /// The step.
    pub name: StepName,
    /// How it ended.
    pub state: StepState,
    /// Its length and the controller's part of it; none for a step that was not taken.
    pub times: Option<(Duration, Duration)>,
}

impl Span {
    /// A span; none when it would end before it begins.
    fn new(from: Option<Timestamp>, to: Option<Timestamp>) -> Option<Self> {
        let (from, to) = (from?, to?);
        (from <= to).then_some(Self { from, to })
    }

    /// How long it is.
    pub fn length(self) -> Duration {
        Duration::try_from(self.to.duration_since(self.from)).unwrap_or_default()
    }

    fn within(self, other: Self) -> Option<Self> {
        Self::new(Some(self.from.max(other.from)), Some(self.to.min(other.to)))
    }

    /// What is left of it without the time in which something was waited for.
    pub fn own(self, waits: &[Self]) -> Duration {
        let mut inside: Vec<Self> = waits.iter().filter_map(|wait| wait.within(self)).collect();
        inside.sort_by_key(|wait| wait.from);
        let mut counted = self.from;
        let mut waited = Duration::ZERO;
        for wait in inside {
            if let Some(rest) = Self::new(Some(wait.from.max(counted)), Some(wait.to)) {
                waited += rest.length();
                counted = rest.to;
            }
        }
        self.length().saturating_sub(waited)
    }
}

/// The steps of a status.
pub fn steps(status: &ReleaseStatus, waits: &[Span]) -> Vec<Measured> {
    let measured = status.steps.iter().map(|step| {
        let span = Span::new(step.started_at, step.finished_at).filter(|_| step.state != StepState::Skipped);
        Measured {
            name: step.name,
            state: step.state,
            times: span.map(|span| (span.length(), span.own(waits))),
        }
    });
    measured.collect()
}

/// The whole revision, from its beginning to its end.
pub fn whole(status: &ReleaseStatus) -> Option<Span> {
    let revision = status.revision.as_ref()?;
    Span::new(Some(revision.started_at), revision.ended.map(|ended| ended.at))
}

/// Everything that was waited for in the newest revision and was not the controller's doing.
pub fn waits(release: &Release, seen: &Observation, sides: &Sides) -> Vec<Span> {
    let mut waits: Vec<Option<Span>> = Vec::new();
    for job in &seen.jobs {
        let ended = job.ended.as_ref().map(|(_, at)| *at);
        waits.push(Span::new(Some(job.created_at), ended));
    }
    let status = release.status.clone().unwrap_or_default();
    let started = status.revision.as_ref().map(|revision| revision.started_at);
    let writes = || seen.moves.iter().filter(|moved| Some(moved.at) >= started);
    let preboot = release.spec.preboot.as_ref();
    let minimum = preboot
        .and_then(|preboot| preboot.minimum_wait.as_ref()?.parse())
        .unwrap_or_default();
    for workload in &status.workloads {
        let deployment = workload.deployment.as_str();
        let moved = |what: &Move| {
            let mut own = writes().filter(|moved| moved.name == deployment);
            own.find(|moved| moved.what == *what).map(|moved| moved.at)
        };
        let [old, new] = [&workload.old, &workload.new].map(|side| name_of(deployment, side.as_ref()));
        let full = new
            .zip(started)
            .and_then(|(name, started)| sides.full_at(&name, started));
        let gone = old.and_then(|name| sides.gone_at(&name));
        waits.push(Span::new(moved(&Move::Retire), gone));
        waits.push(Span::new(moved(&Move::Roll), gone.max(full)));
        let held = moved(&Move::Hold);
        waits.push(Span::new(held, full));
        waits.push(Span::new(held, held.map(|at| at + minimum)));
    }
    for moved in writes().filter(|moved| moved.what == Move::Flip) {
        waits.push(Span::new(Some(moved.at), Some(moved.at + AFTER_A_PIN)));
    }
    if let Some(cutover) = &status.cutover {
        waits.push(Span::new(cutover.confirmed_at, cutover.watch_until));
    }
    waits.into_iter().flatten().collect()
}

/// A Deployment's ReplicaSet is named by it and the hash of its template.
fn name_of(deployment: &str, side: Option<&SideStatus>) -> Option<String> {
    Some(format!("{deployment}-{}", side?.hash.as_ref()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(from: i64, to: i64) -> Span {
        let at = |second| Timestamp::from_second(second).unwrap();
        Span {
            from: at(from),
            to: at(to),
        }
    }

    #[test]
    fn waits_that_overlap_or_reach_beyond_count_once_and_only_inside() {
        let step = span(10, 30);
        assert_eq!(step.own(&[]), Duration::from_secs(20));
        let waits = [
            span(12, 20),
            span(15, 18),
            span(19, 22),
            span(28, 90),
            span(0, 11),
            span(40, 50),
        ];
        assert_eq!(step.own(&waits), Duration::from_secs(7));
        assert_eq!(step.own(&[span(0, 99)]), Duration::ZERO);
    }
}
