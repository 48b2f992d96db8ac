//! A Release in a small cluster, for tests: the engine looks at the model of Kubernetes in
//! `tests/kubernetes`, and what it decides is written there, in virtual time.
//!
//! Views are read from the model's objects by [`crate::classify`], so that a whole release is played in
//! milliseconds.

mod objects;
mod play;
mod scene;
mod schema;
mod search;
mod transcript;
mod users;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use jiff::Timestamp;
use serde::Deserialize as _;
use serde_json::Value;
use slipway_crds::DeploymentName;
use slipway_crds::names::{SERVICE_NAME, TASK};
use slipway_crds::v1alpha1::{Phase, Release, ReleaseStatus};
use slipway_kubernetes::Kubernetes;
pub(crate) use slipway_kubernetes::kind::Kind;
use slipway_kubernetes::{fields, store::selector};

use crate::observed::{Observed, PodTrouble, WindowGuard};
use crate::{Answer, Answered, Answers, Intent, Progress, Question, classify, questions};

pub(crate) use objects::{full, plain};
pub(crate) use scene::{Row, Scene, table, words};
pub(crate) use transcript::told_as;
pub(crate) use users::{fails, takes};

/// Everything that there is.
pub(crate) struct World {
    kubernetes: Kubernetes,
    begun: Timestamp,
    /// How many changes of the cluster have been noticed.
    noticed: usize,
    /// Something changed that the controller watches.
    dirty: bool,
    /// What it has read of the cluster, until something changes.
    cached: Option<Observed>,
    /// When the controller looks if nothing changes.
    due: Option<Timestamp>,
    /// Address of the search engine.
    pub(crate) address: String,
    /// Access modes of volume claims.
    pub(crate) claims: BTreeMap<String, Vec<String>>,
    /// Autoscalers by a metric of type Value.
    pub(crate) autoscalers: BTreeMap<DeploymentName, String>,
    /// Volume claims cannot be read.
    pub(crate) unreadable: bool,
    pub(crate) guard: WindowGuard,
    /// Documents that a build writes into each index.
    built: Arc<AtomicU64>,
    /// The story.
    pub(crate) lines: Vec<String>,
    last_line: String,
    /// Names that Kubernetes made up, and how the story tells them.
    aliases: Vec<(String, String)>,
    /// Words of the effects that were carried out, in order.
    pub(crate) effects: Vec<&'static str>,
    /// Names of all Jobs that ever ran.
    ran: BTreeSet<String>,
    /// Every decision is made twice, and has to be the same.
    pub(crate) doubt: bool,
    /// The fewest ready endpoints that a Service had since [`World::watch_traffic`].
    lowest: Option<usize>,
}

impl World {
    /// A Release of this spec beside a Deployment `web` of three ready pods of `shop:1`, its Service, and a
    /// worker. The Release is not looked at yet.
    pub(crate) fn new(spec: &Value) -> Self {
        Self::seeded(1, spec)
    }

    /// The same with chances of its own.
    fn seeded(seed: u64, spec: &Value) -> Self {
        let kubernetes = Kubernetes::new(seed);
        let mut world = Self {
            begun: kubernetes.now(),
            noticed: 0,
            dirty: true,
            cached: None,
            due: None,
            address: "http://search:9200".to_owned(),
            claims: BTreeMap::new(),
            autoscalers: BTreeMap::new(),
            unreadable: false,
            guard: WindowGuard::Deny,
            built: Arc::new(AtomicU64::new(1000)),
            lines: Vec::new(),
            last_line: String::new(),
            aliases: Vec::new(),
            effects: Vec::new(),
            ran: BTreeSet::new(),
            doubt: false,
            lowest: None,
            kubernetes,
        };
        // First of all, so that its UID is the same whatever stands beside it.
        world.add_release("shop", spec);
        world.add_deployment("web", "shop:1", 3);
        world.add_deployment("worker", "shop:1", 1);
        world.add_service("web");
        world.add_index("products_1", 1000, &["products"]);
        world.tasks_end_well();
        world.others_act(Duration::from_mins(1));
        world.begins();
        world
    }

    /// A Release that has adopted what runs.
    pub(crate) fn adopted(spec: &Value) -> Self {
        Self::adopted_in(1, spec)
    }

    /// The same with chances of its own.
    pub(crate) fn adopted_in(seed: u64, spec: &Value) -> Self {
        let mut world = Self::seeded(seed, spec);
        world.rest();
        world.begins();
        world
    }

    /// The story begins here.
    fn begins(&mut self) {
        self.lines.clear();
        self.effects.clear();
        self.begun = self.now();
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.kubernetes.now()
    }

    /// An object; null when there is none.
    pub(crate) fn get(&self, kind: Kind, name: &str) -> Arc<Value> {
        self.kubernetes.get(kind, name)
    }

    /// The objects of a kind, by name.
    pub(crate) fn all(&self, kind: Kind) -> Vec<Arc<Value>> {
        self.kubernetes.all(kind)
    }

    /// The names of the objects of a kind, in their order.
    pub(crate) fn names(&self, kind: Kind) -> Vec<String> {
        let names = self.all(kind).into_iter();
        names.map(|object| fields::name(&object).to_owned()).collect()
    }

    /// The names of the Jobs that there are.
    pub(crate) fn jobs(&self) -> Vec<String> {
        self.names(Kind::Job)
    }

    /// The pods of tasks.
    pub(crate) fn task_pods(&self) -> Vec<Arc<Value>> {
        let mut pods = self.all(Kind::Pod);
        pods.retain(|pod| is_task(pod));
        pods
    }

    pub(crate) fn release(&self) -> Option<Release> {
        Option::deserialize(&*self.get(Kind::Release, "shop")).unwrap()
    }

    /// Everything that a decision about an intent looks at, with the answers to what it asks.
    pub(crate) fn observe(&self, intent: &Intent, committed: &Progress) -> Observed {
        let mut observed = self.cached.clone().unwrap_or_else(|| self.read());
        let asked = questions(intent, committed, &observed, self.now());
        let answered = |question: Question| Answered {
            answer: self.answer(&question),
            at: self.now(),
            question,
        };
        observed.answers = Answers(asked.into_iter().map(answered).collect());
        observed
    }

    fn read(&self) -> Observed {
        let mut deployments: BTreeMap<_, _> = self
            .all(Kind::Deployment)
            .iter()
            .map(|object| classify::deployment(object))
            .map(|view| (view.name.clone(), view))
            .collect();
        for set in self.all(Kind::ReplicaSet) {
            let owner = classify::owner(&set).unwrap_or_default();
            if let Some(deployment) = deployments.values_mut().find(|found| found.uid.as_str() == owner) {
                deployment.replica_sets.push(classify::replica_set(&set));
            }
        }
        let services = self.all(Kind::Service).into_iter().map(|object| {
            let mut view = classify::service(&object);
            view.ready_pods = self.endpoints(view.name.as_str());
            (view.name.clone(), view)
        });
        let jobs = self.all(Kind::Job).into_iter();
        let releases = self.all(Kind::Release).into_iter();
        Observed {
            services: services.collect(),
            jobs: jobs
                .map(|job| classify::job(&job))
                .map(|view| (view.name.clone(), view))
                .collect(),
            task_pods: self
                .task_pods()
                .iter()
                .map(|pod| classify::task_pod(pod))
                .collect(),
            releases: releases.map(|release| fields::uid(&release).into()).collect(),
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
            Question::JobTrouble(uid) => {
                let events = self.all(Kind::Event);
                let own = events
                    .iter()
                    .filter(|event| fields::text(event, "/regarding/uid") == uid.as_str());
                Ok(Answer::JobTrouble(classify::job_trouble(own.map(AsRef::as_ref))))
            }
        }
    }

    fn troubles(&self, of: &str) -> Vec<PodTrouble> {
        let deployment = self.get(Kind::Deployment, of);
        let pods = self.all(Kind::Pod).into_iter();
        let own = pods.filter(|pod| {
            selector::fits_selector(
                &deployment["spec"]["selector"],
                fields::map(pod, "/metadata/labels"),
            )
        });
        own.filter_map(|pod| classify::pod_trouble(&pod)).collect()
    }

    pub(crate) fn progress(&self) -> Progress {
        let release = self.get(Kind::Release, "shop");
        let status = release.get("status");
        Progress::new(status.map(|status| ReleaseStatus::deserialize(status).unwrap()))
    }

    pub(crate) fn phase(&self) -> Phase {
        let release = self.get(Kind::Release, "shop");
        let phase = fields::at(&release, "/status/phase");
        phase.map_or(Phase::Pending, |phase| Phase::deserialize(phase).unwrap())
    }

    /// The reason of a condition that is True, or of Ready whatever it is.
    pub(crate) fn reason(&self, kind: &str) -> Option<String> {
        let release = self.get(Kind::Release, "shop");
        let found = fields::condition(&release, kind)?;
        (fields::text(found, "/status") == "True" || kind == "Ready")
            .then(|| fields::text(found, "/reason").to_owned())
    }

    /// The pods behind the ready endpoints of a Service.
    fn endpoints(&self, service: &str) -> BTreeSet<String> {
        let slices = self.all(Kind::EndpointSlice).into_iter();
        let own = slices.filter(|slice| fields::label(slice, SERVICE_NAME) == service);
        own.flat_map(|slice| classify::ready_pods(&slice)).collect()
    }

    /// The image that each ready endpoint of a Service runs.
    pub(crate) fn serves(&self, service: &str) -> BTreeSet<String> {
        let names = self.endpoints(service).into_iter();
        names
            .map(|name| self.get(Kind::Pod, &name))
            .map(|pod| fields::text(&pod, "/spec/containers/0/image").to_owned())
            .collect()
    }

    /// How many ready endpoints a Service has.
    pub(crate) fn ready_endpoints(&self, service: &str) -> usize {
        self.endpoints(service).len()
    }

    /// Counts the ready endpoints of every Service from now on; the lowest is told by [`World::lowest`].
    pub(crate) fn watch_traffic(&mut self) {
        let services = self.names(Kind::Service).into_iter();
        self.lowest = services.map(|name| self.ready_endpoints(&name)).min();
    }

    pub(crate) fn lowest(&self) -> usize {
        self.lowest.unwrap_or(0)
    }
}

/// Whether a pod is that of a task.
fn is_task(pod: &Value) -> bool {
    !fields::label(pod, TASK).is_empty()
}
