//! The search index that a new version reads, built beside the live one.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Task;
use crate::{AliasName, Duration};

/// The search index that the new version reads, built and kept caught up beside the live one.
#[derive(Clone, Debug, Deserialize, Eq, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Reindex {
    /// The search engine.
    pub search: SearchEngine,

    /// The aliases that the application reads and writes.
    #[schemars(length(min = 1, max = 32))]
    #[x_kube(merge_strategy = kube::core::ListMerge::Map(vec!["alias".into()]))]
    pub indices: Vec<Index>,

    /// Pinned: each version reads index names of its own, told by the variable `env`. Default Pinned, the only
    /// one so far.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<ReindexMode>,

    /// The environment variable that carries the generation's token, such as `g7`, into build, catch-up and
    /// the new pods. The application appends it to the names of its indices: `products_g7`. Without it the
    /// application uses the plain names. Default `SEARCH_INDEX_GENERATION`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 128), regex(pattern = "^[A-Za-z_][A-Za-z0-9_]*$"))]
    pub env: Option<String>,

    /// When a new generation is built. Default: for every revision.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rebuild: Option<Rebuild>,

    /// Builds a whole generation under the names that carry the token.
    pub build: Build,

    /// Repeats what was written since a given time, until the new generation is up to date.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub catch_up: Option<CatchUp>,

    /// How the new generation is compared with the old one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verify: Option<Verify>,

    /// How long an old generation is kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep: Option<Keep>,
}

/// Where the search engine is: Elasticsearch 7.10 or newer, or OpenSearch 1.3 or newer.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SearchEngine {
    /// Its address. A host of one label is the Service of that name in this namespace.
    #[schemars(length(min = 8, max = 512), regex(pattern = "^https?://[^/@?#]+/?$"))]
    pub url: String,
}

/// One alias that the application reads and writes.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Index {
    /// The stable name, such as `products`. A generation's name is `<alias>_<token>`.
    #[schemars(length(min = 1, max = 200), regex(pattern = "^[a-z0-9][a-z0-9._-]*$"))]
    pub alias: AliasName,

    /// The new index is refused with fewer documents. Default 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub minimum_documents: Option<i64>,
}

/// How versions and index generations are kept apart.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub enum ReindexMode {
    /// Each version reads index names of its own.
    #[default]
    Pinned,
}

/// When a new generation is built.
#[derive(Clone, Debug, Default, Deserialize, Eq, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = ("!has(self.when) || self.when != 'FingerprintChanged' || has(self.fingerprint)", "rebuild.when FingerprintChanged needs rebuild.fingerprint: a text that changes when mapping or content of the documents change"))]
pub struct Rebuild {
    /// Always: for every revision. `FingerprintChanged`: when the fingerprint differs from that of the live
    /// generation. Never: the new version reads the live generation. Default `FingerprintChanged` where there
    /// is a fingerprint, else Always.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub when: Option<RebuildWhen>,

    /// A text that changes when the mapping or the content of the documents changes. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    pub fingerprint: Option<String>,
}

/// When a new generation is built.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub enum RebuildWhen {
    /// For every revision.
    Always,
    /// When the fingerprint differs from that of the live generation.
    FingerprintChanged,
    /// Never: the new version reads the live generation.
    Never,
}

/// Builds a whole generation.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Build {
    /// What runs.
    #[serde(flatten)]
    pub task: Task,

    /// A build whose document counts stand still this long is reported as stalled. Default 30m.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stall_timeout: Option<Duration>,
}

/// Repeats what was written since `RELEASE_SINCE`, pass by pass.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CatchUp {
    /// What runs.
    #[serde(flatten)]
    pub task: Task,

    /// A pass repeats what was written this long before the last one began, because `updated_at` is set
    /// before a transaction commits. Default 10m.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub margin: Option<Duration>,

    /// The generation counts as caught up when a pass took less than this. Default 60s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_lag: Option<Duration>,

    /// The revision fails when this many passes were not enough. Default 10.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100))]
    pub max_passes: Option<i32>,
}

/// How the new generation is compared with the old one.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Verify {
    /// How far the number of documents may be below that of the old index, such as `0.1%`. Default 5%.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 2, max = 8), regex(pattern = "^[0-9]{1,2}(\\.[0-9]{1,3})?%$"))]
    pub count_tolerance: Option<String>,
}

/// How long old generations and failed candidates are kept.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Keep {
    /// At most this many, besides the live one. Default 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 10))]
    pub generations: Option<i32>,

    /// Each at most this long. Default 24h.
    #[serde(default, rename = "for", skip_serializing_if = "Option::is_none")]
    pub for_: Option<Duration>,
}
