//! `docs/mechanism.md`, "Jobs": Jobs for migrations.

use std::{sync::Arc, time::Duration};

use serde_json::{Value, json};
use slipway_kubernetes::{
    fields,
    kind::Kind,
    models::behaviour::{Behaviour, Exit},
    store::{DeleteOptions, Propagation},
};
use slipway_simulator::world::World;

use super::stage::seeds;

fn job() -> Value {
    json!({
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": "migrate"},
        "spec": {
            "backoffLimit": 0,
            "completions": 1,
            "parallelism": 1,
            "podReplacementPolicy": "Failed",
            "template": {
                "metadata": {"labels": {"task": "migrate"}, "finalizers": ["slipway.dev/read"]},
                "spec": {
                    "restartPolicy": "Never",
                    "terminationGracePeriodSeconds": 8,
                    "containers": [{"name": "task", "image": "task:1", "command": ["migrate"]}],
                },
            },
        },
    })
}

/// A world with one Job whose pod behaves so.
async fn start(seed: u64, manifest: &Value, behaviour: Behaviour) -> World {
    let mut world = World::new(seed);
    world.cluster().scripts.image("task:1", behaviour);
    world.kubectl(|kubectl| kubectl.create(manifest)).unwrap();
    world.run_for(Duration::from_secs(2)).await;
    world
}

fn conditions(world: &World) -> Vec<String> {
    let job = world.get(Kind::Job, "migrate");
    let found = fields::list(&job, "/status/conditions")
        .iter()
        .filter(|found| found["status"] == "True");
    found
        .map(|found| {
            format!(
                "{}/{}",
                fields::text(found, "/type"),
                fields::text(found, "/reason")
            )
        })
        .collect()
}

fn pods(world: &World) -> Vec<Arc<Value>> {
    world.all(Kind::Pod)
}

/// How many processes of the task were ever started.
fn runs(world: &World) -> usize {
    world.cluster().processes.len()
}

fn long(terminate: Option<Exit>) -> Behaviour {
    Behaviour {
        terminate,
        ..Behaviour::task(Duration::from_hours(1), 0)
    }
}

fn exit(code: i64) -> Exit {
    Exit::new(Duration::from_secs(1), code)
}

#[tokio::test(start_paused = true)]
async fn success_is_said_twice() {
    for seed in seeds() {
        let mut world = start(
            seed,
            &job(),
            Behaviour::task(Duration::from_secs(1), 0).says("{\"documents\": 3}"),
        )
        .await;
        world.run_for(Duration::from_secs(30)).await;
        assert_eq!(
            conditions(&world),
            [
                "SuccessCriteriaMet/CompletionsReached",
                "Complete/CompletionsReached"
            ]
        );
        let pod = pods(&world).remove(0);
        assert_eq!(
            fields::list(&pod, "/metadata/finalizers"),
            [json!("slipway.dev/read")],
            "counted, and still ours"
        );
        let state = &pod["status"]["containerStatuses"][0]["state"]["terminated"];
        assert_eq!(
            (state["exitCode"].as_i64(), state["message"].as_str()),
            (Some(0), Some("{\"documents\": 3}"))
        );
        assert_eq!(runs(&world), 1);
        let job = world.get(Kind::Job, "migrate");
        assert!(fields::has(&job, "/status/completionTime"));
        assert_eq!(fields::count(&job, "/status/succeeded"), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_failure_is_said_twice_and_never_tried_again() {
    for seed in seeds() {
        let mut world = start(seed, &job(), Behaviour::task(Duration::from_secs(1), 3)).await;
        world.run_for(Duration::from_mins(1)).await;
        assert_eq!(
            conditions(&world),
            [
                "FailureTarget/BackoffLimitExceeded",
                "Failed/BackoffLimitExceeded"
            ]
        );
        assert_eq!(runs(&world), 1);
        assert_eq!(
            fields::count(&world.get(Kind::Job, "migrate"), "/status/failed"),
            1
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_killed_process_is_a_failure() {
    let mut world = start(1, &job(), long(Some(exit(0)))).await;
    let pod = slipway_kubernetes::store::Key::of(Kind::Pod, &pods(&world)[0]);
    world.kill(&pod);
    world.run_for(Duration::from_secs(30)).await;
    assert_eq!(conditions(&world)[1], "Failed/BackoffLimitExceeded");
    assert_eq!(runs(&world), 1);
}

#[tokio::test(start_paused = true)]
async fn a_deleted_pod_fails_the_job_unless_it_exits_zero_on_sigterm() {
    for seed in seeds() {
        for (code, expected) in [
            (143, "Failed/BackoffLimitExceeded"),
            (0, "Complete/CompletionsReached"),
        ] {
            for way in ["delete", "force", "evict"] {
                let mut world = start(seed, &job(), long(Some(exit(code)))).await;
                let name = fields::name(&pods(&world)[0]).to_owned();
                world
                    .kubectl(|kubectl| match way {
                        "evict" => kubectl.evict(&name),
                        "force" => kubectl.delete_with(
                            Kind::Pod,
                            &name,
                            &DeleteOptions {
                                grace: Some(0),
                                ..DeleteOptions::default()
                            },
                        ),
                        _ => kubectl.delete(Kind::Pod, &name, Propagation::Background),
                    })
                    .unwrap();
                world.run_for(Duration::from_mins(1)).await;
                let expected = if way == "force" {
                    "Failed/BackoffLimitExceeded"
                } else {
                    expected
                };
                assert_eq!(conditions(&world)[1], expected, "{way} with {code}");
                assert_eq!(runs(&world), 1, "no second pod");
                let pod = pods(&world).remove(0);
                assert!(fields::terminating(&pod), "kept by our finalizer, and marked");
                assert_eq!(fields::is_true(&pod, "DisruptionTarget"), way == "evict");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_policy_that_fails_on_disruption_names_pod_and_rule() {
    for (code, expected) in [
        (143, "Failed/PodFailurePolicy"),
        (0, "Complete/CompletionsReached"),
    ] {
        let mut manifest = job();
        manifest["spec"]["podFailurePolicy"] = json!({"rules": [
            {"action": "FailJob", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
        ]});
        let mut world = start(1, &manifest, long(Some(exit(code)))).await;
        let name = fields::name(&pods(&world)[0]).to_owned();
        world.kubectl(|kubectl| kubectl.evict(&name)).unwrap();
        world.run_for(Duration::from_mins(1)).await;
        assert_eq!(conditions(&world)[1], expected, "only if it fails at all");
        if code != 0 {
            let job = world.get(Kind::Job, "migrate");
            let message = fields::text(fields::condition(&job, "Failed").unwrap(), "/message").to_owned();
            assert_eq!(
                message,
                format!("Pod default/{name} has condition DisruptionTarget matching FailJob rule at index 0")
            );
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_policy_that_ignores_disruption_starts_a_second_pod() {
    let mut manifest = job();
    manifest["spec"]["podFailurePolicy"] = json!({"rules": [
        {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
    ]});
    let mut world = start(1, &manifest, long(Some(exit(143)))).await;
    let name = fields::name(&pods(&world)[0]).to_owned();
    world.kubectl(|kubectl| kubectl.evict(&name)).unwrap();
    world.run_for(Duration::from_secs(8)).await;
    assert_eq!(runs(&world), 1);
    world.run_for(Duration::from_secs(8)).await;
    assert_eq!(runs(&world), 2, "about ten seconds later, despite backoffLimit 0");
}

#[tokio::test(start_paused = true)]
async fn a_replacement_waits_for_the_end_or_for_the_delete() {
    for (policy, quiet, started) in [("Failed", 13, 22), ("TerminatingOrFailed", 8, 14)] {
        let mut manifest = job();
        manifest["spec"]["backoffLimit"] = json!(1);
        manifest["spec"]["podReplacementPolicy"] = json!(policy);
        let slow = Some(Exit::new(Duration::from_secs(6), 143));
        let mut world = start(1, &manifest, long(slow)).await;
        let name = fields::name(&pods(&world)[0]).to_owned();
        world
            .kubectl(|kubectl| kubectl.delete(Kind::Pod, &name, Propagation::Background))
            .unwrap();
        world.run_for(Duration::from_secs(quiet)).await;
        assert_eq!(runs(&world), 1, "{policy}");
        world.run_for(Duration::from_secs(started - quiet)).await;
        assert_eq!(runs(&world), 2, "{policy}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_suspended_job_loses_its_pod_and_starts_another_on_resume() {
    let mut world = start(1, &job(), long(Some(exit(143)))).await;
    let suspend = |on: bool| json!({"spec": {"suspend": on}});
    world
        .kubectl(|kubectl| kubectl.patch(Kind::Job, "migrate", suspend(true)))
        .unwrap();
    world.run_for(Duration::from_secs(20)).await;
    assert_eq!(conditions(&world), ["Suspended/JobSuspended"]);
    let job = world.get(Kind::Job, "migrate");
    assert!(fields::has(&job, "/status/startTime"), "kept until it resumes");
    world
        .kubectl(|kubectl| kubectl.patch(Kind::Job, "migrate", suspend(false)))
        .unwrap();
    world.run_for(Duration::from_secs(20)).await;
    assert_eq!(runs(&world), 2, "a second pod");
    assert_eq!(
        fields::count(&world.get(Kind::Job, "migrate"), "/status/failed"),
        0,
        "not counted"
    );
    assert!(conditions(&world).is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_pending_pod_that_is_deleted_counts_as_failed() {
    let mut world = start(1, &job(), Behaviour::unschedulable()).await;
    let pod = pods(&world).remove(0);
    assert_eq!(
        fields::text(fields::condition(&pod, "PodScheduled").unwrap(), "/reason"),
        "Unschedulable"
    );
    let name = fields::name(&pod).to_owned();
    world
        .kubectl(|kubectl| kubectl.delete(Kind::Pod, &name, Propagation::Background))
        .unwrap();
    world.run_for(Duration::from_secs(40)).await;
    assert_eq!(conditions(&world)[1], "Failed/BackoffLimitExceeded");
    let pod = pods(&world).remove(0);
    assert_eq!(fields::text(&pod, "/status/phase"), "Failed");
    assert!(
        !fields::has(&pod, "/status/containerStatuses"),
        "it never had a node"
    );
    assert_eq!(
        fields::count(&world.get(Kind::Job, "migrate"), "/status/failed"),
        1
    );
    assert_eq!(runs(&world), 0);
}

#[tokio::test(start_paused = true)]
async fn a_deadline_says_failure_target_at_once_and_failed_when_the_pod_is_gone() {
    for terminate in [None, Some(exit(0))] {
        let mut manifest = job();
        manifest["spec"]["activeDeadlineSeconds"] = json!(5);
        manifest["spec"]["template"]["metadata"]
            .as_object_mut()
            .unwrap()
            .remove("finalizers");
        let ignores = terminate.is_none();
        let mut world = start(1, &manifest, long(terminate)).await;
        world.run_for(Duration::from_secs(4)).await;
        if ignores {
            assert_eq!(conditions(&world), ["FailureTarget/DeadlineExceeded"]);
            let job = world.get(Kind::Job, "migrate");
            let count = |name: &str| fields::count(&job, &format!("/status/{name}"));
            assert_eq!(["failed", "active", "terminating"].map(count), [1, 0, 1]);
            world.run_for(Duration::from_secs(6)).await;
            assert_eq!(conditions(&world).len(), 1, "the grace is honoured");
        }
        world.run_for(Duration::from_secs(10)).await;
        assert_eq!(conditions(&world)[1], "Failed/DeadlineExceeded");
        assert!(pods(&world).is_empty(), "the pod is removed, its output with it");
    }
}

#[tokio::test(start_paused = true)]
async fn a_deleted_job_leaves_its_pod_running_for_its_grace() {
    for (cascade, gone_at_once) in [(Propagation::Background, true), (Propagation::Foreground, false)] {
        let mut manifest = job();
        manifest["spec"]["template"]["metadata"]
            .as_object_mut()
            .unwrap()
            .remove("finalizers");
        let mut world = start(1, &manifest, long(None)).await;
        world
            .kubectl(|kubectl| kubectl.delete(Kind::Job, "migrate", cascade))
            .unwrap();
        world.run_for(Duration::from_secs(4)).await;
        assert_eq!(
            world.get(Kind::Job, "migrate").is_null(),
            gone_at_once,
            "{cascade:?}"
        );
        assert!(world.cluster().processes[0].ended.is_none(), "the task runs on");
        world.run_for(Duration::from_secs(10)).await;
        assert!(world.get(Kind::Job, "migrate").is_null() && pods(&world).is_empty());
    }
    let mut world = start(1, &job(), long(None)).await;
    world
        .kubectl(|kubectl| kubectl.delete(Kind::Job, "migrate", Propagation::Orphan))
        .unwrap();
    world.run_for(Duration::from_mins(1)).await;
    assert!(world.get(Kind::Job, "migrate").is_null());
    assert!(
        world.cluster().processes[0].ended.is_none(),
        "the pod simply runs on with no Job"
    );
}

#[tokio::test(start_paused = true)]
async fn a_second_post_says_already_exists_and_no_uid() {
    let world = start(1, &job(), long(None)).await;
    let refusal = world.kubectl(|kubectl| kubectl.create(&job())).unwrap_err();
    assert_eq!(
        refusal.body(),
        json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "code": 409,
            "reason": "AlreadyExists", "message": "jobs.batch \"migrate\" already exists",
            "details": {"name": "migrate", "group": "batch", "kind": "jobs"},
        })
    );
    let template = json!({"spec": {"template": {"spec": {"terminationGracePeriodSeconds": 1}}}});
    let refusal = world
        .kubectl(|kubectl| kubectl.patch(Kind::Job, "migrate", template))
        .unwrap_err();
    assert!(
        refusal.code == 422 && refusal.message.ends_with("field is immutable"),
        "{}",
        refusal.message
    );
    let limits = json!({"spec": {"backoffLimit": 1, "activeDeadlineSeconds": 100}});
    world
        .kubectl(|kubectl| kubectl.patch(Kind::Job, "migrate", limits))
        .unwrap();
}

#[tokio::test(start_paused = true)]
async fn owners_take_their_jobs_along() {
    let release = json!({"apiVersion": "slipway.dev/v1alpha1", "kind": "Release", "metadata": {"name": "shop"}, "spec": {}});
    for cascade in [Propagation::Background, Propagation::Foreground] {
        let mut world = World::new(1);
        world.cluster().scripts.image("task:1", long(None));
        let owner = world.kubectl(|kubectl| kubectl.create(&release)).unwrap();
        let mut manifest = job();
        manifest["metadata"]["ownerReferences"] = json!([fields::owner_reference(&owner)]);
        manifest["spec"]["template"]["metadata"]
            .as_object_mut()
            .unwrap()
            .remove("finalizers");
        world.kubectl(|kubectl| kubectl.create(&manifest)).unwrap();
        world.run_for(Duration::from_secs(2)).await;
        world
            .kubectl(|kubectl| kubectl.delete(Kind::Release, "shop", cascade))
            .unwrap();
        world.run_for(Duration::from_secs(2)).await;
        let foreground = cascade == Propagation::Foreground;
        assert_eq!(world.get(Kind::Release, "shop").is_null(), !foreground);
        assert_eq!(world.get(Kind::Job, "migrate").is_null(), !foreground);
        assert_eq!(pods(&world).len(), 1);
        world.run_for(Duration::from_secs(12)).await;
        assert!(world.get(Kind::Release, "shop").is_null() && world.get(Kind::Job, "migrate").is_null());
        assert!(pods(&world).is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn a_time_to_live_removes_job_and_pod() {
    let mut manifest = job();
    manifest["spec"]["ttlSecondsAfterFinished"] = json!(20);
    let mut world = start(1, &manifest, Behaviour::task(Duration::from_secs(1), 0)).await;
    world.run_for(Duration::from_secs(15)).await;
    assert_eq!(conditions(&world).len(), 2);
    world.run_for(Duration::from_secs(15)).await;
    assert!(world.get(Kind::Job, "migrate").is_null());
    assert_eq!(pods(&world).len(), 1, "our finalizer still holds the pod");
}
