//! Jobs and pods of tasks.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use slipway_crds::{InputDigest, JobName, Uid};

/// A Job that runs a task.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct JobView {
    /// Its name.
    pub name: JobName,
    /// Its UID.
    pub uid: Uid,
    /// Its resource version.
    pub resource_version: String,
    /// Label: UID of the Release.
    pub release_uid: Option<Uid>,
    /// Label: the step.
    pub step: Option<String>,
    /// Label: number of the revision.
    pub revision: Option<i64>,
    /// Annotation: digest of what the task was given.
    pub input_digest: Option<InputDigest>,
    /// True once it is being deleted.
    pub deleting: bool,
    /// `spec.suspend`.
    pub suspended: bool,
    /// True while it is suspended as it was made, so that nothing of it ever ran.
    pub never_started: bool,
    /// What the Job controller has written of its suspension; while it has not looked yet, what was before.
    pub suspension_seen: Option<bool>,
    /// How many pods of it the Job controller has counted, whatever became of them.
    pub pods: i64,
    /// How it stands.
    pub state: JobState,
}

/// How a Job stands, by its terminal conditions only.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum JobState {
    /// Neither Complete nor Failed.
    Active,
    /// Complete; whether that is a success is up to its pod.
    Complete,
    /// Failed.
    Failed {
        /// The condition's reason.
        reason: String,
        /// The condition's message.
        message: String,
    },
}

/// A pod of a task.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct TaskPodView {
    /// Its name.
    pub name: String,
    /// Its UID.
    pub uid: Uid,
    /// Its resource version.
    pub resource_version: String,
    /// Name of its Job.
    pub job: JobName,
    /// Label: UID of the Release.
    pub release_uid: Option<Uid>,
    /// Label: the step.
    pub step: Option<String>,
    /// Whether our finalizer is on it.
    pub finalizer: bool,
    /// All its finalizers, in order.
    pub finalizers: Vec<String>,
    /// True once it is being deleted.
    pub deleting: bool,
    /// Reason of the condition `DisruptionTarget`.
    pub disrupted: Option<String>,
    /// Whether it has a node. Its containers may run from then on, whatever its phase says.
    pub assigned: bool,
    /// How it stands.
    pub phase: TaskPodPhase,
    /// When its task container was started, by the node's clock.
    pub started_at: Option<Timestamp>,
    /// How long its task container ran, by the node's clock; none while it runs.
    pub ran: Option<SignedDuration>,
    /// Why it does not start: the pod's own reason and message.
    pub trouble: Option<String>,
    /// How the task container ended; none before.
    pub end: Option<ContainerEnd>,
    /// Other containers that have not ended, and keep pod and Job open. Native sidecars do not.
    pub beside: Vec<String>,
    /// Exit code of the task container.
    pub exit_code: Option<i32>,
    /// Termination message of the task container.
    pub output: Option<String>,
}

/// How a container ended, in the words of the kubelet.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum ContainerEnd {
    /// Its process exited, or was killed by a signal.
    Exited,
    /// It was killed because it needed more memory than it may have (`OOMKilled`).
    OutOfMemory,
    /// Its process could not be started: no such command, say (`StartError`).
    NotStarted,
    /// The kubelet does not find it any more, and cannot tell (`ContainerStatusUnknown`).
    Lost,
}

impl TaskPodView {
    /// Whether it may still be at work. One that is deleted before it started is on its node until the kubelet gives
    /// it a terminal phase; without a node it never was.
    pub fn at_work(&self) -> bool {
        let open = match self.phase {
            TaskPodPhase::Running => true,
            TaskPodPhase::Pending => self.assigned || !self.deleting,
            TaskPodPhase::Succeeded | TaskPodPhase::Failed => false,
        };
        open && self.end.is_none()
    }

    /// Whether the task has ended and other containers keep its pod, and so its Job, from ending.
    pub fn held_open(&self) -> bool {
        let open = matches!(self.phase, TaskPodPhase::Pending | TaskPodPhase::Running);
        open && self.end.is_some() && !self.beside.is_empty()
    }

    /// The signal that ended its process, as shells and container runtimes tell it: 128 and the signal's number.
    pub fn signal(&self) -> Option<i32> {
        let signal = self.exit_code? - 128;
        (1..=64).contains(&signal).then_some(signal)
    }

    /// Whether nobody has deleted or evicted it: what it reports counts.
    pub fn undisturbed(&self) -> bool {
        !self.deleting && self.disrupted.is_none()
    }

    /// Whether it goes without ever having run.
    pub fn never_ran(&self) -> bool {
        self.deleting && self.started_at.is_none() && !self.at_work()
    }
}

/// How a task's pod stands.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub enum TaskPodPhase {
    /// Not running yet.
    #[default]
    Pending,
    /// Running.
    Running,
    /// All containers exited 0.
    Succeeded,
    /// A container exited otherwise.
    Failed,
}
