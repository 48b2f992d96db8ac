//! The fake API server against itself and, where one is named, against a real one.
//!
//! With `SIMULATOR_REFERENCE=<kubeconfig>` the requests go to that server too; it must have the Release resource
//! with a schema that keeps unknown fields. `SIMULATOR_REQUESTS` says how many.

use std::env;

use kube::{
    Client, Config,
    config::{KubeConfigOptions, Kubeconfig},
};
use slipway_tests::simulator::{
    conformance::{Side, wishes},
    world::World,
};

fn number(name: &str, usual: u64) -> u64 {
    env::var(name)
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(usual)
}

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

#[tokio::test]
async fn a_real_server_answers_the_same() {
    let Ok(path) = env::var("SIMULATOR_REFERENCE") else {
        println!("skipped: SIMULATOR_REFERENCE names no kubeconfig");
        return;
    };
    let kubeconfig = Kubeconfig::read_from(path).unwrap();
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default())
        .await
        .unwrap();
    let reference = Client::try_from(config).unwrap();
    let seed = number("SIMULATOR_SEED", 1);
    let (mut differences, mut asked) = (0, 0);
    // Short sequences in namespaces of their own: one difference does not make all later ones.
    for round in 0..number("SIMULATOR_REQUESTS", 2000).div_ceil(50) {
        let namespace = format!("conformance-{}-{round}", std::process::id());
        let world = World::new(seed);
        world.cluster().latency = std::time::Duration::ZERO..std::time::Duration::ZERO;
        let mut real = Side::new(reference.clone(), &namespace).await.unwrap();
        let mut fake = Side::new(world.client("user"), &namespace).await.unwrap();
        for wish in wishes(seed * 100_000 + round, 50) {
            let (wanted, found) = (real.ask(&wish).await.unwrap(), fake.ask(&wish).await.unwrap());
            asked += 1;
            if wanted != found {
                differences += 1;
                let lines = slipway_tests::simulator::trace::difference(&wanted.1, &found.1).join("\n    ");
                println!(
                    "{} {:?}/{} {} {}\n  {}\n  real {} fake {}\n    {lines}",
                    wish.method,
                    wish.kind,
                    wish.name,
                    wish.subresource,
                    wish.query,
                    wish.body,
                    wanted.0,
                    found.0
                );
                println!("    {}\n    {}", wanted.1["message"], found.1["message"]);
                if wanted.0 != found.0 {
                    break;
                }
            }
        }
    }
    assert_eq!(differences, 0, "of {asked} answers");
}
