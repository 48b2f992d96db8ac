//! What people do in a run, and where it has to end.

use std::sync::Arc;

use serde_json::{Value, json};
use slipway_kubernetes::{fields, kind::Kind, store::Key};

use crate::world::World;

/// One thing that somebody does once the time has come.
#[derive(Clone, Copy)]
pub struct Act {
    /// Whether the time has come.
    pub when: fn(&World) -> bool,
    /// What is done.
    pub then: fn(&mut World),
}

/// A story from version 1 to its end.
#[derive(Clone, Copy)]
pub struct Scenario {
    /// Its name.
    pub name: &'static str,
    /// What is there before the controller starts.
    pub scene: fn(&mut World),
    /// What people do, in this order.
    pub acts: &'static [Act],
    /// Where it ends.
    pub end: fn(&World) -> bool,
    /// The fewest ready endpoints of the Service.
    pub floor: usize,
    /// Whether its people change the objects of a window.
    pub disturbed: bool,
}

/// The Release; null when there is none.
pub fn release(world: &World) -> Arc<Value> {
    world.get(Kind::Release, "shop")
}

/// The phase of the Release; empty for none.
pub fn phase(world: &World) -> String {
    fields::text(&release(world), "/status/phase").to_owned()
}

/// Whether the Release has this phase at this revision, and the status is about the newest spec.
pub fn at(world: &World, number: i64, phase: &str) -> bool {
    let release = release(world);
    fields::text(&release, "/status/phase") == phase
        && fields::count(&release, "/status/revision/number") == number
        && fields::count(&release, "/status/observedGeneration")
            == fields::count(&release, "/metadata/generation")
}

/// Whether the Release waits for a person.
pub fn stalled(world: &World) -> bool {
    fields::is_true(&release(world), "Stalled")
}

/// Asks for another image.
pub fn image(world: &mut World, image: &str) {
    patch(world, json!({"spec": {"image": image}}));
}

/// Changes the Release.
pub fn patch(world: &mut World, patch: Value) {
    world.user(|user| user.patch(Kind::Release, "shop", patch));
}

/// Pulls a lever.
pub fn lever(world: &mut World, lever: &str, value: &str) {
    let key = format!("slipway.dev/{lever}");
    world.user(|user| user.annotate(Kind::Release, "shop", &key, value));
}

/// The names of the pods of an image that serve.
pub fn pods(world: &World, image: &str) -> Vec<Key> {
    let pods = world.all(Kind::Pod);
    let own = pods.iter().filter(|pod| {
        fields::text(pod, "/spec/containers/0/image") == image
            && fields::label(pod, "slipway.dev/step").is_empty()
            && !fields::terminating(pod)
    });
    own.map(|pod| Key::of(Kind::Pod, pod)).collect()
}
