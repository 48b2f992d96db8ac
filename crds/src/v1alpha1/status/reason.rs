//! Why things stopped: the words that status, conditions, events and metrics share. Each has its row in
//! `docs/operations.md`.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// An enum of words that is read from a newer version too: a word that is not known becomes `Other`.
macro_rules! words {
    ($(#[$about:meta])* $name:ident { $($(#[$doc:meta])* $word:ident,)+ }) => {
        $(#[$about])*
        #[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
        pub enum $name {
            $($(#[$doc])* $word,)+
            /// A word of another version of Slipway.
            #[serde(other)]
            Other,
        }

        impl $name {
            /// Every word of this version.
            pub const ALL: &[Self] = &[$(Self::$word),+];

            /// As it is written.
            pub const fn word(self) -> &'static str {
                match self {
                    $(Self::$word => stringify!($word),)+
                    Self::Other => "Other",
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str(self.word())
            }
        }

        impl JsonSchema for $name {
            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }

            fn inline_schema() -> bool {
                true
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({ "type": "string", "maxLength": 64 })
            }
        }
    };
}

words! {
    /// Why a revision, or one of its steps, stopped.
    StopReason {
        /// A person asked for the end by annotation.
        AbortRequested,
        /// A stable alias is not where it was when the build began.
        AliasConflict,
        /// A stable alias is an index itself.
        AliasIsIndex,
        /// A stable alias is on several indices.
        AliasOnSeveralIndices,
        /// The build reported a failure, or never started.
        BuildFailed,
        /// The build ended well and left no index under the name that carries the token.
        BuildIncomplete,
        /// The document counts of a build stood still for too long.
        BuildStalled,
        /// A catch-up pass reported a failure.
        CatchUpFailed,
        /// Writes come faster than catch-up passes repeat them.
        CatchUpNotConverging,
        /// A Deployment or Service belongs to another Release.
        ClaimedBy,
        /// A Deployment is not there.
        DeploymentMissing,
        /// A Deployment was deleted and made again in its window.
        DeploymentReplaced,
        /// A Job of another owner has the name of a task's Job.
        ForeignJob,
        /// Somebody else changed a pod template that this revision had set.
        ForeignTemplate,
        /// An index of the new generation is gone, replaced or not usable.
        GenerationLost,
        /// A Deployment carries the values of a window that no Release remembers.
        HeldByUnknown,
        /// The spec cannot be followed.
        InvalidSpec,
        /// A live alias moved while the new generation was built.
        LiveAliasMoved,
        /// A manifest sets fields that the window uses, and the window guard is off.
        ManifestHoldsFields,
        /// The migration reported a failure, or never started.
        MigrationFailed,
        /// The new pods died after the cutover.
        NewSideFailed,
        /// The new pods were not ready any more when the traffic was to move.
        NewSideLost,
        /// No old pod is ready, so the traffic cannot go back yet.
        OldSideNotReady,
        /// The new pods were not ready in time.
        PrebootTimeout,
        /// The strategy Recreate says that two versions must never run at once.
        RecreateStrategy,
        /// A person asked for the way back by annotation.
        RollbackRequested,
        /// A Deployment's own rolling update does not progress.
        RolloutFailed,
        /// A Deployment was scaled to 0 in its window.
        ScaledToZero,
        /// The search engine gives no usable answer.
        SearchUnavailable,
        /// The version of the search engine is too old.
        SearchUnsupported,
        /// A Service is not there.
        ServiceMissing,
        /// A Service selects by `pod-template-hash` already.
        ServicePinned,
        /// A Service targets a port name that no container has.
        ServicePortMissing,
        /// A Service does not select the pods of its Deployment.
        ServiceSelectsNothing,
        /// A Service selects pods of another Deployment too.
        ServiceSelectsOthers,
        /// A Service that is not listed selects the pods.
        ServiceUnlisted,
        /// The old pods, which serve, were lost.
        ServingSideLost,
        /// The status was lost while a window was open.
        StatusLost,
        /// A newer version is wanted.
        Superseded,
        /// A task reported a failure, or never started.
        TaskFailed,
        /// A Service or Deployment selects the labels of task pods.
        TaskLabelsSelected,
        /// What a task did cannot be known.
        TaskUnknown,
        /// An autoscaler scales by a metric of type Value, which counts both sides.
        UnsupportedAutoscalerMetric,
        /// The new generation has too few documents, or is not usable.
        VerificationFailed,
        /// A volume may be used by one node at a time only.
        VolumeNotShareable,
        /// The workload whose pod spec a task gets has no Deployment.
        WorkloadMissing,
    }
}

words! {
    /// Why a task ended as it did, or is being stopped.
    TaskReason {
        /// Its Job reports a failure, by the exit code of its container.
        Exited,
        /// Its pod was deleted or evicted; what it then reported counts for nothing.
        Interrupted,
        /// Its Job was deleted.
        JobDeleted,
        /// Its Job was suspended by somebody else.
        JobSuspended,
        /// A signal that it did not send itself ended its process: its exit code was not its own choice.
        Killed,
        /// Its container was never started.
        NeverStarted,
        /// It needed more memory than it may have, and was killed.
        OOMKilled,
        /// Its pod was gone before it could be read.
        PodLost,
        /// It runs longer than its timeout, and goes on.
        Slow,
        /// Slipway stops it: the document counts of the build stood still.
        Stalled,
        /// Slipway stops it: it did not start in time.
        StartDeadlineExceeded,
        /// Slipway stops it: its revision ends.
        Stopped,
        /// Slipway stops it: it ran longer than its timeout.
        Timeout,
    }
}

impl TaskReason {
    /// Whether Slipway itself asked for the end of the task.
    pub const fn asked_for(self) -> bool {
        match self {
            Self::Stalled | Self::StartDeadlineExceeded | Self::Stopped | Self::Timeout => true,
            Self::Exited
            | Self::Interrupted
            | Self::JobDeleted
            | Self::JobSuspended
            | Self::Killed
            | Self::NeverStarted
            | Self::OOMKilled
            | Self::PodLost
            | Self::Slow
            | Self::Other => false,
        }
    }
}

/// Why a revision left the way forward.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, JsonSchema, PartialEq, Serialize)]
pub enum Cause {
    /// A step of it failed.
    Failed,
    /// A newer version is wanted.
    Superseded,
    /// A person gave it up.
    AbortRequested,
    /// A person took it back.
    RollbackRequested,
    /// The status was lost while a window was open.
    StatusLost,
}

impl Cause {
    /// Whether a version that left for this cause is not to be tried again by itself.
    pub const fn rejects(self) -> bool {
        match self {
            Self::Failed | Self::RollbackRequested => true,
            Self::Superseded | Self::AbortRequested | Self::StatusLost => false,
        }
    }
}
