//! Admission: rules about a write beyond the object's own validity.

use serde_json::{Value, json};

use super::{Caller, Key};
use crate::{fields, kind::Kind, refusal::Refusal};

/// What a write does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Creates the object.
    Create,
    /// Changes it.
    Update,
    /// Deletes it.
    Delete,
}

/// A write that waits for admission.
#[derive(Clone, Copy, Debug)]
pub struct Review<'a> {
    /// Who asks.
    pub caller: &'a Caller,
    /// What for.
    pub operation: Operation,
    /// On which object.
    pub key: &'a Key,
    /// The object before; null for a creation.
    pub old: &'a Value,
    /// The object after; null for a deletion.
    pub new: &'a Value,
    /// Whether only the status is written.
    pub status: bool,
}

/// A plugin that lets a write pass or refuses it.
pub type Admission = Box<dyn Fn(&Review<'_>) -> Result<(), Refusal> + Send>;

/// The window guard of the chart as it was tried on a real cluster: while an object carries the label
/// `slipway.dev/window: open`, nobody but `controller` and the cluster's own controllers may change what
/// holds the window together.
pub fn window_guard(controller: impl Fn(&str) -> bool + Send + 'static) -> Admission {
    const WINDOW: &str = "slipway.dev/window";
    Box::new(move |review| {
        let actor = review.caller.actor.as_ref();
        let open = fields::label(review.old, WINDOW) == "open";
        let guarded = matches!(review.key.kind, Kind::Deployment | Kind::Service) && !review.status;
        if !open || !guarded || controller(actor) {
            return Ok(());
        }
        let refuse = |why: &str| Err(Refusal::forbidden(review.key.kind, &review.key.name, why));
        if review.operation == Operation::Delete {
            let collector = matches!(actor, "garbage-collector" | "namespace-controller");
            return if collector {
                Ok(())
            } else {
                refuse("a release is in progress; abort it first")
            };
        }
        let label = |key: &str| fields::label(review.old, key) == fields::label(review.new, key);
        let same = |pointer: &str, absent: Value| {
            let value = |object: &Value| object.pointer(pointer).cloned().unwrap_or_else(|| absent.clone());
            value(review.old) == value(review.new)
        };
        let kept = match review.key.kind {
            Kind::Service => same("/spec/selector", json!({})),
            _ => {
                same("/spec/template", Value::Null)
                    && same("/spec/strategy", Value::Null)
                    && same("/spec/minReadySeconds", json!(0))
                    && same("/spec/progressDeadlineSeconds", json!(600))
                    && same("/spec/paused", json!(false))
            }
        };
        if kept && label(WINDOW) && label("slipway.dev/claim") {
            Ok(())
        } else {
            refuse("a release is in progress; abort it first")
        }
    })
}
