//! The client against small servers on loopback.

use std::convert::Infallible;
use std::sync::atomic::{AtomicUsize, Ordering};

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::*;

/// Serves `answer` on loopback until the test ends.
async fn server<F>(answer: F) -> SocketAddr
where
    F: Fn(Request<Incoming>) -> Response<Full<Bytes>> + Clone + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let answer = answer.clone();
            let service = service_fn(move |request| {
                let response = answer(request);
                async move { Ok::<_, Infallible>(response) }
            });
            tokio::spawn(async move {
                hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service)
                    .await
            });
        }
    });
    address
}

/// Hands each accepted connection to `serve`.
async fn raw_server<F, R>(serve: F) -> SocketAddr
where
    F: Fn(usize, TcpStream) -> R + Send + 'static,
    R: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        for number in 0.. {
            let (stream, _) = listener.accept().await.unwrap();
            tokio::spawn(serve(number, stream));
        }
    });
    address
}

fn version(version: &str, index: &str) -> Response<Full<Bytes>> {
    let response = Response::builder()
        .header("x-shop-version", version)
        .header("x-shop-index", index);
    response.body(Full::new(Bytes::from_static(b"ok"))).unwrap()
}

/// A well-formed answer of version 1.
const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nx-shop-version: 1\r\ncontent-length: 2\r\n\r\nok";

async fn read_request(stream: &mut TcpStream) -> bool {
    let mut buffer = [0; 2048];
    stream.read(&mut buffer).await.is_ok_and(|read| read > 0)
}

fn config(target: SocketAddr) -> TrafficConfig {
    TrafficConfig::new(target, Mix::only("/")).rate(100)
}

#[tokio::test]
async fn versions_and_indices_are_counted_and_marks_divide_the_time() {
    let served = Arc::new(AtomicUsize::new(0));
    let target = server(move |_| match served.fetch_add(1, Ordering::Relaxed) {
        0..20 => version("1", "products"),
        _ => version("2", "products_g2"),
    })
    .await;
    let traffic = Traffic::start(config(target));
    assert!(traffic.flowing(40, Duration::from_secs(5)).await);
    let flip = traffic.mark("flip");
    assert!(traffic.flowing(60, Duration::from_secs(5)).await);
    let live = traffic.live();
    assert!(
        live.answered["1"] == 20 && live.failed == 0 && live.pairs.len() == 2,
        "{live:?}"
    );
    let report = traffic.stop().await;
    report.assert_no_failures();
    report.assert_no_failures_since(&flip);
    report.assert_pairs(|seen| (&*seen.name == "2") == (seen.index.as_deref() == Some("products_g2")));
    assert_eq!(report.by_version()["1"], 20);
    assert_eq!(u64::try_from(report.total()).unwrap(), report.connections);
    let flipped = report.offset(flip.at);
    assert_eq!(report.answered_between("1", flipped, Duration::MAX), 0);
    assert!(report.first_answer("2") > report.last_answer("1"));
    assert!(report.per_second().contains("flip"), "{}", report.per_second());
    assert!(report.percentile(50) <= report.percentile(100));
    assert_eq!(report.slowest(1)[0].latency, report.percentile(100));
}

#[tokio::test]
async fn failures_are_told_apart_and_shown_with_their_time() {
    let broken = server(|_| {
        let response = Response::builder().status(500).header("x-shop-version", "2");
        response
            .body(Full::new(Bytes::from_static(
                b"index products has no field title",
            )))
            .unwrap()
    })
    .await;
    let report = run_shortly(config(broken)).await;
    let (_, failure) = report.failures().next().unwrap();
    assert_eq!(failure.kind, FailureKind::Status(500));
    assert_eq!(
        failure.to_string(),
        "status 500 from version 2: index products has no field title"
    );
    let message = report.describe_failures(Duration::ZERO);
    assert!(
        message.contains("requests failed") && message.contains("no field title"),
        "{message}"
    );

    let closing = raw_server(|_, mut stream| async move {
        read_request(&mut stream).await;
    })
    .await;
    assert_eq!(first_failure(config(closing)).await, FailureKind::Eof);
    let resetting = raw_server(|_, mut stream| async move {
        read_request(&mut stream).await;
        stream.set_zero_linger().unwrap();
    })
    .await;
    assert_eq!(first_failure(config(resetting)).await, FailureKind::Reset);
    let silent = raw_server(|_, stream| async move {
        tokio::time::sleep(Duration::from_mins(1)).await;
        drop(stream);
    })
    .await;
    let patience = Duration::from_millis(50);
    assert_eq!(
        first_failure(config(silent).timeout(patience)).await,
        FailureKind::Timeout
    );
    let untold = server(|_| Response::new(Full::default())).await;
    assert_eq!(first_failure(config(untold)).await, FailureKind::Unreadable);
    let nobody = TcpListener::bind("127.0.0.1:0")
        .await
        .unwrap()
        .local_addr()
        .unwrap();
    assert_eq!(first_failure(config(nobody)).await, FailureKind::Connect);
}

async fn run_shortly(config: TrafficConfig) -> TrafficReport {
    let traffic = Traffic::start(config);
    assert!(traffic.flowing(3, Duration::from_secs(5)).await);
    traffic.stop().await
}

async fn first_failure(config: TrafficConfig) -> FailureKind {
    let report = run_shortly(config).await;
    let (_, failure) = report.failures().next().unwrap();
    failure.kind
}

#[tokio::test]
async fn kept_connections_are_kept() {
    let target = server(|_| version("1", "products")).await;
    let traffic = Traffic::start(config(target).mode(Mode::KeepAlive { connections: 4 }));
    assert!(traffic.flowing(40, Duration::from_secs(5)).await);
    let report = traffic.stop().await;
    report.assert_no_failures();
    assert_eq!(report.connections, 4);
}

#[tokio::test]
async fn a_connection_closed_while_idle_is_replaced_without_a_failure() {
    let target = raw_server(|_, mut stream| async move {
        for _ in 0..3 {
            if !read_request(&mut stream).await || stream.write_all(ANSWER).await.is_err() {
                return;
            }
        }
    })
    .await;
    let traffic = Traffic::start(config(target).mode(Mode::KeepAlive { connections: 2 }));
    assert!(traffic.flowing(30, Duration::from_secs(5)).await);
    let report = traffic.stop().await;
    report.assert_no_failures();
    assert!(report.connections >= 8, "{report}");
}

#[tokio::test]
async fn a_write_cut_off_on_a_kept_connection_is_a_failure_and_a_page_is_asked_again() {
    let cut = |_, mut stream: TcpStream| async move {
        read_request(&mut stream).await;
        stream.write_all(ANSWER).await.unwrap();
        read_request(&mut stream).await;
    };
    let writes = Mix::new().with(1, |n| {
        Planned::json("write", Method::PUT, "/products/1", &serde_json::json!({"n": n}))
            .writes("1", n.to_string())
    });
    let kept = Mode::KeepAlive { connections: 1 };
    let written = TrafficConfig::new(raw_server(cut).await, writes)
        .rate(100)
        .mode(kept);
    let traffic = Traffic::start(written);
    assert!(traffic.flowing(4, Duration::from_secs(5)).await);
    let report = traffic.stop().await;
    assert!(report.failed() > 0 && report.sent_again == 0, "{report}");
    let last = report.ledger.acknowledged().next().unwrap().1.to_owned();
    assert!(report.ledger.broken_promises(|_| Some(last.clone())).is_empty());

    let traffic = Traffic::start(config(raw_server(cut).await).mode(kept));
    assert!(traffic.flowing(4, Duration::from_secs(5)).await);
    let report = traffic.stop().await;
    report.assert_no_failures();
    assert!(report.sent_again > 0, "{report}");
}

#[tokio::test]
async fn a_stall_shows_in_every_request_that_fell_into_it() {
    let target = raw_server(|number, mut stream| async move {
        read_request(&mut stream).await;
        if number < 10 {
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
        drop(stream.write_all(ANSWER).await);
    })
    .await;
    let traffic = Traffic::start(config(target));
    assert!(traffic.flowing(30, Duration::from_secs(5)).await);
    let report = traffic.stop().await;
    report.assert_no_failures();
    let slow = report
        .answers()
        .filter(|(sample, _)| sample.latency >= Duration::from_millis(400))
        .count();
    assert!(slow >= 10, "{slow} slow ones in {report}");
}

#[tokio::test]
async fn the_mix_has_its_proportions_and_the_client_stops_by_itself() {
    let target = server(|request| {
        assert_ne!(request.method() == Method::PUT, request.uri().path() == "/");
        version("1", "products")
    })
    .await;
    let mix = Mix::new().with(3, |_| Planned::get("page", "/")).with(1, |n| {
        let id = n % 50;
        let path = format!("/products/{id}");
        let body = serde_json::json!({"title": format!("title {n}")});
        Planned::json("write", Method::PUT, path, &body).writes(id.to_string(), format!("title {n}"))
    });
    let mut traffic = Traffic::start(
        TrafficConfig::new(target, mix)
            .rate(200)
            .limit(Duration::from_secs(1)),
    );
    (&mut traffic.pacer).await.unwrap();
    let report = traffic.recorder.report();
    report.assert_no_failures();
    let writes = report
        .samples
        .iter()
        .filter(|sample| sample.kind == "write")
        .count();
    assert!(report.total() <= 201, "{report}");
    assert!(
        writes * 2 < report.total() && writes * 8 > report.total(),
        "{writes} writes in {report}"
    );
    assert_eq!(report.ledger.acknowledged().count(), writes.min(50));
}

#[test]
fn the_shops_mix_has_its_proportions() {
    let mix = Mix::shop(1000);
    let mut kinds = std::collections::BTreeMap::new();
    for planned in (0..10_000).map(|_| mix.next()) {
        *kinds.entry(planned.kind).or_insert(0) += 1;
        let id = planned
            .path
            .strip_prefix("/products/")
            .map(|id| id.parse::<u32>().unwrap());
        let range = if planned.method == Method::DELETE {
            901..=1000
        } else {
            1..=900
        };
        assert!(id.is_none_or(|id| range.contains(&id)), "{planned:?}");
    }
    let near = |kind: &str, expected: i32| (kinds[kind] - expected).abs() < expected / 5 + 20;
    assert!(
        near("newest", 1000) && near("product", 5500) && near("search", 2500),
        "{kinds:?}"
    );
    assert!(
        near("write", 800) && near("insert", 150) && near("delete", 50),
        "{kinds:?}"
    );
}

#[tokio::test]
async fn any_server_will_do_if_its_version_can_be_read() {
    let target = server(|request| {
        drop(request.into_body().boxed());
        Response::new(Full::new(Bytes::from_static(b"v7 hello")))
    })
    .await;
    let classify = by_body(|body| body.split(' ').next().map(str::to_owned));
    let report = run_shortly(config(target).classify(classify)).await;
    report.assert_no_failures();
    assert_eq!(
        report.by_version().keys().map(|name| &**name).collect::<Vec<_>>(),
        ["v7"]
    );
}
