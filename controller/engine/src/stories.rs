//! Whole releases, played on the model of Kubernetes and told line by line: what happened, what was decided, why. A
//! change of behaviour shows as a change of a story in `transcripts`.

mod failure;
mod forward;
mod meddling;
mod reindex;
mod rollback;
mod steer;

use serde_json::json;
use slipway_crds::v1alpha1::Phase;

use slipway_kubernetes::fields;

use crate::fixture::{Kind, World, full};

/// Words of the effects that moved traffic, in order, each once in a row.
fn order(world: &World) -> Vec<&'static str> {
    let ours = |word: &&'static str| {
        !matches!(
            *word,
            "Guard" | "Claim" | "CreateJob" | "Start" | "FreePod" | "MoveAlias" | "DeleteIndex" | "Roll"
        )
    };
    let mut order: Vec<&'static str> = world.effects.iter().copied().filter(ours).collect();
    order.dedup();
    order
}

/// Nothing of a release is left on the objects of others.
fn clean(world: &World) {
    for deployment in world.all(Kind::Deployment) {
        let (name, spec) = (fields::name(&deployment), &deployment["spec"]);
        assert!(
            deployment["metadata"]["labels"]
                .get("slipway.dev/window")
                .is_none(),
            "{name} is labelled"
        );
        assert!(spec["paused"].is_null(), "{name} is paused");
        assert!(spec["minReadySeconds"].is_null(), "{name} is held");
        assert_eq!(spec["progressDeadlineSeconds"], 600, "{name} is held");
        assert_eq!(
            spec["strategy"]["rollingUpdate"]["maxSurge"], "25%",
            "{name} is held"
        );
    }
    for service in world.all(Kind::Service) {
        let name = fields::name(&service);
        assert_eq!(
            service["spec"]["selector"],
            json!({"app": name}),
            "{name} is pinned"
        );
        assert!(
            service["metadata"]["labels"].get("slipway.dev/window").is_none(),
            "{name} is labelled"
        );
    }
    for pod in world.task_pods() {
        let name = fields::name(&pod);
        assert!(
            pod["metadata"]["finalizers"].as_array().is_none_or(Vec::is_empty),
            "{name} is held"
        );
    }
}

/// The names of the Jobs that run a task.
fn jobs_of(world: &World, task: &str) -> Vec<String> {
    let mut jobs = world.jobs();
    jobs.retain(|job| job.contains(task));
    jobs
}

/// A release with another index has just begun, under traffic.
fn reindexing() -> World {
    let mut world = World::adopted(&full("shop:1", "one"));
    world.watch_traffic();
    world.edit(|spec| spec["reindex"]["rebuild"]["fingerprint"] = json!("two"));
    world.release_image("shop:2");
    world
}

/// The release goes on to its end.
fn completes(world: &mut World) {
    assert!(
        world.until(|world| world.phase() == Phase::Complete),
        "{}",
        world.lines.join("\n")
    );
}

/// The old side serves as if nothing had been.
fn old_side_untouched(world: &World) {
    clean(world);
    assert_eq!(world.serves("web"), ["shop:1".to_owned()].into());
    assert_eq!(world.ready_endpoints("web"), 3);
    assert_eq!(world.image("web"), "shop:1");
}
