//! The checks themselves.

use std::collections::BTreeMap;

use kube::core::SelectorExt as _;
use slipway_crds::names::{POD_TEMPLATE_HASH, RELEASE};
use slipway_crds::v1alpha1::Move;
use slipway_crds::v1alpha1::status::StopReason;
use slipway_crds::{ServiceName, Uid};

use super::Finding;
use crate::draft::StepInput;
use crate::intent::{Plan, WorkloadPlan};
use crate::observed::{DeploymentView, Observed, ServiceView, WindowGuard};
use crate::question::Known;
use crate::window::patches::{HOLD_MIN_READY_SECONDS, HOLD_PROGRESS_DEADLINE_SECONDS};
use crate::workloads::container;

/// A workload that is looked at.
pub(super) struct Subject<'a> {
    pub(super) input: &'a StepInput<'a>,
    pub(super) workload: &'a WorkloadPlan,
    pub(super) field: String,
}

type Check = Result<(), Finding>;

impl Subject<'_> {
    pub(super) fn all(&self) -> Check {
        let deployment = self.deployment()?;
        self.claims(deployment)?;
        self.containers(deployment)?;
        self.services(deployment)?;
        if self.workload.move_ == Move::WithTraffic {
            self.strategy(deployment)?;
            self.values_are_the_users(deployment)?;
            self.volumes(deployment)?;
            self.autoscalers(deployment)?;
            self.unlisted_services(deployment)?;
        }
        Ok(())
    }

    fn deployment(&self) -> Result<&DeploymentView, Finding> {
        let name = &self.workload.deployment;
        let found = self.input.observed.deployments.get(name);
        match found {
            Some(deployment) if !deployment.deleting => Ok(deployment),
            Some(_) => Err(Finding::Waits(format!(
                "Deployment {name} is being deleted. Waiting for it to be created again."
            ))),
            None => Err(Finding::wrong(
                StopReason::DeploymentMissing,
                format!(
                    "{}: there is no Deployment {name} in this namespace. Create it, or correct the name.",
                    self.field
                ),
            )),
        }
    }

    fn claims(&self, deployment: &DeploymentView) -> Check {
        let own = &self.input.intent.meta.uid;
        let foreign = |claim: &Option<Uid>| {
            claim
                .as_ref()
                .is_some_and(|claim| claim != own && self.input.observed.releases.contains(claim))
        };
        let services = self
            .workload
            .services
            .iter()
            .filter_map(|name| self.input.observed.services.get(name));
        let taken = foreign(&deployment.claim)
            .then(|| format!("Deployment {}", deployment.name))
            .or_else(|| {
                services
                    .into_iter()
                    .find(|service| foreign(&service.claim))
                    .map(|service| format!("Service {}", service.name))
            });
        match taken {
            Some(what) => Err(Finding::wrong(
                StopReason::ClaimedBy,
                format!(
                    "{}: {what} belongs to another Release, and an object belongs to one Release. Take it out of the other one first.",
                    self.field
                ),
            )),
            None => Ok(()),
        }
    }

    fn containers(&self, deployment: &DeploymentView) -> Check {
        if container(self.workload, &deployment.template).is_some() {
            return Ok(());
        }
        let names: Vec<String> = deployment
            .template
            .containers()
            .into_iter()
            .filter(|found| !found.init)
            .map(|found| found.name)
            .collect();
        Err(Finding::wrong(
            StopReason::InvalidSpec,
            match &self.workload.container {
                Some(name) => format!(
                    "{}.container: Deployment {} has no container {name}. It has {}.",
                    self.field,
                    deployment.name,
                    names.join(", ")
                ),
                None => format!(
                    "{}: Deployment {} has {} containers ({}). Name the one that gets the image in `container`.",
                    self.field,
                    deployment.name,
                    names.len(),
                    names.join(", ")
                ),
            },
        ))
    }

    fn services(&self, deployment: &DeploymentView) -> Check {
        for name in &self.workload.services {
            let Some(service) = self.input.observed.services.get(name) else {
                return Err(Finding::wrong(
                    StopReason::ServiceMissing,
                    format!(
                        "{}.services: there is no Service {name} in this namespace. Create it, or correct the name.",
                        self.field
                    ),
                ));
            };
            self.selector(deployment, service)?;
            self.ports(deployment, service)?;
        }
        Ok(())
    }

    fn selector(&self, deployment: &DeploymentView, service: &ServiceView) -> Check {
        let (field, name) = (&self.field, &service.name);
        if service.selector.contains_key(POD_TEMPLATE_HASH) && !service.window {
            return Err(Finding::wrong(
                StopReason::ServicePinned,
                format!(
                    "{field}.services: Service {name} selects by {POD_TEMPLATE_HASH} already. Remove that key from its selector; Slipway sets it while traffic moves."
                ),
            ));
        }
        if !service.selects(deployment.template.labels()) {
            return Err(Finding::wrong(
                StopReason::ServiceSelectsNothing,
                format!(
                    "{field}.services: the selector of Service {name} does not match the pods of Deployment {}. Correct the selector, or take the Service out of the list.",
                    deployment.name
                ),
            ));
        }
        let others = self.input.observed.deployments.values();
        let mut others = others.filter(|other| other.name != deployment.name);
        match others.find(|other| service.selects(other.template.labels())) {
            Some(other) => Err(Finding::wrong(
                StopReason::ServiceSelectsOthers,
                format!(
                    "{field}.services: Service {name} also selects pods of Deployment {}, which would lose its traffic. Give the two different labels.",
                    other.name
                ),
            )),
            None => Ok(()),
        }
    }

    fn ports(&self, deployment: &DeploymentView, service: &ServiceView) -> Check {
        let ports = deployment.template.port_names();
        match service.named_ports.iter().find(|name| !ports.contains(name)) {
            Some(missing) => Err(Finding::wrong(
                StopReason::ServicePortMissing,
                format!(
                    "{}.services: Service {} targets port {missing}, which no container of Deployment {} has. Name the port in the pod template.",
                    self.field, service.name, deployment.name
                ),
            )),
            None => Ok(()),
        }
    }

    fn unlisted_services(&self, deployment: &DeploymentView) -> Check {
        let labels = deployment.template.labels();
        let known =
            |name: &ServiceName| self.workload.services.contains(name) || self.workload.leave.contains(name);
        match self
            .input
            .observed
            .services
            .values()
            .find(|service| service.selects(labels) && !known(&service.name))
        {
            Some(service) => Err(Finding::wrong(
                StopReason::ServiceUnlisted,
                format!(
                    "{}: Service {} selects the pods of Deployment {} too and would send traffic to new pods while they boot. Add it to services, or to leave if that is meant.",
                    self.field, service.name, deployment.name
                ),
            )),
            None => Ok(()),
        }
    }

    fn strategy(&self, deployment: &DeploymentView) -> Check {
        let recreate = deployment
            .strategy
            .as_ref()
            .and_then(|strategy| strategy.type_.as_deref())
            == Some("Recreate");
        if recreate {
            return Err(Finding::wrong(
                StopReason::RecreateStrategy,
                format!(
                    "{}: Deployment {} has strategy Recreate, which means that two versions must never run at once, and Slipway boots them side by side. Use strategy RollingUpdate if they may, or move: After.",
                    self.field, deployment.name
                ),
            ));
        }
        Ok(())
    }

    fn values_are_the_users(&self, deployment: &DeploymentView) -> Check {
        let hold = deployment.min_ready_seconds == Some(HOLD_MIN_READY_SECONDS)
            || deployment.progress_deadline_seconds == Some(HOLD_PROGRESS_DEADLINE_SECONDS);
        if hold && !deployment.window {
            return Err(Finding::wrong(
                StopReason::HeldByUnknown,
                format!(
                    "Deployment {0} carries the values of a release window, but no release is known to have set them. Write back your own, for example: kubectl patch deployment {0} --type merge -p '{{\"spec\":{{\"minReadySeconds\":0,\"progressDeadlineSeconds\":600,\"paused\":false}}}}'",
                    deployment.name
                ),
            ));
        }
        let managers: Vec<&str> = deployment.hold_managers.iter().map(String::as_str).collect();
        if self.input.observed.guard == WindowGuard::Off && !managers.is_empty() {
            return Err(Finding::wrong(
                StopReason::ManifestHoldsFields,
                format!(
                    "{}: {} sets strategy, minReadySeconds, progressDeadlineSeconds or paused of Deployment {}. Applying that again while traffic moves would take pods away, and the window guard that refuses it is off. Turn the guard on (chart value windowGuard.mode), or take the fields out of the manifest.",
                    self.field,
                    managers.join(", "),
                    deployment.name
                ),
            ));
        }
        Ok(())
    }

    fn volumes(&self, deployment: &DeploymentView) -> Check {
        let claims = deployment.template.volume_claims();
        let modes = match self.input.observed.answers.volume_claims() {
            Known::Is(modes) => modes,
            Known::NotAsked | Known::Unknown(_) if claims.is_empty() => return Ok(()),
            Known::NotAsked => {
                return Err(Finding::Waits(
                    "Waiting for the volume claims to be read.".to_owned(),
                ));
            }
            Known::Unknown(why) => {
                return Err(Finding::Waits(format!(
                    "Waiting for the volume claims to be read, which failed: {why}."
                )));
            }
        };
        let shared = |mode: &String| mode == "ReadWriteMany" || mode == "ReadOnlyMany";
        let once = |claim: &&String| modes.get(*claim).is_some_and(|modes| !modes.iter().any(shared));
        match claims.iter().find(once) {
            Some(claim) => Err(Finding::wrong(
                StopReason::VolumeNotShareable,
                format!(
                    "{}: Deployment {} mounts claim {claim}, which only one node may use at a time, so two versions cannot run side by side. Use a ReadWriteMany volume.",
                    self.field, deployment.name
                ),
            )),
            None => Ok(()),
        }
    }

    fn autoscalers(&self, deployment: &DeploymentView) -> Check {
        let Known::Is(scaled) = self.input.observed.answers.autoscalers() else {
            return Ok(());
        };
        match scaled.get(&deployment.name) {
            Some(autoscaler) => Err(Finding::wrong(
                StopReason::UnsupportedAutoscalerMetric,
                format!(
                    "{}: HorizontalPodAutoscaler {autoscaler} scales Deployment {} by a metric of type Value, which counts both sides and would grow without end while both are up. Use AverageValue or Utilization.",
                    self.field, deployment.name
                ),
            )),
            None => Ok(()),
        }
    }
}

/// Task pods must not be found by a Service or a Deployment.
pub(super) fn task_labels(observed: &Observed, plan: &Plan) -> Check {
    for task in plan.tasks.iter().filter(|task| !task.labels.is_empty()) {
        let mut labels: BTreeMap<String, String> = task.labels.clone();
        labels.insert(RELEASE.to_owned(), String::new());
        let service = observed
            .services
            .values()
            .find(|service| service.selects(&labels));
        let deployment = observed
            .deployments
            .values()
            .find(|deployment| !deployment.selector.selects_all() && deployment.selector.matches(&labels));
        let found = service.map(|service| format!("Service {}", service.name));
        if let Some(what) =
            found.or_else(|| deployment.map(|deployment| format!("Deployment {}", deployment.name)))
        {
            return Err(Finding::wrong(
                StopReason::TaskLabelsSelected,
                format!(
                    "The labels of task {} are selected by {what}, which would take its pod for one of its own. Choose other labels.",
                    task.name
                ),
            ));
        }
    }
    Ok(())
}
