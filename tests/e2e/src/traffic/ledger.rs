//! What the application promised to keep: every write it acknowledged.

use std::collections::{BTreeMap, BTreeSet};

use super::mix::Write;

/// Acknowledged writes by document. A write without an answer may or may not have happened; until then
/// and afterwards both contents pass.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ledger {
    documents: BTreeMap<String, Promise>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Promise {
    acknowledged: Option<String>,
    /// Contents of writes whose fate is unknown, or whose order with another is.
    possible: BTreeSet<String>,
    in_flight: u32,
    overlapped: bool,
}

/// How a write ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// The application said yes.
    Acknowledged,
    /// It said no (an answer of 400 to 499): it did not happen.
    Refused,
    /// It said nothing, or that it broke.
    Unknown,
}

impl Ledger {
    /// A write leaves.
    pub(super) fn begin(&mut self, write: &Write) {
        let promise = self.documents.entry(write.id.clone()).or_default();
        promise.in_flight += 1;
        promise.overlapped |= promise.in_flight > 1;
    }

    /// It ended.
    pub(super) fn end(&mut self, write: &Write, fate: Fate) {
        let promise = self.documents.entry(write.id.clone()).or_default();
        match fate {
            Fate::Acknowledged => {
                let before = promise.acknowledged.replace(write.content.clone());
                if promise.overlapped {
                    promise.possible.extend(before);
                }
            }
            Fate::Refused => {}
            Fate::Unknown => {
                promise.possible.insert(write.content.clone());
            }
        }
        promise.in_flight = promise.in_flight.saturating_sub(1);
        promise.overlapped &= promise.in_flight > 0;
    }

    /// Documents with at least one acknowledged write: id and the content that was acknowledged last.
    pub fn acknowledged(&self) -> impl Iterator<Item = (&str, &str)> {
        let promises = self.documents.iter();
        promises.filter_map(|(id, promise)| Some((id.as_str(), promise.acknowledged.as_deref()?)))
    }

    /// Compares with what a store says now (`None`: it has no such document). Each entry of the result is
    /// one document that is missing or stale; none means that every promise was kept.
    pub fn broken_promises(&self, actual: impl Fn(&str) -> Option<String>) -> Vec<String> {
        let mut broken = Vec::new();
        for (id, promise) in &self.documents {
            let Some(expected) = &promise.acknowledged else {
                continue;
            };
            match actual(id) {
                None => broken.push(format!("{id} is missing; acknowledged: {expected}")),
                Some(found) if found != *expected && !promise.possible.contains(&found) => {
                    broken.push(format!("{id} is stale: {found}; acknowledged: {expected}"));
                }
                Some(_) => {}
            }
        }
        broken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(content: &str) -> Write {
        Write {
            id: "7".into(),
            content: content.into(),
        }
    }

    fn after(steps: &[(&str, Fate)]) -> Ledger {
        let mut ledger = Ledger::default();
        for (content, fate) in steps {
            ledger.begin(&write(content));
            ledger.end(&write(content), *fate);
        }
        ledger
    }

    #[test]
    fn the_last_acknowledged_write_counts() {
        let ledger = after(&[
            ("a", Fate::Acknowledged),
            ("b", Fate::Acknowledged),
            ("c", Fate::Refused),
        ]);
        assert_eq!(ledger.acknowledged().collect::<Vec<_>>(), [("7", "b")]);
        assert!(ledger.broken_promises(|_| Some("b".into())).is_empty());
        assert_eq!(
            ledger.broken_promises(|_| Some("a".into())),
            ["7 is stale: a; acknowledged: b"]
        );
        assert_eq!(
            ledger.broken_promises(|_| None),
            ["7 is missing; acknowledged: b"]
        );
    }

    #[test]
    fn a_write_of_unknown_fate_may_have_happened() {
        let ledger = after(&[("a", Fate::Acknowledged), ("b", Fate::Unknown)]);
        assert!(ledger.broken_promises(|_| Some("a".into())).is_empty());
        assert!(ledger.broken_promises(|_| Some("b".into())).is_empty());
        assert_eq!(ledger.broken_promises(|_| Some("c".into())).len(), 1);
    }

    #[test]
    fn two_writes_at_once_may_land_in_either_order() {
        let mut ledger = Ledger::default();
        for content in ["a", "b"] {
            ledger.begin(&write(content));
        }
        for content in ["a", "b"] {
            ledger.end(&write(content), Fate::Acknowledged);
        }
        assert!(ledger.broken_promises(|_| Some("a".into())).is_empty());
        assert!(ledger.broken_promises(|_| Some("b".into())).is_empty());
    }
}
