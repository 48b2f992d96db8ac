//! What is to be done, as data.

use std::collections::BTreeSet;

use jiff::SignedDuration;
use serde::Serialize;
use serde_json::Value;
use slipway_crds::{AliasName, IndexName, IndexUuid, JobName, Uid};

use crate::progress::Progress;

/// What one look at the world leads to.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[must_use = "a decision that is not carried out changes nothing"]
pub struct Decision {
    /// What status has to say before any effect is carried out.
    pub progress: Progress,
    /// What to do once that is committed.
    pub effects: Vec<Effect>,
    /// What happened, for events and logs; published once the progress is committed.
    pub because: Vec<Because>,
    /// What has to be read again before any of this is committed, because it cannot be taken back: the decision is
    /// then made again.
    pub read_again: BTreeSet<ReadAgain>,
    /// When to look again if nothing changes.
    pub wake: Wake,
}

/// An object that is read from the API server, past the caches, before what cannot be taken back.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd, Serialize)]
pub enum ReadAgain {
    /// A Job, by name.
    Job(JobName),
    /// A ReplicaSet, by name: the side that is to have the traffic, or to be kept.
    ReplicaSet(String),
    /// The task pods of this Release: none of an earlier attempt may be alive.
    TaskPods,
}

/// When to look again.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
pub enum Wake {
    /// When something changes.
    OnChange,
    /// After this long at the latest.
    After(SignedDuration),
}

impl Wake {
    /// The earlier of two.
    #[must_use]
    pub fn earlier(self, other: Self) -> Self {
        match (self, other) {
            (Self::After(one), Self::After(two)) => Self::After(one.min(two)),
            (Self::After(one), Self::OnChange) => Self::After(one),
            (Self::OnChange, other) => other,
        }
    }
}

/// Something that happened, told once.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Because {
    /// Whether somebody should look.
    pub warning: bool,
    /// A stable word, in `PascalCase`.
    pub reason: &'static str,
    /// What it is about, such as `expand-1`: tells repeats of one reason apart.
    pub action: String,
    /// The sentence.
    pub note: String,
}

/// One conditional call, and what it is for.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Effect {
    /// The call.
    pub call: Call,
    /// What it is for.
    pub purpose: Purpose,
}

/// One conditional call.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub enum Call {
    /// Create an object; one of its name that exists already is looked at again, never replaced.
    Create {
        /// Its kind.
        kind: Kind,
        /// Its name.
        name: String,
        /// The whole object.
        body: Value,
    },
    /// A merge patch of an object, if it still is as it was seen.
    Patch(Patch),
    /// Delete an object and, in the background, what it owns.
    Delete {
        /// Its kind.
        kind: Kind,
        /// Its name.
        name: String,
        /// Its UID.
        uid: Uid,
        /// Its resource version, where it goes only if nobody has changed it since.
        resource_version: Option<String>,
    },
    /// Point an alias of the search engine from one index to another, if it still is where it was seen.
    MoveAlias {
        /// Address of the engine.
        url: String,
        /// The alias.
        alias: AliasName,
        /// Where it is; none where it does not exist.
        from: Option<IndexName>,
        /// Where it goes.
        to: IndexName,
        /// UUID of the index where it goes.
        to_uuid: IndexUuid,
    },
    /// Delete an index of the search engine, if it still has this UUID.
    DeleteIndex {
        /// Address of the engine.
        url: String,
        /// The one alias that may be on it: its generation's own name.
        own_alias: Option<AliasName>,
        /// Its name.
        index: IndexName,
        /// Its UUID.
        uuid: IndexUuid,
    },
}

/// A merge patch of an object, if it still is as it was seen.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Patch {
    /// Its kind.
    pub kind: Kind,
    /// Its name.
    pub name: String,
    /// Its UID.
    pub uid: Uid,
    /// The patch, with `metadata.resourceVersion`.
    pub body: Value,
}

impl Call {
    /// Kind of what it is made on, as people write it.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Create { kind, .. } | Self::Delete { kind, .. } | Self::Patch(Patch { kind, .. }) => {
                kind.word()
            }
            Self::MoveAlias { .. } => "alias",
            Self::DeleteIndex { .. } => "index",
        }
    }

    /// Name of what it is made on.
    pub fn name(&self) -> &str {
        match self {
            Self::Create { name, .. } | Self::Delete { name, .. } | Self::Patch(Patch { name, .. }) => name,
            Self::MoveAlias { alias, .. } => alias.as_str(),
            Self::DeleteIndex { index, .. } => index.as_str(),
        }
    }
}

/// Kinds of objects that Slipway writes.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
pub enum Kind {
    /// The Release itself: its finalizer.
    Release,
    /// A workload.
    Deployment,
    /// A side.
    ReplicaSet,
    /// Where traffic is moved.
    Service,
    /// A task: its start.
    Job,
    /// A task's pod: its finalizer.
    Pod,
}

impl Kind {
    /// Its name.
    pub fn word(self) -> &'static str {
        match self {
            Self::Release => "Release",
            Self::Deployment => "Deployment",
            Self::ReplicaSet => "ReplicaSet",
            Self::Service => "Service",
            Self::Job => "Job",
            Self::Pod => "Pod",
        }
    }
}

/// What a call is for. A release makes them about in this order.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
pub enum Purpose {
    /// Our finalizer on the Release.
    Guard,
    /// Our finalizer off the Release.
    LetGo,
    /// Our label on what belongs to the Release.
    Claim,
    /// Our label off.
    Unclaim,
    /// The window opens: label, and paused.
    Open,
    /// The Service keeps to the old side.
    Pin,
    /// The new template, with the fields that let both sides live.
    Hold,
    /// Paused again.
    Lock,
    /// The old side looks unavailable to the Deployment controller.
    Bolt,
    /// The Service moves to the new side.
    Flip,
    /// The Service moves back to the old side.
    FlipBack,
    /// The bolt comes off.
    Unbolt,
    /// A side that was lost comes back.
    Repair,
    /// The user's own values; one side goes.
    EndWindow,
    /// The Service selects as the user wrote it.
    Unpin,
    /// The window closes.
    Close,
    /// The user's own rolling update, forward or back.
    Roll,
    /// The Job of a task, suspended.
    CreateJob,
    /// A task's Job may run.
    Start,
    /// Our finalizer off a task's pod.
    FreePod,
    /// A Job that has no pod gets none any more.
    Suspend,
    /// The end of a Job of ours.
    DeleteJob,
    /// The stable alias follows the traffic.
    MoveAlias,
    /// An index that nothing needs any more.
    DeleteIndex,
}

impl Effect {
    /// Whether it cannot be taken back: it needs a committed intent, and what it rests on is read again.
    pub fn irreversible(&self) -> bool {
        self.purpose.irreversible()
    }

    /// What it is for, for logs and metrics.
    pub fn word(&self) -> &'static str {
        self.purpose.word()
    }
}

impl Purpose {
    /// Whether it cannot be taken back.
    pub fn irreversible(self) -> bool {
        match self {
            Self::Flip
            | Self::FlipBack
            | Self::EndWindow
            | Self::CreateJob
            | Self::Start
            | Self::FreePod
            | Self::MoveAlias
            | Self::DeleteIndex => true,
            Self::Guard
            | Self::LetGo
            | Self::Claim
            | Self::Unclaim
            | Self::Open
            | Self::Pin
            | Self::Hold
            | Self::Lock
            | Self::Bolt
            | Self::Unbolt
            | Self::Repair
            | Self::Unpin
            | Self::Close
            | Self::Roll
            | Self::Suspend
            | Self::DeleteJob => false,
        }
    }

    /// Its name.
    pub fn word(self) -> &'static str {
        match self {
            Self::Guard => "Guard",
            Self::LetGo => "LetGo",
            Self::Claim => "Claim",
            Self::Unclaim => "Unclaim",
            Self::Open => "Open",
            Self::Pin => "Pin",
            Self::Hold => "Hold",
            Self::Lock => "Lock",
            Self::Bolt => "Bolt",
            Self::Flip => "Flip",
            Self::FlipBack => "FlipBack",
            Self::Unbolt => "Unbolt",
            Self::Repair => "Repair",
            Self::EndWindow => "EndWindow",
            Self::Unpin => "Unpin",
            Self::Close => "Close",
            Self::Roll => "Roll",
            Self::CreateJob => "CreateJob",
            Self::Start => "Start",
            Self::FreePod => "FreePod",
            Self::Suspend => "Suspend",
            Self::DeleteJob => "DeleteJob",
            Self::MoveAlias => "MoveAlias",
            Self::DeleteIndex => "DeleteIndex",
        }
    }
}
