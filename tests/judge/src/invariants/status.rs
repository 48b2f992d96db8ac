//! Monotone: what the status says never goes backwards, and the end of a task never changes.

use std::collections::BTreeMap;

use serde_json::Value;
use slipway_kubernetes::{fields, kind::Kind, store::Change};

use super::Violation;
use crate::past::ours;

/// The most bytes that a status may have.
const LONGEST: usize = 256 << 10;

/// What was said of each Release, by UID: one that is deleted and made again is another one.
#[derive(Default)]
pub(super) struct Status(BTreeMap<String, Said>);

/// The highest and the final things that were said of one Release.
#[derive(Default)]
struct Said {
    numbers: BTreeMap<&'static str, i64>,
    outcomes: BTreeMap<String, Value>,
}

impl Status {
    /// Looks at one change.
    pub(super) fn see(&mut self, change: &Change, found: &mut Vec<Violation>) {
        let before = change.before.as_deref().unwrap_or(&Value::Null);
        let (was, is) = (&before["status"], &change.object["status"]);
        if change.key.kind != Kind::Release || was == is {
            return;
        }
        let uid = fields::uid(&change.object);
        let mut say = |what| {
            found.push(Violation {
                invariant: "monotone",
                at: change.at,
                what: format!("status of {}: {what}", change.key.name),
            });
        };
        if !ours(change) {
            // Somebody stripped or restored it: what it said before binds no longer.
            self.0.insert(uid.to_owned(), Said::by(is));
            return;
        }
        let said = self.0.entry(uid.to_owned()).or_insert_with(|| Said::by(was));
        said.take(is, &mut say);
        let size = is.to_string().len();
        if size > LONGEST {
            say(format!("it has {size} bytes"));
        }
    }
}

impl Said {
    fn by(status: &Value) -> Self {
        let mut said = Self::default();
        said.take(status, &mut |_| {});
        said
    }

    fn take(&mut self, status: &Value, say: &mut impl FnMut(String)) {
        for pointer in ["/observedGeneration", "/revision/number"] {
            let Some(now) = fields::number(status, pointer) else {
                continue;
            };
            let highest = self.numbers.entry(pointer).or_insert(now);
            if now < *highest {
                say(format!("{pointer} falls from {highest} to {now}"));
            }
            *highest = now.max(*highest);
        }
        for task in fields::list(status, "/tasks") {
            let (job, outcome) = (fields::text(task, "/job"), &task["outcome"]);
            let earlier = self.outcomes.insert(job.to_owned(), outcome.clone());
            let earlier = earlier.unwrap_or_default();
            if !earlier.is_null() && earlier != *outcome {
                say(format!(
                    "the outcome of {job} changes from {earlier} to {outcome}"
                ));
            }
        }
    }
}
