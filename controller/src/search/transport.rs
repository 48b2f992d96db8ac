//! How a request travels to the engine. A simulator puts its own engine behind [`Transport`].

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use futures::{FutureExt as _, future::BoxFuture};
use http::Method;
use reqwest::{Url, redirect};
use serde_json::Value;

/// From connecting to the last byte of an answer.
const TIMEOUT: Duration = Duration::from_secs(10);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// A longer answer is given up; the longest of ours lists the shards of one index.
const MAX_ANSWER: usize = 16 << 20;

/// One request.
#[derive(Debug, Clone, PartialEq)]
pub struct Ask {
    /// GET, POST, PUT or DELETE.
    pub method: Method,
    /// Path and query, from the engine's root, such as `/products/_count`.
    pub path: String,
    /// The body, JSON.
    pub body: Option<Value>,
}

/// One answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The body; what is no JSON is a string.
    pub body: Value,
}

/// There is no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TransportError {
    /// The request never left: the engine cannot have seen it.
    #[error("cannot connect: {0}")]
    NotSent(String),
    /// The request left; whether the engine saw it is not known.
    #[error("no answer: {0}")]
    Lost(String),
}

/// Sends requests, each exactly once.
pub trait Transport: Send + Sync {
    /// Sends one request.
    fn send(&self, ask: Ask) -> BoxFuture<'_, Result<Answer, TransportError>>;
}

/// The engine's URL cannot be used. Never shows a password.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the search URL {url} cannot be used: {why}")]
pub struct UrlError {
    /// The URL without its user information.
    pub url: String,
    /// What is wrong with it.
    pub why: String,
}

/// HTTP: ten seconds for everything, no redirects, no retries, no proxy.
#[derive(Debug, Clone)]
pub struct HttpTransport {
    base: Url,
    client: reqwest::Client,
}

impl HttpTransport {
    /// A transport to the engine at `url` (`http` or `https`; user information becomes basic authentication; a
    /// path is a prefix). With `address`, the host is not looked up by DNS: certificates and the Host header
    /// still go by its name.
    pub fn new(url: &str, address: Option<IpAddr>) -> Result<Self, UrlError> {
        let base: Url = url.parse().map_err(|error| UrlError {
            url: "(unreadable)".to_owned(),
            why: format!("{error}"),
        })?;
        let refuse = |why: &str| UrlError {
            url: redacted(&base),
            why: why.to_owned(),
        };
        let host = base.host_str().ok_or_else(|| refuse("it has no host"))?;
        if !matches!(base.scheme(), "http" | "https") {
            return Err(refuse("it must begin with http:// or https://"));
        }
        if base.query().is_some() || base.fragment().is_some() {
            return Err(refuse("it must not have a query or a fragment"));
        }
        let mut builder = reqwest::Client::builder()
            .user_agent(concat!("slipway/", env!("CARGO_PKG_VERSION")))
            .timeout(TIMEOUT)
            .connect_timeout(CONNECT_TIMEOUT)
            .redirect(redirect::Policy::none())
            .retry(reqwest::retry::never())
            .no_proxy();
        if let Some(address) = address {
            builder = builder.resolve(host, SocketAddr::new(address, 0));
        }
        if base.scheme() == "http" {
            // The certificates of the machine are not needed, and an image without any must do for plain HTTP.
            builder = builder.tls_certs_only([]);
        }
        let client = builder
            .build()
            .map_err(|error| refuse(&causes(&error.without_url())))?;
        Ok(Self { base, client })
    }

    /// The URL as it may be shown.
    pub fn shown(&self) -> String {
        redacted(&self.base)
    }

    async fn send_now(&self, ask: Ask) -> Result<Answer, TransportError> {
        let Ask { method, path, body } = ask;
        let url = format!("{}{path}", self.base.as_str().trim_end_matches('/'));
        let mut request = self.client.request(method, url);
        if let Some(body) = &body {
            request = request.json(body);
        }
        let mut response = request.send().await.map_err(described)?;
        let status = response.status().as_u16();
        let mut bytes = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(described)? {
            if bytes.len() + chunk.len() > MAX_ANSWER {
                return Err(TransportError::Lost(format!(
                    "the answer is longer than {MAX_ANSWER} bytes"
                )));
            }
            bytes.extend_from_slice(&chunk);
        }
        let body = serde_json::from_slice(&bytes)
            .unwrap_or_else(|_| Value::String(String::from_utf8_lossy(&bytes).into_owned()));
        Ok(Answer { status, body })
    }
}

impl Transport for HttpTransport {
    fn send(&self, ask: Ask) -> BoxFuture<'_, Result<Answer, TransportError>> {
        self.send_now(ask).boxed()
    }
}

/// The URL without user and password.
fn redacted(url: &Url) -> String {
    let mut shown = url.clone();
    if shown.username() != "" || shown.password().is_some() {
        // Both fail only for URLs without a host.
        if shown
            .set_username("…")
            .and_then(|()| shown.set_password(None))
            .is_err()
        {
            return "(a URL without a host)".to_owned();
        }
    }
    shown.to_string()
}

/// The causes of a failure, without the URL, which may hold a password.
fn described(error: reqwest::Error) -> TransportError {
    let unsent = error.is_connect() || error.is_builder();
    let text = causes(&error.without_url());
    if unsent {
        TransportError::NotSent(text)
    } else {
        TransportError::Lost(text)
    }
}

/// An error and what is behind it, in one line.
fn causes(error: &dyn std::error::Error) -> String {
    let chain = std::iter::successors(Some(error), |error| error.source());
    chain.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    fn transport(url: &str) -> Result<HttpTransport, UrlError> {
        drop(rustls::crypto::ring::default_provider().install_default());
        HttpTransport::new(url, None)
    }

    fn get(path: &str) -> Ask {
        Ask {
            method: Method::GET,
            path: path.to_owned(),
            body: None,
        }
    }

    /// Answers one connection with `answer`, or never; gives back what was sent.
    async fn serve_once(answer: Option<&'static str>) -> (String, tokio::task::JoinHandle<String>) {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let task = tokio::spawn(async move {
            let (mut connection, _) = listener.accept().await.unwrap();
            let mut request = vec![0; 4096];
            let length = connection.read(&mut request).await.unwrap();
            if let Some(answer) = answer {
                connection.write_all(answer.as_bytes()).await.unwrap();
            }
            drop(connection);
            String::from_utf8_lossy(&request[..length]).into_owned()
        });
        (address, task)
    }

    #[tokio::test]
    async fn a_request_goes_out_once_with_prefix_and_authentication() {
        let (address, server) =
            serve_once(Some("HTTP/1.1 200 OK\r\ncontent-length: 7\r\n\r\n{\"a\":1}")).await;
        let transport = transport(&format!("http://shop:secret@{address}/search/")).unwrap();
        let answer = transport.send(get("/products/_count")).await.unwrap();
        assert_eq!(
            answer,
            Answer {
                status: 200,
                body: serde_json::json!({"a": 1})
            }
        );
        let request = server.await.unwrap().to_lowercase();
        assert!(
            request.starts_with("get /search/products/_count http/1.1"),
            "{request}"
        );
        assert!(
            request.contains("authorization: basic") && request.contains("user-agent: slipway/"),
            "{request}"
        );
    }

    #[tokio::test]
    async fn redirects_are_answers_and_text_is_a_string() {
        let (address, _server) = serve_once(Some(
            "HTTP/1.1 302 Found\r\nlocation: http://other/\r\ncontent-length: 3\r\n\r\nno!",
        ))
        .await;
        let answer = transport(&format!("http://{address}"))
            .unwrap()
            .send(get("/"))
            .await
            .unwrap();
        assert_eq!(
            answer,
            Answer {
                status: 302,
                body: Value::String("no!".into())
            }
        );
    }

    #[tokio::test]
    async fn not_sent_and_lost_are_told_apart_and_hide_the_password() {
        let closed = {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            listener.local_addr().unwrap()
        };
        let refused = transport(&format!("http://shop:secret@{closed}"))
            .unwrap()
            .send(get("/"))
            .await
            .unwrap_err();
        assert!(matches!(refused, TransportError::NotSent(_)), "{refused}");
        assert!(!refused.to_string().contains("secret"), "{refused}");

        let (address, _server) = serve_once(None).await;
        let lost = transport(&format!("http://shop:secret@{address}"))
            .unwrap()
            .send(get("/"))
            .await
            .unwrap_err();
        assert!(matches!(lost, TransportError::Lost(_)), "{lost}");
        assert!(!lost.to_string().contains("secret"), "{lost}");
    }

    #[tokio::test]
    async fn a_given_address_replaces_the_lookup_and_not_the_name() {
        let (address, server) = serve_once(Some("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}")).await;
        let address: SocketAddr = address.parse().unwrap();
        drop(rustls::crypto::ring::default_provider().install_default());
        let url = format!("http://search:{}", address.port());
        let transport = HttpTransport::new(&url, Some(address.ip())).unwrap();
        transport.send(get("/")).await.unwrap();
        assert!(
            server
                .await
                .unwrap()
                .to_lowercase()
                .contains(&format!("host: search:{}", address.port()))
        );
    }

    #[test]
    fn urls_that_cannot_work_are_refused_without_their_password() {
        for (url, why) in [
            ("ftp://a:secret@host", "must begin with http"),
            ("http://a:secret@host/?x=1", "query"),
            ("host:9200", "must begin with http"),
            ("not a url secret", "relative URL"),
        ] {
            let error = transport(url).unwrap_err().to_string();
            assert!(error.contains(why) || error.contains("no host"), "{url}: {error}");
            assert!(!error.contains("secret"), "{url}: {error}");
        }
        assert_eq!(
            transport("http://a:secret@host:9200/x").unwrap().shown(),
            "http://%E2%80%A6@host:9200/x"
        );
    }
}
