//! The simulator against the real thing: the fake API server against kube-apiserver, the models against
//! kube-controller-manager and the kubelet.
//!
//! `SIMULATOR_SEED` chooses other random requests; `SIMULATOR_STORY=window` plays the stories with that in their name.

use std::env;

use anyhow::Result;
use futures::{StreamExt, TryStreamExt, stream};
use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api, Client, ResourceExt,
    api::{ListParams, Patch, PatchParams},
};
use rustix::process::{self, Pid};
use serde_json::{Value, json};
use slipway_e2e::{cluster::Cluster, namespaces, reference::Reference};
use slipway_simulator::{
    conformance::{
        self,
        controllers::{self, Followed, Hands, Signal},
    },
    world::World,
};
use tokio::task::spawn_blocking;

use super::stage::{install, setup};

/// Stories at a time.
const ABREAST: usize = 14;
/// The random requests; `cargo campaign --only conformance` makes 10,000.
const REQUESTS: usize = 1500;

#[tokio::test]
#[ignore = "needs the cluster: cargo verify"]
async fn the_fake_api_server_answers_as_the_real_one() -> Result<()> {
    let seed = World::seeds([1])[0];
    let cluster = Cluster::attach()?;
    let reference = Reference::start(&cluster).await?;
    let compared = conformance::compare(reference.client(), seed, REQUESTS, &|_| {}).await?;
    let differences = compared.differences.join("\n");
    println!("{differences}\nseed {seed}: {} answers compared", compared.asked);
    assert!(
        compared.differences.is_empty(),
        "{} of {} answers differ",
        compared.differences.len(),
        compared.asked
    );
    Ok(())
}

/// The processes of the node.
struct Node {
    cluster: Cluster,
}

impl Hands for Node {
    fn signal(&self, pod: &Value, signal: Signal) {
        let pod: Pod = serde_json::from_value(pod.clone()).expect("a pod");
        let number = self.cluster.process_of(&pod).expect("its process runs");
        let process = i32::try_from(number).ok().and_then(Pid::from_raw);
        let signal = match signal {
            Signal::Stop => process::Signal::STOP,
            Signal::Continue => process::Signal::CONT,
            Signal::Kill => process::Signal::KILL,
        };
        process::kill_process(process.expect("a process has a number"), signal)
            .expect("the process is there");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the cluster: cargo verify"]
async fn the_models_end_where_the_real_controllers_end() -> Result<()> {
    let cluster = Cluster::attach()?;
    install::load_shop(&cluster).await?;
    let client = cluster.client().await?;
    let followed = Followed::start(&client);
    let node = Node { cluster };
    let only = env::var("SIMULATOR_STORY").ok();
    let stories = controllers::stories();
    let chosen = stories.iter().filter(|story| {
        only.as_ref()
            .is_none_or(|only| story.name.contains(only.as_str()))
    });
    let (client, followed, node) = (&client, &followed, &node);
    let played: Vec<_> = stream::iter(chosen)
        .map(|story| async move {
            let namespace = setup::namespace(client, &format!("story-{}", story.name)).await?;
            let simulated = {
                let story = story.clone();
                spawn_blocking(move || controllers::simulate(&story, 1))
            };
            let real = controllers::play(story, client, &namespace, followed, node).await?;
            let differences = controllers::differences(&real, &simulated.await??);
            leave(client, &namespace).await?;
            for difference in &differences {
                println!("{difference}");
            }
            println!(
                "story {}: {} states, {} differ",
                story.name,
                real.len(),
                differences.len()
            );
            anyhow::Ok((real.len(), differences.len()))
        })
        .buffer_unordered(ABREAST)
        .try_collect()
        .await?;
    let states: usize = played.iter().map(|(states, _)| states).sum();
    let differences: usize = played.iter().map(|(_, differences)| differences).sum();
    println!("{} stories, {states} states compared", played.len());
    assert_eq!(differences, 0, "states differ");
    Ok(())
}

/// Lets go of the pods that wait for the product, and of the namespace.
async fn leave(client: &Client, namespace: &str) -> Result<()> {
    let pods: Api<Pod> = Api::namespaced(client.clone(), namespace);
    let free = Patch::Merge(json!({"metadata": {"finalizers": null}}));
    for pod in pods.list(&ListParams::default()).await? {
        let freed = pods.patch(&pod.name_any(), &PatchParams::default(), &free).await;
        // It may have gone by itself.
        drop(freed);
    }
    namespaces::delete(client, namespace).await
}
