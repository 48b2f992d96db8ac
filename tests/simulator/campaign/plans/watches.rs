//! C2 and C3: watches that lag, each by itself, and watches that lose, repeat or break off.

use std::{sync::Arc, time::Duration};

use super::{
    super::{
        super::{
            cluster::Lag,
            controller::CONTROLLER,
            kind::Kind,
            server::faults::{Fault, WatchFault},
            world::World,
        },
        run::Plan,
    },
    Campaign, References, SEED,
};

/// What the controller watches.
const WATCHED: [Kind; 7] = [
    Kind::Release,
    Kind::Deployment,
    Kind::ReplicaSet,
    Kind::Service,
    Kind::EndpointSlice,
    Kind::Job,
    Kind::Pod,
];

/// Events of a watch that are disturbed, counted from 0.
const EVENTS: usize = 12;

/// Old news.
pub(super) const STALE: Campaign = Campaign {
    name: "C2",
    about: "each watch late by itself, and each held at every one of its states for a while",
    plans: stale,
};

/// No news, or twice the same.
pub(super) const BROKEN: Campaign = Campaign {
    name: "C3",
    about: "events repeated, watches ended, expired and listed anew at every event",
    plans: broken,
};

fn stale(references: &References) -> Vec<Plan> {
    let mut plans = Vec::new();
    for (scenario, reference) in references.all() {
        for kind in WATCHED {
            for seconds in [1, 5, 30] {
                let trouble = format!("{kind:?} {seconds} s late");
                plans.push(
                    Plan::peaceful(scenario, SEED).with(trouble, move |world: &mut World| {
                        lag(world, kind, Lag::Delay(Duration::from_secs(seconds)));
                    }),
                );
            }
            // Held at one state from each moment on, for longer than a step takes, then let go.
            let length = reference.lasted.as_secs().min(150);
            for at in (0..length).step_by(if length > 60 { 15 } else { 2 }) {
                let trouble = format!("{kind:?} held for 40 s from {at} s");
                plans.push(
                    Plan::peaceful(scenario, SEED).with(trouble, move |world: &mut World| {
                        world.after(Duration::from_secs(at), move |cluster| {
                            let actor: Arc<str> = format!("{CONTROLLER}0").into();
                            let version = cluster.store.version();
                            cluster.lags.insert((actor, kind), Lag::Frozen(version));
                        });
                        world.after(Duration::from_secs(at + 40), move |cluster| {
                            let actor: Arc<str> = format!("{CONTROLLER}0").into();
                            cluster.lags.remove(&(actor, kind));
                        });
                    }),
                );
            }
        }
    }
    plans
}

fn lag(world: &World, kind: Kind, lag: Lag) {
    let actor: Arc<str> = format!("{CONTROLLER}0").into();
    world.cluster().lags.insert((actor, kind), lag);
}

fn broken(references: &References) -> Vec<Plan> {
    type Make = fn(usize) -> WatchFault;
    let faults: [(&str, Make); 3] = [
        ("expires", WatchFault::Expired),
        ("ends", WatchFault::End),
        ("repeats", WatchFault::Duplicated),
    ];
    let mut plans = Vec::new();
    for (scenario, _) in references.all() {
        for kind in WATCHED {
            for event in 0..EVENTS {
                for (word, make) in faults {
                    let trouble = format!("{kind:?} {word} at event {event}");
                    plans.push(
                        Plan::peaceful(scenario, SEED).with(trouble, move |world: &mut World| {
                            let actor = format!("{CONTROLLER}0");
                            world.cluster().faults.at_watch(&actor, kind, 0, make(event));
                        }),
                    );
                }
                // A watch that breaks off and forgets: whatever comes next is read in one list.
                let trouble = format!("{kind:?} loses event {event} and is listed anew");
                plans.push(
                    Plan::peaceful(scenario, SEED).with(trouble, move |world: &mut World| {
                        lose(world, kind, event);
                    }),
                );
            }
        }
    }
    plans
}

/// The watch ends before an event, and the history is forgotten before it begins again: it has to list.
fn lose(world: &mut World, kind: Kind, event: usize) {
    let actor = format!("{CONTROLLER}0");
    let mut watches = 0;
    world.cluster().faults.rule("loses events", move |call| {
        if call.actor.as_ref() != actor || call.verb != "watch" || call.kind != Some(kind) {
            return None;
        }
        watches += 1;
        match watches {
            1 => Some(Fault::Watch(WatchFault::End(event))),
            2 => Some(Fault::Watch(WatchFault::Expired(0))),
            _ => None,
        }
    });
}
