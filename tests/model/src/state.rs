//! The abstract cluster: few and small fields, each with the values that a decision tells apart.

use std::sync::Arc;

/// Images, and with them sides: what runs at first, the first revision's, the second one's.
pub(crate) const IMAGES: usize = 3;

/// Number of a status that was interned.
pub(crate) type StatusId = u32;

/// Number of a decision that was interned.
pub(crate) type DecisionId = u32;

/// Everything at one moment.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(crate) struct State {
    /// What the API server holds.
    pub cluster: Cluster,
    /// Two controllers of the same program; which is which does not matter, so they are kept in order.
    pub controllers: [Controller; 2],
    /// What may still go wrong.
    pub budget: Budget,
    /// The first invariant that a write broke.
    pub broken: Option<&'static str>,
}

/// What may still go wrong, and what people may still do.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub(crate) struct Budget {
    /// So many of all these.
    pub all: u8,
    /// A controller dies.
    pub crashes: u8,
    /// A call fails.
    pub faults: u8,
    /// A watch lags.
    pub lags: u8,
    /// A child or the Release is deleted, a task's pod evicted, or a ready pod dies.
    pub losses: u8,
    /// A person asks for something.
    pub wishes: u8,
}

/// What the API server holds.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(crate) struct Cluster {
    /// The Release.
    pub release: Release,
    /// The Deployment.
    pub deployment: Deployment,
    /// Its ReplicaSets, by image.
    pub sets: [Option<Set>; IMAGES],
    /// The Service.
    pub service: Service,
    /// Ready pods behind the Service, by image, as the EndpointSlices say.
    pub endpoints: [u8; IMAGES],
    /// Jobs, also those that are gone: a name is used once.
    pub jobs: Vec<Job>,
    /// Pods of tasks.
    pub pods: Vec<TaskPod>,
}

/// The Release.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(crate) struct Release {
    /// Its status.
    pub status: StatusId,
    /// `spec.image`.
    pub image: u8,
    /// The one annotation that was set, and for which revision.
    pub lever: Option<(Lever, u8)>,
    /// Being deleted.
    pub deleting: bool,
    /// Our finalizer.
    pub finalizer: bool,
    /// Deleted.
    pub gone: bool,
}

/// What people ask for by annotation.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub(crate) enum Lever {
    Abort,
    Rollback,
    Retry,
}

/// The Deployment. Its three hold fields have the hold's value or the user's.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub(crate) struct Deployment {
    /// Counts the changes of spec and labels: the resource version.
    pub version: u8,
    /// The Deployment controller has seen the newest spec.
    pub synced: bool,
    pub claim: bool,
    pub window: bool,
    pub image: u8,
    pub held_ready: bool,
    pub held_deadline: bool,
    pub held_strategy: bool,
    pub paused: bool,
    /// `status.replicas`, as the Deployment controller counted them last.
    pub counted: u8,
}

/// A ReplicaSet.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub(crate) struct Set {
    /// Counts those that had this template.
    pub uid: u8,
    /// Counts the changes of its spec.
    pub version: u8,
    /// `spec.replicas`.
    pub wanted: u8,
    /// minReadySeconds is the hold's.
    pub held: bool,
    /// Its status is that of its newest spec.
    pub current: bool,
    pub pods: u8,
    pub ready: u8,
    pub available: u8,
}

/// The Service.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub(crate) struct Service {
    /// Counts its changes.
    pub version: u8,
    pub claim: bool,
    pub window: bool,
    /// The image whose side it is pinned to.
    pub pin: Option<u8>,
}

/// A task's Job.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub(crate) struct Job {
    pub name: Arc<str>,
    pub digest: Arc<str>,
    pub step: Arc<str>,
    pub revision: u8,
    /// Tells Jobs of one name apart.
    pub uid: u8,
    /// Whether it was ever let run.
    pub started: bool,
    pub state: JobState,
}

/// How a Job stands.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub(crate) enum JobState {
    /// Made, and suspended.
    Made,
    /// Started; its pod is not made yet.
    New,
    Active,
    Complete,
    Failed,
    Gone,
}

/// A task's pod.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub(crate) struct TaskPod {
    pub job: Arc<str>,
    pub step: Arc<str>,
    pub phase: PodPhase,
    pub deleting: bool,
    pub disrupted: bool,
    pub finalizer: bool,
}

/// How a task's pod stands.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub(crate) enum PodPhase {
    Pending,
    Running,
    Succeeded,
    Failed,
    /// It was deleted before it ran.
    NeverRan,
}

/// A controller.
#[derive(Clone, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub(crate) struct Controller {
    /// A decision that is being carried out.
    pub pending: Option<Pending>,
    /// A watch that lags.
    pub lag: Option<Lag>,
}

/// A decision that is being carried out.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub(crate) struct Pending {
    pub decision: DecisionId,
    /// What its progress says, as old as it is by now.
    pub status: StatusId,
    pub committed: bool,
    /// Nobody has written the Release since it was read.
    pub current: bool,
    /// Effects that were carried out.
    pub done: u8,
    /// Time has gone by or another controller has written since it looked: what leans on the lease is not done any more.
    pub late: bool,
}

/// A watch that lags: what the controller still sees.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub(crate) struct Lag {
    pub seen: Seen,
    /// Changes that it has missed.
    pub missed: u8,
}

/// What one watch shows.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub(crate) enum Seen {
    Release(Box<OldRelease>),
    Deployment(Deployment),
    Sets([Option<Set>; IMAGES]),
    Service(Service),
    Endpoints([u8; IMAGES]),
    Jobs(Vec<Job>),
    Pods(Vec<TaskPod>),
}

/// A Release as it was.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub(crate) struct OldRelease {
    pub status: StatusId,
    pub image: u8,
    pub lever: Option<(Lever, u8)>,
    pub deleting: bool,
    pub finalizer: bool,
    /// It is still so.
    pub current: bool,
}

impl Budget {
    /// What may still happen, of each kind.
    pub(crate) fn left(self) -> Self {
        let Self {
            all,
            crashes,
            faults,
            lags,
            losses,
            wishes,
        } = self;
        let most = |kind: u8| kind.min(all);
        Self {
            all,
            crashes: most(crashes),
            faults: most(faults),
            lags: most(lags),
            losses: most(losses),
            wishes: most(wishes),
        }
    }
}

impl Seen {
    /// What each watch shows now.
    pub(crate) fn all(cluster: &Cluster) -> Vec<Self> {
        let release = &cluster.release;
        vec![
            Self::Release(Box::new(OldRelease {
                status: release.status,
                image: release.image,
                lever: release.lever,
                deleting: release.deleting,
                finalizer: release.finalizer,
                current: true,
            })),
            Self::Deployment(cluster.deployment.clone()),
            Self::Sets(cluster.sets.clone()),
            Self::Service(cluster.service.clone()),
            Self::Endpoints(cluster.endpoints),
            Self::Jobs(cluster.jobs.clone()),
            Self::Pods(cluster.pods.clone()),
        ]
    }

    /// What a controller that sees this cluster so sees by the same watch; whether it is current stays.
    pub(crate) fn renewed_as(&self, view: &Cluster) -> Self {
        match self {
            Self::Release(_) => self.clone(),
            _ => self.renewed(view),
        }
    }

    /// The same watch, up to date.
    pub(crate) fn renewed(&self, cluster: &Cluster) -> Self {
        let place = match self {
            Self::Release(_) => 0,
            Self::Deployment(_) => 1,
            Self::Sets(_) => 2,
            Self::Service(_) => 3,
            Self::Endpoints(_) => 4,
            Self::Jobs(_) => 5,
            Self::Pods(_) => 6,
        };
        Self::all(cluster).swap_remove(place)
    }
}

impl Controller {
    /// The cluster as this controller sees it, and whether its Release is the newest one.
    pub(crate) fn view(&self, cluster: &Cluster) -> (Cluster, bool) {
        let mut view = cluster.clone();
        let mut current = true;
        match self.lag.as_ref().map(|lag| &lag.seen) {
            None => {}
            Some(Seen::Release(old)) => {
                current = old.current;
                view.release = Release {
                    status: old.status,
                    image: old.image,
                    lever: old.lever,
                    deleting: old.deleting,
                    finalizer: old.finalizer,
                    gone: false,
                };
            }
            Some(Seen::Deployment(old)) => view.deployment = old.clone(),
            Some(Seen::Sets(old)) => view.sets.clone_from(old),
            Some(Seen::Service(old)) => view.service = old.clone(),
            Some(Seen::Endpoints(old)) => view.endpoints = *old,
            Some(Seen::Jobs(old)) => view.jobs.clone_from(old),
            Some(Seen::Pods(old)) => view.pods.clone_from(old),
        }
        (view, current)
    }
}

impl Cluster {
    /// Ready pods that the Service selects.
    pub(crate) fn selected(&self, pin: Option<u8>) -> u8 {
        let all = self
            .sets
            .iter()
            .zip(1..)
            .filter_map(|(set, image)| Some((image, set.as_ref()?)));
        all.filter(|(image, _)| pin.is_none_or(|pin| pin == *image))
            .map(|(_, set)| set.ready)
            .sum()
    }

    /// The ReplicaSet of an image.
    pub(crate) fn set(&self, image: u8) -> Option<&Set> {
        self.sets[usize::from(image) - 1].as_ref()
    }
}
