//! Generations of the search index.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{AliasName, GenerationToken, IndexName, IndexUuid};

/// The generations of the search index.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SearchStatus {
    /// Product and version of the engine.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub engine: Option<String>,

    /// The generation that the serving version reads.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub live: Option<Generation>,

    /// The generation that is being built, or waits for its cutover.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub candidate: Option<Candidate>,

    /// Indices that nobody needs any more, and when they are deleted.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256))]
    pub retired: Vec<RetiredIndex>,
}

/// One built set of indices.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Generation {
    /// Address of the engine that it is on; none where an older version did not record it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 512))]
    pub url: Option<String>,

    /// Its token; none for the plain names of a first adopter.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub token: Option<GenerationToken>,

    /// The fingerprint that it was built for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub fingerprint: Option<String>,

    /// Its indices.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub indices: Vec<GenerationIndex>,
}

/// One index of a generation.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct GenerationIndex {
    /// The stable alias that it stands for.
    #[schemars(length(max = 200))]
    pub alias: AliasName,
    /// Name of the index itself.
    #[schemars(length(max = 255))]
    pub index: IndexName,
    /// UUID of the index: another one of the same name is not it.
    #[schemars(length(max = 64))]
    pub uuid: IndexUuid,
    /// Documents when last counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub documents: Option<i64>,
}

/// The generation that is being built, or waits for its cutover.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Candidate {
    /// Address of the engine that it is on; none where an older version did not record it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 512))]
    pub url: Option<String>,

    /// Its token.
    #[schemars(length(max = 64))]
    pub token: GenerationToken,

    /// The fingerprint that it is built for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub fingerprint: Option<String>,

    /// Recorded before the build began: catch-up starts from here.
    pub t0: Timestamp,

    /// What each stable alias was when the build began: it must not move before the old pods are gone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub baseline: Vec<GenerationIndex>,

    /// Its indices, once the build has ended.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub indices: Vec<GenerationIndex>,

    /// Its documents while it is built; a build whose count stands still is stalled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub counted: Option<Counted>,

    /// When it was compared with the old generation and found complete.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verified_at: Option<Timestamp>,
}

/// How many documents a build has written so far.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Counted {
    /// Documents in all its indices.
    pub documents: i64,
    /// When that number was first seen.
    pub at: Timestamp,
    /// True once it was told that the number stands still.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub stalled: bool,
}

/// An index that nobody needs any more.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RetiredIndex {
    /// Address of the engine that it is on; none where an older version did not record it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 512))]
    pub url: Option<String>,
    /// The stable alias that it stood for.
    #[schemars(length(max = 200))]
    pub alias: AliasName,
    /// The token of its generation; none for the plain names of a first adopter.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub token: Option<GenerationToken>,
    /// Name of the index.
    #[schemars(length(max = 255))]
    pub index: IndexName,
    /// UUID of the index.
    #[schemars(length(max = 64))]
    pub uuid: IndexUuid,
    /// It is deleted after this time, when no alias but its own holds it.
    pub delete_after: Timestamp,
}
