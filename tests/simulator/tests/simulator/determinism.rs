//! One seed is one run.

use slipway_kubernetes::trace;

use super::stage::{Stage, release_patch};

async fn run(seed: u64) -> Vec<String> {
    let mut stage = Stage::window(seed, 3).await;
    stage.lock().await;
    stage.bolt("shop:1").await;
    stage.pin("shop:2").await;
    stage.write(release_patch("shop:2"));
    stage.rest().await;
    stage.unpin().await;
    let cluster = stage.world.cluster();
    cluster.store.changes().iter().map(trace::line).collect()
}

#[tokio::test(start_paused = true)]
async fn the_same_seed_is_the_same_history_and_another_seed_another_one() {
    let first = run(7).await;
    assert_eq!(first, run(7).await);
    assert_ne!(first, run(8).await);
    assert!(first.iter().any(|line| {
        line.contains("op changes Deployment default/web: metadata.generation 1 → 2, spec.minReadySeconds")
    }));
}
