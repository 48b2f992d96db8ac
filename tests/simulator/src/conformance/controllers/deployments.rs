//! Stories of Deployments, ReplicaSets and Services, and of the garbage collector.

use serde_json::{Value, json};
use slipway_kubernetes::kind::Kind;

use super::{
    manifests::{ONE, bolt, change, hold, lock, release, service, template, version, web},
    seen::Seen,
    story::{Action, Propagation, Signal, Step, Story},
};

const TWO: (&str, &str) = ("version", "2");

pub(super) fn all() -> Vec<Story> {
    let story = |name, steps: Vec<Step>| Story { name, steps };
    let mut all = vec![
        story("rollout-and-undo", rollout_and_undo()),
        story("paused", paused()),
        story("window", window()),
        story("abort-before-the-flip", abort_before_the_flip()),
        story("abort-after-the-flip", abort_after_the_flip()),
        story("third-version-while-held", third_version_while_held()),
        story("proportional-scaling", proportional_scaling()),
        story("crash-loop", crash_loop()),
        story("down-to-zero", down_to_zero()),
        story("recreate", recreate()),
        story("no-surge", no_surge()),
        story("history", history()),
        story("serving-side-deleted", serving_side_deleted()),
        story("replicaset-orphaned", replica_set_orphaned()),
        story("readiness", readiness()),
        story("pods-taken-away", pods_taken_away()),
    ];
    for (name, propagation) in [
        ("deleted-in-background", Propagation::Background),
        ("deleted-in-foreground", Propagation::Foreground),
        ("deleted-with-orphans", Propagation::Orphan),
    ] {
        all.push(story(name, deleted(propagation)));
    }
    for (name, propagation) in [
        ("owner-deleted-in-background", Propagation::Background),
        ("owner-deleted-in-foreground", Propagation::Foreground),
        ("owner-deleted-with-orphans", Propagation::Orphan),
    ] {
        all.push(story(name, owner_deleted(propagation)));
    }
    all
}

/// A Service and version 1, at rest.
fn scene(replicas: i64) -> Vec<Step> {
    vec![
        service(),
        web(replicas, &json!({})),
        Step::Rest("version 1", |seen| seen.settled() && seen.endpoints() > 0),
    ]
}

/// The same with version 2 beside it, held.
fn held() -> Vec<Step> {
    let mut steps = scene(2);
    steps.extend([
        lock(),
        Step::Pin(Some("1")),
        hold("2"),
        Step::Rest("both sides", |seen| seen.ready("1") == 2 && seen.ready("2") == 2),
    ]);
    steps
}

/// The same, locked, bolted, and with the traffic moved.
fn flipped() -> Vec<Step> {
    let mut steps = held();
    steps.extend([
        lock(),
        bolt(),
        Step::Pin(Some("2")),
        Step::Rest("flipped", |seen| seen.observed() && seen.endpoints() == 2),
    ]);
    steps
}

fn rollout_and_undo() -> Vec<Step> {
    let mut steps = scene(3);
    let note = |value: Value| {
        Step::Patch(
            Kind::Deployment,
            "web",
            json!({"metadata": {"annotations": {"note": value}}}),
        )
    };
    steps.extend([
        note(json!("x")),
        Step::Rest("a note", Seen::settled),
        version("2"),
        Step::Rest("version 2", |seen| seen.settled() && seen.ready("2") == 3),
        note(Value::Null),
        Step::Rest("a note less", Seen::settled),
        Step::Undo,
        Step::Rest("undone", |seen| seen.settled() && seen.ready("1") == 3),
    ]);
    steps
}

fn paused() -> Vec<Step> {
    let mut steps = scene(2);
    steps.extend([
        lock(),
        Step::Rest("paused", Seen::observed),
        version("2"),
        Step::Rest("paused with another template", Seen::observed),
        change(json!({"replicas": 3})),
        Step::Rest("scaled while paused", |seen| {
            seen.observed() && seen.ready("1") == 3
        }),
        change(json!({"paused": false})),
        Step::Rest("resumed", |seen| seen.settled() && seen.ready("2") == 3),
    ]);
    steps
}

fn window() -> Vec<Step> {
    let mut steps = flipped();
    let mut retire = release("2");
    retire["paused"] = json!(true);
    retire.as_object_mut().expect("made above").remove("strategy");
    steps.extend([
        change(json!({"replicas": 4})),
        Step::Rest("scaled up", |seen| seen.ready("1") == 4 && seen.ready("2") == 4),
        change(json!({"replicas": 3})),
        Step::Rest("scaled down", |seen| {
            seen.ready("1") == 3 && seen.ready("2") == 3 && seen.observed() && seen.endpoints() == 3
        }),
        version("1"),
        Step::Rest("the old template again", Seen::observed),
        version("3"),
        Step::Rest("a third template", Seen::observed),
        version("2"),
        Step::Rest("our template again", Seen::observed),
        change(retire),
        Step::Rest("retired", |seen| seen.observed() && seen.pods("1") == 0),
        Step::Pin(None),
        change(release("2")),
        Step::Rest("closed", |seen| seen.settled() && seen.endpoints() == 3),
    ]);
    steps
}

fn abort_before_the_flip() -> Vec<Step> {
    let mut steps = held();
    steps.extend([
        change(release("1")),
        Step::Rest("aborted", |seen| seen.settled() && seen.ready("1") == 2),
        Step::Pin(None),
        Step::Rest("unpinned", |seen| seen.endpoints() == 2),
    ]);
    steps
}

fn abort_after_the_flip() -> Vec<Step> {
    let mut steps = flipped();
    steps.extend([
        Step::Pin(Some("1")),
        Step::Each(
            Kind::ReplicaSet,
            ONE,
            Action::Patch(json!({"spec": {"minReadySeconds": 0}})),
        ),
        Step::Rest("back", |seen| seen.endpoints() == 2 && seen.observed()),
        change(release("1")),
        Step::Rest("aborted", |seen| seen.settled() && seen.ready("1") == 2),
    ]);
    steps
}

fn third_version_while_held() -> Vec<Step> {
    let mut steps = held();
    steps.extend([
        version("3"),
        Step::Rest("the third in place of the second", |seen| {
            seen.ready("3") == 2 && seen.pods("2") == 0
        }),
        Step::Each(
            Kind::ReplicaSet,
            ("version", "3"),
            Action::Delete(Propagation::Background),
        ),
        Step::Rest("the third made again", |seen| {
            seen.ready("3") == 2 && seen.observed()
        }),
    ]);
    steps
}

fn proportional_scaling() -> Vec<Step> {
    let mut steps = scene(4);
    steps.extend([
        version("never-ready"),
        Step::Rest("stuck", |seen| {
            seen.size("1") == 3 && seen.pods("never-ready") == 2
        }),
        lock(),
        change(json!({"replicas": 8})),
        Step::Rest("grown", |seen| seen.ready("1") > 3 && seen.observed()),
        change(json!({"replicas": 3})),
        Step::Rest("shrunk", |seen| seen.pods("1") < 4 && seen.observed()),
        change(json!({"template": template("1"), "paused": false})),
        Step::Rest("back", |seen| seen.settled() && seen.ready("1") == 3),
    ]);
    steps
}

fn crash_loop() -> Vec<Step> {
    vec![
        web(2, &json!({"progressDeadlineSeconds": 6})),
        Step::Rest("version 1", Seen::settled),
        version("crash-loop"),
        Step::Rest("too late", |seen| {
            seen.says("ProgressDeadlineExceeded") && seen.restarts("crash-loop")
        }),
        Step::Undo,
        Step::Rest("undone", |seen| seen.settled() && seen.ready("1") == 2),
    ]
}

fn down_to_zero() -> Vec<Step> {
    let mut steps = scene(2);
    steps.extend([
        change(json!({"replicas": 0})),
        Step::Rest("none", |seen| seen.none(Kind::Pod) && seen.observed()),
        version("2"),
        Step::Rest("none of version 2", Seen::observed),
        change(json!({"replicas": 1})),
        Step::Rest("one", |seen| seen.settled() && seen.endpoints() == 1),
    ]);
    steps
}

fn recreate() -> Vec<Step> {
    vec![
        web(2, &json!({"strategy": {"type": "Recreate"}})),
        Step::Rest("version 1", Seen::settled),
        version("2"),
        Step::Rest("version 2", |seen| seen.settled() && seen.ready("2") == 2),
    ]
}

fn no_surge() -> Vec<Step> {
    let rolling = json!({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1}});
    vec![
        web(2, &json!({"strategy": rolling, "minReadySeconds": 1})),
        Step::Rest("version 1", Seen::settled),
        version("2"),
        Step::Rest("version 2", |seen| seen.settled() && seen.ready("2") == 2),
    ]
}

fn history() -> Vec<Step> {
    vec![
        web(1, &json!({"revisionHistoryLimit": 1})),
        Step::Rest("version 1", Seen::settled),
        version("2"),
        Step::Rest("version 2", |seen| seen.settled() && seen.ready("2") == 1),
        version("3"),
        Step::Rest("version 3", |seen| {
            seen.settled() && seen.ready("3") == 1 && seen.all(Kind::ReplicaSet).len() == 2
        }),
        Step::Undo,
        Step::Rest("version 2 again", |seen| seen.settled() && seen.ready("2") == 1),
    ]
}

fn serving_side_deleted() -> Vec<Step> {
    let mut steps = held();
    steps.extend([
        Step::Each(Kind::ReplicaSet, ONE, Action::Delete(Propagation::Background)),
        Step::Rest("without the serving side", |seen| seen.pods("1") == 0),
        change(release("1")),
        Step::Rest("aborted all the same", |seen| {
            seen.settled() && seen.ready("1") == 2
        }),
    ]);
    steps
}

fn replica_set_orphaned() -> Vec<Step> {
    let mut steps = scene(2);
    steps.extend([
        Step::Each(Kind::ReplicaSet, ONE, Action::Delete(Propagation::Orphan)),
        Step::Rest("adopted", |seen| seen.settled() && seen.ready("1") == 2),
    ]);
    steps
}

fn readiness() -> Vec<Step> {
    let mut steps = scene(2);
    steps.extend([
        Step::Each(Kind::Pod, ONE, Action::Signal(Signal::Stop)),
        Step::Rest("none answers", |seen| {
            seen.ready("1") == 0 && seen.endpoints() == 0
        }),
        Step::Each(Kind::Pod, ONE, Action::Signal(Signal::Continue)),
        Step::Rest("both answer", |seen| seen.settled() && seen.endpoints() == 2),
        Step::One(Kind::Pod, ONE, Action::Signal(Signal::Kill)),
        Step::Until("its end is seen", |seen| seen.restarts("1")),
        Step::Rest("one was started again", |seen| {
            seen.settled() && seen.endpoints() == 2
        }),
    ]);
    steps
}

fn pods_taken_away() -> Vec<Step> {
    let mut steps = scene(2);
    steps.extend([
        Step::One(Kind::Pod, ONE, Action::Evict),
        Step::Rest("one evicted", |seen| seen.settled() && seen.endpoints() == 2),
        Step::Each(Kind::Pod, ONE, Action::Delete(Propagation::Background)),
        Step::Rest("all deleted", |seen| seen.settled() && seen.endpoints() == 2),
        Step::One(
            Kind::Pod,
            ONE,
            Action::Patch(json!({"metadata": {"labels": {"app": "other", "version": "stray"}}})),
        ),
        Step::Rest("one let go", |seen| seen.ready("1") == 2 && seen.endpoints() == 2),
    ]);
    steps
}

fn deleted(propagation: Propagation) -> Vec<Step> {
    let mut steps = held();
    let gone: fn(&Seen) -> bool = match propagation {
        Propagation::Orphan => |seen| seen.none(Kind::Deployment),
        Propagation::Background | Propagation::Foreground => {
            |seen| seen.none(Kind::Deployment) && seen.none(Kind::ReplicaSet) && seen.none(Kind::Pod)
        }
    };
    steps.extend([
        Step::Delete(Kind::Deployment, "web", propagation),
        Step::Rest("deleted", gone),
    ]);
    if matches!(propagation, Propagation::Orphan) {
        steps.extend([
            web(2, &json!({})),
            Step::Rest("made again", |seen| seen.settled() && seen.ready("1") == 2),
        ]);
    }
    steps.push(Step::Each(
        Kind::Pod,
        TWO,
        Action::Delete(Propagation::Background),
    ));
    steps
}

fn owner_deleted(propagation: Propagation) -> Vec<Step> {
    let map = |name: &str| json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}});
    let mut waiting = map("waiting");
    waiting["metadata"]["finalizers"] = json!(["slipway.dev/test"]);
    vec![
        Step::Create(map("owner")),
        Step::CreateFor("owner", map("child")),
        Step::CreateFor("owner", waiting),
        Step::CreateFor("child", map("grandchild")),
        Step::Rest("all there", |seen| seen.all(Kind::ConfigMap).len() == 4),
        Step::Delete(Kind::ConfigMap, "owner", propagation),
        Step::Rest("deleted", |seen| {
            let gone = |name: &str| seen.find(Kind::ConfigMap, name).is_none();
            gone("owner") || gone("child")
        }),
        Step::Patch(
            Kind::ConfigMap,
            "waiting",
            json!({"metadata": {"finalizers": null}}),
        ),
        Step::Rest("nothing waits", |seen| {
            seen.find(Kind::ConfigMap, "owner").is_none()
        }),
    ]
}
