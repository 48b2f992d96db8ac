//! Expand: the migration that old code survives, before anything is built or booted.

use crate::turn::{StepInput, Turn, Verdict};

use super::run_once;

/// Runs the migration once for what it is given.
pub fn step(input: &StepInput<'_>, turn: &mut Turn) -> Verdict {
    match &input.plan.expand {
        Some(plan) => run_once(input, turn, plan),
        None => Verdict::Skipped,
    }
}
