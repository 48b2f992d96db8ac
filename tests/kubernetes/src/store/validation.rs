//! The validation rules that this project can meet.

use serde_json::{Value, json};

use super::selector;
use crate::{
    fields,
    kind::Kind,
    refusal::{Cause, Refusal},
};

const IMMUTABLE: &str = "field is immutable";
const NOT_NEGATIVE: &str = "must be greater than or equal to 0";

/// Checks an object that is created (`old` is none) or changed; `known` is wrong with it in any case.
pub(super) fn check(
    kind: Kind,
    old: Option<&Value>,
    new: &Value,
    known: Option<Cause>,
) -> Result<(), Refusal> {
    let mut causes = metadata(kind, new);
    causes.extend(known);
    causes.extend(old.and_then(|old| late_finalizer(old, new)));
    match kind {
        Kind::Deployment => causes.extend(deployment(old, new)),
        Kind::ReplicaSet => {
            causes.extend(not_negative(new, &["/spec/replicas", "/spec/minReadySeconds"]));
            causes.extend(template(new));
            causes.extend(
                old.map(|old| immutable(old, new, &["/spec/selector"]))
                    .unwrap_or_default(),
            );
        }
        Kind::Job => causes.extend(job(old, new)),
        Kind::Pod => causes.extend(containers(new, "/spec")),
        Kind::Service => causes.extend(service(old, new)),
        Kind::Lease => {
            let seconds = fields::number(new, "/spec/leaseDurationSeconds");
            if let Some(seconds) = seconds.filter(|seconds| *seconds <= 0) {
                let field = "spec.leaseDurationSeconds";
                causes.push(Cause::invalid(field, &json!(seconds), "must be greater than 0"));
            }
        }
        Kind::ConfigMap
        | Kind::CustomResourceDefinition
        | Kind::EndpointSlice
        | Kind::Event
        | Kind::HorizontalPodAutoscaler
        | Kind::Namespace
        | Kind::PersistentVolumeClaim
        | Kind::PodDisruptionBudget
        | Kind::Release
        | Kind::Secret
        | Kind::ServiceAccount => {}
    }
    if causes.is_empty() {
        Ok(())
    } else {
        Err(Refusal::invalid(kind, fields::name(new), &causes))
    }
}

fn metadata(kind: Kind, object: &Value) -> Vec<Cause> {
    let mut causes = Vec::new();
    let name = fields::name(object);
    let longest = if kind == Kind::Service || kind == Kind::Namespace {
        63
    } else {
        253
    };
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let inner = |byte: u8| plain(byte) || byte == b'-' || (longest == 253 && byte == b'.');
    let ends = name.bytes().next().is_some_and(plain) && name.bytes().last().is_some_and(plain);
    if name.len() > longest || !ends || !name.bytes().all(inner) {
        let why = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or \
                   '.', and must start and end with an alphanumeric character";
        causes.push(Cause::invalid("metadata.name", &json!(name), why));
    }
    causes.extend(labels(object, "/metadata/labels"));
    causes.extend(labels(object, "/spec/template/metadata/labels"));
    causes
}

/// An object that is being deleted takes no new finalizers.
fn late_finalizer(old: &Value, new: &Value) -> Option<Cause> {
    let before = fields::list(old, "/metadata/finalizers");
    let mut added = fields::list(new, "/metadata/finalizers")
        .iter()
        .filter(|name| !before.contains(name));
    let added = fields::terminating(old).then(|| added.next()).flatten()?;
    let why = format!(
        "no new finalizers can be added if the object is being deleted, found new finalizers {added}"
    );
    Some(Cause::forbidden("metadata.finalizers", &why))
}

fn labels(object: &Value, pointer: &str) -> Vec<Cause> {
    let field = pointer.trim_start_matches('/').replace('/', ".");
    let values = fields::map(object, pointer).into_iter().flatten();
    let bad = values.filter_map(|(key, value)| {
        let text = value.as_str().unwrap_or_default();
        let ends = |byte: u8| byte.is_ascii_alphanumeric();
        let inner = |byte: u8| ends(byte) || matches!(byte, b'-' | b'_' | b'.');
        let name = key.rsplit('/').next().unwrap_or_default();
        let fits = |text: &str| {
            text.len() <= 63
                && text.bytes().all(inner)
                && text.bytes().next().is_none_or(ends)
                && text.bytes().last().is_none_or(ends)
        };
        if !fits(name) || name.is_empty() {
            Some(Cause::invalid(
                &field,
                &json!(key),
                "name part must consist of alphanumeric characters",
            ))
        } else if text.len() > 63 {
            Some(Cause::invalid(&field, value, "must be no more than 63 bytes"))
        } else if !fits(text) {
            let why = "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' \
                       or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or \
                       'my_value',  or '12345', regex used for validation is \
                       '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";
            Some(Cause::invalid(&field, value, why))
        } else {
            None
        }
    });
    bad.collect()
}

fn deployment(old: Option<&Value>, new: &Value) -> Vec<Cause> {
    let numbers = [
        "/spec/replicas",
        "/spec/minReadySeconds",
        "/spec/revisionHistoryLimit",
    ];
    let mut causes = not_negative(new, &numbers);
    causes.extend(template(new));
    causes.extend(strategy(new));
    let deadline = fields::count(new, "/spec/progressDeadlineSeconds");
    if deadline <= fields::count(new, "/spec/minReadySeconds") {
        let field = "spec.progressDeadlineSeconds";
        causes.push(Cause::invalid(
            field,
            &json!(deadline),
            "must be greater than minReadySeconds",
        ));
    }
    if let Some(old) = old {
        causes.extend(immutable(old, new, &["/spec/selector"]));
    }
    causes
}

fn strategy(new: &Value) -> Option<Cause> {
    let rolling = new.pointer("/spec/strategy/rollingUpdate");
    match fields::text(new, "/spec/strategy/type") {
        "Recreate" => rolling.map(|_| {
            let why = "may not be specified when strategy `type` is 'Recreate'";
            Cause::forbidden("spec.strategy.rollingUpdate", why)
        }),
        "RollingUpdate" => {
            let zero = |name: &str| {
                let value = rolling.and_then(|rolling| rolling.get(name));
                value.is_some_and(|value| *value == json!(0) || *value == json!("0%"))
            };
            (zero("maxSurge") && zero("maxUnavailable")).then(|| {
                let field = "spec.strategy.rollingUpdate.maxUnavailable";
                let value = new.pointer("/spec/strategy/rollingUpdate/maxUnavailable");
                Cause::invalid(
                    field,
                    value.unwrap_or(&Value::Null),
                    "may not be 0 when `maxSurge` is 0",
                )
            })
        }
        other => Some(Cause::invalid(
            "spec.strategy.type",
            &json!(other),
            "supported values: Recreate, RollingUpdate",
        )),
    }
}

fn template(new: &Value) -> Vec<Cause> {
    let mut causes = Vec::new();
    let labels = fields::map(new, "/spec/template/metadata/labels");
    let selector = new.pointer("/spec/selector");
    if selector.is_none() {
        causes.push(Cause::required("spec.selector", ""));
    }
    if !selector.is_some_and(|selector| selector::fits_selector(selector, labels)) {
        let value = new
            .pointer("/spec/template/metadata/labels")
            .unwrap_or(&Value::Null);
        let why = "`selector` does not match template `labels`";
        causes.push(Cause::invalid("spec.template.metadata.labels", value, why));
    }
    causes.extend(containers(new, "/spec/template/spec"));
    causes
}

fn containers(object: &Value, pointer: &str) -> Vec<Cause> {
    let field = pointer.trim_start_matches('/').replace('/', ".");
    let list = fields::list(object, &format!("{pointer}/containers"));
    if list.is_empty() {
        return vec![Cause::required(&format!("{field}.containers"), "")];
    }
    let missing = |(index, container): (usize, &Value)| {
        let missing = ["name", "image"]
            .into_iter()
            .find(|name| fields::text(container, &format!("/{name}")).is_empty());
        missing.map(|name| Cause::required(&format!("{field}.containers[{index}].{name}"), ""))
    };
    list.iter().enumerate().filter_map(missing).collect()
}

fn job(old: Option<&Value>, new: &Value) -> Vec<Cause> {
    let numbers = [
        "/spec/backoffLimit",
        "/spec/activeDeadlineSeconds",
        "/spec/ttlSecondsAfterFinished",
    ];
    let mut causes = not_negative(new, &numbers);
    causes.extend(template(new));
    let policy = fields::text(new, "/spec/template/spec/restartPolicy");
    if policy == "Always" {
        let why = "valid values: \"OnFailure\", \"Never\"";
        causes.push(Cause::required("spec.template.spec.restartPolicy", why));
    }
    if fields::has(new, "/spec/podFailurePolicy") && policy != "Never" {
        let why = "only \"Never\" is supported when podFailurePolicy is specified";
        causes.push(Cause::invalid(
            "spec.template.spec.restartPolicy",
            &json!(policy),
            why,
        ));
    }
    if let Some(old) = old {
        let fixed = [
            "/spec/completions",
            "/spec/selector",
            "/spec/template",
            "/spec/completionMode",
            "/spec/podFailurePolicy",
        ];
        // The labels of a Job that was never started may still change.
        let mut reference = old.clone();
        if fields::flag(old, "/spec/suspend") && !fields::has(old, "/status/startTime") {
            let metadata = fields::at(new, "/spec/template/metadata").cloned();
            fields::set(
                &mut reference,
                "/spec/template/metadata",
                metadata.unwrap_or_default(),
            );
        }
        causes.extend(immutable(&reference, new, &fixed));
    }
    causes
}

fn service(old: Option<&Value>, new: &Value) -> Vec<Cause> {
    let mut causes = Vec::new();
    let headless = fields::text(new, "/spec/clusterIP") == "None";
    let external = fields::text(new, "/spec/type") == "ExternalName";
    if fields::list(new, "/spec/ports").is_empty() && !headless && !external {
        causes.push(Cause::required("spec.ports", ""));
    }
    let address = |object: &Value| object.pointer("/spec/clusterIP").cloned();
    if let Some(before) = old.and_then(address)
        && address(new).as_ref() != Some(&before)
    {
        let after = address(new).unwrap_or_default();
        causes.push(Cause::invalid(
            "spec.clusterIPs[0]",
            &after,
            "may not change once set",
        ));
    }
    causes
}

fn immutable(old: &Value, new: &Value, pointers: &[&str]) -> Vec<Cause> {
    let changed = pointers
        .iter()
        .filter(|pointer| old.pointer(pointer) != new.pointer(pointer));
    changed
        .map(|pointer| {
            let value = new.pointer(pointer).unwrap_or(&Value::Null);
            Cause::invalid(
                &pointer.trim_start_matches('/').replace('/', "."),
                value,
                IMMUTABLE,
            )
        })
        .collect()
}

fn not_negative(object: &Value, pointers: &[&str]) -> Vec<Cause> {
    let negative = pointers.iter().filter_map(|pointer| {
        let value = fields::number(object, pointer).filter(|value| *value < 0)?;
        let field = pointer.trim_start_matches('/').replace('/', ".");
        Some(Cause::invalid(&field, &json!(value), NOT_NEGATIVE))
    });
    negative.collect()
}
