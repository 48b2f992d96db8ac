//! The campaigns: which runs there are, and what goes wrong in each.

mod calls;
mod clocks;
mod crashes;
mod hostile;
pub(super) mod leaders;
mod poison;
mod random;
mod refusals;
mod spec;
mod watches;

use slipway_judge::calls::Call;
use slipway_kubernetes::kind::Kind;
use std::{
    collections::BTreeMap,
    env,
    panic::{self, AssertUnwindSafe},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use super::{
    end::End,
    plan::{ONLY, Plan},
    run::{Record, is_work},
    scenario::Scenario,
};
use crate::{
    cluster::Cluster,
    server::faults::{Fault, Meddling},
    world::World,
};

/// The variable that names the one run to play, as a failure prints it.
pub const RUN: &str = "SIMULATOR_RUN";
/// The seed of runs that are not about chance.
const SEED: u64 = 1;

/// A set of runs.
pub struct Campaign {
    /// Its name, such as `C1`.
    pub name: &'static str,
    /// What goes wrong in it.
    pub about: &'static str,
    /// Its runs.
    pub plans: fn(&References) -> Vec<Plan>,
}

/// All campaigns.
pub const ALL: [Campaign; 12] = [
    crashes::ALONE,
    crashes::PAIRS,
    watches::STALE,
    watches::BROKEN,
    calls::ONCE,
    calls::LASTING,
    clocks::SKEWED,
    leaders::LOST,
    hostile::CHILDREN,
    spec::WALK,
    poison::PILL,
    random::SOAK,
];

/// A run without any trouble, of every scenario.
pub struct References {
    runs: BTreeMap<&'static str, (Scenario, Record)>,
}

impl References {
    /// Plays them.
    pub fn play(scenarios: &[Scenario]) -> Self {
        let plans: Vec<Plan> = scenarios
            .iter()
            .map(|scenario| Plan::without_faults(*scenario, SEED))
            .collect();
        let records = play_all(&plans, &Plan::play, &|_, _| {});
        let runs = scenarios.iter().zip(records);
        Self {
            runs: runs
                .map(|(scenario, record)| (scenario.name, (*scenario, record)))
                .collect(),
        }
    }

    /// All scenarios with their reference.
    pub fn all(&self) -> impl Iterator<Item = (Scenario, &Record)> {
        self.runs.values().map(|(scenario, record)| (*scenario, record))
    }

    /// The end that a run of a plan has to come to; none where the trouble itself changes it.
    pub fn end(&self, plan: &Plan, record: &Record) -> Option<&End> {
        let changed = plan.harmed || plan.free || record.helps > 0;
        self.runs
            .get(plan.scenario.name)
            .filter(|_| !changed)
            .map(|(_, record)| &record.end)
    }
}

/// A run that went wrong.
#[derive(Clone, Debug)]
pub struct Failure {
    /// Its name.
    pub name: String,
    /// Its troubles.
    pub troubles: Vec<String>,
    /// Why.
    pub wrong: Vec<String>,
    /// What happened.
    pub trace: String,
}

impl std::fmt::Display for Failure {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            name,
            troubles,
            wrong,
            trace,
        } = self;
        write!(
            formatter,
            "{name} (alone again: {RUN}={name:?})\n  troubles: {}\n  {}\n{trace}",
            troubles.join("; "),
            wrong.join("\n  ")
        )
    }
}

/// Every `step`-th run of a list, or the one that the environment names.
pub fn choose(plans: Vec<Plan>, step: usize) -> Vec<Plan> {
    let Ok(name) = env::var(RUN) else {
        return plans.into_iter().step_by(step.max(1)).collect();
    };
    let mut parts = name.split(ONLY);
    let whole = parts.next().unwrap_or_default();
    let kept: Vec<usize> = parts.filter_map(|number| number.parse().ok()).collect();
    let named = plans.into_iter().filter(|plan| plan.name() == whole);
    named
        .map(|plan| {
            if kept.is_empty() {
                plan
            } else {
                plan.only(kept.clone())
            }
        })
        .collect()
}

/// Told how many runs are done, and what was wrong with the last one.
pub type Done<'a> = &'a (dyn Fn(usize, Option<&Failure>) + Sync);

/// Plays runs and judges them. Of a run that goes wrong the smallest part is told that still does.
pub fn judge(plans: &[Plan], references: &References, done: Done<'_>) -> Vec<Failure> {
    let done = |count: usize, failure: &Option<Failure>| done(count, failure.as_ref());
    let one = |plan: &Plan| verdict(plan, references).map(|failure| smallest(plan, failure, references));
    play_all(plans, &one, &done).into_iter().flatten().collect()
}

/// Plays a run; what is wrong with it.
fn verdict(plan: &Plan, references: &References) -> Option<Failure> {
    let played = panic::catch_unwind(AssertUnwindSafe(|| plan.play()));
    let failure = |wrong: Vec<String>, trace: String| Failure {
        name: plan.name(),
        troubles: plan.words().into_iter().map(str::to_owned).collect(),
        wrong,
        trace,
    };
    let Ok(record) = played else {
        let wrong = "the run panicked; what it said is above".to_owned();
        return Some(failure(vec![wrong], String::new()));
    };
    let wrong = record.wrong(references.end(plan, &record));
    (!wrong.is_empty()).then(|| failure(wrong, record.trace))
}

/// Leaves out one trouble after the other as long as the run still goes wrong.
fn smallest(plan: &Plan, failure: Failure, references: &References) -> Failure {
    let smaller = plan.smaller().into_iter().find_map(|plan| {
        let failure = verdict(&plan, references)?;
        Some((plan, failure))
    });
    match smaller {
        Some((plan, failure)) => smallest(&plan, failure, references),
        None => failure,
    }
}

/// Plays runs on all cores; each is a world of its own on its thread.
fn play_all<R: Send>(
    plans: &[Plan],
    play: &(dyn Fn(&Plan) -> R + Sync),
    done: &(dyn Fn(usize, &R) + Sync),
) -> Vec<R> {
    let next = AtomicUsize::new(0);
    let results: Mutex<BTreeMap<usize, R>> = Mutex::default();
    let workers = thread::available_parallelism().map_or(1, std::num::NonZero::get);
    thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                while let Some((index, plan)) = {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    plans.get(index).map(|plan| (index, plan))
                } {
                    let result = play(plan);
                    let mut results = results.lock().unwrap_or_else(PoisonError::into_inner);
                    done(results.len() + 1, &result);
                    results.insert(index, result);
                }
            });
        }
    });
    let results = results.into_inner().unwrap_or_else(PoisonError::into_inner);
    results.into_values().collect()
}

/// Whether a call is one of the writes that a release is made of.
fn is_write(call: &Call) -> bool {
    is_work(call) && call.mutating() && call.kind != Some(Kind::Event)
}

/// At the write of this number by the process that writes first, something goes wrong.
fn at_write(world: &World, write: usize, mut strike: impl FnMut(&Call) -> Option<Fault> + Send + 'static) {
    let (mut seen, mut first) = (0, None);
    world.cluster().faults.rule("at a write", move |call| {
        if !is_write(call) || *first.get_or_insert_with(|| call.actor.clone()) != call.actor {
            return None;
        }
        seen += 1;
        if seen == write + 1 { strike(call) } else { None }
    });
}

/// Just before the write of this number is carried out, somebody does something.
fn meddle(world: &World, write: usize, what: &str, act: impl Fn(&mut Cluster) + Send + Sync + 'static) {
    let meddling = Meddling::new(what, act);
    at_write(world, write, move |_| Some(Fault::Meddled(meddling.clone())));
}

/// The number of writes of a run.
fn writes(record: &Record) -> usize {
    record.calls.iter().filter(|call| is_write(call)).count()
}
