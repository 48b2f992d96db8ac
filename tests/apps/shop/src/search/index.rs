//! What goes over the wire: names, mappings, queries and answers. No I/O.

use std::fmt::Write;

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{product::Product, search::Found, settings::Version};

/// Year to milliseconds.
const STAMP_DIGITS: usize = 17;

/// `<alias>_<yyyyMMddHHmmssSSS>` in UTC, as searchkick names its indices.
pub(crate) fn physical_name(alias: &str, now: Timestamp) -> String {
    format!("{alias}_{}", now.strftime("%Y%m%d%H%M%S%3f"))
}

/// Settings and mapping of an index. `strict` refuses documents with other fields than these, and `_meta` says whose
/// index it is.
pub(super) fn definition(version: Version) -> Value {
    let name = json!({"type": "text", "fields": {"sort": {"type": "keyword", "ignore_above": 256}}});
    let mut properties = json!({
        "id": {"type": "long"},
        "description": {"type": "text"},
        "price_cents": {"type": "long"},
        name_field(version): name,
    });
    if version >= Version::Two
        && let Some(properties) = properties.as_object_mut()
    {
        properties.insert("brand".to_owned(), json!({"type": "keyword"}));
    }
    json!({
        // One node needs no replicas, and with none the index is green there.
        "settings": {"number_of_shards": 1, "number_of_replicas": 0, "index.gc_deletes": "1h"},
        "mappings": {
            "dynamic": "strict",
            "_meta": {"shop_version": version.number()},
            "properties": properties,
        },
    })
}

/// Version 2 renamed the field.
fn name_field(version: Version) -> &'static str {
    match version {
        Version::One => "name",
        Version::Two => "title",
    }
}

/// The body of `_bulk`.
pub(super) fn bulk_body(products: &[Product], version: Version) -> String {
    let mut body = String::new();
    for product in products {
        let target = json!({"_id": product.id.to_string(), "version": product.revision, "version_type": "external_gte"});
        // Writing to a String cannot fail.
        if product.deleted {
            writeln!(body, "{}", json!({"delete": target})).ok();
        } else {
            writeln!(
                body,
                "{}\n{}",
                json!({"index": target}),
                product.document(version)
            )
            .ok();
        }
    }
    body
}

/// The reasons of what failed. A version conflict is none (the index has something newer), nor is a deletion of what
/// is not there.
pub(super) fn bulk_failures(answer: &Value) -> Vec<String> {
    let Some(items) = answer.get("items").and_then(Value::as_array) else {
        return vec!["the answer has no items".to_owned()];
    };
    let outcomes = items
        .iter()
        .filter_map(Value::as_object)
        .flat_map(|item| item.values());
    let failed = outcomes.filter(|outcome| {
        outcome.get("error").is_some() && outcome.get("status").and_then(Value::as_u64) != Some(409)
    });
    failed
        .map(|outcome| {
            outcome
                .pointer("/error/reason")
                .map_or_else(|| outcome.to_string(), text)
        })
        .collect()
}

/// A search for words, best match first. An empty search finds everything.
pub(super) fn query(version: Version, words: &str) -> Value {
    let name = name_field(version);
    let query = if words.is_empty() {
        json!({"match_all": {}})
    } else {
        json!({"multi_match": {"query": words, "fields": [format!("{name}^2"), "description"]}})
    };
    json!({"query": query, "size": 10, "sort": ["_score", {format!("{name}.sort"): "asc"}]})
}

#[derive(Deserialize)]
struct Answer<T> {
    hits: Hits<T>,
}

#[derive(Deserialize)]
struct Hits<T> {
    #[serde(default)]
    total: Value,
    hits: Vec<T>,
}

#[derive(Deserialize)]
struct Hit {
    #[serde(rename = "_id")]
    id: String,
    #[serde(rename = "_version", default)]
    version: i64,
    #[serde(rename = "_source")]
    source: Value,
}

/// What a search page shows. A hit without this version's fields is an error.
pub(super) fn hits(version: Version, answer: &Value) -> Result<Value, serde_json::Error> {
    let Answer { hits } = Answer::<Hit>::deserialize(answer)?;
    let field = name_field(version);
    let shown = hits.hits.iter().map(|hit| {
        let name = hit.source.get(field).and_then(Value::as_str);
        let missing = || serde::de::Error::custom(format!("document {} has no field {field}", hit.id));
        let name = name.ok_or_else(missing)?;
        Ok(json!({"id": hit.source.get("id"), "name": name, "price_cents": hit.source.get("price_cents")}))
    });
    let shown = shown.collect::<Result<Vec<_>, serde_json::Error>>()?;
    Ok(json!({"total": hits.total.get("value"), "hits": shown}))
}

/// A query for whole documents by id.
pub(super) fn range(after: i64, up_to: Option<i64>) -> Value {
    let mut bounds = json!({"gt": after});
    if let (Some(up_to), Some(bounds)) = (up_to, bounds.as_object_mut()) {
        bounds.insert("lte".to_owned(), json!(up_to));
    }
    json!({"query": {"range": {"id": bounds}}, "sort": [{"id": "asc"}], "size": 10_000, "version": true})
}

/// The documents of an answer to [`range`].
pub(super) fn found(answer: &Value) -> Result<Vec<Found>, serde_json::Error> {
    let Answer { hits } = Answer::<Hit>::deserialize(answer)?;
    hits.hits
        .into_iter()
        .map(|hit| {
            let id = hit
                .id
                .parse()
                .map_err(|_| serde::de::Error::custom(format!("id {} is no number", hit.id)))?;
            Ok(Found {
                id,
                version: hit.version,
                source: hit.source,
            })
        })
        .collect()
}

/// The indices in the answer of `<alias>_*/_alias` that a reindex under this very alias made and no alias leads to.
pub(super) fn left_over(alias: &str, answer: &Value) -> Vec<String> {
    let made_here = |name: &str| {
        name.strip_prefix(alias)
            .and_then(|rest| rest.strip_prefix('_'))
            .is_some_and(|stamp| {
                stamp.len() == STAMP_DIGITS && stamp.bytes().all(|byte| byte.is_ascii_digit())
            })
    };
    let unused = |entry: &Value| {
        entry
            .get("aliases")
            .and_then(Value::as_object)
            .is_some_and(serde_json::Map::is_empty)
    };
    let indices = answer.as_object().into_iter().flatten();
    indices
        .filter(|(name, entry)| made_here(name) && unused(entry))
        .map(|(name, _)| name.clone())
        .collect()
}

/// A JSON text without its quotes.
pub(super) fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn product(id: i64, deleted: bool) -> Product {
        Product {
            id,
            name: "Lamp".to_owned(),
            description: String::new(),
            price_cents: 5,
            brand: None,
            revision: 4,
            deleted,
        }
    }

    #[test]
    fn an_index_is_named_by_its_alias_and_the_time() {
        let now = "2026-11-21T10:41:07.0305Z".parse().unwrap();
        assert_eq!(physical_name("products_g7", now), "products_g7_20261121104107030");
    }

    #[test]
    fn a_mapping_says_whose_it_is_and_refuses_other_fields() {
        let one = definition(Version::One);
        let two = definition(Version::Two);
        assert_eq!(one["mappings"]["dynamic"], "strict");
        assert_eq!(one["mappings"]["_meta"]["shop_version"], 1);
        assert_eq!(two["mappings"]["_meta"]["shop_version"], 2);
        let fields = |definition: &Value| {
            definition["mappings"]["properties"]
                .as_object()
                .unwrap()
                .keys()
                .cloned()
                .collect::<Vec<_>>()
        };
        assert_eq!(fields(&one), ["description", "id", "name", "price_cents"]);
        assert_eq!(
            fields(&two),
            ["brand", "description", "id", "price_cents", "title"]
        );
    }

    #[test]
    fn every_field_of_a_document_is_in_the_mapping() {
        for version in [Version::One, Version::Two] {
            let definition = definition(version);
            let document = product(1, false).document(version);
            for field in document.as_object().unwrap().keys() {
                assert!(
                    definition["mappings"]["properties"].get(field).is_some(),
                    "{field}"
                );
            }
        }
    }

    #[test]
    fn a_bulk_body_carries_each_rows_revision() {
        let body = bulk_body(&[product(1, false), product(2, true)], Version::One);
        let lines = body.lines().collect::<Vec<_>>();
        assert_eq!(lines.len(), 3);
        let first: Value = serde_json::from_str(lines[0]).unwrap();
        assert_eq!(
            first,
            json!({"index": {"_id": "1", "version": 4, "version_type": "external_gte"}})
        );
        let last: Value = serde_json::from_str(lines[2]).unwrap();
        assert_eq!(
            last,
            json!({"delete": {"_id": "2", "version": 4, "version_type": "external_gte"}})
        );
    }

    #[test]
    fn a_conflict_and_a_missing_document_are_no_failures() {
        let answer = json!({"errors": true, "items": [
            {"index": {"status": 201}},
            {"index": {"status": 409, "error": {"type": "version_conflict_engine_exception", "reason": "newer"}}},
            {"delete": {"status": 404, "result": "not_found"}},
            {"index": {"status": 400, "error": {"reason": "strict_dynamic_mapping"}}},
        ]});
        assert_eq!(bulk_failures(&answer), ["strict_dynamic_mapping"]);
        assert_eq!(bulk_failures(&json!({})), ["the answer has no items"]);
    }

    #[test]
    fn a_hit_without_our_field_is_an_error() {
        let answer = json!({"hits": {"total": {"value": 1}, "hits": [
            {"_id": "7", "_source": {"id": 7, "name": "Lamp", "price_cents": 5}},
        ]}});
        let shown = hits(Version::One, &answer).unwrap();
        assert_eq!(
            shown,
            json!({"total": 1, "hits": [{"id": 7, "name": "Lamp", "price_cents": 5}]})
        );
        assert_eq!(
            hits(Version::Two, &answer).unwrap_err().to_string(),
            "document 7 has no field title"
        );
    }

    #[test]
    fn only_unused_indices_of_the_same_alias_are_left_over() {
        let answer = json!({
            "products_20261121104107030": {"aliases": {}},
            "products_20261121104107031": {"aliases": {"products": {}}},
            "products_g7": {"aliases": {}},
            "products_g7_20261121104107030": {"aliases": {}},
        });
        assert_eq!(left_over("products", &answer), ["products_20261121104107030"]);
        assert_eq!(
            left_over("products_g7", &answer),
            ["products_g7_20261121104107030"]
        );
    }
}
