//! The window: the order of its writes, and that the user's own values come back.

use std::{collections::BTreeMap, sync::Arc};

use jiff::SignedDuration;
use serde_json::{Value, json};
use slipway_kubernetes::{
    fields,
    kind::Kind,
    store::{Change, Event, Key},
};

use super::{Tolerance, Violation};
use crate::past::{HOLD, Past, Pinned, full, held, open, ours, pin};

/// Endpoints need a moment to follow a pin.
const AFTER_PIN: SignedDuration = SignedDuration::from_millis(1900);

/// The status has whole seconds.
const TOLERANCE: SignedDuration = SignedDuration::from_secs(1);

/// From the last look at the pods of a side to the write that rests on it.
const INSTANT: SignedDuration = SignedDuration::from_millis(100);

/// The fields of a Deployment that a window borrows.
const BORROWED: [&str; 4] = [
    "/spec/minReadySeconds",
    "/spec/progressDeadlineSeconds",
    "/spec/strategy",
    "/spec/paused",
];

/// What has to be remembered from write to write.
#[derive(Default)]
pub(super) struct Window {
    tolerance: Tolerance,
    /// When the new side of a Deployment began to boot, and for which generation of the Release.
    boots: BTreeMap<Key, (jiff::Timestamp, i64)>,
    /// The user's own values of the borrowed fields, by Deployment.
    own: BTreeMap<Key, Vec<Value>>,
    /// The side that a Service was first pinned to in this window.
    first: BTreeMap<Key, String>,
    /// When the pin of a Service last changed.
    moved: BTreeMap<Key, jiff::Timestamp>,
    /// When a ReplicaSet lost its last ready pod.
    emptied: BTreeMap<Key, jiff::Timestamp>,
}

impl Window {
    pub(super) fn new(tolerance: Tolerance) -> Self {
        Self {
            tolerance,
            ..Self::default()
        }
    }

    /// Looks at one change.
    pub(super) fn see(&mut self, change: &Change, past: &Past, found: &mut Vec<Violation>) {
        let before = change.before.clone().unwrap_or_default();
        if !ours(change) {
            if change.key.kind == Kind::Deployment && !open(&before) && change.event != Event::Deleted {
                self.own.insert(change.key.clone(), borrowed(&change.object));
            }
            if change.key.kind == Kind::ReplicaSet && ready(&before) > 0 && ready(&change.object) == 0 {
                self.emptied.insert(change.key.clone(), change.at);
            }
            return;
        }
        if change.event != Event::Modified {
            return;
        }
        let mut say = |what: String| {
            found.push(Violation {
                invariant: "order of the window",
                at: change.at,
                what: format!("{}: {what}", change.key),
            });
        };
        match change.key.kind {
            Kind::Deployment => self.deployment(change, &before, past, &mut say),
            Kind::Service => self.service(change, &before, past, &mut say),
            Kind::ReplicaSet => bolt(change, &before, past, &mut say),
            _ => {}
        }
    }

    fn deployment(&mut self, change: &Change, before: &Value, past: &Past, say: &mut impl FnMut(String)) {
        let after = change.object.as_ref();
        let template = before.pointer("/spec/template") != after.pointer("/spec/template");
        match (open(before), open(after)) {
            (false, true) => self.open(change, before, past, say),
            (true, false) => self.close(change, past, say),
            (false, false) => return,
            _ => {}
        }
        match (held(before), held(after)) {
            // A side that a stranger took away is brought back with the template that is there.
            (false, true) if !template && self.tolerance.disturbed => {}
            (false, true) if !template => {
                say("hold without the new template in the same write".to_owned());
            }
            (false, false) if template => {
                say("a template without hold fields in the same write".to_owned());
            }
            (false, true) => {
                let name = fields::name(after);
                let release = past.release_of(&change.key.namespace, name);
                let generation = release.map_or(0, |release| generation(&release));
                self.boots
                    .entry(change.key.clone())
                    .or_insert((change.at, generation));
                for service in services(past, change) {
                    if pin(&service).is_empty() {
                        let service = fields::name(&service);
                        say(format!(
                            "the new side boots while Service {service} is not pinned"
                        ));
                    }
                }
            }
            (true, false) => self.settle(change, past, say),
            _ => {}
        }
    }

    /// A window opens on a Deployment that is at rest.
    fn open(&mut self, change: &Change, before: &Value, past: &Past, say: &mut impl FnMut(String)) {
        self.boots.remove(&change.key);
        if !fields::flag(&change.object, "/spec/paused") {
            say("the window opens and the Deployment is not paused".to_owned());
        }
        let observed = fields::count(before, "/status/observedGeneration") >= generation(before);
        let sides = past.sides(before);
        let sides = sides.filter(|side| fields::count(side, "/spec/replicas") > 0);
        if (!observed || sides.count() > 1) && !self.tolerance.disturbed {
            say("the window opens on a Deployment whose rollout is under way".to_owned());
        }
    }

    /// The way out: what has the traffic is what the Deployment goes on with.
    fn settle(&self, change: &Change, past: &Past, say: &mut impl FnMut(String)) {
        let after = change.object.as_ref();
        let replicas = fields::count(after, "/spec/replicas");
        for service in services(past, change) {
            let name = fields::name(&service);
            let Some(side) = past.side(after, pin(&service)) else {
                // A stranger may delete it in the moment of the patch.
                if replicas > 0 && !self.tolerance.disturbed {
                    say(format!(
                        "a side goes while Service {name} is pinned to none that exists"
                    ));
                }
                continue;
            };
            let (serving, wanted) = (template_of(side), after["spec"]["template"]["spec"].clone());
            if serving != wanted && replicas > 0 {
                say(format!(
                    "the side that Service {name} sends its traffic to is the one that goes"
                ));
            }
            if ready(side) == 0 && replicas > 0 && !self.tolerance.disturbed {
                say(format!(
                    "a side goes while the one behind Service {name} has no ready pod"
                ));
            }
            let key = Key::of(Kind::Service, &service);
            let moved = self.moved.get(&key);
            if self.tolerance.timed && moved.is_some_and(|moved| change.at.duration_since(*moved) < AFTER_PIN)
            {
                say(format!(
                    "a side goes at once after the pin of Service {name} moved"
                ));
            }
        }
    }

    fn close(&self, change: &Change, past: &Past, say: &mut impl FnMut(String)) {
        let after = change.object.as_ref();
        for service in services(past, change) {
            if !pin(&service).is_empty() {
                say(format!(
                    "the window closes while Service {} is pinned",
                    fields::name(&service)
                ));
            }
        }
        let now = borrowed(after);
        if let Some(own) = self.own.get(&change.key)
            && *own != now
            && !self.tolerance.disturbed
        {
            say(format!(
                "the user's values were {} and are now {}",
                json!(own),
                json!(now)
            ));
        }
    }

    fn service(&mut self, change: &Change, before: &Value, past: &Past, say: &mut impl FnMut(String)) {
        let (from, to) = (pin(before), pin(&change.object));
        if from == to {
            return;
        }
        let key = change.key.clone();
        // The first pin and the last unpin keep the traffic where it is.
        if !from.is_empty() && !to.is_empty() {
            self.moved.insert(key.clone(), change.at);
        }
        let Some(behind) = past.behind(&key.namespace, &key.name) else {
            return;
        };
        let deployment = behind.deployment.as_ref();
        let wanted = fields::count(deployment, "/spec/replicas");
        if to.is_empty() {
            self.first.remove(&key);
            unpin(past, deployment, from, say);
            return;
        }
        let Some(side) = past.side(deployment, to) else {
            if !self.tolerance.disturbed {
                say(format!(
                    "pinned to {to}, which is no ReplicaSet of the Deployment"
                ));
            }
            return;
        };
        // It is not paused while a side that a stranger took away is made again.
        let still = fields::flag(deployment, "/spec/paused") || self.tolerance.disturbed && held(deployment);
        if !open(deployment) || !still {
            say("pinned while the Deployment is not in a window, paused".to_owned());
        }
        let first = self.first.entry(key).or_insert_with(|| to.to_owned()).clone();
        let ready = ready(side);
        if from.is_empty() || to == first {
            // A stranger may kill the pods in the moment in which their Service is told to keep to them, or to go
            // back to them.
            let emptied = self.emptied.get(&Key::of(Kind::ReplicaSet, side));
            let just_now = emptied.is_some_and(|emptied| change.at.duration_since(*emptied) < INSTANT);
            let kept = self.tolerance.disturbed && (from.is_empty() || just_now);
            if ready == 0 && wanted > 0 && !kept {
                say(format!("traffic to {to}, which has no ready pod"));
            }
            return;
        }
        if !full(side, wanted) && !self.tolerance.disturbed {
            say(format!(
                "traffic to {to}, which is not ready in full ({ready} of {wanted})"
            ));
        }
        if let Some((waited, wanted)) = self.gate(change, &behind)
            && waited + TOLERANCE < wanted
        {
            say(format!(
                "traffic to {to}, which passed no gate: it began to boot {waited:#} ago, and the minimum is {wanted:#}"
            ));
        }
        if !held(deployment) {
            say("the traffic moves without the hold".to_owned());
        }
        let old = past.side(deployment, from);
        if old.is_some_and(|old| fields::count(old, "/spec/minReadySeconds") != HOLD)
            && !self.tolerance.disturbed
        {
            say("the traffic moves without the bolt on the old side".to_owned());
        }
        if !fields::has(&behind.release, "/status/cutover/intentAt") {
            say("the traffic moves without a committed intent".to_owned());
        }
    }
}

impl Window {
    /// How long the new side has booted, and how long at least it has to; none where that cannot be said.
    fn gate(&self, change: &Change, behind: &Pinned) -> Option<(SignedDuration, SignedDuration)> {
        let (since, began_for) = self.boots.get(&Key::of(Kind::Deployment, &behind.deployment))?;
        let same = *began_for == generation(&behind.release);
        let wanted = fields::text(&behind.release, "/spec/preboot/minimumWait")
            .parse()
            .ok()?;
        (self.tolerance.timed && !self.tolerance.disturbed && same)
            .then(|| (change.at.duration_since(*since), wanted))
    }
}

/// The Services that take traffic to a Deployment.
fn services(past: &Past, change: &Change) -> Vec<Arc<Value>> {
    let Key { namespace, name, .. } = &change.key;
    let own = past.pinned(namespace).into_iter();
    own.filter(|pinned| fields::name(&pinned.deployment) == name)
        .flat_map(|pinned| pinned.services)
        .filter_map(|service| past.get(Kind::Service, namespace, &service).cloned())
        .collect()
}

fn generation(object: &Value) -> i64 {
    fields::count(object, "/metadata/generation")
}

fn ready(set: &Value) -> i64 {
    fields::count(set, "/status/readyReplicas")
}

/// A Service selects all pods again only when no other side is left.
fn unpin(past: &Past, deployment: &Value, from: &str, say: &mut impl FnMut(String)) {
    let others = past
        .sides(deployment)
        .filter(|side| fields::label(side, "pod-template-hash") != from);
    for side in others {
        if fields::count(side, "/status/replicas") > 0 {
            say(format!("unpinned while {} still has pods", fields::name(side)));
        }
    }
}

fn bolt(change: &Change, before: &Value, past: &Past, say: &mut impl FnMut(String)) {
    let value = |set: &Value| fields::count(set, "/spec/minReadySeconds");
    if value(before) == HOLD || value(&change.object) != HOLD {
        return;
    }
    let namespace = &change.key.namespace;
    let pinned = past.pinned(namespace);
    let own = pinned
        .iter()
        .find(|pinned| fields::controlled_by(&change.object, fields::uid(&pinned.deployment)));
    if let Some(own) = own
        && !fields::has(&own.release, "/status/cutover/intentAt")
    {
        say("bolted before the cutover was intended".to_owned());
    }
}

/// The pod's spec of a ReplicaSet's template.
fn template_of(set: &Value) -> Value {
    set["spec"]["template"]["spec"].clone()
}

fn borrowed(deployment: &Value) -> Vec<Value> {
    let mut values: Vec<Value> = BORROWED
        .iter()
        .map(|pointer| deployment.pointer(pointer).cloned().unwrap_or_default())
        .collect();
    // Absent and the zero value are the same to Kubernetes.
    for value in &mut values {
        if *value == json!(0) || *value == json!(false) {
            *value = Value::Null;
        }
    }
    values
}
