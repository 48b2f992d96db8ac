//! Decisions of the real engine, each made once: the same view gives the same decision.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use serde_json::Value;
use slipway_crds::Uid;
use slipway_crds::names::{CLAIM, INPUT_DIGEST, POD_TEMPLATE_HASH, REVISION, STEP, WINDOW};
use slipway_engine::decision::{Kind, Patch, Purpose};
use slipway_engine::template::merged;
use slipway_engine::window::patches::{HOLD_MIN_READY_SECONDS, HOLD_PROGRESS_DEADLINE_SECONDS};
use slipway_engine::{
    self as engine, Answer, Answered, Answers, Call, Observed, Progress, Question, ReadAgain, Wake, decide,
    invariants, questions,
};

use crate::memory::{Memories, Memory, Tick};
use crate::state::{Cluster, DecisionId, Deployment, Job, JobState, Service, Set, StatusId};
use crate::view::{NOW, OWN_DEADLINE, OWN_READY, image_of, intent, observed, pod_version, template};

/// A decision.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(crate) struct Decision {
    /// What is committed first; none where no fact changes.
    pub commit: Option<StatusId>,
    /// What is done then.
    pub effects: Vec<Effect>,
    /// When the controller looks again by itself.
    pub wake: Option<Tick>,
    /// Sides that are read again before, by image.
    pub fresh_sides: BTreeSet<u8>,
    /// The tasks' pods are read again before.
    pub fresh_pods: bool,
    /// The Jobs are read again before.
    pub fresh_jobs: bool,
    /// An invariant that the engine says is broken.
    pub broken: Option<&'static str>,
}

/// An effect: what the object becomes, if it still is what was seen.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(crate) enum Effect {
    /// Our finalizer.
    Release { finalizer: bool },
    /// A Deployment, its version being the one that was seen.
    Deployment { purpose: Purpose, to: Deployment },
    /// A ReplicaSet.
    Set { purpose: Purpose, image: u8, to: Set },
    /// A Service.
    Service { purpose: Purpose, to: Service },
    /// Our finalizer off a pod that looked so.
    FreePod { job: Arc<str>, version: String },
    /// A Job, suspended.
    Create { job: Job },
    /// The Job of this name and UID may run, if nobody has let it run yet.
    Start { job: Arc<str>, uid: u8 },
    /// A Job goes, perhaps only if nobody has let it run yet.
    Delete {
        job: Arc<str>,
        uid: u8,
        never_started: bool,
    },
}

impl Effect {
    /// Whether no version of an object refuses it when it comes late: neither a rollback before the flip nor the
    /// loss of the one side that is left, before the unpin, changes the Service.
    pub(crate) fn leans_on_the_lease(&self) -> bool {
        matches!(
            self,
            Self::Service {
                purpose: Purpose::Flip | Purpose::Unpin,
                ..
            }
        )
    }

    /// What it is for.
    pub(crate) fn word(&self) -> String {
        match self {
            Self::Release { finalizer: true } => "Guard".to_owned(),
            Self::Release { finalizer: false } => "LetGo".to_owned(),
            Self::Deployment { purpose, .. } | Self::Set { purpose, .. } | Self::Service { purpose, .. } => {
                purpose.word().to_owned()
            }
            Self::FreePod { .. } => "FreePod".to_owned(),
            Self::Create { .. } => "CreateJob".to_owned(),
            Self::Start { .. } => "Start".to_owned(),
            Self::Delete { .. } => "DeleteJob".to_owned(),
        }
    }
}

/// The engine, and what it was asked before.
#[derive(Debug)]
pub(crate) struct Planner {
    /// All statuses that were met.
    pub memories: Memories,
    spec: Value,
    replicas: u8,
    known: Vec<Arc<Decision>>,
    ids: HashMap<Decision, DecisionId>,
    views: HashMap<Cluster, DecisionId>,
}

impl Planner {
    /// For Releases of this spec, and Deployments of this size.
    pub(crate) fn new(spec: Value, replicas: u8) -> Self {
        Self {
            memories: Memories::default(),
            spec,
            replicas,
            known: Vec::new(),
            ids: HashMap::new(),
            views: HashMap::new(),
        }
    }

    /// `spec.replicas` of the Deployment.
    pub(crate) fn replicas(&self) -> u8 {
        self.replicas
    }

    /// How many different views were decided upon.
    pub(crate) fn views(&self) -> usize {
        self.views.len()
    }

    /// A decision by its number.
    pub(crate) fn get(&self, id: DecisionId) -> Arc<Decision> {
        Arc::clone(&self.known[usize::try_from(id).expect("an index")])
    }

    /// A status by its number.
    pub(crate) fn memory(&self, id: StatusId) -> Arc<Memory> {
        self.memories.get(id)
    }

    /// What the engine decides in this view.
    pub(crate) fn decide(&mut self, view: &Cluster) -> DecisionId {
        if let Some(id) = self.views.get(view) {
            return *id;
        }
        let decision = self.decide_anew(view);
        let id = self.ids.get(&decision).copied().unwrap_or_else(|| {
            let id = DecisionId::try_from(self.known.len()).expect("few decisions");
            self.known.push(Arc::new(decision.clone()));
            self.ids.insert(decision, id);
            id
        });
        self.views.insert(view.clone(), id);
        id
    }

    fn decide_anew(&mut self, view: &Cluster) -> Decision {
        let intent = intent(&view.release, &self.spec);
        let committed = Progress::new(Some(self.memory(view.release.status).status.clone()));
        let seen = observed(view, self.replicas);
        let asked = questions(&intent, &committed, &seen, *NOW);
        let search = |question: &Question| matches!(question, Question::Search(_));
        assert!(!asked.iter().any(search), "no search engine is modelled");
        let seen = answered(seen, asked);
        let decided = decide(&intent, &committed, &seen, *NOW);
        let broken = invariants::broken(&intent, &committed, &seen, &decided);
        let (mut fresh_sides, mut fresh_pods, mut fresh_jobs) = (BTreeSet::new(), false, false);
        for object in &decided.read_again {
            match object {
                ReadAgain::ReplicaSet(name) => {
                    fresh_sides.insert(image_named(name.trim_start_matches("web-")));
                }
                ReadAgain::TaskPods => fresh_pods = true,
                ReadAgain::Job(_) => fresh_jobs = true,
            }
        }
        let after = self.memories.id(decided.progress.status);
        let itself = |effect: &engine::Effect| matches!(&effect.call, Call::Patch(patch) if patch.kind == Kind::Release);
        let commits = after != view.release.status && !decided.effects.iter().any(itself);
        Decision {
            commit: commits.then_some(after),
            effects: decided
                .effects
                .iter()
                .map(|wanted| effect(wanted, view))
                .collect(),
            wake: match decided.wake {
                Wake::OnChange => None,
                Wake::After(length) if length.as_secs() <= 60 => Some(Tick::Minute),
                Wake::After(_) => Some(Tick::Day),
            },
            fresh_sides,
            fresh_pods,
            fresh_jobs,
            broken: (!broken.is_empty()).then(|| &*broken.join("; ").leak()),
        }
    }
}

/// The image of a hash, `v2`.
fn image_named(hash: &str) -> u8 {
    hash.trim_start_matches('v')
        .parse()
        .expect("a hash of this cluster")
}

/// The number in a Job's UID.
fn uid_of(uid: &Uid) -> u8 {
    let number = uid
        .as_str()
        .rsplit('-')
        .next()
        .and_then(|number| number.parse().ok());
    number.expect("a UID of this cluster")
}

fn effect(wanted: &engine::Effect, view: &Cluster) -> Effect {
    match &wanted.call {
        Call::Patch(patch) => patched(wanted.purpose, patch, view),
        Call::Create { name, body: job, .. } => {
            let text = |pointer: String| job.pointer(&pointer).and_then(Value::as_str).expect("a label");
            let label = |key: &str| text(format!("/metadata/labels/{}", key.replace('/', "~1")));
            let digest = text(format!(
                "/metadata/annotations/{}",
                INPUT_DIGEST.replace('/', "~1")
            ));
            Effect::Create {
                job: Job {
                    name: name.as_str().into(),
                    digest: digest.into(),
                    step: label(STEP).into(),
                    revision: label(REVISION).parse().expect("a number"),
                    // The API server gives it one.
                    uid: 0,
                    started: false,
                    state: JobState::Made,
                },
            }
        }
        Call::Delete {
            name,
            uid,
            resource_version,
            ..
        } => Effect::Delete {
            job: name.as_str().into(),
            uid: uid_of(uid),
            never_started: resource_version.is_some(),
        },
        Call::MoveAlias { .. } | Call::DeleteIndex { .. } => {
            unreachable!("no search engine is modelled")
        }
    }
}

/// Nothing is modelled of what is read live: no volume claim, no autoscaler, no trouble of a pod.
fn answered(seen: Observed, asked: Vec<Question>) -> Observed {
    let answers = asked.into_iter().map(|question| {
        let answer = match &question {
            Question::VolumeClaims(_) => Ok(Answer::VolumeClaims(BTreeMap::new())),
            Question::Autoscalers => Ok(Answer::Autoscalers(BTreeMap::new())),
            Question::PodTroubles(_) => Ok(Answer::PodTroubles(Vec::new())),
            Question::JobTrouble(_) => Ok(Answer::JobTrouble(None)),
            Question::Search(_) => Err("no search engine is modelled".to_owned()),
        };
        Answered {
            question,
            at: *NOW,
            answer,
        }
    });
    Observed {
        answers: Answers(answers.collect()),
        ..seen
    }
}

fn patched(purpose: Purpose, patch: &Patch, view: &Cluster) -> Effect {
    let field = |pointer: &str| patch.body.pointer(pointer);
    let label = |key: &str, before: bool| {
        field(&format!("/metadata/labels/{}", key.replace('/', "~1")))
            .map_or(before, |value| !value.is_null())
    };
    match patch.kind {
        Kind::Release => Effect::Release {
            finalizer: purpose == Purpose::Guard,
        },
        Kind::Deployment => {
            let seen = &view.deployment;
            let held = |pointer: &str, before: bool, hold: Value, own: Value| match field(pointer) {
                None => before,
                Some(value) if *value == hold => true,
                Some(value) if *value == own => false,
                Some(other) => panic!("{pointer} is neither the hold's nor the user's: {other}"),
            };
            let template = merged(template(seen.image), field("/spec/template"));
            let to = Deployment {
                version: seen.version,
                synced: false,
                counted: seen.counted,
                claim: label(CLAIM, seen.claim),
                window: label(WINDOW, seen.window),
                image: image_of(&template).expect("a template of this cluster"),
                held_ready: held(
                    "/spec/minReadySeconds",
                    seen.held_ready,
                    HOLD_MIN_READY_SECONDS.into(),
                    OWN_READY.into(),
                ),
                held_deadline: held(
                    "/spec/progressDeadlineSeconds",
                    seen.held_deadline,
                    HOLD_PROGRESS_DEADLINE_SECONDS.into(),
                    OWN_DEADLINE.into(),
                ),
                held_strategy: held(
                    "/spec/strategy/rollingUpdate/maxSurge",
                    seen.held_strategy,
                    "100%".into(),
                    1.into(),
                ),
                paused: field("/spec/paused").map_or(seen.paused, |value| value == &Value::Bool(true)),
            };
            Effect::Deployment { purpose, to }
        }
        Kind::ReplicaSet => {
            let image = image_named(patch.name.trim_start_matches("web-"));
            let seen = view.set(image).expect("a ReplicaSet that was seen");
            let held = field("/spec/minReadySeconds") == Some(&HOLD_MIN_READY_SECONDS.into());
            Effect::Set {
                purpose,
                image,
                to: Set { held, ..seen.clone() },
            }
        }
        Kind::Service => {
            let pin = match field("/spec/selector").and_then(|selector| selector.get(POD_TEMPLATE_HASH)) {
                None => view.service.pin,
                Some(hash) => hash.as_str().map(image_named),
            };
            let (claim, window) = (
                label(CLAIM, view.service.claim),
                label(WINDOW, view.service.window),
            );
            Effect::Service {
                purpose,
                to: Service {
                    version: view.service.version,
                    claim,
                    window,
                    pin,
                },
            }
        }
        Kind::Job => {
            assert_eq!(
                purpose,
                Purpose::Start,
                "a Job that was started has a pod at once"
            );
            Effect::Start {
                job: patch.name.as_str().into(),
                uid: uid_of(&patch.uid),
            }
        }
        Kind::Pod => {
            let job = patch.name.trim_end_matches("-00000");
            let pod = view
                .pods
                .iter()
                .find(|pod| &*pod.job == job)
                .expect("a pod that was seen");
            Effect::FreePod {
                job: job.into(),
                version: pod_version(pod),
            }
        }
    }
}
