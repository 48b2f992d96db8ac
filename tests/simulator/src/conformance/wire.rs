//! Requests as they are, without the types of a client.

use http::{Method, Request, header};
use http_body_util::BodyExt;
use kube::{Client, client::Body};
use serde_json::Value;
use slipway_kubernetes::kind::Kind;

/// The media type of a whole object.
pub(super) const JSON: &str = "application/json";
/// The media type of a merge patch.
pub(super) const MERGE: &str = "application/merge-patch+json";

/// The path of all objects of a kind in a namespace.
pub(super) fn collection(kind: Kind, namespace: &str) -> String {
    let known = kind.traits();
    let root = if known.group.is_empty() { "api" } else { "apis" };
    let version = kind.api_version();
    format!("/{root}/{version}/namespaces/{namespace}/{}", known.resource)
}

/// Sends a request, and returns the status and the bytes of the answer. A null body is none.
pub(super) async fn send(
    client: &Client,
    method: &Method,
    path: &str,
    [content_type, accept]: [&str; 2],
    body: &Value,
) -> Result<(u16, Vec<u8>), kube::Error> {
    let body = if body.is_null() {
        Vec::new()
    } else {
        body.to_string().into_bytes()
    };
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header(header::CONTENT_TYPE, content_type)
        .header(header::ACCEPT, accept)
        .body(Body::from(body))
        .expect("a well-formed request");
    let answer = client.send(request).await?;
    let code = answer.status().as_u16();
    let bytes = answer.into_body().collect().await?.to_bytes();
    Ok((code, bytes.to_vec()))
}

/// The same for a whole answer of JSON.
pub(super) async fn exchange(
    client: &Client,
    method: &Method,
    path: &str,
    content_type: &str,
    body: &Value,
) -> Result<(u16, Value), kube::Error> {
    let (code, bytes) = send(client, method, path, [content_type, JSON], body).await?;
    Ok((code, serde_json::from_slice(&bytes).unwrap_or_default()))
}
