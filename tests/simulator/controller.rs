//! One process of the real controller on a simulated cluster: election, watches, queue, worker, events, all
//! over the real guarded client. To crash it is to drop it.

use std::sync::Arc;

use jiff::SignedDuration;
use slipway_controller::{
    admin::{LastDecisions, Readiness},
    backoff::Backoff,
    client::{Deadlines, GuardLayer},
    clock::Clock,
    context::{Caches, Context, Mind, Parts},
    events::events,
    leader::{Elector, leadership},
    metrics::Metrics,
    queue::Queue,
    run::work_once_read,
    search::Transport,
    watch::Watches,
    work::Limits,
};
use slipway_engine::observed::WindowGuard;
use tokio::task::JoinSet;
use tower::Layer;

use super::{search::SimulatedTransport, server::ApiServer, world::World};

/// What the names of all processes of the controller begin with.
pub const CONTROLLER: &str = "slipway-";

/// The Lease of the controller.
pub const LEASE: &str = "slipway";
/// The namespace of the Lease.
const NAMESPACE: &str = "default";

/// Looks at a time.
const CONCURRENCY: usize = 4;

/// How a process is started.
pub struct Settings {
    /// Its name, which begins with [`CONTROLLER`]; the identity in the Lease begins with it.
    pub name: String,
    /// What its jitter is drawn from.
    pub seed: u64,
    /// The name of its Lease.
    pub lease: &'static str,
    /// How far its wall clock is ahead of the cluster's.
    pub skew: SignedDuration,
    /// What decides.
    pub mind: Box<dyn Mind>,
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
            mind,
        } = settings;
        let metrics = Metrics::new();
        let (keeper, leadership) = leadership();
        let guard = GuardLayer::new(leadership.fence(), metrics.clone(), Deadlines::default());
        let server = ApiServer::new(world.shared(), &name);
        let client = kube::Client::new(guard.layer(server), "default");
        let clock = Clock::runtime(world.now() + skew);
        let (events, writer) = events(client.clone(), &name, metrics.clone());
        let identity = format!("{name}_{seed:016x}");
        let elector = Elector::new(
            client.clone(),
            (NAMESPACE, lease),
            identity,
            clock,
            keeper,
            metrics.clone(),
        );
        let (caches, queue) = (Arc::new(Caches::default()), Arc::new(Queue::default()));
        let readiness = Readiness::new();
        let watches = Watches {
            client: client.clone(),
            namespace: None,
            caches: Arc::clone(&caches),
            queue: Arc::clone(&queue),
            readiness: readiness.clone(),
        };
        watches.expect_first_lists();
        let parts = Parts {
            client,
            clock,
            fence: leadership.fence(),
            caches,
            events,
            metrics,
            decisions: LastDecisions::new(),
            guard: WindowGuard::Deny,
        };
        let engine: Arc<dyn Transport> = Arc::new(SimulatedTransport::new(world.shared()));
        let mut context = Context::new(parts, Box::new(move |_, _| Ok(Arc::clone(&engine))));
        context.mind = mind;
        let limits = Limits {
            concurrency: CONCURRENCY,
            backoff: Backoff::seeded(seed),
        };
        let mut tasks = JoinSet::new();
        let never = std::future::pending::<()>;
        tasks.spawn(writer.run(never()));
        tasks.spawn(elector.run(never()));
        tasks.spawn(watches.run());
        tasks.spawn(work_once_read(
            Arc::new(context),
            queue,
            leadership,
            limits,
            readiness,
            never(),
        ));
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
