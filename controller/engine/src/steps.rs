//! The steps of a revision. The order lives in the routes; a step never names its successor, and imports no other step.

pub mod cutover;
pub mod expand;
pub mod preboot;
pub mod preflight;
pub mod prepare;
pub mod reindex;
pub mod retire;
pub mod watch;

use slipway_crds::v1alpha1::status::{StepName, StepState, StopReason};

use crate::draft::{Draft, StepInput, Verdict};
use crate::progress::Progress;
use crate::question::Question;

/// From a version that serves to the next one.
const RELEASE: &[StepName] = &[
    StepName::Preflight,
    StepName::Prepare,
    StepName::Expand,
    StepName::Reindex,
    StepName::Preboot,
    StepName::Cutover,
    StepName::Watch,
    StepName::Retire,
];

/// Nothing serves yet: there is no traffic to move, and no old side to watch.
const FIRST_INSTALLATION: &[StepName] = &[
    StepName::Preflight,
    StepName::Prepare,
    StepName::Expand,
    StepName::Reindex,
    StepName::Preboot,
    StepName::Retire,
];

/// The steps that a revision takes, in order.
pub fn route(first_installation: bool) -> &'static [StepName] {
    if first_installation {
        FIRST_INSTALLATION
    } else {
        RELEASE
    }
}

/// The steps of the revision at work, in order.
pub(crate) fn route_of(progress: &Progress) -> &'static [StepName] {
    route(
        progress
            .revision()
            .is_some_and(|revision| revision.first_installation),
    )
}

fn dispatch(step: StepName, input: &StepInput<'_>, draft: &mut Draft) -> Verdict {
    match step {
        StepName::Preflight => preflight::step(input, draft),
        StepName::Prepare => prepare::step(input, draft),
        StepName::Expand => expand::step(input, draft),
        StepName::Reindex => reindex::step(input, draft),
        StepName::Preboot => preboot::step(input, draft),
        StepName::Cutover => cutover::step(input, draft),
        StepName::Watch => watch::step(input, draft),
        StepName::Retire => retire::step(input, draft),
    }
}

/// What the step at work has to know; before a revision begins, what its first step will.
pub(crate) fn asks(input: &StepInput<'_>) -> Vec<Question> {
    if input.committed.revision().is_none() {
        return preflight::asks_of_objects(input);
    }
    if input.begins() {
        return preflight::asks(input);
    }
    if !input.committed.forward() {
        return Vec::new();
    }
    let mut ahead = route_of(input.committed).iter();
    match ahead.find(|step| !input.committed.completed(**step)) {
        Some(StepName::Preflight) => preflight::asks(input),
        Some(StepName::Reindex) => reindex::asks(input),
        Some(StepName::Preboot) => preboot::asks(input),
        Some(StepName::Cutover) => cutover::asks(input),
        Some(StepName::Retire) => retire::asks(input),
        Some(StepName::Prepare | StepName::Expand | StepName::Watch) | None => Vec::new(),
    }
}

/// Whether `suspend` keeps a step from starting. Rescue and the end of an open window never wait for it.
fn waits_for_suspend(step: StepName) -> bool {
    match step {
        StepName::Preflight
        | StepName::Prepare
        | StepName::Expand
        | StepName::Reindex
        | StepName::Preboot
        | StepName::Cutover => true,
        StepName::Watch | StepName::Retire => false,
    }
}

/// Goes on to the first step that is not completed, and lets it work. Says which, and what it says; none when all are
/// completed.
pub fn run_steps(input: &StepInput<'_>, draft: &mut Draft) -> Option<(StepName, Verdict)> {
    for name in route_of(input.committed).iter().copied() {
        if draft.progress.completed(name) {
            continue;
        }
        let started = draft.progress.started(name);
        if !started && input.intent.live.suspend && waits_for_suspend(name) {
            return Some((name, Verdict::suspended()));
        }
        let now = draft.now();
        draft.progress.step_mut(name).started_at.get_or_insert(now);
        let verdict = dispatch(name, input, draft);
        record(name, &verdict, draft);
        if !matches!(verdict, Verdict::Done | Verdict::Skipped) {
            return Some((name, verdict));
        }
        // The next step looks at what this one has recorded and done.
        if !draft.effects.is_empty() || verdict == Verdict::Done {
            return Some((
                name,
                Verdict::working("goes on", "Waiting for the next step to begin."),
            ));
        }
    }
    None
}

fn record(name: StepName, verdict: &Verdict, draft: &mut Draft) {
    let now = draft.now();
    let step = draft.progress.step_mut(name);
    let (state, reason, message, progress) = match verdict {
        Verdict::Done => (StepState::Succeeded, None, None, None),
        Verdict::Skipped => (StepState::Skipped, None, None, None),
        Verdict::Working { progress, message } => (StepState::Running, None, Some(message), Some(progress)),
        Verdict::Stalled {
            reason: reason @ StopReason::TaskUnknown,
            message,
        } => (StepState::Unknown, Some(*reason), Some(message), None),
        Verdict::Stalled { reason, message } => (StepState::Waiting, Some(*reason), Some(message), None),
        Verdict::Failed { reason, message } => (StepState::Failed, Some(*reason), Some(message), None),
    };
    step.state = state;
    step.reason = reason;
    step.message = message.map(|text| crate::status::cut(text, 2048));
    step.progress = progress.map(|text| crate::status::cut(text, 128));
    step.finished_at = match verdict {
        Verdict::Done | Verdict::Skipped | Verdict::Failed { .. } => Some(now),
        Verdict::Working { .. } | Verdict::Stalled { .. } => None,
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_step_is_on_a_route_and_no_route_takes_one_twice() {
        for step in StepName::ALL {
            assert!(
                [route(true), route(false)]
                    .iter()
                    .any(|route| route.contains(&step)),
                "{step:?} is on no route"
            );
        }
        for route in [route(true), route(false)] {
            let twice = |step| route.iter().filter(|other| *other == step).count() > 1;
            assert!(!route.iter().any(twice));
        }
    }
}
