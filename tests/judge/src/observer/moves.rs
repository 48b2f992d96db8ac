//! The controller's writes of Deployments, ReplicaSets and Services, read as moves of one window.
//!
//! A move is told from what changed, not from who meant what: the names are those of `docs/mechanism.md`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use jiff::Timestamp;
use serde_json::Value;
use slipway_crds::names::{CLAIM, POD_TEMPLATE_HASH, WINDOW};
use slipway_kubernetes::{
    fields,
    kind::Kind,
    store::{Change, Event},
};

use crate::{
    differences::{Difference, differences},
    past::{HOLD, open, ours, pin},
};

/// One write of a window.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Move {
    /// Deployment or Service: the label of the Release that it belongs to.
    Claim,
    /// Deployment or Service: that label off.
    Unclaim,
    /// Deployment: window label and pause.
    Open,
    /// Service: traffic fixed to the side that serves.
    Pin,
    /// Deployment: the new template with the fields that let both sides live.
    Hold,
    /// Deployment: paused again.
    Lock,
    /// Old `ReplicaSet`: made to look unavailable to the Deployment controller.
    Bolt,
    /// Service: traffic to the other side.
    Flip,
    /// Service: traffic back to the side that it was first fixed to.
    FlipBack,
    /// Old `ReplicaSet`: its own value back.
    Unbolt,
    /// Deployment: the user's values back, with the new template: the old side goes down.
    Retire,
    /// Deployment: the user's values back, with the old template: the new side goes down.
    Revert,
    /// Service: a pin that somebody removed, put back.
    Repin,
    /// Service: the pin off.
    Unpin,
    /// Deployment: the window label off.
    Close,
    /// Deployment: unpaused or given its template again under the hold, so that a lost side comes back.
    Repair,
    /// Deployment: new images without a window: the user's own rolling update.
    Roll,
    /// Something else; the changed fields.
    Other(String),
}

/// One write with its move.
#[derive(Clone, Debug)]
pub struct Moved {
    /// When the request came in.
    pub at: Timestamp,
    /// The object's kind.
    pub kind: Kind,
    /// Its name.
    pub name: String,
    /// What the write was.
    pub what: Move,
    /// Everything that it changed.
    pub changed: Vec<Difference>,
}

/// Reads the controller's moves, in the order in which the server made them.
pub fn moves(changes: &[Change]) -> Vec<Moved> {
    let mut moves = Vec::new();
    let mut memory = Memory::default();
    let window = changes.iter().filter(|change| {
        matches!(
            change.key.kind,
            Kind::Deployment | Kind::ReplicaSet | Kind::Service
        )
    });
    for change in window {
        if ours(change) {
            let before = change.before.as_deref().unwrap_or(&Value::Null);
            let differences = differences(before, &change.object);
            moves.push(Moved {
                at: change.at,
                kind: change.key.kind,
                name: change.key.name.clone(),
                what: memory.read(change, before, &differences),
                changed: differences,
            });
            memory.own(change, before);
        } else if change.event == Event::Added && !pin(&change.object).is_empty() {
            let side = pin(&change.object).to_owned();
            memory.pins.insert(change.key.name.clone(), (side.clone(), side));
        }
    }
    moves
}

/// What has to be known of earlier writes to read the next one.
#[derive(Default)]
struct Memory {
    /// By Service: the side of the first pin of the window, and of the last.
    pins: BTreeMap<String, (String, String)>,
    /// By Deployment: the template of our last hold.
    held: BTreeMap<String, Value>,
}

impl Memory {
    /// Our write, after it was read.
    fn own(&mut self, change: &Change, before: &Value) {
        let (name, after) = (&change.key.name, change.object.as_ref());
        match change.key.kind {
            Kind::Deployment if held(after) && !held(before) => {
                let template = after["spec"]["template"].clone();
                self.held.insert(name.clone(), template);
            }
            Kind::Service if pin(after).is_empty() => drop(self.pins.remove(name)),
            Kind::Service => {
                let side = pin(after);
                let first = self.pins.get(name).map_or(side, |(first, _)| first).to_owned();
                self.pins.insert(name.clone(), (first, side.to_owned()));
            }
            _ => {}
        }
    }

    fn read(&self, change: &Change, before: &Value, changed: &[Difference]) -> Move {
        let (after, touched) = (change.object.as_ref(), touched(changed));
        let name = &change.key.name;
        let what = match change.key.kind {
            Kind::Deployment => self.read_deployment(name, before, after, &touched),
            Kind::Service => self.read_service(name, before, after, &touched),
            _ => read_replica_set(before, after),
        };
        what.unwrap_or_else(|| Move::Other(list(changed)))
    }

    fn read_deployment(&self, name: &str, before: &Value, after: &Value, touched: &Touched) -> Option<Move> {
        let template = touched.contains("template");
        if touched.contains("window") {
            return Some(if open(after) { Move::Open } else { Move::Close });
        }
        match (held(before), held(after)) {
            (false, true) => return Some(Move::Hold),
            (true, true) if template || (touched.contains("paused") && !paused(after)) => {
                return Some(Move::Repair);
            }
            (true, false) => return Some(self.end_of_hold(name, after, template)),
            // Somebody took the hold's values off before us: the template alone tells.
            (false, false) if open(after) && template => {
                return Some(self.end_of_hold(name, after, template));
            }
            _ => {}
        }
        match () {
            () if touched.contains("paused") && paused(after) => Some(Move::Lock),
            () if touched.contains("claim") => Some(claim(after)),
            () if template => Some(Move::Roll),
            () => None,
        }
    }

    fn end_of_hold(&self, name: &str, after: &Value, template_changed: bool) -> Move {
        let ours = match self.held.get(name) {
            Some(template) => *template == after["spec"]["template"],
            None => !template_changed,
        };
        if ours { Move::Retire } else { Move::Revert }
    }

    fn read_service(&self, name: &str, before: &Value, after: &Value, touched: &Touched) -> Option<Move> {
        let side = pin(after);
        if side.is_empty() {
            let unpinned = touched.contains("pin") || touched.contains("window");
            return if unpinned {
                Some(Move::Unpin)
            } else {
                touched.contains("claim").then(|| claim(after))
            };
        }
        if !touched.contains("pin") {
            return None;
        }
        Some(match self.pins.get(name) {
            None if pin(before).is_empty() => Move::Pin,
            Some((_, last)) if last == side => Move::Repin,
            Some((first, _)) if first == side => Move::FlipBack,
            None | Some(_) => Move::Flip,
        })
    }
}

fn read_replica_set(before: &Value, after: &Value) -> Option<Move> {
    match (held(before), held(after)) {
        (false, true) => Some(Move::Bolt),
        (true, false) => Some(Move::Unbolt),
        _ => None,
    }
}

/// The parts of our vocabulary that a change touches.
type Touched = BTreeSet<&'static str>;

fn touched(changed: &[Difference]) -> Touched {
    let parts = changed
        .iter()
        .filter_map(|difference| match difference.path.keys()[..] {
            ["metadata", "labels", WINDOW] => Some("window"),
            ["metadata", "labels", CLAIM] => Some("claim"),
            ["spec", "paused"] => Some("paused"),
            ["spec", "template", ..] => Some("template"),
            ["spec", "selector", POD_TEMPLATE_HASH] => Some("pin"),
            _ => None,
        });
    parts.collect()
}

fn claim(after: &Value) -> Move {
    if fields::label(after, CLAIM).is_empty() {
        Move::Unclaim
    } else {
        Move::Claim
    }
}

/// Whether a Deployment is held, or a ReplicaSet bolted.
fn held(object: &Value) -> bool {
    object["spec"]["minReadySeconds"] == HOLD
}

fn paused(object: &Value) -> bool {
    object["spec"]["paused"] == true
}

fn list(differences: &[Difference]) -> String {
    match differences {
        [] => "nothing changed".to_owned(),
        differences => differences
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join("; "),
    }
}

/// The story as text, one line a move, with times from `origin` on.
pub fn transcript(moves: &[Moved], origin: Timestamp) -> String {
    let lines = moves.iter().map(|moved| {
        let seconds = moved.at.duration_since(origin).as_secs_f64();
        format!("{seconds:>+9.3}s  {moved}\n")
    });
    lines.collect()
}

impl fmt::Display for Moved {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let object = format!("{} {}", self.kind.traits().kind, self.name);
        if let Move::Other(changed) = &self.what {
            return write!(formatter, "{object:<32} Other     {changed}");
        }
        write!(
            formatter,
            "{object:<32} {:<9} {}",
            format!("{:?}", self.what),
            list(&self.changed)
        )
    }
}

#[cfg(test)]
mod tests;
