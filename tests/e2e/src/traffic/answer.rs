//! What came back: an answer and the version it tells of, or the way in which none came.

use std::fmt;
use std::sync::Arc;

use hyper::body::Bytes;
use hyper::{HeaderMap, StatusCode};

/// A complete HTTP answer.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Status code.
    pub status: StatusCode,
    /// Headers.
    pub headers: HeaderMap,
    /// Body, at most 1 MiB.
    pub body: Bytes,
}

impl Answer {
    /// A header's text, if it is there and is text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

/// Who answered, and from what.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    /// The application's version.
    pub name: Arc<str>,
    /// The search index it read for this answer, when it says so.
    pub index: Option<Arc<str>>,
}

impl fmt::Display for Version {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.index {
            Some(index) => write!(formatter, "{} reading {index}", self.name),
            None => formatter.write_str(&self.name),
        }
    }
}

/// Reads the version out of an answer; `None` when it does not tell.
pub type Classify = Arc<dyn Fn(&Answer) -> Option<Version> + Send + Sync>;

/// The version stands in one header and, if `index` is given, the index in another.
pub fn by_headers(version: &'static str, index: Option<&'static str>) -> Classify {
    Arc::new(move |answer| {
        let name = answer.header(version)?.into();
        let index = index.and_then(|index| answer.header(index)).map(Into::into);
        Some(Version { name, index })
    })
}

/// The version is what `read` finds in the body, such as its first word.
pub fn by_body(read: impl Fn(&str) -> Option<String> + Send + Sync + 'static) -> Classify {
    Arc::new(move |answer| {
        let name = read(std::str::from_utf8(&answer.body).ok()?)?.into();
        Some(Version { name, index: None })
    })
}

/// The ways in which a request fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum FailureKind {
    /// No connection: refused, or no route.
    Connect,
    /// The connection was reset.
    Reset,
    /// No complete answer in time.
    Timeout,
    /// The connection ended before the answer did.
    Eof,
    /// An answer with a status outside of 200 to 299.
    Status(u16),
    /// An answer that tells no version, is too long, or is not HTTP.
    Unreadable,
}

impl fmt::Display for FailureKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connect => formatter.write_str("no connection"),
            Self::Reset => formatter.write_str("connection reset"),
            Self::Timeout => formatter.write_str("timeout"),
            Self::Eof => formatter.write_str("connection ended early"),
            Self::Status(code) => write!(formatter, "status {code}"),
            Self::Unreadable => formatter.write_str("unreadable answer"),
        }
    }
}

/// A failed request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// In which way.
    pub kind: FailureKind,
    /// Who answered, where there was an answer that tells.
    pub version: Option<Version>,
    /// The error's or the body's own words, shortened.
    pub detail: String,
}

impl Failure {
    /// A failure without an answer.
    pub fn new(kind: FailureKind, detail: impl fmt::Display) -> Self {
        Self {
            kind,
            version: None,
            detail: shorten(&detail.to_string()),
        }
    }

    /// Names what went wrong in an I/O error.
    pub fn from_io(error: &std::io::Error) -> Self {
        use std::io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, TimedOut, UnexpectedEof};
        let is_any_of = |kinds: &[std::io::ErrorKind]| kinds.contains(&error.kind());
        let kind = if is_any_of(&[ConnectionReset, BrokenPipe, ConnectionAborted]) {
            FailureKind::Reset
        } else if is_any_of(&[TimedOut]) {
            FailureKind::Timeout
        } else if is_any_of(&[UnexpectedEof]) {
            FailureKind::Eof
        } else {
            FailureKind::Connect
        };
        Self::new(kind, error)
    }

    /// Names what went wrong in an exchange.
    pub fn from_hyper(error: &hyper::Error) -> Self {
        let mut source = std::error::Error::source(error);
        while let Some(inner) = source {
            if let Some(io) = inner.downcast_ref::<std::io::Error>() {
                return Self::from_io(io);
            }
            source = inner.source();
        }
        if error.is_incomplete_message() || error.is_canceled() || error.is_closed() {
            return Self::new(FailureKind::Eof, error);
        }
        Self::new(FailureKind::Unreadable, error)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", self.kind)?;
        if let Some(version) = &self.version {
            write!(formatter, " from version {version}")?;
        }
        write!(formatter, ": {}", self.detail)
    }
}

/// Judges a complete answer.
pub(super) fn judge(answer: &Answer, classify: &Classify) -> Result<Version, Failure> {
    let version = classify(answer);
    if !answer.status.is_success() {
        let kind = FailureKind::Status(answer.status.as_u16());
        let body = String::from_utf8_lossy(&answer.body);
        return Err(Failure {
            kind,
            version,
            detail: shorten(&body),
        });
    }
    version.ok_or_else(|| Failure::new(FailureKind::Unreadable, "the answer does not tell its version"))
}

/// At most 200 characters of one line.
fn shorten(text: &str) -> String {
    text.split_whitespace()
        .collect::<Vec<_>>()
        .join(" ")
        .chars()
        .take(200)
        .collect()
}
