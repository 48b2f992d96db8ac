//! From the abstract cluster to what the engine looks at.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use jiff::Timestamp;
use serde_json::{Value, json};
use slipway_crds::Uid;
use slipway_crds::names::{POD_TEMPLATE_HASH, RELEASE_FINALIZER, TASK_POD_FINALIZER};
use slipway_crds::v1alpha1::status::{Amount, Strategy};
use slipway_engine::Intent;
use slipway_engine::observed::{
    ContainerEnd, DeploymentView, JobState as SeenJobState, JobView, Observed, ReplicaSetView, ServiceView,
    TaskPodPhase, TaskPodView,
};
use slipway_engine::template::Template;
use slipway_engine::window::patches::{HOLD_MIN_READY_SECONDS, HOLD_PROGRESS_DEADLINE_SECONDS};

use crate::state::{Cluster, IMAGES, Job, JobState, Lever, PodPhase, Release, Set, TaskPod};

/// UID of the Release.
pub(crate) const UID: &str = "uid-shop";

/// The user's own minReadySeconds.
pub(crate) const OWN_READY: i64 = 5;

/// The user's own progressDeadlineSeconds.
pub(crate) const OWN_DEADLINE: i64 = 600;

/// The time, always: what passes is the age of what status remembers.
pub(crate) static NOW: LazyLock<Timestamp> =
    LazyLock::new(|| "2026-01-05T10:00:00Z".parse().expect("a time"));

static TEMPLATES: LazyLock<[Template; IMAGES]> = LazyLock::new(|| {
    [1, 2, 3].map(|image| {
        Template::new(json!({
            "metadata": {"labels": {"app": "web"}},
            "spec": {"containers": [{"name": "main", "image": format!("shop:{image}")}]},
        }))
    })
});

/// The pod template of an image.
pub(crate) fn template(image: u8) -> &'static Template {
    &TEMPLATES[usize::from(image) - 1]
}

/// The image of a pod template.
pub(crate) fn image_of(template: &Template) -> Option<u8> {
    let place = TEMPLATES.iter().position(|known| known == template)?;
    u8::try_from(place + 1).ok()
}

/// The Release as the engine parses it, with this spec.
pub(crate) fn intent(release: &Release, spec: &Value) -> Intent {
    let mut spec = spec.clone();
    spec["image"] = json!(format!("shop:{}", release.image));
    let lever = |wanted: Lever, key: &str| {
        let (lever, revision) = release.lever?;
        (lever == wanted).then(|| (format!("slipway.dev/{key}"), json!(format!("shop-{revision}/1"))))
    };
    let levers = [
        lever(Lever::Abort, "abort"),
        lever(Lever::Rollback, "rollback"),
        lever(Lever::Retry, "retry"),
    ];
    let annotations: serde_json::Map<String, Value> = levers.into_iter().flatten().collect();
    let mut object = json!({
        "apiVersion": "slipway.dev/v1alpha1", "kind": "Release",
        "metadata": {
            "name": "shop", "namespace": "demo", "uid": UID, "generation": release.image, "resourceVersion": "1",
            "annotations": annotations,
            "finalizers": if release.finalizer { vec![RELEASE_FINALIZER] } else { Vec::new() },
        },
        "spec": spec,
    });
    if release.deleting {
        object["metadata"]["deletionTimestamp"] = json!("2026-01-05T10:00:00Z");
    }
    Intent::parse(&serde_json::from_value(object).expect("a Release"))
}

/// What a controller sees in this cluster.
pub(crate) fn observed(cluster: &Cluster, replicas: u8) -> Observed {
    let app = BTreeMap::from([("app".to_owned(), "web".to_owned())]);
    let mut selector = app.clone();
    if let Some(pin) = cluster.service.pin {
        selector.insert(POD_TEMPLATE_HASH.to_owned(), format!("v{pin}"));
    }
    let pods = (1..)
        .zip(cluster.endpoints)
        .flat_map(|(image, ready)| (0..ready).map(move |number| format!("web-v{image}-{number:05}")));
    let service = ServiceView {
        name: "web".into(),
        uid: "uid-service-web".into(),
        resource_version: cluster.service.version.to_string(),
        claim: cluster.service.claim.then(|| UID.into()),
        window: cluster.service.window,
        selector,
        named_ports: Vec::new(),
        ready_pods: pods.collect(),
    };
    let jobs = cluster.jobs.iter().filter(|job| job.state != JobState::Gone);
    Observed {
        deployments: BTreeMap::from([("web".into(), deployment(cluster, app, replicas))]),
        services: BTreeMap::from([("web".into(), service)]),
        jobs: jobs
            .map(|found| (found.name.as_ref().into(), job(found)))
            .collect(),
        task_pods: cluster.pods.iter().map(task_pod).collect(),
        releases: [UID.into()].into(),
        ..Observed::default()
    }
}

fn deployment(cluster: &Cluster, selector: BTreeMap<String, String>, replicas: u8) -> DeploymentView {
    let seen = &cluster.deployment;
    let amount = |value: Value| Some(Amount(value));
    let (surge, unavailable) = if seen.held_strategy {
        (json!("100%"), json!(0))
    } else {
        (json!(1), json!(0))
    };
    let sum = |what: fn(&Set) -> u8| {
        cluster
            .sets
            .iter()
            .flatten()
            .map(|set| i32::from(what(set)))
            .sum::<i32>()
    };
    let sets = cluster
        .sets
        .iter()
        .zip(1..)
        .filter_map(|(set, image)| Some(replica_set(image, set.as_ref()?)));
    DeploymentView {
        name: "web".into(),
        uid: "uid-web".into(),
        resource_version: seen.version.to_string(),
        generation: 2,
        observed_generation: if seen.synced { 2 } else { 1 },
        deleting: false,
        claim: seen.claim.then(|| UID.into()),
        window: seen.window,
        replicas: replicas.into(),
        selector: selector.into_iter().collect(),
        template: template(seen.image).clone(),
        min_ready_seconds: Some(ready_seconds(seen.held_ready)),
        progress_deadline_seconds: Some(if seen.held_deadline {
            HOLD_PROGRESS_DEADLINE_SECONDS
        } else {
            i32::try_from(OWN_DEADLINE).expect("small")
        }),
        strategy: Some(Strategy {
            type_: Some("RollingUpdate".to_owned()),
            max_surge: amount(surge),
            max_unavailable: amount(unavailable),
        }),
        paused: seen.paused.then_some(true),
        status_replicas: seen.counted.into(),
        updated_replicas: cluster.set(seen.image).map_or(0, |set| set.pods.into()),
        ready_replicas: sum(|set| set.ready),
        available_replicas: sum(|set| set.available),
        not_progressing: None,
        hold_managers: [].into(),
        replica_sets: sets.collect(),
    }
}

fn ready_seconds(held: bool) -> i32 {
    if held {
        HOLD_MIN_READY_SECONDS
    } else {
        i32::try_from(OWN_READY).expect("small")
    }
}

fn replica_set(image: u8, set: &Set) -> ReplicaSetView {
    ReplicaSetView {
        name: format!("web-v{image}"),
        uid: format!("uid-set-{image}-{}", set.uid).into(),
        resource_version: set.version.to_string(),
        hash: format!("v{image}").into(),
        template_digest: template(image).digest().clone(),
        template: (set.wanted > 0).then(|| template(image).clone()),
        wanted: set.wanted.into(),
        min_ready_seconds: Some(ready_seconds(set.held)),
        generation: 2,
        observed_generation: if set.current { 2 } else { 1 },
        replicas: set.pods.into(),
        ready: set.ready.into(),
        available: set.available.into(),
        failure: None,
    }
}

fn job(job: &Job) -> JobView {
    JobView {
        name: job.name.as_ref().into(),
        uid: job_uid(&job.name, job.uid),
        resource_version: format!("{:?}", job.state),
        release_uid: Some(UID.into()),
        step: Some(job.step.to_string()),
        revision: Some(job.revision.into()),
        input_digest: Some(job.digest.as_ref().into()),
        deleting: false,
        suspended: job.state == JobState::Made,
        never_started: job.state == JobState::Made,
        suspension_seen: Some(matches!(job.state, JobState::Made | JobState::New)),
        pods: (!matches!(job.state, JobState::Made | JobState::New)).into(),
        state: match job.state {
            JobState::Made | JobState::New | JobState::Active | JobState::Gone => SeenJobState::Active,
            JobState::Complete => SeenJobState::Complete,
            JobState::Failed => SeenJobState::Failed {
                reason: "BackoffLimitExceeded".to_owned(),
                message: "Job has reached the specified backoff limit".to_owned(),
            },
        },
    }
}

/// The UID of a Job.
pub(crate) fn job_uid(name: &str, uid: u8) -> Uid {
    format!("uid-{name}-{uid}").into()
}

/// The resource version of a task's pod: it never comes back to what it was.
pub(crate) fn pod_version(pod: &TaskPod) -> String {
    format!(
        "{:?}-{}-{}-{}",
        pod.phase, pod.deleting, pod.disrupted, pod.finalizer
    )
}

fn task_pod(pod: &TaskPod) -> TaskPodView {
    let started = matches!(
        pod.phase,
        PodPhase::Running | PodPhase::Succeeded | PodPhase::Failed
    );
    TaskPodView {
        name: format!("{}-00000", pod.job),
        uid: format!("uid-pod-{}", pod.job).into(),
        resource_version: pod_version(pod),
        job: pod.job.as_ref().into(),
        release_uid: Some(UID.into()),
        step: Some(pod.step.to_string()),
        finalizer: pod.finalizer,
        finalizers: pod
            .finalizer
            .then(|| TASK_POD_FINALIZER.to_owned())
            .into_iter()
            .collect(),
        deleting: pod.deleting,
        assigned: true,
        disrupted: pod.disrupted.then(|| "EvictionByEvictionAPI".to_owned()),
        phase: match pod.phase {
            PodPhase::Pending => TaskPodPhase::Pending,
            PodPhase::Running => TaskPodPhase::Running,
            PodPhase::Succeeded => TaskPodPhase::Succeeded,
            PodPhase::Failed | PodPhase::NeverRan => TaskPodPhase::Failed,
        },
        started_at: started.then_some(*NOW),
        ran: None,
        trouble: None,
        beside: Vec::new(),
        end: matches!(pod.phase, PodPhase::Succeeded | PodPhase::Failed).then_some(ContainerEnd::Exited),
        exit_code: match pod.phase {
            PodPhase::Succeeded => Some(0),
            PodPhase::Failed => Some(1),
            PodPhase::Pending | PodPhase::Running | PodPhase::NeverRan => None,
        },
        output: None,
    }
}
