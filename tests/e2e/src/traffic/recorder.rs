//! The account while it is being kept: one entry for each request, and counters to look at meanwhile.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use jiff::Timestamp;
use slipway_judge::observer::Mark;
use tokio::time::Instant;

use super::answer::{Failure, FailureKind, Version};
use super::ledger::{Fate, Ledger};
use super::mix::Planned;
use super::report::TrafficReport;

/// One request.
#[derive(Clone, Debug)]
pub struct Sample {
    /// When it was to leave, counted from the start of the traffic.
    pub at: Duration,
    /// From that moment to the end of its answer, or to its failure.
    pub latency: Duration,
    /// Its kind in the mix.
    pub kind: &'static str,
    /// The version that answered it, or how it failed.
    pub answer: Result<Version, Failure>,
}

/// What happened to the requests that were to leave within one second.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Second {
    /// Answers by version.
    pub answered: BTreeMap<Arc<str>, u64>,
    /// Failures.
    pub failed: u64,
}

/// What happened up to now.
#[derive(Clone, Debug, Default)]
pub struct Live {
    /// Time since the start.
    pub elapsed: Duration,
    /// Answers by version.
    pub answered: BTreeMap<Arc<str>, u64>,
    /// Failures.
    pub failed: u64,
    /// The first failure, in one line.
    pub first_failure: Option<String>,
    /// Requests without an answer yet.
    pub in_flight: u64,
    /// Requests that the client itself was too late for.
    pub not_sent: u64,
    /// The last complete second: what a screen shows as the present rate by version.
    pub last_second: Second,
    /// Documents with an acknowledged write.
    pub documents_written: usize,
    /// Answers by version and the index it read.
    pub pairs: BTreeMap<Version, u64>,
}

impl Live {
    /// Requests that were answered or failed.
    pub fn finished(&self) -> u64 {
        self.answered.values().sum::<u64>() + self.failed
    }
}

/// Keeps the account.
pub(super) struct Recorder {
    started: Instant,
    started_at: Timestamp,
    in_flight: AtomicU64,
    not_sent: AtomicU64,
    sent_again: AtomicU64,
    connections: AtomicU64,
    book: Mutex<Book>,
}

#[derive(Default)]
struct Book {
    samples: Vec<Sample>,
    seconds: Vec<Second>,
    pairs: BTreeMap<Version, u64>,
    failed: u64,
    first_failure: Option<String>,
    latest: Duration,
    marks: Vec<Mark>,
    ledger: Ledger,
}

impl Recorder {
    pub(super) fn new() -> Self {
        Self {
            started: Instant::now(),
            started_at: Timestamp::now(),
            in_flight: AtomicU64::new(0),
            not_sent: AtomicU64::new(0),
            sent_again: AtomicU64::new(0),
            connections: AtomicU64::new(0),
            book: Mutex::default(),
        }
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().expect("nobody panics while writing in the book")
    }

    pub(super) fn mark(&self, mark: Mark) {
        self.book().marks.push(mark);
    }

    pub(super) fn ledger(&self) -> Ledger {
        self.book().ledger.clone()
    }

    pub(super) fn in_flight(&self) -> u64 {
        self.in_flight.load(Ordering::Relaxed)
    }

    pub(super) fn not_sent(&self) {
        self.not_sent.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn sent_again(&self) {
        self.sent_again.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn connecting(&self) {
        self.connections.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn late_by(&self, lateness: Duration) {
        let mut book = self.book();
        book.latest = book.latest.max(lateness);
    }

    pub(super) fn sent(&self, planned: &Planned) {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        if let Some(write) = &planned.write {
            self.book().ledger.begin(write);
        }
    }

    pub(super) fn finished(&self, planned: &Planned, scheduled: Instant, answer: Result<Version, Failure>) {
        self.in_flight.fetch_sub(1, Ordering::Relaxed);
        let at = scheduled.saturating_duration_since(self.started);
        let latency = scheduled.elapsed();
        let mut book = self.book();
        if let Some(write) = &planned.write {
            book.ledger.end(write, fate(&answer));
        }
        let second = usize::try_from(at.as_secs()).unwrap_or(0);
        if book.seconds.len() <= second {
            book.seconds.resize(second + 1, Second::default());
        }
        match &answer {
            Ok(version) => {
                *book.seconds[second]
                    .answered
                    .entry(Arc::clone(&version.name))
                    .or_default() += 1;
                *book.pairs.entry(version.clone()).or_default() += 1;
            }
            Err(failure) => {
                book.seconds[second].failed += 1;
                book.failed += 1;
                let line = || format!("{:.2}s {} {failure}", at.as_secs_f64(), planned.kind);
                book.first_failure.get_or_insert_with(line);
            }
        }
        book.samples.push(Sample {
            at,
            latency,
            kind: planned.kind,
            answer,
        });
    }

    pub(super) fn live(&self) -> Live {
        let elapsed = self.started.elapsed();
        let book = self.book();
        let mut answered: BTreeMap<Arc<str>, u64> = BTreeMap::new();
        for (version, count) in &book.pairs {
            *answered.entry(Arc::clone(&version.name)).or_default() += count;
        }
        let last = usize::try_from(elapsed.as_secs()).unwrap_or(0).checked_sub(1);
        Live {
            elapsed,
            answered,
            failed: book.failed,
            first_failure: book.first_failure.clone(),
            in_flight: self.in_flight(),
            not_sent: self.not_sent.load(Ordering::Relaxed),
            last_second: last
                .and_then(|last| book.seconds.get(last))
                .cloned()
                .unwrap_or_default(),
            documents_written: book.ledger.acknowledged().count(),
            pairs: book.pairs.clone(),
        }
    }

    pub(super) fn report(&self) -> TrafficReport {
        let elapsed = self.started.elapsed();
        let book = self.book();
        let mut samples = book.samples.clone();
        samples.sort_by_key(|sample| sample.at);
        TrafficReport {
            started_at: self.started_at,
            elapsed,
            samples,
            seconds: book.seconds.clone(),
            marks: book.marks.clone(),
            ledger: book.ledger.clone(),
            not_sent: self.not_sent.load(Ordering::Relaxed),
            sent_again: self.sent_again.load(Ordering::Relaxed),
            connections: self.connections.load(Ordering::Relaxed),
            latest: book.latest,
        }
    }
}

fn fate(answer: &Result<Version, Failure>) -> Fate {
    match answer {
        Ok(_) => Fate::Acknowledged,
        Err(Failure {
            kind: FailureKind::Status(400..=499),
            ..
        }) => Fate::Refused,
        Err(_) => Fate::Unknown,
    }
}
