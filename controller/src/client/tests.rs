//! The guard over a mock service: what is sent, what is not, and how long anything may take.

use std::pin::{Pin, pin};

use futures::{StreamExt as _, channel::mpsc};
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::body::{Bytes, Frame};
use k8s_openapi::api::{batch::v1::Job, core::v1::Service};
use kube::{
    Api,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams, WatchParams},
    client::Body,
};
use serde_json::json;
use tokio::{
    task::JoinHandle,
    time::{Instant, timeout},
};
use tower::BoxError;
use tower_test::mock::{self, Handle, SendResponse};

use super::*;
use crate::leader::{FenceKeeper, fence};

type Answer = Response<UnsyncBoxBody<Bytes, BoxError>>;
type Mock = Handle<Request<Body>, Answer>;
const SECOND: Duration = Duration::from_secs(1);

fn guarded(fence: Fence) -> (Client, Mock, Metrics) {
    let (service, handle) = mock::pair::<Request<Body>, Answer>();
    let metrics = Metrics::new();
    let guard = GuardLayer::new(fence, metrics.clone(), Deadlines::default());
    (
        ClientBuilder::new(service, "apps").with_layer(&guard).build(),
        handle,
        metrics,
    )
}

/// A fence that is open for ten seconds.
fn open() -> (FenceKeeper, Fence) {
    let (keeper, fence) = fence();
    keeper.set(Some(Instant::now() + 10 * SECOND));
    (keeper, fence)
}

async fn next(handle: &mut Pin<&mut Mock>) -> (Request<Body>, SendResponse<Answer>) {
    timeout(SECOND, handle.next_request())
        .await
        .expect("nothing is sent")
        .expect("the client is gone")
}

async fn assert_silent(handle: &mut Pin<&mut Mock>) {
    assert!(
        timeout(60 * SECOND, handle.next_request()).await.is_err(),
        "something is sent"
    );
}

fn answer(status: u16, body: &serde_json::Value) -> Answer {
    Response::builder()
        .status(status)
        .body(whole(&body.to_string()))
        .unwrap()
}

fn whole(body: &str) -> UnsyncBoxBody<Bytes, BoxError> {
    Full::new(Bytes::from(body.to_owned()))
        .map_err(Into::into)
        .boxed_unsync()
}

/// A body that goes on until its sender is dropped.
fn endless() -> (UnsyncBoxBody<Bytes, BoxError>, mpsc::UnboundedSender<Bytes>) {
    let (sender, receiver) = mpsc::unbounded();
    (
        StreamBody::new(receiver.map(|bytes| Ok(Frame::data(bytes)))).boxed_unsync(),
        sender,
    )
}

fn create_job(client: &Client) -> JoinHandle<Result<Job, kube::Error>> {
    let jobs: Api<Job> = Api::default_namespaced(client.clone());
    tokio::spawn(async move { jobs.create(&PostParams::default(), &Job::default()).await })
}

#[tokio::test(start_paused = true)]
async fn nothing_is_sent_twice_whatever_the_answer() {
    for status in [429, 500, 503, 504] {
        let (client, handle, metrics) = guarded(Fence::always_open());
        let mut handle = pin!(handle);
        let job = create_job(&client);
        let (_, respond) = next(&mut handle).await;
        respond.send_response(answer(
            status,
            &json!({"kind": "Status", "code": status, "message": "no"}),
        ));
        let error = job.await.unwrap().unwrap_err();
        let expected = if status == 429 {
            Fate::NotApplied
        } else {
            Fate::Unknown
        };
        assert_eq!(fate(&error), expected, "{status}");
        assert_silent(&mut handle).await;
        let counted = r#"slipway_api_requests_total{verb="create",resource="jobs"} 1"#;
        assert!(metrics.encode().unwrap().contains(counted));
    }
}

#[tokio::test]
async fn the_client_that_is_built_retries_nothing_and_names_itself() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    drop(rustls::crypto::ring::default_provider().install_default());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap())
        .parse()
        .unwrap();
    let client = with_config(Config::new(url), Fence::always_open(), Metrics::new()).unwrap();
    let job = create_job(&client);

    let (mut connection, _) = listener.accept().await.unwrap();
    let mut request = vec![0; 4096];
    let length = connection.read(&mut request).await.unwrap();
    let request = String::from_utf8_lossy(&request[..length]).to_lowercase();
    assert!(request.contains(&format!("user-agent: {AGENT}")), "{request}");
    connection
        .write_all(b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
        .await
        .unwrap();
    assert!(job.await.unwrap().is_err());
    assert!(
        timeout(SECOND / 2, listener.accept()).await.is_err(),
        "the POST was sent again"
    );
}

#[tokio::test(start_paused = true)]
async fn no_write_is_sent_while_the_fence_is_closed() {
    let (keeper, fence) = open();
    let (client, handle, _) = guarded(fence);
    let mut handle = pin!(handle);
    keeper.set(None);
    let jobs: Api<Job> = Api::default_namespaced(client.clone());
    let patch = Patch::Merge(json!({}));
    let errors = [
        jobs.create(&PostParams::default(), &Job::default())
            .await
            .map(drop)
            .unwrap_err(),
        jobs.patch("j", &PatchParams::default(), &patch)
            .await
            .map(drop)
            .unwrap_err(),
        jobs.replace("j", &PostParams::default(), &Job::default())
            .await
            .map(drop)
            .unwrap_err(),
        jobs.delete("j", &DeleteParams::default())
            .await
            .map(drop)
            .unwrap_err(),
    ];
    for error in errors {
        assert_eq!(call_error(&error), Some(CallError::Fenced));
        assert_eq!(fate(&error), Fate::NotApplied);
    }
    assert_silent(&mut handle).await;
}

#[tokio::test(start_paused = true)]
async fn reads_and_the_lease_itself_pass_a_closed_fence() {
    use k8s_openapi::api::coordination::v1::Lease;
    let (client, handle, _) = guarded(fence().1);
    let mut handle = pin!(handle);
    let leases: Api<Lease> = Api::default_namespaced(client.clone());
    let write = tokio::spawn(async move { leases.create(&PostParams::default(), &Lease::default()).await });
    let (request, respond) = next(&mut handle).await;
    assert_eq!(request.method(), "POST");
    respond.send_response(answer(201, &json!({"metadata": {"name": "slipway"}})));
    write.await.unwrap().unwrap();

    let services: Api<Service> = Api::default_namespaced(client);
    let read = tokio::spawn(async move { services.get("web").await });
    let (_, respond) = next(&mut handle).await;
    respond.send_response(answer(200, &json!({"metadata": {"name": "web"}})));
    read.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_write_on_its_way_is_given_up_when_the_fence_closes() {
    let (_keeper, fence) = open();
    let (client, handle, _) = guarded(fence);
    let mut handle = pin!(handle);
    tokio::time::advance(4 * SECOND).await;
    let start = Instant::now();
    let job = create_job(&client);
    let (_, _respond) = next(&mut handle).await;
    let error = job.await.unwrap().unwrap_err();
    assert_eq!(call_error(&error), Some(CallError::CutOff));
    assert_eq!((fate(&error), start.elapsed()), (Fate::Unknown, 6 * SECOND));
}

#[tokio::test(start_paused = true)]
async fn every_call_has_a_deadline() {
    let (client, handle, _) = guarded(Fence::always_open());
    let mut handle = pin!(handle);
    let start = Instant::now();
    let job = create_job(&client);
    let (_, _respond) = next(&mut handle).await;
    let error = job.await.unwrap().unwrap_err();
    assert_eq!(call_error(&error), Some(CallError::Late(10 * SECOND)));
    assert_eq!((fate(&error), start.elapsed()), (Fate::Unknown, 10 * SECOND));

    let start = Instant::now();
    let services: Api<Service> = Api::default_namespaced(client);
    let list = tokio::spawn({
        let services = services.clone();
        async move { services.list(&ListParams::default()).await }
    });
    let (_, _respond) = next(&mut handle).await;
    let error = list.await.unwrap().unwrap_err();
    assert_eq!(call_error(&error), Some(CallError::Late(30 * SECOND)));

    let watch = tokio::spawn(async move { services.watch(&WatchParams::default(), "0").await.map(drop) });
    let (_, _respond) = next(&mut handle).await;
    let error = watch.await.unwrap().unwrap_err();
    assert_eq!(call_error(&error), Some(CallError::Late(30 * SECOND)));
    assert_eq!(start.elapsed(), 60 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn the_deadline_covers_a_body_that_never_ends() {
    let (client, handle, _) = guarded(Fence::always_open());
    let mut handle = pin!(handle);
    let services: Api<Service> = Api::default_namespaced(client);
    let read = tokio::spawn(async move { services.get("web").await });
    let (_, respond) = next(&mut handle).await;
    let (body, _sender) = endless();
    respond.send_response(Response::new(body));
    let error = read.await.unwrap().unwrap_err();
    assert_eq!(call_error(&error), Some(CallError::Late(10 * SECOND)));
}

#[tokio::test(start_paused = true)]
async fn a_watch_survives_silence() {
    use futures::pin_mut;
    use kube::core::WatchEvent;
    let (client, handle, _) = guarded(fence().1);
    let mut handle = pin!(handle);
    let services: Api<Service> = Api::default_namespaced(client);
    let watch = tokio::spawn(async move {
        let events = services.watch(&WatchParams::default(), "0").await.unwrap();
        pin_mut!(events);
        let start = Instant::now();
        let event = events.next().await.unwrap().unwrap();
        assert!(matches!(event, WatchEvent::Added(_)));
        start.elapsed()
    });
    let (_, respond) = next(&mut handle).await;
    let (body, sender) = endless();
    respond.send_response(Response::new(body));
    tokio::time::sleep(300 * SECOND).await;
    let line = json!({"type": "ADDED", "object": {"metadata": {"name": "web", "resourceVersion": "1"}}});
    sender.unbounded_send(format!("{line}\n").into()).unwrap();
    assert_eq!(watch.await.unwrap(), 300 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn retry_after_of_a_header_reaches_the_error() {
    for body in [
        "too many requests",
        r#"{"kind":"Status","code":429,"message":"no","reason":"TooManyRequests"}"#,
    ] {
        let (client, handle, _) = guarded(Fence::always_open());
        let mut handle = pin!(handle);
        let job = create_job(&client);
        let (_, respond) = next(&mut handle).await;
        let refusal = Response::builder().status(429).header("Retry-After", "7");
        respond.send_response(refusal.body(whole(body)).unwrap());
        let error = job.await.unwrap().unwrap_err();
        assert_eq!(retry_after(&error), Some(7 * SECOND));
    }
}
