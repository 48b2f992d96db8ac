//! How traffic moves: the stages of a window, each from observation alone.
//!
//! Every stage function looks, adds the one patch that is missing, and says whether its aim is reached. So
//! a crash between any two writes loses nothing, and a stage that something undid is done again.

mod end;
pub mod patches;
mod upkeep;
mod workload;

use slipway_crds::v1alpha1::status::SideStatus;

use crate::decision::{Kind, Purpose, ReadAgain};
use crate::draft::Draft;
use crate::observed::{DeploymentView, ReplicaSetView};
use crate::sentence::count;
use patches::{HOLD_MIN_READY_SECONDS, held};

pub use end::end;
pub use upkeep::{Kept, every, gone, in_the_way, keep, serving_side_lost, windows};
pub use workload::{Side, WorkloadWindow};

/// Opens the window: `paused`, so that no other template makes a ReplicaSet, and our label. The user's
/// values must be committed at the resource version that the patch carries.
pub fn open(window: &WorkloadWindow<'_>, draft: &mut Draft) -> bool {
    let deployment = window.deployment;
    if deployment.window && (deployment.paused == Some(true) || held(deployment)) {
        return true;
    }
    let opened = opened(window);
    // Before the window the user's own rollouts go on: one is waited for, and what it leaves is the old side.
    if !opened && !deployment.at_rest() {
        return false;
    }
    let serving = deployment.active().next().filter(|_| !opened).map(side_of);
    let committed = window
        .status
        .remembered
        .as_ref()
        .map(|remembered| remembered.resource_version.as_str());
    // What is held carries our values: they are never remembered as the user's.
    if deployment.window || held(deployment) || committed == Some(&deployment.resource_version) {
        patches::open(deployment, draft);
    } else {
        let remembered = patches::remember(deployment);
        if !window.status.window {
            let serving = draft.progress.status.serving.clone().unwrap_or_default();
            draft.tell(
                "Booting",
                deployment.name.to_string(),
                format!(
                    "{}: {} beside the old ones; traffic stays on {serving}",
                    deployment.name,
                    count(deployment.replicas, "new pod")
                ),
            );
        }
        draft.workload(window.name(), |status| {
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
pub fn opened(window: &WorkloadWindow<'_>) -> bool {
    window.deployment.window || held(window.deployment) || window.status.new.is_some()
}

/// Pins the Services to a side, and confirms that by their endpoints.
pub fn pin(window: &WorkloadWindow<'_>, side: Side, purpose: Purpose, draft: &mut Draft) -> bool {
    let Some(set) = window.side(side) else {
        return false;
    };
    for service in window
        .services
        .iter()
        .filter(|service| service.pin().as_ref() != Some(&set.hash) || !service.window)
    {
        if purpose.irreversible() {
            draft.read_again(ReadAgain::ReplicaSet(set.name.clone()));
        }
        patches::pin(service, &set.hash, purpose, draft);
    }
    window.confirmed(side)
}

/// Lets new pods boot beside the old ones: the new template and the fields that keep the old side alive.
pub fn hold(window: &WorkloadWindow<'_>, draft: &mut Draft) -> bool {
    let (images, variable) = (&window.status.images, window.status.variable.as_ref());
    let deployment = window.deployment;
    if held(deployment) && (window.status.new.is_some() || deployment.template.carries(images, variable)) {
        return true;
    }
    let template = window.old_template().with(images, variable);
    patches::hold(deployment, &template, false, Purpose::Hold, draft);
    false
}

/// Pauses the Deployment again as soon as the new side wants its full size. Not earlier: no ReplicaSet
/// would be made. A new side that was lost is brought back.
pub fn lock(window: &WorkloadWindow<'_>, draft: &mut Draft) -> bool {
    let deployment = window.deployment;
    let wants = window
        .new
        .is_some_and(|new| new.wanted == deployment.replicas && new.wanted > 0);
    let locked = deployment.paused == Some(true) && held(deployment);
    let template = window.new_template();
    let ours = match &window.status.new {
        Some(_) => deployment.template == template,
        // Admission may have changed what was sent: as it came back is how it is.
        None => deployment
            .template
            .carries(&window.status.images, window.status.variable.as_ref()),
    };
    if !wants
        && !follows(deployment, window.new)
        && (deployment.paused == Some(true) || !ours || !held(deployment))
    {
        // Unpaused by ourselves: the lock that follows is the first one again.
        draft.workload(window.name(), |status| status.locked_at = None);
        patches::hold(deployment, &template, false, Purpose::Repair, draft);
    } else if wants
        && !locked
        && (window.status.locked_at.is_some() || deployment.observed_generation >= deployment.generation)
    {
        // Before that the Deployment's own status is about to change, and the patch would be outdated.
        if window.status.locked_at.is_some() {
            draft.warn(
                "ResumeUndone",
                window.name().to_string(),
                format!("Deployment {} was resumed, or its hold changed, while a release is in progress. It is paused again.", deployment.name),
            );
        }
        let template = if ours {
            deployment.template.clone()
        } else {
            template
        };
        patches::hold(deployment, &template, true, Purpose::Lock, draft);
    }
    if wants && locked && window.status.locked_at.is_none() {
        let now = draft.now();
        if let Some(new) = window.new {
            draft.workload(window.name(), |status| {
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
pub fn bring_back(window: &WorkloadWindow<'_>, side: Side, draft: &mut Draft) -> bool {
    let (deployment, set) = (window.deployment, window.side(side));
    if set.is_some_and(|set| set.wanted == deployment.replicas) {
        return true;
    }
    let template = window.template(side);
    let waits = deployment.paused != Some(true) && deployment.template == template && held(deployment);
    if !waits && !follows(deployment, set) {
        draft.warn(
            "SideLost",
            deployment.name.to_string(),
            format!(
                "The pods of {} that are to serve lost their ReplicaSet or were scaled away. They are being brought back.",
                deployment.name
            ),
        );
        patches::hold(deployment, &template, false, Purpose::Repair, draft);
    }
    false
}

/// Holds the Deployment again with the template of a side that was to end: its version is another one then, so
/// that a write which ends this side and is still on its way is refused. Says whether it is held so.
pub fn hold_again(window: &WorkloadWindow<'_>, side: Side, draft: &mut Draft) -> bool {
    let (deployment, template) = (window.deployment, window.template(side));
    if held(deployment) && deployment.template == template {
        return true;
    }
    patches::hold(deployment, &template, true, Purpose::Repair, draft);
    false
}

/// Makes the old side look unavailable to the Deployment controller, so that nothing counts as saturated.
/// Right before the cutover and not sooner: the controller cleans up unavailable old ReplicaSets first.
pub fn bolt(window: &WorkloadWindow<'_>, draft: &mut Draft) -> bool {
    let Some(old) = window.old else {
        return true;
    };
    if old.min_ready_seconds != Some(HOLD_MIN_READY_SECONDS) {
        patches::min_ready(old, Some(HOLD_MIN_READY_SECONDS), Purpose::Bolt, draft);
        return false;
    }
    old.current() && old.available == 0
}

/// Takes the bolt off again after a way back, with the ReplicaSet's own value.
pub fn unbolt(window: &WorkloadWindow<'_>, draft: &mut Draft) -> bool {
    // Of the Deployment's own template the Deployment controller keeps the value, and EndWindow brings it back.
    let bolted = |old: &&ReplicaSetView| {
        old.min_ready_seconds == Some(HOLD_MIN_READY_SECONDS)
            && old.template_digest != *window.deployment.template.digest()
    };
    let Some(old) = window.old.filter(bolted) else {
        return true;
    };
    if window.status.bolted_at.is_none() {
        return true;
    }
    let own = window.status.old.as_ref().and_then(|side| side.min_ready_seconds);
    let own = own.filter(|seconds| *seconds != HOLD_MIN_READY_SECONDS);
    patches::min_ready(old, own, Purpose::Unbolt, draft);
    false
}

/// What status remembers of a side.
pub fn side_of(set: &ReplicaSetView) -> SideStatus {
    SideStatus {
        uid: Some(set.uid.clone()),
        hash: Some(set.hash.clone()),
        template: set.template_digest.clone(),
        min_ready_seconds: set.min_ready_seconds,
        ready: set.ready,
        wanted: set.wanted,
    }
}

/// Puts back at once what something removed from the Services, and tells.
pub fn keep_pins(window: &WorkloadWindow<'_>, side: Side, draft: &mut Draft) -> bool {
    let Some(set) = window.side(side) else {
        return false;
    };
    for service in window
        .services
        .iter()
        .filter(|service| service.pin().as_ref() != Some(&set.hash))
    {
        draft.warn(
            "RePinned",
            service.name.to_string(),
            format!(
                "Something changed the selector of Service {}. It points to the serving side again.",
                service.name
            ),
        );
    }
    pin(window, side, Purpose::Pin, draft)
}

/// A patch on an object of the window, for callers that build their own body.
pub(crate) fn patch_deployment(
    deployment: &DeploymentView,
    purpose: Purpose,
    body: serde_json::Value,
    draft: &mut Draft,
) {
    draft.patch(
        Kind::Deployment,
        deployment.name.as_str(),
        &deployment.uid,
        purpose,
        body,
    );
}
