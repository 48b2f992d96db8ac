//! The Deployment controller of the model is small, so that a state is small. Here it does, look by look, what the one
//! does that is compared with the real controller.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use slipway_engine::window::patches::{HOLD_MIN_READY_SECONDS, HOLD_PROGRESS_DEADLINE_SECONDS};
use slipway_kubernetes::clock::Clock;
use slipway_kubernetes::cluster;
use slipway_kubernetes::fields;
use slipway_kubernetes::kind::Kind;
use slipway_kubernetes::models::{Model, Wake, deployment::Deployments};
use slipway_kubernetes::random::Random;
use slipway_kubernetes::store::{Caller, DeleteOptions, Key, Part};

use crate::kubernetes::Step;
use crate::release::beginning;
use crate::state::{Cluster, IMAGES, Set};
use crate::view::{OWN_DEADLINE, OWN_READY, template};

/// Writes and other things that happen in one sequence.
const LENGTH: usize = 250;

/// A sequence for every size of the Deployment and every one of these seeds.
const SEEDS: u64 = 12;

/// Something that happens to both.
#[derive(Clone, Copy, Debug)]
enum Happening {
    Image(u8),
    Paused(bool),
    HeldReady(bool),
    HeldStrategy(bool),
    /// The bolt of a side, or its end.
    Bolted(u8, bool),
    /// A side is deleted.
    Deleted(u8),
    /// A pod fails.
    Failed(u8),
    /// Others than the Deployment controller do something.
    Step(Step),
    /// The Deployment controller looks until it has nothing to do.
    Look,
}

impl Happening {
    fn any(random: &mut Random) -> Self {
        let image = 1 + u8::try_from(random.below(IMAGES as u64)).expect("few images");
        let yes = random.chance(1, 2);
        match random.below(20) {
            0 => Self::Image(image),
            1 => Self::Paused(yes),
            2 => Self::HeldReady(yes),
            3 => Self::HeldStrategy(yes),
            4 => Self::Bolted(image, yes),
            5 => Self::Deleted(image),
            6 => Self::Failed(image),
            7..=9 => Self::Step(Step::Fill(image)),
            10..=12 => Self::Step(Step::PodReady(image)),
            13..=14 => Self::Step(Step::Available(image)),
            _ => Self::Look,
        }
    }
}

/// The same in both.
struct Both {
    small: Cluster,
    replicas: u8,
    whole: cluster::Cluster,
    /// Seconds that have gone by: ReplicaSets have an order of age.
    seconds: Arc<AtomicU64>,
    controller: Deployments,
    random: Random,
}

impl Both {
    fn new(replicas: u8, seed: u64) -> Self {
        let seconds = Arc::new(AtomicU64::new(0));
        let shown = Arc::clone(&seconds);
        let clock = Clock::new(move || Duration::from_secs(shown.load(Ordering::Relaxed)));
        let mut both = Self {
            small: beginning(0, replicas),
            replicas,
            whole: cluster::Cluster::new(clock, Random::new(seed)),
            seconds,
            controller: Deployments::default(),
            random: Random::new(seed),
        };
        let deployment = json!({"metadata": {"name": "web"}, "spec": both.spec()});
        let store = &mut both.whole.store;
        let made = store.create(&Caller::new("user"), Kind::Deployment, "default", deployment);
        drop(made.expect("a valid Deployment"));
        both.look();
        both
    }

    /// The spec of the Deployment.
    fn spec(&self) -> Value {
        let deployment = &self.small.deployment;
        let (ready, deadline) = if deployment.held_ready {
            (
                HOLD_MIN_READY_SECONDS.into(),
                HOLD_PROGRESS_DEADLINE_SECONDS.into(),
            )
        } else {
            (OWN_READY, OWN_DEADLINE)
        };
        let surge = if deployment.held_strategy {
            json!("100%")
        } else {
            json!(1)
        };
        json!({
            "replicas": self.replicas,
            "selector": {"matchLabels": {"app": "web"}},
            "template": template(deployment.image).value(),
            "paused": deployment.paused,
            "minReadySeconds": ready,
            "progressDeadlineSeconds": deadline,
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": surge, "maxUnavailable": 0}},
        })
    }

    /// The key of an image's ReplicaSet.
    fn key(&self, image: u8) -> Option<Key> {
        let wanted = format!("shop:{image}");
        let mut sets = self.whole.store.list(Kind::ReplicaSet, Some("default"));
        let own = sets.find(|(_, set)| fields::text(set, "/spec/template/spec/containers/0/image") == wanted);
        own.map(|(key, _)| key.clone())
    }

    fn happen(&mut self, what: Happening) {
        let deployment = &mut self.small.deployment;
        // A side's identity is the version of the Deployment that made it.
        deployment.version = deployment.version.saturating_add(1);
        match what {
            Happening::Image(image) => deployment.image = image,
            Happening::Paused(paused) => deployment.paused = paused,
            Happening::HeldReady(held) => deployment.held_ready = held,
            Happening::HeldStrategy(held) => deployment.held_strategy = held,
            Happening::Bolted(image, held) => {
                self.small
                    .set_mut(image)
                    .into_iter()
                    .for_each(|set| set.held = held);
            }
            Happening::Deleted(image) => {
                self.small.sets[usize::from(image) - 1] = None;
                if let Some(key) = self.key(image) {
                    let options = DeleteOptions::background();
                    let gone = self.whole.store.delete(&Caller::new("user"), &key, &options);
                    drop(gone.expect("it may be deleted"));
                }
            }
            Happening::Failed(image) => {
                for set in self.small.set_mut(image).into_iter().filter(|set| set.ready > 0) {
                    set.ready -= 1;
                    set.available = set.available.min(set.ready);
                }
            }
            Happening::Step(step) => {
                if let Some(next) = self.small.step(step, self.replicas) {
                    self.small = next;
                }
            }
            Happening::Look => {
                while let Some(next) = self.small.step(Step::Rollout, self.replicas) {
                    self.small = next;
                }
            }
        }
        self.follow();
        if let Happening::Look = what {
            self.look();
        }
    }

    /// Writes into the store what has become of the small cluster.
    fn follow(&mut self) {
        let (user, spec) = (Caller::new("user"), self.spec());
        let store = &mut self.whole.store;
        let web = Key::new(Kind::Deployment, "default", "web");
        let written = store.modify(&user, &web, Part::Main, |object| object["spec"] = spec);
        drop(written.expect("a valid change"));
        for image in 1..=3 {
            let (Some(key), Some(set)) = (self.key(image), self.small.set(image).cloned()) else {
                continue;
            };
            let store = &mut self.whole.store;
            let written = store.modify(&user, &key, Part::Main, |object| {
                object["spec"]["minReadySeconds"] = seconds(&set).into();
            });
            drop(written.expect("a valid change"));
            let written = store.modify(&user, &key, Part::Status, |object| {
                object["status"] = json!({
                    "replicas": set.pods, "readyReplicas": set.ready, "availableReplicas": set.available,
                    "observedGeneration": object["metadata"]["generation"],
                });
            });
            drop(written.expect("a valid status"));
        }
    }

    /// The whole controller looks until it has nothing to do.
    fn look(&mut self) {
        let web = Key::new(Kind::Deployment, "default", "web");
        loop {
            self.seconds.fetch_add(1, Ordering::Relaxed);
            let cluster = &mut self.whole;
            let (version, now) = (cluster.store.version(), cluster.clock.now());
            let wake = self.controller.reconcile(&web, cluster, &mut self.random);
            let busy = match wake {
                Wake::Idle => false,
                Wake::At(at) => at.duration_since(now).as_secs() < 1,
                Wake::Retry => true,
            };
            if !busy && version == cluster.store.version() {
                return;
            }
        }
    }

    /// Size and hold of each side, in the small cluster and in the whole one.
    fn sides(&self) -> [Vec<Option<(i64, i64)>>; 2] {
        let small = self.small.sets.iter().map(|set| {
            let set = set.as_ref()?;
            Some((set.wanted.into(), seconds(set)))
        });
        let whole = (1..=3).map(|image| {
            let set = self.whole.store.get(&self.key(image)?)?;
            let number = |pointer: &str| fields::count(set, pointer);
            Some((number("/spec/replicas"), number("/spec/minReadySeconds")))
        });
        [small.collect(), whole.collect()]
    }
}

fn seconds(set: &Set) -> i64 {
    if set.held {
        HOLD_MIN_READY_SECONDS.into()
    } else {
        OWN_READY
    }
}

#[test]
fn the_small_deployment_controller_does_what_the_whole_one_does() {
    for seed in 1..=SEEDS {
        for replicas in 1..=3 {
            let (mut both, mut random) = (Both::new(replicas, seed), Random::new(seed));
            let strategy = Happening::HeldStrategy(seed % 2 == 0);
            both.happen(strategy);
            let mut happened = vec![strategy];
            for _ in 0..LENGTH {
                let what = Happening::any(&mut random);
                // A side remembers the surge that it was sized by. For one pod both surges are one, and that is the
                // size that is explored; the sides of the model remember nothing.
                if replicas > 1 && matches!(what, Happening::HeldStrategy(_)) {
                    continue;
                }
                happened.push(what);
                both.happen(what);
                if let Happening::Look = what {
                    let [small, whole] = both.sides();
                    assert_eq!(
                        small, whole,
                        "seed {seed}, {replicas} replicas, after {happened:?}; small and whole sizes by image"
                    );
                }
            }
        }
    }
    println!("seeds 1 to {SEEDS}, 1 to 3 replicas, {LENGTH} happenings each");
}
