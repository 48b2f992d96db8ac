//! Controllers that err on purpose: each error must be caught, by the invariant that is there for it.
//!
//! The error is planted where the shell asks the engine: what the engine is told is changed, or what it decides is.
//! The product's own code has no switch for any of it.

mod decisions;
mod inputs;

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use jiff::Timestamp;
use slipway_controller::context::{Engine, Planner};
use slipway_engine::{Decision, Intent, Observed, Progress};

use super::{plan::Plan, plans::leaders, scenario::Scenario, scenes};

/// An error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// The Service is pinned before the window is open.
    PinBeforeOpen,
    /// The traffic moves while the Deployment is not paused.
    HoldWithoutLock,
    /// The traffic moves while the old ReplicaSet counts as available.
    BothWithoutBolt,
    /// The old ReplicaSet is bolted while it serves.
    BoltTooEarly,
    /// The window closes, and the pin stays.
    UnpinAfterClose,
    /// Template and hold fields come in two patches.
    HoldInTwoPatches,
    /// The success of a Job is believed whose pod was evicted.
    EvictedSuccess,
    /// A Job that was deleted is made again, and runs.
    JobMadeAgain,
    /// The cutover is carried out and its intent never committed.
    EffectBeforeCommit,
    /// The pin is a hash that was computed.
    ComputedHash,
    /// A POST of a Job that runs at once is sent twice.
    RetriedPost,
    /// A Job runs as soon as it is made.
    StartedAtOnce,
    /// Two processes believe that they hold the Lease.
    OwnLease,
    /// The hold's values are remembered as the user's.
    HoldRemembered,
    /// The stable alias moves while old pods live.
    AliasTooEarly,
    /// Traffic goes to a side that is not ready.
    UnreadySide,
    /// The old index is deleted while the old side is warm.
    IndexTooEarly,
    /// A patch comes without a resource version.
    Unconditional,
    /// A patch changes the number of pods.
    ForeignField,
    /// A recorded outcome is changed.
    OutcomeChanged,
    /// The window opens on a Deployment whose rollout is under way.
    UnsettledWindow,
    /// A process goes on with what it was about to write when its Lease has run out.
    LeaseOutlived,
    /// When the old side dies the traffic goes to a side that has passed no gate.
    UngatedRescue,
    /// Each look at a Deployment changes it.
    Restless,
}

/// An error, the scenario in which it is made, and what has to catch it.
pub struct Mutant {
    /// The error.
    pub error: Error,
    /// The scenario.
    pub scenario: Scenario,
    /// The invariant.
    pub caught_by: &'static str,
    /// A part of what it says.
    pub says: &'static str,
}

const fn mutant(error: Error, scenario: Scenario, caught_by: &'static str, says: &'static str) -> Mutant {
    Mutant {
        error,
        scenario,
        caught_by,
        says,
    }
}

const WINDOW: &str = "order of the window";

/// All of them.
pub const ALL: [Mutant; 24] = [
    mutant(Error::PinBeforeOpen, scenes::PLAIN, WINDOW, "not in a window"),
    mutant(
        Error::HoldWithoutLock,
        scenes::PLAIN,
        WINDOW,
        "not in a window, paused",
    ),
    mutant(Error::BothWithoutBolt, scenes::PLAIN, WINDOW, "without the bolt"),
    mutant(
        Error::BoltTooEarly,
        scenes::PLAIN,
        WINDOW,
        "bolted before the cutover",
    ),
    mutant(
        Error::UnpinAfterClose,
        scenes::PLAIN,
        WINDOW,
        "the window closes while",
    ),
    mutant(
        Error::HoldInTwoPatches,
        scenes::PLAIN,
        WINDOW,
        "in the same write",
    ),
    mutant(
        Error::EvictedSuccess,
        scenes::EVICTED,
        "unknown is not success",
        "its pod has not",
    ),
    mutant(
        Error::JobMadeAgain,
        scenes::JOB_DELETED,
        "at most once",
        "second start",
    ),
    mutant(
        Error::EffectBeforeCommit,
        scenes::PLAIN,
        WINDOW,
        "without a committed intent",
    ),
    mutant(
        Error::ComputedHash,
        scenes::PLAIN,
        WINDOW,
        "no ReplicaSet of the Deployment",
    ),
    mutant(
        Error::RetriedPost,
        scenes::MIGRATION_FAILS,
        "at most once",
        "second start",
    ),
    mutant(
        Error::StartedAtOnce,
        scenes::MIGRATION_FAILS,
        "at most once",
        "not recorded before",
    ),
    mutant(Error::OwnLease, scenes::PLAIN, "fenced", "sent while the Lease"),
    mutant(
        Error::HoldRemembered,
        scenes::PLAIN,
        WINDOW,
        "the user's values were",
    ),
    mutant(Error::AliasTooEarly, scenes::WHOLE, "alias", "is alive"),
    mutant(
        Error::UnreadySide,
        scenes::NEVER_READY,
        WINDOW,
        "not ready in full",
    ),
    mutant(
        Error::IndexTooEarly,
        scenes::WHOLE,
        "kept",
        "not recorded as not needed",
    ),
    mutant(
        Error::Unconditional,
        scenes::PLAIN,
        "own things only",
        "unconditional",
    ),
    mutant(
        Error::ForeignField,
        scenes::PLAIN,
        "own things only",
        "spec.replicas",
    ),
    mutant(Error::OutcomeChanged, scenes::WHOLE, "monotone", "outcome of"),
    mutant(
        Error::UnsettledWindow,
        scenes::UNSETTLED,
        WINDOW,
        "whose rollout is under way",
    ),
    mutant(
        Error::LeaseOutlived,
        scenes::PLAIN,
        "fenced",
        "sent while the Lease",
    ),
    mutant(
        Error::UngatedRescue,
        scenes::OLD_SIDE_DIES,
        WINDOW,
        "passed no gate",
    ),
    mutant(Error::Restless, scenes::PLAIN, "bounded", "in ten seconds"),
];

/// Longer than a Lease is valid.
const STOPPED: Duration = Duration::from_mins(1);

impl Mutant {
    /// The run in which the error is made.
    pub fn plan(&self) -> Plan {
        let error = self.error;
        let mut plan = Plan::without_faults(self.scenario, 1);
        plan.trouble = format!("planted {error:?}");
        plan.planner = Arc::new(move || {
            Box::new(Erring {
                error,
                memory: Mutex::default(),
            })
        });
        if error == Error::OwnLease {
            plan.processes = 2;
            plan.own_leases = true;
        }
        if error == Error::LeaseOutlived {
            plan = plan.with("planted LeaseOutlived", |world| {
                leaders::stop(world, 6, false, STOPPED);
            });
            plan.processes = 2;
            plan.fenced = false;
        }
        plan
    }
}

/// An engine that errs.
struct Erring {
    error: Error,
    memory: Mutex<decisions::Memory>,
}

impl Planner for Erring {
    fn decide(&self, intent: &Intent, committed: &Progress, observed: &Observed, now: Timestamp) -> Decision {
        let (told, seen) = inputs::mutate(self.error, committed, observed, now);
        let decision = Engine.decide(intent, &told, &seen, now);
        let mut memory = self.memory.lock().expect("one thread");
        decisions::mutate(self.error, committed, observed, decision, &mut memory)
    }

    /// One that errs does not notice.
    fn broken(&self, _: &Intent, _: &Progress, _: &Observed, _: &Decision) -> Vec<String> {
        Vec::new()
    }
}
