//! What can go wrong between a client and the API server.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::Arc,
    time::Duration,
};

use slipway_judge::calls::Call;
use slipway_kubernetes::{kind::Kind, refusal::Refusal};
use tokio::sync::Notify;

use crate::{cluster::Cluster, pause::Pause};

/// The moment of a crash around one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// The request never leaves.
    BeforeSend,
    /// The request is carried out, the answer never arrives.
    AfterApply,
    /// The answer arrives; the client dies before its next call.
    AfterReply,
}

/// What one call meets.
#[derive(Clone, Debug, PartialEq)]
pub enum Fault {
    /// This answer, and nothing is carried out.
    Answer(Refusal),
    /// The request is carried out, and then this answer.
    Applied(Refusal),
    /// No answer ever comes.
    Silence {
        /// Whether the request is carried out.
        applied: bool,
    },
    /// The connection breaks.
    Reset {
        /// Whether the request is carried out before.
        applied: bool,
    },
    /// The request is carried out, and half of the answer arrives.
    Truncated,
    /// The request is so long on its way, and is then carried out, whether or not its sender still waits.
    Late(Duration),
    /// The client dies; see [`Faults::crashed`].
    Crash(Moment),
    /// The client is stopped as a whole, and goes on later.
    Stopped {
        /// Whether the request is on its way already; else it is about to be sent.
        sent: bool,
        /// For how long.
        lasts: Duration,
    },
    /// Somebody does something just before the request is carried out.
    Meddled(Meddling),
    /// A watch misbehaves.
    Watch(WatchFault),
}

/// What somebody does to the cluster.
#[derive(Clone)]
pub struct Meddling {
    /// In words.
    pub what: String,
    /// Does it.
    pub act: Arc<dyn Fn(&mut Cluster) + Send + Sync>,
}

impl Meddling {
    /// One of these words.
    pub fn new(what: impl Into<String>, act: impl Fn(&mut Cluster) + Send + Sync + 'static) -> Self {
        Self {
            what: what.into(),
            act: Arc::new(act),
        }
    }
}

impl PartialEq for Meddling {
    fn eq(&self, other: &Self) -> bool {
        self.what == other.what
    }
}

impl fmt::Debug for Meddling {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.what)
    }
}

/// How a watch misbehaves, counted in events of this watch from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WatchFault {
    /// Before this event the server says 410 Expired.
    Expired(usize),
    /// Before this event the stream ends.
    End(usize),
    /// This event and all later ones come so much later.
    Delayed(usize, Duration),
    /// This event comes twice.
    Duplicated(usize),
    /// This event never comes.
    Dropped(usize),
    /// This event comes only after so many later events of other kinds.
    Overtaken(usize, usize),
    /// This event waits so long, and then every object's changes until there come as one.
    Merged(usize, Duration),
}

/// A rule that may give a call its fault.
pub type Rule = Box<dyn FnMut(&Call) -> Option<Fault> + Send>;

/// The plan of faults.
#[derive(Default)]
pub struct Faults {
    rules: Vec<(String, Rule)>,
    crashed: BTreeSet<Arc<str>>,
    dying: BTreeSet<Arc<str>>,
    stopped: Arc<Notify>,
    pauses: BTreeMap<String, Pause>,
}

impl fmt::Debug for Faults {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_list()
            .entries(self.rules.iter().map(|(name, _)| name))
            .finish()
    }
}

impl Faults {
    /// The call with this number among all calls of a client meets a fault, once.
    pub fn at_call(&mut self, actor: &str, index: usize, fault: Fault) {
        let mut fault = Some(fault);
        let actor = actor.to_owned();
        let name = format!("call {index} of {actor}");
        self.rule(&name, move |call| {
            if call.actor.as_ref() == actor && call.index == index {
                fault.take()
            } else {
                None
            }
        });
    }

    /// The call with this number among the mutating calls of a client meets a fault, once.
    pub fn at_write(&mut self, actor: &str, index: usize, fault: Fault) {
        let mut fault = Some(fault);
        let actor = actor.to_owned();
        let name = format!("write {index} of {actor}");
        self.rule(&name, move |call| {
            let meant = call.actor.as_ref() == actor && call.mutating() && call.write == index;
            if meant { fault.take() } else { None }
        });
    }

    /// The watch of a kind with this number, from 0, misbehaves.
    pub fn at_watch(&mut self, actor: &str, kind: Kind, number: usize, fault: WatchFault) {
        let (actor, mut seen) = (actor.to_owned(), 0);
        let name = format!("watch {number} of {actor} on {kind:?}");
        self.rule(&name, move |call| {
            if call.actor.as_ref() != actor || call.verb != "watch" || call.kind != Some(kind) {
                return None;
            }
            seen += 1;
            (seen == number + 1).then_some(Fault::Watch(fault))
        });
    }

    /// Every call is offered to this rule until [`Faults::heal`].
    pub fn rule(&mut self, name: &str, rule: impl FnMut(&Call) -> Option<Fault> + Send + 'static) {
        self.rules.push((name.to_owned(), Box::new(rule)));
    }

    /// Whether a client is stopped as a whole.
    pub fn pause(&mut self, actor: &str) -> Pause {
        if let Some(pause) = self.pauses.get(actor) {
            return pause.clone();
        }
        self.pauses.entry(actor.to_owned()).or_default().clone()
    }

    /// Ends all faults. Who would die of its next call lives on.
    pub fn heal(&mut self) {
        self.rules.clear();
        self.dying.clear();
    }

    /// Whether a client has crashed. Its driver drops what runs, and says [`Faults::restarted`].
    pub fn crashed(&self, actor: &str) -> bool {
        self.crashed.contains(actor) || self.dying.contains(actor)
    }

    /// Whether a crash has stopped a call of this client that will never return.
    pub fn hangs(&self, actor: &str) -> bool {
        self.crashed.contains(actor)
    }

    /// Tells when a crash has stopped a client.
    pub fn stopped(&self) -> Arc<Notify> {
        Arc::clone(&self.stopped)
    }

    /// The crashed client has been started again.
    pub fn restarted(&mut self, actor: &str) {
        self.crashed.remove(actor);
        self.dying.remove(actor);
    }

    fn stop(&mut self, actor: &Arc<str>) {
        self.crashed.insert(Arc::clone(actor));
        self.stopped.notify_one();
    }

    /// The fault of a call.
    pub(super) fn strike(&mut self, call: &Call) -> Option<Fault> {
        if self.dying.remove(&call.actor) || self.crashed.contains(&call.actor) {
            self.stop(&call.actor);
            return Some(Fault::Crash(Moment::BeforeSend));
        }
        // Every rule is asked, because some count the calls that they see.
        let mut faults: Vec<_> = self.rules.iter_mut().filter_map(|(_, rule)| rule(call)).collect();
        let fault = if faults.is_empty() {
            return None;
        } else {
            faults.swap_remove(0)
        };
        match fault {
            Fault::Crash(Moment::BeforeSend | Moment::AfterApply) => {
                self.stop(&call.actor);
            }
            Fault::Crash(Moment::AfterReply) => {
                self.dying.insert(Arc::clone(&call.actor));
            }
            _ => {}
        }
        Some(fault)
    }
}

/// The faults that a campaign lets every single call meet, with their names. The last two are for watches.
pub fn usual() -> Vec<(&'static str, Fault)> {
    let kind = Kind::Release;
    vec![
        ("409 conflict", Fault::Answer(Refusal::stale(kind, "any"))),
        ("409 exists", Fault::Answer(Refusal::already_exists(kind, "any"))),
        ("404", Fault::Answer(Refusal::not_found(kind, "any"))),
        (
            "403",
            Fault::Answer(Refusal::forbidden(kind, "any", "not allowed here")),
        ),
        ("422", Fault::Answer(Refusal::invalid(kind, "any", &[]))),
        ("429", Fault::Answer(Refusal::too_many(2))),
        (
            "500",
            Fault::Answer(Refusal::internal("etcdserver: leader changed")),
        ),
        ("503", Fault::Answer(Refusal::unavailable())),
        ("504 applied", Fault::Applied(Refusal::timeout())),
        ("504 not applied", Fault::Answer(Refusal::timeout())),
        ("timeout", Fault::Silence { applied: false }),
        ("reset before", Fault::Reset { applied: false }),
        ("reset after", Fault::Reset { applied: true }),
        ("truncated", Fault::Truncated),
        ("410 on watch", Fault::Watch(WatchFault::Expired(0))),
        ("end of stream", Fault::Watch(WatchFault::End(0))),
    ]
}
