//! What to do next. Deletion, levers and a newer spec come first, then the steps of the route.

use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use slipway_crds::names::RELEASE_FINALIZER;
use slipway_crds::v1alpha1::Phase;
use slipway_crds::v1alpha1::status::{Cause, Course, Outcome, Revision, StepName, StopReason};

use crate::decision::{Decision, Effect, Kind, Purpose, Wake};
use crate::draft::{Draft, StepInput, Verdict};
use crate::intent::{Intent, Plan};
use crate::observed::Observed;
use crate::progress::Progress;
use crate::question::{Question, questions};
use crate::steps::run_steps;
use crate::{ending, housekeeping, levers, revision, status, task, terminate};

/// What a decision found, for the status.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct View {
    /// The phase.
    pub phase: Phase,
    /// What it says.
    pub verdict: Verdict,
}

/// What is read live is read again after this long while it is what a release waits for.
const ASK_AGAIN: SignedDuration = SignedDuration::from_secs(5);

/// At most so many passes make one decision.
const PASSES: usize = 8;

/// Looks at everything and says what to commit, then to do, then to tell.
///
/// Passes that only record are told together, so that a release costs few writes. What cannot be taken back never
/// joins them: its intent is committed before, and what it rests on is read again.
///
/// Total and deterministic: the same input gives the same decision, and no input makes it fail.
pub fn decide(intent: &Intent, committed: &Progress, observed: &Observed, now: Timestamp) -> Decision {
    let now = committed.latest().map_or(now, |latest| latest.max(now));
    let answered = |progress: &Progress| {
        let known: Vec<&Question> = observed.answers.0.iter().map(|known| &known.question).collect();
        let mut asked = questions(intent, progress, observed, now).into_iter();
        asked.all(|question| known.contains(&&question))
    };
    let mut decision = one_pass(intent, committed, observed, now);
    for _ in 1..PASSES {
        let records = decision.effects.is_empty() && decision.progress != *committed;
        if !records || !answered(&decision.progress) {
            break;
        }
        let mut next = one_pass(intent, &decision.progress, observed, now);
        let grave = next.effects.iter().any(Effect::irreversible);
        if next.progress == decision.progress && (grave || next.effects.is_empty())
            || grave && !next.because.is_empty()
        {
            break;
        }
        if grave {
            next.effects.clear();
            next.wake = Wake::After(SignedDuration::ZERO);
        }
        let (mut because, mut read_again) = (decision.because, decision.read_again);
        because.extend(next.because);
        read_again.extend(next.read_again);
        decision = Decision {
            because,
            read_again,
            ..next
        };
        if grave {
            break;
        }
    }
    decision
}

/// One pass: what is said in it, and done.
pub(crate) fn one_pass(
    intent: &Intent,
    committed: &Progress,
    observed: &Observed,
    now: Timestamp,
) -> Decision {
    let mut draft = Draft::new(committed, now);
    let view = pass(intent, committed, observed, now, &mut draft);
    if matches!(view.verdict, Verdict::Stalled { reason, .. } if read_live(reason)) {
        draft.wake_after(ASK_AGAIN);
    }
    status::render(intent, observed, &view, &mut draft);
    let Draft {
        progress,
        effects,
        because,
        read_again,
        wake,
        ..
    } = draft;
    Decision {
        progress,
        effects,
        because,
        read_again,
        wake,
    }
}

/// Whether a release waits for something that no watch tells of.
fn read_live(reason: StopReason) -> bool {
    matches!(
        reason,
        StopReason::SearchUnavailable
            | StopReason::SearchUnsupported
            | StopReason::AliasIsIndex
            | StopReason::AliasOnSeveralIndices
            | StopReason::AliasConflict
            | StopReason::VolumeNotShareable
            | StopReason::UnsupportedAutoscalerMetric
    )
}

fn pass(
    intent: &Intent,
    committed: &Progress,
    observed: &Observed,
    now: Timestamp,
    draft: &mut Draft,
) -> View {
    let plan = plan(intent, committed);
    let input = plan.as_ref().map(|plan| StepInput {
        intent,
        plan,
        committed,
        observed,
        now,
    });
    if let Some(input) = &input {
        task::free_pods(input, draft);
        if !intent.meta.deleting {
            task::delete_strays(input, draft);
        }
    }
    if intent.meta.deleting {
        let verdict = terminate::terminate(intent, observed, input.as_ref(), draft);
        return View {
            phase: Phase::Terminating,
            verdict,
        };
    }
    if !intent.meta.guarded() {
        guard(intent, draft);
        return View {
            phase: Phase::Pending,
            verdict: Verdict::working("begins", "Waiting for the finalizer of the Release to be set."),
        };
    }
    let Some(input) = input else {
        return View {
            phase: Phase::Pending,
            verdict: invalid(intent),
        };
    };
    if levers::pull(intent, draft) {
        return View {
            phase: phase(&draft.progress),
            verdict: Verdict::working("steered", "Recording what was asked for by annotation."),
        };
    }
    match committed.revision() {
        None => {
            let verdict = revision::adopt(&input, draft);
            View {
                phase: phase(&draft.progress),
                verdict,
            }
        }
        Some(running) if running.ended.is_none() => under_way(&input, running, draft),
        Some(_) => at_rest(&input, draft),
    }
}

/// The version at work: that of a running revision; else the one that the spec describes.
pub(crate) fn plan(intent: &Intent, committed: &Progress) -> Option<Plan> {
    let wanted = intent.wanted.as_ref().ok();
    match committed.revision() {
        Some(revision) if revision.ended.is_none() => {
            Plan::for_revision(revision, committed.completed(StepName::Preflight), wanted)
        }
        Some(revision) => wanted
            .cloned()
            .or_else(|| Plan::for_revision(revision, true, None)),
        None => wanted.cloned(),
    }
}

fn invalid(intent: &Intent) -> Verdict {
    match &intent.wanted {
        Ok(_) => Verdict::Done,
        Err(problem) => Verdict::stalled(StopReason::InvalidSpec, problem.to_string()),
    }
}

fn guard(intent: &Intent, draft: &mut Draft) {
    let mut finalizers = intent.meta.finalizers.clone();
    finalizers.push(RELEASE_FINALIZER.to_owned());
    let body =
        json!({ "metadata": { "resourceVersion": intent.meta.resource_version, "finalizers": finalizers } });
    draft.patch(
        Kind::Release,
        &intent.meta.name,
        &intent.meta.uid,
        Purpose::Guard,
        body,
    );
}

fn under_way(input: &StepInput<'_>, running: &Revision, draft: &mut Draft) -> View {
    if let Ok(wanted) = &input.intent.wanted
        && revision::supersede(input, wanted, draft)
    {
        return View {
            phase: phase(input.committed),
            verdict: Verdict::working("steered", "Waiting for the newer version to be taken note of."),
        };
    }
    let ending = match running.course {
        Course::Forward => return forward(input, draft),
        Course::Stop => ending::stop(input, draft),
        Course::Rollback => ending::roll_back(input, draft),
    };
    if let Some(verdict) = ending {
        return View {
            phase: phase(input.committed),
            verdict,
        };
    }
    match running.cause {
        Some(Cause::StatusLost) => {
            // What runs now is adopted as if it had never been seen.
            draft.progress.status.revision = None;
            draft.progress.status.workloads.clear();
            return View {
                phase: Phase::Pending,
                verdict: Verdict::working("recovered", "Waiting for what runs to be adopted."),
            };
        }
        Some(Cause::Superseded | Cause::AbortRequested) if running.course != Course::Rollback => {
            ending::end(draft, Outcome::Aborted);
        }
        Some(_) | None if running.course == Course::Rollback => ending::end(draft, Outcome::RolledBack),
        Some(_) | None => ending::end(draft, Outcome::Failed),
    }
    View {
        phase: phase(&draft.progress),
        verdict: Verdict::Done,
    }
}

/// What follows a failure after the cutover.
const AFTER_ROLLBACK: &str =
    " The traffic goes back to the old side, and this version is not tried again before the spec changes.";

fn forward(input: &StepInput<'_>, draft: &mut Draft) -> View {
    let Some((step, verdict)) = run_steps(input, draft) else {
        ending::end(draft, Outcome::Complete);
        return View {
            phase: Phase::Complete,
            verdict: Verdict::Done,
        };
    };
    if let Verdict::Failed { reason, message } = &verdict {
        let moved = input.committed.status.cutover.is_some();
        let course = if moved { Course::Rollback } else { Course::Stop };
        let after = if moved { AFTER_ROLLBACK } else { "" };
        let message = format!("{message}{after}");
        draft.warn(
            reason.word(),
            input.committed.revision_name().to_string(),
            message.clone(),
        );
        draft.steer(course, Cause::Failed, *reason, message);
        // What the failing step still wanted to do is not done.
        draft
            .effects
            .retain(|effect| !effect.irreversible() || effect.purpose == Purpose::FreePod);
    }
    View {
        phase: phase_of(step),
        verdict,
    }
}

fn at_rest(input: &StepInput<'_>, draft: &mut Draft) -> View {
    let ended = phase(input.committed);
    if input.intent.wanted.is_err() {
        return View {
            phase: ended,
            verdict: invalid(input.intent),
        };
    }
    if let Some(verdict) = revision::next(input, draft) {
        return View {
            phase: Phase::Pending,
            verdict,
        };
    }
    housekeeping::strays(input, draft);
    housekeeping::old_jobs(input, draft);
    housekeeping::old_indices(input, draft);
    View {
        phase: ended,
        verdict: Verdict::Done,
    }
}

fn phase(progress: &Progress) -> Phase {
    let Some(revision) = progress.revision() else {
        return Phase::Pending;
    };
    match (revision.ended.map(|ended| ended.outcome), revision.course) {
        (Some(Outcome::Adopted | Outcome::Complete), _) => Phase::Complete,
        (Some(Outcome::Failed), _) => Phase::Failed,
        (Some(Outcome::Aborted), _) => Phase::Aborted,
        (Some(Outcome::RolledBack), _) => Phase::RolledBack,
        (None, Course::Stop) => Phase::Stopping,
        (None, Course::Rollback) => Phase::RollingBack,
        (None, Course::Forward) => progress
            .status
            .steps
            .iter()
            .rfind(|step| step.started_at.is_some())
            .map_or(Phase::Pending, |step| phase_of(step.name)),
    }
}

/// The phase while a step is at work.
pub fn phase_of(step: StepName) -> Phase {
    match step {
        StepName::Preflight => Phase::Preflight,
        StepName::Prepare => Phase::Prepare,
        StepName::Expand => Phase::Expand,
        StepName::Reindex => Phase::Reindex,
        StepName::Preboot => Phase::Preboot,
        StepName::Cutover => Phase::Cutover,
        StepName::Watch => Phase::Watch,
        StepName::Retire => Phase::Retire,
    }
}
