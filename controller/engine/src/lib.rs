//! The pure core of Slipway: it decides what a Release does next.
//!
//! # Architecture invariants
//! 1. The engine does no I/O, reads no clock, draws no random number, and cannot fail.
//! 2. Nothing after [`Intent::parse`] reads the raw spec.
//! 3. The shell never decides; it carries out one conditional call per [`Effect`].
//! 4. No effect before its status commit; no event before its status commit.
//! 5. What cannot be taken back is recorded before and confirmed by observation after.
//! 6. Unknown never advances a step.
//! 7. The order of the steps exists in the routes of [`steps`] alone.
//! 8. Every text that people read comes from the decision.
//! 9. Two controllers running at once are harmless.
//! 10. Deleting the controller stops progress and breaks nothing that runs.
//!
//! A reader follows one Release through [`intent`], [`decide()`], a file of [`steps`], [`window`] and
//! [`task`].

#![cfg_attr(
    test,
    allow(clippy::too_many_lines, reason = "a table of many rows is long and simple")
)]

pub mod build;
pub mod catch_up;
pub mod classify;
pub mod decide;
pub mod decision;
pub mod draft;
pub mod ending;
#[cfg(test)]
mod fixture;
pub mod housekeeping;
pub mod intent;
pub mod invariants;
pub mod levers;
pub mod observed;
pub mod progress;
pub mod question;
#[cfg(test)]
mod random_tests;
pub mod revision;
pub mod rollouts;
pub mod search;
mod sentence;
mod spoken;
pub mod status;
pub mod steps;
#[cfg(test)]
mod stories;
pub mod task;
pub mod template;
pub mod terminate;
pub mod transcript;
pub mod window;
pub mod workloads;

pub use decide::decide;
pub use decision::{Because, Call, Decision, Effect, ReadAgain, Wake};
pub use intent::Intent;
pub use observed::Observed;
pub use progress::Progress;
pub use question::{Answer, Answered, Answers, Question, questions};
