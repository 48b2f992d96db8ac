//! What is compared with a real cluster, here in the simulator alone; and what the comparison has taught.

use std::time::Duration;

use futures::StreamExt;
use k8s_openapi::api::{apps::v1::Deployment, core::v1::ConfigMap};
use kube::{
    Api,
    api::{Patch, PatchParams, PostParams, WatchEvent, WatchParams},
};
use serde_json::{Value, json};
use slipway_simulator::{
    conformance::{Side, controllers, wishes},
    world::World,
};

use super::stage::deployment;

#[tokio::test(start_paused = true)]
async fn the_same_requests_get_the_same_answers_twice() {
    let mut answers = Vec::new();
    for _ in 0..2 {
        let world = World::new(1);
        let mut side = Side::new(world.client("user"), "conformance").await.unwrap();
        let mut own = Vec::new();
        for wish in wishes(1, 500) {
            own.push(side.ask(&wish).await.unwrap());
        }
        answers.push(own);
    }
    assert!(
        answers[0].iter().filter(|(code, _)| *code < 300).count() > 150,
        "enough succeeds"
    );
    assert!(
        answers[0].iter().filter(|(code, _)| *code == 422).count() > 20,
        "enough is refused"
    );
    assert_eq!(answers[0], answers[1]);
}

#[test]
fn every_story_comes_to_its_end_and_to_the_same_one_whatever_the_seed() {
    let mut found = Vec::new();
    for story in controllers::stories() {
        let first = controllers::simulate(&story, 1).unwrap();
        assert!(!first.is_empty());
        for seed in World::seeds([2]) {
            let other = controllers::simulate(&story, seed).unwrap();
            found.extend(controllers::differences(&first, &other));
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[tokio::test(start_paused = true)]
async fn what_leaves_a_watch_is_told_as_it_was_stored_in_it() {
    let mut world = World::new(1);
    let api: Api<ConfigMap> = Api::default_namespaced(world.client("op"));
    let map = |name: &str| -> ConfigMap {
        let metadata = json!({"name": name, "labels": {"tier": "web"}, "finalizers": ["slipway.dev/test"]});
        serde_json::from_value(json!({"metadata": metadata})).unwrap()
    };
    for name in ["relabelled", "released"] {
        api.create(&PostParams::default(), &map(name)).await.unwrap();
    }
    let from = world.cluster().store.version().to_string();
    let patch = async |name: &str, metadata: Value| {
        let patch = Patch::Merge(json!({"metadata": metadata}));
        api.patch(name, &PatchParams::default(), &patch).await.unwrap()
    };
    patch("relabelled", json!({"labels": {"tier": "api"}})).await;
    api.delete("released", &kube::api::DeleteParams::default())
        .await
        .unwrap();
    let answer = patch("released", json!({"finalizers": null})).await;
    assert_eq!(
        answer.metadata.finalizers, None,
        "the answer is about what was written"
    );
    let events = WatchParams::default().labels("tier=web").timeout(5);
    let events = api.watch(&events, &from).await.unwrap();
    let reading = tokio::spawn(events.collect::<Vec<_>>());
    world.run_for(Duration::from_secs(10)).await;
    let gone: Vec<_> = reading
        .await
        .unwrap()
        .into_iter()
        .filter_map(|event| match event.unwrap() {
            WatchEvent::Deleted(map) => Some(map.metadata),
            _ => None,
        })
        .collect();
    assert_eq!(gone.len(), 2);
    assert_eq!(gone[0].labels.as_ref().unwrap()["tier"], "web");
    assert!(gone[1].finalizers.is_some() && gone[1].deletion_timestamp.is_some());
}

#[tokio::test(start_paused = true)]
async fn a_status_of_a_built_in_kind_takes_metadata_with_it() {
    let world = World::new(1);
    let api: Api<Deployment> = Api::default_namespaced(world.client("op"));
    let web = serde_json::from_value(deployment(3, "shop:1")).unwrap();
    api.create(&PostParams::default(), &web).await.unwrap();
    let patch = json!({
        "metadata": {"labels": {"a": "1"}, "annotations": {"a": "1"}, "finalizers": ["slipway.dev/test"]},
        "spec": {"replicas": 9},
        "status": {"observedGeneration": 1},
    });
    let written = api
        .patch_status("web", &PatchParams::default(), &Patch::Merge(patch))
        .await
        .unwrap();
    assert_eq!(written.spec.unwrap().replicas, Some(3));
    assert_eq!(written.metadata.labels, None);
    assert_eq!(written.metadata.annotations.unwrap()["a"], "1");
    assert_eq!(written.metadata.finalizers.unwrap(), ["slipway.dev/test"]);
}

#[tokio::test(start_paused = true)]
async fn a_strategic_merge_keeps_order_and_finalizers() {
    let world = World::new(1);
    let api: Api<Deployment> = Api::default_namespaced(world.client("op"));
    let mut web: Deployment = serde_json::from_value(deployment(3, "shop:1")).unwrap();
    web.metadata.finalizers = Some(vec!["slipway.dev/first".to_owned()]);
    api.create(&PostParams::default(), &web).await.unwrap();
    let patch = json!({
        "metadata": {"finalizers": ["slipway.dev/second"]},
        "spec": {"template": {"spec": {"containers": [{"name": "side", "image": "side:1"}]}}},
    });
    let written = api
        .patch("web", &PatchParams::default(), &Patch::Strategic(patch))
        .await
        .unwrap();
    let pod = written.spec.unwrap().template.spec.unwrap();
    let names: Vec<_> = pod.containers.iter().map(|found| found.name.as_str()).collect();
    assert_eq!(names, ["side", "web"], "what is new goes first");
    let finalizers = written.metadata.finalizers.unwrap();
    assert_eq!(finalizers, ["slipway.dev/second", "slipway.dev/first"]);
}
