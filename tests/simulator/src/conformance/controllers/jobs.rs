//! Stories of Jobs. The Job is made as [`slipway_engine::build::job`] makes it.

use serde_json::{Value, json};
use slipway_kubernetes::{fields, kind::Kind};

use super::{
    seen::Seen,
    story::{Action, Propagation, Signal, Step, Story},
};

/// The label of the Job's pods.
const PODS: (&str, &str) = ("job-name", "task");

pub(super) fn all() -> Vec<Story> {
    let story = |name, steps: Vec<Step>| Story { name, steps };
    let nap = || task(&["nap", "600"], &json!({}));
    let claims = || with_variable(nap(), "SHOP_EXIT_ZERO_ON_TERM");
    let ignores = || with_variable(nap(), "SHOP_IGNORE_SIGTERM");
    let evict = || Step::Each(Kind::Pod, PODS, Action::Evict);
    let delete = || Step::Each(Kind::Pod, PODS, Action::Delete(Propagation::Background));
    let kill = || Step::Each(Kind::Pod, PODS, Action::Signal(Signal::Kill));
    let mut all = vec![
        story(
            "job-succeeds",
            vec![Step::Create(task(&["nap", "1"], &json!({}))), ended()],
        ),
        story(
            "job-fails",
            vec![Step::Create(task(&["nonsense"], &json!({}))), ended()],
        ),
        story("job-fails-twice", fails_twice()),
        story("job-killed", disturbed(nap(), kill())),
        story("job-evicted", disturbed(nap(), evict())),
        story("job-evicted-claims-success", disturbed(claims(), evict())),
        story("job-pod-deleted", disturbed(nap(), delete())),
        story("job-pod-deleted-claims-success", disturbed(claims(), delete())),
        story("job-pod-deleted-ignores", disturbed(ignores(), delete())),
        story("job-deadline", deadline(nap())),
        story("job-deadline-claims-success", deadline(claims())),
        story("job-suspended", suspended()),
        story("job-suspended-while-it-runs", suspended_while_it_runs()),
        story("job-never-placed", never_placed()),
        story("job-time-to-live", time_to_live()),
        story("job-eviction-ignored", eviction_ignored()),
    ];
    for (name, propagation) in [
        ("job-deleted-in-background", Propagation::Background),
        ("job-deleted-in-foreground", Propagation::Foreground),
        ("job-deleted-with-orphans", Propagation::Orphan),
    ] {
        all.push(story(name, deleted(propagation)));
    }
    all
}

/// The product's Job around these arguments of the shop, with changes to its spec.
fn task(arguments: &[&str], changes: &Value) -> Value {
    let mut job = json!({
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": "task"},
        "spec": {
            "backoffLimit": 0,
            "completions": 1,
            "parallelism": 1,
            "podReplacementPolicy": "Failed",
            "podFailurePolicy": {"rules": [{
                "action": "FailJob",
                "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}],
            }]},
            "template": {
                "metadata": {"finalizers": ["slipway.dev/task"]},
                "spec": {
                    "restartPolicy": "Never",
                    "automountServiceAccountToken": false,
                    "terminationGracePeriodSeconds": 4,
                    "containers": [{
                        "name": "task",
                        "image": "shop:1.0",
                        "imagePullPolicy": "IfNotPresent",
                        "args": arguments,
                    }],
                },
            },
        },
    });
    for (name, value) in changes.as_object().into_iter().flatten() {
        job["spec"][name] = value.clone();
    }
    job
}

fn with_variable(mut job: Value, name: &str) -> Value {
    job["spec"]["template"]["spec"]["containers"][0]["env"] = json!([{"name": name, "value": "1"}]);
    job
}

fn running() -> Step {
    Step::Rest("running", |seen| seen.job("ready") == 1)
}

fn ended() -> Step {
    Step::Rest("ended", Seen::ended)
}

/// Something happens to the pod while it runs.
fn disturbed(job: Value, what: Step) -> Vec<Step> {
    vec![Step::Create(job), running(), what, ended()]
}

fn fails_twice() -> Vec<Step> {
    vec![
        Step::Create(task(&["nonsense"], &json!({"backoffLimit": 1}))),
        Step::Until("a first failure", |seen| seen.job("failed") == 1),
        ended(),
    ]
}

/// The time is over at once: a busy machine may not have it running in a short one.
fn deadline(job: Value) -> Vec<Step> {
    let over = json!({"spec": {"activeDeadlineSeconds": 1}});
    disturbed(job, Step::Patch(Kind::Job, "task", over))
}

fn suspended() -> Vec<Step> {
    vec![
        Step::Create(task(&["nap", "1"], &json!({"suspend": true}))),
        Step::Rest("suspended", |seen| {
            seen.find(Kind::Job, "task").is_some_and(is_suspended)
        }),
        Step::Patch(Kind::Job, "task", json!({"spec": {"suspend": false}})),
        ended(),
    ]
}

fn suspended_while_it_runs() -> Vec<Step> {
    vec![
        Step::Create(task(&["nap", "600"], &json!({}))),
        running(),
        Step::Patch(Kind::Job, "task", json!({"spec": {"suspend": true}})),
        Step::Rest("suspended", |seen| {
            seen.find(Kind::Job, "task").is_some_and(is_suspended) && seen.job("terminating") == 0
        }),
        Step::Patch(Kind::Job, "task", json!({"spec": {"suspend": false}})),
        Step::Rest("running again", |seen| seen.job("ready") == 1),
    ]
}

fn is_suspended(job: &Value) -> bool {
    fields::is_true(job, "Suspended")
}

fn never_placed() -> Vec<Step> {
    let mut job = task(&["nap", "600"], &json!({}));
    job["spec"]["template"]["spec"]["nodeSelector"] = json!({"slipway.dev/none": "none"});
    vec![
        Step::Create(job),
        Step::Rest("waiting", |seen| seen.job("active") == 1),
        Step::Each(Kind::Pod, PODS, Action::Delete(Propagation::Background)),
        ended(),
    ]
}

fn time_to_live() -> Vec<Step> {
    let mut job = task(&["nap", "1"], &json!({"ttlSecondsAfterFinished": 1}));
    job["spec"]["template"]["metadata"] = json!({});
    vec![
        Step::Create(job),
        Step::Until("there is a pod", |seen| !seen.none(Kind::Pod)),
        Step::Rest("gone", |seen| seen.none(Kind::Job) && seen.none(Kind::Pod)),
    ]
}

fn eviction_ignored() -> Vec<Step> {
    let ignore = json!({"rules": [{
        "action": "Ignore",
        "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}],
    }]});
    vec![
        Step::Create(task(&["nap", "600"], &json!({"podFailurePolicy": ignore}))),
        running(),
        Step::Each(Kind::Pod, PODS, Action::Evict),
        Step::Rest("a second pod", |seen| {
            seen.job("ready") == 1 && seen.all(Kind::Pod).len() == 2
        }),
    ]
}

fn deleted(propagation: Propagation) -> Vec<Step> {
    let mut job = task(&["nap", "600"], &json!({}));
    job["spec"]["template"]["metadata"] = json!({});
    let gone: fn(&Seen) -> bool = match propagation {
        Propagation::Orphan => |seen| seen.none(Kind::Job),
        Propagation::Background | Propagation::Foreground => {
            |seen| seen.none(Kind::Job) && seen.none(Kind::Pod)
        }
    };
    vec![
        Step::Create(job),
        running(),
        Step::Delete(Kind::Job, "task", propagation),
        Step::Rest("deleted", gone),
    ]
}
