//! What may happen next, and what becomes of the cluster then.

use crate::decision::{Decision, Effect, Planner};
use crate::effect::Answer;
use crate::kubernetes::Step;
use crate::memory::Tick;
use crate::state::{Cluster, Controller, IMAGES, JobState, Lag, Lever, Pending, PodPhase, Seen, State};

/// How many changes a lagging watch may miss.
const LAG: u8 = 2;

/// One thing that happens.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(crate) enum Action {
    /// A controller observes and decides.
    Look(usize),
    /// A controller makes its next call: the commit, or an effect.
    Call(usize, Fate),
    /// A controller dies, and starts again.
    Crash(usize),
    /// One of a controller's watches begins to lag.
    Lags(usize, usize),
    /// The watch has caught up.
    CatchesUp(usize),
    /// Somebody else does something.
    Step(Step),
    /// Time goes by.
    Time(Tick),
    /// A ready pod of an image fails.
    PodFails(u8),
    /// A ReplicaSet is deleted with its pods.
    DeleteSet(u8),
    /// A Job is deleted.
    DeleteJob(u8),
    /// The pod of a task is deleted, or evicted.
    EndPod(u8, bool),
    /// The Release is deleted.
    DeleteRelease,
    /// Another image is asked for.
    NewImage,
    /// An annotation is set.
    Pull(Lever),
}

/// What becomes of a call.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(crate) enum Fate {
    /// It arrives, and so does its answer.
    Arrives,
    /// It does not arrive.
    Lost,
    /// It arrives; its answer does not.
    Unanswered,
    /// It is refused as outdated, though it is not.
    Refused,
}

/// Everything that may happen, whether or not it changes anything.
pub(crate) fn possible(state: &State, actions: &mut Vec<Action>) {
    let (cluster, budget) = (&state.cluster, state.budget.left());
    for (at, controller) in state.controllers.iter().enumerate() {
        if at == 1 && state.controllers[0] == state.controllers[1] {
            continue;
        }
        if controller.pending.is_some() {
            let faults = [Fate::Lost, Fate::Unanswered, Fate::Refused]
                .into_iter()
                .filter(|_| budget.faults > 0);
            actions.extend(
                [Fate::Arrives]
                    .into_iter()
                    .chain(faults)
                    .map(|fate| Action::Call(at, fate)),
            );
        } else {
            actions.push(Action::Look(at));
        }
        if budget.crashes > 0 && controller.pending.is_some() {
            actions.push(Action::Crash(at));
        }
        match controller.lag {
            Some(_) => actions.push(Action::CatchesUp(at)),
            None if budget.lags > 0 => actions.extend((0..7).map(|watch| Action::Lags(at, watch))),
            None => {}
        }
    }
    actions.extend(cluster.steps().into_iter().map(Action::Step));
    actions.extend([Tick::Minute, Tick::Day].map(Action::Time));
    if budget.losses > 0 {
        let images = || 1..=u8::try_from(IMAGES).expect("few images");
        actions.extend(images().flat_map(|image| [Action::PodFails(image), Action::DeleteSet(image)]));
        actions.extend((0..u8::try_from(cluster.jobs.len()).expect("few Jobs")).map(Action::DeleteJob));
        let pods = 0..u8::try_from(cluster.pods.len()).expect("few pods");
        actions.extend(pods.flat_map(|at| [Action::EndPod(at, true), Action::EndPod(at, false)]));
        actions.push(Action::DeleteRelease);
    }
    if budget.wishes > 0 {
        let levers = [Lever::Abort, Lever::Rollback, Lever::Retry].map(Action::Pull);
        actions.extend([Action::NewImage].into_iter().chain(levers));
    }
}

/// The state after an action; none where nothing changes.
pub(crate) fn happen(planner: &mut Planner, before: &State, action: Action) -> Option<State> {
    let mut state = before.clone();
    let mut writer = None;
    match action {
        Action::Look(at) => look(planner, &mut state, at),
        Action::Call(at, fate) => {
            writer = Some(at).filter(|_| fate != Fate::Unanswered);
            call(planner, &mut state, at, fate)?;
            if fate != Fate::Lost {
                state
                    .controllers
                    .iter_mut()
                    .enumerate()
                    .filter(|(other, _)| *other != at)
                    .for_each(|(_, other)| delay(planner, other));
            }
        }
        Action::Crash(at) => {
            state.budget.all -= 1;
            state.budget.crashes -= 1;
            state.controllers[at] = Controller::default();
        }
        Action::Lags(at, watch) => {
            state.budget.all -= 1;
            state.budget.lags -= 1;
            let seen = Seen::all(&state.cluster).swap_remove(watch);
            state.controllers[at].lag = Some(Lag { seen, missed: 0 });
        }
        Action::CatchesUp(at) => state.controllers[at].lag = None,
        Action::Step(step) => {
            state.cluster = state.cluster.step(step, planner.replicas())?;
            let memory = planner.memory(state.cluster.release.status);
            let wrong = before
                .cluster
                .wrong_step(&state.cluster, &memory)
                .filter(|_| step == Step::Rollout);
            state.broken = state.broken.or(wrong);
        }
        Action::Time(tick) => {
            age(planner, &mut state, tick);
            return (state != *before).then_some(state);
        }
        Action::PodFails(_)
        | Action::DeleteSet(_)
        | Action::DeleteJob(_)
        | Action::EndPod(..)
        | Action::DeleteRelease => lose(&mut state, action)?,
        Action::NewImage | Action::Pull(_) => wish(planner, &mut state, action)?,
    }
    notice(&before.cluster, &mut state, writer);
    state.controllers.sort();
    (state != *before).then_some(state)
}

/// What is begun anew rests on objects that were read again.
fn look(planner: &mut Planner, state: &mut State, at: usize) {
    let (mut view, current) = state.controllers[at].view(&state.cluster);
    if state.cluster.release.gone || view.release.gone {
        return;
    }
    let mut id = planner.decide(&view);
    let first = planner.get(id);
    if first.fresh_pods || first.fresh_jobs || !first.fresh_sides.is_empty() {
        refresh(&first, &mut view, &state.cluster);
        if let Some(lag) = &mut state.controllers[at].lag {
            lag.seen = lag.seen.renewed_as(&view);
        }
        id = planner.decide(&view);
        let second = planner.get(id);
        if !second.fresh_sides.is_subset(&first.fresh_sides)
            || second.fresh_pods && !first.fresh_pods
            || second.fresh_jobs && !first.fresh_jobs
        {
            return;
        }
    }
    let decision = planner.get(id);
    if decision.commit.is_none() && decision.effects.is_empty() {
        return;
    }
    if current {
        let wrong = decision
            .effects
            .iter()
            .find_map(|effect| state.cluster.wrong_aim(effect));
        state.broken = state.broken.or(decision.broken).or(wrong);
    }
    state.controllers[at].pending = Some(Pending {
        decision: id,
        status: decision.commit.unwrap_or_default(),
        committed: decision.commit.is_none(),
        current,
        done: 0,
        late: false,
    });
}

/// A call that only the lease keeps from coming late is not made any more.
fn delay(planner: &Planner, controller: &mut Controller) {
    if let Some(pending) = &mut controller.pending {
        let decision = planner.get(pending.decision);
        pending.late |= decision.effects.iter().any(Effect::leans_on_the_lease);
    }
}

fn refresh(decision: &Decision, view: &mut Cluster, cluster: &Cluster) {
    for image in &decision.fresh_sides {
        let place = usize::from(*image) - 1;
        view.sets[place].clone_from(&cluster.sets[place]);
    }
    if decision.fresh_jobs {
        view.jobs.clone_from(&cluster.jobs);
    }
    if decision.fresh_pods {
        // A list brings what is there; what is gone is noticed by the watch.
        view.pods
            .retain(|old| cluster.pods.iter().all(|pod| pod.job != old.job));
        view.pods.extend(cluster.pods.iter().cloned());
        view.pods.sort();
    }
}

fn call(planner: &mut Planner, state: &mut State, at: usize, fate: Fate) -> Option<()> {
    let pending = state.controllers[at].pending.clone()?;
    let decision = planner.get(pending.decision);
    if fate != Fate::Arrives {
        state.budget.all -= 1;
        state.budget.faults -= 1;
    }
    let next = if fate == Fate::Lost {
        None
    } else if !pending.committed {
        let release = &mut state.cluster.release;
        // A conflict drops the decision.
        let arrives = pending.current && !release.gone && fate != Fate::Refused;
        if arrives {
            let (old, new) = (planner.memory(release.status), planner.memory(pending.status));
            release.status = pending.status;
            let falls = (new.number < old.number).then_some("Monotone: the revision's number falls");
            state.broken = state.broken.or(falls);
        }
        let more = arrives && fate == Fate::Arrives && !decision.effects.is_empty();
        more.then_some(Pending {
            committed: true,
            status: 0,
            ..pending
        })
    } else {
        let effect = decision.effects.get(usize::from(pending.done))?;
        if fate == Fate::Refused && decision.effects.len() == usize::from(pending.done) + 1 {
            return None;
        }
        let fenced = pending.late && effect.leans_on_the_lease();
        if fate != Fate::Refused && !fenced {
            let before = state.cluster.clone();
            if state.cluster.carry_out(effect, pending.current) == Answer::Done {
                let memory = planner.memory(state.cluster.release.status);
                let wrong = Cluster::wrong_write(&before, effect, &memory);
                state.broken = state.broken.or(wrong);
            }
        }
        let done = pending.done + 1;
        let more = fate != Fate::Unanswered && usize::from(done) < decision.effects.len();
        more.then_some(Pending { done, ..pending })
    };
    state.controllers[at].pending = next;
    Some(())
}

/// Everything that is remembered grows older.
fn age(planner: &mut Planner, state: &mut State, tick: Tick) {
    let mut older = |status: &mut u32| *status = planner.memories.older(*status, tick);
    older(&mut state.cluster.release.status);
    for controller in &mut state.controllers {
        if let Some(pending) = controller.pending.as_mut().filter(|pending| !pending.committed) {
            older(&mut pending.status);
        }
        if let Some(Lag {
            seen: Seen::Release(old),
            ..
        }) = &mut controller.lag
        {
            older(&mut old.status);
        }
    }
    for at in 0..2 {
        delay(planner, &mut state.controllers[at]);
    }
    state.controllers.sort();
}

fn lose(state: &mut State, action: Action) -> Option<()> {
    state.budget.all -= 1;
    state.budget.losses -= 1;
    let cluster = &mut state.cluster;
    match action {
        Action::PodFails(image) => {
            let set = cluster.set_mut(image).filter(|set| set.ready > 0)?;
            set.ready -= 1;
            set.available = set.available.min(set.ready);
        }
        Action::DeleteSet(image) => {
            let wanted = cluster.set(image)?.wanted > 0;
            cluster.sets[usize::from(image) - 1].take().filter(|_| wanted)?;
            cluster.deployment.synced &= cluster.deployment.paused;
        }
        Action::DeleteJob(at) => {
            let name = cluster.jobs[usize::from(at)].name.clone();
            cluster.delete_job(&name).then_some(())?;
        }
        Action::EndPod(at, evicted) => {
            let pod = cluster.pods[usize::from(at)].clone();
            let runs = matches!(pod.phase, PodPhase::Pending | PodPhase::Running);
            let kept = cluster
                .jobs
                .iter()
                .any(|job| job.name == pod.job && job.state != JobState::Gone);
            (runs && kept && !pod.deleting).then_some(())?;
            cluster.end_pod(&pod.job, evicted);
        }
        Action::DeleteRelease => {
            (!cluster.release.deleting).then_some(())?;
            cluster.release.deleting = true;
            cluster.release.gone = !cluster.release.finalizer;
        }
        _ => return None,
    }
    Some(())
}

fn wish(planner: &Planner, state: &mut State, action: Action) -> Option<()> {
    state.budget.all -= 1;
    state.budget.wishes -= 1;
    let release = &mut state.cluster.release;
    let memory = planner.memory(release.status);
    match action {
        Action::NewImage => {
            release.image = Some(release.image + 1).filter(|image| usize::from(*image) <= IMAGES)?;
        }
        Action::Pull(lever) => release.lever = Some((lever, memory.number)),
        _ => return None,
    }
    (!release.gone).then_some(())
}

/// Who reads the Release is outdated by whoever writes it, and watches that lag miss what changes.
fn notice(before: &Cluster, state: &mut State, writer: Option<usize>) {
    let cluster = state.cluster.clone();
    let written = before.release != cluster.release;
    for (at, controller) in state.controllers.iter_mut().enumerate() {
        if written && let Some(pending) = controller.pending.as_mut().filter(|_| writer != Some(at)) {
            pending.current = false;
        }
        let Some(mut lag) = controller.lag.take() else {
            continue;
        };
        let (was, is) = (lag.seen.renewed(before), lag.seen.renewed(&cluster));
        if was != is && writer == Some(at) {
            // The answer to its own write is entered in its cache.
            lag = Lag { seen: is, missed: 0 };
        } else if was != is {
            lag.missed += 1;
            if let Seen::Release(old) = &mut lag.seen {
                old.current = false;
            }
        }
        controller.lag = Some(lag).filter(|lag| lag.missed <= LAG);
    }
}
