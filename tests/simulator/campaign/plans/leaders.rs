//! C7: the Lease is lost at a write, which arrives late, when somebody else leads already.

use std::time::Duration;

use super::{
    super::{
        super::{controller::CONTROLLER, kind::Kind, server::faults::Fault, world::World},
        run::Plan,
    },
    Campaign, References, SEED, is_write, writes,
};

/// How long the write is on its way: less than the fence, about the Lease, longer than the Lease.
const LATE: [u64; 4] = [1, 9, 20, 60];

/// Two processes; the first is cut off from its Lease in the middle of a write.
pub(super) const LOST: Campaign = Campaign {
    name: "C7",
    about: "the Lease lost at every write, which arrives late; two processes",
    plans: lost,
};

fn lost(references: &References) -> Vec<Plan> {
    let mut plans = Vec::new();
    for (scenario, reference) in references.all() {
        for write in 0..writes(reference) {
            for late in LATE {
                let trouble = format!("Lease lost at write {write}, which is {late} s late");
                let mut plan = Plan::peaceful(scenario, SEED).with(trouble, move |world: &mut World| {
                    cut_off(world, write, Duration::from_secs(late));
                });
                plan.processes = 2;
                plan.helped = true;
                plans.push(plan);
            }
        }
    }
    plans
}

/// From this write on, the leader's calls about the Lease are lost for a minute and a half, and the write itself is
/// on its way for long.
pub(super) fn cut_off(world: &World, write: usize, late: Duration) {
    let mut leader = None;
    let mut seen = 0;
    let mut since = None;
    world.cluster().faults.rule("cut off", move |call| {
        if !call.actor.starts_with(CONTROLLER) {
            return None;
        }
        if let Some((actor, begun)) = &since {
            let lease = call.kind == Some(Kind::Lease) && call.actor == *actor;
            let lasts = call.at.duration_since(*begun).as_secs() < 90;
            return (lease && lasts).then_some(Fault::Silence { applied: false });
        }
        if !is_write(call) {
            return None;
        }
        let leader = leader.get_or_insert_with(|| call.actor.clone());
        if call.actor != *leader {
            return None;
        }
        seen += 1;
        if seen == write + 1 {
            since = Some((call.actor.clone(), call.at));
            return Some(Fault::Late(late));
        }
        None
    });
}
