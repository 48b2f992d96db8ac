//! Watch: both sides are full and ready, and rollback is one change of a Service. Workloads without traffic
//! follow in their own rolling update.

use jiff::SignedDuration;
use slipway_crds::v1alpha1::Move;
use slipway_crds::v1alpha1::status::{RollbackState, StepName, WorkloadStatus};

use super::preboot::{benches, every, gone, rolled_out};
use super::preflight::changes;
use super::reindex::{Pass, pass_since, resumed};
use crate::observed::DeploymentView;
use crate::progress::{since, spoken};
use crate::turn::{StepInput, Turn, Verdict};
use crate::window::patches::roll;
use crate::window::{Bench, Which, keep_pins, lock};

/// A side that is worse than at the cutover this long, while the old one is better, is given up.
const DEGRADED: SignedDuration = SignedDuration::from_secs(30);

/// Rescue first, then the others, then the time.
pub fn step(input: &StepInput<'_>, turn: &mut Turn) -> Verdict {
    if input
        .committed
        .revision()
        .is_some_and(|revision| revision.first_installation)
    {
        return Verdict::Skipped;
    }
    if input
        .committed
        .status
        .cutover
        .is_some_and(|cutover| cutover.confirmed_at.is_none())
    {
        return Verdict::working("begins", "the cutover to be recorded");
    }
    if let Some(verdict) = gone(input) {
        return verdict;
    }
    let benches = benches(input);
    if let Some(verdict) = rescue(input, turn, &benches) {
        return verdict;
    }
    if let Some(zero) = benches.iter().find(|bench| bench.deployment.replicas == 0) {
        turn.warn(
            "ScaledToZero",
            zero.deployment.name.clone(),
            format!(
                "Deployment {} was scaled to 0; the old side goes now",
                zero.deployment.name
            ),
        );
        return Verdict::Done;
    }
    every(&benches, |bench| keep_pins(bench, Which::New, turn));
    every(&benches, |bench| lock(bench, turn));
    way_back(turn, &benches);
    match roll_others(input, turn) {
        Verdict::Done | Verdict::Skipped => {}
        verdict @ (Verdict::Working { .. } | Verdict::Stalled { .. } | Verdict::Failed { .. }) => {
            return verdict;
        }
    }
    let Some(cutover) = input.committed.status.cutover else {
        return Verdict::Done;
    };
    let confirmed = cutover.confirmed_at.unwrap_or(cutover.intent_at);
    if let Some(verdict) = keep_caught_up(input, turn) {
        return verdict;
    }
    if turn.passed(confirmed, input.intent.live.watch_for) {
        return degraded(turn).unwrap_or(Verdict::Done);
    }
    let left = spoken(input.intent.live.watch_for - since(input.now, confirmed));
    Verdict::working(
        format!("old side warm, {left} left"),
        format!(
            "the old side stays warm {left} more (spec.watch.for). To go back: annotate slipway.dev/rollback={}",
            input.committed.revision_name()
        ),
    )
}

/// Whether the new side has to be given up.
fn rescue(input: &StepInput<'_>, turn: &mut Turn, benches: &[Bench<'_>]) -> Option<Verdict> {
    for bench in benches.iter().filter(|bench| bench.deployment.replicas > 0) {
        let new = bench.new.map_or(0, |new| new.ready);
        let old = bench.old.map_or(0, |old| old.ready);
        let expected = bench
            .status
            .ready_at_cutover
            .unwrap_or(1)
            .min(bench.deployment.replicas);
        let worse = new < expected && old > new;
        let name = &bench.deployment.name;
        let failed = |message: String| {
            if input.intent.live.automatic_rollback {
                Verdict::failed("NewSideFailed", message)
            } else {
                Verdict::stalled(
                    "NewSideFailed",
                    format!(
                        "{message}. rollback.onFailure is Manual: annotate slipway.dev/rollback={}",
                        input.committed.revision_name()
                    ),
                )
            }
        };
        if new == 0 && old > 0 {
            return Some(failed(format!(
                "no new pod of {name} is ready; the old side has {old}"
            )));
        }
        if !worse {
            if bench.status.degraded_since.is_some() {
                turn.workload(&bench.status.name, |workload| workload.degraded_since = None);
            }
            continue;
        }
        let now = turn.now();
        let from = bench.status.degraded_since.unwrap_or(now);
        turn.workload(&bench.status.name, |workload| {
            workload.degraded_since = Some(from);
        });
        if turn.passed(from, DEGRADED) {
            return Some(failed(format!(
                "{new} of {expected} new pods of {name} ready for {}; the old side has {old}",
                spoken(DEGRADED)
            )));
        }
    }
    None
}

/// While it is open whether the new side has to be given up, the old one is not ended.
fn degraded(turn: &Turn) -> Option<Verdict> {
    let mut workloads = turn.progress.status.workloads.iter();
    let worse = workloads.find(|workload| workload.degraded_since.is_some())?;
    Some(Verdict::working(
        "new side degraded",
        format!(
            "the new pods of {} to get ready again; the traffic goes back after {} of fewer than before",
            worse.deployment,
            spoken(DEGRADED)
        ),
    ))
}

/// Says when the old side is lost: there is no way back then.
fn way_back(turn: &mut Turn, benches: &[Bench<'_>]) {
    let lost = benches
        .iter()
        .find(|bench| bench.old.is_none_or(|old| old.wanted == 0));
    let now = turn.now();
    if let (Some(lost), Some(rollback)) = (lost, &mut turn.progress.status.rollback)
        && rollback.state != RollbackState::Unavailable
    {
        rollback.state = RollbackState::Unavailable;
        rollback.reason = format!(
            "the old ReplicaSet of Deployment {} was deleted or scaled away",
            lost.deployment.name
        );
        rollback.since = Some(now);
        turn.warn(
            "WayBackLost",
            lost.deployment.name.clone(),
            format!(
                "the old ReplicaSet of Deployment {} is gone: the new side serves, and there is no way back",
                lost.deployment.name
            ),
        );
    }
}

/// The others that change: those without traffic.
pub(crate) fn others(workloads: &[WorkloadStatus]) -> impl Iterator<Item = &WorkloadStatus> {
    workloads
        .iter()
        .filter(|workload| workload.move_ == Move::After && changes(workload))
}

/// The workloads without traffic get the new version by their own rolling update.
fn roll_others(input: &StepInput<'_>, turn: &mut Turn) -> Verdict {
    for workload in others(&input.committed.status.workloads) {
        let Some(deployment) = input.observed.deployments.get(&workload.deployment) else {
            return Verdict::deployment_gone(&workload.deployment);
        };
        if !deployment
            .template
            .carries(&workload.images, workload.variable.as_ref())
        {
            if workload.rolled_at.is_some() {
                return Verdict::stalled(
                    "ForeignTemplate",
                    format!(
                        "the pod template of Deployment {} was changed by somebody else after this revision had set it; apply the new image again, or annotate slipway.dev/rollback={}",
                        deployment.name,
                        input.committed.revision_name()
                    ),
                );
            }
            let template = deployment
                .template
                .with(&workload.images, workload.variable.as_ref());
            roll(deployment, &template, turn);
            turn.tell(
                "Rolling",
                deployment.name.clone(),
                format!("Deployment {} rolls to {}", deployment.name, input.plan.image),
            );
            return Verdict::working(
                "rolling",
                format!("Deployment {} to get the new template", deployment.name),
            );
        }
        if workload.rolled_at.is_none() {
            let now = turn.now();
            turn.workload(&workload.name, |workload| workload.rolled_at = Some(now));
        }
        if let Some(verdict) = rolling(input, deployment) {
            return verdict;
        }
    }
    Verdict::Done
}

fn rolling(input: &StepInput<'_>, deployment: &DeploymentView) -> Option<Verdict> {
    if rolled_out(deployment) {
        return None;
    }
    let name = &deployment.name;
    if let Some(message) = deployment
        .not_progressing
        .as_ref()
        .filter(|_| deployment.observed_generation >= deployment.generation)
    {
        let message = format!("the rolling update of Deployment {name} does not get on: {message}");
        return Some(if input.intent.live.automatic_rollback {
            Verdict::failed("RolloutFailed", message)
        } else {
            Verdict::stalled("RolloutFailed", message)
        });
    }
    Some(Verdict::working(
        format!(
            "{name} {} of {} updated",
            deployment.updated_replicas, deployment.replicas
        ),
        format!(
            "the rolling update of Deployment {name} since {}: {} of {} updated, {} available",
            super::begun(input, StepName::Watch),
            deployment.updated_replicas,
            deployment.replicas,
            deployment.available_replicas
        ),
    ))
}

/// Old pods still write to their own index and to the database; passes repeat that for the new one. One
/// that fails keeps the old side warm until a person decides.
fn keep_caught_up(input: &StepInput<'_>, turn: &mut Turn) -> Option<Verdict> {
    let lag = input.plan.reindex.as_ref()?.catch_up.as_ref()?.max_lag;
    let last = input
        .committed
        .attempts(StepName::Reindex, "catch-up")
        .next_back()
        .filter(|last| !resumed(last))?;
    let ended = last.finished_at.unwrap_or(input.now);
    let due = last.outcome.is_none() || last.retried || turn.passed(ended, lag);
    let not_before = if due { ended } else { last.intent_at };
    match pass_since(input, turn, not_before) {
        Pass::Verdict(Verdict::Failed { message, .. }) => Some(Verdict::stalled(
            "CatchUpFailed",
            format!(
                "{message}. The old side stays warm until you decide: annotate slipway.dev/retry, slipway.dev/rollback or slipway.dev/resume with {}",
                input.committed.revision_name()
            ),
        )),
        Pass::Verdict(verdict @ Verdict::Stalled { .. }) => Some(verdict),
        // A pass at work does not lengthen the watch: one more runs when the old pods are gone.
        Pass::Verdict(Verdict::Working { .. } | Verdict::Done | Verdict::Skipped) | Pass::Done => None,
    }
}

#[cfg(test)]
mod tests;
