//! Virtual time: the wall clock of the simulated cluster, derived from tokio's paused clock.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

/// The wall-clock second at which every world begins: 2026-01-01T00:00:00Z.
pub const BEGINNING: i64 = 1_767_225_600;

/// The cluster's clock. Its zero is the moment of its making; it moves with tokio's clock.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    origin: Instant,
}

impl Clock {
    /// A clock that shows [`BEGINNING`] now.
    pub fn start() -> Self {
        Self {
            origin: Instant::now(),
        }
    }

    /// The time since the clock was started.
    pub fn elapsed(&self) -> Duration {
        self.origin.elapsed()
    }

    /// The wall-clock time.
    pub fn now(&self) -> Timestamp {
        let elapsed = SignedDuration::try_from(self.elapsed()).expect("a run shorter than an age");
        Timestamp::from_second(BEGINNING).expect("a constant") + elapsed
    }

    /// The instant of tokio's clock at which the wall clock shows `at`; now, when that has passed.
    pub fn instant(&self, at: Timestamp) -> Instant {
        let wait = at.duration_since(self.now());
        Instant::now() + Duration::try_from(wait).unwrap_or_default()
    }
}

/// A time as `metav1.Time` writes it: whole seconds.
pub fn seconds(at: Timestamp) -> String {
    Timestamp::from_second(at.as_second())
        .expect("a timestamp's own second")
        .to_string()
}

/// A time as `metav1.MicroTime` writes it: always six decimals.
pub fn micros(at: Timestamp) -> String {
    format!("{at:.6}")
}

/// Reads a time that [`seconds`] or [`micros`] wrote; none for anything else.
pub fn read(text: &str) -> Option<Timestamp> {
    text.parse().ok()
}

/// `at` moved by `by`.
pub fn after(at: Timestamp, by: Duration) -> Timestamp {
    at + SignedDuration::try_from(by).expect("a duration shorter than an age")
}
