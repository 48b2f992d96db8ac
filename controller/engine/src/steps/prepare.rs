//! Prepare: ordered tasks before anything else, such as an asset sync.

use crate::draft::{Draft, StepInput, Verdict};

use crate::task::once;

/// Runs the tasks one after the other, each once for what it is given.
pub fn step(input: &StepInput<'_>, draft: &mut Draft) -> Verdict {
    if input.plan.prepare.is_empty() {
        return Verdict::Skipped;
    }
    for plan in &input.plan.prepare {
        match once(input, draft, plan) {
            Verdict::Done | Verdict::Skipped => {}
            verdict @ (Verdict::Working { .. } | Verdict::Stalled { .. } | Verdict::Failed { .. }) => {
                return verdict;
            }
        }
    }
    Verdict::Done
}
