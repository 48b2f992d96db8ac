//! The decision that is being made: the steps add to it.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use slipway_crds::v1alpha1::status::{Cause, Course, Reason, StopReason, WorkloadStatus};
use slipway_crds::{DeploymentName, Uid, WorkloadName};

use crate::decision::{Because, Call, Effect, Kind, Patch, Purpose, ReadAgain, Wake};
use crate::intent::{Intent, Plan};
use crate::observed::{DeploymentView, JobView, Observed};
use crate::progress::{Progress, since, stamp};

/// What a step looks at.
#[derive(Clone, Copy, Debug)]
pub struct StepInput<'a> {
    /// What the Release asks for now.
    pub intent: &'a Intent,
    /// The version that the revision brings, as it was when the revision began.
    pub plan: &'a Plan,
    /// What status said before this decision: an intent counts only if it is in here.
    pub committed: &'a Progress,
    /// The world.
    pub observed: &'a Observed,
    /// The time.
    pub now: Timestamp,
}

impl StepInput<'_> {
    /// Whether the last revision has ended and the spec describes another version, which may begin.
    pub fn begins(&self) -> bool {
        self.committed
            .revision()
            .is_some_and(|last| last.ended.is_some() && last.digest != self.plan.digest)
            && !self.intent.live.suspend
    }
}

/// What a step says.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Verdict {
    /// It is behind us.
    Done,
    /// There was nothing to do.
    Skipped,
    /// It is at work, or waits.
    Working {
        /// In a few words, for the column PROGRESS.
        progress: String,
        /// What is waited for, since when, until when, and what one can do.
        message: String,
    },
    /// It cannot go on before somebody changes something; the revision is not given up.
    Stalled {
        /// A stable word.
        reason: StopReason,
        /// What happened and what one can do.
        message: String,
    },
    /// It went wrong; the revision is given up, or rolled back.
    Failed {
        /// A stable word.
        reason: StopReason,
        /// What happened and what one can do.
        message: String,
    },
}

impl Verdict {
    /// At work, told in one text.
    pub fn working(progress: impl Into<String>, message: impl Into<String>) -> Self {
        Self::Working {
            progress: progress.into(),
            message: message.into(),
        }
    }

    /// In need of somebody.
    pub fn stalled(reason: StopReason, message: impl Into<String>) -> Self {
        Self::Stalled {
            reason,
            message: message.into(),
        }
    }

    /// In need of a Deployment that was deleted.
    pub fn deployment_gone(name: &DeploymentName) -> Self {
        Self::stalled(
            StopReason::DeploymentMissing,
            format!("Deployment {name} does not exist any more. Create it again."),
        )
    }

    /// Kept from going on by a Deployment's own rollout: a release begins with one ReplicaSet.
    pub fn rolls(deployment: &DeploymentView) -> Self {
        Self::working(
            "waiting",
            format!(
                "Waiting for Deployment {} to finish the rollout that is under way; a release begins with one ReplicaSet. To see how far it is: kubectl rollout status deployment/{}",
                deployment.name, deployment.name
            ),
        )
    }

    /// Kept from going on by `spec.suspend`.
    pub fn suspended() -> Self {
        Self::working(
            "suspended",
            "The Release is suspended. Set spec.suspend to false to go on.",
        )
    }

    /// Gone wrong.
    pub fn failed(reason: StopReason, message: impl Into<String>) -> Self {
        Self::Failed {
            reason,
            message: message.into(),
        }
    }
}

/// The decision that is being made.
#[derive(Clone, Debug)]
pub struct Draft {
    /// What status will say.
    pub progress: Progress,
    /// What will be done.
    pub effects: Vec<Effect>,
    /// What will be told.
    pub because: Vec<Because>,
    /// What has to be read again first.
    pub read_again: BTreeSet<ReadAgain>,
    /// When to look again.
    pub wake: Wake,
    now: Timestamp,
}

impl Draft {
    /// Begins with what is committed.
    pub fn new(committed: &Progress, now: Timestamp) -> Self {
        Self {
            progress: committed.clone(),
            effects: Vec::new(),
            because: Vec::new(),
            read_again: BTreeSet::new(),
            wake: Wake::OnChange,
            now,
        }
    }

    /// The time, as status keeps it.
    pub fn now(&self) -> Timestamp {
        stamp(self.now)
    }

    /// Adds a call.
    pub fn call(&mut self, purpose: Purpose, call: Call) {
        self.effects.push(Effect { call, purpose });
    }

    /// Adds a patch.
    pub fn patch(&mut self, kind: Kind, name: &str, uid: &Uid, purpose: Purpose, body: Value) {
        let patch = Patch {
            kind,
            name: name.to_owned(),
            uid: uid.clone(),
            body,
        };
        self.call(purpose, Call::Patch(patch));
    }

    /// Deletes a Job of ours; one that is suspended only if nobody has started it since.
    pub fn delete_job(&mut self, job: &JobView) {
        self.call(
            Purpose::DeleteJob,
            Call::Delete {
                kind: Kind::Job,
                name: job.name.to_string(),
                uid: job.uid.clone(),
                resource_version: job.suspended.then(|| job.resource_version.clone()),
            },
        );
    }

    /// Has an object read again before anything of this decision is committed.
    pub fn read_again(&mut self, object: ReadAgain) {
        self.read_again.insert(object);
    }

    /// Tells that something went its way.
    pub fn tell(&mut self, reason: &'static str, action: impl Into<String>, note: impl Into<String>) {
        self.say(false, reason, action.into(), note.into());
    }

    /// Tells that somebody should look.
    pub fn warn(&mut self, reason: &'static str, action: impl Into<String>, note: impl Into<String>) {
        self.say(true, reason, action.into(), note.into());
    }

    /// Events of one reason and one action are joined into a series, with the first one's note: those of different
    /// revisions must not be.
    fn say(&mut self, warning: bool, reason: &'static str, about: String, note: String) {
        let revision = self.progress.revision_name();
        let action = if about.contains(revision.as_str()) {
            about
        } else {
            format!("{revision}/{about}")
        };
        self.because.push(Because {
            warning,
            reason,
            action,
            note,
        });
    }

    /// Leaves the way forward, for a reason found now.
    pub fn steer(&mut self, course: Course, cause: Cause, reason: StopReason, message: impl Into<String>) {
        let at = self.now();
        if let Some(revision) = &mut self.progress.status.revision {
            revision.course = course;
            revision.cause = Some(cause);
            revision.reason = Some(Reason {
                reason,
                message: crate::status::cut(&message.into(), 2048),
                at,
            });
        }
    }

    /// Looks again after this long at the latest.
    pub fn wake_after(&mut self, length: SignedDuration) {
        self.wake = self
            .wake
            .earlier(Wake::After(length.max(SignedDuration::from_millis(20))));
    }

    /// Whether a time has come; if not, looks again when it does.
    pub fn elapsed(&mut self, from: Timestamp, length: SignedDuration) -> bool {
        let left = length - since(self.now, from);
        if left.is_positive() {
            self.wake_after(left);
            return false;
        }
        true
    }

    /// Changes what status says of a workload.
    pub fn workload(&mut self, name: &WorkloadName, change: impl FnOnce(&mut WorkloadStatus)) {
        if let Some(workload) = self.progress.workload_mut(name) {
            change(workload);
        }
    }
}
