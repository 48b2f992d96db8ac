//! The bodies of every write that moves traffic.
//!
//! Template and hold fields always travel together, always with the resource version of what was seen: a
//! stale one is refused with 409 and looked at again.

use serde_json::{Map, Value, json};
use slipway_crds::names::{CLAIM, POD_TEMPLATE_HASH, WINDOW, WINDOW_OPEN};
use slipway_crds::v1alpha1::status::{Amount, Remembered, Strategy};
use slipway_crds::{TemplateHash, Uid};

use super::patch_deployment;
use crate::decision::{Kind, Purpose};
use crate::draft::Draft;
use crate::observed::{DeploymentView, ReplicaSetView, ServiceView};
use crate::template::{Template, merge_patch};

/// No pod of the new template ever counts as available, so no old pod is scaled away. One below the
/// greatest int32, because progressDeadlineSeconds must be greater.
pub const HOLD_MIN_READY_SECONDS: i32 = i32::MAX - 1;

/// Greatest int32: the Deployment controller reads it as "no deadline".
pub const HOLD_PROGRESS_DEADLINE_SECONDS: i32 = i32::MAX;

/// Whether a Deployment carries all hold fields.
pub fn held(deployment: &DeploymentView) -> bool {
    deployment.min_ready_seconds == Some(HOLD_MIN_READY_SECONDS)
        && deployment.progress_deadline_seconds == Some(HOLD_PROGRESS_DEADLINE_SECONDS)
        && strategy_held(deployment)
}

/// Whether its strategy is that of the hold, which stays until the window closes.
pub fn strategy_held(deployment: &DeploymentView) -> bool {
    deployment.strategy == Some(hold_strategy())
}

fn hold_strategy() -> Strategy {
    Strategy {
        type_: Some("RollingUpdate".to_owned()),
        max_surge: Some(Amount(json!("100%"))),
        max_unavailable: Some(Amount(json!(0))),
    }
}

/// Whether the strategy is still the hold's, and the user's was another.
pub(super) fn keeps_strategy(deployment: &DeploymentView, remembered: &Remembered) -> bool {
    strategy_held(deployment) && remembered.strategy != deployment.strategy
}

/// The user's own values of the fields that the window uses.
pub fn remember(deployment: &DeploymentView) -> Remembered {
    Remembered {
        min_ready_seconds: deployment.min_ready_seconds,
        progress_deadline_seconds: deployment.progress_deadline_seconds,
        strategy: deployment.strategy.clone(),
        paused: deployment.paused,
        resource_version: deployment.resource_version.clone(),
    }
}

fn metadata(resource_version: &str, labels: &[(&str, Option<&str>)]) -> Value {
    let labels: Map<String, Value> = labels
        .iter()
        .map(|(key, value)| ((*key).to_owned(), value.map_or(Value::Null, Value::from)))
        .collect();
    if labels.is_empty() {
        json!({ "resourceVersion": resource_version })
    } else {
        json!({ "resourceVersion": resource_version, "labels": labels })
    }
}

fn strategy(strategy: &Strategy) -> Value {
    let rolling = strategy.max_surge.is_some() || strategy.max_unavailable.is_some();
    let amount = |amount: &Option<Amount>| amount.as_ref().map_or(Value::Null, |amount| amount.0.clone());
    // Absent would keep the hold's block, which the API server refuses beside Recreate.
    let block = if rolling {
        json!({ "maxSurge": amount(&strategy.max_surge), "maxUnavailable": amount(&strategy.max_unavailable) })
    } else {
        Value::Null
    };
    json!({ "type": strategy.type_, "rollingUpdate": block })
}

/// Claims or frees a Deployment.
pub fn claim_deployment(deployment: &DeploymentView, claim: Option<&Uid>, draft: &mut Draft) {
    let purpose = if claim.is_some() {
        Purpose::Claim
    } else {
        Purpose::Unclaim
    };
    let body =
        json!({ "metadata": metadata(&deployment.resource_version, &[(CLAIM, claim.map(Uid::as_str))]) });
    patch_deployment(deployment, purpose, body, draft);
}

/// Lets go of a Service. A pin that came late, on its way when its window ended, goes before the claim.
pub fn let_go(service: &ServiceView, draft: &mut Draft) {
    if service.window {
        unpin(service, draft);
    } else {
        claim_service(service, None, draft);
    }
}

/// Claims or frees a Service.
pub fn claim_service(service: &ServiceView, claim: Option<&Uid>, draft: &mut Draft) {
    let purpose = if claim.is_some() {
        Purpose::Claim
    } else {
        Purpose::Unclaim
    };
    let body = json!({ "metadata": metadata(&service.resource_version, &[(CLAIM, claim.map(Uid::as_str))]) });
    draft.patch(Kind::Service, service.name.as_str(), &service.uid, purpose, body);
}

pub(super) fn open(deployment: &DeploymentView, draft: &mut Draft) {
    let body = json!({
        "metadata": metadata(&deployment.resource_version, &[(WINDOW, Some(WINDOW_OPEN))]),
        "spec": { "paused": true },
    });
    patch_deployment(deployment, Purpose::Open, body, draft);
}

pub(super) fn hold(
    deployment: &DeploymentView,
    template: &Template,
    paused: bool,
    purpose: Purpose,
    draft: &mut Draft,
) {
    let body = json!({
        "metadata": metadata(&deployment.resource_version, &[(WINDOW, Some(WINDOW_OPEN))]),
        "spec": {
            "template": merge_patch(&deployment.template.value(), &template.value()),
            "minReadySeconds": HOLD_MIN_READY_SECONDS,
            "progressDeadlineSeconds": HOLD_PROGRESS_DEADLINE_SECONDS,
            "strategy": strategy(&hold_strategy()),
            "paused": paused,
        },
    });
    patch_deployment(deployment, purpose, body, draft);
}

/// The user's own minReadySeconds and deadline come back with the template of the kept side; the other side
/// then goes. The strategy stays the hold's until [`close`]: in the first moment the kept side does not count
/// as available yet, and with a smaller maxSurge the Deployment controller would scale *both* sides down
/// proportionally. Where no pods are wanted, everything comes back at once.
pub(super) fn end(
    deployment: &DeploymentView,
    template: &Template,
    remembered: &Remembered,
    paused: bool,
    draft: &mut Draft,
) {
    let kept = hold_strategy();
    let users = remembered.strategy.clone().unwrap_or_default();
    let body = json!({
        "metadata": metadata(&deployment.resource_version, &[(WINDOW, Some(WINDOW_OPEN))]),
        "spec": {
            "template": merge_patch(&deployment.template.value(), &template.value()),
            "minReadySeconds": remembered.min_ready_seconds,
            "progressDeadlineSeconds": remembered.progress_deadline_seconds,
            "strategy": strategy(if deployment.replicas == 0 { &users } else { &kept }),
            "paused": paused,
        },
    });
    patch_deployment(deployment, Purpose::EndWindow, body, draft);
}

/// Whether the patch of [`end`] is in force. While the window is open the strategy tells that it was written: where
/// nothing else differs, such as in a window that was only opened, a Hold that is still on its way would otherwise
/// boot new pods behind a Service that is unpinned already.
pub(super) fn ended(
    deployment: &DeploymentView,
    template: &Template,
    remembered: &Remembered,
    closed: bool,
) -> bool {
    deployment.template == *template
        && deployment.min_ready_seconds.unwrap_or_default()
            == remembered.min_ready_seconds.unwrap_or_default()
        && deployment.progress_deadline_seconds == remembered.progress_deadline_seconds
        && (strategy_held(deployment)
            || ((closed || deployment.replicas == 0) && deployment.strategy == remembered.strategy))
}

/// The last of the user's own values, and our label off.
pub(super) fn close(deployment: &DeploymentView, remembered: &Remembered, draft: &mut Draft) {
    let body = json!({
        "metadata": metadata(&deployment.resource_version, &[(WINDOW, None)]),
        "spec": {
            "strategy": strategy(&remembered.strategy.clone().unwrap_or_default()),
            "paused": remembered.paused,
        },
    });
    patch_deployment(deployment, Purpose::Close, body, draft);
}

/// A plain change of the template: the user's own rolling update.
pub fn roll(deployment: &DeploymentView, template: &Template, draft: &mut Draft) {
    let body = json!({
        "metadata": metadata(&deployment.resource_version, &[]),
        "spec": { "template": merge_patch(&deployment.template.value(), &template.value()) },
    });
    patch_deployment(deployment, Purpose::Roll, body, draft);
}

pub(super) fn pin(service: &ServiceView, hash: &TemplateHash, purpose: Purpose, draft: &mut Draft) {
    let body = json!({
        "metadata": metadata(&service.resource_version, &[(WINDOW, Some(WINDOW_OPEN))]),
        "spec": { "selector": { POD_TEMPLATE_HASH: hash } },
    });
    draft.patch(Kind::Service, service.name.as_str(), &service.uid, purpose, body);
}

/// Takes the pin and the window label off a Service.
pub fn unpin(service: &ServiceView, draft: &mut Draft) {
    let body = json!({
        "metadata": metadata(&service.resource_version, &[(WINDOW, None)]),
        "spec": { "selector": { POD_TEMPLATE_HASH: null } },
    });
    draft.patch(
        Kind::Service,
        service.name.as_str(),
        &service.uid,
        Purpose::Unpin,
        body,
    );
}

pub(super) fn min_ready(set: &ReplicaSetView, value: Option<i32>, purpose: Purpose, draft: &mut Draft) {
    let body = json!({
        "metadata": metadata(&set.resource_version, &[]),
        "spec": { "minReadySeconds": value },
    });
    draft.patch(Kind::ReplicaSet, &set.name, &set.uid, purpose, body);
}
