//! The errors of the API server, as `metav1.Status` bodies.

use serde_json::{Value, json};

use super::kind::Kind;

/// A request that was answered with an error.
#[derive(Clone, Debug, PartialEq)]
pub struct Refusal {
    /// The HTTP status.
    pub code: u16,
    /// The machine-readable reason.
    pub reason: &'static str,
    /// The text for people.
    pub message: String,
    /// The `details` of the status; null when there are none.
    pub details: Value,
    /// The seconds of the header Retry-After, where one is sent.
    pub retry_after: Option<u32>,
}

/// One broken rule of a validation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cause {
    /// The path of the field.
    pub field: String,
    /// What the field's value is called in the message: `Invalid value: 3`, `Required value`, `Forbidden`.
    pub what: String,
    /// Why it is refused.
    pub why: String,
}

impl Cause {
    /// A value that a rule refuses.
    pub fn invalid(field: &str, value: &Value, why: &str) -> Self {
        Self {
            field: field.to_owned(),
            what: format!("Invalid value: {value}"),
            why: why.to_owned(),
        }
    }

    /// A field that must be there.
    pub fn required(field: &str, why: &str) -> Self {
        Self {
            field: field.to_owned(),
            what: "Required value".to_owned(),
            why: why.to_owned(),
        }
    }

    /// A field that must not be there.
    pub fn forbidden(field: &str, why: &str) -> Self {
        Self {
            field: field.to_owned(),
            what: "Forbidden".to_owned(),
            why: why.to_owned(),
        }
    }

    fn message(&self) -> String {
        if self.why.is_empty() {
            self.what.clone()
        } else {
            format!("{}: {}", self.what, self.why)
        }
    }

    fn reason(&self) -> &'static str {
        match self.what.as_str() {
            "Required value" => "FieldValueRequired",
            "Forbidden" => "FieldValueForbidden",
            _ => "FieldValueInvalid",
        }
    }
}

impl Refusal {
    /// An error about nothing in particular.
    pub fn plain(code: u16, reason: &'static str, message: impl Into<String>) -> Self {
        Self {
            code,
            reason,
            message: message.into(),
            details: Value::Null,
            retry_after: None,
        }
    }

    /// An error about one object.
    fn about(code: u16, reason: &'static str, kind: Kind, name: &str, message: String) -> Self {
        let known = kind.traits();
        let mut details = json!({"name": name, "kind": known.resource});
        if !known.group.is_empty() {
            details["group"] = known.group.into();
        }
        Self {
            code,
            reason,
            message,
            details,
            retry_after: None,
        }
    }

    /// 400: the request makes no sense.
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::plain(400, "BadRequest", message)
    }

    /// 403: an admission plugin or the authorizer says no.
    pub fn forbidden(kind: Kind, name: &str, why: &str) -> Self {
        let message = format!("{} \"{name}\" is forbidden: {why}", kind.qualified_resource());
        Self::about(403, "Forbidden", kind, name, message)
    }

    /// 404: there is no such object.
    pub fn not_found(kind: Kind, name: &str) -> Self {
        let message = format!("{} \"{name}\" not found", kind.qualified_resource());
        Self::about(404, "NotFound", kind, name, message)
    }

    /// 409: the name is taken.
    pub fn already_exists(kind: Kind, name: &str) -> Self {
        let message = format!("{} \"{name}\" already exists", kind.qualified_resource());
        Self::about(409, "AlreadyExists", kind, name, message)
    }

    /// 409: a condition of the request does not hold.
    pub fn conflict(kind: Kind, name: &str, why: &str) -> Self {
        let resource = kind.qualified_resource();
        let message = format!("Operation cannot be fulfilled on {resource} \"{name}\": {why}");
        Self::about(409, "Conflict", kind, name, message)
    }

    /// 409: the resourceVersion is not the newest one.
    pub fn stale(kind: Kind, name: &str) -> Self {
        let why =
            "the object has been modified; please apply your changes to the latest version and try again";
        Self::conflict(kind, name, why)
    }

    /// 410: the wanted version of the history is gone.
    pub fn expired(wanted: u64, oldest: u64) -> Self {
        Self::plain(
            410,
            "Expired",
            format!("too old resource version: {wanted} ({oldest})"),
        )
    }

    /// 422: the object breaks rules.
    pub fn invalid(kind: Kind, name: &str, causes: &[Cause]) -> Self {
        let lines: Vec<_> = causes
            .iter()
            .map(|cause| format!("{}: {}", cause.field, cause.message()))
            .collect();
        let text = if let [only] = lines.as_slice() {
            only.clone()
        } else {
            format!("[{}]", lines.join(", "))
        };
        let message = format!("{} \"{name}\" is invalid: {text}", kind.qualified_kind());
        let mut refusal = Self::about(422, "Invalid", kind, name, message);
        refusal.details["kind"] = kind.traits().kind.into();
        refusal.details["causes"] = causes
            .iter()
            .map(|cause| json!({"reason": cause.reason(), "message": cause.message(), "field": cause.field}))
            .collect();
        refusal
    }

    /// 422: a watch that wants to begin with the state of now, but does not say from which version on.
    pub fn vague_beginning() -> Self {
        let field = "resourceVersionMatch";
        let why = "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan";
        let message = format!("ListOptions.meta.k8s.io \"\" is invalid: {field}: Forbidden: {why}");
        let cause = Cause::forbidden(field, why);
        Self {
            details: json!({
                "group": "meta.k8s.io",
                "kind": "ListOptions",
                "causes": [{"reason": cause.reason(), "message": cause.message(), "field": field}],
            }),
            ..Self::plain(422, "Invalid", message)
        }
    }

    /// 422: a JSON patch that does not fit; the real server says no more than this.
    pub fn unfit_patch() -> Self {
        let message = "the server rejected our request due to an error in our request";
        Self {
            details: json!({}),
            ..Self::plain(422, "Invalid", message)
        }
    }

    /// 429: too many requests, come back in some seconds.
    pub fn too_many(retry_after: u32) -> Self {
        let message = "The server has received too many requests and has asked us to try again later";
        Self {
            details: json!({"retryAfterSeconds": retry_after}),
            retry_after: Some(retry_after),
            ..Self::plain(429, "TooManyRequests", message)
        }
    }

    /// 500: the server broke.
    pub fn internal(why: &str) -> Self {
        Self::plain(500, "InternalError", format!("Internal error occurred: {why}"))
    }

    /// 503: nobody answers.
    pub fn unavailable() -> Self {
        Self::plain(
            503,
            "ServiceUnavailable",
            "the server is currently unable to handle the request",
        )
    }

    /// 504: the server gave up waiting; the request may have been carried out.
    pub fn timeout() -> Self {
        let message = "Timeout: request did not complete within the allotted timeout";
        Self::plain(504, "Timeout", message)
    }

    /// The body of the answer.
    pub fn body(&self) -> Value {
        let mut status = json!({
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": self.message,
            "reason": self.reason,
            "code": self.code,
        });
        if !self.details.is_null() {
            status["details"] = self.details.clone();
        }
        status
    }
}
