//! Writes whose caller died before the answer. The log says of them what the caller would have been told, 504, and
//! no more, though the server may have carried them out.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};
use slipway_kubernetes::store::Key;

use super::audit::{AuditEvent, resource_version};
use super::reader::{Baseline, changes, key};

/// What the log says of a request whose caller went away.
const GATEWAY_TIMEOUT: u16 = 504;

/// The states of each object that are known, by resource version.
type Known = BTreeMap<Key, BTreeMap<u64, Arc<Value>>>;

/// Gives patches without an answer the object that they made, where a later write shows that they were carried out:
/// it is based on a version that no other write has made.
pub(super) fn answer(baseline: &Baseline, events: &mut [Arc<AuditEvent>]) {
    let mut lost: Vec<usize> = (0..events.len()).filter(|at| is_lost(&events[*at])).collect();
    // What was seen is read again and again while something is waited for, and hardly ever is a write lost.
    if lost.is_empty() {
        return;
    }
    let mut known = known(baseline, events);
    lost.sort_by_key(|at| based_on(&events[*at]));
    for at in lost {
        let event = &events[at];
        let (Some(base), Some(key)) = (based_on(event), key(event)) else {
            continue;
        };
        let states = known.entry(key).or_default();
        let (Some(before), Some(version)) = (states.get(&base), next_unknown(events, event, states, base))
        else {
            continue;
        };
        let mut object = before.as_ref().clone();
        json_patch::merge(&mut object, &event.request_object);
        object["metadata"]["resourceVersion"] = json!(version.to_string());
        let object = Arc::new(object);
        states.insert(version, Arc::clone(&object));
        let mut answered = AuditEvent::clone(event);
        (answered.response_status.code, answered.response_object) = (200, object);
        events[at] = Arc::new(answered);
    }
}

/// The version that a write is conditional on.
fn based_on(event: &AuditEvent) -> Option<u64> {
    resource_version(&event.request_object)
}

fn is_lost(event: &AuditEvent) -> bool {
    event.verb == "patch"
        && event.response_status.code == GATEWAY_TIMEOUT
        && event.object_ref.subresource.is_empty()
}

fn known(baseline: &Baseline, events: &[Arc<AuditEvent>]) -> Known {
    let mut known = Known::new();
    let events: Vec<_> = events.iter().map(Arc::as_ref).collect();
    for change in changes(baseline, &events, "") {
        known
            .entry(change.key)
            .or_default()
            .insert(change.version, change.object);
    }
    known
}

/// The first version after `base` that a later write of the same object rests on, and that nobody is known to have made.
fn next_unknown(
    events: &[Arc<AuditEvent>],
    lost: &AuditEvent,
    states: &BTreeMap<u64, Arc<Value>>,
    base: u64,
) -> Option<u64> {
    let same = events
        .iter()
        .filter(|event| event.is_write() && key(event) == key(lost));
    same.filter_map(|event| based_on(event))
        .filter(|version| *version > base && !states.contains_key(version))
        .min()
}

#[cfg(test)]
mod tests {
    use super::super::audit::tests::{CONTROLLER, event};
    use super::*;

    fn service(version: &str, side: &str) -> Value {
        json!({"metadata": {"name": "web", "resourceVersion": version}, "spec": {"selector": {"app": "web", "side": side}}})
    }

    fn patch(millisecond: i64, version: &str, side: &str, code: u16, answer: Value) -> Arc<AuditEvent> {
        let body = json!({"metadata": {"resourceVersion": version}, "spec": {"selector": {"side": side}}});
        let write = event(
            millisecond,
            CONTROLLER,
            "patch",
            ("services", "web"),
            code,
            (body, answer),
        );
        Arc::new(write)
    }

    /// A pin, a flip whose caller dies, and what comes after it.
    fn answered(after: Option<Arc<AuditEvent>>) -> Vec<Arc<AuditEvent>> {
        let mut baseline = Baseline::default();
        baseline.add("shop", "services", &json!({"items": [service("5", "none")]}));
        let pin = patch(1, "5", "old", 200, service("7", "old"));
        let flip = patch(2, "7", "new", 504, Value::Null);
        let mut events = [pin, flip].into_iter().chain(after).collect::<Vec<_>>();
        answer(&baseline, &mut events);
        events
    }

    #[test]
    fn a_write_that_a_later_one_rests_on_was_carried_out() {
        let events = answered(Some(patch(3, "9", "none", 200, service("12", "none"))));
        assert!(events[1].succeeded());
        assert_eq!(*events[1].response_object, service("9", "new"));
    }

    #[test]
    fn a_write_that_was_made_again_was_not() {
        let events = answered(Some(patch(3, "7", "new", 200, service("9", "new"))));
        assert!(!events[1].succeeded());
    }

    #[test]
    fn of_the_last_write_nothing_is_known() {
        assert!(!answered(None)[1].succeeded());
    }
}
