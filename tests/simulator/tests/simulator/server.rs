//! The fake API server through a real kube client.

use k8s_openapi::api::{
    apps::v1::Deployment,
    batch::v1::Job,
    coordination::v1::Lease,
    core::v1::{ConfigMap, Namespace, Pod},
};
use kube::{
    Api, Client, ResourceExt,
    api::{DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams, PropagationPolicy},
    core::{ApiResource, GroupVersionKind, PartialObjectMeta},
};
use serde_json::{Value, json};
use slipway_kubernetes::{kind::Kind, store::Caller};
use slipway_simulator::world::World;

use super::stage::deployment;

fn releases(client: Client) -> Api<DynamicObject> {
    let kind = GroupVersionKind::gvk("slipway.dev", "v1alpha1", "Release");
    Api::default_namespaced_with(client, &ApiResource::from_gvk(&kind))
}

fn release() -> DynamicObject {
    let object = json!({
        "apiVersion": "slipway.dev/v1alpha1", "kind": "Release", "metadata": {"name": "shop"}, "spec": {"image": "shop:1"},
    });
    serde_json::from_value(object).unwrap()
}

fn web() -> Deployment {
    serde_json::from_value(deployment(3, "shop:1")).unwrap()
}

fn code(error: kube::Error) -> u16 {
    match error {
        kube::Error::Api(status) => status.code,
        other => panic!("no answer of the API server: {other}"),
    }
}

#[tokio::test(start_paused = true)]
async fn objects_are_created_read_listed_and_deleted() {
    let world = World::new(1);
    let api: Api<Deployment> = Api::default_namespaced(world.client("op"));
    let created = api.create(&PostParams::default(), &web()).await.unwrap();
    assert_eq!(created.metadata.generation, Some(1));
    let spec = created.spec.as_ref().unwrap();
    assert_eq!(
        (spec.progress_deadline_seconds, spec.revision_history_limit),
        (Some(600), Some(10))
    );
    assert_eq!(
        code(api.create(&PostParams::default(), &web()).await.unwrap_err()),
        409
    );
    assert_eq!(code(api.get("none").await.unwrap_err()), 404);
    let found = api.list(&ListParams::default().labels("app=web")).await.unwrap();
    assert_eq!(found.items.len(), 0, "the Deployment itself has no labels");
    let found = api
        .list(&ListParams::default().fields("metadata.name=web"))
        .await
        .unwrap();
    assert_eq!(found.items.len(), 1);
    assert_eq!(
        code(
            api.list(&ListParams::default().fields("spec.x=1"))
                .await
                .unwrap_err()
        ),
        400
    );
    let wrong = DeleteParams::default().preconditions(kube::api::Preconditions {
        uid: Some("other".to_owned()),
        resource_version: None,
    });
    assert_eq!(code(api.delete("web", &wrong).await.unwrap_err()), 409);
    let gone = api.delete("web", &DeleteParams::background()).await.unwrap();
    assert!(gone.is_right(), "a status");
    assert_eq!(code(api.get("web").await.unwrap_err()), 404);
}

#[tokio::test(start_paused = true)]
async fn main_and_status_are_apart_and_only_the_spec_counts_generations() {
    let world = World::new(1);
    let api = releases(world.client("op"));
    let mut object = release();
    object.data["status"] = json!({"phase": "Invented"});
    let created = api.create(&PostParams::default(), &object).await.unwrap();
    assert_eq!(created.data.get("status"), None, "a new object has no status");
    let patch = |body: Value| Patch::Merge(body);
    let params = PatchParams::default();
    let same = api
        .patch("shop", &params, &patch(json!({"status": {"phase": "X"}})))
        .await
        .unwrap();
    assert_eq!(same.resource_version(), created.resource_version(), "no change");
    let body = json!({"spec": {"image": "shop:9"}, "status": {"phase": "Expand"}});
    let written = api.patch_status("shop", &params, &patch(body)).await.unwrap();
    assert_eq!(
        written.data,
        json!({"spec": {"image": "shop:1"}, "status": {"phase": "Expand"}})
    );
    assert_eq!(written.metadata.generation, Some(1));
    let changed = api
        .patch("shop", &params, &patch(json!({"spec": {"image": "shop:2"}})))
        .await
        .unwrap();
    assert_eq!(changed.metadata.generation, Some(2));
    let labelled = json!({"metadata": {"labels": {"a": "b"}, "annotations": {"c": "d"}}});
    let labelled = api.patch("shop", &params, &patch(labelled)).await.unwrap();
    assert_eq!(labelled.metadata.generation, Some(2));
    let annotations = json!({"metadata": {"annotations": {"e": "f"}}, "status": {"phase": "Y"}});
    let status = api
        .patch_status("shop", &params, &patch(annotations))
        .await
        .unwrap();
    assert_eq!(
        status.annotations().get("e"),
        None,
        "a status write of a custom resource changes no metadata"
    );
}

#[tokio::test(start_paused = true)]
async fn replaces_are_compared_and_set() {
    let world = World::new(1);
    let api = releases(world.client("op"));
    let first = api.create(&PostParams::default(), &release()).await.unwrap();
    let mut next = first.clone();
    next.data["status"] = json!({"phase": "Prepare"});
    api.replace_status("shop", &PostParams::default(), &next)
        .await
        .unwrap();
    assert_eq!(
        code(
            api.replace_status("shop", &PostParams::default(), &next)
                .await
                .unwrap_err()
        ),
        409
    );
    let mut blind = next.clone();
    blind.metadata.resource_version = None;
    assert_eq!(
        code(
            api.replace("shop", &PostParams::default(), &blind)
                .await
                .unwrap_err()
        ),
        422
    );
    let leases: Api<Lease> = Api::default_namespaced(world.client("op"));
    let lease: Lease =
        serde_json::from_value(json!({"metadata": {"name": "l"}, "spec": {"holderIdentity": "a"}})).unwrap();
    let mut held = leases.create(&PostParams::default(), &lease).await.unwrap();
    held.spec.as_mut().unwrap().holder_identity = Some("b".to_owned());
    leases.replace("l", &PostParams::default(), &held).await.unwrap();
    assert_eq!(
        code(
            leases
                .replace("l", &PostParams::default(), &held)
                .await
                .unwrap_err()
        ),
        409
    );
}

#[tokio::test(start_paused = true)]
async fn a_deployment_counts_annotations_as_generations_and_takes_them_with_a_status() {
    let world = World::new(1);
    let api: Api<Deployment> = Api::default_namespaced(world.client("op"));
    api.create(&PostParams::default(), &web()).await.unwrap();
    let body = json!({"metadata": {"annotations": {"a": "1"}}});
    let annotated = api
        .patch("web", &PatchParams::default(), &Patch::Merge(&body))
        .await
        .unwrap();
    assert_eq!(annotated.metadata.generation, Some(2));
    let body = json!({"metadata": {"annotations": {"a": "2"}}, "status": {"replicas": 1}});
    let status = api
        .patch_status("web", &PatchParams::default(), &Patch::Merge(&body))
        .await
        .unwrap();
    assert_eq!(
        (status.annotations()["a"].as_str(), status.metadata.generation),
        ("2", Some(2))
    );
}

#[tokio::test(start_paused = true)]
async fn finalizers_hold_and_release() {
    let world = World::new(1);
    let api = releases(world.client("op"));
    let mut object = release();
    object.metadata.finalizers = Some(vec!["slipway.dev/release".to_owned()]);
    api.create(&PostParams::default(), &object).await.unwrap();
    let kept = api
        .delete("shop", &DeleteParams::default())
        .await
        .unwrap()
        .left()
        .expect("the object");
    assert!(kept.metadata.deletion_timestamp.is_some());
    assert_eq!(
        kept.metadata.generation,
        Some(2),
        "a deletion is a new generation"
    );
    api.delete("shop", &DeleteParams::default()).await.unwrap();
    let patch = json!({"metadata": {"finalizers": null}});
    api.patch("shop", &PatchParams::default(), &Patch::Merge(&patch))
        .await
        .unwrap();
    assert_eq!(code(api.get("shop").await.unwrap_err()), 404);
}

#[tokio::test(start_paused = true)]
async fn a_dry_run_changes_nothing() {
    let world = World::new(1);
    let api: Api<Deployment> = Api::default_namespaced(world.client("op"));
    let dry = PostParams {
        dry_run: true,
        ..PostParams::default()
    };
    assert!(api.create(&dry, &web()).await.unwrap().metadata.uid.is_some());
    assert_eq!(code(api.get("web").await.unwrap_err()), 404);
    api.create(&PostParams::default(), &web()).await.unwrap();
    let body = json!({"spec": {"replicas": 9}});
    let tried = api
        .patch("web", &PatchParams::default().dry_run(), &Patch::Merge(&body))
        .await
        .unwrap();
    assert_eq!(tried.spec.unwrap().replicas, Some(9));
    assert_eq!(api.get("web").await.unwrap().spec.unwrap().replicas, Some(3));
}

#[tokio::test(start_paused = true)]
async fn json_patches_are_tested_and_indistinct() {
    let world = World::new(1);
    let api: Api<ConfigMap> = Api::default_namespaced(world.client("op"));
    let map: ConfigMap =
        serde_json::from_value(json!({"metadata": {"name": "m"}, "data": {"a": "1"}})).unwrap();
    api.create(&PostParams::default(), &map).await.unwrap();
    let patch = |value: &str| -> Patch<ConfigMap> {
        let operations = json!([
            {"op": "test", "path": "/data/a", "value": value},
            {"op": "replace", "path": "/data/a", "value": "2"},
        ]);
        Patch::Json(serde_json::from_value(operations).unwrap())
    };
    // Only the form matters here: kube refuses to build an empty one.
    let error = api
        .patch("m", &PatchParams::default(), &patch("other"))
        .await
        .unwrap_err();
    let kube::Error::Api(status) = error else {
        panic!("an answer")
    };
    assert_eq!(status.code, 422);
    assert_eq!(
        status.message,
        "the server rejected our request due to an error in our request"
    );
    let done = api
        .patch("m", &PatchParams::default(), &patch("1"))
        .await
        .unwrap();
    assert_eq!(done.data.unwrap()["a"], "2");
}

#[tokio::test(start_paused = true)]
async fn validation_names_the_field() {
    let world = World::new(1);
    let api: Api<Job> = Api::default_namespaced(world.client("op"));
    let job = json!({"metadata": {"name": "j"}, "spec": {"template": {"spec": {"containers": [{"name": "a", "image": "b"}]}}}});
    let job: Job = serde_json::from_value(job).unwrap();
    let kube::Error::Api(status) = api.create(&PostParams::default(), &job).await.unwrap_err() else {
        panic!("an answer")
    };
    assert_eq!((status.code, status.reason.as_str()), (422, "Invalid"));
    let cause = &status.details.as_ref().unwrap().causes[0];
    assert_eq!(cause.field, "spec.template.spec.restartPolicy");
    assert!(
        status.message.starts_with("Job.batch \"j\" is invalid: "),
        "{}",
        status.message
    );
}

#[tokio::test(start_paused = true)]
async fn namespaces_take_their_content_along() {
    let mut world = World::new(1);
    let namespaces: Api<Namespace> = Api::all(world.client("op"));
    let other: Namespace = serde_json::from_value(json!({"metadata": {"name": "other"}})).unwrap();
    let missing: Api<Deployment> = Api::namespaced(world.client("op"), "other");
    assert_eq!(
        code(missing.create(&PostParams::default(), &web()).await.unwrap_err()),
        404
    );
    namespaces.create(&PostParams::default(), &other).await.unwrap();
    missing.create(&PostParams::default(), &web()).await.unwrap();
    world.settle(std::time::Duration::from_secs(20)).await;
    namespaces
        .delete("other", &DeleteParams::default())
        .await
        .unwrap();
    let late = missing.create(&PostParams::default(), &web()).await.unwrap_err();
    assert_eq!(code(late), 403);
    world.settle(std::time::Duration::from_mins(1)).await;
    assert_eq!(code(namespaces.get("other").await.unwrap_err()), 404);
    assert_eq!(world.cluster().store.list(Kind::Pod, Some("other")).count(), 0);
}

#[tokio::test(start_paused = true)]
async fn scale_metadata_and_discovery_are_served() {
    let mut world = World::new(1);
    let client = world.client("op");
    let api: Api<Deployment> = Api::default_namespaced(client.clone());
    api.create(&PostParams::default(), &web()).await.unwrap();
    let scale = json!({"spec": {"replicas": 5}});
    let scaled = api
        .patch_scale("web", &PatchParams::default(), &Patch::Merge(&scale))
        .await
        .unwrap();
    assert_eq!(scaled.spec.unwrap().replicas, Some(5));
    world.settle(std::time::Duration::from_secs(20)).await;
    let pods: Api<PartialObjectMeta<Pod>> = Api::default_namespaced(client.clone());
    let found = pods.list(&ListParams::default()).await.unwrap();
    assert_eq!(found.items.len(), 5);
    assert!(found.items[0].labels().contains_key("pod-template-hash"));
    assert_eq!(client.apiserver_version().await.unwrap().minor, "34");
    assert_eq!(
        client
            .list_api_group_resources("apps/v1")
            .await
            .unwrap()
            .resources
            .len(),
        2
    );
    let pods: Api<Pod> = Api::default_namespaced(client);
    let name = pods.list(&ListParams::default()).await.unwrap().items[0].name_any();
    pods.evict(&name, &kube::api::EvictParams::default())
        .await
        .unwrap();
    assert_eq!(
        pods.get(&name)
            .await
            .unwrap()
            .status
            .unwrap()
            .conditions
            .unwrap()
            .iter()
            .filter(|c| c.type_ == "DisruptionTarget")
            .count(),
        1
    );
}

#[tokio::test(start_paused = true)]
async fn deletion_of_a_job_without_a_policy_orphans_its_pods() {
    let world = World::new(1);
    let api: Api<Job> = Api::default_namespaced(world.client("op"));
    let job = json!({"metadata": {"name": "j"}, "spec": {"template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "a", "image": "b"}]}}}});
    api.create(&PostParams::default(), &serde_json::from_value(job).unwrap())
        .await
        .unwrap();
    let kept = api
        .delete("j", &DeleteParams::default())
        .await
        .unwrap()
        .left()
        .expect("the object");
    assert_eq!(kept.finalizers(), ["orphan"]);
    let background = DeleteParams {
        propagation_policy: Some(PropagationPolicy::Background),
        ..DeleteParams::default()
    };
    api.delete("j", &background).await.unwrap();
    assert_eq!(code(api.get("j").await.unwrap_err()), 404);
}

#[tokio::test(start_paused = true)]
async fn every_call_is_in_the_log() {
    let world = World::new(1);
    let api = releases(world.client("op"));
    api.create(&PostParams::default(), &release()).await.unwrap();
    api.get("shop").await.unwrap();
    let patch = json!({"metadata": {"labels": {"a": "b"}}});
    api.patch("shop", &PatchParams::default(), &Patch::Merge(&patch))
        .await
        .unwrap();
    let cluster = world.cluster();
    let calls: Vec<_> = cluster
        .calls
        .of("op")
        .map(|call| (call.verb, call.name.as_str(), call.index, call.write, call.code))
        .collect();
    assert_eq!(
        calls,
        [
            ("create", "shop", 0, 0, Some(201)),
            ("get", "shop", 1, 1, Some(200)),
            ("patch", "shop", 2, 1, Some(200)),
        ]
    );
    assert_eq!(cluster.calls.writes_of("op").count(), 2);
    assert_eq!(cluster.store.changes().last().unwrap().actor.as_ref(), "op");
    drop(cluster);
    let manager = Caller::new("someone");
    assert_eq!(manager.manager, "someone");
}
