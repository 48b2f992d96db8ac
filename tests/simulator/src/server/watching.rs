//! The stream of a watch.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use futures::stream;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Bytes, Frame};
use serde_json::{Value, json};
use slipway_kubernetes::{
    clock,
    kind::Kind,
    refusal::Refusal,
    store::{Change, Event, Key, at_version, selector::Selector},
};
use tokio::{sync::watch, time::Instant};

use super::{AnswerBody, faults::WatchFault, verbs};
use crate::{
    cluster::{self, Cluster, Lag, Shared},
    pause::Pause,
};

/// The time between bookmarks.
const BOOKMARK: Duration = Duration::from_mins(1);
/// The time from the last bookmark of a watch to its end.
const FAREWELL: Duration = Duration::from_secs(2);
/// An event that is to be overtaken waits no longer than this for others.
const OVERTAKEN: Duration = Duration::from_secs(10);
/// How often it looks whether they have come.
const GLANCE: Duration = Duration::from_millis(20);

/// One watch.
#[allow(
    clippy::struct_excessive_bools,
    reason = "each says one thing about what was asked for or has happened"
)]
pub(super) struct Watching {
    pub(super) cluster: Shared,
    pub(super) actor: Arc<str>,
    pub(super) kind: Kind,
    pub(super) namespace: Option<String>,
    pub(super) selector: Selector,
    pub(super) metadata_only: bool,
    pub(super) fault: Option<WatchFault>,
    pub(super) pause: Pause,
    /// The version of the last change that was looked at.
    pub(super) position: u64,
    /// Whether the position was there when the watch began.
    pub(super) known: bool,
    /// The lines that are sent before any change, the last one first.
    pub(super) backlog: Vec<Bytes>,
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
    Send(Bytes),
    Wait(Option<Instant>),
    End,
}

impl Watching {
    /// The body of the answer: one JSON document a line.
    pub(super) fn into_body(self: Box<Self>) -> AnswerBody {
        let frames = stream::unfold(self, |mut watching| async move {
            let event = watching.event().await?;
            watching.pause.over().await;
            Some((Ok(Frame::data(event)), watching))
        });
        StreamBody::new(frames).boxed_unsync()
    }

    async fn event(&mut self) -> Option<Bytes> {
        loop {
            if self.over {
                return None;
            }
            let sent = self.sent;
            let next = self.next();
            if self.sent > sent {
                let mut cluster = cluster::lock(&self.cluster);
                let told = cluster.told.entry((Arc::clone(&self.actor), self.kind));
                *told.or_default() += self.sent - sent;
            }
            match next {
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
        if !self.known && self.position < cluster.store.compacted() {
            return self.expired(&cluster);
        }
        self.known = true;
        while let Some(change) = cluster.store.changes_of(self.kind, self.position).next() {
            if change.version <= cluster.store.compacted() {
                return self.expired(&cluster);
            }
            if let Some(until) = self.held_back(&cluster, change) {
                return self.idle(Some(until));
            }
            let Some(line) = self.told(change, change) else {
                self.position = change.version;
                continue;
            };
            match self.fault {
                Some(WatchFault::Expired(at)) if at == self.sent => return self.expired(&cluster),
                Some(WatchFault::End(at)) if at == self.sent => return Next::End,
                Some(WatchFault::Duplicated(at)) if at == self.sent => self.backlog.push(line.clone()),
                Some(WatchFault::Merged(at, _)) if at == self.sent => {
                    self.merge(&cluster);
                    return self.backlog.pop().map_or(Next::Wait(None), Next::Send);
                }
                _ => {}
            }
            let dropped = self.fault == Some(WatchFault::Dropped(self.sent));
            self.sent += 1;
            self.position = change.version;
            if !dropped {
                return Next::Send(line);
            }
        }
        self.position = cluster.store.version();
        self.idle(None)
    }

    /// All changes that are there, one event for each object.
    fn merge(&mut self, cluster: &Cluster) {
        let mut merged: BTreeMap<&Key, (&Change, &Change)> = BTreeMap::new();
        for change in cluster.store.changes_of(self.kind, self.position) {
            merged.entry(&change.key).or_insert((change, change)).1 = change;
        }
        let mut merged: Vec<_> = merged.into_values().collect();
        merged.sort_by_key(|(_, last)| std::cmp::Reverse(last.version));
        let lines = merged
            .into_iter()
            // No server keeps to itself the end of what came and went meanwhile: nobody else would tell it.
            .filter_map(|(first, last)| self.told(first, last).or_else(|| self.told(last, last)));
        self.backlog = lines.collect();
        self.position = cluster.store.version();
        self.fault = None;
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
        let late = |by: Duration| {
            let due = clock::after(change.at, by);
            (due > cluster.clock.now()).then(|| Instant::now() + cluster.clock.until(due))
        };
        let lag = cluster.lag(&self.actor, self.kind);
        match (lag, self.fault) {
            // Lifted lags are noticed at the next change or within a second.
            (Lag::Frozen(version), _) => {
                (change.version > version).then(|| Instant::now() + Duration::from_secs(1))
            }
            (Lag::Delay(by), _) => late(by),
            (Lag::None, Some(WatchFault::Delayed(from, by))) if self.sent >= from => late(by),
            (Lag::None, Some(WatchFault::Merged(at, by))) if self.sent == at => late(by),
            (Lag::None, Some(WatchFault::Overtaken(at, others))) if self.sent == at => {
                let waits = late(OVERTAKEN).is_some() && !self.overtaken(cluster, change, others);
                waits.then(|| Instant::now() + GLANCE)
            }
            (Lag::None, _) => None,
        }
    }

    /// Whether so many later changes of other kinds have been told of before this one.
    fn overtaken(&self, cluster: &Cluster, change: &Change, others: usize) -> bool {
        let now = cluster.clock.now();
        let known = usize::try_from(change.version).expect("a log in memory");
        let later = cluster.store.changes()[known..].iter();
        let told = |other: &&Change| {
            other.at < now
                && other.key.kind != self.kind
                && !matches!(other.key.kind, Kind::Lease | Kind::Event)
        };
        later.filter(told).nth(others.saturating_sub(1)).is_some()
    }

    /// The event that a run of changes of one object is for this watch; none when it is of no concern.
    fn told(&self, first: &Change, last: &Change) -> Option<Bytes> {
        let elsewhere = |namespace: &String| *namespace != last.key.namespace;
        if self.namespace.as_ref().is_some_and(elsewhere) {
            return None;
        }
        let before = first.before.as_ref();
        let before = before.is_some_and(|before| self.selector.matches(before));
        let after = last.event != Event::Deleted && self.selector.matches(&last.object);
        let what = match (before, after) {
            (false, true) => "ADDED",
            (true, true) => "MODIFIED",
            (true, false) => "DELETED",
            (false, false) => return None,
        };
        // An object that leaves the selection is told as it was in it.
        let left = last.before.as_ref().filter(|_| before && !after);
        let object = left.map_or_else(
            || Arc::clone(&last.object),
            |before| at_version(before, last.version),
        );
        Some(line(what, &verbs::shown(&object, self.metadata_only)))
    }

    fn expired(&mut self, cluster: &Cluster) -> Next {
        self.over = true;
        let refusal = Refusal::expired(self.position, cluster.store.compacted());
        Next::Send(line("ERROR", &refusal.body()))
    }
}

/// When the next bookmark is due on a watch that ends then; after the end when there is none any more.
pub(super) fn next_bookmark(end: Instant) -> Instant {
    let now = Instant::now();
    let farewell = end.checked_sub(FAREWELL).filter(|farewell| *farewell > now);
    farewell.unwrap_or(end + BOOKMARK).min(now + BOOKMARK)
}

/// A bookmark at a version.
pub(super) fn bookmark(kind: Kind, version: u64, annotations: Value) -> Bytes {
    let mut metadata = json!({"resourceVersion": version.to_string(), "creationTimestamp": null});
    if annotations.as_object().is_some_and(|map| !map.is_empty()) {
        metadata["annotations"] = annotations;
    }
    let object = json!({"kind": kind.traits().kind, "apiVersion": kind.api_version(), "metadata": metadata});
    line("BOOKMARK", &object)
}

/// An event as it is sent: one JSON document on a line. Written by hand around the object, which is not copied.
pub(super) fn line(what: &str, object: &Value) -> Bytes {
    let mut line = Vec::with_capacity(4096);
    line.extend_from_slice(b"{\"type\":\"");
    line.extend_from_slice(what.as_bytes());
    line.extend_from_slice(b"\",\"object\":");
    serde_json::to_writer(&mut line, object).expect("JSON in memory");
    line.extend_from_slice(b"}\n");
    line.into()
}
