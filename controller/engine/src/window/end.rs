//! The end of a window, whichever side is kept.

use std::cmp::Ordering;

use jiff::SignedDuration;
use slipway_crds::v1alpha1::status::{Remembered, StepName, WorkloadStatus};

use super::workload::services;
use super::{Side, WorkloadWindow, bring_back, keep_pins, patches, unbolt};
use crate::decision::ReadAgain;
use crate::draft::Draft;
use crate::observed::{DeploymentView, Observed, ReplicaSetView};
use crate::sentence::count;

/// Between a change of a pin and the patch that kills the other side: connections that were being made
/// reach a pod that lives.
const AFTER_PIN: SignedDuration = SignedDuration::from_secs(2);

/// Ends the window of a workload on one side: the other side goes, unpin, close.
/// Says whether all of it is done; else what it waits for is added to `waits`.
pub fn end(
    status: &WorkloadStatus,
    observed: &Observed,
    keep: Side,
    waits: &mut Vec<String>,
    draft: &mut Draft,
) -> bool {
    if !status.window && status.remembered.is_none() {
        return true;
    }
    let done = match WorkloadWindow::find(status, observed) {
        Some(window) => end_found(&window, keep, waits, draft),
        None => without_deployment(status, observed, waits, draft),
    };
    if done {
        draft.workload(&status.name, |status| {
            status.window = false;
            status.remembered = None;
        });
    }
    done
}

fn end_found(window: &WorkloadWindow<'_>, keep: Side, waits: &mut Vec<String>, draft: &mut Draft) -> bool {
    let remembered = window.status.remembered.clone().unwrap_or_default();
    let begun = window.deployment.window
        || patches::held(window.deployment)
        || patches::keeps_strategy(window.deployment, &remembered)
        || window
            .services
            .iter()
            .any(|service| service.window || service.pin().is_some());
    if begun {
        close_in_order(window, keep, &remembered, waits, draft)
    } else {
        never_opens(window.deployment, &remembered, waits, draft)
    }
}

/// A window that was recorded and is not to be seen: closed already, or never opened. The record goes only once no
/// Open can come any more: one that was begun on the recorded version may still be on its way, or not be seen yet,
/// and would leave the Deployment paused for ever. Opening it here takes that version away.
fn never_opens(
    deployment: &DeploymentView,
    remembered: &Remembered,
    waits: &mut Vec<String>,
    draft: &mut Draft,
) -> bool {
    match since_recorded(deployment, remembered) {
        Ordering::Equal => {
            patches::open(deployment, draft);
            waits.push(format!(
                "the window of {} to be opened and closed",
                deployment.name
            ));
            false
        }
        Ordering::Less => {
            waits.push(format!(
                "the newest version of Deployment {} to be seen",
                deployment.name
            ));
            false
        }
        Ordering::Greater => true,
    }
}

/// The version that is seen beside the one that was recorded. Resource versions are ordered as numbers (KEP-5504).
fn since_recorded(deployment: &DeploymentView, remembered: &Remembered) -> Ordering {
    let (seen, recorded) = (&deployment.resource_version, &remembered.resource_version);
    let number = |version: &str| version.parse::<u64>().ok();
    match (number(seen), number(recorded)) {
        (Some(seen), Some(recorded)) => seen.cmp(&recorded),
        (_, _) if seen == recorded => Ordering::Equal,
        (_, _) => Ordering::Greater,
    }
}

fn close_in_order(
    window: &WorkloadWindow<'_>,
    keep: Side,
    remembered: &Remembered,
    waits: &mut Vec<String>,
    draft: &mut Draft,
) -> bool {
    let deployment = window.deployment;
    let template = window.template(keep);
    let zero = deployment.replicas == 0;
    let kept = window.side(keep);
    let others_gone = deployment
        .replica_sets
        .iter()
        .filter(|set| Some(&set.uid) != kept.map(|side| &side.uid))
        .all(|set| set.wanted == 0 && set.replicas == 0 && set.current())
        && counted(deployment, kept);
    // What is closed is never opened again: somebody may be about to drop its record. The label alone does not tell:
    // where somebody else took it off, the strategy is still to be given back.
    let closed = !deployment.window
        && !patches::keeps_strategy(deployment, remembered)
        && deployment.paused.unwrap_or_default() == remembered.paused.unwrap_or_default()
        && since_recorded(deployment, remembered) == Ordering::Greater;
    let ended = patches::ended(deployment, &template, remembered, closed);
    let alone = zero || (others_gone && kept.is_some_and(|side| side.wanted > 0));
    if ended && (alone || closed) {
        return unpin_and_close(window, remembered, waits, draft);
    }
    // With one side and no pin yet there is nothing to keep from going.
    let pinned = window.services.iter().any(|service| service.pin().is_some());
    if !zero && (pinned || !alone) && !sides_ready_for_end(window, keep, waits, draft) {
        return false;
    }
    // While paused the other side goes only once every kept pod is available; where one is broken the
    // Deployment's own rolling update ends it. That is not paused again: of two sides whose sizes differ the larger
    // one would be scaled up in proportion, and neither would ever end.
    let kept_ready = kept.is_some_and(|side| side.ready >= deployment.replicas);
    let rolls = ended && !deployment.paused.unwrap_or_default();
    let paused = if zero {
        remembered.paused.unwrap_or_default()
    } else {
        kept_ready && !rolls
    };
    if !ended || paused != deployment.paused.unwrap_or_default() {
        tell_foreign_template(window, draft);
        // In Retire the side that is kept was read at the end of Watch.
        if let Some(kept) = kept.filter(|_| !draft.progress.completed(StepName::Watch)) {
            draft.read_again(ReadAgain::ReplicaSet(kept.name.clone()));
        }
        patches::end(deployment, &template, remembered, paused, draft);
        waits.push(format!("Deployment {} to keep one side only", deployment.name));
        return false;
    }
    let all: i32 = deployment.replica_sets.iter().map(|set| set.replicas).sum();
    let left = all - kept.map_or(0, |side| side.replicas);
    let until = if kept_ready {
        ""
    } else {
        ", which waits for those of the serving side to be available"
    };
    waits.push(format!(
        "{} of the other side of {} to end{until}",
        count(left, "pod"),
        deployment.name
    ));
    false
}

/// Whether the Deployment's own status knows of no other pods: a ReplicaSet that was just made may not be seen yet.
fn counted(deployment: &DeploymentView, kept: Option<&ReplicaSetView>) -> bool {
    deployment.observed_generation >= deployment.generation
        && deployment.status_replicas <= kept.map_or(0, |side| side.replicas)
}

fn tell_foreign_template(window: &WorkloadWindow<'_>, draft: &mut Draft) {
    let deployment = window.deployment;
    if deployment.template != window.new_template() && deployment.template != window.old_template() {
        draft.warn(
            "ForeignTemplate",
            deployment.name.to_string(),
            format!(
                "Deployment {} got a pod template from somebody else during the release. It was overwritten with the serving one.",
                deployment.name
            ),
        );
    }
}

/// Pins on the kept side, its bolt off, its pods wanted, and no connection in the making.
fn sides_ready_for_end(
    window: &WorkloadWindow<'_>,
    keep: Side,
    waits: &mut Vec<String>,
    draft: &mut Draft,
) -> bool {
    let deployment = window.deployment;
    if !bring_back(window, keep, draft) {
        waits.push(format!("the serving pods of {} to come back", deployment.name));
        return false;
    }
    let kept = window.side(keep).map(|side| &side.uid);
    let ready = |is_kept: bool| {
        let mut sets = deployment.replica_sets.iter();
        sets.any(|set| (Some(&set.uid) == kept) == is_kept && set.ready > 0)
    };
    if !window.pinned(keep) && !ready(true) && ready(false) {
        waits.push(format!(
            "a ready pod on the serving side of {}, before its Services point to it",
            deployment.name
        ));
        return false;
    }
    if !keep_pins(window, keep, draft) && !window.pinned(keep) {
        waits.push(format!(
            "the Services of {} to point to the serving side",
            deployment.name
        ));
        return false;
    }
    if let Some(changed) = window.status.last_pin_change_at
        && !draft.elapsed(changed, AFTER_PIN)
    {
        waits.push("2s to pass after the last change of a Service".to_owned());
        return false;
    }
    if keep == Side::Old && !unbolt(window, draft) {
        waits.push(format!(
            "the old ReplicaSet of {} to count as available again",
            deployment.name
        ));
        return false;
    }
    true
}

fn unpin_and_close(
    window: &WorkloadWindow<'_>,
    remembered: &Remembered,
    waits: &mut Vec<String>,
    draft: &mut Draft,
) -> bool {
    let mut pinned = false;
    for service in window
        .services
        .iter()
        .filter(|service| service.window || service.pin().is_some())
    {
        patches::unpin(service, draft);
        pinned = true;
    }
    if pinned {
        waits.push("the Services to select as the user wrote them".to_owned());
        return false;
    }
    if window.deployment.window || patches::keeps_strategy(window.deployment, remembered) {
        patches::close(window.deployment, remembered, draft);
        waits.push("the window to close".to_owned());
        return false;
    }
    true
}

/// The Deployment is gone, or another one has its name: only the Services are still ours to give back.
fn without_deployment(
    status: &WorkloadStatus,
    observed: &Observed,
    waits: &mut Vec<String>,
    draft: &mut Draft,
) -> bool {
    let mut done = true;
    for service in services(status, observed) {
        if service.window || service.pin().is_some() {
            patches::unpin(service, draft);
            waits.push(format!("Service {} to select as the user wrote it", service.name));
            done = false;
        }
    }
    done
}
