//! The whole observer against a small API server and engine on loopback.

use std::io::Write;

use http_body_util::Full;
use hyper::Response;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::json;
use tokio::net::TcpListener;

use super::*;
use slipway_judge::observer::Move;

/// User of the controller.
const CONTROLLER: &str = "system:serviceaccount:slipway-system:slipway";

/// Answers lists, one watch of `EndpointSlices`, and `GET /_alias`.
async fn server() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let service = service_fn(|request: hyper::Request<hyper::body::Incoming>| async move {
                let watch = request.uri().query().unwrap_or_default().contains("watch=true");
                let answer = answer(request.uri().path(), watch);
                if answer.is_none() {
                    sleep(Duration::from_mins(1)).await;
                }
                let body = Full::new(Bytes::from(answer.unwrap_or_default()));
                Response::builder()
                    .header("content-type", "application/json")
                    .body(body)
            });
            tokio::spawn(async move {
                hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service)
                    .await
            });
        }
    });
    format!("http://{address}")
}

fn answer(path: &str, watch: bool) -> Option<String> {
    let slice = json!({"metadata": {"name": "web-1", "labels": {SERVICE_NAME: "web"}}, "addressType": "IPv4",
        "endpoints": [{"addresses": ["10.0.0.1"], "targetRef": {"name": "web-old-aaaaa"}}]});
    let service =
        json!({"metadata": {"name": "web", "resourceVersion": "5"}, "spec": {"selector": {"app": "web"}}});
    let list = |items: Value| json!({"kind": "List", "metadata": {"resourceVersion": "9"}, "items": items});
    match path.rsplit('/').next()? {
        "_alias" => Some(json!({"products_g1": {"aliases": {"products": {}}}}).to_string()),
        "endpointslices" if watch => None,
        "endpointslices" => Some(list(json!([slice])).to_string()),
        "services" => Some(list(json!([service])).to_string()),
        _ => Some(list(json!([])).to_string()),
    }
}

fn line(namespace: &str, user: &str, verb: &str, resource: &str) -> String {
    let line = json!({
        "auditID": format!("{namespace}{verb}{resource}"), "stage": "ResponseComplete", "verb": verb,
        "user": {"username": user}, "responseStatus": {"code": 200},
        "objectRef": {"resource": resource, "namespace": namespace, "name": "web"},
        "requestObject": {"metadata": {"resourceVersion": "5"}, "spec": {"selector": {"pod-template-hash": "old"}}},
        "responseObject": {"metadata": {"name": "web", "resourceVersion": "20"},
            "spec": {"selector": {"app": "web", "pod-template-hash": "old"}}},
        "requestReceivedTimestamp": "2026-11-22T01:02:03.000001Z",
        "stageTimestamp": "2026-11-22T01:02:03.100000Z"
    });
    format!("{line}\n")
}

#[tokio::test]
async fn log_endpoints_and_aliases_come_together() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("audit.log");
    let mut log = std::fs::File::create(&path).unwrap();
    log.write_all(line("shop", CONTROLLER, "delete", "services").as_bytes())
        .unwrap();
    let url = server().await;
    let client = Client::try_from(kube::Config::new(url.parse().unwrap())).unwrap();
    let config = ObserverConfig::new(&path, "shop")
        .services(&["web"])
        .aliases(&url, &["products"]);
    let observer = Observer::start(client, config).await.unwrap();
    let mark = observer.mark("pin");
    for line in [
        line("shop", CONTROLLER, "patch", "services"),
        line("elsewhere", CONTROLLER, "patch", "services"),
        line("shop", "alice", "get", "services"),
        line("slipway-system", CONTROLLER, "update", "leases"),
        "{\"half\":".to_owned(),
    ] {
        log.write_all(line.as_bytes()).unwrap();
    }
    let complete = |seen: &Observation| {
        let endpoints = seen.endpoints.fewest("web", seen.started_at) == Some(1);
        endpoints && seen.aliases.polls() > 1 && !seen.moves.is_empty()
    };
    assert!(observer.until(Duration::from_secs(5), complete).await.is_some());
    let seen = observer.finish().await;
    seen.assert_well();
    assert_eq!(seen.order(), [Move::Pin]);
    assert_eq!(seen.marks, [mark]);
    assert_eq!(seen.aliases.path("products"), ["products_g1"]);
    assert_eq!(
        seen.endpoints.sides("web", seen.started_at),
        ["old".to_owned()].into()
    );
    assert_eq!(
        (seen.requests.count(), seen.requests.beyond_idle().count()),
        (2, 1)
    );
}
