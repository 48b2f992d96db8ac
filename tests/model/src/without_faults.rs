//! Liveness: from any state, once nothing fails any more, the release comes to its end or says why not.
//!
//! The continuation is played on, deterministically, by a few kinds of fate; every state on the way has the same end.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use slipway_crds::v1alpha1::status::Outcome;

use crate::action::{Action, Fate, happen};
use crate::decision::{Effect, Planner};
use crate::kubernetes::Step;
use crate::memory::Tick;
use crate::state::{Budget, State};

/// How a continuation goes.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(crate) struct Course {
    /// Both controllers look, not only one.
    both: bool,
    /// Everybody else is quicker than the controllers.
    quick: bool,
    /// New pods get ready before the cutover too, and tasks exit 0.
    good: bool,
}

/// The continuations that are played.
pub(crate) const COURSES: [Course; 3] = [
    Course {
        both: false,
        quick: false,
        good: true,
    },
    Course {
        both: true,
        quick: true,
        good: true,
    },
    Course {
        both: false,
        quick: true,
        good: false,
    },
];

/// No continuation is longer.
const LONGEST: usize = 2000;

/// How states were seen to end: none for well, else what is wrong.
#[derive(Debug, Default)]
pub(crate) struct Ends {
    known: HashMap<(Course, u64), Option<&'static str>>,
}

/// The same state with nothing left that may go wrong.
pub(crate) fn without_faults(state: &State) -> State {
    let mut state = state.clone();
    state.budget = Budget {
        all: 0,
        crashes: 0,
        faults: 0,
        lags: 0,
        losses: 0,
        wishes: 0,
    };
    for controller in &mut state.controllers {
        controller.lag = None;
    }
    state.controllers.sort();
    state
}

impl Ends {
    /// How many states are known to end.
    pub(crate) fn count(&self) -> usize {
        self.known.len()
    }

    /// What is wrong with the end of a continuation; none for a good one.
    pub(crate) fn end(
        &mut self,
        planner: &mut Planner,
        state: &State,
        course: Course,
    ) -> Option<&'static str> {
        let mut state = without_faults(state);
        state.broken = None;
        let mut way = Vec::new();
        let end = loop {
            let key = (course, hash(&state));
            if let Some(known) = self.known.get(&key) {
                break *known;
            }
            if way.len() > LONGEST {
                break Some("Converges: no rest");
            }
            way.push(key);
            match next(planner, &state, course) {
                Some((_, next)) if next.broken.is_some() => break next.broken,
                Some((_, next)) => state = next,
                None => break at_rest(planner, &state, course),
            }
        };
        self.known.extend(way.into_iter().map(|key| (key, end)));
        end
    }
}

fn hash(state: &State) -> u64 {
    let mut hasher = DefaultHasher::new();
    state.hash(&mut hasher);
    hasher.finish()
}

/// What happens next; none where only somebody from outside could change anything.
pub(crate) fn next(planner: &mut Planner, state: &State, course: Course) -> Option<(Action, State)> {
    // Pods that served come back; what stays broken after the cutover is the user's to mend.
    let moved = planner.memory(state.cluster.release.status).cutover;
    let calls = [0, 1].map(|at| Action::Call(at, Fate::Arrives));
    let looks = [0, 1].map(Action::Look);
    let looks = if course.both { &looks[..] } else { &looks[..1] };
    let steps = state.cluster.steps().into_iter().filter(|step| match step {
        Step::Exit(_, code) => (*code == 0) == course.good,
        Step::PodReady(image) => course.good || *image == 1 || moved,
        _ => true,
    });
    let steps: Vec<Action> = steps.map(Action::Step).collect();
    let ours = calls.iter().chain(looks);
    let order: Vec<Action> = if course.quick {
        steps.iter().chain(ours).copied().collect()
    } else {
        ours.chain(&steps).copied().collect()
    };
    let mut now = order.into_iter().filter(|action| match action {
        Action::Call(at, _) => state.controllers[*at].pending.is_some(),
        Action::Look(at) => state.controllers[*at].pending.is_none(),
        _ => true,
    });
    now.find_map(|action| Some((action, happen(planner, state, action)?)))
        .or_else(|| {
            let wake = wake(planner, state)?;
            let ticks = if wake == Tick::Minute {
                &[Tick::Minute, Tick::Day][..]
            } else {
                &[Tick::Day]
            };
            ticks.iter().find_map(|tick| {
                let action = Action::Time(*tick);
                Some((action, happen(planner, state, action)?))
            })
        })
}

/// A continuation in words, from one state to its end.
pub(crate) fn story(planner: &mut Planner, state: &State, course: Course) -> String {
    let mut state = without_faults(state);
    state.broken = None;
    let mut words = vec![format!("{course:?}")];
    while let Some((action, later)) = next(planner, &state, course).filter(|_| words.len() < LONGEST) {
        let effects = if let Action::Look(_) = action {
            told(planner, &later)
        } else {
            String::new()
        };
        words.push(format!("  {action:?} {effects}"));
        state = later;
        if state.broken.is_some() {
            break;
        }
    }
    let memory = planner.memory(state.cluster.release.status);
    let from = words.len().saturating_sub(90);
    format!(
        "{}\n{:?}\n{}",
        words[from..].join("\n"),
        state.cluster,
        memory.brief()
    )
}

fn told(planner: &Planner, state: &State) -> String {
    let told = state
        .controllers
        .iter()
        .filter_map(|controller| controller.pending.as_ref())
        .map(|pending| {
            let decision = planner.get(pending.decision);
            let effects: Vec<String> = decision.effects.iter().map(Effect::word).collect();
            let says = decision.commit.map(|status| planner.memory(status).phase);
            format!("commits {says:?}, does {effects:?}")
        });
    told.collect::<Vec<_>>().join("; ")
}

/// When a controller looks again by itself.
fn wake(planner: &mut Planner, state: &State) -> Option<Tick> {
    if state.cluster.release.gone {
        return None;
    }
    let decision = planner.decide(&state.cluster);
    planner.get(decision).wake
}

/// What is wrong with a state in which nothing happens any more.
fn at_rest(planner: &mut Planner, state: &State, course: Course) -> Option<&'static str> {
    let cluster = &state.cluster;
    let memory = planner.memory(cluster.release.status);
    let serves = cluster.endpoints.iter().sum::<u8>() > 0 || !course.good;
    if cluster.release.gone {
        let left = cluster.deployment.claim || cluster.service.claim || !cluster.pods.is_empty();
        return (left || !cluster.as_the_user_left_it())
            .then_some("No leak: something of ours is left after the deletion");
    }
    let awake = wake(planner, state).is_some();
    match (memory.outcome, &memory.stalled) {
        (Some(outcome), _) => {
            let image = if outcome == Outcome::Complete {
                cluster.release.image
            } else {
                cluster.deployment.image
            };
            if !cluster.as_the_user_left_it() {
                Some("Converges: the end is reached and something of a window is left")
            } else if cluster.deployment.image != image {
                Some("Converges: complete, but another image runs")
            } else if cluster.pods.iter().any(|pod| pod.finalizer) {
                Some("No leak: a task's pod is held for ever")
            } else if awake {
                Some("Bounded: looks again and again at rest")
            } else {
                (!serves).then_some("Converges: the end is reached and nothing serves")
            }
        }
        (None, Some(_)) => None,
        (None, None) => Some("Converges: at rest without an end and without a word"),
    }
}
