//! Which engine it is, and what it can do.

use http::Method;
use serde_json::Value;

use super::{SearchClient, SearchError, read::readable};

/// The product.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flavour {
    /// Elasticsearch.
    Elasticsearch,
    /// OpenSearch.
    OpenSearch,
}

/// Major and minor number of an engine's version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    /// Such as 2 in 2.19.1.
    pub major: u32,
    /// Such as 19 in 2.19.1.
    pub minor: u32,
}

/// What the engine says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Root {
    /// The product.
    pub flavour: Flavour,
    /// Its version. OpenSearch 1 and 2 can be told to pretend that they are 7.10; then this is 7.10.
    pub version: Version,
    /// The identity of the cluster.
    pub cluster_uuid: String,
}

impl std::fmt::Display for Root {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let product = match self.flavour {
            Flavour::Elasticsearch => "Elasticsearch",
            Flavour::OpenSearch => "OpenSearch",
        };
        write!(
            formatter,
            "{product} {}.{}",
            self.version.major, self.version.minor
        )
    }
}

impl Root {
    /// Whether Slipway is made for this engine: Elasticsearch ≥ 7.10 and OpenSearch ≥ 1.3.
    pub fn supported(&self) -> bool {
        match self.flavour {
            Flavour::Elasticsearch => self.version >= Version { major: 7, minor: 10 },
            Flavour::OpenSearch => self.version >= Version { major: 1, minor: 3 },
        }
    }

    /// Whether the engine refuses a whole alias change when the alias to remove is not there (`must_exist`):
    /// Elasticsearch ≥ 7.11 and OpenSearch ≥ 2.12. An OpenSearch that pretends to be 7.10 is not asked for it.
    pub fn must_exist(&self) -> bool {
        match self.flavour {
            Flavour::Elasticsearch => self.version >= Version { major: 7, minor: 11 },
            Flavour::OpenSearch => {
                self.version >= Version { major: 2, minor: 12 }
                    && self.version != Version { major: 7, minor: 10 }
            }
        }
    }

    /// Reads the answer to `GET /`.
    fn of(body: &Value) -> Option<Self> {
        let text = |pointer| body.pointer(pointer).and_then(Value::as_str);
        let open = text("/version/distribution") == Some("opensearch")
            || text("/tagline").is_some_and(|tagline| tagline.contains("OpenSearch"));
        let mut numbers = text("/version/number")?.split(['.', '-']);
        Some(Self {
            flavour: if open {
                Flavour::OpenSearch
            } else {
                Flavour::Elasticsearch
            },
            version: Version {
                major: numbers.next()?.parse().ok()?,
                minor: numbers.next()?.parse().ok()?,
            },
            cluster_uuid: text("/cluster_uuid")?.to_owned(),
        })
    }
}

impl SearchClient {
    /// Which engine answers.
    pub async fn root(&self) -> Result<Root, SearchError> {
        let answer = self.read(Method::GET, "/".to_owned(), None).await?;
        let body = readable("/", &answer)?;
        Root::of(body).ok_or_else(|| SearchError::Unreadable {
            path: "/".to_owned(),
            why: "it is neither Elasticsearch nor OpenSearch".to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn products_and_what_they_can() {
        let elastic = "You Know, for Search";
        let open = "The OpenSearch Project: https://opensearch.org/";
        let cases = [
            ("6.8.23", None, elastic, Flavour::Elasticsearch, false, false),
            ("7.10.2", None, elastic, Flavour::Elasticsearch, true, false),
            ("7.11.0", None, elastic, Flavour::Elasticsearch, true, true),
            (
                "9.1.0-SNAPSHOT",
                None,
                elastic,
                Flavour::Elasticsearch,
                true,
                true,
            ),
            (
                "1.2.4",
                Some("opensearch"),
                open,
                Flavour::OpenSearch,
                false,
                false,
            ),
            (
                "1.3.20",
                Some("opensearch"),
                open,
                Flavour::OpenSearch,
                true,
                false,
            ),
            (
                "2.11.1",
                Some("opensearch"),
                open,
                Flavour::OpenSearch,
                true,
                false,
            ),
            (
                "2.19.1",
                Some("opensearch"),
                open,
                Flavour::OpenSearch,
                true,
                true,
            ),
            ("3.0.0", Some("opensearch"), open, Flavour::OpenSearch, true, true),
            ("7.10.2", None, open, Flavour::OpenSearch, true, false),
        ];
        for (number, distribution, tagline, flavour, supported, must_exist) in cases {
            let body = json!({
                "version": {"number": number, "distribution": distribution}, "tagline": tagline,
                "cluster_uuid": "u",
            });
            let root = Root::of(&body).unwrap();
            assert_eq!(root.flavour, flavour, "{number}");
            assert_eq!(
                (root.supported(), root.must_exist()),
                (supported, must_exist),
                "{number} {tagline}"
            );
        }
        assert_eq!(Root::of(&json!({"hello": "world"})), None);
    }
}
