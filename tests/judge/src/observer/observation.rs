//! What was seen from outside in one window of time, and the questions that a test asks of it.

use std::collections::BTreeSet;
use std::sync::Arc;

use jiff::Timestamp;
use slipway_kubernetes::kind::Kind;

use super::Mark;
use super::ObserverConfig;
use super::aliases::Aliases;
use super::audit::{AuditEvent, one_each};
use super::jobs::{self, JobLife};
use super::moves::{Move, Moved, moves, transcript};
use super::reader::{self, Baseline};
use super::requests::Requests;
use super::status::{Claimed, claims};
use super::unanswered;
use crate::endpoints::Endpoints;
use crate::invariants::{History, Tolerance, check};

/// Everything that the observer saw, read and judged.
#[derive(Clone, Debug)]
pub struct Observation {
    /// Start of the observation.
    pub started_at: Timestamp,
    /// The moments that were marked.
    pub marks: Vec<Mark>,
    /// The window's moves, in the order in which the server made them.
    pub moves: Vec<Moved>,
    /// Every task Job.
    pub jobs: Vec<JobLife>,
    /// Every status that the controller wrote.
    pub claims: Vec<Claimed>,
    /// The controller's requests about the namespace, its lease, and what is cluster-wide; not the ones
    /// about other namespaces, where another test may be at work.
    pub requests: Requests,
    /// Ready endpoints over time.
    pub endpoints: Endpoints,
    /// Aliases over time.
    pub aliases: Aliases,
    violations: Vec<String>,
}

/// What the observer has gathered, unjudged.
#[derive(Clone, Debug, Default)]
pub struct Gathered {
    /// Start of the observation.
    pub started_at: Timestamp,
    /// What there was before it.
    pub baseline: Baseline,
    /// The lines of the audit log that concern it.
    pub events: Vec<Arc<AuditEvent>>,
    /// What went wrong while reading the log.
    pub unreadable: Vec<String>,
    /// Ready endpoints over time.
    pub endpoints: Endpoints,
    /// Aliases over time.
    pub aliases: Aliases,
    /// The moments that were marked.
    pub marks: Vec<Mark>,
}

impl Observation {
    /// Reads what was gathered.
    pub fn of(gathered: Gathered, config: &ObserverConfig) -> Self {
        let Gathered {
            started_at,
            baseline,
            mut events,
            unreadable,
            endpoints,
            aliases,
            marks,
        } = gathered;
        unanswered::answer(&baseline, &mut events);
        let all = one_each(&events);
        let here: Vec<_> = all
            .iter()
            .copied()
            .filter(|event| event.object_ref.namespace == config.namespace)
            .collect();
        let controller = &config.controller_user;
        let changes = reader::changes(&baseline, &here, controller);
        let jobs = jobs::lives(&here);
        let history = History {
            changes: &changes,
            calls: &reader::calls(&here, controller),
            name_changes: &aliases.name_changes(),
            processes: &jobs.iter().map(JobLife::process).collect::<Vec<_>>(),
            complete: false,
        };
        let mut violations = unreadable;
        violations.extend(
            check(history, Tolerance::default())
                .iter()
                .map(ToString::to_string),
        );
        let claims = claims(&changes);
        let progress: BTreeSet<_> = claims
            .iter()
            .filter(|claimed| claimed.only_progress)
            .map(|claimed| claimed.version)
            .collect();
        let concerns_us = |event: &&AuditEvent| {
            let object = &event.object_ref;
            object.namespace == config.namespace || object.namespace.is_empty() || object.resource == "leases"
        };
        let concerning: Vec<_> = all.iter().copied().filter(concerns_us).collect();
        let requests = Requests::of(&concerning, controller, &progress);
        let moves = moves(&changes);
        Self {
            started_at,
            marks,
            moves,
            jobs,
            claims,
            requests,
            endpoints,
            aliases,
            violations,
        }
    }

    /// Everything that was seen and must not be, in plain sentences; empty when all is well. Not in it:
    /// the number of ready endpoints, because a test may take pods away; ask [`Self::endpoints`].
    pub fn violations(&self) -> &[String] {
        &self.violations
    }

    /// Panics with all violations and the transcript, unless there is none.
    pub fn assert_well(&self) {
        let transcript = self.transcript();
        assert!(
            self.violations.is_empty(),
            "{}\n\n{transcript}",
            self.violations.join("\n")
        );
    }

    /// The moves without their objects; the same move of several objects in a row (two Services, two
    /// Deployments) counts once.
    pub fn order(&self) -> Vec<Move> {
        order(&self.moves)
    }

    /// The same from a mark on.
    pub fn order_since(&self, mark: &Mark) -> Vec<Move> {
        order(self.moves.iter().filter(|moved| moved.at >= mark.at))
    }

    /// When the first such move of the window was.
    pub fn first(&self, what: &Move) -> Option<Timestamp> {
        self.moves
            .iter()
            .find(|moved| moved.what == *what)
            .map(|moved| moved.at)
    }

    /// The story of the window: one line a move, with the time since the observation began and everything
    /// that it changed.
    pub fn transcript(&self) -> String {
        transcript(&self.moves, self.started_at)
    }

    /// Requests to the API server from a mark on.
    #[must_use]
    pub fn requests_since(&self, mark: &Mark) -> Requests {
        self.requests.since(mark.at)
    }

    /// The phases that the status of a Release went through, each change once.
    pub fn phases(&self, release: &str) -> Vec<String> {
        let own = self.claims.iter().filter(|claimed| claimed.release == release);
        let mut phases: Vec<_> = own
            .filter_map(|claimed| Some(claimed.status["phase"].as_str()?.to_owned()))
            .collect();
        phases.dedup();
        phases
    }
}

fn order<'a>(moves: impl IntoIterator<Item = &'a Moved>) -> Vec<Move> {
    let mut order: Vec<Move> = Vec::new();
    let mut done: BTreeSet<(Kind, &str)> = BTreeSet::new();
    for moved in moves {
        let object = (moved.kind, moved.name.as_str());
        let new_object = done.insert(object);
        if order.last() == Some(&moved.what) && new_object {
            continue;
        }
        if order.last() != Some(&moved.what) {
            done = BTreeSet::from([object]);
        }
        order.push(moved.what.clone());
    }
    order
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// What is wrong with these events, without times.
    pub(crate) fn judge(events: &[AuditEvent]) -> Vec<String> {
        judge_after(&Baseline::default(), events)
    }

    /// What is wrong with these events after what was there, without times.
    pub(crate) fn judge_after(baseline: &Baseline, events: &[AuditEvent]) -> Vec<String> {
        let gathered = Gathered {
            baseline: baseline.clone(),
            events: events.iter().cloned().map(Arc::new).collect(),
            ..Gathered::default()
        };
        let seen = Observation::of(gathered, &ObserverConfig::new("", "shop"));
        let violations = seen.violations().iter();
        violations
            .map(|violation| violation.split(" (at ").next().unwrap().to_owned())
            .collect()
    }
}
