//! `docs/mechanism.md`, "Pins and EndpointSlices" and "Writes: patches, versions, owners": who fights over the
//! Service's pin and the Deployment's hold.

use serde_json::{Value, json};
use slipway_kubernetes::{fields, kind::Kind, models::deployment::HASH};

use super::stage::{HOLD, Stage, deployment, service};

fn manifest() -> Value {
    deployment(3, "shop:1")
}

fn pin_of(stage: &Stage) -> String {
    let service = stage.world.get(Kind::Service, "web");
    fields::map(&service, "/spec/selector")
        .and_then(|map| map.get(HASH)?.as_str())
        .unwrap_or_default()
        .to_owned()
}

fn flux(stage: &Stage, manifest: &Value, force: bool) -> Result<(), slipway_kubernetes::refusal::Refusal> {
    stage
        .world
        .kubectl(|kubectl| kubectl.apply_server_side(manifest, "flux", force))
        .map(drop)
}

async fn applied_by_flux() -> Stage {
    let mut stage = Stage::new(1, 3).await;
    let clean = |kind: Kind| {
        let own = json!({"metadata": {"managedFields": []}});
        stage.patch(kind, "web", own).unwrap();
    };
    clean(Kind::Deployment);
    clean(Kind::Service);
    flux(&stage, &manifest(), true).unwrap();
    flux(&stage, &service(), true).unwrap();
    stage.rest().await;
    stage
}

#[tokio::test(start_paused = true)]
async fn an_unforced_apply_of_the_service_conflicts_with_the_pin_and_a_forced_one_removes_it() {
    let mut stage = applied_by_flux().await;
    stage.pin("shop:1").await;
    let refusal = flux(&stage, &service(), false).unwrap_err();
    assert_eq!((refusal.code, refusal.reason), (409, "Conflict"));
    assert!(
        refusal.message.contains("conflict with \"op\"") && refusal.message.ends_with(": .spec.selector"),
        "{}",
        refusal.message
    );
    assert_eq!(pin_of(&stage), stage.hash("shop:1"), "kept");
    flux(&stage, &service(), true).unwrap();
    assert_eq!(pin_of(&stage), "", "one atomic field");
}

#[tokio::test(start_paused = true)]
async fn a_service_without_a_selector_in_its_manifest_never_fights() {
    let mut stage = applied_by_flux().await;
    let mut bare = service();
    bare["spec"].as_object_mut().unwrap().remove("selector");
    stage
        .patch(
            Kind::Service,
            "web",
            json!({"spec": {"selector": {"app": "web", "owned": "by-op"}}}),
        )
        .unwrap();
    flux(&stage, &bare, false).unwrap();
    stage
        .patch(
            Kind::Service,
            "web",
            json!({"spec": {"selector": {"owned": null}}}),
        )
        .unwrap();
    stage.pin("shop:1").await;
    flux(&stage, &bare, false).unwrap();
    flux(&stage, &bare, true).unwrap();
    assert_eq!(pin_of(&stage), stage.hash("shop:1"));
}

#[tokio::test(start_paused = true)]
async fn an_apply_without_the_holds_fields_keeps_them_and_one_with_them_conflicts_leaf_by_leaf() {
    let mut stage = applied_by_flux().await;
    stage.pin("shop:1").await;
    stage.write(super::stage::hold_patch("shop:1"));
    stage.lock().await;
    for force in [false, true] {
        flux(&stage, &manifest(), force).unwrap();
        let web = stage.web();
        assert_eq!(
            fields::count(&web, "/spec/minReadySeconds"),
            HOLD,
            "force: {force}"
        );
        assert!(fields::flag(&web, "/spec/paused"));
    }
    let mut full = manifest();
    full["spec"]["minReadySeconds"] = json!(5);
    full["spec"]["progressDeadlineSeconds"] = json!(60);
    full["spec"]["strategy"] = json!({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}});
    let refusal = flux(&stage, &full, false).unwrap_err();
    assert_eq!(refusal.code, 409);
    let causes = fields::list(&refusal.details, "/causes")
        .iter()
        .map(|cause| fields::text(cause, "/field"));
    let mut causes: Vec<_> = causes.collect();
    causes.sort_unstable();
    assert_eq!(
        causes,
        [
            ".spec.minReadySeconds",
            ".spec.progressDeadlineSeconds",
            ".spec.strategy.rollingUpdate.maxSurge"
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn a_template_that_the_operator_changed_conflicts_and_force_sets_it_back() {
    let mut stage = applied_by_flux().await;
    stage.user(|user| user.set_image("web", "web", "shop:2"));
    stage.rest().await;
    let refusal = flux(&stage, &manifest(), false).unwrap_err();
    assert!(
        refusal
            .message
            .contains(".spec.template.spec.containers[name=\"web\"].image"),
        "{}",
        refusal.message
    );
    flux(&stage, &manifest(), true).unwrap();
    assert_eq!(super::stage::image_of(&stage.web()["spec"]["template"]), "shop:1");
}

#[tokio::test(start_paused = true)]
async fn client_side_apply_keeps_the_pin_and_resets_only_what_the_manifest_has() {
    let mut stage = Stage::new(1, 3).await;
    stage.pin("shop:1").await;
    stage.write(super::stage::hold_patch("shop:1"));
    stage.user(|user| user.apply(&service()));
    assert_eq!(pin_of(&stage), stage.hash("shop:1"));
    stage.user(|user| user.apply(&manifest()));
    assert_eq!(fields::count(&stage.web(), "/spec/minReadySeconds"), HOLD);
    let mut full = manifest();
    full["spec"]["minReadySeconds"] = json!(5);
    full["spec"]["strategy"] =
        json!({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": "25%"}});
    stage.user(|user| user.apply(&full));
    stage.write(super::stage::hold_patch("shop:1"));
    stage.user(|user| user.apply(&full));
    let web = stage.web();
    assert_eq!(
        fields::count(&web, "/spec/minReadySeconds"),
        5,
        "also when the manifest did not change"
    );
    assert_eq!(web["spec"]["strategy"]["rollingUpdate"]["maxSurge"], 1);
    full["spec"]["strategy"] = json!({"type": "Recreate"});
    stage.user(|user| user.apply(&full));
    assert_eq!(
        stage.web()["spec"]["strategy"],
        json!({"type": "Recreate"}),
        "rollingUpdate is dropped"
    );
}

#[tokio::test(start_paused = true)]
async fn fields_dropped_by_their_only_manager_get_their_defaults() {
    let stage = applied_by_flux().await;
    let apply = |body: Value| stage.user(|user| user.apply_server_side(&body, "ssa-op", true));
    let bare = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}});
    let mut wanted = bare.clone();
    wanted["spec"] = super::stage::hold_patch("shop:1")["spec"].clone();
    wanted["spec"].as_object_mut().unwrap().remove("template");
    wanted["spec"]["paused"] = json!(true);
    apply(wanted);
    assert_eq!(fields::count(&stage.web(), "/spec/minReadySeconds"), HOLD);
    apply(bare);
    let web = stage.web();
    assert_eq!(fields::count(&web, "/spec/progressDeadlineSeconds"), 600);
    assert_eq!(
        web["spec"]["strategy"]["rollingUpdate"],
        json!({"maxSurge": "25%", "maxUnavailable": "25%"})
    );
    assert!(!fields::has(&web, "/spec/minReadySeconds") && !fields::has(&web, "/spec/paused"));
}

#[tokio::test(start_paused = true)]
async fn resource_versions_make_patches_conditional() {
    let stage = applied_by_flux().await;
    let outdated = fields::text(&stage.web(), "/metadata/resourceVersion").to_owned();
    stage.user(|user| user.annotate(Kind::Deployment, "web", "x", "1"));
    let merge = json!({"metadata": {"resourceVersion": outdated}, "spec": {"paused": true}});
    let refusal = stage.patch(Kind::Deployment, "web", merge).unwrap_err();
    assert_eq!((refusal.code, refusal.reason), (409, "Conflict"));
    assert!(
        refusal.message.contains("the object has been modified"),
        "{}",
        refusal.message
    );
    let mut apply = manifest();
    apply["metadata"]["resourceVersion"] = json!(outdated);
    assert_eq!(flux(&stage, &apply, true).unwrap_err().code, 409);
    let wrong_uid = json!({"metadata": {"uid": "other"}});
    let refusal = stage.patch(Kind::Deployment, "web", wrong_uid).unwrap_err();
    assert_eq!(refusal.code, 422);
    assert!(
        refusal.message.contains("field is immutable"),
        "{}",
        refusal.message
    );
}

#[tokio::test(start_paused = true)]
async fn annotations_leak_into_replica_sets_and_back_and_labels_do_not() {
    let mut stage = Stage::new(1, 3).await;
    let stage_web = |stage: &Stage| stage.web();
    stage.user(|user| user.annotate(Kind::Deployment, "web", "slipway.dev/state", "moved"));
    stage.user(|user| user.label(Kind::Deployment, "web", "slipway.dev/claim", "x"));
    stage.rest().await;
    assert_eq!(
        fields::annotation(&stage.set("shop:1"), "slipway.dev/state"),
        "moved"
    );
    assert_eq!(fields::label(&stage.set("shop:1"), "slipway.dev/claim"), "");
    stage.user(|user| user.annotate(Kind::Deployment, "web", "slipway.dev/state", json!(null)));
    stage.user(|user| user.set_image("web", "web", "shop:2"));
    stage.rest().await;
    assert_eq!(
        fields::annotation(&stage.set("shop:1"), "slipway.dev/state"),
        "moved",
        "not removed"
    );
    assert_eq!(fields::annotation(&stage_web(&stage), "slipway.dev/state"), "");
    stage.user(|user| user.undo("web"));
    assert_eq!(
        fields::annotation(&stage_web(&stage), "slipway.dev/state"),
        "moved",
        "undo brings it back"
    );
}
