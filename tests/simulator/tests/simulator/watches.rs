//! Watches, and kube's own watchers and stores on top of them, in virtual time.

use std::time::Duration;

use futures::StreamExt;
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::{
    Api,
    api::{WatchEvent, WatchParams},
    runtime::{WatchStreamExt, reflector, reflector::Store, watcher},
};
use serde_json::{Value, json};
use slipway_kubernetes::kind::Kind;
use slipway_simulator::{cluster::Lag, server::faults::WatchFault, world::World};
use tokio::task::JoinHandle;

use super::stage::Stage;

fn map(name: &str, app: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "labels": {"app": app}}})
}

/// A store that follows what a watcher sees.
fn follow(world: &World, actor: &str, config: watcher::Config) -> (Store<ConfigMap>, JoinHandle<()>) {
    let api: Api<ConfigMap> = Api::default_namespaced(world.client(actor));
    let (store, writer) = reflector::store();
    let stream = watcher(api, config)
        .default_backoff()
        .reflect(writer)
        .applied_objects();
    let task = tokio::spawn(stream.for_each(|_| std::future::ready(())));
    (store, task)
}

fn names(store: &Store<ConfigMap>) -> Vec<String> {
    let mut names: Vec<_> = store
        .state()
        .iter()
        .map(|map| map.metadata.name.clone().unwrap())
        .collect();
    names.sort();
    names
}

#[tokio::test(start_paused = true)]
async fn a_reflector_follows_for_hours_of_virtual_time() {
    for config in [
        watcher::Config::default(),
        watcher::Config::default().streaming_lists(),
    ] {
        let mut world = World::new(1);
        world.kubectl(|kubectl| kubectl.create(&map("a", "web"))).unwrap();
        let (store, task) = follow(&world, "op", config.labels("app=web"));
        store.wait_until_ready().await.unwrap();
        assert_eq!(names(&store), ["a"]);
        world.kubectl(|kubectl| kubectl.create(&map("b", "web"))).unwrap();
        world
            .kubectl(|kubectl| kubectl.create(&map("c", "other")))
            .unwrap();
        world.run_for(Duration::from_secs(1)).await;
        assert_eq!(names(&store), ["a", "b"]);
        world
            .kubectl(|kubectl| kubectl.label(Kind::ConfigMap, "c", "app", "web"))
            .unwrap();
        world
            .kubectl(|kubectl| kubectl.label(Kind::ConfigMap, "a", "app", "other"))
            .unwrap();
        world.run_for(Duration::from_hours(2)).await;
        assert_eq!(
            names(&store),
            ["b", "c"],
            "objects come into and leave the selection"
        );
        world
            .kubectl(|kubectl| {
                kubectl.delete(
                    Kind::ConfigMap,
                    "b",
                    slipway_kubernetes::store::Propagation::Background,
                )
            })
            .unwrap();
        world.run_for(Duration::from_secs(1)).await;
        assert_eq!(names(&store), ["c"]);
        let cluster = world.cluster();
        let lists = cluster.calls.of("op").filter(|call| call.verb == "list").count();
        let watches = cluster.calls.of("op").filter(|call| call.verb == "watch").count();
        assert!(
            lists <= 1 && watches >= 20,
            "watches end and go on from bookmarks: {lists}, {watches}"
        );
        task.abort();
    }
}

#[tokio::test(start_paused = true)]
async fn a_compacted_history_forces_a_new_list() {
    let mut world = World::new(1);
    let (store, task) = follow(&world, "op", watcher::Config::default());
    store.wait_until_ready().await.unwrap();
    world
        .cluster()
        .faults
        .at_watch("op", Kind::ConfigMap, 0, WatchFault::End(0));
    world
        .cluster()
        .lags
        .insert(("op".into(), Kind::ConfigMap), Lag::Frozen(0));
    for name in ["a", "b"] {
        world
            .kubectl(|kubectl| kubectl.create(&map(name, "web")))
            .unwrap();
    }
    world.run_for(Duration::from_secs(10)).await;
    assert_eq!(names(&store).len(), 0, "frozen");
    world.cluster().store.compact();
    world.cluster().lags.clear();
    world.run_for(Duration::from_mins(1)).await;
    assert_eq!(names(&store), ["a", "b"]);
    let cluster = world.cluster();
    assert_eq!(
        cluster.calls.of("op").filter(|call| call.verb == "list").count(),
        2
    );
    task.abort();
}

#[tokio::test(start_paused = true)]
async fn watch_faults_arrive_as_ordered() {
    let mut world = World::new(1);
    world
        .cluster()
        .faults
        .at_watch("op", Kind::ConfigMap, 0, WatchFault::Dropped(0));
    world
        .cluster()
        .faults
        .at_watch("op", Kind::ConfigMap, 1, WatchFault::Duplicated(0));
    world.cluster().faults.at_watch(
        "op",
        Kind::ConfigMap,
        2,
        WatchFault::Delayed(0, Duration::from_secs(30)),
    );
    world
        .cluster()
        .faults
        .at_watch("op", Kind::ConfigMap, 3, WatchFault::End(1));
    world
        .cluster()
        .faults
        .at_watch("op", Kind::ConfigMap, 4, WatchFault::Expired(1));
    let api: Api<ConfigMap> = Api::default_namespaced(world.client("op"));
    let version = world.cluster().store.version().to_string();
    let mut tasks = Vec::new();
    for _ in 0..5 {
        let mut events = api
            .watch(&WatchParams::default().timeout(60), &version)
            .await
            .unwrap()
            .boxed();
        tasks.push(tokio::spawn(async move {
            let mut seen = Vec::new();
            let start = tokio::time::Instant::now();
            while let Some(event) = events.next().await {
                let name = match event.unwrap() {
                    WatchEvent::Added(map) => map.metadata.name.unwrap(),
                    WatchEvent::Error(status) => status.code.to_string(),
                    _ => continue,
                };
                seen.push((name, start.elapsed().as_secs()));
            }
            seen
        }));
    }
    for name in ["a", "b"] {
        world
            .kubectl(|kubectl| kubectl.create(&map(name, "web")))
            .unwrap();
    }
    world.run_for(Duration::from_mins(2)).await;
    let mut seen = Vec::new();
    for task in tasks {
        seen.push(task.await.unwrap());
    }
    let at = |pairs: &[(&str, u64)]| -> Vec<_> {
        pairs.iter().map(|(name, at)| ((*name).to_owned(), *at)).collect()
    };
    assert_eq!(seen[0], at(&[("b", 0)]), "dropped");
    assert_eq!(seen[1], at(&[("a", 0), ("a", 0), ("b", 0)]), "duplicated");
    assert!(
        seen[2].iter().all(|(_, at)| (29..=31).contains(at)) && seen[2].len() == 2,
        "delayed: {:?}",
        seen[2]
    );
    assert_eq!(seen[3], at(&[("a", 0)]), "ended");
    assert_eq!(seen[4], at(&[("a", 0), ("410", 0)]), "expired");
}

#[tokio::test(start_paused = true)]
async fn one_clients_lag_is_not_anothers() {
    let mut world = World::new(1);
    let (slow, first) = follow(&world, "slow", watcher::Config::default());
    let (quick, second) = follow(&world, "quick", watcher::Config::default());
    slow.wait_until_ready().await.unwrap();
    quick.wait_until_ready().await.unwrap();
    world.cluster().lags.insert(
        ("slow".into(), Kind::ConfigMap),
        Lag::Delay(Duration::from_mins(1)),
    );
    world.kubectl(|kubectl| kubectl.create(&map("a", "web"))).unwrap();
    world.run_for(Duration::from_secs(30)).await;
    assert_eq!((names(&slow).len(), names(&quick).len()), (0, 1));
    world.run_for(Duration::from_secs(31)).await;
    assert_eq!(names(&slow), ["a"]);
    first.abort();
    second.abort();
}

#[tokio::test(start_paused = true)]
async fn a_controller_of_kube_runs_on_it() {
    use std::sync::{Arc, Mutex};

    use kube::runtime::{Controller, controller::Action};

    let mut stage = Stage::new(1, 3).await;
    let pods: Api<Pod> = Api::default_namespaced(stage.world.client("op"));
    let seen = Arc::new(Mutex::new(std::collections::BTreeSet::new()));
    let told = Arc::clone(&seen);
    let reconcile = move |pod: Arc<Pod>, _: Arc<()>| {
        told.lock().unwrap().insert(pod.metadata.name.clone().unwrap());
        async { Ok::<_, std::fmt::Error>(Action::await_change()) }
    };
    let controller = Controller::new(pods, watcher::Config::default());
    let run = controller.run(reconcile, |_, _, _| Action::await_change(), Arc::new(()));
    let task = tokio::spawn(run.for_each(|_| std::future::ready(())));
    stage.world.run_for(Duration::from_secs(5)).await;
    stage.user(|user| user.scale("web", 5));
    stage.world.run_for(Duration::from_secs(5)).await;
    assert_eq!(seen.lock().unwrap().len(), 5);
    task.abort();
}
