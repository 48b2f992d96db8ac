//! What can go wrong between Slipway and a search engine.

use serde_json::Value;

use super::TransportError;

/// A call to the search engine did not do what it was for. What a caller must tell apart: nothing happened
/// (every variant but one), or nobody knows ([`SearchError::OutcomeUnknown`]).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SearchError {
    /// The engine did not answer a question, or a change did not reach it. Worth another try later.
    #[error("the search engine does not answer {path}: {source}")]
    Unreachable {
        /// What was asked.
        path: String,
        /// What happened.
        #[source]
        source: TransportError,
    },
    /// A change was sent, and whether it is applied is not known: look, do not repeat.
    #[error("whether {path} was applied is not known: {why}")]
    OutcomeUnknown {
        /// What was sent.
        path: String,
        /// Why nothing is known.
        why: String,
    },
    /// The engine answered that it will not. Nothing was changed.
    #[error("the search engine refuses {path} with HTTP {status}: {reason}")]
    Refused {
        /// What was asked.
        path: String,
        /// The HTTP status.
        status: u16,
        /// The engine's own words.
        reason: String,
    },
    /// The engine answered something else than it should.
    #[error("the answer to {path} cannot be read: {why}")]
    Unreadable {
        /// What was asked.
        path: String,
        /// What is wrong with the answer.
        why: String,
    },
    /// This process does not hold the Lease: the change was not sent.
    #[error("not sent: this process does not hold the lease")]
    Fenced,
    /// The name cannot be that of one index or alias.
    #[error(
        "{name:?} cannot be the name of one index or alias: lower-case letters, digits, `-`, `_` and `.`, not first"
    )]
    InvalidName {
        /// The name.
        name: String,
    },
}

impl SearchError {
    /// Whether the same call may well succeed a little later.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::OutcomeUnknown { .. } | Self::Fenced => true,
            Self::Refused { status, .. } => matches!(status, 408 | 429 | 500..),
            Self::Unreadable { .. } | Self::InvalidName { .. } => false,
        }
    }
}

/// The longest part of an engine's own words that is shown, bytes.
const MAX_REASON: usize = 300;

/// The engine's own words about a failure, in whichever of its shapes they come, shortened.
pub(super) fn reason_of(body: &Value) -> String {
    let error = body.get("error").unwrap_or(body);
    let reason = error
        .get("reason")
        .or_else(|| error.pointer("/root_cause/0/reason"))
        .unwrap_or(error);
    let mut text = reason
        .as_str()
        .map_or_else(|| reason.to_string(), ToOwned::to_owned);
    if let Some(kind) = error.get("type").and_then(Value::as_str) {
        text = format!("{kind}: {text}");
    }
    text.truncate(text.floor_char_boundary(MAX_REASON));
    text
}
