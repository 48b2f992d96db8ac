//! Controllers that err on purpose: each error must be caught, by the invariant that is there for it.
//!
//! The error is planted where the shell asks the engine: what the engine is told is bent, or what it decides is.
//! The product's own code has no switch for any of it.

mod bent;
mod spoilt;

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

/// An error, where it is planted, and what has to catch it.
pub struct Tooth {
    /// The error.
    pub error: Error,
    /// The scenario.
    pub scenario: Scenario,
    /// The invariant.
    pub caught_by: &'static str,
    /// A part of what it says.
    pub says: &'static str,
}

const fn tooth(error: Error, scenario: Scenario, caught_by: &'static str, says: &'static str) -> Tooth {
    Tooth {
        error,
        scenario,
        caught_by,
        says,
    }
}

const WINDOW: &str = "order of the window";

/// All of them.
pub const ALL: [Tooth; 24] = [
    tooth(Error::PinBeforeOpen, scenes::PLAIN, WINDOW, "not in a window"),
    tooth(
        Error::HoldWithoutLock,
        scenes::PLAIN,
        WINDOW,
        "not in a window, paused",
    ),
    tooth(Error::BothWithoutBolt, scenes::PLAIN, WINDOW, "without the bolt"),
    tooth(
        Error::BoltTooEarly,
        scenes::PLAIN,
        WINDOW,
        "bolted before the cutover",
    ),
    tooth(
        Error::UnpinAfterClose,
        scenes::PLAIN,
        WINDOW,
        "the window closes while",
    ),
    tooth(
        Error::HoldInTwoPatches,
        scenes::PLAIN,
        WINDOW,
        "in the same write",
    ),
    tooth(
        Error::EvictedSuccess,
        scenes::EVICTED,
        "unknown is not success",
        "its pod has not",
    ),
    tooth(
        Error::JobMadeAgain,
        scenes::JOB_DELETED,
        "at most once",
        "second start",
    ),
    tooth(
        Error::EffectBeforeCommit,
        scenes::PLAIN,
        WINDOW,
        "without a committed intent",
    ),
    tooth(
        Error::ComputedHash,
        scenes::PLAIN,
        WINDOW,
        "no ReplicaSet of the Deployment",
    ),
    tooth(
        Error::RetriedPost,
        scenes::MIGRATION_FAILS,
        "at most once",
        "second start",
    ),
    tooth(
        Error::StartedAtOnce,
        scenes::MIGRATION_FAILS,
        "at most once",
        "not recorded before",
    ),
    tooth(Error::OwnLease, scenes::PLAIN, "fenced", "sent while the Lease"),
    tooth(
        Error::HoldRemembered,
        scenes::PLAIN,
        WINDOW,
        "the user's values were",
    ),
    tooth(Error::AliasTooEarly, scenes::WHOLE, "alias", "is alive"),
    tooth(
        Error::UnreadySide,
        scenes::NEVER_READY,
        WINDOW,
        "not ready in full",
    ),
    tooth(
        Error::IndexTooEarly,
        scenes::WHOLE,
        "kept",
        "not recorded as not needed",
    ),
    tooth(
        Error::Unconditional,
        scenes::PLAIN,
        "own things only",
        "unconditional",
    ),
    tooth(
        Error::ForeignField,
        scenes::PLAIN,
        "own things only",
        "spec.replicas",
    ),
    tooth(Error::OutcomeChanged, scenes::WHOLE, "monotone", "outcome of"),
    tooth(
        Error::UnsettledWindow,
        scenes::UNSETTLED,
        WINDOW,
        "whose rollout is under way",
    ),
    tooth(
        Error::LeaseOutlived,
        scenes::PLAIN,
        "fenced",
        "sent while the Lease",
    ),
    tooth(
        Error::UngatedRescue,
        scenes::OLD_SIDE_DIES,
        WINDOW,
        "passed no gate",
    ),
    tooth(Error::Restless, scenes::PLAIN, "bounded", "in ten seconds"),
];

/// Longer than a Lease is valid.
const STOPPED: Duration = Duration::from_mins(1);

impl Tooth {
    /// The run in which the error is made.
    pub fn plan(&self) -> Plan {
        let error = self.error;
        let mut plan = Plan::peaceful(self.scenario, 1);
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
    memory: Mutex<spoilt::Memory>,
}

impl Planner for Erring {
    fn decide(&self, intent: &Intent, committed: &Progress, observed: &Observed, now: Timestamp) -> Decision {
        let (told, seen) = bent::bend(self.error, committed, observed, now);
        let decision = Engine.decide(intent, &told, &seen, now);
        let mut memory = self.memory.lock().expect("one thread");
        spoilt::spoil(self.error, committed, observed, decision, &mut memory)
    }

    /// One that errs does not notice.
    fn broken(&self, _: &Intent, _: &Progress, _: &Observed, _: &Decision) -> Vec<String> {
        Vec::new()
    }
}
