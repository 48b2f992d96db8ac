//! What the API server fills in, and what it leaves out because Go omits it when it is empty.

use serde_json::{Value, json};

use crate::{
    fields::{self, default},
    kind::Kind,
};

/// Normalises an object and fills in its defaults.
pub(super) fn apply(kind: Kind, object: &mut Value) {
    drop_nulls(object);
    for name in [
        "labels",
        "annotations",
        "finalizers",
        "ownerReferences",
        "managedFields",
    ] {
        drop_empty(object, &format!("/metadata/{name}"));
    }
    match kind {
        Kind::Deployment => deployment(object),
        Kind::ReplicaSet => {
            default(object, "/spec/replicas", 1);
            default(object, "/status/replicas", 0);
            drop_zero(object, "/spec/minReadySeconds");
            template(object);
        }
        Kind::Job => job(object),
        Kind::Pod => {
            default(object, "/status/phase", "Pending");
            pod_spec(object, "/spec");
        }
        Kind::Service => service(object),
        Kind::Namespace => {
            default(object, "/status/phase", "Active");
            let name = fields::name(object).to_owned();
            default(object, "/metadata/labels/kubernetes.io~1metadata.name", name);
        }
        Kind::HorizontalPodAutoscaler => default(object, "/spec/minReplicas", 1),
        Kind::ConfigMap => drop_empty(object, "/data"),
        Kind::CustomResourceDefinition
        | Kind::EndpointSlice
        | Kind::Event
        | Kind::Lease
        | Kind::PersistentVolumeClaim
        | Kind::PodDisruptionBudget
        | Kind::Release
        | Kind::Secret
        | Kind::ServiceAccount => {}
    }
}

/// The same for a new object, with what is filled in only then.
pub(super) fn create(kind: Kind, object: &mut Value) {
    if kind == Kind::Job {
        select_own_pods(object);
    }
    apply(kind, object);
}

/// Gives a Job the selector of its own pods.
fn select_own_pods(object: &mut Value) {
    if !fields::has(object, "/spec/selector") {
        let uid = fields::uid(object).to_owned();
        let name = fields::name(object).to_owned();
        fields::set(
            object,
            "/spec/selector/matchLabels/batch.kubernetes.io~1controller-uid",
            uid.as_str(),
        );
        for (key, value) in [
            ("batch.kubernetes.io~1controller-uid", &uid),
            ("controller-uid", &uid),
            ("batch.kubernetes.io~1job-name", &name),
            ("job-name", &name),
        ] {
            let pointer = format!("/spec/template/metadata/labels/{key}");
            fields::set(object, &pointer, value.as_str());
        }
    }
}

fn drop_nulls(value: &mut Value) {
    if let Some(map) = value.as_object_mut() {
        map.retain(|_, value| !value.is_null());
        map.values_mut().for_each(drop_nulls);
    } else if let Some(list) = value.as_array_mut() {
        list.iter_mut().for_each(drop_nulls);
    }
}

fn drop_empty(object: &mut Value, pointer: &str) {
    let empty = |value: &Value| {
        value.as_object().is_some_and(serde_json::Map::is_empty)
            || value.as_array().is_some_and(Vec::is_empty)
    };
    if object.pointer(pointer).is_some_and(empty) {
        fields::remove(object, pointer);
    }
}

fn drop_zero(object: &mut Value, pointer: &str) {
    if fields::number(object, pointer) == Some(0) || object.pointer(pointer) == Some(&json!(false)) {
        fields::remove(object, pointer);
    }
}

fn deployment(object: &mut Value) {
    default(object, "/spec/replicas", 1);
    default(object, "/spec/revisionHistoryLimit", 10);
    default(object, "/spec/progressDeadlineSeconds", 600);
    default(object, "/spec/strategy/type", "RollingUpdate");
    if fields::text(object, "/spec/strategy/type") == "RollingUpdate" {
        default(object, "/spec/strategy/rollingUpdate/maxSurge", "25%");
        default(object, "/spec/strategy/rollingUpdate/maxUnavailable", "25%");
    }
    drop_zero(object, "/spec/paused");
    drop_zero(object, "/spec/minReadySeconds");
    template(object);
}

fn job(object: &mut Value) {
    if !fields::has(object, "/spec/completions") && !fields::has(object, "/spec/parallelism") {
        default(object, "/spec/completions", 1);
    }
    default(object, "/spec/parallelism", 1);
    default(object, "/spec/backoffLimit", 6);
    default(object, "/spec/completionMode", "NonIndexed");
    default(object, "/spec/manualSelector", false);
    default(object, "/spec/suspend", false);
    let replacement = if fields::has(object, "/spec/podFailurePolicy") {
        "Failed"
    } else {
        "TerminatingOrFailed"
    };
    default(object, "/spec/podReplacementPolicy", replacement);
    template(object);
    if fields::map(object, "/metadata/labels").is_none_or(serde_json::Map::is_empty)
        && let Some(labels) = fields::at(object, "/spec/template/metadata/labels").cloned()
    {
        fields::set(object, "/metadata/labels", labels);
    }
}

fn template(object: &mut Value) {
    default(object, "/spec/template/metadata", json!({}));
    pod_spec(object, "/spec/template/spec");
}

fn pod_spec(object: &mut Value, pointer: &str) {
    let Some(spec) = object.pointer_mut(pointer).filter(|spec| spec.is_object()) else {
        return;
    };
    default(spec, "/restartPolicy", "Always");
    default(spec, "/terminationGracePeriodSeconds", 30);
    default(spec, "/dnsPolicy", "ClusterFirst");
    default(spec, "/schedulerName", "default-scheduler");
    default(spec, "/securityContext", json!({}));
    for list in ["containers", "initContainers"] {
        let containers = spec.get_mut(list).and_then(Value::as_array_mut);
        containers.into_iter().flatten().for_each(container);
    }
}

fn container(container: &mut Value) {
    let image = fields::text(container, "/image");
    let name = image.rsplit('/').next().unwrap_or_default();
    let moving = !image.contains('@') && (!name.contains(':') || name.ends_with(":latest"));
    default(
        container,
        "/imagePullPolicy",
        if moving { "Always" } else { "IfNotPresent" },
    );
    default(container, "/resources", json!({}));
    default(container, "/terminationMessagePath", "/dev/termination-log");
    default(container, "/terminationMessagePolicy", "File");
    for port in container
        .get_mut("ports")
        .and_then(Value::as_array_mut)
        .into_iter()
        .flatten()
    {
        default(port, "/protocol", "TCP");
    }
    for list in ["env", "ports", "command", "args"] {
        drop_empty(container, &format!("/{list}"));
    }
}

fn service(object: &mut Value) {
    default(object, "/spec/type", "ClusterIP");
    default(object, "/spec/sessionAffinity", "None");
    default(object, "/spec/ipFamilies", json!(["IPv4"]));
    default(object, "/spec/ipFamilyPolicy", "SingleStack");
    default(object, "/spec/internalTrafficPolicy", "Cluster");
    drop_empty(object, "/spec/selector");
    for port in object
        .pointer_mut("/spec/ports")
        .and_then(Value::as_array_mut)
        .into_iter()
        .flatten()
    {
        default(port, "/protocol", "TCP");
        let number = fields::count(port, "/port");
        default(port, "/targetPort", number);
    }
}
