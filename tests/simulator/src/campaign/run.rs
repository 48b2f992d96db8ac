//! One run: a scenario, its troubles, its verdict.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use jiff::SignedDuration;
use slipway_judge::{
    calls::Call,
    invariants::{self, History, Tolerance, Violation},
    past::{CONTROLLER, LEASE},
};
use slipway_kubernetes::{fields, kind::Kind, store::admission::window_guard};
use tokio::time::Instant;

use super::{end::End, plan::Plan, scenario, transcript};
use crate::{
    cluster::Cluster,
    controller::{Controller, Settings},
    world::World,
};

/// No run lasts longer in virtual time.
const LONGEST: Duration = Duration::from_mins(30);
/// After its end a run gets this long to come to rest.
const REST: Duration = Duration::from_mins(4);
/// Then nothing may be written for this long.
const QUIET: Duration = Duration::from_mins(6);
/// A process that crashed is started again after this long.
const RESTART: Duration = Duration::from_secs(1);
/// A person looks after a Release that has waited for one this long.
const PATIENCE: Duration = Duration::from_secs(90);
/// And no more often than this.
const HELPS: usize = 5;

/// What came of a run.
#[derive(Clone, Debug)]
pub struct Record {
    /// Its name.
    pub name: String,
    /// Invariants that it broke.
    pub violations: Vec<Violation>,
    /// Whether it came to its end, and to rest there.
    pub problems: Vec<String>,
    /// Its end.
    pub end: End,
    /// The calls of the controller.
    pub calls: Vec<Call>,
    /// How many of them it made until the end of the story; nothing goes wrong later.
    pub until_end: usize,
    /// The requests to the search engine.
    pub asked: usize,
    /// How many changes of each kind the first process was told of.
    pub told: BTreeMap<Kind, usize>,
    /// What happened, in short.
    pub trace: String,
    /// How often a person had to say `retry`.
    pub helps: usize,
    /// Its length in virtual time.
    pub lasted: Duration,
}

impl Record {
    /// How many changes of a kind the first process was told of.
    pub fn told_of(&self, kind: Kind) -> usize {
        self.told.get(&kind).copied().unwrap_or_default()
    }

    /// All that is wrong with it.
    pub fn wrong(&self, reference: Option<&End>) -> Vec<String> {
        let broken = self.violations.iter().map(ToString::to_string);
        let problems = self.problems.iter().cloned();
        let different = reference.map(|end| self.end.differences(end)).unwrap_or_default();
        broken.chain(problems).chain(different).collect()
    }
}

/// A run as it goes.
pub(super) struct Run<'a> {
    plan: &'a Plan,
    world: World,
    fleet: Vec<Controller>,
    started: usize,
    progress: Progress,
}

/// How far a story is.
#[derive(Default)]
struct Progress {
    started: Option<Instant>,
    acts: usize,
    helps: usize,
    stalled_since: Option<Instant>,
    ended_since: Option<Instant>,
}

impl<'a> Run<'a> {
    pub(super) fn new(plan: &'a Plan) -> Self {
        Self {
            plan,
            world: World::new(plan.seed),
            fleet: Vec::new(),
            started: 0,
            progress: Progress::default(),
        }
    }

    pub(super) async fn play(mut self) -> Record {
        let guard = window_guard(|actor| actor.starts_with(CONTROLLER));
        self.world.cluster().store.admission.push(guard);
        (self.plan.scenario.scene)(&mut self.world);
        self.world.run_for(Duration::from_secs(20)).await;
        for number in self.plan.numbers() {
            (self.plan.troubles[number].arrange)(&mut self.world);
        }
        for _ in 0..self.plan.processes {
            self.start();
        }
        let started = Instant::now();
        self.progress.started = Some(started);
        let mut problems = Vec::new();
        // A clock that is behind makes every wait longer by as much.
        let longest = LONGEST + self.plan.skew.unsigned_abs() + self.plan.slack;
        let reached = self.go_on(started + longest, true).await;
        let lasted = started.elapsed();
        let until_end = self.own_calls();
        if !reached {
            let release = scenario::release(&self.world);
            let status = |field: &str| release["status"][field].to_string();
            problems.push(format!(
                "converges: after {longest:?} it is still in phase {} and waits for {}; {}",
                status("phase"),
                status("waitingFor"),
                status("conditions"),
            ));
        }
        // What was to go wrong later than the end would look like work at rest.
        self.world.cluster().faults.heal();
        self.go_on(Instant::now() + REST, false).await;
        let before = self.work();
        self.go_on(Instant::now() + QUIET, false).await;
        let late: Vec<String> = self.work_since(before);
        if reached && !late.is_empty() && !self.plan.restless {
            problems.push(format!("converges: calls at rest: {}", late.join("; ")));
        }
        let holders = self.holders();
        if self.plan.steady && holders > 1 {
            problems.push(format!(
                "fenced: {holders} processes held the Lease, one after the other"
            ));
        }
        if self.fleet.iter_mut().any(Controller::ended) {
            problems.push("bounded: a part of the process has ended or panicked".to_owned());
        }
        self.record(problems, until_end, lasted)
    }

    /// Starts a process under a new name.
    fn start(&mut self) {
        let number = self.started;
        self.started += 1;
        let odd = number % 2 == 1;
        let settings = Settings {
            name: format!("{CONTROLLER}{number}"),
            seed: self.world.random().next(),
            lease: if self.plan.own_leases && odd {
                "another"
            } else {
                LEASE
            },
            skew: if odd { self.plan.skew } else { SignedDuration::ZERO },
            fenced: self.plan.fenced,
            planner: (self.plan.planner)(),
        };
        self.fleet.push(Controller::start(&self.world, settings));
    }

    /// Goes on until the end of the story, or until a time.
    async fn go_on(&mut self, until: Instant, story: bool) -> bool {
        let stopped = self.world.cluster().faults.stopped();
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let plan = self.plan;
            let (progress, mut seen) = (&mut self.progress, None);
            let reached = tokio::select! {
                biased;
                () = stopped.notified() => None,
                reached = self.world.run_until(left, |world| {
                    // Nothing to see where nothing has changed.
                    let version = world.cluster().store.version();
                    story && seen.replace(version) != Some(version) && progress.advance(plan, world)
                }) => Some(reached),
            };
            match reached {
                None => self.replace_the_dead().await,
                Some(reached) => return reached,
            }
            if Instant::now() >= until {
                return false;
            }
        }
    }

    /// What crashed is dropped, and started again under another name a moment later.
    async fn replace_the_dead(&mut self) {
        let dead: Vec<String> = {
            let cluster = self.world.cluster();
            let names = self.fleet.iter().map(|process| process.name().to_owned());
            names.filter(|name| cluster.faults.hangs(name)).collect()
        };
        self.fleet
            .retain(|process| !dead.iter().any(|name| name == process.name()));
        self.world.run_for(RESTART).await;
        for name in dead {
            self.world.cluster().faults.restarted(&name);
            self.start();
        }
    }

    /// How many processes held the Lease.
    fn holders(&self) -> usize {
        let cluster = self.world.cluster();
        let leases = cluster.store.changes_of(Kind::Lease, 0);
        let holders = leases.map(|change| fields::text(&change.object, "/spec/holderIdentity"));
        holders.collect::<BTreeSet<_>>().len()
    }

    /// How many calls the controller made.
    fn own_calls(&self) -> usize {
        let cluster = self.world.cluster();
        let calls = cluster.calls.all().iter();
        calls.filter(|call| call.actor.starts_with(CONTROLLER)).count()
    }

    /// How many calls there were.
    fn work(&self) -> usize {
        self.world.cluster().calls.all().len()
    }

    /// The calls of the controller since then, but for Lease and watches.
    fn work_since(&self, before: usize) -> Vec<String> {
        let cluster = self.world.cluster();
        let calls = cluster.calls.all().iter().skip(before);
        calls
            .filter(|call| is_work(call))
            .map(ToString::to_string)
            .collect()
    }

    fn record(mut self, problems: Vec<String>, until_end: usize, lasted: Duration) -> Record {
        let end = End::of(&mut self.world);
        let scenario = &self.plan.scenario;
        let tolerance = Tolerance {
            floor: if self.plan.harmed { 0 } else { scenario.floor },
            disturbed: scenario.disturbed || self.plan.harmed,
            timed: self.plan.timed,
        };
        let cluster = self.world.cluster();
        let history = History {
            changes: cluster.store.changes(),
            calls: cluster.calls.all(),
            name_changes: &cluster.search.name_changes,
            processes: &cluster.processes,
            complete: true,
        };
        let violations = invariants::check(history, tolerance);
        let own = cluster.calls.all().iter();
        let calls: Vec<Call> = own
            .filter(|call| call.actor.starts_with(CONTROLLER))
            .cloned()
            .collect();
        let wrong = !violations.is_empty() || !problems.is_empty();
        let trace = if wrong {
            transcript::short(history.changes, &calls)
        } else {
            String::new()
        };
        Record {
            name: self.plan.name(),
            violations,
            problems,
            end,
            calls,
            until_end,
            asked: cluster.search.requests.len(),
            told: told(&cluster),
            trace,
            helps: self.progress.helps,
            lasted,
        }
    }
}

/// How many changes of each kind the first process was told of.
fn told(cluster: &Cluster) -> BTreeMap<Kind, usize> {
    let first = format!("{CONTROLLER}0");
    let told = cluster.told.iter();
    let own = told.filter(|((actor, _), _)| actor.as_ref() == first);
    own.map(|((_, kind), count)| (*kind, *count)).collect()
}

/// Whether a call is more than keeping the Lease and the watches.
pub fn is_work(call: &Call) -> bool {
    call.actor.starts_with(CONTROLLER) && call.kind != Some(Kind::Lease) && call.verb != "watch"
}

impl Progress {
    /// Lets people do what is due. Returns whether the story is at its end.
    fn advance(&mut self, plan: &Plan, world: &mut World) -> bool {
        let scenario = &plan.scenario;
        if let Some(act) = scenario.acts.get(self.acts)
            && (act.when)(world)
        {
            (act.then)(world);
            self.acts += 1;
        }
        // Where a stranger did harm or a person had to help, what the story was to tell may never happen.
        let told = self.acts == scenario.acts.len() || self.helps > 0 || plan.harmed;
        if told && (scenario.end)(world) {
            let since = *self.ended_since.get_or_insert_with(Instant::now);
            let over = self
                .started
                .is_some_and(|started| started.elapsed() >= plan.earliest);
            return over && since.elapsed() >= plan.lasting;
        }
        self.ended_since = None;
        if plan.helped {
            self.help(world);
        }
        false
    }

    /// A person says `retry` to a Release that has waited for one for a while.
    fn help(&mut self, world: &mut World) {
        if !scenario::stalled(world) {
            self.stalled_since = None;
            return;
        }
        let since = *self.stalled_since.get_or_insert_with(Instant::now);
        if since.elapsed() >= PATIENCE && self.helps < HELPS {
            self.stalled_since = None;
            self.helps += 1;
            let release = scenario::release(world);
            let revision = fields::text(&release, "/status/revision/name").to_owned();
            scenario::lever(world, "retry", &format!("{revision}/help-{}", self.helps));
        }
    }
}
