//! What the status says never goes backwards.

use serde_json::Value;
use slipway_kubernetes::{
    fields,
    kind::Kind,
    store::{Change, Event},
};

use super::Violation;
use crate::past::ours;

/// The most bytes that a status may have.
const LONGEST: usize = 256 << 10;

/// Looks at one change.
pub(super) fn see(change: &Change, found: &mut Vec<Violation>) {
    if change.key.kind != Kind::Release || change.event != Event::Modified || !ours(change) {
        return;
    }
    let before = change.before.as_deref().unwrap_or(&Value::Null);
    let after = change.object.as_ref();
    let mut say = |what: String| {
        found.push(Violation {
            invariant: "monotone",
            at: change.at,
            what,
        });
    };
    for pointer in ["/status/observedGeneration", "/status/revision/number"] {
        let (was, is) = (fields::number(before, pointer), fields::number(after, pointer));
        if let (Some(was), Some(is)) = (was, is)
            && is < was
        {
            say(format!("{pointer} falls from {was} to {is}"));
        }
    }
    let size = after["status"].to_string().len();
    if size > LONGEST {
        say(format!("the status has {size} bytes"));
    }
}
