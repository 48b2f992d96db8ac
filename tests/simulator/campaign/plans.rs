//! The campaigns: which runs there are, and what goes wrong in each.

mod calls;
mod clocks;
mod crashes;
mod hostile;
mod leaders;
mod poison;
mod random;
mod watches;

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
    super::{kind::Kind, server::calls::Call},
    end::End,
    run::{Outcome, Plan, is_work},
    scenario::Scenario,
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
    hostile::SPEC,
    poison::PILL,
    random::SOAK,
];

/// A run without any trouble, of every scenario.
pub struct References {
    runs: BTreeMap<&'static str, (Scenario, Outcome)>,
}

impl References {
    /// Plays them.
    pub fn play(scenarios: &[Scenario]) -> Self {
        let plans: Vec<Plan> = scenarios
            .iter()
            .map(|scenario| Plan::peaceful(*scenario, SEED))
            .collect();
        let outcomes = play_all(&plans, &Plan::play, &|_| {});
        let runs = scenarios.iter().zip(outcomes);
        Self {
            runs: runs
                .map(|(scenario, outcome)| (scenario.name, (*scenario, outcome)))
                .collect(),
        }
    }

    /// All scenarios with their reference.
    pub fn all(&self) -> impl Iterator<Item = (Scenario, &Outcome)> {
        self.runs.values().map(|(scenario, outcome)| (*scenario, outcome))
    }

    /// The end that a run of a plan has to come to; none where the trouble itself changes it.
    pub fn end(&self, plan: &Plan, outcome: &Outcome) -> Option<&End> {
        let changed = plan.harmed || plan.free || outcome.helps > 0;
        self.runs
            .get(plan.scenario.name)
            .filter(|_| !changed)
            .map(|(_, outcome)| &outcome.end)
    }
}

/// A run that went wrong.
#[derive(Clone, Debug)]
pub struct Failure {
    /// Its name.
    pub name: String,
    /// Why.
    pub wrong: Vec<String>,
    /// What happened.
    pub trace: String,
}

impl std::fmt::Display for Failure {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { name, wrong, trace } = self;
        write!(
            formatter,
            "{name} (alone again: {RUN}={name:?})\n  {}\n{trace}",
            wrong.join("\n  ")
        )
    }
}

/// Every `step`-th run of a list, or the one that the environment names.
pub fn choose(plans: Vec<Plan>, step: usize) -> Vec<Plan> {
    match env::var(RUN) {
        Ok(name) => plans.into_iter().filter(|plan| plan.name() == name).collect(),
        Err(_) => plans.into_iter().step_by(step.max(1)).collect(),
    }
}

/// Plays runs and judges them; `done` is told how many are.
pub fn judge(plans: &[Plan], references: &References, done: &(dyn Fn(usize) + Sync)) -> Vec<Failure> {
    let one = |plan: &Plan| {
        let played = panic::catch_unwind(AssertUnwindSafe(|| plan.play()));
        let Ok(outcome) = played else {
            return Some(Failure {
                name: plan.name(),
                wrong: vec!["the run panicked; what it said is above".to_owned()],
                trace: String::new(),
            });
        };
        let wrong = outcome.wrong(references.end(plan, &outcome));
        (!wrong.is_empty()).then_some(Failure {
            name: outcome.name,
            wrong,
            trace: outcome.trace,
        })
    };
    play_all(plans, &one, done).into_iter().flatten().collect()
}

/// Plays runs on all cores; each is a world of its own on its thread.
fn play_all<R: Send>(
    plans: &[Plan],
    play: &(dyn Fn(&Plan) -> R + Sync),
    done: &(dyn Fn(usize) + Sync),
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
                    results.insert(index, result);
                    done(results.len());
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

/// The number of writes of a run.
fn writes(outcome: &Outcome) -> usize {
    outcome.calls.iter().filter(|call| is_write(call)).count()
}
