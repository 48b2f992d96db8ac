//! What to do next. Deletion, levers and a newer spec come first, then the walk over the steps.

use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use slipway_crds::names::RELEASE_FINALIZER;
use slipway_crds::v1alpha1::Phase;
use slipway_crds::v1alpha1::status::{Course, Outcome, Revision, StepName};

use crate::decision::{Decision, Effect, Kind, Purpose, Wake};
use crate::intent::{Intent, Plan};
use crate::needs::needs;
use crate::observed::Observed;
use crate::progress::Progress;
use crate::steps::walk;
use crate::turn::{StepInput, Turn, Verdict};
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

/// What a release waits for that no watch tells of: the search engine, volume claims and autoscalers.
const READ_LIVE: [&str; 7] = [
    "SearchUnavailable",
    "SearchUnsupported",
    "AliasIsIndex",
    "AliasOnSeveralIndices",
    "AliasConflict",
    "NeverTwoAtOnce",
    "AutoscalerOnValue",
];

/// At most so many looks are told in one decision.
const LOOKS: usize = 8;

/// Looks at everything and says what to commit, then to do, then to tell.
///
/// Looks that only record are told together, so that a release costs few writes. What cannot be taken back never
/// joins them: its intent is committed before, and what it rests on is read again.
///
/// Total and deterministic: the same input gives the same decision, and no input makes it fail.
pub fn decide(intent: &Intent, committed: &Progress, observed: &Observed, now: Timestamp) -> Decision {
    let now = committed.latest().map_or(now, |latest| latest.max(now));
    let asked = needs(intent, committed, now);
    let mut decision = one_look(intent, committed, observed, now);
    for _ in 1..LOOKS {
        let records = decision.effects.is_empty() && decision.progress != *committed;
        if !records || !needs(intent, &decision.progress, now).within(&asked) {
            break;
        }
        let mut next = one_look(intent, &decision.progress, observed, now);
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
        let mut because = decision.because;
        because.extend(next.because);
        decision = Decision { because, ..next };
        if grave {
            break;
        }
    }
    decision
}

/// One look: what is said in it, and done.
pub(crate) fn one_look(
    intent: &Intent,
    committed: &Progress,
    observed: &Observed,
    now: Timestamp,
) -> Decision {
    let mut turn = Turn::new(committed, now);
    let view = look(intent, committed, observed, now, &mut turn);
    if matches!(view.verdict, Verdict::Stalled { reason, .. } if READ_LIVE.contains(&reason)) {
        turn.wake_after(ASK_AGAIN);
    }
    status::render(intent, observed, &view, &mut turn);
    Decision {
        progress: turn.progress,
        effects: turn.effects,
        because: turn.because,
        wake: turn.wake,
    }
}

fn look(intent: &Intent, committed: &Progress, observed: &Observed, now: Timestamp, turn: &mut Turn) -> View {
    let plan = plan(intent, committed);
    let input = plan.as_ref().map(|plan| StepInput {
        intent,
        plan,
        committed,
        observed,
        now,
    });
    if let Some(input) = &input {
        task::free_pods(input, turn);
        if !intent.meta.deleting {
            task::delete_strays(input, turn);
        }
    }
    if intent.meta.deleting {
        let verdict = terminate::terminate(intent, observed, input.as_ref(), turn);
        return View {
            phase: Phase::Terminating,
            verdict,
        };
    }
    if !intent
        .meta
        .finalizers
        .iter()
        .any(|name| name == RELEASE_FINALIZER)
    {
        guard(intent, turn);
        return View {
            phase: Phase::Pending,
            verdict: Verdict::working("begins", "the finalizer to be set"),
        };
    }
    let Some(input) = input else {
        return View {
            phase: Phase::Pending,
            verdict: invalid(intent),
        };
    };
    if levers::pull(intent, turn) {
        return View {
            phase: phase(&turn.progress),
            verdict: Verdict::working("steered", "what was asked for to be recorded"),
        };
    }
    match committed.revision() {
        None => {
            let verdict = revision::adopt(&input, turn);
            View {
                phase: phase(&turn.progress),
                verdict,
            }
        }
        Some(running) if running.ended.is_none() => under_way(&input, running, turn),
        Some(_) => at_rest(&input, turn),
    }
}

/// The version at work: that of a running revision as it was when it began, with the live settings of the
/// spec as long as that describes the same version; else the one that the spec describes.
fn plan(intent: &Intent, committed: &Progress) -> Option<Plan> {
    let wanted = intent.wanted.as_ref().ok();
    let frozen = |revision: &Revision| Plan::parse(&revision.inputs.0).ok();
    match committed.revision() {
        Some(revision) if revision.ended.is_none() => wanted
            .filter(|wanted| wanted.digest == revision.digest)
            .cloned()
            .or_else(|| frozen(revision)),
        Some(revision) => wanted.cloned().or_else(|| frozen(revision)),
        None => wanted.cloned(),
    }
}

fn invalid(intent: &Intent) -> Verdict {
    match &intent.wanted {
        Ok(_) => Verdict::Done,
        Err(problem) => Verdict::stalled("InvalidSpec", problem.to_string()),
    }
}

fn guard(intent: &Intent, turn: &mut Turn) {
    let mut finalizers = intent.meta.finalizers.clone();
    finalizers.push(RELEASE_FINALIZER.to_owned());
    let body =
        json!({ "metadata": { "resourceVersion": intent.meta.resource_version, "finalizers": finalizers } });
    turn.patch(
        Kind::Release,
        &intent.meta.name,
        &intent.meta.uid,
        Purpose::Guard,
        body,
    );
}

fn under_way(input: &StepInput<'_>, running: &Revision, turn: &mut Turn) -> View {
    if let Ok(wanted) = &input.intent.wanted
        && revision::supersede(input, wanted, turn)
    {
        return View {
            phase: phase(input.committed),
            verdict: Verdict::working("steered", "the newer version to be taken note of"),
        };
    }
    let ending = match running.course {
        Course::Forward => return forward(input, turn),
        Course::Stop => ending::stop(input, turn),
        Course::Rollback => ending::roll_back(input, turn),
    };
    if let Some(verdict) = ending {
        return View {
            phase: phase(input.committed),
            verdict,
        };
    }
    let reason = running.reason.as_ref().map(|reason| reason.reason.as_str());
    if reason == Some("StatusLost") {
        // What runs now is adopted as if it had never been seen.
        turn.progress.status.revision = None;
        turn.progress.status.workloads.clear();
        return View {
            phase: Phase::Pending,
            verdict: Verdict::working("recovered", "what runs to be adopted"),
        };
    }
    let outcome = match (running.course, reason) {
        (Course::Rollback, _) => Outcome::RolledBack,
        (Course::Forward | Course::Stop, Some("Superseded" | "AbortRequested")) => Outcome::Aborted,
        (Course::Forward | Course::Stop, _) => Outcome::Failed,
    };
    ending::end(turn, outcome);
    View {
        phase: phase(&turn.progress),
        verdict: Verdict::Done,
    }
}

/// What follows a failure after the cutover.
const AFTER_ROLLBACK: &str =
    ". The traffic goes back to the old side, and this version is not tried again before the spec changes";

fn forward(input: &StepInput<'_>, turn: &mut Turn) -> View {
    let Some((step, verdict)) = walk(input, turn) else {
        ending::end(turn, Outcome::Complete);
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
        let why = turn.reason(reason, status::cut(&message, 2048));
        turn.warn(reason, input.committed.revision_name(), message);
        turn.progress.steer(course, why);
        // What the failing step still wanted to do is not done.
        turn.effects
            .retain(|effect| !effect.irreversible() || effect.word() == "FreePod");
    }
    View {
        phase: phase_of(step),
        verdict,
    }
}

fn at_rest(input: &StepInput<'_>, turn: &mut Turn) -> View {
    let ended = phase(input.committed);
    if input.intent.wanted.is_err() {
        return View {
            phase: ended,
            verdict: invalid(input.intent),
        };
    }
    if let Some(verdict) = revision::next(input, turn) {
        return View {
            phase: Phase::Pending,
            verdict,
        };
    }
    housekeeping::strays(input, turn);
    housekeeping::old_jobs(input, turn);
    housekeeping::old_indices(input, turn);
    View {
        phase: ended,
        verdict: Verdict::Done,
    }
}

fn phase(progress: &Progress) -> Phase {
    let Some(revision) = progress.revision() else {
        return Phase::Pending;
    };
    match revision.ended.map(|ended| ended.outcome) {
        Some(Outcome::Adopted | Outcome::Complete) => Phase::Complete,
        Some(Outcome::Failed) => Phase::Failed,
        Some(Outcome::Aborted) => Phase::Aborted,
        Some(Outcome::RolledBack) => Phase::RolledBack,
        None => progress
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
