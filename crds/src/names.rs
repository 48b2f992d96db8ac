//! The keys that Slipway writes on objects: the single source for engine, shell, charts and tests.

/// API group of the custom resources.
pub const GROUP: &str = "slipway.dev";

/// Field manager of every write. Never renamed: a new name would orphan the fields of the old one.
pub const FIELD_MANAGER: &str = "slipway";

/// Label on a Deployment or Service that belongs to a Release; its value is the Release's UID.
pub const CLAIM: &str = "slipway.dev/claim";

/// Label on a Deployment or Service while a window is open; its only value is [`WINDOW_OPEN`].
pub const WINDOW: &str = "slipway.dev/window";

/// Value of [`WINDOW`].
pub const WINDOW_OPEN: &str = "open";

/// Label of Kubernetes' own Deployment controller on ReplicaSets and their pods; the pin is this key in a
/// Service's selector.
pub const POD_TEMPLATE_HASH: &str = "pod-template-hash";

/// Label of Kubernetes' own EndpointSlice controller: the Service that a slice belongs to.
pub const SERVICE_NAME: &str = "kubernetes.io/service-name";

/// Label on a task's Job and pod: name of the Release.
pub const RELEASE: &str = "slipway.dev/release";

/// Label on a task's Job and pod: UID of the Release.
pub const RELEASE_UID: &str = "slipway.dev/release-uid";

/// Label on a task's Job and pod: number of the revision.
pub const REVISION: &str = "slipway.dev/revision";

/// Label on a task's Job and pod: the step that runs it, such as `expand`.
pub const STEP: &str = "slipway.dev/step";

/// Label on a task's Job and pod: name of the task within its step.
pub const TASK: &str = "slipway.dev/task";

/// Label on a task's Job and pod: number of the attempt, from 1.
pub const ATTEMPT: &str = "slipway.dev/attempt";

/// Annotation on a task's Job: digest of what the task was given.
pub const INPUT_DIGEST: &str = "slipway.dev/input-digest";

/// Annotation on a task's pod: the container that is the task. Admission may add others, before it as well.
pub const CONTAINER: &str = "slipway.dev/container";

/// Annotation of kubectl: the container that `kubectl logs` shows where none is named.
pub const DEFAULT_CONTAINER: &str = "kubectl.kubernetes.io/default-container";

/// Finalizer on a Release: its windows are closed and its task pods released before it goes.
pub const RELEASE_FINALIZER: &str = "slipway.dev/release";

/// Finalizer on a task's pod: kept until the outcome is recorded, because a Job reads Complete even when
/// its pod was evicted and exited 0 on SIGTERM.
pub const TASK_POD_FINALIZER: &str = "slipway.dev/outcome";

/// Annotation on a Release: run a failed or unknown step again.
pub const RETRY: &str = "slipway.dev/retry";

/// Annotation on a Release: give up this revision before its cutover.
pub const ABORT: &str = "slipway.dev/abort";

/// Annotation on a Release: take the traffic back to the old side while that is warm.
pub const ROLLBACK: &str = "slipway.dev/rollback";

/// Annotation on a Release: go on although the last catch-up pass failed.
pub const RESUME: &str = "slipway.dev/resume";
