//! What a revision changes in the Deployments: images, and the generation variable.

use slipway_crds::GenerationToken;
use slipway_crds::v1alpha1::Move;
use slipway_crds::v1alpha1::status::{ImageChange, PinnedService, VariableChange, WorkloadStatus};

use crate::intent::{Plan, WorkloadPlan};
use crate::observed::{DeploymentView, Observed};
use crate::template::Template;
use crate::window::side_of;

/// The Deployments of a version, as far as they are there.
pub fn deployments<'a>(observed: &'a Observed, plan: &'a Plan) -> impl Iterator<Item = &'a DeploymentView> {
    let named = plan.workloads.iter();
    named.filter_map(|workload| observed.deployments.get(&workload.deployment))
}

/// The container of a workload that gets the image.
pub fn container(workload: &WorkloadPlan, template: &Template) -> Option<String> {
    let containers: Vec<String> = template
        .containers()
        .into_iter()
        .filter(|found| !found.init)
        .map(|found| found.name)
        .collect();
    match (&workload.container, containers.as_slice()) {
        (Some(name), all) => all.iter().find(|found| *found == name).cloned(),
        (None, [only]) => Some(only.clone()),
        (None, _) => None,
    }
}

/// The images that a version changes in a template: every one that equals that of the workload's container.
pub fn image_changes(workload: &WorkloadPlan, template: &Template, image: &str) -> Vec<ImageChange> {
    let current = container(workload, template).and_then(|name| template.image(&name));
    template
        .containers()
        .into_iter()
        .filter(|found| Some(&found.image) == current.as_ref() && found.image != image)
        .map(|found| ImageChange {
            container: found.name,
            init: found.init,
            from: found.image,
            to: image.to_owned(),
        })
        .collect()
}

/// What status remembers of a workload when a revision begins.
pub fn workload_status(
    plan: &WorkloadPlan,
    deployment: &DeploymentView,
    image: &str,
    observed: &Observed,
) -> WorkloadStatus {
    let services = plan
        .services
        .iter()
        .filter_map(|name| observed.services.get(name));
    WorkloadStatus {
        name: plan.name.clone(),
        deployment: deployment.name.clone(),
        deployment_uid: deployment.uid.clone(),
        move_: plan.move_,
        images: image_changes(plan, &deployment.template, image),
        variable: None,
        remembered: None,
        old: deployment.active().next().map(side_of),
        new: None,
        services: services
            .map(|service| PinnedService {
                name: service.name.clone(),
                uid: service.uid.clone(),
            })
            .collect(),
        rolled_at: None,
        locked_at: None,
        ready_since: None,
        bolted_at: None,
        last_pin_change_at: None,
        ready_at_cutover: None,
        degraded_since: None,
        window: false,
    }
}

/// The generation variable that the new pods of a workload carry, where it differs from what they carry.
pub fn variable_change(
    plan: &WorkloadPlan,
    template: &Template,
    name: &str,
    token: &GenerationToken,
) -> Option<VariableChange> {
    let container = container(plan, template)?;
    let from = template.variable(&container, name);
    (from.as_deref() != Some(token.as_str())).then(|| VariableChange {
        container,
        name: name.to_owned(),
        from,
        to: token.to_string(),
    })
}

/// Whether a revision moves traffic at all: some workload with Services changes its template.
pub fn moves_traffic(workloads: &[WorkloadStatus]) -> bool {
    workloads.iter().any(changes_with_traffic)
}

/// Whether a workload goes through a window.
pub fn changes_with_traffic(workload: &WorkloadStatus) -> bool {
    workload.move_ == Move::WithTraffic && changes(workload)
}

/// Whether a revision changes the template of a workload.
pub fn changes(workload: &WorkloadStatus) -> bool {
    !workload.images.is_empty() || workload.variable.is_some()
}
