//! What status remembers: the memory between two decisions.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use slipway_crds::v1alpha1::ReleaseStatus;
use slipway_crds::v1alpha1::status::{
    Candidate, Course, Revision, SearchStatus, StepName, StepState, StepStatus, TaskOutcome, TaskStatus,
    WorkloadStatus,
};
use slipway_crds::{InputDigest, JobName, RevisionName, WorkloadName};

/// What status remembers. Committed before anything is done because of it.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Progress {
    /// As it is stored.
    pub status: ReleaseStatus,
}

impl Progress {
    /// Reads a stored status.
    pub fn new(status: Option<ReleaseStatus>) -> Self {
        Self {
            status: status.unwrap_or_default(),
        }
    }

    /// The revision that is on its way, or the last one.
    pub fn revision(&self) -> Option<&Revision> {
        self.status.revision.as_ref()
    }

    /// Number of the revision; 0 where there is none.
    pub fn number(&self) -> i64 {
        self.revision().map_or(0, |revision| revision.number)
    }

    /// Name of the revision.
    pub fn revision_name(&self) -> RevisionName {
        self.revision()
            .map(|revision| revision.name.clone())
            .unwrap_or_default()
    }

    /// A revision that has not ended.
    pub fn running(&self) -> Option<&Revision> {
        self.revision().filter(|revision| revision.ended.is_none())
    }

    /// Whether a revision is on its way forward.
    pub fn forward(&self) -> bool {
        self.running()
            .is_some_and(|revision| revision.course == Course::Forward)
    }

    /// Whether nothing served before this revision.
    pub fn first_installation(&self) -> bool {
        self.revision()
            .is_some_and(|revision| revision.first_installation)
    }

    /// A step of the revision.
    pub fn step(&self, name: StepName) -> Option<&StepStatus> {
        self.status.steps.iter().find(|step| step.name == name)
    }

    /// Whether a step is behind us.
    pub fn completed(&self, name: StepName) -> bool {
        self.step(name)
            .is_some_and(|step| matches!(step.state, StepState::Succeeded | StepState::Skipped))
    }

    /// Whether a step was started.
    pub fn started(&self, name: StepName) -> bool {
        self.step(name).is_some_and(|step| step.started_at.is_some())
    }

    /// A step of the revision, made when it is missing.
    pub fn step_mut(&mut self, name: StepName) -> &mut StepStatus {
        let steps = &mut self.status.steps;
        let at = steps
            .iter()
            .position(|step| step.name == name)
            .unwrap_or(steps.len());
        if at == steps.len() {
            steps.push(StepStatus {
                name,
                state: StepState::Waiting,
                reason: None,
                message: None,
                started_at: None,
                finished_at: None,
                progress: None,
            });
        }
        #[allow(
            clippy::indexing_slicing,
            reason = "the entry was found or pushed right above"
        )]
        &mut steps[at]
    }

    /// The attempts of a task, oldest first.
    pub fn attempts<'a>(
        &'a self,
        step: StepName,
        name: &'a str,
    ) -> impl DoubleEndedIterator<Item = &'a TaskStatus> {
        self.status
            .tasks
            .iter()
            .filter(move |task| task.step == step && task.name == name)
    }

    /// The newest attempt of a task.
    pub fn attempt<'a>(&'a self, step: StepName, name: &'a str) -> Option<&'a TaskStatus> {
        self.attempts(step, name).next_back()
    }

    /// An attempt by the name of its Job.
    pub fn task_mut(&mut self, job: &JobName) -> Option<&mut TaskStatus> {
        self.status.tasks.iter_mut().find(|task| task.job == *job)
    }

    /// Tasks whose end was not seen.
    pub fn open_tasks(&self) -> impl Iterator<Item = &TaskStatus> {
        self.status.tasks.iter().filter(|task| task.outcome.is_none())
    }

    /// A workload.
    pub fn workload(&self, name: &WorkloadName) -> Option<&WorkloadStatus> {
        self.status
            .workloads
            .iter()
            .find(|workload| workload.name == *name)
    }

    /// A workload.
    pub fn workload_mut(&mut self, name: &WorkloadName) -> Option<&mut WorkloadStatus> {
        self.status
            .workloads
            .iter_mut()
            .find(|workload| workload.name == *name)
    }

    /// Whether a window is open somewhere.
    pub fn window_open(&self) -> bool {
        self.status.workloads.iter().any(|workload| workload.window)
    }

    /// The latest time that the clock of a controller has written: time does not go back when another leader's clock
    /// does, else what was done a moment ago would count as done too early, and be done again.
    pub fn latest(&self) -> Option<Timestamp> {
        let status = &self.status;
        let steps = status.steps.iter();
        let steps = steps.flat_map(|step| [step.started_at, step.finished_at]);
        let tasks = status.tasks.iter().map(|task| Some(task.intent_at));
        let cutover = status
            .cutover
            .into_iter()
            .flat_map(|cutover| [Some(cutover.intent_at), cutover.confirmed_at]);
        steps.chain(tasks).chain(cutover).flatten().max()
    }

    /// The search part, made when it is missing.
    pub fn search_mut(&mut self) -> &mut SearchStatus {
        self.status.search.get_or_insert_with(SearchStatus::default)
    }

    /// The generation that is being built, or is not live yet.
    pub fn candidate(&self) -> Option<&Candidate> {
        self.status.search.as_ref()?.candidate.as_ref()
    }

    /// Digests of the tasks that ran to the end once, in this revision or an earlier one.
    pub fn ran(&self, input_digest: &InputDigest) -> bool {
        let now = self.status.tasks.iter();
        let before = self.status.history.iter().flat_map(|past| &past.tasks);
        now.filter(|task| task.outcome == Some(TaskOutcome::Succeeded))
            .any(|task| task.input_digest == *input_digest)
            || before.into_iter().any(|digest| digest == input_digest)
    }
}

/// A time as status keeps it: whole milliseconds.
pub fn stamp(now: Timestamp) -> Timestamp {
    Timestamp::from_millisecond(now.as_millisecond()).unwrap_or(now)
}

/// How long ago something was.
pub fn since(now: Timestamp, then: Timestamp) -> SignedDuration {
    now.duration_since(then)
}

/// A status without the words that change by the second: what a decision looks at.
#[must_use]
pub fn facts(mut status: ReleaseStatus) -> ReleaseStatus {
    status.progress = None;
    status.waiting_for = None;
    for step in &mut status.steps {
        (step.message, step.progress) = (None, None);
    }
    for condition in &mut status.conditions {
        condition.message = String::new();
    }
    for task in &mut status.tasks {
        // Told while it waits; in the end it is the reason, and its outcome a fact.
        task.trouble = None;
    }
    let candidate = status
        .search
        .as_mut()
        .and_then(|search| search.candidate.as_mut());
    if let Some(counted) = candidate.and_then(|candidate| candidate.counted.as_mut()) {
        (counted.documents, counted.at) = (0, Timestamp::UNIX_EPOCH);
    }
    status
}
