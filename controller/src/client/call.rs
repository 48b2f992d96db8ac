//! What a request to the Kubernetes API is about, read off its method and URI.

use http::{Method, Request};

/// One request in words of RBAC.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// `get`, `list`, `watch`, `create`, `update`, `patch`, `delete`, `deletecollection`, or `other`.
    pub verb: &'static str,
    /// The resource in the plural, with the subresource if there is one: `releases/status`. The path itself for
    /// what is no resource, such as `/version`.
    pub resource: String,
}

impl Call {
    /// Reads the request.
    pub fn of<B>(request: &Request<B>) -> Self {
        let path = request.uri().path();
        let (resource, named) = resource(path).unwrap_or_else(|| (path.to_owned(), true));
        let watch = request.uri().query().is_some_and(|query| {
            query
                .split('&')
                .any(|pair| matches!(pair, "watch=true" | "watch=1"))
        });
        Self {
            verb: verb(request.method(), named, watch),
            resource,
        }
    }

    /// Whether the request may change something.
    pub fn is_write(&self) -> bool {
        !matches!(self.verb, "get" | "list" | "watch")
    }

    /// Whether the request is about a Lease: those are how the fence is opened, and are guarded by their own
    /// resourceVersion.
    pub fn is_about_lease(&self) -> bool {
        self.resource == "leases"
    }
}

fn verb(method: &Method, named: bool, watch: bool) -> &'static str {
    match (method.as_str(), named) {
        ("GET" | "HEAD", _) if watch => "watch",
        ("GET" | "HEAD", true) => "get",
        ("GET" | "HEAD", false) => "list",
        ("POST", _) => "create",
        ("PUT", _) => "update",
        ("PATCH", _) => "patch",
        ("DELETE", true) => "delete",
        ("DELETE", false) => "deletecollection",
        (_, _) => "other",
    }
}

/// The resource of a path, and whether the path names one object of it.
fn resource(path: &str) -> Option<(String, bool)> {
    let mut parts = path.trim_matches('/').split('/');
    match parts.next()? {
        "api" => _ = parts.next()?,
        "apis" => _ = (parts.next()?, parts.next()?),
        _ => return None,
    }
    let mut rest: Vec<&str> = parts.collect();
    if let ["namespaces", _, _, ..] = *rest {
        rest.drain(..2);
    }
    match *rest {
        [resource] => Some((resource.to_owned(), false)),
        [resource, _] => Some((resource.to_owned(), true)),
        [resource, _, subresource, ..] => Some((format!("{resource}/{subresource}"), true)),
        [] => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_named_as_in_rbac() {
        let cases = [
            (
                "GET",
                "/apis/slipway.dev/v1alpha1/releases?limit=500",
                "list",
                "releases",
            ),
            (
                "GET",
                "/apis/slipway.dev/v1alpha1/releases?watch=true&x=1",
                "watch",
                "releases",
            ),
            (
                "GET",
                "/apis/apps/v1/namespaces/apps/deployments/web?",
                "get",
                "deployments",
            ),
            (
                "PATCH",
                "/apis/apps/v1/namespaces/apps/deployments/web",
                "patch",
                "deployments",
            ),
            (
                "PUT",
                "/apis/slipway.dev/v1alpha1/namespaces/a/releases/s/status",
                "update",
                "releases/status",
            ),
            ("POST", "/apis/batch/v1/namespaces/apps/jobs?", "create", "jobs"),
            (
                "DELETE",
                "/apis/batch/v1/namespaces/apps/jobs/j",
                "delete",
                "jobs",
            ),
            (
                "DELETE",
                "/api/v1/namespaces/apps/pods",
                "deletecollection",
                "pods",
            ),
            ("GET", "/api/v1/namespaces/apps", "get", "namespaces"),
            ("GET", "/api/v1/namespaces", "list", "namespaces"),
            (
                "PUT",
                "/apis/coordination.k8s.io/v1/namespaces/s/leases/slipway",
                "update",
                "leases",
            ),
            ("GET", "/version", "get", "/version"),
        ];
        for (method, uri, verb, resource) in cases {
            let call = Call::of(&Request::builder().method(method).uri(uri).body(()).unwrap());
            assert_eq!(
                (call.verb, call.resource.as_str()),
                (verb, resource),
                "{method} {uri}"
            );
            assert_eq!(call.is_write(), method != "GET", "{method} {uri}");
        }
    }
}
