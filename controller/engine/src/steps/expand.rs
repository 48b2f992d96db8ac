//! Expand: the migration that old code survives, before anything is built or booted.

use crate::draft::{Draft, StepInput, Verdict};

use crate::task::once;

/// Runs the migration once for what it is given.
pub fn step(input: &StepInput<'_>, draft: &mut Draft) -> Verdict {
    match &input.plan.expand {
        Some(plan) => once(input, draft, plan),
        None => Verdict::Skipped,
    }
}
