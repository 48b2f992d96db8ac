//! One process of the real controller on a simulated cluster: election, watches, queue, worker, events, all
//! over the real guarded client. To crash it is to drop it.

use std::sync::Arc;

use jiff::SignedDuration;
use serde_json::json;
use slipway_controller::{
    admin::{LastDecisions, Readiness},
    backoff::Backoff,
    caches::Caches,
    client::{Deadlines, GuardLayer},
    clock::Clock,
    context::{Context, Parts, Planner},
    events::events,
    leader::{Elector, Fence, leadership},
    metrics::Metrics,
    queue::Queue,
    search::Transport,
    watch::Watches,
    work::{Limits, work},
};
use slipway_engine::observed::WindowGuard;
use slipway_kubernetes::{kind::Kind, store::Caller};
use tokio::task::JoinSet;
use tower::Layer;

use super::{cluster::Cluster, server::ApiServer, transport::SimulatedTransport, world::World};

/// The namespace of the Lease: the controller's own.
pub const NAMESPACE: &str = "slipway";

/// Looks at a time.
const CONCURRENCY: usize = 4;

/// How a process is started.
pub struct Settings {
    /// Its name, which begins with [`CONTROLLER`](slipway_judge::past::CONTROLLER); the identity in the Lease begins with it.
    pub name: String,
    /// What its jitter is drawn from.
    pub seed: u64,
    /// The name of its Lease.
    pub lease: &'static str,
    /// How far its wall clock is ahead of the cluster's, unless it has one already.
    pub skew: SignedDuration,
    /// Whether it writes only while it holds the Lease.
    pub fenced: bool,
    /// What decides.
    pub planner: Box<dyn Planner>,
}

/// A process that runs until it is dropped.
#[derive(Debug)]
pub struct Controller {
    name: String,
    tasks: JoinSet<()>,
}

impl Controller {
    /// Starts a process with nothing in its memory.
    pub fn start(world: &World, settings: Settings) -> Self {
        let Settings {
            name,
            seed,
            lease,
            skew,
            fenced,
            planner,
        } = settings;
        let metrics = Metrics::new();
        let (keeper, leadership) = leadership();
        let fence = if fenced {
            leadership.fence()
        } else {
            Fence::always_open()
        };
        let guard = GuardLayer::new(fence.clone(), metrics.clone(), Deadlines::default());
        let server = ApiServer::new(world.shared(), &name);
        let client = kube::Client::new(guard.layer(server), "default");
        let (wall, pause) = {
            let mut cluster = world.cluster();
            make_namespace(&mut cluster);
            (cluster.wall(&name, skew), cluster.faults.pause(&name))
        };
        let clock = Clock::reading(move || wall.now());
        let (events, writer) = events(client.clone(), &name, metrics.clone());
        let identity = format!("{name}_{seed:016x}");
        let elector = Elector::new(
            client.clone(),
            (NAMESPACE, lease),
            identity,
            clock.clone(),
            keeper,
            metrics.clone(),
        );
        let (caches, queue) = (Arc::new(Caches::default()), Arc::new(Queue::default()));
        let watches = Watches {
            client: client.clone(),
            namespace: None,
            caches: Arc::clone(&caches),
            queue: Arc::clone(&queue),
            readiness: Readiness::new(),
        };
        let (watching, relist) = watches.run();
        let parts = Parts {
            client,
            clock,
            fence,
            caches,
            events,
            metrics,
            decisions: LastDecisions::new(),
            guard: WindowGuard::Deny,
        };
        let shared = world.shared();
        let connect = move |url: &str, _| {
            let transport: Arc<dyn Transport> = Arc::new(SimulatedTransport::new(shared.clone(), url));
            Ok(transport)
        };
        let mut context = Context::new(parts, Box::new(connect));
        context.planner = planner;
        let limits = Limits {
            concurrency: CONCURRENCY,
            backoff: Backoff::seeded(seed),
        };
        let mut tasks = JoinSet::new();
        let never = std::future::pending::<()>;
        tasks.spawn(pause.clone().obeyed(writer.run(never())));
        tasks.spawn(pause.clone().obeyed(elector.run(never())));
        tasks.spawn(pause.clone().obeyed(watching));
        let context = Arc::new(context);
        let worker = work(context, queue, leadership, relist, limits, never());
        tasks.spawn(pause.obeyed(worker));
        Self { name, tasks }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether one of its parts has ended, which none ever should.
    pub fn ended(&mut self) -> bool {
        self.tasks.try_join_next().is_some()
    }
}

fn make_namespace(cluster: &mut Cluster) {
    if cluster.store.find(Kind::Namespace, "", NAMESPACE).is_none() {
        let object = json!({"metadata": {"name": NAMESPACE}});
        let caller = Caller::new("bootstrap");
        drop(cluster.store.create(&caller, Kind::Namespace, "", object));
    }
}
