//! A tiny world for tests: the objects that a Release touches and the controllers that move them, in
//! virtual time.
//!
//! Effects change real objects by the rules of the API server, and views are read from them by
//! [`crate::classify`], so that a whole release is played in milliseconds.

mod deployments;
mod jobs;
mod objects;
mod play;
mod scene;
mod schema;
mod search;
mod transcript;
mod users;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use slipway_crds::v1alpha1::{Phase, Release};
use slipway_crds::{DeploymentName, Uid};

use crate::decision::Wake;
use crate::observed::{Observed, PodTrouble, WindowGuard};
use crate::{Answer, Answered, Answers, Intent, Progress, Question, classify, questions};

pub(crate) use jobs::Script;
pub(crate) use objects::{full, plain, text};
pub(crate) use scene::{Row, Scene, table, words};
pub(crate) use search::Index;
pub(crate) use transcript::told_as;

/// Time from a pod's creation to its first readiness.
const BOOT: SignedDuration = SignedDuration::from_secs(3);

/// A pod of a workload.
#[derive(Clone, Debug)]
pub(crate) struct Pod {
    name: String,
    set: String,
    hash: String,
    labels: BTreeMap<String, String>,
    image: String,
    born: Timestamp,
    ready_since: Option<Timestamp>,
    down_until: Option<Timestamp>,
}

/// Everything that there is.
#[allow(
    clippy::struct_excessive_bools,
    reason = "each is a fact of the world that a story switches on"
)]
#[derive(Clone, Debug)]
pub(crate) struct World {
    pub(crate) now: Timestamp,
    begun: Timestamp,
    counter: u64,
    /// Something changed that the controller watches.
    dirty: bool,
    /// Something changed that the controllers of Kubernetes watch.
    stirred: bool,
    /// When they looked last.
    looked: Timestamp,
    due: Wake,
    due_from: Timestamp,
    pub(crate) release: Option<Release>,
    pub(crate) deployments: BTreeMap<String, Value>,
    pub(crate) sets: BTreeMap<String, Value>,
    pub(crate) pods: Vec<Pod>,
    pub(crate) services: BTreeMap<String, Value>,
    endpoints: BTreeMap<String, BTreeSet<String>>,
    pub(crate) jobs: BTreeMap<String, Value>,
    pub(crate) task_pods: BTreeMap<String, Value>,
    scripts: BTreeMap<String, VecDeque<Script>>,
    /// Images whose pods never get ready.
    broken: BTreeSet<String>,
    pub(crate) indices: BTreeMap<String, Index>,
    pub(crate) engine_away: bool,
    /// Address of the engine that there is.
    pub(crate) engine: String,
    /// Access modes of volume claims.
    pub(crate) claims: BTreeMap<String, Vec<String>>,
    /// Autoscalers by a metric of type Value.
    pub(crate) autoscalers: BTreeMap<DeploymentName, String>,
    /// Volume claims cannot be read.
    pub(crate) unreadable: bool,
    pub(crate) guard: WindowGuard,
    /// Why no pod of a Job can be made.
    pub(crate) no_pods: Option<String>,
    /// UIDs of other Releases.
    pub(crate) releases: BTreeSet<Uid>,
    /// Documents that a build writes into each index.
    pub(crate) built: i64,
    /// Whether the story is written down.
    pub(crate) lines: Vec<String>,
    /// Words of the effects that were carried out, in order.
    pub(crate) effects: Vec<&'static str>,
    /// Names of all Jobs that were ever made.
    made: BTreeSet<String>,
    /// Every decision is made twice, and has to be the same.
    pub(crate) doubt: bool,
    /// The fewest ready endpoints that a Service had since [`World::watch_traffic`].
    lowest: Option<usize>,
    last_line: String,
}

impl World {
    /// A Release of this spec beside a Deployment `web` of three ready pods of `shop:1`, its Service, and a
    /// worker. The Release is not looked at yet.
    pub(crate) fn new(spec: Value) -> Self {
        let begun: Timestamp = "2026-01-05T10:00:00Z".parse().unwrap();
        let mut world = Self {
            now: begun,
            begun,
            counter: 100,
            dirty: true,
            stirred: true,
            looked: begun,
            due: Wake::OnChange,
            due_from: begun,
            release: None,
            deployments: BTreeMap::new(),
            sets: BTreeMap::new(),
            pods: Vec::new(),
            services: BTreeMap::new(),
            endpoints: BTreeMap::new(),
            jobs: BTreeMap::new(),
            task_pods: BTreeMap::new(),
            scripts: BTreeMap::new(),
            broken: BTreeSet::new(),
            indices: BTreeMap::new(),
            engine_away: false,
            engine: "http://search:9200".to_owned(),
            claims: BTreeMap::new(),
            autoscalers: BTreeMap::new(),
            unreadable: false,
            no_pods: None,
            guard: WindowGuard::Deny,
            releases: BTreeSet::new(),
            built: 1000,
            lines: Vec::new(),
            effects: Vec::new(),
            made: BTreeSet::new(),
            doubt: false,
            lowest: None,
            last_line: String::new(),
        };
        world.add_deployment("web", "shop:1", 3);
        world.add_deployment("worker", "shop:1", 1);
        world.add_service("web");
        world.add_index("products_1", 1000, &["products"]);
        world.run_others();
        world.now += SignedDuration::from_mins(1);
        world.begun = world.now;
        world.add_release(spec);
        world
    }

    /// A Release that has adopted what runs.
    pub(crate) fn adopted(spec: Value) -> Self {
        let mut world = Self::new(spec);
        world.rest();
        world.lines.clear();
        world.effects.clear();
        world.begun = world.now;
        world
    }

    fn next(&mut self) -> u64 {
        self.counter += 1;
        self.counter
    }

    /// What the controller sees.
    /// Everything that a decision about an intent looks at, with the answers to what it asks.
    pub(crate) fn observe(&self, intent: &Intent) -> Observed {
        let mut observed = self.cached();
        let asked = questions(intent, &self.progress(), &observed, self.now);
        let answered = |question: Question| Answered {
            answer: self.answer(&question),
            at: self.now,
            question,
        };
        observed.answers = Answers(asked.into_iter().map(answered).collect());
        observed
    }

    fn cached(&self) -> Observed {
        let mut deployments: BTreeMap<_, _> = self
            .deployments
            .iter()
            .map(|(name, object)| (name.as_str().into(), classify::deployment(object)))
            .collect();
        for set in self.sets.values() {
            let owner = classify::owner(set).unwrap_or_default();
            if let Some(deployment) = deployments.values_mut().find(|found| found.uid.as_str() == owner) {
                deployment.replica_sets.push(classify::replica_set(set));
            }
        }
        let services = self.services.iter().map(|(name, object)| {
            let mut view = classify::service(object);
            view.ready_pods = self.endpoints.get(name).cloned().unwrap_or_default();
            (name.as_str().into(), view)
        });
        Observed {
            services: services.collect(),
            jobs: self
                .jobs
                .iter()
                .map(|(name, job)| (name.as_str().into(), classify::job(job)))
                .collect(),
            task_pods: self.task_pods.values().map(classify::task_pod).collect(),
            releases: self
                .release
                .iter()
                .filter_map(|release| release.metadata.uid.clone().map(Uid::from))
                .chain(self.releases.iter().cloned())
                .collect(),
            answers: Answers::default(),
            guard: self.guard,
            deployments,
        }
    }

    fn answer(&self, question: &Question) -> Result<Answer, String> {
        match question {
            Question::Search(question) => self.search(question).map(Answer::Search),
            Question::VolumeClaims(_) if self.unreadable => Err("forbidden".to_owned()),
            Question::VolumeClaims(_) => Ok(Answer::VolumeClaims(self.claims.clone())),
            Question::Autoscalers => Ok(Answer::Autoscalers(self.autoscalers.clone())),
            Question::PodTroubles(deployment) => Ok(Answer::PodTroubles(self.troubles(deployment.as_str()))),
            Question::JobTrouble(_) => Ok(Answer::JobTrouble(self.no_pods.clone())),
        }
    }

    fn troubles(&self, of: &str) -> Vec<PodTrouble> {
        self.pods
            .iter()
            .filter(|pod| pod.ready_since.is_none() && pod.set.starts_with(of))
            .map(|pod| PodTrouble {
                pod: pod.name.clone(),
                hash: pod.hash.as_str().into(),
                trouble: "CrashLoopBackOff (back-off 20s restarting failed container)".to_owned(),
            })
            .collect()
    }

    pub(crate) fn progress(&self) -> Progress {
        Progress::new(self.release.as_ref().and_then(|release| release.status.clone()))
    }

    pub(crate) fn phase(&self) -> Phase {
        self.progress().status.phase.unwrap_or(Phase::Pending)
    }

    /// The reason of a condition that is True, or of Ready whatever it is.
    pub(crate) fn reason(&self, kind: &str) -> Option<String> {
        let status = self.progress().status;
        let found = status.conditions.iter().find(|found| found.type_ == kind)?;
        (found.status == "True" || kind == "Ready").then(|| found.reason.clone())
    }

    /// The image that each ready endpoint of a Service runs.
    pub(crate) fn serves(&self, service: &str) -> BTreeSet<String> {
        let names = self.endpoints.get(service);
        self.pods
            .iter()
            .filter(|pod| names.is_some_and(|names| names.contains(&pod.name)))
            .map(|pod| pod.image.clone())
            .collect()
    }

    /// How many ready endpoints a Service has.
    pub(crate) fn ready_endpoints(&self, service: &str) -> usize {
        self.endpoints.get(service).map_or(0, BTreeSet::len)
    }

    /// Counts the ready endpoints of every Service from now on; the lowest is told by [`World::lowest`].
    pub(crate) fn watch_traffic(&mut self) {
        self.lowest = self.endpoints.values().map(BTreeSet::len).min();
    }

    pub(crate) fn lowest(&self) -> usize {
        self.lowest.unwrap_or(0)
    }
}
