//! The model of a release, window by window, and what holds in it.

use std::collections::{BTreeSet, HashSet};
use std::sync::{Arc, Mutex, MutexGuard};

use serde_json::json;
use slipway_crds::v1alpha1::Phase;
use slipway_crds::v1alpha1::status::{Course, Outcome};
use stateright::{Checker, HasDiscoveries, Model, Property};

use crate::action::{Action, happen, possible};
use crate::decision::Planner;
use crate::state::{
    Budget, Cluster, Controller, Deployment, JobState, PodPhase, Release, Service, Set, State, StatusId,
};
use crate::without_faults::{COURSES, Ends, next, story, without_faults};

/// A part of a release: from the states in which the one before was left, to the first step beyond.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Window {
    /// What people read.
    pub name: &'static str,
    /// How many steps are begun in it at most; those of the second revision count on.
    pub until: usize,
}

/// The windows, in order.
pub(crate) const WINDOWS: [Window; 4] = [
    Window {
        name: "Preflight, Prepare, Expand",
        until: 3,
    },
    Window {
        name: "Preboot",
        until: 5,
    },
    Window {
        name: "Cutover, Watch",
        until: 7,
    },
    Window {
        name: "Retire",
        until: 8,
    },
];

/// What an exploration saw.
#[derive(Debug)]
pub(crate) struct Explored {
    pub entries: usize,
    pub generated: usize,
    pub unique: usize,
    pub depth: usize,
    pub views: usize,
    pub continuations: usize,
    /// Names of the `sometimes` properties that were met.
    pub met: BTreeSet<&'static str>,
    /// The states in which it was left.
    pub left: Vec<State>,
}

/// What all windows share: the engine, what it was asked before, and how continuations ended.
#[derive(Clone, Debug)]
pub(crate) struct Laboratory {
    planner: Arc<Mutex<Planner>>,
    ends: Arc<Mutex<Ends>>,
    replicas: u8,
}

struct Releases {
    window: Window,
    entries: Vec<State>,
    laboratory: Laboratory,
    left: Mutex<HashSet<State>>,
}

impl Laboratory {
    /// For Deployments of this size.
    pub(crate) fn new(replicas: u8) -> Self {
        Self {
            planner: Arc::new(Mutex::new(planner(replicas))),
            ends: Arc::default(),
            replicas,
        }
    }

    /// A single thread explores, so nobody else ever holds the engine.
    fn planner(&self) -> MutexGuard<'_, Planner> {
        self.planner.lock().expect("one thread")
    }

    fn ends(&self) -> MutexGuard<'_, Ends> {
        self.ends.lock().expect("one thread")
    }
}

impl Releases {
    fn begun(&self, state: &State) -> usize {
        let memory = self.laboratory.planner().memory(state.cluster.release.status);
        memory.begun + 8 * usize::from(memory.number.saturating_sub(2))
    }
}

/// What the model's states are asked.
type Ask = fn(&Releases, &State) -> bool;

fn asks(state: &State, model: &Releases, ask: impl Fn(&crate::memory::Memory) -> bool) -> bool {
    ask(&model.laboratory.planner().memory(state.cluster.release.status))
}

const ALWAYS: [(&str, Ask); 6] = [
    ("no write breaks an invariant", |_, state| state.broken.is_none()),
    ("two migrations never run at a time", |_, state| {
        let runs = |pod: &&crate::state::TaskPod| &*pod.step == "expand" && pod.phase == PodPhase::Running;
        state.cluster.pods.iter().filter(runs).count() <= 1
    }),
    ("the steps are taken in their order", |model, state| {
        asks(state, model, |memory| memory.ordered)
    }),
    (
        "an ended revision leaves the user's own values",
        |model, state| {
            state.cluster.deployment.as_the_user_left_it()
                || asks(state, model, |memory| memory.outcome.is_none())
        },
    ),
    ("a deleted Release leaves no window", |_, state| {
        state.cluster.as_the_user_left_it() || !state.cluster.release.gone
    }),
    ("every continuation without faults ends", |model, state| {
        let (mut planner, mut ends) = (model.laboratory.planner(), model.laboratory.ends());
        COURSES
            .iter()
            .all(|course| ends.end(&mut planner, state, *course).is_none())
    }),
];

macro_rules! met {
    ($($name:literal: $ask:expr),* $(,)?) => {
        [$(($name, |model, state| asks(state, model, $ask)),)*]
    };
}

const SOMETIMES: [(&str, Ask); 16] = met![
    "Planned": |memory| memory.number == 2,
    "Prepare": |memory| memory.phase == Phase::Prepare,
    "Expand": |memory| memory.phase == Phase::Expand,
    "Preboot": |memory| memory.phase == Phase::Preboot,
    "Cutover": |memory| memory.phase == Phase::Cutover,
    "Watch": |memory| memory.phase == Phase::Watch,
    "Retire": |memory| memory.phase == Phase::Retire,
    "Complete": |memory| memory.outcome == Some(Outcome::Complete),
    "Failed": |memory| memory.outcome == Some(Outcome::Failed),
    "Aborted": |memory| memory.outcome == Some(Outcome::Aborted),
    "RolledBack": |memory| memory.outcome == Some(Outcome::RolledBack),
    "Terminating": |memory| memory.phase == Phase::Terminating,
    "stalled: the outcome of a task is unknown": |memory| memory.stalled.as_deref() == Some("TaskUnknown"),
    "the new side died at the cutover": |memory| memory.reason.as_deref() == Some("NewSideLost"),
    "the new side died while the old one was being ended": |memory| memory.retiring && memory.course == Course::Rollback,
    "superseded": |memory| memory.reason.as_deref() == Some("Superseded"),
];

impl Model for Releases {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        self.entries.clone()
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        possible(state, actions);
    }

    fn next_state(&self, state: &State, action: Action) -> Option<State> {
        happen(&mut self.laboratory.planner(), state, action)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        let always = ALWAYS.iter().map(|(name, ask)| Property::always(name, *ask));
        let sometimes = SOMETIMES
            .iter()
            .map(|(name, ask)| Property::sometimes(name, *ask));
        always.chain(sometimes).collect()
    }

    fn within_boundary(&self, state: &State) -> bool {
        let within = self.begun(state) <= self.window.until;
        if !within {
            self.left.lock().expect("one thread").insert(state.clone());
        }
        within
    }
}

/// A Release of one workload, with a task before the migration and the migration.
fn planner(replicas: u8) -> Planner {
    let spec = json!({
        "workloads": [{"name": "web", "deployment": "web", "services": ["web"]}],
        "prepare": [{"name": "assets", "command": ["assets"]}],
        "migrate": {"expand": {"command": ["migrate"]}},
        "preboot": {"minimumWait": "30s"},
        "watch": {"for": "1m"},
    });
    Planner::new(spec, replicas)
}

/// What runs before the first revision, under a Release with this status.
pub(crate) fn beginning(status: StatusId, replicas: u8) -> Cluster {
    let set = Set {
        uid: 0,
        version: 1,
        wanted: replicas,
        held: false,
        current: true,
        pods: replicas,
        ready: replicas,
        available: replicas,
    };
    let deployment = Deployment {
        version: 1,
        synced: true,
        claim: false,
        window: false,
        image: 1,
        held_ready: false,
        held_deadline: false,
        held_strategy: false,
        paused: false,
        counted: replicas,
    };
    Cluster {
        release: Release {
            status,
            image: 1,
            lever: None,
            deleting: false,
            finalizer: false,
            gone: false,
        },
        deployment,
        sets: [Some(set), None, None],
        service: Service {
            version: 1,
            claim: false,
            window: false,
            pin: None,
        },
        endpoints: [replicas, 0, 0],
        jobs: Vec::new(),
        pods: Vec::new(),
    }
}

/// What runs was adopted, and a newer image is asked for.
fn adopted(planner: &mut Planner, budget: Budget, replicas: u8) -> State {
    let status = planner
        .memories
        .id(slipway_crds::v1alpha1::ReleaseStatus::default());
    let cluster = beginning(status, replicas);
    let controllers = [Controller::default(), Controller::default()];
    let mut state = State {
        cluster,
        controllers,
        budget,
        broken: None,
    };
    while let Some((_, later)) = next(planner, &without_faults(&state), COURSES[0]) {
        state = later;
    }
    assert_eq!(
        planner.memory(state.cluster.release.status).outcome,
        Some(Outcome::Adopted)
    );
    state.cluster.release.image = 2;
    state
}

/// The beginning of a window: controllers that were just started, everything allowed anew, and tasks forgotten that
/// have ended and been let go.
fn anew(state: &State, budget: Budget) -> State {
    let mut state = State {
        budget,
        controllers: Default::default(),
        ..state.clone()
    };
    let cluster = &mut state.cluster;
    cluster.pods.retain(|pod| pod.finalizer);
    let pods = cluster.pods.clone();
    cluster.jobs.retain(|job| {
        let ended = matches!(job.state, JobState::Complete | JobState::Failed | JobState::Gone);
        !ended || pods.iter().any(|pod| pod.job == job.name)
    });
    state
}

/// Explores a window to its end, from the states in which the one before was left.
///
/// # Panics
/// Where something is met that must never be: with the shortest way to it.
pub(crate) fn explore(laboratory: &Laboratory, window: Window, budget: Budget, before: &[State]) -> Explored {
    let entries = if before.is_empty() {
        vec![adopted(&mut laboratory.planner(), budget, laboratory.replicas)]
    } else {
        before.iter().map(|state| anew(state, budget)).collect()
    };
    let model = Releases {
        window,
        entries,
        laboratory: laboratory.clone(),
        left: Mutex::new(HashSet::new()),
    };
    let entries: HashSet<State> = model
        .entries
        .iter()
        .filter(|state| model.within_boundary(state))
        .cloned()
        .collect();
    let model = Releases {
        entries: entries.into_iter().collect(),
        ..model
    };
    let count = model.entries.len();
    println!("{}: {count} entries", window.name);
    let checker = model
        .checker()
        .finish_when(HasDiscoveries::AnyFailures)
        .spawn_bfs()
        .join();
    let mut met = BTreeSet::new();
    for (name, path) in checker.discoveries() {
        if SOMETIMES.iter().any(|(known, _)| *known == name) {
            met.insert(name);
        } else {
            let last = path.last_state().clone();
            let wrong = broken(laboratory, &last);
            let actions: Vec<String> = path
                .into_actions()
                .iter()
                .map(|action| format!("{action:?}"))
                .collect();
            panic!(
                "{}: not so: {name}\n{wrong}\n{}\n{last:?}\n{}",
                window.name,
                actions.join("\n"),
                laboratory.planner().memory(last.cluster.release.status).brief()
            );
        }
    }
    let left = checker
        .model()
        .left
        .lock()
        .expect("one thread")
        .iter()
        .cloned()
        .collect();
    let planner = laboratory.planner();
    Explored {
        entries: count,
        generated: checker.state_count(),
        unique: checker.unique_state_count(),
        depth: checker.max_depth(),
        views: planner.views(),
        continuations: laboratory.ends().count(),
        met,
        left,
    }
}

/// What is wrong in a state, and how it comes to it.
fn broken(laboratory: &Laboratory, state: &State) -> String {
    let (mut planner, mut ends) = (laboratory.planner(), laboratory.ends());
    let bad = COURSES
        .iter()
        .filter_map(|course| Some((ends.end(&mut planner, state, *course)?, *course)));
    let bad: Vec<_> = bad.collect();
    let stories = bad
        .into_iter()
        .map(|(wrong, course)| format!("{wrong}\n{}", story(&mut planner, state, course)));
    state
        .broken
        .map(str::to_owned)
        .into_iter()
        .chain(stories)
        .collect::<Vec<_>>()
        .join("\n")
}

/// Every step and every way out that some window has to meet.
pub(crate) fn to_meet() -> BTreeSet<&'static str> {
    SOMETIMES.iter().map(|(name, _)| *name).collect()
}
