//! How traffic moves: the stages of a window, each from observation alone.
//!
//! Every stage function looks, adds the one patch that is missing, and says whether its aim is reached. So
//! a crash between any two writes loses nothing, and a stage that something undid is done again.

mod bench;
pub mod patches;
mod settle;

use slipway_crds::v1alpha1::status::Side;

use crate::decision::{Kind, Purpose};
use crate::observed::{DeploymentView, ReplicaSetView};
use crate::turn::Turn;
use patches::{HOLD_MIN_READY_SECONDS, held};

pub use bench::{Bench, Which};
pub use settle::settle;

/// Opens the window: `paused`, so that no other template makes a ReplicaSet, and our label. The user's
/// values must be committed at the resource version that the patch carries.
pub fn open(bench: &Bench<'_>, turn: &mut Turn) -> bool {
    let deployment = bench.deployment;
    if deployment.window && (deployment.paused == Some(true) || held(deployment)) {
        return true;
    }
    let begun = begun(bench);
    // Before the window the user's own rollouts go on: one is waited for, and what it leaves is the old side.
    if !begun && !deployment.settled() {
        return false;
    }
    let serving = deployment.active().next().filter(|_| !begun).map(side_of);
    let committed = bench
        .status
        .remembered
        .as_ref()
        .map(|remembered| remembered.resource_version.as_str());
    // What is held carries our values: they are never remembered as the user's.
    if deployment.window || held(deployment) || committed == Some(&deployment.resource_version) {
        patches::open(deployment, turn);
    } else {
        let remembered = patches::remember(deployment);
        if !bench.status.window {
            let serving = turn.progress.status.serving.clone().unwrap_or_default();
            turn.tell(
                "Booting",
                deployment.name.clone(),
                format!(
                    "{}: {} new pods beside the old ones; traffic stays on {serving}",
                    deployment.name, deployment.replicas
                ),
            );
        }
        turn.workload(bench.name(), |status| {
            status.remembered = Some(remembered);
            status.window = true;
            if serving.is_some() {
                status.old = serving;
            }
        });
    }
    false
}

/// Whether the window was open once, or is.
pub fn begun(bench: &Bench<'_>) -> bool {
    bench.deployment.window || held(bench.deployment) || bench.status.new.is_some()
}

/// Pins the Services to a side, and confirms that by their endpoints.
pub fn pin(bench: &Bench<'_>, which: Which, purpose: Purpose, turn: &mut Turn) -> bool {
    let Some(side) = bench.side(which) else {
        return false;
    };
    for service in bench
        .services
        .iter()
        .filter(|service| service.pin() != Some(&side.hash) || !service.window)
    {
        patches::pin(service, &side.hash, purpose, turn);
    }
    bench.confirmed(which)
}

/// Lets new pods boot beside the old ones: the new template and the fields that keep the old side alive.
pub fn hold(bench: &Bench<'_>, turn: &mut Turn) -> bool {
    let (images, variable) = (&bench.status.images, bench.status.variable.as_ref());
    let deployment = bench.deployment;
    if held(deployment) && (bench.status.new.is_some() || deployment.template.carries(images, variable)) {
        return true;
    }
    let template = bench.old_template().with(images, variable);
    patches::hold(deployment, &template, false, Purpose::Hold, turn);
    false
}

/// Pauses the Deployment again as soon as the new side wants its full size. Not earlier: no ReplicaSet
/// would be made. A new side that was lost is brought back.
pub fn lock(bench: &Bench<'_>, turn: &mut Turn) -> bool {
    let deployment = bench.deployment;
    let wants = bench
        .new
        .is_some_and(|new| new.wanted == deployment.replicas && new.wanted > 0);
    let locked = deployment.paused == Some(true) && held(deployment);
    let template = bench.new_template();
    let ours = match &bench.status.new {
        Some(_) => deployment.template == template,
        // Admission may have changed what was sent: as it came back is how it is.
        None => deployment
            .template
            .carries(&bench.status.images, bench.status.variable.as_ref()),
    };
    if !wants
        && !follows(deployment, bench.new)
        && (deployment.paused == Some(true) || !ours || !held(deployment))
    {
        // Unpaused by ourselves: the lock that follows is the first one again.
        turn.workload(bench.name(), |status| status.locked_at = None);
        patches::hold(deployment, &template, false, Purpose::Repair, turn);
    } else if wants
        && !locked
        && (bench.status.locked_at.is_some() || deployment.observed_generation >= deployment.generation)
    {
        // Before that the Deployment's own status is about to change, and the patch would be outdated.
        if bench.status.locked_at.is_some() {
            turn.warn(
                "ResumeUndone",
                bench.name(),
                format!("Deployment {} was resumed or its hold changed while a release is in progress; paused it again", deployment.name),
            );
        }
        let template = if ours {
            deployment.template.clone()
        } else {
            template
        };
        patches::hold(deployment, &template, true, Purpose::Lock, turn);
    }
    if wants && locked && bench.status.locked_at.is_none() {
        let now = turn.now();
        if let Some(new) = bench.new {
            turn.workload(bench.name(), |status| {
                status.locked_at = Some(now);
                status.new = Some(side_of(new));
            });
        }
    }
    wants && locked
}

/// Whether a side is merely about to follow a change of the Deployment's size.
fn follows(deployment: &DeploymentView, side: Option<&ReplicaSetView>) -> bool {
    side.is_some_and(|side| side.wanted > 0) && deployment.observed_generation < deployment.generation
}

/// Brings back a side that lost its ReplicaSet or was scaled away: while paused nobody else would. Template and
/// hold go in one patch: all pods at once, where the user's values would bring them at maxSurge's pace. Says
/// whether the side wants its full size.
pub fn bring_back(bench: &Bench<'_>, which: Which, turn: &mut Turn) -> bool {
    let (deployment, side) = (bench.deployment, bench.side(which));
    if side.is_some_and(|side| side.wanted == deployment.replicas) {
        return true;
    }
    let template = bench.template(which);
    let waits = deployment.paused != Some(true) && deployment.template == template && held(deployment);
    if !waits && !follows(deployment, side) {
        turn.warn(
            "SideLost",
            deployment.name.clone(),
            format!(
                "the pods of {} that are to serve lost their ReplicaSet or were scaled away; bringing them back",
                deployment.name
            ),
        );
        patches::hold(deployment, &template, false, Purpose::Repair, turn);
    }
    false
}

/// Holds the Deployment again with the template of a side that was to end: its version is another one then, so
/// that a write which ends this side and is still on its way is refused. Says whether it is held so.
pub fn hold_again(bench: &Bench<'_>, which: Which, turn: &mut Turn) -> bool {
    let (deployment, template) = (bench.deployment, bench.template(which));
    if held(deployment) && deployment.template == template {
        return true;
    }
    patches::hold(deployment, &template, true, Purpose::Repair, turn);
    false
}

/// Makes the old side look unavailable to the Deployment controller, so that nothing counts as saturated.
/// Right before the cutover and not sooner: the controller cleans up unavailable old ReplicaSets first.
pub fn bolt(bench: &Bench<'_>, turn: &mut Turn) -> bool {
    let Some(old) = bench.old else {
        return true;
    };
    if old.min_ready_seconds != Some(HOLD_MIN_READY_SECONDS) {
        patches::min_ready(old, Some(HOLD_MIN_READY_SECONDS), Purpose::Bolt, turn);
        return false;
    }
    old.current() && old.available == 0
}

/// Takes the bolt off again after a way back, with the ReplicaSet's own value.
pub fn unbolt(bench: &Bench<'_>, turn: &mut Turn) -> bool {
    // Of the Deployment's own template the Deployment controller keeps the value, and Settle brings it back.
    let bolted = |old: &&ReplicaSetView| {
        old.min_ready_seconds == Some(HOLD_MIN_READY_SECONDS)
            && old.template_digest != bench.deployment.template.digest()
    };
    let Some(old) = bench.old.filter(bolted) else {
        return true;
    };
    if bench.status.bolted_at.is_none() {
        return true;
    }
    let own = bench.status.old.as_ref().and_then(|side| side.min_ready_seconds);
    let own = own.filter(|seconds| *seconds != HOLD_MIN_READY_SECONDS);
    patches::min_ready(old, own, Purpose::Unbolt, turn);
    false
}

/// What status remembers of a side.
pub fn side_of(set: &ReplicaSetView) -> Side {
    Side {
        uid: Some(set.uid.clone()),
        hash: Some(set.hash.clone()),
        template: set.template_digest.clone(),
        min_ready_seconds: set.min_ready_seconds,
        ready: set.ready,
        wanted: set.wanted,
    }
}

/// Puts back at once what something removed from the Services, and tells.
pub fn keep_pins(bench: &Bench<'_>, which: Which, turn: &mut Turn) -> bool {
    let Some(side) = bench.side(which) else {
        return false;
    };
    for service in bench
        .services
        .iter()
        .filter(|service| service.pin() != Some(&side.hash))
    {
        turn.warn(
            "RePinned",
            service.name.clone(),
            format!(
                "something changed the selector of Service {}; it points to the serving side again",
                service.name
            ),
        );
    }
    pin(bench, which, Purpose::Pin, turn)
}

/// A patch on an object of the window, for callers that build their own body.
pub(crate) fn patch_deployment(
    deployment: &DeploymentView,
    purpose: Purpose,
    body: serde_json::Value,
    turn: &mut Turn,
) {
    turn.patch(Kind::Deployment, &deployment.name, &deployment.uid, purpose, body);
}
