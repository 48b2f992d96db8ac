//! Prepare: ordered tasks before anything else, such as an asset sync.

use crate::turn::{StepInput, Turn, Verdict};

use super::run_once;

/// Runs the tasks one after the other, each once for what it is given.
pub fn step(input: &StepInput<'_>, turn: &mut Turn) -> Verdict {
    if input.plan.prepare.is_empty() {
        return Verdict::Skipped;
    }
    for plan in &input.plan.prepare {
        match run_once(input, turn, plan) {
            Verdict::Done | Verdict::Skipped => {}
            verdict @ (Verdict::Working { .. } | Verdict::Stalled { .. } | Verdict::Failed { .. }) => {
                return verdict;
            }
        }
    }
    Verdict::Done
}
