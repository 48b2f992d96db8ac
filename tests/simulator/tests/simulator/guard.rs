//! `docs/mechanism.md`, "The window guard".

use serde_json::json;
use slipway_kubernetes::{
    fields,
    kind::Kind,
    store::{Propagation, admission},
};

use super::stage::{Stage, deployment, service};

/// Opens a window on objects named `web`, and guards it.
fn guard(stage: &Stage, kinds: &[Kind]) {
    for kind in kinds {
        let open = json!({"metadata": {"labels": {"slipway.dev/window": "open"}}});
        drop(stage.patch(*kind, "web", open).unwrap());
    }
    let own = |actor: &str| actor == "op" || actor.ends_with("-controller");
    let guard = admission::window_guard(own);
    stage.world.cluster().store.admission.push(guard);
}

#[tokio::test(start_paused = true)]
async fn a_manifest_with_hold_fields_breaks_the_window_unless_guarded() {
    for (pointer, value) in [
        ("/spec/minReadySeconds", json!(5)),
        (
            "/spec/strategy",
            json!({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}}),
        ),
    ] {
        for guarded in [false, true] {
            let mut stage = Stage::window(1, 4).await;
            if guarded {
                guard(&stage, &[Kind::Deployment]);
            }
            stage.lock().await;
            stage.pin("shop:2").await;
            let mut manifest = deployment(4, "shop:1");
            fields::set(&mut manifest, pointer, value.clone());
            let done = stage.world.kubectl(|kubectl| kubectl.apply(&manifest));
            assert_eq!(done.is_err(), guarded, "{pointer}");
            stage.rest().await;
            assert_eq!(
                stage.size("shop:2").0 < 4,
                !guarded,
                "{pointer}: {:?}",
                stage.size("shop:2")
            );
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_guard_lets_through_what_is_harmless() {
    let mut stage = Stage::window(1, 3).await;
    guard(&stage, &[Kind::Deployment, Kind::Service]);
    let kubectl = &stage.world;
    stage.user(|user| user.scale("web", 4));
    stage.user(|user| user.annotate(Kind::Deployment, "web", "note", "x"));
    stage.user(|user| user.label(Kind::Service, "web", "team", "shop"));
    stage.user(|user| user.set_image("web", "web", "shop:2"));
    for refused in [
        kubectl.kubectl(|kubectl| kubectl.restart("web")),
        kubectl.kubectl(|kubectl| kubectl.set_image("web", "web", "shop:3")),
        kubectl.kubectl(|kubectl| kubectl.pause("web")),
        kubectl.kubectl(|kubectl| kubectl.apply_server_side(&service(), "flux", true)),
        kubectl.kubectl(|kubectl| kubectl.label(Kind::Deployment, "web", "slipway.dev/window", json!(null))),
    ] {
        assert_eq!(refused.unwrap_err().code, 403);
    }
    let deleted = kubectl.kubectl(|kubectl| kubectl.delete(Kind::Deployment, "web", Propagation::Background));
    assert_eq!(deleted.unwrap_err().code, 403);
    stage.rest().await;
    assert_eq!((stage.size("shop:1"), stage.size("shop:2")), ((4, 4), (4, 4)));
}
