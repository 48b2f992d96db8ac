//! Builds that write into the search engine over virtual time.

use std::time::Duration;

use serde_json::json;
use slipway_kubernetes::{
    kind::Kind,
    models::behaviour::{Behaviour, variable},
};
use slipway_simulator::world::World;

#[tokio::test(start_paused = true)]
async fn a_build_of_two_hours_takes_no_time_and_writes_under_its_own_name() {
    let mut world = World::new(1);
    let mut build = Behaviour::task(Duration::from_hours(2), 0).says("{\"documents\": 240}");
    for step in 1..=24_u64 {
        build = build.does(Duration::from_secs(step * 290), move |engine, pod| {
            let name = format!("products_{}", variable(pod, "GENERATION"));
            engine.write(&name, 10);
            engine.refresh(&name);
        });
    }
    world.cluster().search.searchkick_reindex("products", 200);
    world.cluster().scripts.command("reindex", build);
    let job = json!({
        "apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "build"},
        "spec": {"backoffLimit": 0, "template": {"spec": {
            "restartPolicy": "Never",
            "containers": [{"name": "task", "image": "shop:2", "command": ["rake", "reindex"], "env": [{"name": "GENERATION", "value": "g7"}]}],
        }}},
    });
    world.user(|user| user.create(&job));
    world.run_for(Duration::from_hours(1)).await;
    let count = |world: &World| {
        world
            .cluster()
            .search
            .handle("GET", "/products_g7/_count", None)
            .1["count"]
            .clone()
    };
    assert_eq!(count(&world), 120);
    let done = world
        .run_until(Duration::from_hours(2), |world| {
            slipway_kubernetes::fields::is_true(&world.get(Kind::Job, "build"), "Complete")
        })
        .await;
    assert!(done);
    assert_eq!(count(&world), 240);
    assert_eq!(
        world.cluster().search.handle("GET", "/products/_count", None).1["count"],
        200,
        "the live one is untouched"
    );
}
