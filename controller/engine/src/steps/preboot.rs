//! Preboot: the new pods boot beside the old ones, which keep all traffic.
//!
//! Each stage is a barrier: no workload goes on before all have reached it.

use jiff::SignedDuration;
use slipway_crds::v1alpha1::status::{Course, StepName};

use super::reindex::new_token;
use super::{again, preflight, serving};
use crate::decision::Purpose;
use crate::progress::{since, spoken};
use crate::turn::{StepInput, Turn, Verdict};
use crate::window::patches::roll;
use crate::window::{Bench, Which, begun, hold, keep_pins, lock, open, pin};

/// Looks, adds the one patch that is missing, and says whether its aim is reached.
type Stage = fn(&Bench<'_>, &mut Turn) -> bool;

/// Open, pin, hold, lock, ready, and the minimum wait.
pub fn step(input: &StepInput<'_>, turn: &mut Turn) -> Verdict {
    if !carry_token(input, turn) {
        return Verdict::working("begins", "the new pod templates to be recorded");
    }
    if input
        .committed
        .revision()
        .is_some_and(|revision| revision.first_installation)
    {
        return install(input, turn);
    }
    if !preflight::moves_traffic(&input.committed.status.workloads) {
        return Verdict::Skipped;
    }
    if let Some(verdict) = in_the_way(input) {
        return verdict;
    }
    let benches: Vec<Bench<'_>> = benches(input);
    if let Some(lost) = benches
        .iter()
        .find(|bench| bench.status.window && begun(bench) && serving_side_lost(bench))
    {
        return Verdict::failed(
            "ServingSideLost",
            format!(
                "the ReplicaSet that serves Deployment {} was deleted or scaled away; it is being brought back and this revision is given up. {}",
                lost.deployment.name,
                again(input)
            ),
        );
    }
    let stages: [(&str, Stage); 4] = [
        ("the window to open", open),
        ("the Services to keep to the old pods", |bench, turn| {
            // Once it was pinned, whatever else it selects was somebody else's doing.
            let kept = bench.status.locked_at.is_some();
            if kept {
                keep_pins(bench, Which::Old, turn)
            } else {
                pin(bench, Which::Old, Purpose::Pin, turn)
            }
        }),
        ("the new pods to be made", hold),
        ("the new side to want its full size", lock),
    ];
    for (aim, stage) in stages {
        if !every(&benches, |bench| stage(bench, turn)) {
            return timeout(input, turn, &benches).unwrap_or_else(|| opening(&benches, aim));
        }
    }
    ready(input, turn, &benches)
}

fn opening(benches: &[Bench<'_>], aim: &str) -> Verdict {
    let rolls = |bench: &&Bench<'_>| !begun(bench) && !bench.deployment.settled();
    match benches.iter().find(rolls) {
        Some(bench) => Verdict::working(
            "waiting",
            format!(
                "Deployment {0} to finish the rollout that is under way. See kubectl rollout status deployment/{0}",
                bench.deployment.name
            ),
        ),
        None => Verdict::working("opening", aim),
    }
}

/// The workloads that go through a window.
pub(crate) fn benches<'a>(input: &StepInput<'a>) -> Vec<Bench<'a>> {
    let workloads = input.committed.status.workloads.iter();
    workloads
        .filter(|workload| preflight::changes_with_traffic(workload))
        .filter_map(|workload| Bench::find(workload, input.observed))
        .collect()
}

/// True when it holds for all; every one is looked at, so that all work side by side.
pub(crate) fn every<'a>(benches: &[Bench<'a>], mut stage: impl FnMut(&Bench<'a>) -> bool) -> bool {
    let mut all = true;
    for bench in benches {
        all &= stage(bench);
    }
    all
}

/// Records the token of a new generation as a change of every template. True once that is committed.
fn carry_token(input: &StepInput<'_>, turn: &mut Turn) -> bool {
    let Some((name, token)) = new_token(input.plan, input.committed) else {
        return true;
    };
    let mut committed = true;
    for plan in &input.plan.workloads {
        let Some(workload) = input
            .committed
            .workload(&plan.name)
            .filter(|workload| workload.rolled_at.is_none())
        else {
            continue;
        };
        let Some(deployment) = input.observed.deployments.get(&workload.deployment) else {
            continue;
        };
        let change = preflight::variable_change(plan, &deployment.template, &name, &token);
        if workload.variable != change && workload.variable.as_ref().is_none_or(|known| known.to != token) {
            turn.workload(&plan.name, |workload| workload.variable = change);
            committed = false;
        }
    }
    committed
}

/// A Deployment of the window that is gone, or another one of its name.
pub(crate) fn gone(input: &StepInput<'_>) -> Option<Verdict> {
    let workloads = input.committed.status.workloads.iter();
    for workload in workloads.filter(|workload| preflight::changes_with_traffic(workload)) {
        let Some(deployment) = input.observed.deployments.get(&workload.deployment) else {
            return Some(Verdict::failed(
                "DeploymentMissing",
                format!(
                    "Deployment {} is gone. Make it again. {}",
                    workload.deployment,
                    again(input)
                ),
            ));
        };
        if deployment.uid != workload.deployment_uid {
            return Some(Verdict::failed(
                "DeploymentReplaced",
                format!(
                    "Deployment {} was deleted and made again. {}",
                    workload.deployment,
                    again(input)
                ),
            ));
        }
    }
    None
}

/// What keeps a window from going on: a Deployment that is gone, or wants no pods.
pub(crate) fn in_the_way(input: &StepInput<'_>) -> Option<Verdict> {
    if let Some(verdict) = gone(input) {
        return Some(verdict);
    }
    let zero = benches(input)
        .into_iter()
        .find(|bench| bench.deployment.replicas == 0)?;
    Some(Verdict::failed(
        "ScaledToZero",
        format!(
            "Deployment {} was scaled to 0 while a release was in progress; the release was ended. Scale it up. {}",
            zero.deployment.name,
            again(input)
        ),
    ))
}

fn serving_side_lost(bench: &Bench<'_>) -> bool {
    bench.old.is_none_or(|old| old.wanted == 0)
}

fn timeout(input: &StepInput<'_>, turn: &mut Turn, benches: &[Bench<'_>]) -> Option<Verdict> {
    let begun = input
        .committed
        .step(StepName::Preboot)
        .and_then(|step| step.started_at)?;
    let limit = input.intent.live.preboot_timeout;
    if !turn.passed(begun, limit) {
        return None;
    }
    Some(Verdict::failed(
        "PrebootTimeout",
        format!(
            "the new pods were not ready within {}: {}. The new side was removed; {} serves unchanged. {}",
            spoken(limit),
            troubles(input, benches),
            serving(input),
            again(input)
        ),
    ))
}

/// Why new pods are not ready, in their own words.
fn troubles(input: &StepInput<'_>, benches: &[Bench<'_>]) -> String {
    let mut words = Vec::new();
    for bench in benches {
        let (ready, wanted) = bench
            .new
            .map_or((0, bench.deployment.replicas), |new| (new.ready, new.wanted));
        words.push(format!("{} {ready} of {wanted} ready", bench.status.name));
        let hash = bench.new.map(|new| new.hash.clone());
        let pods = input
            .observed
            .pod_troubles
            .iter()
            .filter(|pod| Some(&pod.hash) == hash.as_ref());
        words.extend(
            pods.take(1)
                .map(|pod| format!("{} is not: {}", pod.pod, pod.trouble)),
        );
        words.extend(bench.new.and_then(|new| new.failure.clone()));
    }
    words.join("; ")
}

fn ready(input: &StepInput<'_>, turn: &mut Turn, benches: &[Bench<'_>]) -> Verdict {
    let mut soaked = true;
    for bench in benches {
        let now = turn.now();
        let since = match (bench.new_ready(), bench.status.ready_since) {
            (false, None) => None,
            (false, Some(_)) => {
                turn.workload(&bench.status.name, |workload| workload.ready_since = None);
                None
            }
            (true, since) => {
                turn.workload(&bench.status.name, |workload| {
                    workload.ready_since = Some(since.unwrap_or(now));
                });
                Some(since.unwrap_or(now))
            }
        };
        // The hold overrides the user's own minReadySeconds, so it is honoured here.
        let own = bench
            .status
            .remembered
            .as_ref()
            .and_then(|remembered| remembered.min_ready_seconds);
        let own = SignedDuration::from_secs(own.unwrap_or_default().into());
        soaked &= since.is_some_and(|since| turn.passed(since, own));
    }
    if !soaked {
        // Pods are asked why only when a boot takes longer than most.
        turn.wake_after(SignedDuration::from_secs(5));
        return timeout(input, turn, benches).unwrap_or_else(|| booting(input, benches));
    }
    let minimum = input.intent.live.minimum_wait;
    let started = benches
        .iter()
        .filter_map(|bench| bench.status.locked_at)
        .max()
        .unwrap_or(input.now);
    if !turn.passed(started, minimum) {
        let left = spoken(minimum - since(input.now, started));
        return Verdict::working(
            format!("ready, minimum wait {left} left"),
            format!(
                "all new pods are ready; waiting out the minimum of {}, {left} left (spec.preboot.minimumWait)",
                spoken(minimum)
            ),
        );
    }
    let pods: i32 = benches
        .iter()
        .filter_map(|bench| bench.new)
        .map(|new| new.ready)
        .sum();
    turn.tell(
        "Ready",
        input.committed.revision_name(),
        format!(
            "all {pods} new pods are ready after {}",
            super::begun(input, StepName::Preboot)
        ),
    );
    for bench in benches {
        let side = bench.new.map(crate::window::side_of);
        turn.workload(&bench.status.name, |workload| workload.new = side);
    }
    Verdict::Done
}

fn booting(input: &StepInput<'_>, benches: &[Bench<'_>]) -> Verdict {
    let (ready, wanted) = benches.iter().fold((0, 0), |(ready, wanted), bench| {
        (
            ready + bench.new.map_or(0, |new| new.ready),
            wanted + bench.deployment.replicas,
        )
    });
    let begun = input
        .committed
        .step(StepName::Preboot)
        .and_then(|step| step.started_at)
        .unwrap_or(input.now);
    let left = input.intent.live.preboot_timeout - since(input.now, begun);
    Verdict::working(
        format!("{ready} of {wanted} new pods ready"),
        format!(
            "new pods to be ready since {}: {}. Gives up in {}. Fix the image in spec.image, or annotate slipway.dev/abort={}",
            super::begun(input, StepName::Preboot),
            troubles(input, benches),
            spoken(left),
            input.committed.revision_name()
        ),
    )
}

/// A first installation: nothing serves, so the Deployments simply get the new version.
fn install(input: &StepInput<'_>, turn: &mut Turn) -> Verdict {
    let mut available = true;
    for workload in &input.committed.status.workloads {
        let Some(deployment) = input.observed.deployments.get(&workload.deployment) else {
            return Verdict::deployment_gone(&workload.deployment);
        };
        if !deployment
            .template
            .carries(&workload.images, workload.variable.as_ref())
        {
            let template = deployment
                .template
                .with(&workload.images, workload.variable.as_ref());
            roll(deployment, &template, turn);
            available = false;
        }
        available &= rolled_out(deployment);
    }
    if available {
        return Verdict::Done;
    }
    let begun = input
        .committed
        .step(StepName::Preboot)
        .and_then(|step| step.started_at)
        .unwrap_or(input.now);
    if input
        .committed
        .revision()
        .is_some_and(|revision| revision.course == Course::Forward)
        && turn.passed(begun, input.intent.live.preboot_timeout)
    {
        return Verdict::failed(
            "PrebootTimeout",
            format!(
                "the pods of the first version were not available within {}. {}",
                spoken(input.intent.live.preboot_timeout),
                again(input)
            ),
        );
    }
    Verdict::working(
        "pods start",
        format!(
            "the pods of the first version to be available since {}",
            super::begun(input, StepName::Preboot)
        ),
    )
}

/// Whether a Deployment's own rolling update is over and all its pods are available.
pub(crate) fn rolled_out(deployment: &crate::observed::DeploymentView) -> bool {
    deployment.observed_generation >= deployment.generation
        && deployment.updated_replicas == deployment.replicas
        && deployment.status_replicas == deployment.replicas
        && deployment.available_replicas == deployment.replicas
}

#[cfg(test)]
mod tests;
