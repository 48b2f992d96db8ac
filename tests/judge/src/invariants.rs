//! What must hold of every history, seen from outside: the store's changes, the log of calls, what happened in
//! the search engine, and the processes that ran. The controller is not asked.

mod data;
mod tasks;
mod traffic;
mod window;
mod words;
mod writes;

pub use self::traffic::GENERATION;

use std::fmt;

use jiff::Timestamp;
use slipway_kubernetes::{clock, cluster::Process, search::NameChange, store::Change};

use super::{calls::Call, past::Past};

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
        write!(
            formatter,
            "{}: {} (at {})",
            self.invariant,
            self.what,
            clock::micros(self.at)
        )
    }
}

/// What was seen of a run.
#[derive(Clone, Copy, Debug)]
pub struct History<'a> {
    /// Every change of the store.
    pub changes: &'a [Change],
    /// Every call of every client.
    pub calls: &'a [Call],
    /// What happened in the search engine.
    pub name_changes: &'a [(Timestamp, NameChange)],
    /// Every process that ran.
    pub processes: &'a [Process],
}

/// How gently the traffic has to be treated in a scenario.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
    let mut data = data::Data::new(history.name_changes, history.processes);
    for change in history.changes {
        data.until(change, &past, &mut found);
        window.see(change, &past, &mut found);
        tasks::see(change, &past, &mut found);
        words::see(change, &mut found);
        writes::see(change, &mut found);
        past.take(change);
        traffic::see(change, &past, history.name_changes, &mut found);
    }
    data.end(&past, &mut found);
    tasks::at_most_once(history, &mut found);
    tasks::no_overlap(history, &mut found);
    writes::calls(history, &mut found);
    traffic::floor(history, tolerance.floor, &mut found);
    found
}
