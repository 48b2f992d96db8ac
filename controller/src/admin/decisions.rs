//! The last decisions about each Release, with what they rested on, in bounded memory.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use serde_json::{Value, json};

use crate::cache::Key;

/// Decisions that are kept of a Release whose revision is under way.
const UNDER_WAY: usize = 8;

/// Decisions that are kept of a Release at rest.
const AT_REST: usize = 2;

/// Bytes of JSON that are kept of all Releases together; the oldest decision goes first.
const BYTES: usize = 4 << 20;

/// A decision of more bytes of JSON is not kept; its size is.
const LONGEST: usize = 128 << 10;

/// The last decisions about each Release, for `/debug/releases`. As everything that is shown, they must hold no
/// secret.
#[derive(Clone, Debug, Default)]
pub struct LastDecisions(Arc<Mutex<Kept>>);

#[derive(Debug, Default)]
struct Kept {
    /// The decisions of each Release by number, the oldest first.
    releases: HashMap<Key, VecDeque<u64>>,
    /// Every decision as JSON text, by number.
    decisions: BTreeMap<u64, (Key, Box<str>)>,
    /// The number of the next one.
    next: u64,
    /// The length of all texts.
    bytes: usize,
}

impl Kept {
    fn keep(&mut self, key: &Key, text: Box<str>) {
        self.bytes += text.len();
        self.decisions.insert(self.next, (key.clone(), text));
        self.releases.entry(key.clone()).or_default().push_back(self.next);
        self.next += 1;
    }

    /// Forgets the oldest decision of a Release.
    fn forget_one(&mut self, key: &Key) {
        let Some(numbers) = self.releases.get_mut(key) else {
            return;
        };
        let oldest = numbers.pop_front();
        if numbers.is_empty() {
            self.releases.remove(key);
        }
        if let Some((_, text)) = oldest.and_then(|number| self.decisions.remove(&number)) {
            self.bytes -= text.len();
        }
    }

    fn count(&self, key: &Key) -> usize {
        self.releases.get(key).map_or(0, VecDeque::len)
    }

    fn shown(&self, number: u64) -> Option<Value> {
        let (_, text) = self.decisions.get(&number)?;
        serde_json::from_str(text).ok()
    }
}

impl LastDecisions {
    /// No decisions yet.
    pub fn new() -> Self {
        Self::default()
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps a decision as the last one about this Release; more of them while its revision is under way.
    pub fn record(&self, key: &Key, under_way: bool, decision: &Value) {
        let mut text = decision.to_string();
        if text.len() > LONGEST {
            text = json!({ "tooLong": text.len() }).to_string();
        }
        let most = if under_way { UNDER_WAY } else { AT_REST };
        let mut kept = self.lock();
        kept.keep(key, text.into());
        while kept.count(key) > most {
            kept.forget_one(key);
        }
        while kept.bytes > BYTES {
            let Some(oldest) = kept.decisions.values().next().map(|(key, _)| key.clone()) else {
                break;
            };
            kept.forget_one(&oldest);
        }
    }

    /// The Release is gone.
    pub fn forget(&self, key: &Key) {
        let mut kept = self.lock();
        while kept.count(key) > 0 {
            kept.forget_one(key);
        }
    }

    /// The decisions about a Release that are kept, the oldest first.
    pub fn of(&self, key: &Key) -> Vec<Value> {
        let kept = self.lock();
        let numbers = kept.releases.get(key).into_iter().flatten();
        numbers.filter_map(|number| kept.shown(*number)).collect()
    }

    /// The last decision about every Release, by `namespace/name`, in short.
    pub fn all(&self) -> BTreeMap<String, Value> {
        let kept = self.lock();
        let last = kept.releases.iter().filter_map(|(key, numbers)| {
            let last = kept.shown(*numbers.back()?)?;
            Some((key.to_string(), in_short(&last)))
        });
        last.collect()
    }
}

/// What a decision says and does, without what it rested on.
fn in_short(record: &Value) -> Value {
    let status = |field: &str| record.pointer(&format!("/decision/progress/{field}"));
    let effects = record.pointer("/decision/effects").and_then(Value::as_array);
    let purposes: Vec<&Value> = effects
        .into_iter()
        .flatten()
        .filter_map(|effect| effect.get("purpose"))
        .collect();
    json!({
        "at": record.get("at"),
        "phase": status("phase"),
        "waitingFor": status("waitingFor"),
        "effects": purposes,
        "broken": record.get("broken"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_release_at_rest_keeps_fewer_decisions_than_one_under_way() {
        let decisions = LastDecisions::new();
        let key = Key::new("apps", "shop");
        for number in 0..20 {
            decisions.record(&key, true, &json!(number));
        }
        let last: Vec<Value> = (12..20).map(Value::from).collect();
        assert_eq!(decisions.of(&key), last);
        decisions.record(&key, false, &json!(20));
        assert_eq!(decisions.of(&key), [json!(19), json!(20)]);
        assert_eq!(
            decisions.all(),
            BTreeMap::from([("apps/shop".to_owned(), in_short(&json!(20)))])
        );
        decisions.forget(&key);
        assert!(decisions.of(&key).is_empty());
        assert_eq!(decisions.lock().bytes, 0);
    }

    #[test]
    fn the_oldest_decisions_make_room() {
        let decisions = LastDecisions::new();
        let text = Value::from("x".repeat(LONGEST - 2));
        for number in 0..50 {
            decisions.record(&Key::new("apps", format!("shop-{number}")), true, &text);
        }
        let kept = decisions.lock();
        assert_eq!(
            (kept.bytes, kept.decisions.len(), kept.releases.len()),
            (BYTES, 32, 32)
        );
        assert!(!kept.releases.contains_key(&Key::new("apps", "shop-17")));
        assert!(kept.releases.contains_key(&Key::new("apps", "shop-18")));
    }

    #[test]
    fn a_decision_that_is_too_long_leaves_its_size() {
        let decisions = LastDecisions::new();
        let key = Key::new("apps", "shop");
        decisions.record(&key, true, &Value::from("x".repeat(LONGEST)));
        assert_eq!(decisions.of(&key), [json!({ "tooLong": LONGEST + 2 })]);
    }
}
