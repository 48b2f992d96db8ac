//! The ways out: a revision that is given up before its cutover, and one that is taken back after it.

use jiff::SignedDuration;
use slipway_crds::v1alpha1::status::{
    Ended, Outcome, PastRevision, Rejected, RollbackState, RollbackStatus, StepName, StepState, TaskOutcome,
};

use crate::decision::Purpose;
use crate::intent::Plan;
use crate::progress::{Progress, spoken};
use crate::steps::preboot::{benches, every};
use crate::steps::watch::others;
use crate::task::{input_digest, stop_all};
use crate::turn::{StepInput, Turn, Verdict};
use crate::window::patches::roll;
use crate::window::{Bench, Which, bring_back, hold_again, keep_pins, pin, settle};

/// Given up before its cutover: what runs is stopped or waited for, the new side goes, the old side serves
/// unchanged.
pub fn stop(input: &StepInput<'_>, turn: &mut Turn) -> Option<Verdict> {
    let mut waits = stop_all(input, turn);
    for workload in &input.committed.status.workloads {
        settle(workload, input.observed, Which::Old, &mut waits, turn);
    }
    roll_others_back(input, turn, &mut waits);
    if !waits.is_empty() || input.committed.window_open() || input.committed.open_tasks().next().is_some() {
        return Some(Verdict::working("cleaning up", left(&waits)));
    }
    None
}

fn left(waits: &[String]) -> String {
    if waits.is_empty() {
        "the end of the clean-up to be recorded".to_owned()
    } else {
        format!("to clean up: {}", waits.join("; "))
    }
}

/// Taken back after its cutover: the traffic first, then everything else.
pub fn roll_back(input: &StepInput<'_>, turn: &mut Turn) -> Option<Verdict> {
    let benches = benches(input);
    let open: Vec<Bench<'_>> = benches
        .into_iter()
        .filter(|bench| bench.deployment.window && bench.deployment.replicas > 0)
        .collect();
    if let Some(verdict) = traffic_back(input, turn, &open) {
        return Some(verdict);
    }
    let mut waits = stop_all(input, turn);
    for workload in &input.committed.status.workloads {
        settle(workload, input.observed, Which::Old, &mut waits, turn);
    }
    roll_others_back(input, turn, &mut waits);
    if !waits.is_empty() || input.committed.window_open() || input.committed.open_tasks().next().is_some() {
        return Some(Verdict::working(
            "rolled back, cleaning up",
            format!("traffic is back; {}", left(&waits)),
        ));
    }
    None
}

fn traffic_back(input: &StepInput<'_>, turn: &mut Turn, open: &[Bench<'_>]) -> Option<Verdict> {
    let recorded = input
        .committed
        .status
        .rollback
        .as_ref()
        .is_some_and(|rollback| rollback.reason == BACK);
    if recorded {
        return None;
    }
    let retired = input.committed.begun(StepName::Retire);
    if retired && !every(open, |bench| hold_again(bench, Which::Old, turn)) {
        return Some(Verdict::working(
            "old side kept",
            "the old side to be kept, before the traffic moves back to it",
        ));
    }
    for bench in open.iter().filter(|bench| !bench.pinned(Which::Old)) {
        // Nobody else would bring back a side of a paused Deployment.
        bring_back(bench, Which::Old, turn);
        let old = bench.old.map_or(0, |old| old.ready);
        let new = bench.new.map_or(0, |new| new.ready);
        // The way back needs one ready pod; none at all is still better than what does not serve either.
        if old == 0 && new > 0 {
            return Some(Verdict::stalled(
                "WayBackNotReady",
                format!(
                    "no old pod of Deployment {} is ready, so the traffic stays on the {new} new ones until one is",
                    bench.deployment.name
                ),
            ));
        }
    }
    let moved = every(open, |bench| {
        bench.pinned(Which::Old) && keep_pins(bench, Which::Old, turn)
            || pin(bench, Which::Old, Purpose::FlipBack, turn)
    });
    if !moved {
        return Some(Verdict::working(
            "moving back",
            "the traffic to move back to the old side",
        ));
    }
    let now = turn.now();
    for bench in open {
        turn.workload(&bench.status.name, |workload| {
            workload.last_pin_change_at = Some(now);
        });
    }
    let (state, reason) = (RollbackState::Unavailable, BACK.to_owned());
    turn.progress.status.rollback = Some(RollbackStatus {
        state,
        reason,
        since: Some(now),
        until: None,
    });
    turn.progress.status.serving = input
        .committed
        .revision()
        .and_then(|revision| revision.previous.clone());
    turn.warn(
        "TrafficBack",
        input.committed.revision_name(),
        "the traffic is back on the old side",
    );
    Some(Verdict::working("moved back", "the way back to be recorded"))
}

/// What status says of the way back once it was gone.
const BACK: &str = "the traffic is back on the old side";

/// The workloads without traffic get back what they ran; they were changed in Watch and not sooner.
fn roll_others_back(input: &StepInput<'_>, turn: &mut Turn, waits: &mut Vec<String>) {
    if !input.committed.begun(StepName::Watch) {
        return;
    }
    for workload in others(&input.committed.status.workloads) {
        let (images, variable) = (&workload.images, workload.variable.as_ref());
        let deployment = input.observed.deployments.get(&workload.deployment);
        if let Some(deployment) = deployment.filter(|found| found.template.carries(images, variable)) {
            roll(deployment, &deployment.template.without(images, variable), turn);
            waits.push(format!("Deployment {} to roll back", deployment.name));
        }
    }
}

/// Ends the revision.
pub fn end(turn: &mut Turn, outcome: Outcome) {
    let now = turn.now();
    let Some(revision) = &mut turn.progress.status.revision else {
        return;
    };
    revision.ended = Some(Ended { outcome, at: now });
    let name = revision.name.clone();
    let took = spoken(now.duration_since(revision.started_at));
    let message = revision
        .reason
        .as_ref()
        .map(|reason| reason.message.clone())
        .unwrap_or_default();
    let reason = revision
        .reason
        .as_ref()
        .map(|reason| reason.reason.clone())
        .unwrap_or_default();
    let (digest, previous) = (revision.digest.clone(), revision.previous.clone());
    turn.progress.status.rejected = match outcome {
        Outcome::Failed | Outcome::RolledBack => Some(Rejected { digest, reason }),
        Outcome::Adopted | Outcome::Complete | Outcome::Aborted => None,
    };
    match outcome {
        Outcome::Complete => {
            turn.progress.status.serving = Some(name.clone());
            let waits = waiting_time(&turn.progress);
            turn.tell("Completed", name, format!("{took} in all{waits}"));
        }
        Outcome::Adopted => {}
        Outcome::Failed => turn.warn("Failed", name, message),
        Outcome::Aborted => turn.warn("Aborted", name, message),
        Outcome::RolledBack => turn.warn(
            "RolledBack",
            name,
            format!("{} serves again: {message}", previous.unwrap_or_default()),
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
        (!tasks.is_zero()).then(|| format!("{} by its tasks", spoken(tasks))),
        watch.map(|watch| format!("{} of watching the warm old side", spoken(watch))),
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
pub fn ran_by(plan: &Plan, image: &str) -> Vec<String> {
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
    let mut tasks: Vec<String> = ran.map(|task| task.input_digest.clone()).collect();
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
        reason: revision.reason.as_ref().map(|reason| reason.reason.clone()),
        started_at: revision.started_at,
        ended_at: ended.at,
        tasks,
    })
}

#[cfg(test)]
mod tests;
