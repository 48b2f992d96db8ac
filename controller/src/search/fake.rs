//! A search engine in memory, with the parts that matter here: one namespace of names, atomic alias changes,
//! identities, and answers that get lost.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::{Arc, Mutex, MutexGuard},
};

use futures::{FutureExt as _, future::BoxFuture};
use serde_json::{Map, Value, json};

use super::{Answer, Ask, Transport, TransportError};

#[derive(Clone, Default)]
pub(super) struct FakeIndex {
    pub(super) uuid: String,
    pub(super) documents: u64,
    pub(super) blocks: Vec<&'static str>,
    pub(super) closed: bool,
    pub(super) failed_shards: u64,
    pub(super) max_seq_no: i64,
    pub(super) global_checkpoint: i64,
}

/// What happens to the next change.
pub(super) enum Fault {
    /// It never arrives.
    NotSent,
    /// It arrives and is applied; the answer is lost.
    AppliedAndLost,
    /// It is answered so, and not applied.
    Answers(u16, Value),
    /// It is applied, and answered so.
    AppliedAndAnswers(Value),
    /// Somebody else is a moment faster.
    After(Box<dyn FnOnce(&mut State) + Send>),
}

#[derive(Default)]
pub(super) struct State {
    pub(super) number: &'static str,
    pub(super) open_search: bool,
    pub(super) must_exist: bool,
    pub(super) indices: BTreeMap<String, FakeIndex>,
    pub(super) aliases: BTreeMap<String, BTreeSet<String>>,
    pub(super) faults: VecDeque<Fault>,
    pub(super) asks: Vec<String>,
}

#[derive(Clone)]
pub(super) struct FakeEngine(Arc<Mutex<State>>);

impl FakeEngine {
    pub(super) fn open_search() -> Self {
        Self::of("2.19.1", true, true)
    }

    pub(super) fn elasticsearch_7_10() -> Self {
        Self::of("7.10.2", false, false)
    }

    fn of(number: &'static str, open_search: bool, must_exist: bool) -> Self {
        Self(Arc::new(Mutex::new(State {
            number,
            open_search,
            must_exist,
            ..State::default()
        })))
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    pub(super) fn index(&self, name: &str, uuid: &str, documents: u64) {
        let index = FakeIndex {
            uuid: uuid.into(),
            documents,
            ..FakeIndex::default()
        };
        self.state().indices.insert(name.into(), index);
    }

    pub(super) fn alias(&self, alias: &str, indices: &[&str]) {
        self.state()
            .aliases
            .insert(alias.into(), indices.iter().map(ToString::to_string).collect());
    }

    pub(super) fn fail_next(&self, fault: Fault) {
        self.state().faults.push_back(fault);
    }

    /// Changes that arrived.
    pub(super) fn changes(&self) -> Vec<String> {
        let state = self.state();
        state
            .asks
            .iter()
            .filter(|ask| !ask.starts_with("GET") && !ask.contains("_refresh"))
            .cloned()
            .collect()
    }
}

impl Transport for FakeEngine {
    fn send(&self, ask: Ask) -> BoxFuture<'_, Result<Answer, TransportError>> {
        let mut state = self.state();
        let change = ask.method != "GET" && !ask.path.ends_with("_refresh");
        let fault = if change { state.faults.pop_front() } else { None };
        let result = match fault {
            Some(Fault::NotSent) => Err(TransportError::NotSent("connection refused".into())),
            Some(Fault::Answers(status, body)) => Ok(Answer { status, body }),
            Some(Fault::AppliedAndLost) => {
                state.answer(&ask);
                Err(TransportError::Lost("timed out".into()))
            }
            Some(Fault::AppliedAndAnswers(body)) => {
                let answer = state.answer(&ask);
                Ok(Answer { body, ..answer })
            }
            Some(Fault::After(other)) => {
                other(&mut state);
                Ok(state.answer(&ask))
            }
            None => Ok(state.answer(&ask)),
        };
        drop(state);
        std::future::ready(result).boxed()
    }
}

fn ok(body: Value) -> Answer {
    Answer { status: 200, body }
}

fn missing(what: &str) -> Answer {
    Answer {
        status: 404,
        body: json!({"error": {"type": "index_not_found_exception", "reason": what}, "status": 404}),
    }
}

fn matches(pattern: &str, name: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == name,
        Some((head, tail)) => name.starts_with(head) && name[head.len()..].ends_with(tail),
    }
}

impl State {
    fn answer(&mut self, ask: &Ask) -> Answer {
        self.asks.push(format!("{} {}", ask.method, ask.path));
        let path = ask.path.split('?').next().unwrap_or_default();
        let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
        match (ask.method.as_str(), &parts[..]) {
            ("GET", [""]) => self.root(),
            ("GET", ["_alias", names]) => self.by_alias(names),
            ("GET", [index, "_alias"]) => self.on_index(index),
            ("GET", [name, "_settings"]) => self.settings(name),
            ("GET", [name, "_count"]) => self.count(name),
            ("GET", [name, "_stats", "docs"]) => self.stats(name),
            ("GET", ["_cluster", "health", name]) if self.targets(name).is_empty() => Answer {
                status: 408,
                body: json!({"status": "red", "timed_out": true}),
            },
            ("GET", ["_cluster", "health", _]) => ok(json!({"status": "yellow"})),
            ("POST", [_, "_refresh"]) => ok(json!({"_shards": {"total": 2, "successful": 1, "failed": 0}})),
            ("POST", ["_aliases"]) => self.change(ask.body.as_ref().unwrap()),
            ("DELETE", [name]) => self.delete(name),
            other => panic!("the fake engine does not know {other:?}"),
        }
    }

    fn delete(&mut self, name: &str) -> Answer {
        if self.indices.remove(name).is_none() {
            return missing(name);
        }
        for indices in self.aliases.values_mut() {
            indices.remove(name);
        }
        ok(json!({"acknowledged": true}))
    }

    /// The indices that a name, a pattern or an alias reaches.
    fn targets(&self, name: &str) -> Vec<String> {
        let by_alias = self.aliases.get(name).into_iter().flatten().cloned();
        by_alias
            .chain(self.indices.keys().filter(|index| matches(name, index)).cloned())
            .collect()
    }

    fn root(&self) -> Answer {
        let tagline = if self.open_search {
            "The OpenSearch Project"
        } else {
            "You Know, for Search"
        };
        ok(json!({"version": {"number": self.number}, "tagline": tagline, "cluster_uuid": "cluster"}))
    }

    fn by_alias(&self, names: &str) -> Answer {
        let mut body = Map::new();
        let mut status = 200;
        for name in names.split(',') {
            let found: Vec<_> = self
                .aliases
                .iter()
                .filter(|(alias, on)| matches(name, alias) && !on.is_empty())
                .collect();
            if found.is_empty() && !name.contains('*') {
                status = 404;
                body.insert("error".into(), json!(format!("alias [{name}] missing")));
                body.insert("status".into(), json!(404));
            }
            for (alias, indices) in found {
                for index in indices {
                    body.entry(index).or_insert_with(|| json!({"aliases": {}}))["aliases"][alias] = json!({});
                }
            }
        }
        Answer {
            status,
            body: Value::Object(body),
        }
    }

    fn on_index(&self, index: &str) -> Answer {
        if !self.indices.contains_key(index) {
            return missing(index);
        }
        let on = self.aliases.iter().filter(|(_, indices)| indices.contains(index));
        let aliases: Map<_, _> = on.map(|(alias, _)| (alias.clone(), json!({}))).collect();
        ok(json!({index: {"aliases": aliases}}))
    }

    fn settings(&self, name: &str) -> Answer {
        let targets = self.targets(name);
        if targets.is_empty() && !name.contains('*') {
            return missing(name);
        }
        let body: Map<_, _> = targets
            .iter()
            .map(|target| {
                let index = &self.indices[target];
                let mut settings = json!({"index.uuid": index.uuid, "index.creation_date": "1767225600000"});
                for block in &index.blocks {
                    settings[format!("index.blocks.{block}")] = json!("true");
                }
                if index.closed {
                    settings["index.verified_before_close"] = json!("true");
                }
                (target.clone(), json!({"settings": settings}))
            })
            .collect();
        ok(Value::Object(body))
    }

    fn count(&self, name: &str) -> Answer {
        let targets = self.targets(name);
        if targets.is_empty() {
            return missing(name);
        }
        let count: u64 = targets.iter().map(|target| self.indices[target].documents).sum();
        let failed: u64 = targets
            .iter()
            .map(|target| self.indices[target].failed_shards)
            .sum();
        ok(json!({"count": count, "_shards": {"total": 5, "successful": 5 - failed, "failed": 0}}))
    }

    fn stats(&self, name: &str) -> Answer {
        let targets = self.targets(name);
        if targets.is_empty() && !name.contains('*') {
            return missing(name);
        }
        let indices: Map<_, _> = targets
            .iter()
            .map(|target| {
                let index = &self.indices[target];
                let copy = |primary: bool| {
                    json!({"routing": {"primary": primary}, "seq_no": {
                        "max_seq_no": if primary { index.max_seq_no } else { -1 },
                        "local_checkpoint": index.max_seq_no, "global_checkpoint": index.global_checkpoint,
                    }})
                };
                let stats = json!({
                    "uuid": index.uuid, "primaries": {"docs": {"count": index.documents}},
                    "shards": {"0": [copy(false), copy(true)]},
                });
                (target.clone(), stats)
            })
            .collect();
        ok(json!({"_shards": {"total": 2, "successful": 2, "failed": 0}, "indices": indices}))
    }

    /// All actions or none, as the engines do; a missing alias without `must_exist` is passed over in silence.
    fn change(&mut self, body: &Value) -> Answer {
        let mut after = self.aliases.clone();
        for action in body["actions"].as_array().unwrap() {
            let (kind, of) = action.as_object().unwrap().iter().next().unwrap();
            let (index, alias) = (of["index"].as_str().unwrap(), of["alias"].as_str().unwrap());
            if !self.indices.contains_key(index) {
                return missing(index);
            }
            if of.get("must_exist").is_some() && !self.must_exist {
                let error = json!({"error": {"type": "x_content_parse_exception", "reason": "unknown field [must_exist]"}});
                return Answer {
                    status: 400,
                    body: error,
                };
            }
            let on = after.entry(alias.to_owned()).or_default();
            match kind.as_str() {
                "add" => _ = on.insert(index.to_owned()),
                "remove" if on.remove(index) => {}
                "remove" if of.get("must_exist") == Some(&json!(true)) => {
                    let error =
                        json!({"error": {"type": "aliases_not_found_exception", "reason": "missing"}});
                    return Answer {
                        status: 404,
                        body: error,
                    };
                }
                "remove" => {}
                other => panic!("{other}"),
            }
        }
        self.aliases = after;
        ok(json!({"acknowledged": true}))
    }
}
