//! C1: the process dies around a write, and another one takes over with nothing in its memory.

use slipway_judge::past::CONTROLLER;

use super::{Campaign, References, SEED, is_write, writes};
use crate::{
    campaign::plan::{Plan, Trouble},
    server::faults::{Fault, Moment},
    world::World,
};

const MOMENTS: [(Moment, &str); 3] = [
    (Moment::BeforeSend, "before"),
    (Moment::AfterApply, "applied"),
    (Moment::AfterReply, "after"),
];

/// One crash around every write of every scenario.
pub(super) const ALONE: Campaign = Campaign {
    name: "C1",
    about: "crash before, in and after every write",
    plans: alone,
};

/// Two crashes in a run, of two scenarios.
pub(super) const PAIRS: Campaign = Campaign {
    name: "C1 pairs",
    about: "two crashes, at every pair of writes",
    plans: pairs,
};

fn alone(references: &References) -> Vec<Plan> {
    let runs = references.all().flat_map(|(scenario, reference)| {
        (0..writes(reference)).flat_map(move |write| {
            MOMENTS.iter().map(move |(moment, word)| {
                let moment = *moment;
                Plan::without_faults(scenario, SEED).with(
                    format!("crash {word} write {write}"),
                    move |world| {
                        crash(world, 0, write, moment);
                    },
                )
            })
        })
    });
    runs.collect()
}

fn pairs(references: &References) -> Vec<Plan> {
    let chosen = ["plain", "new-side-dies"];
    let runs = references
        .all()
        .filter(|(scenario, _)| chosen.contains(&scenario.name))
        .flat_map(|(scenario, reference)| {
            let count = writes(reference);
            let points =
                move || (0..count).flat_map(|write| MOMENTS.iter().map(move |moment| (write, moment)));
            points().flat_map(move |(first, (one, word))| {
                let (one, word) = (*one, *word);
                // The second process makes the writes that are left, and a few more.
                points().filter(move |(second, _)| first + second <= count).map(
                    move |(second, (two, other))| {
                        let two = *two;
                        let trouble = format!("crash {word} write {first}, then {other} write {second}");
                        let troubles = vec![
                            Trouble::new(format!("crash {word} write {first}"), move |world| {
                                crash(world, 0, first, one);
                            }),
                            Trouble::new(format!("crash {other} write {second}"), move |world| {
                                crash(world, 1, second, two);
                            }),
                        ];
                        Plan::without_faults(scenario, SEED).with_all(trouble, troubles)
                    },
                )
            })
        });
    runs.collect()
}

/// The process of this number dies around its write of this number.
pub(super) fn crash(world: &World, process: usize, write: usize, moment: Moment) {
    let actor = format!("{CONTROLLER}{process}");
    let mut seen = 0;
    let name = format!("crash of {actor} at write {write}");
    world.cluster().faults.rule(&name, move |call| {
        if call.actor.as_ref() != actor || !is_write(call) {
            return None;
        }
        seen += 1;
        (seen == write + 1).then_some(Fault::Crash(moment))
    });
}
