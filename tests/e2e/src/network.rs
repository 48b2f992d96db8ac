//! The addresses inside a cluster's network. They are the same in every cluster: each has a network of its own.

use anyhow::{Context, Result};
use k8s_openapi::api::core::v1::Service;
use kube::{
    Api, Client,
    api::{DynamicObject, Patch, PatchParams},
    core::{ApiResource, GroupVersionKind},
};
use serde_json::json;

/// The one node's address, on the loopback interface: servers that run beside Kubernetes listen there.
pub const NODE_ADDRESS: &str = "192.168.77.1";

/// The one node's name.
pub const NODE_NAME: &str = "node";

/// Where ClusterIPs come from.
pub const SERVICE_RANGE: &str = "10.96.0.0/16";

/// The ClusterIP of the API server, the first of the range.
pub const API_SERVICE_ADDRESS: &str = "10.96.0.1";

/// Where pods are told to ask for names. There is no cluster DNS: a question is refused at once.
pub const CLUSTER_DNS_ADDRESS: &str = "10.96.0.10";

/// Where pods' addresses come from.
pub const POD_RANGE: &str = "10.244.0.0/16";

/// The API server's port on [`NODE_ADDRESS`].
pub const API_PORT: u16 = 6443;

/// The port of the API server without controllers, where one runs; also on [`NODE_ADDRESS`].
pub const REFERENCE_PORT: u16 = 6444;

/// Gives a server that listens at [`NODE_ADDRESS`] on `target_port` a Service in a namespace, and returns the
/// Service's ClusterIP: pods call it there, since there is no cluster DNS.
///
/// # Errors
/// When the API server refuses.
pub async fn expose(
    client: &Client,
    namespace: &str,
    name: &str,
    port: u16,
    target_port: u16,
) -> Result<String> {
    let parameters = PatchParams::apply("slipway-tests").force();
    let service = json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": { "name": name },
        "spec": { "ports": [{ "name": "main", "port": port, "targetPort": target_port }] },
    });
    let services: Api<Service> = Api::namespaced(client.clone(), namespace);
    let service = services
        .patch(name, &parameters, &Patch::Apply(&service))
        .await
        .with_context(|| format!("cannot make Service {namespace}/{name}"))?;
    let slice = json!({
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": { "name": name, "labels": { "kubernetes.io/service-name": name } },
        "addressType": "IPv4",
        "ports": [{ "name": "main", "port": target_port, "protocol": "TCP" }],
        "endpoints": [{ "addresses": [NODE_ADDRESS], "conditions": { "ready": true } }],
    });
    let kind = ApiResource::from_gvk(&GroupVersionKind::gvk("discovery.k8s.io", "v1", "EndpointSlice"));
    let slices: Api<DynamicObject> = Api::namespaced_with(client.clone(), namespace, &kind);
    slices
        .patch(name, &parameters, &Patch::Apply(&slice))
        .await
        .with_context(|| format!("cannot make EndpointSlice {namespace}/{name}"))?;
    service
        .spec
        .and_then(|spec| spec.cluster_ip)
        .context("a Service has a ClusterIP")
}
