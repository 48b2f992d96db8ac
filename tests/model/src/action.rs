//! What may happen next, and what becomes of the world then.

use crate::deed::Answer;
use crate::kubernetes::Step;
use crate::memory::Tick;
use crate::state::{Controller, IMAGES, JobState, Lag, Lever, Pending, PodPhase, Seen, State, World};
use crate::thought::{Deed, Mind, Thought};

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
    World(Step),
    /// Time passes.
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
    let (world, budget) = (&state.world, state.budget.left());
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
    actions.extend(world.steps().into_iter().map(Action::World));
    actions.extend([Tick::Minute, Tick::Day].map(Action::Time));
    if budget.losses > 0 {
        let images = || 1..=u8::try_from(IMAGES).expect("few images");
        actions.extend(images().flat_map(|image| [Action::PodFails(image), Action::DeleteSet(image)]));
        actions.extend((0..u8::try_from(world.jobs.len()).expect("few Jobs")).map(Action::DeleteJob));
        let pods = 0..u8::try_from(world.pods.len()).expect("few pods");
        actions.extend(pods.flat_map(|at| [Action::EndPod(at, true), Action::EndPod(at, false)]));
        actions.push(Action::DeleteRelease);
    }
    if budget.wishes > 0 {
        let levers = [Lever::Abort, Lever::Rollback, Lever::Retry].map(Action::Pull);
        actions.extend([Action::NewImage].into_iter().chain(levers));
    }
}

/// The state after an action; none where nothing changes.
pub(crate) fn happen(mind: &mut Mind, before: &State, action: Action) -> Option<State> {
    let mut state = before.clone();
    let mut writer = None;
    match action {
        Action::Look(at) => look(mind, &mut state, at),
        Action::Call(at, fate) => {
            writer = Some(at).filter(|_| fate != Fate::Unanswered);
            call(mind, &mut state, at, fate)?;
            if fate != Fate::Lost {
                state
                    .controllers
                    .iter_mut()
                    .enumerate()
                    .filter(|(other, _)| *other != at)
                    .for_each(|(_, other)| delay(mind, other));
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
            let seen = Seen::all(&state.world).swap_remove(watch);
            state.controllers[at].lag = Some(Lag { seen, missed: 0 });
        }
        Action::CatchesUp(at) => state.controllers[at].lag = None,
        Action::World(step) => {
            state.world = state.world.step(step, mind.replicas())?;
            let memory = mind.memory(state.world.release.status);
            let wrong = before
                .world
                .wrong_step(&state.world, &memory)
                .filter(|_| step == Step::Rollout);
            state.broken = state.broken.or(wrong);
        }
        Action::Time(tick) => {
            pass(mind, &mut state, tick);
            return (state != *before).then_some(state);
        }
        Action::PodFails(_)
        | Action::DeleteSet(_)
        | Action::DeleteJob(_)
        | Action::EndPod(..)
        | Action::DeleteRelease => lose(&mut state, action)?,
        Action::NewImage | Action::Pull(_) => wish(mind, &mut state, action)?,
    }
    notice(&before.world, &mut state, writer);
    state.controllers.sort();
    (state != *before).then_some(state)
}

/// What is begun anew with fresh eyes rests on objects that were read again.
fn look(mind: &mut Mind, state: &mut State, at: usize) {
    let (mut view, current) = state.controllers[at].view(&state.world);
    if state.world.release.gone || view.release.gone {
        return;
    }
    let mut id = mind.decide(&view);
    let first = mind.get(id);
    if first.fresh_pods || first.fresh_jobs || !first.fresh_sides.is_empty() {
        refresh(&first, &mut view, &state.world);
        if let Some(lag) = &mut state.controllers[at].lag {
            lag.seen = lag.seen.renewed_as(&view);
        }
        id = mind.decide(&view);
        let second = mind.get(id);
        if !second.fresh_sides.is_subset(&first.fresh_sides)
            || second.fresh_pods && !first.fresh_pods
            || second.fresh_jobs && !first.fresh_jobs
        {
            return;
        }
    }
    let thought = mind.get(id);
    if thought.commit.is_none() && thought.deeds.is_empty() {
        return;
    }
    if current {
        let wrong = thought.deeds.iter().find_map(|deed| state.world.wrong_aim(deed));
        state.broken = state.broken.or(thought.broken).or(wrong);
    }
    state.controllers[at].pending = Some(Pending {
        thought: id,
        status: thought.commit.unwrap_or_default(),
        committed: thought.commit.is_none(),
        current,
        done: 0,
        late: false,
    });
}

/// A call that only the lease keeps from coming late is not made any more.
fn delay(mind: &Mind, controller: &mut Controller) {
    if let Some(pending) = &mut controller.pending {
        let thought = mind.get(pending.thought);
        pending.late |= thought.deeds.iter().any(Deed::leans_on_the_lease);
    }
}

fn refresh(thought: &Thought, view: &mut World, world: &World) {
    for image in &thought.fresh_sides {
        let place = usize::from(*image) - 1;
        view.sets[place].clone_from(&world.sets[place]);
    }
    if thought.fresh_jobs {
        view.jobs.clone_from(&world.jobs);
    }
    if thought.fresh_pods {
        // A list brings what is there; what is gone is noticed by the watch.
        view.pods
            .retain(|old| world.pods.iter().all(|pod| pod.job != old.job));
        view.pods.extend(world.pods.iter().cloned());
        view.pods.sort();
    }
}

fn call(mind: &mut Mind, state: &mut State, at: usize, fate: Fate) -> Option<()> {
    let pending = state.controllers[at].pending.clone()?;
    let thought = mind.get(pending.thought);
    if fate != Fate::Arrives {
        state.budget.all -= 1;
        state.budget.faults -= 1;
    }
    let next = if fate == Fate::Lost {
        None
    } else if !pending.committed {
        let release = &mut state.world.release;
        // A conflict drops the decision.
        let arrives = pending.current && !release.gone && fate != Fate::Refused;
        if arrives {
            let (old, new) = (mind.memory(release.status), mind.memory(pending.status));
            release.status = pending.status;
            let falls = (new.number < old.number).then_some("Monotone: the revision's number falls");
            state.broken = state.broken.or(falls);
        }
        let more = arrives && fate == Fate::Arrives && !thought.deeds.is_empty();
        more.then_some(Pending {
            committed: true,
            status: 0,
            ..pending
        })
    } else {
        let deed = thought.deeds.get(usize::from(pending.done))?;
        if fate == Fate::Refused && thought.deeds.len() == usize::from(pending.done) + 1 {
            return None;
        }
        let fenced = pending.late && deed.leans_on_the_lease();
        if fate != Fate::Refused && !fenced {
            let before = state.world.clone();
            if state.world.carry_out(deed, pending.current) == Answer::Done {
                let memory = mind.memory(state.world.release.status);
                let wrong = World::wrong_write(&before, deed, &memory);
                state.broken = state.broken.or(wrong);
            }
        }
        let done = pending.done + 1;
        let more = fate != Fate::Unanswered && usize::from(done) < thought.deeds.len();
        more.then_some(Pending { done, ..pending })
    };
    state.controllers[at].pending = next;
    Some(())
}

/// Everything that is remembered grows older.
fn pass(mind: &mut Mind, state: &mut State, tick: Tick) {
    let mut older = |status: &mut u32| *status = mind.memories.older(*status, tick);
    older(&mut state.world.release.status);
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
        delay(mind, &mut state.controllers[at]);
    }
    state.controllers.sort();
}

fn lose(state: &mut State, action: Action) -> Option<()> {
    state.budget.all -= 1;
    state.budget.losses -= 1;
    let world = &mut state.world;
    match action {
        Action::PodFails(image) => {
            let set = world.set_mut(image).filter(|set| set.ready > 0)?;
            set.ready -= 1;
            set.available = set.available.min(set.ready);
        }
        Action::DeleteSet(image) => {
            let wanted = world.set(image)?.wanted > 0;
            world.sets[usize::from(image) - 1].take().filter(|_| wanted)?;
            world.deployment.synced &= world.deployment.paused;
        }
        Action::DeleteJob(at) => {
            let name = world.jobs[usize::from(at)].name.clone();
            world.delete_job(&name).then_some(())?;
        }
        Action::EndPod(at, evicted) => {
            let pod = world.pods[usize::from(at)].clone();
            let runs = matches!(pod.phase, PodPhase::Pending | PodPhase::Running);
            let kept = world
                .jobs
                .iter()
                .any(|job| job.name == pod.job && job.state != JobState::Gone);
            (runs && kept && !pod.deleting).then_some(())?;
            world.end_pod(&pod.job, evicted);
        }
        Action::DeleteRelease => {
            (!world.release.deleting).then_some(())?;
            world.release.deleting = true;
            world.release.gone = !world.release.finalizer;
        }
        _ => return None,
    }
    Some(())
}

fn wish(mind: &Mind, state: &mut State, action: Action) -> Option<()> {
    state.budget.all -= 1;
    state.budget.wishes -= 1;
    let release = &mut state.world.release;
    let memory = mind.memory(release.status);
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
fn notice(before: &World, state: &mut State, writer: Option<usize>) {
    let world = state.world.clone();
    let written = before.release != world.release;
    for (at, controller) in state.controllers.iter_mut().enumerate() {
        if written && let Some(pending) = controller.pending.as_mut().filter(|_| writer != Some(at)) {
            pending.current = false;
        }
        let Some(mut lag) = controller.lag.take() else {
            continue;
        };
        let (was, is) = (lag.seen.renewed(before), lag.seen.renewed(&world));
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
