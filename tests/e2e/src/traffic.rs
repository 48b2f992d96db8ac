//! A client that asks an application without pause and keeps account of every single answer.
//!
//! Requests leave on a fixed schedule, whatever became of the ones before them, and latency counts from
//! the scheduled moment: a stall of the application shows in every request that fell into it, not only in
//! the one that was unlucky enough to wait. What the client itself could not send in time (a machine with
//! two cores is easily busy) is counted apart, as not sent, and never as an answer.
//!
//! It speaks to an address, so it has to run where that address is reachable: in the cluster's network
//! namespace for a `ClusterIP`.

pub mod answer;
pub mod connection;
pub mod ledger;
pub mod mix;
pub mod recorder;
pub mod report;

use slipway_judge::observer::Mark;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, MissedTickBehavior, interval};

pub use answer::{Answer, Classify, Failure, FailureKind, Version, by_body, by_headers};
pub use ledger::Ledger;
pub use mix::{Mix, Planned, Write};
pub use recorder::{Live, Sample, Second};
pub use report::TrafficReport;

use connection::{Caller, Lane};
use recorder::Recorder;

/// A request that could not leave within this time of its scheduled moment does not leave at all.
const CATCH_UP: Duration = Duration::from_secs(1);

/// How requests reach the application.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// A new TCP connection for each request: what shows where a Service sends new clients.
    NewConnections,
    /// So many connections that stay open, each with one request at a time: what shows how pods end.
    KeepAlive {
        /// Number of connections, at least one.
        connections: usize,
    },
}

/// What to ask, how often, and how to read the answers.
#[derive(Clone)]
pub struct TrafficConfig {
    /// Address of the Service or server.
    pub target: SocketAddr,
    /// Requests each second; 200 unless told otherwise.
    pub rate: u32,
    /// New connections or kept ones; new ones unless told otherwise.
    pub mode: Mode,
    /// What is asked, in which proportion.
    pub mix: Mix,
    /// Reads the version out of an answer; by the shop's headers unless told otherwise.
    pub classify: Classify,
    /// Time from sending, connecting included, to the end of the answer's body; 3 s unless told otherwise.
    pub timeout: Duration,
    /// The client stops by itself after this time; 15 minutes unless told otherwise.
    pub limit: Duration,
}

impl TrafficConfig {
    /// The usual client: 200 requests a second, one connection each, versions by the shop's headers.
    pub fn new(target: SocketAddr, mix: Mix) -> Self {
        Self {
            target,
            rate: 200,
            mode: Mode::NewConnections,
            mix,
            classify: by_headers("x-shop-version", Some("x-shop-index")),
            timeout: Duration::from_secs(3),
            limit: Duration::from_mins(15),
        }
    }

    /// Another number of requests each second, at least one.
    #[must_use]
    pub fn rate(self, rate: u32) -> Self {
        Self {
            rate: rate.max(1),
            ..self
        }
    }

    /// Another way to connect.
    #[must_use]
    pub fn mode(self, mode: Mode) -> Self {
        Self { mode, ..self }
    }

    /// Another way to tell versions apart.
    #[must_use]
    pub fn classify(self, classify: Classify) -> Self {
        Self { classify, ..self }
    }

    /// Another bound on the whole run.
    #[must_use]
    pub fn limit(self, limit: Duration) -> Self {
        Self { limit, ..self }
    }

    /// Another bound on a single request.
    #[must_use]
    pub fn timeout(self, timeout: Duration) -> Self {
        Self { timeout, ..self }
    }
}

/// A running client. Dropping it stops it at once; [`Traffic::stop`] waits for what is under way.
pub struct Traffic {
    recorder: Arc<Recorder>,
    stop: watch::Sender<bool>,
    pacer: JoinHandle<()>,
}

impl Traffic {
    /// Starts to send on the current tokio runtime.
    pub fn start(config: TrafficConfig) -> Self {
        let recorder = Arc::new(Recorder::new());
        let (stop, stopped) = watch::channel(false);
        let pacer = tokio::spawn(pace(config, Arc::clone(&recorder), stopped));
        Self {
            recorder,
            stop,
            pacer,
        }
    }

    /// Remembers this moment, so that the report can count from it.
    pub fn mark(&self, name: impl Into<String>) -> Mark {
        let mark = Mark::now(name);
        self.recorder.mark(mark.clone());
        mark
    }

    /// What happened up to now, cheap enough to be asked ten times a second.
    pub fn live(&self) -> Live {
        self.recorder.live()
    }

    /// Every write that the application acknowledged.
    pub fn ledger(&self) -> Ledger {
        self.recorder.ledger()
    }

    /// Waits until so many requests were answered or failed since the start, or `patience` is over: a test
    /// that begins its work on traffic that really flows.
    pub async fn flowing(&self, requests: u64, patience: Duration) -> bool {
        let until = Instant::now() + patience;
        while Instant::now() < until {
            if self.live().finished() >= requests {
                return true;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        false
    }

    /// Sends no more, waits for the requests under way (at most one timeout) and hands out the account.
    pub async fn stop(mut self) -> TrafficReport {
        self.stop.send_replace(true);
        (&mut self.pacer)
            .await
            .expect("the task that sends requests ended by a panic");
        self.recorder.report()
    }
}

impl Drop for Traffic {
    fn drop(&mut self) {
        self.pacer.abort();
    }
}

/// Sends on schedule until stopped or out of time, then waits for what is under way.
async fn pace(config: TrafficConfig, recorder: Arc<Recorder>, mut stopped: watch::Receiver<bool>) {
    let caller = Arc::new(Caller {
        target: config.target,
        timeout: config.timeout,
        classify: Arc::clone(&config.classify),
        recorder: Arc::clone(&recorder),
    });
    let mut sender = Sender::new(config.mode, caller);
    let in_flight_limit = (u64::from(config.rate) * (config.timeout.as_secs() + 1)).max(16);
    let mut schedule = interval(Duration::from_secs(1) / config.rate);
    schedule.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let end = Instant::now() + config.limit;
    loop {
        let scheduled = tokio::select! {
            scheduled = schedule.tick() => scheduled,
            _ = stopped.wait_for(|stop| *stop) => break,
        };
        if scheduled >= end {
            break;
        }
        recorder.late_by(scheduled.elapsed());
        if scheduled.elapsed() > CATCH_UP || recorder.in_flight() >= in_flight_limit {
            recorder.not_sent();
            continue;
        }
        let planned = config.mix.next();
        recorder.sent(&planned);
        sender.send(planned, scheduled);
    }
    sender.finish().await;
}

/// The two ways to connect, behind one call.
enum Sender {
    New {
        caller: Arc<Caller>,
        requests: JoinSet<()>,
    },
    Kept {
        lanes: Vec<mpsc::UnboundedSender<(Planned, Instant)>>,
        turn: usize,
        tasks: JoinSet<()>,
    },
}

impl Sender {
    fn new(mode: Mode, caller: Arc<Caller>) -> Self {
        match mode {
            Mode::NewConnections => Self::New {
                caller,
                requests: JoinSet::new(),
            },
            Mode::KeepAlive { connections } => {
                let mut tasks = JoinSet::new();
                let lanes = (0..connections.max(1))
                    .map(|_| {
                        let (sender, receiver) = mpsc::unbounded_channel();
                        tasks.spawn(Lane::new(Arc::clone(&caller)).run(receiver));
                        sender
                    })
                    .collect();
                Self::Kept {
                    lanes,
                    turn: 0,
                    tasks,
                }
            }
        }
    }

    fn send(&mut self, planned: Planned, scheduled: Instant) {
        match self {
            Self::New { caller, requests } => {
                while requests.try_join_next().is_some() {}
                let caller = Arc::clone(caller);
                requests.spawn(async move { caller.call_once(planned, scheduled).await });
            }
            Self::Kept { lanes, turn, .. } => {
                *turn = (*turn + 1) % lanes.len();
                lanes[*turn]
                    .send((planned, scheduled))
                    .expect("a lane lives as long as its sender");
            }
        }
    }

    async fn finish(self) {
        let mut tasks = match self {
            Self::New { requests, .. } => requests,
            Self::Kept { lanes, tasks, .. } => {
                drop(lanes);
                tasks
            }
        };
        while tasks.join_next().await.is_some() {}
    }
}

#[cfg(test)]
mod tests;
