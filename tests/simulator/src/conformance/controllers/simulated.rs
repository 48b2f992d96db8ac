//! A story in the simulator.

use std::{sync::Mutex, time::Duration};

use serde_json::Value;
use slipway_kubernetes::{
    fields,
    kind::Kind,
    models::behaviour::{Behaviour, Exit, command_line, variable},
    store::Key,
};

use super::{Account, Followed, Hands, Signal, Story, play};
use crate::{cluster::Cluster, world::World};

/// How often signals are delivered.
const TURN: Duration = Duration::from_millis(50);

/// Signals on their way.
#[derive(Debug, Default)]
struct Post(Mutex<Vec<(Key, Signal)>>);

impl Hands for Post {
    fn signal(&self, pod: &Value, signal: Signal) {
        let mut waiting = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        waiting.push((Key::of(Kind::Pod, pod), signal));
    }
}

impl Post {
    fn deliver(&self, world: &mut World) {
        let waiting = std::mem::take(&mut *self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner));
        for (pod, signal) in waiting {
            match signal {
                Signal::Stop => world.set_sick(&pod, true),
                Signal::Continue => world.set_sick(&pod, false),
                Signal::Kill => world.kill(&pod),
            }
        }
    }
}

/// Acts a story in a world of this seed, in virtual time.
///
/// # Errors
/// When the fake API server does not answer.
#[allow(
    clippy::unwrap_in_result,
    reason = "without a runtime there is nothing to simulate"
)]
pub fn simulate(story: &Story, seed: u64) -> Result<Account, kube::Error> {
    fastrand::seed(seed);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let mut world = World::new(seed);
        script(&mut world.cluster());
        let client = world.client("user");
        let followed = Followed::start(&client);
        let post = Post::default();
        let mut playing = std::pin::pin!(play(story, &client, "default", &followed, &post));
        loop {
            tokio::select! {
                biased;
                account = &mut playing => return account,
                () = world.run_for(TURN) => post.deliver(&mut world),
            }
        }
    })
}

/// What the images of the real cluster do, in the simulator.
fn script(cluster: &mut Cluster) {
    let soon = Duration::from_millis(100);
    let scripts = &mut cluster.scripts;
    scripts.image("shop:never-ready", Behaviour::never_ready());
    scripts.image("shop:crash-loop", Behaviour::crash_loop(soon, 1));
    scripts.command("nap 1", Behaviour::task(Duration::from_secs(1), 0));
    scripts.command("nonsense", Behaviour::task(soon, 2));
    let nap = |terminate: Option<Exit>| Behaviour {
        terminate,
        ..Behaviour::task(Duration::from_mins(10), 0)
    };
    let napping = |pod: &Value| command_line(pod) == "nap 600";
    scripts.script(napping, nap(Some(Exit::new(soon, 143))));
    let claims = move |pod: &Value| napping(pod) && variable(pod, "SHOP_EXIT_ZERO_ON_TERM") == "1";
    scripts.script(claims, nap(Some(Exit::new(soon, 0))));
    let ignores = move |pod: &Value| napping(pod) && variable(pod, "SHOP_IGNORE_SIGTERM") == "1";
    scripts.script(ignores, nap(None));
    let nowhere = |pod: &Value| fields::map(pod, "/spec/nodeSelector").is_some();
    scripts.script(nowhere, Behaviour::unschedulable());
}
