//! The EndpointSlice controller (`pkg/controller/endpointslice` of Kubernetes 1.34).

use std::{ops::Range, sync::Arc, time::Duration};

use serde_json::{Value, json};

use super::{Model, Wake};
use crate::{
    cluster::Cluster,
    fields,
    kind::Kind,
    random::Random,
    refusal::Refusal,
    store::{Caller, Change, DeleteOptions, Key, Part, Store, selector},
};

/// The label with the name of the Service.
pub const SERVICE: &str = "kubernetes.io/service-name";
/// The most endpoints of one slice.
const SLICE: usize = 100;

/// The model.
#[derive(Debug, Default)]
pub struct EndpointSlices;

impl Model for EndpointSlices {
    fn name(&self) -> &'static str {
        "endpointslice-controller"
    }

    fn lag(&self, _change: &Change) -> Range<Duration> {
        Duration::from_millis(5)..Duration::from_millis(80)
    }

    fn affected(&mut self, change: &Change, store: &Store) -> Vec<Key> {
        let namespace = &change.key.namespace;
        match change.key.kind {
            Kind::Service => vec![change.key.clone()],
            Kind::Pod => {
                let services = store.list(Kind::Service, Some(namespace));
                let touched = services.filter(|(_, service)| {
                    let wanted = fields::map(service, "/spec/selector");
                    let before = change.before.as_ref();
                    selector::fits_map(wanted, &change.object)
                        || before.is_some_and(|before| selector::fits_map(wanted, before))
                });
                touched.map(|(key, _)| key.clone()).collect()
            }
            Kind::EndpointSlice => {
                let service = fields::label(&change.object, SERVICE);
                vec![Key::new(Kind::Service, namespace, service)]
            }
            _ => Vec::new(),
        }
    }

    fn reconcile(&mut self, key: &Key, cluster: &mut Cluster, _random: &mut Random) -> Wake {
        let caller = Caller::new(self.name());
        match sync(&mut cluster.store, &caller, key) {
            Ok(()) => Wake::Idle,
            Err(_) => Wake::Retry,
        }
    }
}

fn sync(store: &mut Store, caller: &Caller, key: &Key) -> Result<(), Refusal> {
    let Some(service) = store.get(key).cloned() else {
        return Ok(());
    };
    if fields::terminating(&service) {
        return Ok(());
    }
    let Some(wanted) = fields::map(&service, "/spec/selector") else {
        return Ok(());
    };
    let pods: Vec<_> = store
        .list(Kind::Pod, Some(&key.namespace))
        .map(|(_, pod)| Arc::clone(pod))
        .filter(|pod| selector::fits_map(Some(wanted), pod))
        .filter(|pod| !fields::finished(pod) && !fields::text(pod, "/status/podIP").is_empty())
        .collect();
    let ports = ports(&service, pods.first().map(Arc::as_ref));
    let endpoints: Vec<_> = pods.iter().map(|pod| endpoint(&service, pod)).collect();
    let mut chunks: Vec<_> = endpoints.chunks(SLICE).map(<[Value]>::to_vec).collect();
    if chunks.is_empty() {
        chunks.push(Vec::new());
    }
    let found: Vec<_> = store
        .list(Kind::EndpointSlice, Some(&key.namespace))
        .filter(|(_, slice)| {
            fields::controlled_by(slice, fields::uid(&service)) && !fields::terminating(slice)
        })
        .map(|(key, _)| key.clone())
        .collect();
    for (index, chunk) in chunks.iter().enumerate() {
        match found.get(index) {
            Some(slice) => {
                store.modify(caller, slice, Part::Main, |slice| {
                    slice["endpoints"] = json!(chunk);
                    slice["ports"] = ports.clone();
                })?;
            }
            None => {
                store.create(
                    caller,
                    Kind::EndpointSlice,
                    &key.namespace,
                    slice(&service, chunk, &ports),
                )?;
            }
        }
    }
    for surplus in found.iter().skip(chunks.len()) {
        store.delete(caller, surplus, &DeleteOptions::background())?;
    }
    Ok(())
}

fn slice(service: &Value, endpoints: &[Value], ports: &Value) -> Value {
    let name = fields::name(service);
    json!({
        "metadata": {
            "generateName": format!("{name}-"),
            "labels": {
                SERVICE: name,
                "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io",
            },
            "ownerReferences": [fields::owner_reference(service)],
        },
        "addressType": "IPv4",
        "endpoints": endpoints,
        "ports": ports,
    })
}

fn endpoint(service: &Value, pod: &Value) -> Value {
    let (serving, terminating) = (fields::ready(pod), fields::terminating(pod));
    let always = fields::flag(service, "/spec/publishNotReadyAddresses");
    json!({
        "addresses": [fields::text(pod, "/status/podIP")],
        "conditions": {
            "ready": always || (serving && !terminating),
            "serving": serving,
            "terminating": terminating,
        },
        "nodeName": fields::text(pod, "/spec/nodeName"),
        "targetRef": {
            "kind": "Pod",
            "namespace": fields::namespace(pod),
            "name": fields::name(pod),
            "uid": fields::uid(pod),
        },
    })
}

/// The Service's ports with named target ports looked up in a pod.
fn ports(service: &Value, pod: Option<&Value>) -> Value {
    let containers = pod
        .map(|pod| fields::list(pod, "/spec/containers"))
        .unwrap_or_default();
    let named = |name: &str| {
        let mut ports = containers
            .iter()
            .flat_map(|container| fields::list(container, "/ports"));
        ports
            .find(|port| fields::text(port, "/name") == name)
            .map(|port| fields::count(port, "/containerPort"))
    };
    let port = |port: &Value| {
        let target = &port["targetPort"];
        let number = target.as_i64().or_else(|| named(target.as_str()?))?;
        let name = fields::text(port, "/name");
        Some(json!({"name": name, "port": number, "protocol": fields::text(port, "/protocol")}))
    };
    fields::list(service, "/spec/ports")
        .iter()
        .filter_map(port)
        .collect()
}
