//! From Kubernetes objects, as JSON, to the facts that decisions look at.

mod task;

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::core::Selector;
use serde_json::Value;
use slipway_crds::v1alpha1::status::{Amount, Strategy};
use slipway_crds::{Uid, names};

use crate::observed::{DeploymentView, ReplicaSetView, ServiceView};
use crate::template::Template;

pub use task::{job, job_trouble, pod_trouble, task_pod};

pub(crate) fn text<'a>(object: &'a Value, pointer: &str) -> Option<&'a str> {
    object.pointer(pointer).and_then(Value::as_str)
}

pub(crate) fn owned(object: &Value, pointer: &str) -> String {
    text(object, pointer).unwrap_or_default().to_owned()
}

fn number(object: &Value, pointer: &str) -> Option<i32> {
    object
        .pointer(pointer)
        .and_then(Value::as_i64)
        .and_then(|number| i32::try_from(number).ok())
}

fn long(object: &Value, pointer: &str) -> i64 {
    object
        .pointer(pointer)
        .and_then(Value::as_i64)
        .unwrap_or_default()
}

pub(crate) fn label(object: &Value, key: &str) -> Option<String> {
    object
        .pointer("/metadata/labels")?
        .get(key)?
        .as_str()
        .map(str::to_owned)
}

fn map(object: &Value, pointer: &str) -> BTreeMap<String, String> {
    let entries = object.pointer(pointer).and_then(Value::as_object);
    entries
        .into_iter()
        .flatten()
        .filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())))
        .collect()
}

/// The condition of a type whose status is the given one.
pub(crate) fn condition<'a>(object: &'a Value, kind: &str, status: &str) -> Option<&'a Value> {
    let conditions = object.pointer("/status/conditions")?.as_array()?;
    conditions
        .iter()
        .find(|found| text(found, "/type") == Some(kind) && text(found, "/status") == Some(status))
}

fn in_window(object: &Value) -> bool {
    label(object, names::WINDOW).as_deref() == Some(names::WINDOW_OPEN)
}

/// Reads a Deployment; its ReplicaSets are added by the caller.
pub fn deployment(object: &Value) -> DeploymentView {
    DeploymentView {
        name: owned(object, "/metadata/name").into(),
        uid: owned(object, "/metadata/uid").into(),
        resource_version: owned(object, "/metadata/resourceVersion"),
        generation: long(object, "/metadata/generation"),
        observed_generation: long(object, "/status/observedGeneration"),
        deleting: text(object, "/metadata/deletionTimestamp").is_some(),
        claim: label(object, names::CLAIM).map(Uid::from),
        window: in_window(object),
        replicas: number(object, "/spec/replicas").unwrap_or(1),
        selector: selector(object),
        template: Template::new(object.pointer("/spec/template").cloned().unwrap_or_default()),
        min_ready_seconds: number(object, "/spec/minReadySeconds").filter(|seconds| *seconds != 0),
        progress_deadline_seconds: number(object, "/spec/progressDeadlineSeconds"),
        strategy: object.pointer("/spec/strategy").map(strategy),
        paused: object
            .pointer("/spec/paused")
            .and_then(Value::as_bool)
            .filter(|paused| *paused),
        status_replicas: number(object, "/status/replicas").unwrap_or_default(),
        updated_replicas: number(object, "/status/updatedReplicas").unwrap_or_default(),
        ready_replicas: number(object, "/status/readyReplicas").unwrap_or_default(),
        available_replicas: number(object, "/status/availableReplicas").unwrap_or_default(),
        not_progressing: condition(object, "Progressing", "False").map(|found| owned(found, "/message")),
        hold_managers: hold_managers(object),
        replica_sets: Vec::new(),
    }
}

/// The API server admits no operator but the four that are known here.
fn selector(object: &Value) -> Selector {
    let selector = object.pointer("/spec/selector").cloned().unwrap_or_default();
    let selector: LabelSelector = serde_json::from_value(selector).unwrap_or_default();
    selector.try_into().unwrap_or_default()
}

fn strategy(value: &Value) -> Strategy {
    let amount = |pointer: &str| value.pointer(pointer).cloned().map(Amount);
    Strategy {
        type_: text(value, "/type").map(str::to_owned),
        max_surge: amount("/rollingUpdate/maxSurge"),
        max_unavailable: amount("/rollingUpdate/maxUnavailable"),
    }
}

/// Field managers, other than ours, that set a field which the window uses. Defaulting sets the strategy
/// for whoever creates the object without one, so only what somebody sent by apply counts.
fn hold_managers(object: &Value) -> BTreeSet<String> {
    let fields = [
        "f:minReadySeconds",
        "f:strategy",
        "f:progressDeadlineSeconds",
        "f:paused",
    ];
    let applied = text(
        object,
        "/metadata/annotations/kubectl.kubernetes.io~1last-applied-configuration",
    )
    .and_then(|applied| serde_json::from_str::<Value>(applied).ok());
    let by_kubectl = applied
        .as_ref()
        .and_then(|applied| applied.get("spec"))
        .is_some_and(|spec| {
            fields
                .iter()
                .any(|field| spec.get(field.trim_start_matches("f:")).is_some())
        });
    let entries = object
        .pointer("/metadata/managedFields")
        .and_then(Value::as_array);
    let mut managers: BTreeSet<String> = entries
        .into_iter()
        .flatten()
        .filter(|entry| {
            text(entry, "/operation") == Some("Apply")
                && text(entry, "/manager") != Some(names::FIELD_MANAGER)
        })
        .filter(|entry| {
            let spec = entry.pointer("/fieldsV1/f:spec");
            spec.is_some_and(|spec| fields.iter().any(|field| spec.get(field).is_some()))
        })
        .map(|entry| owned(entry, "/manager"))
        .collect();
    if by_kubectl {
        managers.insert("kubectl apply".to_owned());
    }
    managers
}

/// UID of the controlling owner of an object.
pub fn owner(object: &Value) -> Option<&str> {
    let owners = object.pointer("/metadata/ownerReferences")?.as_array()?;
    owners
        .iter()
        .find(|owner| owner.get("controller").and_then(Value::as_bool) == Some(true))
        .and_then(|owner| text(owner, "/uid"))
}

/// Reads a ReplicaSet.
pub fn replica_set(object: &Value) -> ReplicaSetView {
    let template = Template::new(object.pointer("/spec/template").cloned().unwrap_or_default());
    let wanted = number(object, "/spec/replicas").unwrap_or(1);
    ReplicaSetView {
        name: owned(object, "/metadata/name"),
        uid: owned(object, "/metadata/uid").into(),
        resource_version: owned(object, "/metadata/resourceVersion"),
        hash: label(object, names::POD_TEMPLATE_HASH).unwrap_or_default().into(),
        template_digest: template.digest().clone(),
        template: (wanted > 0).then_some(template),
        wanted,
        min_ready_seconds: number(object, "/spec/minReadySeconds").filter(|seconds| *seconds != 0),
        generation: long(object, "/metadata/generation"),
        observed_generation: long(object, "/status/observedGeneration"),
        replicas: number(object, "/status/replicas").unwrap_or_default(),
        ready: number(object, "/status/readyReplicas").unwrap_or_default(),
        available: number(object, "/status/availableReplicas").unwrap_or_default(),
        failure: condition(object, "ReplicaFailure", "True").map(|found| owned(found, "/message")),
    }
}

/// Reads a Service; its endpoints are added by the caller.
pub fn service(object: &Value) -> ServiceView {
    let ports = object.pointer("/spec/ports").and_then(Value::as_array);
    ServiceView {
        name: owned(object, "/metadata/name").into(),
        uid: owned(object, "/metadata/uid").into(),
        resource_version: owned(object, "/metadata/resourceVersion"),
        claim: label(object, names::CLAIM).map(Uid::from),
        window: in_window(object),
        selector: map(object, "/spec/selector"),
        named_ports: ports
            .into_iter()
            .flatten()
            .filter_map(|port| text(port, "/targetPort"))
            .map(str::to_owned)
            .collect(),
        ready_pods: BTreeSet::new(),
    }
}

/// Names of the pods behind the ready endpoints of an EndpointSlice. A slice may still name pods that end:
/// only what is `ready` takes new connections.
pub fn ready_pods(slice: &Value) -> BTreeSet<String> {
    let endpoints = slice.get("endpoints").and_then(Value::as_array);
    endpoints
        .into_iter()
        .flatten()
        .filter(|endpoint| {
            endpoint
                .pointer("/conditions/ready")
                .and_then(Value::as_bool)
                .unwrap_or(true)
        })
        .filter_map(|endpoint| text(endpoint, "/targetRef/name"))
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    use kube::core::SelectorExt as _;
    use serde_json::json;

    use super::*;
    use crate::observed::ContainerEnd;

    #[test]
    fn a_deployments_selector_is_read_with_its_expressions() {
        let expression =
            |operator: &str, values: &[&str]| json!({"key": "tier", "operator": operator, "values": values});
        let rows = [
            (
                expression("In", &["a", "b"]),
                "tier in (a,b)",
                [true, false, false],
            ),
            (expression("NotIn", &["a"]), "tier notin (a)", [false, true, true]),
            (expression("Exists", &[]), "tier", [true, true, false]),
            (expression("DoesNotExist", &[]), "!tier", [false, false, true]),
        ];
        for (expression, query, selected) in rows {
            let object = json!({"spec": {"selector": {"matchLabels": {"app": "web"}, "matchExpressions": [expression]}}});
            let selector = deployment(&object).selector;
            assert_eq!(selector.to_string(), format!("app=web,{query}"));
            let labels = |app: &'static str, tier: Option<&'static str>| {
                let labels = [("app", app)].into_iter().chain(tier.map(|tier| ("tier", tier)));
                labels
                    .map(|(key, value)| (key.to_owned(), value.to_owned()))
                    .collect()
            };
            let of_pods = [Some("a"), Some("c"), None].map(|tier| selector.matches(&labels("web", tier)));
            assert_eq!(of_pods, selected, "{query}");
            let of_others = [Some("a"), Some("c"), None].map(|tier| selector.matches(&labels("other", tier)));
            assert_eq!(of_others, [false; 3], "{query}");
        }
    }

    #[test]
    fn only_what_somebody_applied_counts_as_set_by_a_manifest() {
        let manager = |name: &str, operation: &str| json!({"manager": name, "operation": operation, "fieldsV1": {"f:spec": {"f:strategy": {}}}});
        let object = json!({"metadata": {"managedFields": [manager("flux", "Apply"), manager("kubectl-create", "Update"), manager("slipway", "Apply")]}});
        assert_eq!(hold_managers(&object), BTreeSet::from(["flux".to_owned()]));
        let applied = json!({"metadata": {"annotations": {"kubectl.kubernetes.io/last-applied-configuration": "{\"spec\":{\"minReadySeconds\":5}}"}}});
        assert_eq!(
            hold_managers(&applied),
            BTreeSet::from(["kubectl apply".to_owned()])
        );
    }

    #[test]
    fn the_tasks_own_container_is_read_wherever_admission_put_others() {
        let proxy = json!({"name": "a-proxy", "state": {"running": {"startedAt": "2026-01-05T10:00:00Z"}}});
        let main = json!({"name": "main", "state": {"terminated": {
            "exitCode": 3, "reason": "Error", "message": "no table",
            "startedAt": "2026-01-05T10:00:01Z", "finishedAt": "2026-01-05T10:00:04Z",
        }}});
        let pod = |statuses: Value| {
            json!({
                "metadata": {"name": "pod", "annotations": {"slipway.dev/container": "main"}},
                "status": {"phase": "Running", "containerStatuses": statuses},
            })
        };
        for statuses in [json!([proxy, main]), json!([main, proxy])] {
            let view = task_pod(&pod(statuses));
            assert_eq!(
                (view.exit_code, view.output.as_deref()),
                (Some(3), Some("no table"))
            );
            assert_eq!(view.beside, ["a-proxy"]);
            assert!(view.held_open() && !view.at_work());
        }
        let alone = task_pod(&pod(json!([proxy])));
        assert_eq!((alone.started_at, alone.end), (None, None), "not there yet");
        assert!(alone.at_work());
    }

    #[test]
    fn what_the_kubelet_says_of_a_containers_end_is_read_as_it_is_meant() {
        let rows = [
            ("Error", 137, Some(ContainerEnd::Exited), Some(137), Some(9)),
            ("Error", 128, Some(ContainerEnd::Exited), Some(128), None),
            ("Error", 255, Some(ContainerEnd::Exited), Some(255), None),
            (
                "OOMKilled",
                137,
                Some(ContainerEnd::OutOfMemory),
                Some(137),
                Some(9),
            ),
            ("StartError", 128, Some(ContainerEnd::NotStarted), None, None),
            (
                "ContainerCannotRun",
                127,
                Some(ContainerEnd::NotStarted),
                None,
                None,
            ),
            (
                "ContainerStatusUnknown",
                137,
                Some(ContainerEnd::Lost),
                None,
                None,
            ),
        ];
        for (reason, code, end, exit_code, signal) in rows {
            let pod = json!({"status": {"phase": "Failed", "containerStatuses": [{"name": "main", "state": {"terminated": {
                "reason": reason, "exitCode": code, "startedAt": "1970-01-01T00:00:00Z", "finishedAt": "2026-01-05T10:00:00Z",
            }}}]}});
            let view = task_pod(&pod);
            assert_eq!(
                (view.end, view.exit_code, view.signal()),
                (end, exit_code, signal),
                "{reason}"
            );
            let began = view.started_at.is_some() || view.ran.is_some();
            assert_eq!(began, end != Some(ContainerEnd::NotStarted), "{reason}");
        }
    }

    #[test]
    fn the_newest_refusal_of_a_jobs_pod_is_its_trouble() {
        let event = |reason: &str, at: &str, note: &str| json!({"reason": reason, "deprecatedLastTimestamp": at, "note": note});
        let events = [
            event("FailedCreate", "2026-01-05T10:00:03Z", "exceeded quota: q"),
            event("FailedCreate", "2026-01-05T10:00:01Z", "older"),
            event("Resumed", "2026-01-05T10:00:04Z", "Job resumed"),
        ];
        let trouble = job_trouble(events.iter());
        assert_eq!(trouble.as_deref(), Some("FailedCreate (exceeded quota: q)"));
        assert_eq!(job_trouble(events.iter().skip(2)), None);
    }

    #[test]
    fn an_endpoint_without_a_condition_is_ready() {
        let slice = json!({"endpoints": [
            {"targetRef": {"name": "a"}, "conditions": {"ready": true}},
            {"targetRef": {"name": "b"}, "conditions": {"ready": false}},
            {"targetRef": {"name": "c"}},
        ]});
        assert_eq!(
            ready_pods(&slice),
            BTreeSet::from(["a".to_owned(), "c".to_owned()])
        );
    }
}
