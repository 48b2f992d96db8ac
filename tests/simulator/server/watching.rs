//! The stream of a watch.

use std::{sync::Arc, time::Duration};

use futures::stream;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Bytes, Frame};
use serde_json::{Value, json};
use tokio::{sync::watch, time::Instant};

use super::{
    super::{
        clock,
        cluster::{self, Cluster, Lag, Shared},
        kind::Kind,
        refusal::Refusal,
        store::{Change, Event, at_version, selector::Selector},
    },
    AnswerBody,
    faults::WatchFault,
    verbs,
};

/// The time between bookmarks.
const BOOKMARK: Duration = Duration::from_mins(1);
/// The time from the last bookmark of a watch to its end.
const FAREWELL: Duration = Duration::from_secs(2);

/// One watch.
pub(super) struct Watching {
    pub(super) cluster: Shared,
    pub(super) actor: Arc<str>,
    pub(super) kind: Kind,
    pub(super) namespace: Option<String>,
    pub(super) selector: Selector,
    pub(super) metadata_only: bool,
    pub(super) fault: Option<WatchFault>,
    /// The version of the last change that was looked at.
    pub(super) position: u64,
    /// What is sent before any change, the last one first.
    pub(super) backlog: Vec<Value>,
    pub(super) bookmarks: bool,
    pub(super) next_bookmark: Instant,
    pub(super) end: Instant,
    pub(super) signal: watch::Receiver<u64>,
    /// The events sent so far, for the faults.
    pub(super) sent: usize,
    pub(super) over: bool,
}

/// What comes next on a watch.
enum Next {
    Send(Value),
    Wait(Option<Instant>),
    End,
}

impl Watching {
    /// The body of the answer: one JSON document a line.
    pub(super) fn into_body(self: Box<Self>) -> AnswerBody {
        let frames = stream::unfold(self, |mut watching| async move {
            let event = watching.event().await?;
            let line = format!("{event}\n").into_bytes();
            Some((Ok(Frame::data(Bytes::from(line))), watching))
        });
        StreamBody::new(frames).boxed_unsync()
    }

    async fn event(&mut self) -> Option<Value> {
        loop {
            if self.over {
                return None;
            }
            match self.next() {
                Next::Send(event) => return Some(event),
                Next::End => return None,
                Next::Wait(until) => {
                    let mut until = until.map_or(self.end, |until| until.min(self.end));
                    if self.bookmarks {
                        until = until.min(self.next_bookmark);
                    }
                    tokio::select! {
                        biased;
                        changed = self.signal.changed() => if changed.is_err() { return None },
                        () = tokio::time::sleep_until(until) => {}
                    }
                }
            }
        }
    }

    fn next(&mut self) -> Next {
        self.signal.mark_unchanged();
        if let Some(event) = self.backlog.pop() {
            return Next::Send(event);
        }
        let cluster = Arc::clone(&self.cluster);
        let cluster = cluster::lock(&cluster);
        if self.position < cluster.store.compacted() {
            return self.expired(&cluster);
        }
        while let Some(change) = cluster
            .store
            .changes()
            .get(usize::try_from(self.position).expect("a log in memory"))
        {
            if let Some(until) = self.held_back(&cluster, change) {
                return self.idle(Some(until));
            }
            let event = self.seen(change);
            if event.is_some() {
                match self.fault {
                    Some(WatchFault::Expired(at)) if at == self.sent => return self.expired(&cluster),
                    Some(WatchFault::End(at)) if at == self.sent => return Next::End,
                    Some(WatchFault::Duplicated(at)) if at == self.sent => self.backlog.extend(event.clone()),
                    _ => {}
                }
                self.sent += 1;
            }
            self.position = change.version;
            let dropped = self.fault == self.sent.checked_sub(1).map(WatchFault::Dropped);
            if let Some(event) = event.filter(|_| !dropped) {
                return Next::Send(event);
            }
        }
        self.idle(None)
    }

    /// There is nothing to send now: a bookmark may be due, or the end.
    fn idle(&mut self, until: Option<Instant>) -> Next {
        let now = Instant::now();
        if now >= self.end {
            return Next::End;
        }
        if self.bookmarks && now >= self.next_bookmark {
            self.next_bookmark = next_bookmark(self.end);
            return Next::Send(bookmark(self.kind, self.position, json!({})));
        }
        Next::Wait(until)
    }

    /// How long has to be waited before the change may be seen; none when it may be seen now.
    fn held_back(&self, cluster: &Cluster, change: &Change) -> Option<Instant> {
        let lag = cluster
            .lags
            .get(&(Arc::clone(&self.actor), self.kind))
            .copied()
            .unwrap_or_default();
        let lag = match (lag, self.fault) {
            (Lag::None, Some(WatchFault::Delayed(from, by))) if self.sent >= from => Lag::Delay(by),
            _ => lag,
        };
        match lag {
            Lag::None => None,
            // Lifted lags are noticed at the next change or within a second.
            Lag::Frozen(version) => {
                (change.version > version).then(|| Instant::now() + Duration::from_secs(1))
            }
            Lag::Delay(by) => {
                let due = clock::after(change.at, by);
                (due > cluster.clock.now()).then(|| cluster.clock.instant(due))
            }
        }
    }

    /// The event that a change is for this watch; none when it is of no concern.
    fn seen(&self, change: &Change) -> Option<Value> {
        if change.key.kind != self.kind
            || self
                .namespace
                .as_ref()
                .is_some_and(|namespace| *namespace != change.key.namespace)
        {
            return None;
        }
        let before = change
            .before
            .as_ref()
            .is_some_and(|before| self.selector.matches(before));
        let after = change.event != Event::Deleted && self.selector.matches(&change.object);
        let what = match (before, after) {
            (false, true) => "ADDED",
            (true, true) => "MODIFIED",
            (true, false) => "DELETED",
            (false, false) => return None,
        };
        // An object that leaves the selection is told as it was in it.
        let left = change.before.as_ref().filter(|_| before && !after);
        let object = left.map_or_else(
            || Arc::clone(&change.object),
            |before| at_version(before, change.version),
        );
        Some(json!({"type": what, "object": verbs::shown(&object, self.metadata_only)}))
    }

    fn expired(&mut self, cluster: &Cluster) -> Next {
        self.over = true;
        let refusal = Refusal::expired(self.position, cluster.store.compacted());
        Next::Send(json!({"type": "ERROR", "object": refusal.body()}))
    }
}

/// When the next bookmark is due on a watch that ends then; after the end when there is none any more.
pub(super) fn next_bookmark(end: Instant) -> Instant {
    let now = Instant::now();
    let farewell = end.checked_sub(FAREWELL).filter(|farewell| *farewell > now);
    farewell.unwrap_or(end + BOOKMARK).min(now + BOOKMARK)
}

/// A bookmark at a version.
pub(super) fn bookmark(kind: Kind, version: u64, annotations: Value) -> Value {
    let mut metadata = json!({"resourceVersion": version.to_string(), "creationTimestamp": null});
    if annotations.as_object().is_some_and(|map| !map.is_empty()) {
        metadata["annotations"] = annotations;
    }
    let object = json!({"kind": kind.traits().kind, "apiVersion": kind.api_version(), "metadata": metadata});
    json!({"type": "BOOKMARK", "object": object})
}
