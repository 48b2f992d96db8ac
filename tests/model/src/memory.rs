//! Statuses as the model keeps them: without words, and with ages in place of times.
//!
//! What status remembers is now, about a minute or about a day old: three ages tell every deadline of the engine
//! apart that may pass in these releases. Times that no decision reads are made equal.

use std::collections::HashMap;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use slipway_crds::v1alpha1::status::{Course, Outcome, StepName, StepState};
use slipway_crds::v1alpha1::{Phase, ReleaseStatus};

use crate::state::StatusId;
use crate::view::{NOW, job_uid};

/// How much time passes.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub(crate) enum Tick {
    /// A minute: minimum waits, the watch, a side that is worse than at the cutover.
    Minute,
    /// A day: every deadline.
    Day,
}

const MINUTE: SignedDuration = SignedDuration::from_secs(61);
const DAY: SignedDuration = SignedDuration::from_hours(24);

/// A status, and what properties ask of it.
#[derive(Debug)]
pub(crate) struct Memory {
    /// As the engine reads it.
    pub status: ReleaseStatus,
    pub phase: Phase,
    /// Number of the revision; 0 before the first.
    pub number: u8,
    pub outcome: Option<Outcome>,
    pub course: Course,
    /// Why a revision is not on its way.
    pub reason: Option<String>,
    /// Why somebody has to mend something.
    pub stalled: Option<String>,
    /// The intent to move the traffic is recorded.
    pub cutover: bool,
    /// The intent to stop the old side is recorded.
    pub retiring: bool,
    /// Steps that were begun.
    pub begun: usize,
    /// No step is at work before the one before it has passed.
    pub ordered: bool,
}

impl Memory {
    fn new(status: ReleaseStatus) -> Self {
        let revision = status.revision.as_ref();
        let passed = |state| matches!(state, StepState::Succeeded | StepState::Skipped);
        let begun = status
            .steps
            .iter()
            .filter(|step| step.started_at.is_some())
            .count();
        let stalled = status
            .conditions
            .iter()
            .find(|condition| condition.type_ == "Stalled");
        let at_work = |state| matches!(state, StepState::Running | StepState::Failed | StepState::Unknown);
        let mut pairs = status.steps.windows(2);
        Self {
            phase: status.phase.unwrap_or(Phase::Pending),
            number: revision.map_or(0, |revision| {
                u8::try_from(revision.number).expect("a small number")
            }),
            outcome: revision
                .and_then(|revision| revision.ended)
                .map(|ended| ended.outcome),
            course: revision.map(|revision| revision.course).unwrap_or_default(),
            reason: revision
                .and_then(|revision| revision.reason.as_ref())
                .map(|reason| reason.reason.to_string()),
            stalled: stalled.map(|condition| condition.reason.clone()),
            cutover: status.cutover.is_some(),
            retiring: status
                .steps
                .iter()
                .any(|step| step.name == StepName::Watch && passed(step.state)),
            begun,
            ordered: pairs.all(|pair| !at_work(pair[1].state) || passed(pair[0].state)),
            status,
        }
    }

    /// What it says in a few words.
    pub(crate) fn brief(&self) -> String {
        let Self {
            phase,
            number,
            outcome,
            course,
            reason,
            stalled,
            cutover,
            retiring,
            ..
        } = self;
        format!(
            "{phase:?} of revision {number}, {course:?} for {reason:?}, outcome {outcome:?}, stalled {stalled:?}, cutover {cutover}, retiring {retiring}, {:?}, {:?}",
            self.status.tasks, self.status.workloads
        )
    }

    /// Whether this Job was recorded for a task that was intended.
    pub(crate) fn intended(&self, job: &str, uid: u8) -> bool {
        let uid = Some(job_uid(job, uid));
        self.status
            .tasks
            .iter()
            .any(|task| task.job.as_str() == job && task.job_uid == uid)
    }

    /// Whether the side that served may go.
    pub(crate) fn leaves(&self) -> bool {
        self.retiring || self.course != Course::Forward
    }
}

/// All statuses that were met.
#[derive(Debug, Default)]
pub(crate) struct Memories {
    known: Vec<Arc<Memory>>,
    ids: HashMap<String, StatusId>,
    older: HashMap<(StatusId, Tick), StatusId>,
}

impl Memories {
    /// A status by its number.
    pub(crate) fn get(&self, id: StatusId) -> Arc<Memory> {
        Arc::clone(&self.known[usize::try_from(id).expect("an index")])
    }

    /// The number of a status.
    pub(crate) fn id(&mut self, mut status: ReleaseStatus) -> StatusId {
        plain(&mut status);
        let text = serde_json::to_string(&status).expect("a status is JSON");
        if let Some(id) = self.ids.get(&text) {
            return *id;
        }
        let id = StatusId::try_from(self.known.len()).expect("few statuses");
        self.known.push(Arc::new(Memory::new(status)));
        self.ids.insert(text, id);
        id
    }

    /// The same status when time has gone by.
    pub(crate) fn older(&mut self, id: StatusId, tick: Tick) -> StatusId {
        if let Some(older) = self.older.get(&(id, tick)) {
            return *older;
        }
        let mut status = self.get(id).status.clone();
        age(&mut status, |time| {
            let age = NOW.duration_since(*time);
            let least = if tick == Tick::Day { DAY } else { MINUTE };
            *time = *NOW - age.max(least);
        });
        let older = self.id(status);
        self.older.insert((id, tick), older);
        older
    }
}

/// Every time that a decision may compare with the present one.
fn age(status: &mut ReleaseStatus, mut change: impl FnMut(&mut Timestamp)) {
    let steps = status
        .steps
        .iter_mut()
        .filter(|step| step.name == StepName::Preboot);
    steps
        .filter_map(|step| step.started_at.as_mut())
        .for_each(&mut change);
    status
        .cutover
        .iter_mut()
        .filter_map(|cutover| cutover.confirmed_at.as_mut())
        .for_each(&mut change);
    for workload in &mut status.workloads {
        let times = [
            &mut workload.locked_at,
            &mut workload.ready_since,
            &mut workload.last_pin_change_at,
            &mut workload.degraded_since,
        ];
        times.into_iter().flatten().for_each(&mut change);
    }
    for task in status.tasks.iter_mut().filter(|task| task.outcome.is_none()) {
        change(&mut task.intent_at);
        [&mut task.started_at, &mut task.finished_at]
            .into_iter()
            .flatten()
            .for_each(&mut change);
    }
}

/// Takes away what no decision reads.
fn plain(status: &mut ReleaseStatus) {
    let now = *NOW;
    let same = |time: &mut Option<Timestamp>| {
        if time.is_some() {
            *time = Some(now);
        }
    };
    let passed = |status: &ReleaseStatus, name| {
        let mut steps = status.steps.iter();
        steps.any(|step| step.name == name && matches!(step.state, StepState::Succeeded | StepState::Skipped))
    };
    let ended = status
        .revision
        .as_ref()
        .is_some_and(|revision| revision.ended.is_some());
    let booted = ended || passed(status, StepName::Preboot);
    let watched = ended || passed(status, StepName::Watch);
    (status.progress, status.waiting_for) = (None, None);
    for condition in &mut status.conditions {
        condition.message.clear();
        condition.last_transition_time = Time(now);
    }
    for step in &mut status.steps {
        (step.message, step.progress) = (None, None);
        same(&mut step.finished_at);
        if step.name != StepName::Preboot || booted {
            same(&mut step.started_at);
        }
    }
    if let Some(revision) = &mut status.revision {
        revision.started_at = now;
        if let Some(ended) = &mut revision.ended {
            ended.at = now;
        }
        if let Some(reason) = &mut revision.reason {
            reason.at = now;
            reason.message.clear();
        }
    }
    if let Some(rollback) = &mut status.rollback {
        (rollback.since, rollback.until) = (None, None);
    }
    if let Some(cutover) = &mut status.cutover {
        (cutover.intent_at, cutover.watch_until) = (now, None);
        if watched {
            same(&mut cutover.confirmed_at);
        }
    }
    for workload in &mut status.workloads {
        same(&mut workload.bolted_at);
        same(&mut workload.rolled_at);
        if booted {
            same(&mut workload.locked_at);
            same(&mut workload.ready_since);
        }
        if ended {
            same(&mut workload.last_pin_change_at);
            same(&mut workload.degraded_since);
        }
    }
    for task in &mut status.tasks {
        (task.output, task.since) = (None, None);
        if task.outcome.is_some() {
            task.intent_at = now;
            same(&mut task.started_at);
            same(&mut task.finished_at);
        }
    }
    for past in &mut status.history {
        (past.started_at, past.ended_at) = (now, now);
    }
}
