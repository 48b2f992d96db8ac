//! The wall clock of the cluster.

use std::{fmt, sync::Arc, time::Duration};

use jiff::{SignedDuration, Timestamp};

/// The wall-clock second at which every run begins: 2026-01-01T00:00:00Z.
pub const BEGINNING: i64 = 1_767_225_600;

/// The cluster's clock. Whoever moves time says how much of it has gone by.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> Duration + Send + Sync>);

impl fmt::Debug for Clock {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", self.now())
    }
}

impl Clock {
    /// A clock that shows [`BEGINNING`] and the time that has gone by since then.
    pub fn new(elapsed: impl Fn() -> Duration + Send + Sync + 'static) -> Self {
        Self(Arc::new(elapsed))
    }

    /// The time since the clock was started.
    pub fn elapsed(&self) -> Duration {
        (self.0)()
    }

    /// The wall-clock time.
    pub fn now(&self) -> Timestamp {
        after(
            Timestamp::from_second(BEGINNING).expect("a constant"),
            self.elapsed(),
        )
    }

    /// The time until the clock shows `at`; none is left when that has gone by.
    pub fn until(&self, at: Timestamp) -> Duration {
        Duration::try_from(at.duration_since(self.now())).unwrap_or_default()
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
