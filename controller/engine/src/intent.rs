//! What the Release asks for, parsed once. Nothing after this reads the raw spec.

mod identity;
mod parse;

use std::collections::BTreeMap;

use jiff::SignedDuration;
use serde::{Deserialize, Serialize};
use slipway_crds::v1alpha1::status::{Revision, StepName};
use slipway_crds::v1alpha1::{
    EnvironmentVariable, InitContainers, Move, OnTimeout, RebuildWhen, Release, ReleaseSpec, Workload,
};
use slipway_crds::{
    AliasName, DeploymentName, GenerationToken, ServiceName, Uid, VersionDigest, WorkloadName, names,
};

pub use parse::InvalidSpec;

/// What the Release asks for.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Intent {
    /// Who asks.
    pub meta: Meta,
    /// The version that the spec describes; or what is wrong with the spec.
    pub wanted: Result<Plan, InvalidSpec>,
    /// Settings that hold for a running revision too.
    pub live: Live,
    /// What people asked for by annotation.
    pub levers: LeverValues,
}

/// Identity and state of the Release object.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Meta {
    /// Its name.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
    /// Its UID.
    pub uid: Uid,
    /// `metadata.generation`.
    pub generation: i64,
    /// Its resource version.
    pub resource_version: String,
    /// True once it is being deleted.
    pub deleting: bool,
    /// All its finalizers, in order.
    pub finalizers: Vec<String>,
}

impl Meta {
    /// Whether our finalizer is on it.
    pub fn guarded(&self) -> bool {
        self.finalizers
            .iter()
            .any(|name| name == names::RELEASE_FINALIZER)
    }
}

/// Annotations by which people steer a revision: `<revision>` or `<revision>/<anything>`.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct LeverValues {
    /// Of `slipway.dev/retry`.
    pub retry: Option<String>,
    /// Of `slipway.dev/abort`.
    pub abort: Option<String>,
    /// Of `slipway.dev/rollback`.
    pub rollback: Option<String>,
    /// Of `slipway.dev/resume`.
    pub resume: Option<String>,
}

/// Settings that hold for a running revision too: changing them starts nothing.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Live {
    /// No new step starts.
    pub suspend: bool,
    /// The new side is started at least this long before the cutover.
    pub minimum_wait: SignedDuration,
    /// The revision fails when the new side is not ready by then.
    pub preboot_timeout: SignedDuration,
    /// The old side stays warm this long.
    pub watch_for: SignedDuration,
    /// Whether a dying new side is rolled back without a person.
    pub automatic_rollback: bool,
    /// How many ended revisions status remembers.
    pub history: usize,
}

/// One version to be released: what is frozen when its Preflight is over, and beside it what is live.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Plan {
    /// What identifies it.
    pub digest: VersionDigest,
    /// The image.
    pub image: String,
    /// The Deployments.
    pub workloads: Vec<WorkloadPlan>,
    /// Tasks before anything else.
    pub prepare: Vec<TaskPlan>,
    /// The migration that old code survives.
    pub expand: Option<TaskPlan>,
    /// The new index generation.
    pub reindex: Option<ReindexPlan>,
    /// The spec that it was parsed from.
    pub spec: ReleaseSpec,
    /// How its tasks are run: these settings hold for a running revision too.
    pub tasks: Vec<TaskSettings>,
}

/// One Deployment and how it gets its new version.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct WorkloadPlan {
    /// Its name in the spec.
    pub name: WorkloadName,
    /// Name of the Deployment.
    pub deployment: DeploymentName,
    /// The container that gets the image; none: the only one.
    pub container: Option<String>,
    /// Services whose traffic moves.
    pub services: Vec<ServiceName>,
    /// Services that are left alone.
    pub leave: Vec<ServiceName>,
    /// How it gets its new version.
    pub move_: Move,
}

/// What a task is given: the same makes it the same task.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct TaskPlan {
    /// The step that runs it.
    pub step: StepName,
    /// Its name within the step.
    pub name: String,
    /// The workload whose new pod spec it gets.
    pub from: WorkloadName,
    /// Replaces the entry point.
    pub command: Vec<String>,
    /// Arguments.
    pub args: Vec<String>,
    /// Environment variables added to the container's.
    pub env: Vec<EnvironmentVariable>,
    /// Options appended to PGOPTIONS.
    pub postgres_options: Option<String>,
}

/// How a task is run. Live: another value holds for the next attempt, and for the clocks of a running one.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct TaskSettings {
    /// The step that runs it.
    pub step: StepName,
    /// Its name within the step.
    pub name: String,
    /// Resources, where they replace the container's; as in a container.
    pub resources: Option<serde_json::Value>,
    /// Whether init containers run.
    pub init_containers: InitContainers,
    /// Labels besides ours.
    pub labels: BTreeMap<String, String>,
    /// Annotations besides ours.
    pub annotations: BTreeMap<String, String>,
    /// Time for scheduling and image pull.
    pub start_deadline: SignedDuration,
    /// Expected running time.
    pub timeout: SignedDuration,
    /// What happens after it.
    pub on_timeout: OnTimeout,
    /// New attempts after a failure that the task reported.
    pub retries: i32,
    /// Whether an unknown outcome may be tried again.
    pub idempotent: bool,
}

/// The new index generation.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct ReindexPlan {
    /// Address of the engine.
    pub url: String,
    /// The variable that carries the token.
    pub variable: String,
    /// The stable aliases.
    pub aliases: Vec<AliasName>,
    /// When a generation is built.
    pub rebuild: RebuildWhen,
    /// What it is built for.
    pub fingerprint: Option<String>,
    /// Builds it.
    pub build: TaskPlan,
    /// Repeats what was written since.
    pub catch_up: Option<TaskPlan>,
    /// What holds for a running revision too.
    pub live: ReindexSettings,
}

/// What of a reindex is live.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct ReindexSettings {
    /// The new index of an alias is refused with fewer documents.
    pub minimum_documents: BTreeMap<AliasName, i64>,
    /// A build whose document counts stand still this long is stalled.
    pub stall_timeout: SignedDuration,
    /// How far a catch-up pass reaches back before the last one began.
    pub margin: SignedDuration,
    /// Caught up when a pass took less.
    pub max_lag: SignedDuration,
    /// The revision fails when this many passes were not enough.
    pub max_passes: i32,
    /// How far counts may be below the old index, in parts of 100,000.
    pub tolerance: i64,
    /// How many old generations are kept.
    pub keep_generations: usize,
    /// How long each is kept.
    pub keep_for: SignedDuration,
}

impl Intent {
    /// Reads a Release.
    pub fn parse(release: &Release) -> Self {
        let metadata = &release.metadata;
        let lever = |key: &str| {
            metadata
                .annotations
                .as_ref()
                .and_then(|all| all.get(key))
                .cloned()
        };
        Self {
            meta: Meta {
                name: metadata.name.clone().unwrap_or_default(),
                namespace: metadata.namespace.clone().unwrap_or_default(),
                uid: metadata.uid.clone().map(Uid::from).unwrap_or_default(),
                generation: metadata.generation.unwrap_or_default(),
                resource_version: metadata.resource_version.clone().unwrap_or_default(),
                deleting: metadata.deletion_timestamp.is_some(),
                finalizers: metadata.finalizers.clone().unwrap_or_default(),
            },
            wanted: Plan::parse(&release.spec),
            live: parse::live(&release.spec),
            levers: LeverValues {
                retry: lever(names::RETRY),
                abort: lever(names::ABORT),
                rollback: lever(names::ROLLBACK),
                resume: lever(names::RESUME),
            },
        }
    }
}

impl Plan {
    /// The plan that a revision works with: up to the end of its Preflight that of the spec; then what Preflight saw,
    /// with the live settings of the spec as long as that describes the same version.
    pub fn for_revision(revision: &Revision, preflight_over: bool, wanted: Option<&Self>) -> Option<Self> {
        let same = wanted.filter(|wanted| wanted.digest == revision.digest);
        if !preflight_over && let Some(same) = same {
            return Some(same.clone());
        }
        let Ok(mut frozen) = Self::parse(&revision.inputs.0) else {
            return same.cloned();
        };
        if let Some(same) = same {
            frozen.tasks.clone_from(&same.tasks);
            if let (Some(frozen), Some(same)) = (&mut frozen.reindex, &same.reindex) {
                frozen.live.clone_from(&same.live);
            }
        }
        // What was adopted under an older rule keeps its identity.
        frozen.digest.clone_from(&revision.digest);
        Some(frozen)
    }

    /// Every task that it may run, in no particular order.
    pub fn all_tasks(&self) -> impl Iterator<Item = &TaskPlan> {
        let reindex = self
            .reindex
            .iter()
            .flat_map(|reindex| std::iter::once(&reindex.build).chain(&reindex.catch_up));
        self.prepare.iter().chain(&self.expand).chain(reindex)
    }

    /// How a task of this plan is run.
    pub fn settings(&self, task: &TaskPlan) -> &TaskSettings {
        static DEFAULT: std::sync::LazyLock<TaskSettings> = std::sync::LazyLock::new(parse::default_settings);
        let mut all = self.tasks.iter();
        all.find(|settings| settings.step == task.step && settings.name == task.name)
            .unwrap_or(&DEFAULT)
    }
}

impl WorkloadPlan {
    fn new(workload: &Workload) -> Self {
        let default = if workload.services.is_empty() {
            Move::After
        } else {
            Move::WithTraffic
        };
        Self {
            name: workload.name.clone(),
            deployment: workload.deployment.clone(),
            container: workload.container.clone(),
            services: workload.services.clone(),
            leave: workload.leave.clone(),
            move_: workload.move_.unwrap_or(default),
        }
    }
}

impl ReindexPlan {
    /// The name that a generation has for an alias: `products_g7`, or the plain alias without a token.
    pub fn name(alias: &AliasName, token: Option<&GenerationToken>) -> AliasName {
        token.map_or_else(|| alias.clone(), |token| format!("{alias}_{token}").into())
    }
}
