//! Lines of the API server's audit log, as far as the observer reads them.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::sync::Arc;

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;

/// One request to the API server (`Event` of `audit.k8s.io/v1`).
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AuditEvent {
    /// One request has one id, also when it is logged at two stages, as a watch is.
    #[serde(rename = "auditID")]
    pub id: String,
    /// `ResponseStarted` (long-running requests), `ResponseComplete` or `Panic`.
    pub stage: String,
    /// Path and query.
    #[serde(rename = "requestURI", default)]
    pub uri: String,
    /// `get`, `list`, `watch`, `create`, `update`, `patch`, `delete`, `deletecollection`.
    pub verb: String,
    /// Who authenticated.
    #[serde(default)]
    pub user: User,
    /// On whose behalf, if that is somebody else (`kubectl --as`).
    #[serde(default)]
    pub impersonated_user: Option<User>,
    /// What it was about; absent for paths such as `/version`.
    #[serde(default)]
    pub object_ref: ObjectReference,
    /// The answer's status.
    #[serde(default)]
    pub response_status: ResponseStatus,
    /// The body of the request, when the audit policy keeps it.
    #[serde(default)]
    pub request_object: Arc<Value>,
    /// The body of the answer, when the audit policy keeps it.
    #[serde(default)]
    pub response_object: Arc<Value>,
    /// When the request came in.
    #[serde(rename = "requestReceivedTimestamp")]
    pub received_at: Timestamp,
    /// When this stage was reached.
    #[serde(rename = "stageTimestamp")]
    pub reached_at: Timestamp,
}

/// The user of a request.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct User {
    /// Full name, such as `system:serviceaccount:slipway-system:slipway`.
    #[serde(default)]
    pub username: String,
}

/// The object of a request.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ObjectReference {
    /// Plural, lower case.
    pub resource: String,
    /// Such as `status`.
    pub subresource: String,
    /// Namespace, if it has one.
    pub namespace: String,
    /// Name; empty for a list and for a create that leaves the name to the server.
    pub name: String,
}

/// The status of an answer.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct ResponseStatus {
    /// HTTP code; 0 where the log has none.
    #[serde(default)]
    pub code: u16,
}

impl AuditEvent {
    /// Reads one line.
    pub fn parse(line: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(line)
    }

    /// Who asked: the one that authorization judged.
    pub fn username(&self) -> &str {
        &self.impersonated_user.as_ref().unwrap_or(&self.user).username
    }

    /// True if the server did what was asked.
    pub fn succeeded(&self) -> bool {
        (200..300).contains(&self.response_status.code)
    }

    /// True if it asked for a change.
    pub fn is_write(&self) -> bool {
        matches!(
            self.verb.as_str(),
            "create" | "update" | "patch" | "delete" | "deletecollection"
        )
    }

    /// Resource and subresource as RBAC writes them, or the path when the request was about no resource.
    pub fn resource(&self) -> String {
        let ObjectReference {
            resource,
            subresource,
            ..
        } = &self.object_ref;
        match (resource.as_str(), subresource.as_str()) {
            ("", _) => self.uri.split('?').next().unwrap_or_default().to_owned(),
            (resource, "") => resource.to_owned(),
            (resource, subresource) => format!("{resource}/{subresource}"),
        }
    }

    /// Name of the object, also of one that the server named.
    pub fn name(&self) -> &str {
        match self.object_ref.name.as_str() {
            "" => self.response_object["metadata"]["name"]
                .as_str()
                .unwrap_or_default(),
            name => name,
        }
    }

    /// The number of the answer's object in the order of all writes; `None` when the log has no object.
    pub fn resource_version(&self) -> Option<u64> {
        resource_version(&self.response_object)
    }
}

/// `metadata.resourceVersion` as the number that it is in etcd.
pub(super) fn resource_version(object: &Value) -> Option<u64> {
    object["metadata"]["resourceVersion"].as_str()?.parse().ok()
}

/// Requests in the order in which they were received, one for each id: of a watch only its end, once that
/// is logged.
pub(super) fn one_each<E: Borrow<AuditEvent>>(events: &[E]) -> Vec<&AuditEvent> {
    let mut latest: HashMap<&str, &AuditEvent> = HashMap::new();
    for event in events.iter().map(Borrow::borrow) {
        latest.insert(event.id.as_str(), event);
    }
    let mut requests: Vec<_> = latest.into_values().collect();
    requests.sort_by(|one, other| (one.received_at, &one.id).cmp(&(other.received_at, &other.id)));
    requests
}

#[cfg(test)]
pub(super) mod tests {
    use serde_json::json;

    use super::*;

    /// User of the controller in all tests of the observer.
    pub(crate) const CONTROLLER: &str = "system:serviceaccount:slipway-system:slipway";

    /// An event as the API server writes it.
    pub(crate) fn event(
        millisecond: i64,
        user: &str,
        verb: &str,
        (resource, name): (&str, &str),
        code: u16,
        (request, mut response): (Value, Value),
    ) -> AuditEvent {
        if response.is_object() && response["metadata"]["resourceVersion"].is_null() {
            response["metadata"]["resourceVersion"] = json!(millisecond.to_string());
        }
        let (resource, subresource) = resource.split_once('/').unwrap_or((resource, ""));
        let at = Timestamp::from_millisecond(1_760_000_000_000 + millisecond).unwrap();
        let line = json!({
            "kind": "Event", "apiVersion": "audit.k8s.io/v1", "level": "RequestResponse",
            "auditID": format!("{millisecond}-{verb}-{resource}-{name}"), "stage": "ResponseComplete",
            "requestURI": format!("/apis/apps/v1/namespaces/shop/{resource}/{name}?fieldManager=slipway"),
            "verb": verb,
            "user": {"username": user, "groups": ["system:serviceaccounts", "system:authenticated"]},
            "sourceIPs": ["192.168.77.1"], "userAgent": "slipway/0.1.0",
            "objectRef": {"resource": resource, "subresource": subresource, "namespace": "shop",
                "name": name, "apiGroup": "apps", "apiVersion": "v1"},
            "responseStatus": {"metadata": {}, "code": code},
            "requestObject": request, "responseObject": response,
            "requestReceivedTimestamp": at.to_string(), "stageTimestamp": at.to_string(),
            "annotations": {"authorization.k8s.io/decision": "allow"}
        });
        AuditEvent::parse(&line.to_string()).unwrap()
    }

    /// An event without bodies.
    pub(crate) fn bare(millisecond: i64, user: &str, verb: &str, object: (&str, &str)) -> AuditEvent {
        event(millisecond, user, verb, object, 200, (Value::Null, Value::Null))
    }

    #[test]
    fn a_line_as_the_server_writes_it_is_read() {
        let line = r#"{"kind":"Event","apiVersion":"audit.k8s.io/v1","level":"Metadata","auditID":"0a","stage":"ResponseStarted","requestURI":"/apis/apps/v1/deployments?watch=true","verb":"watch","user":{"username":"u"},"objectRef":{"resource":"deployments","apiGroup":"apps","apiVersion":"v1"},"responseStatus":{"metadata":{},"code":200},"requestReceivedTimestamp":"2026-11-22T01:02:03.000001Z","stageTimestamp":"2026-11-22T01:02:03.100000Z"}"#;
        let event = AuditEvent::parse(line).unwrap();
        assert_eq!(
            (event.resource().as_str(), event.verb.as_str()),
            ("deployments", "watch")
        );
        assert!(event.succeeded() && !event.is_write() && event.resource_version().is_none());
        let version = r#"{"auditID":"0b","stage":"ResponseComplete","requestURI":"/version?timeout=1s","verb":"get","requestReceivedTimestamp":"2026-11-22T01:02:03.000001Z","stageTimestamp":"2026-11-22T01:02:03.100000Z"}"#;
        assert_eq!(AuditEvent::parse(version).unwrap().resource(), "/version");
        assert!(AuditEvent::parse(&line[..100]).is_err());
    }

    #[test]
    fn who_acts_in_anothers_name_counts_as_the_other() {
        let mut event = bare(5, "admin", "get", ("services", "web"));
        assert_eq!(event.username(), "admin");
        event.impersonated_user = Some(User {
            username: CONTROLLER.to_owned(),
        });
        assert_eq!(event.username(), CONTROLLER);
    }

    #[test]
    fn a_request_logged_at_two_stages_counts_once() {
        let request = || bare(5, "u", "watch", ("deployments", ""));
        let earlier = bare(1, "u", "get", ("services", "web"));
        let events = [request(), request(), earlier];
        let verbs: Vec<_> = one_each(&events).iter().map(|event| event.verb.clone()).collect();
        assert_eq!(verbs, ["get", "watch"]);
    }
}
