//! Faults between a client and the API server.

use std::time::Duration;

use k8s_openapi::api::core::v1::ConfigMap;
use kube::{Api, api::PostParams};
use serde_json::json;
use slipway_kubernetes::kind::Kind;
use slipway_simulator::{
    server::faults::{self, Fault, Moment},
    world::World,
};

fn map() -> ConfigMap {
    serde_json::from_value(json!({"metadata": {"name": "m"}})).unwrap()
}

fn exists(world: &World) -> bool {
    !world.get(Kind::ConfigMap, "m").is_null()
}

#[tokio::test(start_paused = true)]
async fn every_fault_hits_the_call_it_was_meant_for() {
    for (name, fault) in faults::usual() {
        let world = World::new(1);
        let api: Api<ConfigMap> = Api::default_namespaced(world.client("op"));
        api.get_opt("m").await.unwrap();
        world.cluster().faults.at_write("op", 0, fault.clone());
        let create = async { api.create(&PostParams::default(), &map()).await };
        let result = tokio::time::timeout(Duration::from_secs(30), create).await;
        let applied = matches!(
            fault,
            Fault::Applied(_)
                | Fault::Silence { applied: true }
                | Fault::Reset { applied: true }
                | Fault::Truncated
                | Fault::Watch(_)
        );
        assert_eq!(exists(&world), applied, "{name}");
        match fault {
            Fault::Answer(refusal) | Fault::Applied(refusal) => {
                let Ok(Err(kube::Error::Api(status))) = result else {
                    panic!("{name}: an answer")
                };
                assert_eq!(status.code, refusal.code, "{name}");
            }
            Fault::Silence { .. } => assert!(result.is_err(), "{name}: no answer"),
            Fault::Reset { .. } | Fault::Truncated => {
                assert!(result.unwrap().is_err(), "{name}: a broken one");
            }
            Fault::Crash(_) | Fault::Late(_) | Fault::Stopped { .. } | Fault::Meddled(_) => {
                panic!("not a usual fault")
            }
            Fault::Watch(_) => assert!(result.unwrap().is_ok(), "{name}: not for writes"),
        }
        // A fault strikes once.
        let again = tokio::time::timeout(Duration::from_secs(30), api.get_opt("m")).await;
        assert_eq!(again.unwrap().unwrap().is_some(), applied, "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn retry_after_is_sent() {
    let world = World::new(1);
    world.cluster().faults.at_call(
        "op",
        0,
        Fault::Answer(slipway_kubernetes::refusal::Refusal::too_many(7)),
    );
    let request = http::Request::get("/api/v1/namespaces/default/configmaps/m")
        .body(kube::client::Body::empty())
        .unwrap();
    let answer = world.client("op").send(request).await.unwrap();
    assert_eq!(answer.status(), 429);
    assert_eq!(answer.headers()["retry-after"], "7");
}

#[tokio::test(start_paused = true)]
async fn a_lasting_fault_heals() {
    let world = World::new(1);
    let api: Api<ConfigMap> = Api::default_namespaced(world.client("op"));
    let refusal = slipway_kubernetes::refusal::Refusal::unavailable();
    world.cluster().faults.rule("creates fail", move |call| {
        (call.verb == "create").then(|| Fault::Answer(refusal.clone()))
    });
    for _ in 0..3 {
        assert!(api.create(&PostParams::default(), &map()).await.is_err());
    }
    world.cluster().faults.heal();
    api.create(&PostParams::default(), &map()).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn crashes_stop_a_client_at_the_wanted_moment() {
    for (moment, applied) in [
        (Moment::BeforeSend, false),
        (Moment::AfterApply, true),
        (Moment::AfterReply, true),
    ] {
        let world = World::new(1);
        world.cluster().faults.at_write("op", 0, Fault::Crash(moment));
        let api: Api<ConfigMap> = Api::default_namespaced(world.client("op"));
        let work = async {
            let first = api.create(&PostParams::default(), &map()).await.is_ok();
            let second = api.get_opt("m").await.is_ok();
            (first, second)
        };
        let result = tokio::time::timeout(Duration::from_secs(30), work).await;
        assert!(
            result.is_err(),
            "{moment:?}: the client never gets further than its next call"
        );
        assert!(world.cluster().faults.crashed("op") && world.cluster().faults.hangs("op"));
        assert_eq!(exists(&world), applied, "{moment:?}");
        world.cluster().faults.restarted("op");
        let api: Api<ConfigMap> = Api::default_namespaced(world.client("op"));
        assert_eq!(api.get_opt("m").await.unwrap().is_some(), applied);
    }
}
