//! Preboot: the new pods boot beside the old ones, which keep all traffic.
//!
//! Each stage is a barrier: no workload goes on before all have reached it.

use jiff::SignedDuration;
use slipway_crds::v1alpha1::status::{StepName, StopReason};

use crate::decision::Purpose;
use crate::draft::{Draft, StepInput, Verdict};
use crate::progress::since;
use crate::question::Question;
use crate::rollouts;
use crate::search::new_token;
use crate::sentence::{again, ask, at_work_for, count, human, unchanged};
use crate::window::{
    Kept, Side, WorkloadWindow, every, hold, in_the_way, keep, lock, open, opened, pin, serving_side_lost,
    windows,
};
use crate::workloads::{moves_traffic, variable_change};

/// Looks, adds the one patch that is missing, and says whether its aim is reached.
type Stage = fn(&WorkloadWindow<'_>, &mut Draft) -> bool;

/// A boot that takes longer than this is looked into.
const SLOW_BOOT: SignedDuration = SignedDuration::from_secs(5);

/// Why pods are not ready, once a boot takes longer than most.
pub fn asks(input: &StepInput<'_>) -> Vec<Question> {
    let workloads = input.committed.status.workloads.iter();
    let slow = workloads.filter(|workload| {
        let locked = workload.locked_at.filter(|_| workload.ready_since.is_none());
        locked.is_some_and(|locked| since(input.now, locked) >= SLOW_BOOT)
    });
    slow.map(|workload| Question::PodTroubles(workload.deployment.clone()))
        .collect()
}

/// Open, pin, hold, lock, ready, and the minimum wait.
pub fn step(input: &StepInput<'_>, draft: &mut Draft) -> Verdict {
    if !carry_token(input, draft) {
        return Verdict::working("begins", "Recording the new pod templates.");
    }
    if input.committed.first_installation() {
        return rollouts::install(input, draft);
    }
    if !moves_traffic(&input.committed.status.workloads) {
        return Verdict::Skipped;
    }
    let windows = match boot(input, draft) {
        Ok(windows) => windows,
        Err(verdict) => return verdict,
    };
    ready(input, draft, &windows)
}

/// Up to the lock in stages; from then on the windows are kept as they are.
fn boot<'a>(input: &StepInput<'a>, draft: &mut Draft) -> Result<Vec<WorkloadWindow<'a>>, Verdict> {
    let booted = windows(input);
    if booted.iter().all(|window| window.status.locked_at.is_some()) {
        let Kept { windows, whole } = keep(input, draft, Side::Old)?;
        return if whole {
            Ok(windows)
        } else {
            let aim = "Waiting for the window to be whole again.";
            Err(timeout(input, draft, &windows).unwrap_or_else(|| Verdict::working("opening", aim)))
        };
    }
    if let Some(verdict) = in_the_way(input).or_else(|| serving_side_lost(input)) {
        return Err(verdict);
    }
    let stages: [(&str, Stage); 4] = [
        ("Waiting for the window to open.", open),
        (
            "Waiting for the Services to keep to the old pods.",
            |window, draft| pin(window, Side::Old, Purpose::Pin, draft),
        ),
        ("Waiting for the new pods to be created.", hold),
        (
            "Waiting for the new ReplicaSet to be scaled to its full size.",
            lock,
        ),
    ];
    for (aim, stage) in stages {
        if !every(&booted, |window| stage(window, draft)) {
            return Err(timeout(input, draft, &booted).unwrap_or_else(|| opening(&booted, aim)));
        }
    }
    Ok(booted)
}

fn opening(windows: &[WorkloadWindow<'_>], aim: &str) -> Verdict {
    let under_way = |window: &&WorkloadWindow<'_>| !opened(window) && !window.deployment.at_rest();
    match windows.iter().find(under_way) {
        Some(window) => Verdict::rolls(window.deployment),
        None => Verdict::working("opening", aim),
    }
}

/// Records the token of a new generation as a change of every template. True once that is committed.
fn carry_token(input: &StepInput<'_>, draft: &mut Draft) -> bool {
    let Some((name, token)) = new_token(input) else {
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
        let change = variable_change(plan, &deployment.template, &name, &token);
        if workload.variable != change
            && workload
                .variable
                .as_ref()
                .is_none_or(|known| known.to != token.as_str())
        {
            draft.workload(&plan.name, |workload| workload.variable = change);
            committed = false;
        }
    }
    committed
}

fn timeout(input: &StepInput<'_>, draft: &mut Draft, windows: &[WorkloadWindow<'_>]) -> Option<Verdict> {
    let begun = input
        .committed
        .step(StepName::Preboot)
        .and_then(|step| step.started_at)?;
    let limit = input.intent.live.preboot_timeout;
    if !draft.elapsed(begun, limit) {
        return None;
    }
    Some(Verdict::failed(
        StopReason::PrebootTimeout,
        format!(
            "The new pods were not ready within {}: {}. The new side is removed; {}{}",
            human(limit),
            troubles(input, windows),
            unchanged(input),
            again(input)
        ),
    ))
}

/// Why new pods are not ready, in their own words.
fn troubles(input: &StepInput<'_>, windows: &[WorkloadWindow<'_>]) -> String {
    let mut words = Vec::new();
    for window in windows {
        let (ready, wanted) = window
            .new
            .map_or((0, window.deployment.replicas), |new| (new.ready, new.wanted));
        words.push(format!("{} {ready} of {wanted} ready", window.status.name));
        let hash = window.new.map(|new| new.hash.clone());
        let pods = input
            .observed
            .answers
            .pod_troubles()
            .filter(|pod| Some(&pod.hash) == hash.as_ref());
        words.extend(
            pods.take(1)
                .map(|pod| format!("{} is not: {}", pod.pod, pod.trouble)),
        );
        words.extend(window.new.and_then(|new| new.failure.clone()));
    }
    words.join("; ")
}

fn ready(input: &StepInput<'_>, draft: &mut Draft, windows: &[WorkloadWindow<'_>]) -> Verdict {
    let mut soaked = true;
    for window in windows {
        let now = draft.now();
        let since = match (window.new_ready(), window.status.ready_since) {
            (false, None) => None,
            (false, Some(_)) => {
                draft.workload(&window.status.name, |workload| workload.ready_since = None);
                None
            }
            (true, since) => {
                draft.workload(&window.status.name, |workload| {
                    workload.ready_since = Some(since.unwrap_or(now));
                });
                Some(since.unwrap_or(now))
            }
        };
        // The hold overrides the user's own minReadySeconds, so it is honoured here.
        let own = window
            .status
            .remembered
            .as_ref()
            .and_then(|remembered| remembered.min_ready_seconds);
        let own = SignedDuration::from_secs(own.unwrap_or_default().into());
        soaked &= since.is_some_and(|since| draft.elapsed(since, own));
    }
    if !soaked {
        // Pods are asked why only when a boot takes longer than most.
        draft.wake_after(SLOW_BOOT);
        return timeout(input, draft, windows).unwrap_or_else(|| booting(input, windows));
    }
    let minimum = input.intent.live.minimum_wait;
    let started = windows
        .iter()
        .filter_map(|window| window.status.locked_at)
        .max()
        .unwrap_or(input.now);
    if !draft.elapsed(started, minimum) {
        let left = human(minimum - since(input.now, started));
        return Verdict::working(
            format!("ready, minimum wait {left} left"),
            format!(
                "All new pods are ready. Waiting out the minimum of {} (spec.preboot.minimumWait), {left} left.",
                human(minimum)
            ),
        );
    }
    let pods: i32 = windows
        .iter()
        .filter_map(|window| window.new)
        .map(|new| new.ready)
        .sum();
    draft.tell(
        "Ready",
        input.committed.revision_name().to_string(),
        format!(
            "{} ready after {}",
            count(pods, "new pod"),
            at_work_for(input, StepName::Preboot)
        ),
    );
    for window in windows {
        let side = window.new.map(crate::window::side_of);
        draft.workload(&window.status.name, |workload| workload.new = side);
    }
    Verdict::Done
}

fn booting(input: &StepInput<'_>, windows: &[WorkloadWindow<'_>]) -> Verdict {
    let (ready, wanted) = windows.iter().fold((0, 0), |(ready, wanted), window| {
        (
            ready + window.new.map_or(0, |new| new.ready),
            wanted + window.deployment.replicas,
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
            "Waiting for the new pods to be ready: {} after {}. Gives up in {}. Put a working image in spec.image, or give the revision up: {}",
            troubles(input, windows),
            at_work_for(input, StepName::Preboot),
            human(left),
            ask(input, slipway_crds::names::ABORT)
        ),
    )
}

#[cfg(test)]
mod tests;
