//! The search engine: Elasticsearch or OpenSearch, over plain HTTP.
//!
//! **Old never replaces new.** Several processes write the same document at once: pages, a reindex, a catch-up. Each
//! sends the row's `revision` as the document's external version with `version_type=external_gte`, so the engine
//! itself refuses (409) what is older than what it has, in whatever order the requests arrive; a refusal therefore
//! means that the index is ahead, and is success. A deletion carries the row's revision too. The engine remembers it
//! for `index.gc_deletes`, which our indices set to an hour: longer than any request of ours may be under way.
//!
//! **Nothing is written where nothing should be.** Writes name the alias with `require_alias`, so a missing one is an
//! error and not an index that the engine makes up.

mod client;
mod index;

use http::{Method, StatusCode};
use serde_json::{Value, json};

use crate::{
    error::Error,
    product::Product,
    search::client::Client,
    settings::{Settings, Version},
};

pub(crate) use index::physical_name;

/// A bulk answer lists every document; more than a few reasons help nobody.
const REASONS: usize = 3;

/// The engine as one version of the shop uses it.
pub(crate) struct Search {
    client: Client,
    version: Version,
}

/// What a bulk request did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Written {
    /// Documents that are in the index now, by us or by somebody newer.
    pub(crate) indexed: i64,
    /// Documents that are not in it any more.
    pub(crate) deleted: i64,
}

/// One document as the index has it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Found {
    /// The product's id.
    pub(crate) id: i64,
    /// Equals the row's revision.
    pub(crate) version: i64,
    /// The document.
    pub(crate) source: Value,
}

impl Search {
    /// Reads `SEARCH_URL`; connects later.
    pub(crate) fn new(settings: &Settings) -> Result<Self, Error> {
        Ok(Self {
            client: Client::new(settings.search_url()?)?,
            version: settings.version,
        })
    }

    /// The indices behind an alias; none where there is no such alias.
    pub(crate) async fn indices_of(&self, alias: &str) -> Result<Vec<String>, Error> {
        let what = format!("read alias {alias}");
        match self
            .client
            .call(&what, Method::GET, &format!("/_alias/{alias}"), None)
            .await?
        {
            (StatusCode::OK, Value::Object(indices)) => {
                Ok(indices.into_iter().map(|(name, _)| name).collect())
            }
            (StatusCode::NOT_FOUND, _) => Ok(Vec::new()),
            (status, answer) => Err(refused(what, status, &answer)),
        }
    }

    /// Succeeds when the alias leads to one index and that was built by this version of the shop. Returns the index.
    pub(crate) async fn own_index(&self, alias: &str) -> Result<String, Error> {
        let what = format!("read the mapping of {alias}");
        let path = format!("/{alias}/_mapping");
        let (status, answer) = self.client.call(&what, Method::GET, &path, None).await?;
        let Value::Object(indices) = &answer else {
            return Err(refused(what, status, &answer));
        };
        if status != StatusCode::OK {
            return Err(refused(what, status, &answer));
        }
        let mut indices = indices.iter();
        let (Some((name, mapping)), None) = (indices.next(), indices.next()) else {
            let reason = "the alias does not lead to exactly one index".to_owned();
            return Err(Error::Search { what, reason });
        };
        match mapping
            .pointer("/mappings/_meta/shop_version")
            .and_then(Value::as_u64)
        {
            Some(found) if found == u64::from(self.version.number()) => Ok(name.clone()),
            found => Err(Error::WrongIndex {
                alias: alias.to_owned(),
                found: found.map_or_else(|| "none".to_owned(), |found| found.to_string()),
                wanted: self.version.number(),
            }),
        }
    }

    /// Makes an index with this version's mapping.
    pub(crate) async fn create(&self, index: &str) -> Result<(), Error> {
        let body = index::definition(self.version);
        self.expect(
            format!("create index {index}"),
            Method::PUT,
            &format!("/{index}"),
            Some(body),
        )
        .await?;
        Ok(())
    }

    /// Deletes what a reindex under this alias made and no alias leads to any more. Returns the names.
    pub(crate) async fn clean(&self, alias: &str) -> Result<Vec<String>, Error> {
        let what = format!("look for left-over indices of {alias}");
        let answer = self
            .expect(what, Method::GET, &format!("/{alias}_*/_alias"), None)
            .await?;
        let left_over = index::left_over(alias, &answer);
        for index in &left_over {
            self.expect(
                format!("delete index {index}"),
                Method::DELETE,
                &format!("/{index}"),
                None,
            )
            .await?;
        }
        Ok(left_over)
    }

    /// Points an alias to an index, in one step for all readers.
    pub(crate) async fn point(&self, alias: &str, index: &str) -> Result<(), Error> {
        let old = self.indices_of(alias).await?;
        let remove = old.iter().filter(|old| *old != index);
        let mut actions: Vec<Value> = remove
            .map(|old| json!({"remove": {"index": old, "alias": alias}}))
            .collect();
        actions.push(json!({"add": {"index": index, "alias": alias}}));
        let what = format!("point alias {alias} to {index}");
        self.expect(what, Method::POST, "/_aliases", Some(json!({"actions": actions})))
            .await?;
        Ok(())
    }

    /// Makes everything written so far visible to searches.
    pub(crate) async fn refresh(&self, name: &str) -> Result<(), Error> {
        self.expect(
            format!("refresh {name}"),
            Method::POST,
            &format!("/{name}/_refresh"),
            None,
        )
        .await?;
        Ok(())
    }

    /// Writes one product through an alias; a deleted one is removed.
    pub(crate) async fn write(&self, alias: &str, product: &Product) -> Result<(), Error> {
        let Product { id, revision, .. } = product;
        let what = format!("write product {id} to index {alias}");
        let version = format!("version={revision}&version_type=external_gte");
        let (status, answer) = if product.deleted {
            // A deletion has no fields that a strict mapping could refuse, and the engine would make up a missing
            // index for it, so the index is looked at first.
            self.own_index(alias).await?;
            let path = format!("/{alias}/_doc/{id}?{version}");
            self.client.call(&what, Method::DELETE, &path, None).await?
        } else {
            let path = format!("/{alias}/_doc/{id}?{version}&require_alias=true");
            self.client
                .call(&what, Method::PUT, &path, Some(product.document(self.version)))
                .await?
        };
        let gone = product.deleted && status == StatusCode::NOT_FOUND && answer.get("error").is_none();
        if status.is_success() || status == StatusCode::CONFLICT || gone {
            Ok(())
        } else {
            Err(refused(what, status, &answer))
        }
    }

    /// Writes many products to an index named by its own name; deleted ones are removed.
    pub(crate) async fn bulk(&self, index: &str, products: &[Product]) -> Result<Written, Error> {
        if products.is_empty() {
            return Ok(Written::default());
        }
        let what = format!("write {} documents to {index}", products.len());
        let body = index::bulk_body(products, self.version);
        let (status, answer) = self.client.bulk(&what, &format!("/{index}/_bulk"), body).await?;
        if status != StatusCode::OK {
            return Err(refused(what, status, &answer));
        }
        let failures = index::bulk_failures(&answer);
        if !failures.is_empty() {
            let shown = failures
                .iter()
                .take(REASONS)
                .cloned()
                .collect::<Vec<_>>()
                .join("; ");
            return Err(Error::Search {
                what,
                reason: format!("{} failed: {shown}", failures.len()),
            });
        }
        let deleted = products.iter().filter(|product| product.deleted).count();
        let count = |number: usize| i64::try_from(number).unwrap_or(i64::MAX);
        Ok(Written {
            indexed: count(products.len() - deleted),
            deleted: count(deleted),
        })
    }

    /// Searches by this version's own field names. On the other version's index the engine refuses to sort by a field
    /// that the mapping lacks, so a wrong pairing cannot pass for "nothing found".
    pub(crate) async fn find(&self, alias: &str, words: &str) -> Result<Value, Error> {
        let what = format!("search index {alias}");
        let body = index::query(self.version, words);
        let answer = self
            .expect(
                what.clone(),
                Method::POST,
                &format!("/{alias}/_search"),
                Some(body),
            )
            .await?;
        index::hits(self.version, &answer).map_err(|error| Error::Search {
            what,
            reason: error.to_string(),
        })
    }

    /// The documents with ids above `after` and, where given, up to `up_to`; by id, at most 10,000.
    pub(crate) async fn range(
        &self,
        name: &str,
        after: i64,
        up_to: Option<i64>,
    ) -> Result<Vec<Found>, Error> {
        let what = format!("read documents of {name}");
        let body = index::range(after, up_to);
        let answer = self
            .expect(
                what.clone(),
                Method::POST,
                &format!("/{name}/_search"),
                Some(body),
            )
            .await?;
        index::found(&answer).map_err(|error| Error::Search {
            what,
            reason: error.to_string(),
        })
    }

    async fn expect(
        &self,
        what: String,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> Result<Value, Error> {
        let (status, answer) = self.client.call(&what, method, path, body).await?;
        if status.is_success() {
            Ok(answer)
        } else {
            Err(refused(what, status, &answer))
        }
    }
}

/// The engine's reason, in its own words.
fn refused(what: String, status: StatusCode, answer: &Value) -> Error {
    let reason = answer
        .pointer("/error/root_cause/0/reason")
        .or_else(|| answer.pointer("/error/reason"))
        .or_else(|| answer.get("error"))
        .map_or_else(
            || status.to_string(),
            |reason| format!("{status}: {}", index::text(reason)),
        );
    Error::Search { what, reason }
}
