//! One request over one TCP connection, new or kept.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{CONNECTION, CONTENT_TYPE, HOST};
use hyper::{HeaderMap, Request};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use tokio::time::{Instant, timeout};

use super::answer::{Answer, Classify, Failure, FailureKind, judge};
use super::mix::Planned;
use super::recorder::Recorder;

/// Longest body that is read.
const BODY_LIMIT: usize = 1024 * 1024;

/// Everything that all requests share.
pub(super) struct Caller {
    pub(super) target: SocketAddr,
    pub(super) timeout: Duration,
    pub(super) classify: Classify,
    pub(super) recorder: Arc<Recorder>,
}

impl Caller {
    /// One request over a connection of its own, recorded.
    pub(super) async fn call_once(&self, planned: Planned, scheduled: Instant) {
        let exchange = async {
            let mut connection = self.connect().await?;
            connection
                .exchange(self.request(&planned, false))
                .await
                .map_err(|broken| broken.failure)
        };
        let answer = timeout(self.timeout, exchange)
            .await
            .unwrap_or_else(|_| Err(self.timed_out()));
        self.record(&planned, scheduled, answer);
    }

    async fn connect(&self) -> Result<Connection, Failure> {
        self.recorder.connecting();
        Connection::open(self.target).await
    }

    fn request(&self, planned: &Planned, keep: bool) -> Request<Full<Bytes>> {
        let mut request = Request::builder()
            .method(planned.method.clone())
            .uri(&planned.path)
            .header(HOST, self.target.to_string());
        if !keep {
            request = request.header(CONNECTION, "close");
        }
        if let Some((content_type, _)) = &planned.body {
            request = request.header(CONTENT_TYPE, *content_type);
        }
        let body = planned
            .body
            .as_ref()
            .map(|(_, body)| body.clone())
            .unwrap_or_default();
        request
            .body(Full::new(body))
            .expect("a planned request has a valid path")
    }

    fn timed_out(&self) -> Failure {
        Failure::new(
            FailureKind::Timeout,
            format!("no complete answer within {:?}", self.timeout),
        )
    }

    fn record(&self, planned: &Planned, scheduled: Instant, answer: Result<Answer, Failure>) {
        let answer = answer.and_then(|answer| judge(&answer, &self.classify));
        self.recorder.finished(planned, scheduled, answer);
    }
}

/// One client that keeps its connection, as a browser, a proxy or another service does.
pub(super) struct Lane {
    caller: Arc<Caller>,
    connection: Option<Connection>,
}

impl Lane {
    pub(super) fn new(caller: Arc<Caller>) -> Self {
        Self {
            caller,
            connection: None,
        }
    }

    /// Sends what comes in, one after another, until there is no more.
    pub(super) async fn run(mut self, mut incoming: mpsc::UnboundedReceiver<(Planned, Instant)>) {
        while let Some((planned, scheduled)) = incoming.recv().await {
            let patience = self.caller.timeout;
            let answer = match timeout(patience, self.call(&planned)).await {
                Ok(answer) => answer,
                Err(_) => Err(self.caller.timed_out()),
            };
            if answer
                .as_ref()
                .map_or(true, |answer| asks_to_close(&answer.headers))
            {
                self.connection = None;
            }
            self.caller.record(&planned, scheduled, answer);
        }
    }

    /// A connection that the other side closed while it lay idle is replaced without a word, as every HTTP
    /// client does: nothing was sent, or what was sent is safe to send again (RFC 9110, 9.2.2).
    async fn call(&mut self, planned: &Planned) -> Result<Answer, Failure> {
        if let Some(mut kept) = self.connection.take().filter(Connection::is_open) {
            match kept.exchange(self.caller.request(planned, true)).await {
                Ok(answer) => {
                    self.connection = Some(kept);
                    return Ok(answer);
                }
                Err(broken) if broken.nothing_sent || (planned.is_safe() && broken.nothing_received) => {
                    self.caller.recorder.sent_again();
                }
                Err(broken) => return Err(broken.failure),
            }
        }
        let mut fresh = self.caller.connect().await?;
        let answer = fresh.exchange(self.caller.request(planned, true)).await;
        self.connection = Some(fresh);
        answer.map_err(|broken| broken.failure)
    }
}

fn asks_to_close(headers: &HeaderMap) -> bool {
    headers
        .get(CONNECTION)
        .is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"close"))
}

/// An open HTTP/1.1 connection; dropping it closes it.
pub(super) struct Connection {
    sender: SendRequest<Full<Bytes>>,
    driver: AbortHandle,
}

/// An exchange that failed, and how far it got.
pub(super) struct Broken {
    failure: Failure,
    nothing_sent: bool,
    nothing_received: bool,
}

impl Connection {
    async fn open(target: SocketAddr) -> Result<Self, Failure> {
        let stream = TcpStream::connect(target)
            .await
            .map_err(|error| Failure::from_io(&error))?;
        stream
            .set_nodelay(true)
            .map_err(|error| Failure::from_io(&error))?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|error| Failure::from_hyper(&error))?;
        // Errors of the connection come out of the exchange as well.
        let driver = tokio::spawn(async move { drop(connection.await) }).abort_handle();
        Ok(Self { sender, driver })
    }

    fn is_open(&self) -> bool {
        !self.sender.is_closed()
    }

    async fn exchange(&mut self, request: Request<Full<Bytes>>) -> Result<Answer, Broken> {
        let ready = self.sender.ready().await;
        ready.map_err(|error| Broken::new(Failure::from_hyper(&error), true, true))?;
        let response = self.sender.try_send_request(request).await.map_err(|mut error| {
            let nothing_sent = error.take_message().is_some();
            Broken::new(Failure::from_hyper(error.error()), nothing_sent, true)
        })?;
        let (head, body) = response.into_parts();
        let body = Limited::new(body, BODY_LIMIT).collect().await.map_err(|error| {
            let failure = match error.downcast_ref::<hyper::Error>() {
                Some(error) => Failure::from_hyper(error),
                None => Failure::new(FailureKind::Unreadable, error),
            };
            Broken::new(failure, false, false)
        })?;
        Ok(Answer {
            status: head.status,
            headers: head.headers,
            body: body.to_bytes(),
        })
    }
}

impl Broken {
    fn new(failure: Failure, nothing_sent: bool, nothing_received: bool) -> Self {
        Self {
            failure,
            nothing_sent,
            nothing_received,
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.driver.abort();
    }
}
