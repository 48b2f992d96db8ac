//! The simulator against the real thing.
//!
//! [`compare`] asks the fake API server and a real one the same; [`controllers`] does the same for the models of the
//! controllers. With [`compare`] no controller runs on either side. Names, versions and times that a server chooses are taken out of the answers
//! before they are compared.

pub mod controllers;
mod recorded;
mod requests;
mod side;
mod wire;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures::{FutureExt, StreamExt, TryStreamExt, stream};
use kube::{
    Api, Client,
    api::{ListParams, PostParams},
    core::{ApiResource, DynamicObject, GroupVersionKind},
};
use serde_json::{Value, json};

pub use self::{
    requests::{Version, Wish, wishes},
    side::{Answer, Side},
};
use slipway_kubernetes::trace;

use super::world::World;

/// Requests of one round. Each round has a namespace of its own: one difference does not make all later ones.
const ROUND: usize = 50;
/// Rounds at a time.
const ABREAST: usize = 4;
/// How long a new kind may take until it is served.
const PATIENCE: Duration = Duration::from_mins(1);

/// What a comparison came to.
#[derive(Clone, Debug, Default)]
pub struct Comparison {
    /// The requests, and the watches, whose answers were compared.
    pub asked: usize,
    /// What was answered differently, in words.
    pub differences: Vec<String>,
}

impl Comparison {
    fn join(mut self, other: Self) -> Self {
        self.asked += other.asked;
        self.differences.extend(other.differences);
        self
    }
}

/// So many random requests of a seed, and the recorded sequences, to a real server without controllers and to the
/// fake one. `told` hears of progress: the requests so far.
///
/// # Errors
/// When the real server does not answer.
pub async fn compare(
    reference: &Client,
    seed: u64,
    count: usize,
    told: &(dyn Fn(usize) + Sync),
) -> Result<Comparison, kube::Error> {
    serve_releases(reference).await?;
    let age = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let run = format!("conformance-{}", age.as_millis());
    let recorded = recorded_sequences(reference, &run);
    let random = stream::iter(0..count.div_ceil(ROUND) as u64)
        .map(|round| random_round(reference, &run, seed, round).boxed())
        .buffer_unordered(ABREAST)
        .try_fold(Comparison::default(), |sum, one| {
            let sum = sum.join(one);
            told(sum.asked);
            std::future::ready(Ok(sum))
        });
    let (recorded, random) = futures::try_join!(recorded, random)?;
    Ok(random.join(recorded))
}

/// Makes the real server serve Releases as the fake one does: with a status, and without a schema.
async fn serve_releases(reference: &Client) -> Result<(), kube::Error> {
    let kind = |group: &str, version: &str, kind: &str| {
        ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind))
    };
    let schema = json!({"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}});
    let definition = json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "releases.slipway.dev"},
        "spec": {
            "group": "slipway.dev",
            "scope": "Namespaced",
            "names": {"plural": "releases", "singular": "release", "kind": "Release", "listKind": "ReleaseList"},
            "versions": [{
                "name": "v1alpha1", "served": true, "storage": true, "subresources": {"status": {}}, "schema": schema,
            }],
        },
    });
    let definitions: Api<DynamicObject> = Api::all_with(
        reference.clone(),
        &kind("apiextensions.k8s.io", "v1", "CustomResourceDefinition"),
    );
    let definition: DynamicObject = serde_json::from_value(definition).expect("a well-formed object");
    match definitions.create(&PostParams::default(), &definition).await {
        Err(kube::Error::Api(status)) if status.code == 409 => {}
        done => drop(done?),
    }
    let releases: Api<DynamicObject> =
        Api::all_with(reference.clone(), &kind("slipway.dev", "v1alpha1", "Release"));
    let started = tokio::time::Instant::now();
    while let Err(error) = releases.list(&ListParams::default()).await {
        if started.elapsed() > PATIENCE {
            return Err(error);
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Ok(())
}

/// The two sides of one round, each with a fresh namespace of this name.
async fn sides(reference: &Client, namespace: &str, seed: u64) -> Result<(World, Side, Side), kube::Error> {
    let world = World::new(seed);
    world.cluster().latency = Duration::ZERO..Duration::ZERO;
    let real = Side::new(reference.clone(), namespace).await?;
    let fake = Side::new(world.client("user"), namespace).await?;
    Ok((world, real, fake))
}

async fn random_round(
    reference: &Client,
    run: &str,
    seed: u64,
    round: u64,
) -> Result<Comparison, kube::Error> {
    let (_world, mut real, mut fake) = sides(reference, &format!("{run}-{round}"), seed).await?;
    let mut comparison = Comparison::default();
    for wish in wishes(seed * 100_000 + round, ROUND) {
        let (wanted, found) = (real.ask(&wish).await?, fake.ask(&wish).await?);
        comparison.asked += 1;
        if wanted != found {
            let place = format!("seed {seed} round {round}: {wish}");
            comparison.differences.push(difference(&place, &wanted, &found));
            if wanted.0 != found.0 {
                break;
            }
        }
    }
    Ok(comparison)
}

async fn recorded_sequences(reference: &Client, run: &str) -> Result<Comparison, kube::Error> {
    let all = recorded::all();
    let played = all.iter().enumerate().map(|(number, sequence)| {
        let namespace = format!("{run}-recorded-{number}");
        async move {
            let (world, mut real, mut fake) = sides(reference, &namespace, 1).await?;
            let mut comparison = Comparison::default();
            for (index, step) in sequence.steps.iter().enumerate() {
                let place = format!("{}, step {}: {step}", sequence.name, index + 1);
                let (wanted, found) = match step {
                    recorded::Step::Ask(wish) => (real.ask(wish).await?, fake.ask(wish).await?),
                    recorded::Step::Watch(watch) => {
                        let (wanted, found) = futures::try_join!(real.watch(watch), fake.watch(watch))?;
                        ((200, Value::Array(wanted)), (200, Value::Array(found)))
                    }
                    recorded::Step::Forget => {
                        world.cluster().store.compact();
                        continue;
                    }
                };
                comparison.asked += 1;
                if wanted != found {
                    comparison.differences.push(difference(&place, &wanted, &found));
                }
            }
            Ok::<_, kube::Error>(comparison)
        }
    });
    let played = futures::future::try_join_all(played).await?;
    Ok(played.into_iter().fold(Comparison::default(), Comparison::join))
}

fn difference(place: &str, wanted: &Answer, found: &Answer) -> String {
    let lines = trace::difference(&wanted.1, &found.1).join("\n    ");
    let message = |answer: &Answer| answer.1["message"].to_string();
    format!(
        "{place}\n  real {} fake {} (real → fake)\n    {lines}\n    {}\n    {}",
        wanted.0,
        found.0,
        message(wanted),
        message(found)
    )
}
