//! The wiring of the process, and the order in which it starts and ends.

use std::{sync::Arc, time::Duration};

use tokio::{
    signal::unix::{SignalKind, signal},
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;

use crate::{
    admin::{self, Admin, BindError, Heartbeat, LastDecisions, Readiness},
    args::{Args, WindowGuard},
    caches::Caches,
    client::{self, ConnectError},
    clock::Clock,
    context::{Context, Parts},
    events::events,
    leader::{self, Elector, leadership},
    metrics::Metrics,
    queue::Queue,
    search::Pool,
    watch::Watches,
    work::{Limits, work},
};
use slipway_engine::observed;

/// How often the main loop shows that it is alive.
const BEAT: Duration = Duration::from_secs(5);

/// Why the process cannot run.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The admin server cannot listen.
    #[error(transparent)]
    Admin(#[from] BindError),
    /// There is no way to the Kubernetes API.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// Signals cannot be waited for.
    #[error("cannot wait for signals")]
    Signals(#[source] std::io::Error),
    /// A part of the process that never ends has ended; the log says more.
    #[error("the {0} ended by itself")]
    Ended(&'static str),
}

/// Runs until SIGTERM or SIGINT. What writes ends first, then the queued events are written, then the Lease is
/// given up, so that a follower goes on at once.
pub async fn run(args: Args) -> Result<(), RunError> {
    let Args {
        namespace,
        pod_name,
        lease_name,
        watch_namespace,
        admin_address,
        debug_address,
        concurrency,
        log_format: _,
        log: _,
        window_guard,
    } = args;
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        namespace,
        watch_namespace,
        concurrency,
        ?window_guard,
        "slipway starts"
    );
    let metrics = Metrics::new();
    let heartbeat = Heartbeat::new();
    let readiness = Readiness::new();
    let decisions = LastDecisions::new();
    let admin = Admin {
        heartbeat: heartbeat.clone(),
        readiness: readiness.clone(),
        metrics: metrics.clone(),
    };
    let shown = decisions.clone();
    let listener = admin::bind(admin_address).await?;
    let debug = admin::bind(debug_address).await?;
    let admin = tokio::spawn(async move {
        tokio::select! {
            ended = admin::serve(listener, admin) => ended,
            ended = admin::serve_debug(debug, shown) => ended,
        }
    });

    let (keeper, leadership) = leadership();
    let client = client::connect(leadership.fence(), metrics.clone()).await?;
    let (events, writer) = events(client.clone(), &pod_name, metrics.clone());
    let lease = (namespace.as_str(), lease_name.as_str());
    let elector = Elector::new(
        client.clone(),
        lease,
        leader::identity(&pod_name),
        Clock::system(),
        keeper,
        metrics.clone(),
    );
    let (caches, queue) = (Arc::new(Caches::default()), Arc::new(Queue::default()));
    let watches = Watches {
        client: client.clone(),
        namespace: watch_namespace,
        caches: caches.clone(),
        queue: queue.clone(),
        readiness,
    };
    let (watching, relist) = watches.run();
    let parts = Parts {
        client,
        clock: Clock::system(),
        fence: leadership.fence(),
        caches,
        events,
        metrics,
        decisions,
        guard: guard(window_guard),
    };
    let pool = Pool::default();
    let context = Context::new(
        parts,
        Box::new(move |url, address| Ok(pool.client(url, address)?)),
    );
    let context = Arc::new(context);

    let ends = Ends::default();
    let worker = work(
        context,
        queue,
        leadership,
        relist,
        Limits::new(concurrency.into()),
        ends.asked.clone().cancelled_owned(),
    );
    let process = Process {
        admin,
        writer: tokio::spawn(writer.run(ends.written.clone().cancelled_owned())),
        elector: tokio::spawn(elector.run(ends.all.clone().cancelled_owned())),
        watching: tokio::spawn(watching),
        worker: tokio::spawn(worker),
        ends,
    };
    process.run_to_its_end(&heartbeat).await
}

/// What its parts are told to end by, in this order.
#[derive(Debug, Default)]
struct Ends {
    /// The process is asked to end.
    asked: CancellationToken,
    /// Nobody writes any more.
    written: CancellationToken,
    /// Everything is told.
    all: CancellationToken,
}

/// The parts that run at the same time.
struct Process {
    admin: JoinHandle<std::io::Result<()>>,
    writer: JoinHandle<()>,
    elector: JoinHandle<()>,
    watching: JoinHandle<()>,
    worker: JoinHandle<()>,
    ends: Ends,
}

impl Process {
    /// A part that ends by itself leaves a process that looks alive and does nothing: better to start anew.
    async fn run_to_its_end(mut self, heartbeat: &Heartbeat) -> Result<(), RunError> {
        let end = tokio::select! {
            signal = until_signal(heartbeat) => signal.map_err(RunError::Signals),
            _ = &mut self.admin => Err(RunError::Ended("admin server")),
            _ = &mut self.writer => Err(RunError::Ended("event writer")),
            _ = &mut self.elector => Err(RunError::Ended("elector")),
            _ = &mut self.watching => Err(RunError::Ended("watches")),
            _ = &mut self.worker => Err(RunError::Ended("worker")),
        };
        tracing::info!(?end, "slipway ends");
        self.ends.asked.cancel();
        finished(self.worker).await;
        self.ends.written.cancel();
        finished(self.writer).await;
        self.ends.all.cancel();
        finished(self.elector).await;
        self.watching.abort();
        self.admin.abort();
        end.map(drop)
    }
}

/// A guard that only warns stops nobody.
fn guard(window_guard: WindowGuard) -> observed::WindowGuard {
    match window_guard {
        WindowGuard::Deny => observed::WindowGuard::Deny,
        WindowGuard::Warn | WindowGuard::Off => observed::WindowGuard::Off,
    }
}

/// Waits for a task that was told to end. One that panicked, or had ended before, has nothing more to say.
async fn finished(task: JoinHandle<()>) {
    if !task.is_finished()
        && let Err(error) = task.await
    {
        tracing::error!(%error, "a task did not end well");
    }
}

/// Beats until the process is asked to end; the name of the signal.
async fn until_signal(heartbeat: &Heartbeat) -> std::io::Result<&'static str> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut beat = tokio::time::interval(BEAT);
    loop {
        tokio::select! {
            _ = terminate.recv() => return Ok("SIGTERM"),
            _ = interrupt.recv() => return Ok("SIGINT"),
            _ = beat.tick() => heartbeat.beat(),
        }
    }
}
