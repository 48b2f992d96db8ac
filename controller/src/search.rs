//! A thin client for Elasticsearch ≥ 7.10 and OpenSearch ≥ 1.3: the dozen calls that a release needs, and nothing
//! that goes by different names in the two.
//!
//! Nothing is retried. A change that was sent and not answered is [`SearchError::OutcomeUnknown`]: the engine may
//! apply it yet, so it is observed, never repeated blindly. Changes are sent only while the fence is open.

mod error;
#[cfg(test)]
mod fake;
mod pool;
mod read;
mod root;
mod transport;
mod write;

use std::{collections::BTreeMap, sync::Arc};

use http::Method;
use jiff::Timestamp;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;

pub use self::{
    error::SearchError,
    pool::Pool,
    root::{Flavour, Root, Version},
    transport::{Answer, Ask, HttpTransport, Transport, TransportError, UrlError},
    write::{AliasMove, Deletion},
};
use crate::leader::Fence;

/// A search engine, reached by a transport. Cheap to clone.
#[derive(Clone)]
pub struct SearchClient {
    transport: Arc<dyn Transport>,
    fence: Fence,
}

/// One index as it is now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IndexFacts {
    /// Its own name, never an alias.
    pub name: String,
    /// Its identity: an index that was deleted and made again has another.
    pub uuid: String,
    /// When it was made, by the engine's clock.
    pub created: Timestamp,
    /// Whether it can be read: a closed index cannot.
    pub open: bool,
    /// Whether writes to it are refused, by whatever block.
    pub write_blocked: bool,
}

/// What a name stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Resolved {
    /// Nothing.
    Absent,
    /// An index of that very name.
    Index(IndexFacts),
    /// An alias, on these indices (at least one).
    Alias(Vec<IndexFacts>),
}

/// How well the engine holds an index.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Health {
    /// Some of the data cannot be reached, or there is no such index.
    Red,
    /// All data is there; a replica is missing.
    Yellow,
    /// All data and all replicas are there.
    Green,
}

/// An index by name and identity, as a release recorded it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IndexRef<'a> {
    /// The index's own name.
    pub name: &'a str,
    /// The UUID it must still have.
    pub uuid: &'a str,
}

/// How far each primary shard of an index has come. Two equal settled watermarks say that nothing acknowledged was
/// written in between.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Watermark {
    /// The identity of the index it was taken from.
    pub uuid: String,
    /// By shard number.
    pub shards: BTreeMap<u32, ShardMark>,
}

/// How far one primary shard has come; −1 when nothing was ever written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ShardMark {
    /// The number of the last operation.
    pub max_seq_no: i64,
    /// Up to here no failover can take numbers back.
    pub global_checkpoint: i64,
}

impl Watermark {
    /// Whether every number is safe from being used again after a failover. Only a settled watermark may be
    /// compared.
    pub fn is_settled(&self) -> bool {
        self.shards
            .values()
            .all(|shard| shard.max_seq_no == shard.global_checkpoint)
    }
}

impl SearchClient {
    /// A client that sends by `transport`, and changes only while `fence` is open.
    pub fn new(transport: Arc<dyn Transport>, fence: Fence) -> Self {
        Self { transport, fence }
    }

    /// Sends a question that changes nothing.
    async fn read(&self, method: Method, path: String, body: Option<Value>) -> Result<Answer, SearchError> {
        let sent = self
            .transport
            .send(Ask {
                method,
                path: path.clone(),
                body,
            })
            .await;
        sent.map_err(|source| SearchError::Unreachable { path, source })
    }

    /// Sends a change. An answer that does not settle whether it was applied is an error here already.
    async fn write(&self, method: Method, path: String, body: Option<Value>) -> Result<Answer, SearchError> {
        if !self.fence.allows_writes() {
            return Err(SearchError::Fenced);
        }
        let unknown = |why: String| SearchError::OutcomeUnknown {
            path: path.clone(),
            why,
        };
        let ask = Ask {
            method,
            path: path.clone(),
            body,
        };
        let answer = match self.fence.guard(self.transport.send(ask)).await {
            None => return Err(unknown("the lease ran out before the answer came".to_owned())),
            Some(Err(error @ TransportError::Lost(_))) => return Err(unknown(error.to_string())),
            Some(Err(source @ TransportError::NotSent(_))) => {
                return Err(SearchError::Unreachable { path, source });
            }
            Some(Ok(answer)) => answer,
        };
        if answer.status >= 500 {
            return Err(unknown(format!(
                "HTTP {}: {}",
                answer.status,
                error::reason_of(&answer.body)
            )));
        }
        if answer.body.get("acknowledged") == Some(&Value::Bool(false)) {
            return Err(unknown("the engine has not acknowledged it".to_owned()));
        }
        Ok(answer)
    }
}

/// What may stand unescaped in a name within a path.
const NAME: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.');
/// The same for a pattern.
const PATTERN: &AsciiSet = &NAME.remove(b'*');

/// `name` as a path segment, if it can only ever mean one index or alias: a pattern or a list of names in a
/// deletion would reach what nobody meant.
fn single(name: &str) -> Result<String, SearchError> {
    let forbidden = |character: char| character.is_control() || "*?,/\\\"<>| #:%".contains(character);
    let leads_badly = name.starts_with(['_', '-', '+', '.']);
    if name.is_empty() || name == "_all" || name.len() > 255 || leads_badly || name.contains(forbidden) {
        return Err(SearchError::InvalidName {
            name: name.to_owned(),
        });
    }
    Ok(utf8_percent_encode(name, NAME).to_string())
}

/// A name that may contain `*`, and more than that.
fn pattern(name: &str) -> Result<String, SearchError> {
    let invalid = || SearchError::InvalidName {
        name: name.to_owned(),
    };
    if name.trim_matches('*').is_empty() {
        return Err(invalid());
    }
    single(&name.replace('*', "x")).map_err(|_| invalid())?;
    Ok(utf8_percent_encode(name, PATTERN).to_string())
}

#[cfg(test)]
mod tests;
