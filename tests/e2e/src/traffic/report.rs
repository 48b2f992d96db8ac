//! The account when all is done, with the questions that a test asks of it.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use slipway_judge::observer::Mark;

use super::answer::{Failure, FailureKind, Version};
use super::ledger::Ledger;
use super::recorder::{Sample, Second};

/// So many failures are shown in full; the rest is counted.
const SHOWN: usize = 10;

/// Everything that happened, request by request.
#[derive(Clone, Debug)]
pub struct TrafficReport {
    /// Start of the traffic.
    pub started_at: Timestamp,
    /// Its length, to the last answer.
    pub elapsed: Duration,
    /// Every request, by the moment at which it was to leave.
    pub samples: Vec<Sample>,
    /// The same by second.
    pub seconds: Vec<Second>,
    /// The moments that were marked.
    pub marks: Vec<Mark>,
    /// Every acknowledged write.
    pub ledger: Ledger,
    /// Requests that did not leave because the client itself was late by more than a second, or had too
    /// many under way.
    pub not_sent: u64,
    /// Requests sent once more over a new connection, after the kept one turned out to be closed.
    pub sent_again: u64,
    /// Connections opened or tried.
    pub connections: u64,
    /// The most that the client itself was late: what a latency may owe to a busy machine.
    pub latest: Duration,
}

impl TrafficReport {
    /// Number of requests sent.
    pub fn total(&self) -> usize {
        self.samples.len()
    }

    /// Number of failed requests.
    pub fn failed(&self) -> usize {
        self.failures().count()
    }

    /// The failed requests, in order.
    pub fn failures(&self) -> impl Iterator<Item = (&Sample, &Failure)> {
        let samples = self.samples.iter();
        samples.filter_map(|sample| Some((sample, sample.answer.as_ref().err()?)))
    }

    /// The answered requests, in order.
    pub fn answers(&self) -> impl Iterator<Item = (&Sample, &Version)> {
        let samples = self.samples.iter();
        samples.filter_map(|sample| Some((sample, sample.answer.as_ref().ok()?)))
    }

    /// Answers by version.
    pub fn by_version(&self) -> BTreeMap<Arc<str>, usize> {
        let mut counts = BTreeMap::new();
        for (_, version) in self.answers() {
            *counts.entry(Arc::clone(&version.name)).or_default() += 1;
        }
        counts
    }

    /// Answers by version and the index it read: what shows that each version read its own.
    pub fn by_pair(&self) -> BTreeMap<Version, usize> {
        let mut counts = BTreeMap::new();
        for (_, version) in self.answers() {
            *counts.entry(version.clone()).or_default() += 1;
        }
        counts
    }

    /// How long after the start of the traffic a moment was (zero for one before it).
    pub fn offset(&self, at: Timestamp) -> Duration {
        Duration::try_from(at.duration_since(self.started_at)).unwrap_or_default()
    }

    /// Failures by kind.
    pub fn by_failure(&self) -> BTreeMap<FailureKind, usize> {
        let mut counts = BTreeMap::new();
        for (_, failure) in self.failures() {
            *counts.entry(failure.kind).or_default() += 1;
        }
        counts
    }

    /// Failed requests that were to leave after the mark.
    pub fn failed_since(&self, mark: &Mark) -> usize {
        let from = self.offset(mark.at);
        self.failures().filter(|(sample, _)| sample.at >= from).count()
    }

    /// Answers of a version to requests that were to leave within the span (offsets from the start).
    pub fn answered_between(&self, version: &str, from: Duration, to: Duration) -> usize {
        let answers = self.answers().filter(|(_, seen)| &*seen.name == version);
        answers
            .filter(|(sample, _)| from <= sample.at && sample.at < to)
            .count()
    }

    /// How many answers of this version had arrived by then, whenever their requests were to leave.
    pub fn arrived_before(&self, version: &str, moment: Duration) -> usize {
        let answers = self.answers().filter(|(_, seen)| &*seen.name == version);
        answers
            .filter(|(sample, _)| sample.at + sample.latency < moment)
            .count()
    }

    /// When the first request that this version answered was to leave.
    pub fn first_answer(&self, version: &str) -> Option<Duration> {
        self.answers()
            .find(|(_, seen)| &*seen.name == version)
            .map(|(sample, _)| sample.at)
    }

    /// When the last request that this version answered was to leave.
    pub fn last_answer(&self, version: &str) -> Option<Duration> {
        let answers = self.answers().filter(|(_, seen)| &*seen.name == version);
        answers.map(|(sample, _)| sample.at).last()
    }

    /// The latency that so many per cent of the answers did not exceed (100: the slowest).
    pub fn percentile(&self, percent: usize) -> Duration {
        let mut latencies: Vec<_> = self.answers().map(|(sample, _)| sample.latency).collect();
        latencies.sort_unstable();
        let rank = (latencies.len() * percent.min(100)).div_ceil(100).max(1);
        latencies.get(rank - 1).copied().unwrap_or_default()
    }

    /// The slowest answers, slowest first.
    pub fn slowest(&self, count: usize) -> Vec<&Sample> {
        let mut samples: Vec<_> = self.answers().map(|(sample, _)| sample).collect();
        samples.sort_by_key(|sample| std::cmp::Reverse(sample.latency));
        samples.truncate(count);
        samples
    }

    /// Panics with the first failures and their times, unless every request was answered well. A run
    /// without a single answer fails too: it shows nothing.
    pub fn assert_no_failures(&self) {
        assert!(self.failed() == 0, "{}", self.describe_failures(Duration::ZERO));
        assert!(
            self.total() > 0,
            "no request was sent ({} the client was too late for)",
            self.not_sent
        );
    }

    /// The same for the requests that were to leave after a mark.
    pub fn assert_no_failures_since(&self, mark: &Mark) {
        let from = self.offset(mark.at);
        assert!(
            self.failed_since(mark) == 0,
            "since {}: {}",
            mark.name,
            self.describe_failures(from)
        );
    }

    /// Panics unless each answer's version and index satisfy `fits`.
    pub fn assert_pairs(&self, fits: impl Fn(&Version) -> bool) {
        let wrong: Vec<_> = self
            .by_pair()
            .into_iter()
            .filter(|(version, _)| !fits(version))
            .collect();
        assert!(wrong.is_empty(), "wrongly paired answers: {wrong:?}");
    }

    /// The failures from an offset on, first ones in full, with the marks between them.
    pub fn describe_failures(&self, from: Duration) -> String {
        let failures: Vec<_> = self.failures().filter(|(sample, _)| sample.at >= from).collect();
        let mut lines = vec![format!("{} of {} requests failed", failures.len(), self.total())];
        let mut moments: Vec<(Duration, String)> = failures
            .iter()
            .take(SHOWN)
            .map(|(sample, failure)| {
                let after = sample.latency.as_secs_f64();
                (sample.at, format!("{} after {after:.3}s: {failure}", sample.kind))
            })
            .collect();
        moments.extend(
            self.marks
                .iter()
                .map(|mark| (self.offset(mark.at), format!("— {} —", mark.name))),
        );
        moments.sort_by_key(|(at, _)| *at);
        lines.extend(
            moments
                .iter()
                .map(|(at, text)| format!("  {:>8.3}s  {text}", at.as_secs_f64())),
        );
        if failures.len() > SHOWN {
            lines.push(format!(
                "  … and {} more, the last at {:.3}s",
                failures.len() - SHOWN,
                last_at(&failures)
            ));
        }
        lines.join("\n")
    }

    /// One line a second: answers by version and failures, with the marks.
    pub fn per_second(&self) -> String {
        let versions: Vec<_> = self.by_version().into_keys().collect();
        let titles: Vec<_> = versions.iter().map(|version| format!("v{version}")).collect();
        let widths: Vec<_> = titles.iter().map(|title| title.len().max(6)).collect();
        let mut lines = vec![columns("second", &titles, &widths, "failed")];
        for (number, second) in self.seconds.iter().enumerate() {
            let count = |version| second.answered.get(version).copied().unwrap_or(0).to_string();
            let counts: Vec<_> = versions.iter().map(count).collect();
            let mut line = columns(&number.to_string(), &counts, &widths, &second.failed.to_string());
            for mark in &self.marks {
                if usize::try_from(self.offset(mark.at).as_secs()).is_ok_and(|second| second == number) {
                    line = format!("{line}  {}", mark.name);
                }
            }
            lines.push(line);
        }
        lines.join("\n")
    }
}

/// Time of the last of these failures, in seconds.
fn last_at(failures: &[(&Sample, &Failure)]) -> f64 {
    failures.last().map_or(0.0, |(sample, _)| sample.at.as_secs_f64())
}

fn columns(first: &str, middle: &[String], widths: &[usize], last: &str) -> String {
    let mut line = format!("{first:>6}");
    for (text, width) in middle.iter().zip(widths) {
        line = format!("{line}  {text:>width$}");
    }
    format!("{line}  {last:>6}")
}

impl fmt::Display for TrafficReport {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.elapsed.as_secs_f64();
        writeln!(
            formatter,
            "{} requests in {seconds:.1}s, {} failed",
            self.total(),
            self.failed()
        )?;
        for (version, count) in self.by_pair() {
            writeln!(formatter, "  version {version}: {count}")?;
        }
        for (kind, count) in self.by_failure() {
            writeln!(formatter, "  {kind}: {count}")?;
        }
        let [median, high, slowest] =
            [50, 99, 100].map(|percent| self.percentile(percent).as_secs_f64() * 1e3);
        writeln!(
            formatter,
            "  latency median {median:.1} ms, 99% {high:.1} ms, slowest {slowest:.1} ms"
        )?;
        writeln!(
            formatter,
            "  {} connections, {} sent again",
            self.connections, self.sent_again
        )?;
        let late = self.latest.as_secs_f64() * 1e3;
        write!(
            formatter,
            "  client: {} not sent, at most {late:.1} ms late",
            self.not_sent
        )
    }
}
