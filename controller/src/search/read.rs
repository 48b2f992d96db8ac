//! Questions: what stands where, how much is in it, how well it is.

use std::collections::{BTreeMap, BTreeSet};

use http::Method;
use jiff::Timestamp;
use serde_json::{Map, Value};

use super::{
    Answer, Health, IndexFacts, Resolved, SearchClient, SearchError, ShardMark, Watermark, error::reason_of,
    pattern, single,
};

impl SearchClient {
    /// For each alias that matches one of `names` (patterns with `*` allowed) the indices it is on. A name that is
    /// no alias is missing in the answer.
    pub async fn aliases(&self, names: &[&str]) -> Result<BTreeMap<String, BTreeSet<String>>, SearchError> {
        if names.is_empty() {
            return Ok(BTreeMap::new());
        }
        let names = names
            .iter()
            .map(|name| pattern(name))
            .collect::<Result<Vec<_>, _>>()?;
        let path = format!("/_alias/{}", names.join(","));
        let answer = self.read(Method::GET, path.clone(), None).await?;
        // A 404 says that some of the names are no aliases, and still lists the others.
        let body = if answer.status == 404 {
            object(&path, &answer.body)?
        } else {
            readable_map(&path, &answer)?
        };
        let mut found: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for (index, aliases) in body {
            for alias in aliases
                .get("aliases")
                .and_then(Value::as_object)
                .into_iter()
                .flat_map(Map::keys)
            {
                found.entry(alias.clone()).or_default().insert(index.clone());
            }
        }
        Ok(found)
    }

    /// The aliases that are on this index; `None`: there is no such index.
    pub async fn aliases_on(&self, index: &str) -> Result<Option<BTreeSet<String>>, SearchError> {
        let path = format!("/{}/_alias", single(index)?);
        let answer = self.read(Method::GET, path.clone(), None).await?;
        if answer.status == 404 {
            return Ok(None);
        }
        let body = readable_map(&path, &answer)?;
        let aliases = body
            .values()
            .filter_map(|entry| entry.get("aliases")?.as_object());
        Ok(Some(aliases.flat_map(Map::keys).cloned().collect()))
    }

    /// What `name` stands for.
    pub async fn resolve(&self, name: &str) -> Result<Resolved, SearchError> {
        let path = format!("/{}/_settings?flat_settings=true", single(name)?);
        let answer = self.read(Method::GET, path.clone(), None).await?;
        if answer.status == 404 {
            return Ok(Resolved::Absent);
        }
        let mut found = all_facts(&path, readable_map(&path, &answer)?)?;
        if let Some(at) = found.iter().position(|index| index.name == name) {
            return Ok(Resolved::Index(found.swap_remove(at)));
        }
        Ok(if found.is_empty() {
            Resolved::Absent
        } else {
            Resolved::Alias(found)
        })
    }

    /// All indices whose name matches `pattern` (with `*`).
    pub async fn indices(&self, name_pattern: &str) -> Result<Vec<IndexFacts>, SearchError> {
        let path = format!("/{}/_settings?flat_settings=true", pattern(name_pattern)?);
        let answer = self.read(Method::GET, path.clone(), None).await?;
        if answer.status == 404 {
            return Ok(Vec::new());
        }
        all_facts(&path, readable_map(&path, &answer)?)
    }

    /// How many documents each index that `name_pattern` matches shows now, by index. Cheap, and good for progress
    /// alone: what was written since the last refresh is not in it, and nested documents count one by one.
    pub async fn documents_shown(&self, name_pattern: &str) -> Result<BTreeMap<String, u64>, SearchError> {
        let path = format!("/{}/_stats/docs", pattern(name_pattern)?);
        let answer = self.read(Method::GET, path.clone(), None).await?;
        if answer.status == 404 {
            return Ok(BTreeMap::new());
        }
        let body = readable_map(&path, &answer)?;
        let indices = body
            .get("indices")
            .and_then(Value::as_object)
            .into_iter()
            .flatten();
        Ok(indices
            .filter_map(|(name, stats)| {
                Some((name.clone(), stats.pointer("/primaries/docs/count")?.as_u64()?))
            })
            .collect())
    }

    /// Makes everything written to `index` (or what an alias is on) visible to searches and counts.
    pub async fn refresh(&self, index: &str) -> Result<(), SearchError> {
        let path = format!("/{}/_refresh", single(index)?);
        let answer = self.read(Method::POST, path.clone(), None).await?;
        all_shards(&path, readable(&path, &answer)?)
    }

    /// How many documents are in `index` (or behind an alias). Exact as of the last [`Self::refresh`].
    pub async fn count(&self, index: &str) -> Result<u64, SearchError> {
        let path = format!("/{}/_count", single(index)?);
        let answer = self.read(Method::GET, path.clone(), None).await?;
        let body = readable(&path, &answer)?;
        all_shards(&path, body)?;
        let shards = |name: &str| body.get("_shards")?.get(name)?.as_u64();
        if shards("successful") != shards("total") {
            return Err(unreadable(&path, "some shards could not be counted"));
        }
        body.get("count")
            .and_then(Value::as_u64)
            .ok_or_else(|| unreadable(&path, "it has no count"))
    }

    /// How well the engine holds `index`. Without such an index: [`Health::Red`].
    pub async fn health(&self, index: &str) -> Result<Health, SearchError> {
        // An index that does not exist is waited for by the engine: not longer than this.
        let path = format!("/_cluster/health/{}?timeout=1s", single(index)?);
        let answer = self.read(Method::GET, path.clone(), None).await?;
        let body = if answer.status == 408 {
            &answer.body
        } else {
            readable(&path, &answer)?
        };
        match body.get("status").and_then(Value::as_str) {
            Some("green") => Ok(Health::Green),
            Some("yellow") => Ok(Health::Yellow),
            Some("red") => Ok(Health::Red),
            Some(_) | None => Err(unreadable(&path, "it has no status")),
        }
    }

    /// How far the primary shards of `index` have come; `None`: there is no such index.
    pub async fn watermark(&self, index: &str) -> Result<Option<Watermark>, SearchError> {
        let path = format!("/{}/_stats/docs?level=shards", single(index)?);
        let answer = self.read(Method::GET, path.clone(), None).await?;
        if answer.status == 404 {
            return Ok(None);
        }
        let body = readable(&path, &answer)?;
        all_shards(&path, body)?;
        let stats = body.pointer("/indices").and_then(|indices| indices.get(index));
        let stats = stats.ok_or_else(|| unreadable(&path, "it does not speak of that index"))?;
        watermark_of(stats)
            .map(Some)
            .ok_or_else(|| unreadable(&path, "it has no sequence numbers"))
    }
}

fn watermark_of(stats: &Value) -> Option<Watermark> {
    let mut shards = BTreeMap::new();
    for (number, copies) in stats.get("shards")?.as_object()? {
        let primary = copies
            .as_array()?
            .iter()
            .find(|copy| copy.pointer("/routing/primary").and_then(Value::as_bool) == Some(true))?;
        let number_at = |name: &str| primary.get("seq_no")?.get(name)?.as_i64();
        let mark = ShardMark {
            max_seq_no: number_at("max_seq_no")?,
            global_checkpoint: number_at("global_checkpoint")?,
        };
        shards.insert(number.parse().ok()?, mark);
    }
    let uuid = stats.get("uuid")?.as_str()?.to_owned();
    (!shards.is_empty()).then_some(Watermark { uuid, shards })
}

/// The facts of each index in an answer to `_settings`.
fn all_facts(path: &str, body: &Map<String, Value>) -> Result<Vec<IndexFacts>, SearchError> {
    body.iter()
        .map(|(name, entry)| {
            facts(name, entry)
                .ok_or_else(|| unreadable(path, &format!("the settings of {name} have no uuid")))
        })
        .collect()
}

fn facts(name: &str, entry: &Value) -> Option<IndexFacts> {
    let settings = entry.get("settings")?;
    let text = |key: &str| settings.get(key).and_then(Value::as_str);
    let set = |key: &str| text(key) == Some("true");
    Some(IndexFacts {
        name: name.to_owned(),
        uuid: text("index.uuid")?.to_owned(),
        created: Timestamp::from_millisecond(text("index.creation_date")?.parse().ok()?).ok()?,
        open: !set("index.verified_before_close"),
        write_blocked: ["write", "read_only", "read_only_allow_delete"]
            .iter()
            .any(|block| set(&format!("index.blocks.{block}"))),
    })
}

/// The body of an answer that must be a success.
pub(super) fn readable<'a>(path: &str, answer: &'a Answer) -> Result<&'a Value, SearchError> {
    match answer.status {
        200..=299 => Ok(&answer.body),
        status => Err(SearchError::Refused {
            path: path.to_owned(),
            status,
            reason: reason_of(&answer.body),
        }),
    }
}

fn readable_map<'a>(path: &str, answer: &'a Answer) -> Result<&'a Map<String, Value>, SearchError> {
    object(path, readable(path, answer)?)
}

fn object<'a>(path: &str, body: &'a Value) -> Result<&'a Map<String, Value>, SearchError> {
    body.as_object()
        .ok_or_else(|| unreadable(path, "it is no JSON object"))
}

fn unreadable(path: &str, why: &str) -> SearchError {
    SearchError::Unreadable {
        path: path.to_owned(),
        why: why.to_owned(),
    }
}

/// A number that leaves out a shard is no number.
fn all_shards(path: &str, body: &Value) -> Result<(), SearchError> {
    match body.pointer("/_shards/failed").and_then(Value::as_u64) {
        Some(0) => Ok(()),
        Some(failed) => Err(unreadable(path, &format!("{failed} shards did not answer"))),
        None => Err(unreadable(path, "it does not say how many shards answered")),
    }
}
