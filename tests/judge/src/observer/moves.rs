//! The controller's writes of Deployments, ReplicaSets and Services, read as moves of one window.
//!
//! A move is told from what changed, not from who meant what: the names are those of `docs/mechanism.md`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use jiff::Timestamp;
use serde_json::Value;
use slipway_crds::names::{CLAIM, POD_TEMPLATE_HASH, WINDOW, WINDOW_OPEN};

use super::audit::AuditEvent;
use super::difference::{Difference, Path};
use super::objects::{Baseline, Change, changes};

/// `minReadySeconds` of a hold and of a bolt: written out here once more, because an observer that took
/// it from the controller would not notice a wrong one.
const HOLD: i64 = 2_147_483_646;

/// Plurals of the objects that a window touches.
const RESOURCES: [&str; 3] = ["deployments", "replicasets", "services"];

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
    /// Plural of the object's kind.
    pub resource: String,
    /// Its name.
    pub name: String,
    /// What the write was.
    pub what: Move,
    /// Everything that it changed.
    pub changed: Vec<Difference>,
}

/// The moves, and what is wrong with them.
#[derive(Clone, Debug, Default)]
pub struct Moves {
    /// In the order in which the server made them.
    pub moves: Vec<Moved>,
    /// Writes of fields that are not ours, or without a resourceVersion.
    pub violations: Vec<String>,
}

/// Reads the moves of `controller`. `variables` are the environment variables that it may set in a pod
/// template.
pub fn moves(baseline: &Baseline, requests: &[&AuditEvent], controller: &str, variables: &[String]) -> Moves {
    let mut result = Moves::default();
    let mut memory = Memory::of(baseline);
    for change in changes(baseline, requests, &RESOURCES) {
        if change.event.username() != controller {
            memory.foreign(&change);
            continue;
        }
        let moved = Moved {
            at: change.event.received_at,
            resource: change.event.object_ref.resource.clone(),
            name: change.event.name().to_owned(),
            what: memory.read(&change),
            changed: change.differences.clone(),
        };
        let place = format!("{:?} of {} {}", moved.what, moved.resource, moved.name);
        if change.event.verb == "patch" && !has_resource_version(&change.event.request_object) {
            result
                .violations
                .push(format!("{place} was sent without a resourceVersion"));
        }
        for difference in foreign_fields(&change, &memory, variables) {
            result
                .violations
                .push(format!("{place} changed a field that is not ours: {difference}"));
        }
        memory.own(&change);
        result.moves.push(moved);
    }
    result
}

/// What has to be known of earlier writes to read the next one.
#[derive(Default)]
struct Memory {
    /// By Service: the side of the first pin of the window, and of the last.
    pins: BTreeMap<String, (String, String)>,
    /// By Deployment: the template of our last hold.
    held: BTreeMap<String, Value>,
    /// By Deployment: templates that were the user's or ours, and may be written again in full.
    templates: BTreeMap<String, Vec<Value>>,
}

impl Memory {
    fn of(baseline: &Baseline) -> Self {
        let mut memory = Self::default();
        for ((resource, name), object) in &baseline.0 {
            match resource.as_str() {
                "deployments" => memory.know_template(name, object),
                "services" => {
                    if let Some(side) = pin(object) {
                        memory
                            .pins
                            .insert(name.clone(), (side.to_owned(), side.to_owned()));
                    }
                }
                _ => {}
            }
        }
        memory
    }

    fn know_template(&mut self, deployment: &str, object: &Value) {
        let known = self.templates.entry(deployment.to_owned()).or_default();
        let template = &object["spec"]["template"];
        if !known.contains(template) {
            known.push(template.clone());
        }
    }

    /// Somebody else's write: outside of a window the template is the user's to choose.
    fn foreign(&mut self, change: &Change<'_>) {
        if change.event.object_ref.resource == "deployments" && !in_window(change.after()) {
            self.know_template(change.event.name(), change.after());
        }
    }

    /// Our write, after it was read.
    fn own(&mut self, change: &Change<'_>) {
        let (name, after) = (change.event.name(), change.after());
        match change.event.object_ref.resource.as_str() {
            "deployments" => {
                self.know_template(name, after);
                if held(after) && !change.before.is_some_and(held) {
                    self.held
                        .insert(name.to_owned(), after["spec"]["template"].clone());
                }
            }
            "services" => match pin(after) {
                Some(side) => {
                    let first = self.pins.get(name).map_or(side, |(first, _)| first).to_owned();
                    self.pins.insert(name.to_owned(), (first, side.to_owned()));
                }
                None => drop(self.pins.remove(name)),
            },
            _ => {}
        }
    }

    fn read(&self, change: &Change<'_>) -> Move {
        let move_ = match change.event.object_ref.resource.as_str() {
            "deployments" => self.read_deployment(change),
            "services" => self.read_service(change),
            _ => read_replica_set(change),
        };
        move_.unwrap_or_else(|| Move::Other(list(&change.differences)))
    }

    fn read_deployment(&self, change: &Change<'_>) -> Option<Move> {
        let (before, after) = (change.before.unwrap_or(&Value::Null), change.after());
        let touched = touched(change);
        let template = touched.contains("template");
        if touched.contains("window") {
            return Some(if in_window(after) { Move::Open } else { Move::Close });
        }
        match (held(before), held(after)) {
            (false, true) => return Some(Move::Hold),
            (true, true) if template || (touched.contains("paused") && !paused(after)) => {
                return Some(Move::Repair);
            }
            (true, false) => return Some(self.end_of_hold(change, template)),
            // Somebody took the hold's values off before us: the template alone tells.
            (false, false) if in_window(after) && template => {
                return Some(self.end_of_hold(change, template));
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

    fn end_of_hold(&self, change: &Change<'_>, template_changed: bool) -> Move {
        let ours = match self.held.get(change.event.name()) {
            Some(template) => *template == change.after()["spec"]["template"],
            None => !template_changed,
        };
        if ours { Move::Retire } else { Move::Revert }
    }

    fn read_service(&self, change: &Change<'_>) -> Option<Move> {
        let (after, touched) = (change.after(), touched(change));
        let Some(side) = pin(after) else {
            let unpinned = touched.contains("pin") || touched.contains("window");
            return if unpinned {
                Some(Move::Unpin)
            } else {
                touched.contains("claim").then(|| claim(after))
            };
        };
        if !touched.contains("pin") {
            return None;
        }
        Some(match self.pins.get(change.event.name()) {
            None => match change.before.and_then(pin) {
                None => Move::Pin,
                Some(_) => Move::Flip,
            },
            Some((_, last)) if last == side => Move::Repin,
            Some((first, _)) if first == side => Move::FlipBack,
            Some(_) => Move::Flip,
        })
    }
}

fn read_replica_set(change: &Change<'_>) -> Option<Move> {
    match (change.before.is_some_and(held), held(change.after())) {
        (false, true) => Some(Move::Bolt),
        (true, false) => Some(Move::Unbolt),
        _ => None,
    }
}

/// The parts of our vocabulary that a change touches.
fn touched(change: &Change<'_>) -> BTreeSet<&'static str> {
    let parts = change
        .differences
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
    if after["metadata"]["labels"][CLAIM].is_string() {
        Move::Claim
    } else {
        Move::Unclaim
    }
}

fn in_window(object: &Value) -> bool {
    object["metadata"]["labels"][WINDOW] == WINDOW_OPEN
}

fn held(object: &Value) -> bool {
    object["spec"]["minReadySeconds"] == HOLD
}

fn paused(object: &Value) -> bool {
    object["spec"]["paused"] == true
}

fn pin(service: &Value) -> Option<&str> {
    service["spec"]["selector"][POD_TEMPLATE_HASH].as_str()
}

fn has_resource_version(patch: &Value) -> bool {
    patch["metadata"]["resourceVersion"].is_string()
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

/// The changed fields that are none of ours ("Own things only" in `docs/reliability.md`).
fn foreign_fields<'a>(change: &'a Change<'_>, memory: &Memory, variables: &[String]) -> Vec<&'a Difference> {
    let name = change.event.name();
    let template = &change.after()["spec"]["template"];
    let known = memory
        .templates
        .get(name)
        .is_some_and(|templates| templates.contains(template));
    let resource = change.event.object_ref.resource.as_str();
    let is_ours = |path: &Path| match (resource, &path.keys()[..]) {
        ("deployments" | "services", ["metadata", "labels", CLAIM | WINDOW])
        | ("services", ["spec", "selector", POD_TEMPLATE_HASH])
        | ("replicasets", ["spec", "minReadySeconds"])
        | (
            "deployments",
            ["spec", "paused" | "minReadySeconds" | "progressDeadlineSeconds"]
            | ["spec", "strategy", ..]
            | [
                "spec",
                "template",
                "spec",
                "containers" | "initContainers",
                _,
                "image",
            ],
        ) => true,
        (
            "deployments",
            [
                "spec",
                "template",
                "spec",
                "containers" | "initContainers",
                _,
                "env",
                variable,
                ..,
            ],
        ) => known || variables.iter().any(|ours| ours == variable),
        ("deployments", ["spec", "template", ..]) => known,
        _ => false,
    };
    change
        .differences
        .iter()
        .filter(|difference| !is_ours(&difference.path))
        .collect()
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
        let kind = match self.resource.as_str() {
            "deployments" => "Deployment",
            "replicasets" => "ReplicaSet",
            "services" => "Service",
            other => other,
        };
        let object = format!("{kind} {}", self.name);
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
