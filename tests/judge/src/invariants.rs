//! What must hold of every history, seen from outside: changes of objects, calls, what happened in the search engine,
//! and the processes that ran. The controller is not asked.

mod bounded;
mod leader;
mod own;
mod search;
mod serving;
mod status;
mod tasks;
mod window;

use std::fmt;

use jiff::Timestamp;
use slipway_kubernetes::{clock, cluster::Process, search::NameChange, store::Change};

use super::{
    calls::Call,
    past::{CONTROLLER, Past},
};

/// The variable that tells a pod which indices to read.
pub const GENERATION: &str = "SEARCH_INDEX_GENERATION";

/// A statement that a history breaks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The invariant, in one word.
    pub invariant: &'static str,
    /// When.
    pub at: Timestamp,
    /// What was seen.
    pub what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (invariant, what, at) = (self.invariant, &self.what, clock::micros(self.at));
        write!(formatter, "{invariant}: {what} (at {at})")
    }
}

/// What was seen of a run, by a simulator or on a real cluster. The names of the controller's processes begin with
/// [`CONTROLLER`].
#[derive(Clone, Copy, Debug, Default)]
pub struct History<'a> {
    /// Changes of objects in the order in which the server made them.
    pub changes: &'a [Change],
    /// The calls of clients.
    pub calls: &'a [Call],
    /// What happened in the search engine.
    pub name_changes: &'a [(Timestamp, NameChange)],
    /// The processes that ran; of a real cluster those of task Jobs.
    pub processes: &'a [Process],
    /// Whether every change of every object is here, as a simulator's store has it. An audit log has not: statuses of
    /// Deployments and ReplicaSets, leases and EndpointSlices are not kept with their bodies, and nothing of a write
    /// whose caller died. What rests on these is only judged of a complete history.
    pub complete: bool,
}

/// How gently the traffic has to be treated in a scenario.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tolerance {
    /// The fewest ready endpoints that the Service may ever have; 0 where the scenario itself kills pods.
    pub floor: usize,
    /// Whether people or strangers change the objects of a window, so that the controller has to repair them.
    pub disturbed: bool,
    /// Whether the controller's clocks go right, so that its waits can be measured.
    pub timed: bool,
}

/// Finds what a history breaks.
pub fn check(history: History<'_>, tolerance: Tolerance) -> Vec<Violation> {
    let mut found = Vec::new();
    let mut past = Past::default();
    let mut window = window::Window::new(tolerance);
    let mut names = search::Names::new(history);
    let mut tasks = tasks::Tasks::new(history.complete);
    let mut status = status::Status::default();
    let mut templates = own::Templates::default();
    for change in history.changes {
        tasks.see(change, &past, &mut found);
        status.see(change, &mut found);
        templates.see(change, &mut found);
        if history.complete {
            names.until(change.at, &past, &mut found);
            window.see(change, &past, &mut found);
            past.take(change);
            search::pairing(change, &past, history, &mut found);
        }
    }
    if history.complete {
        names.until(Timestamp::MAX, &past, &mut found);
        serving::floor(history, tolerance.floor, &mut found);
    }
    search::one_index(history, &mut found);
    tasks::no_overlap(history, &mut found);
    let calls = history.calls.iter();
    let mut own: Vec<&Call> = calls.filter(|call| call.actor.starts_with(CONTROLLER)).collect();
    // One that was stopped while it sent left later than it began.
    own.sort_by_key(|call| call.at);
    own.iter()
        .filter(|call| call.mutating())
        .for_each(|call| own::written(call, &mut found));
    bounded::calls(&own, history, &mut found);
    if history.complete {
        leader::writes(&own, history, &mut found);
    }
    found
}
