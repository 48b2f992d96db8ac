//! C2 and C3: watches that lag, each by itself, and watches that lose, repeat or break off.

use std::{mem, sync::Arc, time::Duration};

use jiff::SignedDuration;
use slipway_judge::past::CONTROLLER;
use slipway_kubernetes::{kind::Kind, refusal::Refusal};

use super::{Campaign, References, SEED};
use crate::{
    campaign::plan::Plan,
    cluster::Lag,
    server::faults::{Fault, WatchFault},
    world::World,
};

/// What the controller watches.
pub(super) const WATCHED: [Kind; 7] = [
    Kind::Release,
    Kind::Deployment,
    Kind::ReplicaSet,
    Kind::Service,
    Kind::EndpointSlice,
    Kind::Job,
    Kind::Pod,
];

/// Seconds for which a watch that ended cannot be begun again.
const SILENT: [i64; 3] = [0, 5, 30];

/// A watch shows an old state for so long.
const HELD: Duration = Duration::from_secs(40);

/// Old news.
pub(super) const STALE: Campaign = Campaign {
    name: "C2",
    about: "each watch late by itself, and each held at every one of its states for a while",
    plans: stale,
};

/// No news, or twice the same.
pub(super) const BROKEN: Campaign = Campaign {
    name: "C3",
    about: "events repeated, merged, overtaken, watches ended, expired, silent and listed anew at every event",
    plans: broken,
};

fn stale(references: &References) -> Vec<Plan> {
    let mut plans = Vec::new();
    for (scenario, reference) in references.all() {
        for kind in WATCHED {
            for seconds in [1, 5, 30] {
                let trouble = format!("{kind:?} {seconds} s late");
                plans.push(
                    Plan::without_faults(scenario, SEED).with(trouble, move |world: &mut World| {
                        lag(world, kind, Lag::Delay(Duration::from_secs(seconds)));
                    }),
                );
            }
            // Held at each of its states, for longer than a step takes, then told the newest one.
            for event in 0..reference.told_of(kind) {
                let trouble = format!("{kind:?} held for 40 s before event {event}");
                plans.push(
                    Plan::without_faults(scenario, SEED).with(trouble, move |world: &mut World| {
                        disturb(world, kind, WatchFault::Merged(event, HELD));
                    }),
                );
            }
        }
    }
    plans
}

fn disturb(world: &World, kind: Kind, fault: WatchFault) {
    let actor = format!("{CONTROLLER}0");
    world.cluster().faults.at_watch(&actor, kind, 0, fault);
}

fn lag(world: &World, kind: Kind, lag: Lag) {
    let actor: Arc<str> = format!("{CONTROLLER}0").into();
    world.cluster().lags.insert((actor, kind), lag);
}

fn broken(references: &References) -> Vec<Plan> {
    type Make = fn(usize) -> WatchFault;
    let faults: [(&str, Make); 7] = [
        ("expires", WatchFault::Expired),
        ("ends", WatchFault::End),
        ("repeats", WatchFault::Duplicated),
        ("is overtaken by one", |event| WatchFault::Overtaken(event, 1)),
        ("is overtaken by five", |event| WatchFault::Overtaken(event, 5)),
        ("merges 2 s", |event| {
            WatchFault::Merged(event, Duration::from_secs(2))
        }),
        ("merges 20 s", |event| {
            WatchFault::Merged(event, Duration::from_secs(20))
        }),
    ];
    let mut plans = Vec::new();
    for (scenario, reference) in references.all() {
        for kind in WATCHED {
            for event in 0..reference.told_of(kind) {
                for (word, make) in faults {
                    let trouble = format!("{kind:?} {word} at event {event}");
                    plans.push(Plan::without_faults(scenario, SEED).with(
                        trouble,
                        move |world: &mut World| {
                            disturb(world, kind, make(event));
                        },
                    ));
                }
                for silent in SILENT {
                    let trouble =
                        format!("{kind:?} loses {silent} s from event {event} on and is listed anew");
                    plans.push(Plan::without_faults(scenario, SEED).with(
                        trouble,
                        move |world: &mut World| {
                            lose(world, kind, event, SignedDuration::from_secs(silent));
                        },
                    ));
                }
            }
        }
    }
    plans
}

/// The watch ends before an event and cannot be begun again for a while. Then the history is forgotten: whatever
/// happened in between is never told, and only a list says what came of it.
fn lose(world: &mut World, kind: Kind, event: usize, silent: SignedDuration) {
    let actor = format!("{CONTROLLER}0");
    let (mut watches, mut over) = (0, false);
    let mut since = None;
    world.cluster().faults.rule("loses events", move |call| {
        if call.actor.as_ref() != actor || call.verb != "watch" || call.kind != Some(kind) {
            return None;
        }
        watches += 1;
        if watches == 1 {
            return Some(Fault::Watch(WatchFault::End(event)));
        }
        let since = since.get_or_insert(call.at);
        if call.at.duration_since(*since) < silent {
            return Some(Fault::Answer(Refusal::unavailable()));
        }
        (!mem::replace(&mut over, true)).then_some(Fault::Watch(WatchFault::Expired(0)))
    });
}
