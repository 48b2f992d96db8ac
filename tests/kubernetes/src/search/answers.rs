//! The engine's HTTP interface.

use serde_json::{Map, Value, json};

use super::{SearchEngine, matches};

fn index_missing(name: &str) -> (u16, Value) {
    let error = json!({"type": "index_not_found_exception", "reason": format!("no such index [{name}]"), "index": name});
    (404, json!({"error": error, "status": 404}))
}

fn refused(status: u16, kind: &str, reason: &str) -> (u16, Value) {
    (
        status,
        json!({"error": {"type": kind, "reason": reason}, "status": status}),
    )
}

impl SearchEngine {
    /// Answers a request: the status and the body.
    pub fn handle(&mut self, method: &str, path: &str, body: Option<&Value>) -> (u16, Value) {
        let path = path.split('?').next().unwrap_or_default();
        let parts: Vec<_> = path.trim_matches('/').split('/').collect();
        match (method, parts.as_slice()) {
            ("GET", [""]) => (200, self.root()),
            ("GET", ["_alias", names]) => self.aliases_named(names),
            ("GET", ["_cluster", "health"]) => (200, json!({"status": self.worst("*"), "timed_out": false})),
            ("GET", ["_cluster", "health", name]) if self.targets(name).is_empty() => {
                (408, json!({"status": "red", "timed_out": true}))
            }
            ("GET", ["_cluster", "health", name]) => {
                (200, json!({"status": self.worst(name), "timed_out": false}))
            }
            ("POST", ["_aliases"]) => self.change_aliases(body.unwrap_or(&Value::Null)),
            ("GET", [index, "_alias"]) => self.aliases_on(index),
            ("GET", [name, "_settings"]) => self.settings(name),
            ("GET", [name, "_count"]) => self.count(name),
            ("GET", [name, "_stats", ..]) => self.stats(name),
            ("POST", [name, "_refresh"]) => {
                if self.targets(name).is_empty() {
                    return index_missing(name);
                }
                self.refresh(name);
                (
                    200,
                    json!({"_shards": {"total": 2, "successful": 2, "failed": 0}}),
                )
            }
            ("PUT", [name, "_block", block]) => self.block(name, block),
            ("PUT", [name]) => {
                if self.create(name) {
                    (
                        200,
                        json!({"acknowledged": true, "shards_acknowledged": true, "index": name}),
                    )
                } else {
                    refused(
                        400,
                        "resource_already_exists_exception",
                        &format!("[{name}] already exists"),
                    )
                }
            }
            ("DELETE", [name]) => {
                if self.delete(name) {
                    (200, json!({"acknowledged": true}))
                } else {
                    index_missing(name)
                }
            }
            _ => refused(
                400,
                "illegal_argument_exception",
                &format!("the model has no {method} {path}"),
            ),
        }
    }

    fn root(&self) -> Value {
        let mut version = json!({"number": self.version});
        if self.open_search {
            version["distribution"] = json!("opensearch");
        }
        let tagline = if self.open_search {
            "The OpenSearch Project: https://opensearch.org/"
        } else {
            "You Know, for Search"
        };
        json!({"name": "node", "cluster_name": "simulated", "cluster_uuid": "simulated", "version": version, "tagline": tagline})
    }

    fn worst(&self, name: &str) -> &'static str {
        let rank = |health: &&str| {
            ["green", "yellow", "red"]
                .iter()
                .position(|known| known == health)
        };
        let found = self
            .targets(name)
            .into_iter()
            .map(|target| self.indices[&target].health);
        found.max_by_key(rank).unwrap_or("green")
    }

    fn aliases_named(&self, names: &str) -> (u16, Value) {
        let mut body = Map::new();
        let mut missing = Vec::new();
        for name in names.split(',') {
            let found: Vec<_> = self
                .aliases
                .iter()
                .filter(|(alias, _)| matches(name, alias))
                .collect();
            if found.is_empty() && !name.contains('*') {
                missing.push(name);
            }
            for (alias, index) in found
                .into_iter()
                .flat_map(|(alias, on)| on.iter().map(move |index| (alias, index)))
            {
                body.entry(index.clone())
                    .or_insert_with(|| json!({"aliases": {}}))["aliases"][alias] = json!({});
            }
        }
        if missing.is_empty() {
            return (200, Value::Object(body));
        }
        let word = if missing.len() == 1 { "alias" } else { "aliases" };
        body.insert(
            "error".to_owned(),
            json!(format!("{word} [{}] missing", missing.join(","))),
        );
        body.insert("status".to_owned(), json!(404));
        (404, Value::Object(body))
    }

    fn aliases_on(&self, name: &str) -> (u16, Value) {
        let targets = self.targets(name);
        if targets.is_empty() {
            return index_missing(name);
        }
        let body = targets.into_iter().map(|index| {
            let on = self.aliases.iter().filter(|(_, on)| on.contains(&index));
            let aliases: Map<_, _> = on.map(|(alias, _)| (alias.clone(), json!({}))).collect();
            (index, json!({"aliases": aliases}))
        });
        (200, Value::Object(body.collect()))
    }

    fn settings(&self, name: &str) -> (u16, Value) {
        let targets = self.targets(name);
        if targets.is_empty() && !name.contains('*') {
            return index_missing(name);
        }
        let body = targets.into_iter().map(|target| {
            let index = &self.indices[&target];
            let mut settings = json!({
                "index.uuid": index.uuid,
                "index.provided_name": target,
                "index.creation_date": index.created.as_millisecond().to_string(),
            });
            for block in &index.blocks {
                settings[format!("index.blocks.{block}")] = json!("true");
            }
            (target, json!({"settings": settings}))
        });
        (200, Value::Object(body.collect()))
    }

    fn count(&self, name: &str) -> (u16, Value) {
        let targets = self.targets(name);
        if targets.is_empty() {
            return index_missing(name);
        }
        let count: u64 = targets.iter().map(|target| self.indices[target].visible).sum();
        let shards = targets.len();
        (
            200,
            json!({"count": count, "_shards": {"total": shards, "successful": shards, "skipped": 0, "failed": 0}}),
        )
    }

    fn stats(&self, name: &str) -> (u16, Value) {
        let targets = self.targets(name);
        if targets.is_empty() && !name.contains('*') {
            return index_missing(name);
        }
        let body = targets.into_iter().map(|target| {
            let index = &self.indices[&target];
            let docs = json!({"docs": {"count": index.visible, "deleted": 0}});
            let shard = json!({
                "routing": {"state": "STARTED", "primary": true},
                "docs": docs["docs"],
                "seq_no": {
                    "max_seq_no": index.max_seq_no,
                    "local_checkpoint": index.max_seq_no,
                    "global_checkpoint": index.max_seq_no,
                },
            });
            let stats = json!({"uuid": index.uuid, "health": index.health, "primaries": docs, "total": docs, "shards": {"0": [shard]}});
            (target, stats)
        });
        let indices: Map<_, _> = body.collect();
        (
            200,
            json!({"_shards": {"total": 2, "successful": 2, "failed": 0}, "indices": indices}),
        )
    }

    fn block(&mut self, name: &str, block: &str) -> (u16, Value) {
        let targets = self.targets(name);
        if targets.is_empty() {
            return index_missing(name);
        }
        for target in targets {
            let index = self.indices.get_mut(&target).expect("a target exists");
            index.blocks.insert(block.to_owned());
        }
        (200, json!({"acknowledged": true, "shards_acknowledged": true}))
    }

    /// All actions or none. A removal of what is not there is passed over, unless `must_exist` says otherwise.
    fn change_aliases(&mut self, body: &Value) -> (u16, Value) {
        let mut after = self.aliases.clone();
        let mut doomed = Vec::new();
        let actions = body["actions"].as_array().cloned().unwrap_or_default();
        for action in &actions {
            let Some((what, of)) = action.as_object().and_then(|action| action.iter().next()) else {
                return refused(
                    400,
                    "x_content_parse_exception",
                    "an action is a map with one key",
                );
            };
            let text = |name: &str| of[name].as_str().unwrap_or_default().to_owned();
            let (index, alias) = (text("index"), text("alias"));
            let conditional = of.get("must_exist").is_some();
            if conditional && (!self.must_exist() || what == "remove_index") {
                return refused(
                    400,
                    "x_content_parse_exception",
                    "[aliases] unknown field [must_exist]",
                );
            }
            if !self.indices.contains_key(&index) {
                return index_missing(&index);
            }
            match what.as_str() {
                "add" if self.indices.contains_key(&alias) => {
                    let reason = format!("an index exists with the same name as the alias [{alias}]");
                    return refused(400, "invalid_alias_name_exception", &reason);
                }
                "add" => _ = after.entry(alias).or_default().insert(index),
                "remove" => {
                    let removed = after.get_mut(&alias).is_some_and(|on| on.remove(&index));
                    if !removed && of["must_exist"] == json!(true) {
                        let reason = format!("aliases [{alias}] missing");
                        return refused(404, "aliases_not_found_exception", &reason);
                    }
                }
                "remove_index" => doomed.push(index),
                _ => {
                    return refused(
                        400,
                        "illegal_argument_exception",
                        &format!("unknown action {what}"),
                    );
                }
            }
        }
        for (alias, on) in after {
            self.set_alias(&alias, &on.iter().map(String::as_str).collect::<Vec<_>>());
        }
        for index in doomed {
            self.delete(&index);
        }
        (200, json!({"acknowledged": true, "errors": false}))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::clock::Clock;

    fn engine() -> SearchEngine {
        let mut engine = SearchEngine::new(Clock::new(|| Duration::ZERO));
        engine.searchkick_reindex("products", 100);
        engine.create("products_g2");
        engine
    }

    fn flip(from: &str, to: &str, must_exist: bool) -> Value {
        let mut remove = json!({"index": from, "alias": "products"});
        if must_exist {
            remove["must_exist"] = json!(true);
        }
        json!({"actions": [{"remove": remove}, {"add": {"index": to, "alias": "products"}}]})
    }

    #[test]
    fn a_conditional_flip_is_a_compare_and_set_where_the_engine_has_it() {
        let mut engine = engine();
        let live = engine.targets("products").remove(0);
        let wrong = flip("products_g2", "products_g2", true);
        let (status, body) = engine.handle("POST", "/_aliases", Some(&wrong));
        assert_eq!(
            (status, &body["error"]["type"]),
            (404, &json!("aliases_not_found_exception"))
        );
        assert_eq!(
            engine.targets("products"),
            std::slice::from_ref(&live),
            "nothing was changed"
        );
        let right = flip(&live, "products_g2", true);
        assert_eq!(engine.handle("POST", "/_aliases", Some(&right)).0, 200);
        assert_eq!(engine.targets("products"), ["products_g2"]);
        engine.open_search = false;
        engine.version = "7.10.2".to_owned();
        let (status, body) = engine.handle("POST", "/_aliases", Some(&flip("products_g2", &live, true)));
        assert_eq!(
            (status, &body["error"]["type"]),
            (400, &json!("x_content_parse_exception"))
        );
        assert_eq!(
            engine
                .handle("POST", "/_aliases", Some(&flip("products_g2", &live, false)))
                .0,
            200
        );
    }

    #[test]
    fn counts_wait_for_a_refresh_and_sequence_numbers_do_not() {
        let mut engine = engine();
        engine.write("products_g2", 7);
        assert_eq!(engine.handle("GET", "/products_g2/_count", None).1["count"], 0);
        let (_, stats) = engine.handle("GET", "/products_g2/_stats/docs?level=shards", None);
        assert_eq!(
            stats["indices"]["products_g2"]["shards"]["0"][0]["seq_no"]["max_seq_no"],
            6
        );
        engine.handle("POST", "/products_g2/_refresh", None);
        assert_eq!(engine.handle("GET", "/products_g2/_count", None).1["count"], 7);
        assert_eq!(engine.handle("GET", "/none/_count", None).0, 404);
    }

    #[test]
    fn lost_answers_leave_the_deed_in_doubt() {
        let mut engine = engine();
        engine.fates.push_back(Some(SearchFault::Lost { applied: true }));
        assert_eq!(
            engine.exchange("DELETE", "/products_g2", None),
            Err(super::super::Unanswered::Lost)
        );
        assert!(!engine.indices.contains_key("products_g2"));
    }

    use super::super::SearchFault;
}
