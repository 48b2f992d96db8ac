//! Which replica acts: one Lease, held by replacing it at the resourceVersion last seen.
//!
//! A holder that cannot renew stops writing after 10 s on its own clock ([`Fence`]), 5 s before anybody else may
//! take the Lease; a call of it that is late even so loses on resourceVersion. The process that holds the Lease
//! gives it up when it ends, and followers, who watch it, go on at once.
//!
//! The clock behind the fence stands still while a machine is suspended, so for that case resourceVersions are
//! the guard.

mod election;
mod fence;

use std::{
    hash::{BuildHasher as _, RandomState},
    pin::pin,
};

use futures::StreamExt as _;
use k8s_openapi::api::coordination::v1::Lease;
use kube::{
    Api, Client,
    api::PostParams,
    runtime::{WatchStreamExt as _, watcher::watch_object},
};
use tokio::{
    sync::watch,
    time::{Instant, sleep_until, timeout_at},
};

pub use self::{
    election::{Election, LeaseMove, Timing},
    fence::{Fence, FenceKeeper, fence},
};
use crate::{clock::Clock, metrics::Metrics};

/// What the rest of the process knows about the election. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Leadership {
    fence: Fence,
    leading: watch::Receiver<bool>,
}

/// The end of [`Leadership`] that [`Elector`] holds.
#[derive(Debug)]
pub struct LeadershipKeeper {
    fence: FenceKeeper,
    leading: watch::Sender<bool>,
}

/// Leadership, not held yet.
pub fn leadership() -> (LeadershipKeeper, Leadership) {
    let (keeper, fence) = fence();
    let (sender, receiver) = watch::channel(false);
    (
        LeadershipKeeper {
            fence: keeper,
            leading: sender,
        },
        Leadership {
            fence,
            leading: receiver,
        },
    )
}

impl Leadership {
    /// Whether a write may be sent now.
    pub fn allows_writes(&self) -> bool {
        self.fence.allows_writes()
    }

    /// The fence, for the layers that send.
    pub fn fence(&self) -> Fence {
        self.fence.clone()
    }

    /// True while this process leads. Two terms in quick succession may look like one here; in between the fence
    /// was down.
    pub fn watch(&self) -> watch::Receiver<bool> {
        self.leading.clone()
    }

    /// Waits until this process leads. Never ends when the election is over.
    pub async fn gained(&self) {
        self.becomes(true).await;
    }

    /// Waits until this process does not lead, or the election is over.
    pub async fn lost(&self) {
        self.becomes(false).await;
    }

    async fn becomes(&self, wanted: bool) {
        let over = self
            .leading
            .clone()
            .wait_for(|leading| *leading == wanted)
            .await
            .is_err();
        if over && wanted {
            std::future::pending::<()>().await;
        }
    }
}

/// A name that no other process has; `pod` is the part of it that humans know.
pub fn identity(pod: &str) -> String {
    format!("{pod}_{:016x}", RandomState::new().hash_one(std::process::id()))
}

/// Takes part in the election until it is told to stop.
pub struct Elector {
    leases: Api<Lease>,
    name: String,
    election: Election,
    timing: Timing,
    clock: Clock,
    keeper: LeadershipKeeper,
    metrics: Metrics,
}

impl Elector {
    /// An elector for the Lease `name` in `namespace`; `identity` is unique to the process: see [`identity`].
    pub fn new(
        client: Client,
        (namespace, name): (&str, &str),
        identity: String,
        clock: Clock,
        keeper: LeadershipKeeper,
        metrics: Metrics,
    ) -> Self {
        let timing = Timing::default();
        Self {
            leases: Api::namespaced(client, namespace),
            name: name.to_owned(),
            election: Election::new(identity, timing),
            timing,
            clock,
            keeper,
            metrics,
        }
    }

    /// Runs the election until `stop` is done, then gives the Lease up if this process holds it. Everything that
    /// writes must have ended before `stop` is.
    pub async fn run(mut self, stop: impl Future<Output = ()>) {
        let mut stop = pin!(stop);
        let mut changes = pin!(watch_object(self.leases.clone(), &self.name).default_backoff());
        loop {
            self.publish();
            match self.election.next(Instant::now()) {
                LeaseMove::Look => self.look().await,
                LeaseMove::Create => self.hold(true).await,
                LeaseMove::Hold => self.hold(false).await,
                LeaseMove::StepDown => {
                    tracing::warn!(
                        "the lease was not renewed in time or was taken; no write is sent any more"
                    );
                    self.election.step_down();
                }
                LeaseMove::Wait(until) => tokio::select! {
                    biased;
                    () = &mut stop => break,
                    () = sleep_until(until) => {}
                    change = changes.next() => self.hear(change),
                },
            }
        }
        self.release().await;
    }

    /// Tells the process what the election says.
    fn publish(&self) {
        let until = self.election.writes_until();
        let leading = until.is_some_and(|until| Instant::now() < until);
        self.keeper.fence.set(until.filter(|_| leading));
        self.keeper.leading.send_if_modified(|current| {
            let changed = *current != leading;
            *current = leading;
            if changed {
                self.metrics.leader(leading);
                tracing::info!(leading, lease = self.name, "leadership");
            }
            changed
        });
    }

    fn hear(&mut self, change: Option<Result<Option<Lease>, kube::runtime::watcher::Error>>) {
        match change {
            Some(Ok(lease)) => self.election.heard(lease, Instant::now()),
            // The watch backs off and starts again by itself; expiry works without it.
            Some(Err(error)) => tracing::debug!(%error, "watch of the lease"),
            None => {}
        }
    }

    /// No call about the Lease outlives the fence: the loop must be back to step down.
    fn deadline(&self) -> Instant {
        let deadline = Instant::now() + self.timing.call_deadline;
        self.election
            .writes_until()
            .map_or(deadline, |fence| fence.min(deadline))
    }

    async fn look(&mut self) {
        let answer = timeout_at(self.deadline(), self.leases.get_opt(&self.name)).await;
        match answer {
            Ok(Ok(lease)) => self.election.saw(lease, Instant::now()),
            Ok(Err(error)) => self.failed("read", &error),
            Err(_) => self.failed("read", &"no answer in time"),
        }
    }

    async fn hold(&mut self, create: bool) {
        let mut lease = self.election.holding(self.clock.now());
        lease.metadata.name = Some(self.name.clone());
        let params = PostParams::default();
        let sent = Instant::now();
        let call = async {
            if create {
                self.leases.create(&params, &lease).await
            } else {
                self.leases.replace(&self.name, &params, &lease).await
            }
        };
        match timeout_at(self.deadline(), call).await {
            Ok(Ok(lease)) => self.election.held(lease, sent, Instant::now()),
            Ok(Err(kube::Error::Api(status))) if matches!(status.code, 404 | 409) => {
                tracing::debug!(%status, "somebody else wrote the lease");
                self.election.outrun(Instant::now());
            }
            Ok(Err(error)) => self.failed("write", &error),
            Err(_) => self.failed("write", &"no answer in time"),
        }
    }

    fn failed(&mut self, what: &'static str, error: &dyn std::fmt::Display) {
        tracing::warn!(lease = self.name, what, %error, "call about the lease failed");
        self.election.failed(Instant::now());
    }

    /// Closes the fence, then empties the record, so that a follower goes on at once.
    async fn release(&mut self) {
        self.election.step_down();
        self.publish();
        for _ in 0..3 {
            let Some(lease) = self.election.released() else {
                return;
            };
            let params = PostParams::default();
            let call = self.leases.replace(&self.name, &params, &lease);
            match timeout_at(self.deadline(), call).await {
                Ok(Ok(_)) => {
                    tracing::info!(lease = self.name, "lease released");
                    return;
                }
                Ok(Err(kube::Error::Api(status))) if status.code == 409 => self.look().await,
                Ok(Err(error)) => return self.failed("release", &error),
                Err(_) => return self.failed("release", &"no answer in time"),
            }
        }
    }
}

#[cfg(test)]
mod fake;
#[cfg(test)]
mod tests;
