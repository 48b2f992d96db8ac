//! The ways out: a revision that is given up before its cutover, and one that is taken back after it.

use jiff::SignedDuration;
use slipway_crds::InputDigest;
use slipway_crds::v1alpha1::status::{
    Ended, Outcome, PastRevision, Rejected, RollbackState, RollbackStatus, StepName, StepState, StopReason,
    TaskOutcome,
};

use crate::decision::Purpose;
use crate::draft::{Draft, StepInput, Verdict};
use crate::intent::Plan;
use crate::progress::Progress;
use crate::rollouts;
use crate::sentence::{count, human};
use crate::task::{input_digest, stop_all};
use crate::window::{self, Side, WorkloadWindow, bring_back, every, hold_again, keep_pins, pin, windows};

/// Given up before its cutover: what runs is stopped or waited for, the new side goes, the old side serves
/// unchanged.
pub fn stop(input: &StepInput<'_>, draft: &mut Draft) -> Option<Verdict> {
    clean_up(input, draft).map(|left| Verdict::working("cleaning up", left))
}

/// Stops what runs or waits for it, and ends every window on the old side. Says what is left to do.
fn clean_up(input: &StepInput<'_>, draft: &mut Draft) -> Option<String> {
    let mut waits = stop_all(input, draft);
    for workload in &input.committed.status.workloads {
        window::end(workload, input.observed, Side::Old, &mut waits, draft);
    }
    rollouts::roll_back(input, draft, &mut waits);
    if !waits.is_empty() {
        return Some(format!("Cleaning up. Waiting for {}.", waits.join("; ")));
    }
    let unrecorded = input.committed.window_open() || input.committed.open_tasks().next().is_some();
    unrecorded.then(|| "Waiting for the end of the clean-up to be recorded.".to_owned())
}

/// Taken back after its cutover: the traffic first, then everything else.
pub fn roll_back(input: &StepInput<'_>, draft: &mut Draft) -> Option<Verdict> {
    let windows = windows(input);
    let open: Vec<WorkloadWindow<'_>> = windows
        .into_iter()
        .filter(|window| window.deployment.window && window.deployment.replicas > 0)
        .collect();
    if let Some(verdict) = traffic_back(input, draft, &open) {
        return Some(verdict);
    }
    clean_up(input, draft).map(|left| {
        Verdict::working(
            "rolled back, cleaning up",
            format!("The traffic is back on the old side. {left}"),
        )
    })
}

fn traffic_back(input: &StepInput<'_>, draft: &mut Draft, open: &[WorkloadWindow<'_>]) -> Option<Verdict> {
    let rollback = input.committed.status.rollback.as_ref();
    if rollback.is_some_and(|rollback| rollback.traffic_back_at.is_some()) {
        return None;
    }
    let retired = input.committed.started(StepName::Retire);
    if retired && !every(open, |window| hold_again(window, Side::Old, draft)) {
        return Some(Verdict::working(
            "old side kept",
            "Waiting for the old side to be kept, before the traffic moves back to it.",
        ));
    }
    for window in open.iter().filter(|window| !window.pinned(Side::Old)) {
        // Nobody else would bring back a side of a paused Deployment.
        bring_back(window, Side::Old, draft);
        let old = window.old.map_or(0, |old| old.ready);
        let new = window.new.map_or(0, |new| new.ready);
        // The way back needs one ready pod; none at all is still better than what does not serve either.
        if old == 0 && new > 0 {
            return Some(Verdict::stalled(
                StopReason::OldSideNotReady,
                format!(
                    "No old pod of Deployment {} is ready, so the traffic stays on {} until one is.",
                    window.deployment.name,
                    count(new, "new pod")
                ),
            ));
        }
    }
    let moved = every(open, |window| {
        window.pinned(Side::Old) && keep_pins(window, Side::Old, draft)
            || pin(window, Side::Old, Purpose::FlipBack, draft)
    });
    if !moved {
        return Some(Verdict::working(
            "moving back",
            "Waiting for the traffic to move back to the old side.",
        ));
    }
    let now = draft.now();
    for window in open {
        draft.workload(&window.status.name, |workload| {
            workload.last_pin_change_at = Some(now);
        });
    }
    draft.progress.status.rollback = Some(RollbackStatus {
        state: RollbackState::Unavailable,
        reason: "the traffic is back on the old side".to_owned(),
        since: Some(now),
        until: None,
        traffic_back_at: Some(now),
    });
    draft.progress.status.serving = input
        .committed
        .revision()
        .and_then(|revision| revision.previous.clone());
    draft.warn(
        "TrafficBack",
        input.committed.revision_name().to_string(),
        "The traffic is back on the old side.",
    );
    Some(Verdict::working(
        "moved back",
        "Waiting for the way back to be recorded.",
    ))
}

/// Ends the revision. Why it left the way forward was told then.
pub fn end(draft: &mut Draft, outcome: Outcome) {
    let now = draft.now();
    let Some(revision) = &mut draft.progress.status.revision else {
        return;
    };
    revision.ended = Some(Ended { outcome, at: now });
    let name = revision.name.clone();
    let took = human(now.duration_since(revision.started_at));
    let (digest, previous) = (revision.digest.clone(), revision.previous.clone());
    let reason = revision
        .reason
        .as_ref()
        .map_or(StopReason::Other, |reason| reason.reason);
    draft.progress.status.rejected = match outcome {
        Outcome::Failed | Outcome::RolledBack => Some(Rejected { digest, reason }),
        Outcome::Adopted | Outcome::Complete | Outcome::Aborted => None,
    };
    let serves = previous.map_or_else(String::new, |previous| format!("; {previous} serves"));
    match outcome {
        Outcome::Complete => {
            draft.progress.status.serving = Some(name.clone());
            let waits = waiting_time(&draft.progress);
            draft.tell("Completed", name.to_string(), format!("{took} in all{waits}"));
        }
        Outcome::Adopted => {}
        Outcome::Failed => draft.warn(
            "Failed",
            name.to_string(),
            format!("{name} has ended after {took} ({reason}){serves}"),
        ),
        Outcome::Aborted => draft.warn(
            "Aborted",
            name.to_string(),
            format!("{name} has ended after {took} ({reason}){serves}"),
        ),
        Outcome::RolledBack => draft.warn(
            "RolledBack",
            name.to_string(),
            format!("{name} was taken back after {took} ({reason}){serves} again"),
        ),
    }
}

/// How much of a release was waiting for others: its tasks, and the watch over the warm old side.
fn waiting_time(progress: &Progress) -> String {
    let tasks: SignedDuration = progress
        .status
        .tasks
        .iter()
        .filter_map(|task| Some(task.finished_at?.duration_since(task.started_at?)))
        .sum();
    let watch = progress
        .step(StepName::Watch)
        .filter(|step| step.state == StepState::Succeeded && progress.status.cutover.is_some())
        .and_then(|step| Some(step.finished_at?.duration_since(step.started_at?)));
    let parts: Vec<String> = [
        (!tasks.is_zero()).then(|| format!("{} by its tasks", human(tasks))),
        watch.map(|watch| format!("{} of watching the warm old side", human(watch))),
    ]
    .into_iter()
    .flatten()
    .collect();
    if parts.is_empty() {
        String::new()
    } else {
        format!(": {}", parts.join(", "))
    }
}

/// What a version that was found running is taken to have run: going back to it runs nothing again.
pub fn ran_by(plan: &Plan, image: &str) -> Vec<InputDigest> {
    let once = plan.prepare.iter().chain(&plan.expand);
    once.map(|task| input_digest(image, task, None)).collect()
}

/// What the history keeps of an ended revision.
pub fn past(progress: &Progress) -> Option<PastRevision> {
    let revision = progress.revision()?;
    let ended = revision.ended?;
    let ran = progress
        .status
        .tasks
        .iter()
        .filter(|task| task.step != StepName::Reindex && task.outcome == Some(TaskOutcome::Succeeded));
    let mut tasks: Vec<InputDigest> = ran.map(|task| task.input_digest.clone()).collect();
    if ended.outcome == Outcome::Adopted {
        let plan = Plan::parse(&revision.inputs.0).ok();
        tasks = plan
            .map(|plan| ran_by(&plan, &revision.image))
            .unwrap_or_default();
    }
    tasks.truncate(16);
    Some(PastRevision {
        number: revision.number,
        name: revision.name.clone(),
        digest: revision.digest.clone(),
        image: revision.image.clone(),
        outcome: ended.outcome,
        reason: revision.reason.as_ref().map(|reason| reason.reason),
        started_at: revision.started_at,
        ended_at: ended.at,
        tasks,
    })
}

#[cfg(test)]
mod tests;
