//! C11: as many random runs as the time allows, each with a handful of troubles.

use std::time::Duration;

use super::{
    super::{
        super::{
            cluster::Lag,
            controller::CONTROLLER,
            kind::Kind,
            random::Random,
            server::faults::{self, Fault, Moment},
            world::World,
        },
        run::Plan,
        scenes,
    },
    Campaign, References,
};

/// Runs of a full campaign.
const RUNS: u64 = 20_000;
/// The most troubles of a run.
const TROUBLES: u64 = 5;

/// Random runs.
pub(super) const SOAK: Campaign = Campaign {
    name: "C11",
    about: "random runs with up to five troubles each",
    plans: soak,
};

fn soak(_: &References) -> Vec<Plan> {
    (1..=RUNS).map(plan).collect()
}

/// One random run.
fn plan(seed: u64) -> Plan {
    let mut random = Random::new(seed ^ 0x5eed);
    let scenario = *random.pick(&scenes::ALL);
    let count = 1 + random.below(TROUBLES);
    let mut plan =
        Plan::peaceful(scenario, seed).with(format!("{count} random troubles"), move |world: &mut World| {
            let mut random = Random::new(seed ^ 0x7201_ab1e);
            for _ in 0..count {
                trouble(world, &mut random);
            }
        });
    plan.processes = 1 + usize::from(random.chance(1, 2));
    plan.helped = true;
    plan
}

/// Arranges one trouble.
fn trouble(world: &mut World, random: &mut Random) {
    let process = random.below(2);
    let actor = format!("{CONTROLLER}{process}");
    let call = usize::try_from(random.below(150)).expect("a small number");
    match random.below(5) {
        0 => {
            let moment = *random.pick(&[Moment::BeforeSend, Moment::AfterApply, Moment::AfterReply]);
            world.cluster().faults.at_call(&actor, call, Fault::Crash(moment));
        }
        1 | 2 => {
            let (_, fault) = random.pick(&faults::usual()).clone();
            world.cluster().faults.at_call(&actor, call, fault);
        }
        3 => {
            let late = Duration::from_secs(1 + random.below(40));
            world.cluster().faults.at_call(&actor, call, Fault::Late(late));
        }
        _ => {
            let kinds = [
                Kind::Release,
                Kind::Deployment,
                Kind::ReplicaSet,
                Kind::Service,
                Kind::EndpointSlice,
                Kind::Job,
                Kind::Pod,
            ];
            let kind = *random.pick(&kinds);
            let delay = Lag::Delay(Duration::from_millis(random.below(20_000)));
            world.cluster().lags.insert((actor.into(), kind), delay);
        }
    }
}
