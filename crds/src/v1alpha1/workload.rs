//! The Deployments of an application and how each gets its new version.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{DeploymentName, ServiceName, WorkloadName};

/// One plain Deployment that belongs to the Release.
#[derive(Clone, Debug, Deserialize, Eq, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = ("!has(self.move) || self.move != 'WithTraffic' || (has(self.services) && self.services.size() > 0)", "move WithTraffic needs the services whose traffic moves; name them in services, or use move: After"),
    validation = ("!has(self.move) || self.move != 'After' || !has(self.services) || self.services.size() == 0", "move After is a rolling update without a cutover; leave services empty, or use move: WithTraffic"),
    validation = ("!has(self.leave) || !has(self.services) || self.leave.all(s, !(s in self.services))", "a Service is in services and in leave; it can only be one of them")
)]
pub struct Workload {
    /// What status and messages call it.
    #[schemars(length(min = 1, max = 40), regex(pattern = "^[a-z]([-a-z0-9]*[a-z0-9])?$"))]
    pub name: WorkloadName,

    /// Name of an existing Deployment in this namespace. It is adopted without restarting one pod.
    #[schemars(length(min = 1, max = 253))]
    pub deployment: DeploymentName,

    /// The container that gets `spec.image`. Default: the only container of the pod template; where there are
    /// several, one has to be named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub container: Option<String>,

    /// The Services whose traffic moves in the cutover. Each selects pods of this Deployment alone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8), inner(length(min = 1, max = 63)))]
    #[x_kube(merge_strategy = kube::core::ListMerge::Set)]
    pub services: Vec<ServiceName>,

    /// Services that match the pods and are to be left alone, such as a headless one or one for metrics.
    /// They see old and new pods while both are up.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8), inner(length(min = 1, max = 63)))]
    #[x_kube(merge_strategy = kube::core::ListMerge::Set)]
    pub leave: Vec<ServiceName>,

    /// `WithTraffic`: boots beside the old pods, and the cutover moves the traffic. After: the Deployment's own
    /// rolling update, once the traffic has moved. Default `WithTraffic` where there are services, else After.
    #[serde(default, rename = "move", skip_serializing_if = "Option::is_none")]
    pub move_: Option<Move>,
}

/// How a workload gets its new version.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, JsonSchema, PartialEq, Serialize)]
pub enum Move {
    /// The new pods boot beside the old; one cutover moves the traffic of the Services.
    WithTraffic,
    /// The Deployment's own rolling update, once the traffic of the others has moved.
    After,
}
