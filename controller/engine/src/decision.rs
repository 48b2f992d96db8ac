//! What is to be done, as data.

use jiff::SignedDuration;
use serde_json::Value;

use crate::progress::Progress;

/// The outcome of one look at the world.
#[derive(Clone, Debug, PartialEq)]
#[must_use = "a decision that is not carried out changes nothing"]
pub struct Decision {
    /// What status has to say before any effect is carried out.
    pub progress: Progress,
    /// What to do once that is committed.
    pub effects: Vec<Effect>,
    /// What happened, for events and logs; published once the progress is committed.
    pub because: Vec<Because>,
    /// When to look again if nothing changes.
    pub wake: Wake,
}

/// When to look again.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
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
#[derive(Clone, Debug, Eq, PartialEq)]
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

/// One conditional call.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Effect {
    /// A merge patch with the resource version of what was seen.
    Patch(Patch),
    /// Create a Job, suspended; one that exists already is looked at again, never replaced.
    CreateJob {
        /// Its name.
        name: String,
        /// The whole object.
        job: Box<Value>,
    },
    /// Delete a Job of ours and, in the background, its pod.
    DeleteJob {
        /// Its name.
        name: String,
        /// Its UID.
        uid: String,
        /// Its resource version, where it goes only if nobody has started it since.
        resource_version: Option<String>,
    },
    /// Point an alias from one index to another, if it still is where it was seen.
    MoveAlias {
        /// Address of the engine.
        url: String,
        /// The alias.
        alias: String,
        /// Where it is; none where it does not exist.
        from: Option<String>,
        /// Where it goes.
        to: String,
        /// UUID of the index where it goes.
        to_uuid: String,
    },
    /// Delete an index, if it still has this UUID.
    DeleteIndex {
        /// Address of the engine.
        url: String,
        /// The one alias that may be on it: its generation's own name.
        own_alias: Option<String>,
        /// Its name.
        index: String,
        /// Its UUID.
        uuid: String,
    },
}

/// A merge patch with the resource version of what was seen.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Patch {
    /// Kind of the object.
    pub kind: Kind,
    /// Its name.
    pub name: String,
    /// Its UID.
    pub uid: String,
    /// What it is for.
    pub purpose: Purpose,
    /// The patch, with `metadata.resourceVersion`.
    pub body: Value,
}

/// Kinds of objects that Slipway patches.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
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

/// What a patch is for. Section 4 of the design tells the story in this order.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
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
    Settle,
    /// The Service selects as the user wrote it.
    Unpin,
    /// The window closes.
    Close,
    /// The user's own rolling update, forward or back.
    Roll,
    /// A task's Job may run.
    Start,
    /// Our finalizer off a task's pod.
    FreePod,
}

impl Effect {
    /// Whether it cannot be taken back: it needs a committed intent and fresh eyes.
    pub fn irreversible(&self) -> bool {
        match self {
            Self::Patch(patch) => patch.purpose.irreversible(),
            Self::CreateJob { .. } | Self::MoveAlias { .. } | Self::DeleteIndex { .. } => true,
            Self::DeleteJob { .. } => false,
        }
    }

    /// A word for logs and metrics.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Patch(patch) => patch.purpose.word(),
            Self::CreateJob { .. } => "CreateJob",
            Self::DeleteJob { .. } => "DeleteJob",
            Self::MoveAlias { .. } => "MoveAlias",
            Self::DeleteIndex { .. } => "DeleteIndex",
        }
    }
}

impl Purpose {
    /// Whether it cannot be taken back.
    pub fn irreversible(self) -> bool {
        match self {
            Self::Flip | Self::FlipBack | Self::Settle | Self::Start | Self::FreePod => true,
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
            | Self::Roll => false,
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
            Self::Settle => "Settle",
            Self::Unpin => "Unpin",
            Self::Close => "Close",
            Self::Roll => "Roll",
            Self::Start => "Start",
            Self::FreePod => "FreePod",
        }
    }
}
