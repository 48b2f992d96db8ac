//! What a story is made of.

use serde_json::{Value, json};
use slipway_kubernetes::kind::Kind;

use super::seen::Seen;

/// One story. Objects are told apart by their label `version` (ReplicaSets and pods of a Deployment) or by name.
#[derive(Clone, Debug)]
pub struct Story {
    /// Its name, fit for a namespace.
    pub name: &'static str,
    /// What is done, in order.
    pub(super) steps: Vec<Step>,
}

/// Something that happens to the process of a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// It stops answering, and does not end.
    Stop,
    /// It answers again.
    Continue,
    /// It is killed.
    Kill,
}

/// One thing that a person does, or waits for.
#[derive(Clone, Debug)]
pub(super) enum Step {
    /// Creates an object.
    Create(Value),
    /// Creates an object that belongs to another one of the same kind.
    CreateFor(&'static str, Value),
    /// Changes an object by a merge patch.
    Patch(Kind, &'static str, Value),
    /// Deletes an object.
    Delete(Kind, &'static str, Propagation),
    /// Does something to all objects of a kind with a label, or to the first of them.
    Each(Kind, Label, Action),
    /// The same to one of them.
    One(Kind, Label, Action),
    /// Points Service `web` to the pods of one version, or to all.
    Pin(Option<&'static str>),
    /// `kubectl rollout undo` of Deployment `web`.
    Undo,
    /// Waits until something holds and nothing moves any more, and writes down what there is.
    Rest(&'static str, Holds),
    /// Waits until something holds.
    Until(&'static str, Holds),
}

/// A label's key and value.
pub(super) type Label = (&'static str, &'static str);

/// Something that can be seen.
pub(super) type Holds = fn(&Seen) -> bool;

/// What is done to an object.
#[derive(Clone, Debug)]
pub(super) enum Action {
    Patch(Value),
    Delete(Propagation),
    Evict,
    Signal(Signal),
}

/// What becomes of dependents.
#[derive(Clone, Copy, Debug)]
pub(super) enum Propagation {
    Background,
    Foreground,
    Orphan,
}

impl Propagation {
    pub(super) fn options(self) -> Value {
        json!({"propagationPolicy": format!("{self:?}")})
    }
}
