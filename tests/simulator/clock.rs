//! Virtual time: the wall clock of the simulated cluster, derived from tokio's paused clock.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

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

/// The wall clock of one machine, which may be wrong from the beginning, or get wrong while it runs.
#[derive(Clone, Debug)]
pub struct Wall(Arc<Mutex<Reading>>);

/// What a wall clock showed at an instant, and how it goes on from there.
#[derive(Clone, Copy, Debug)]
struct Reading {
    shown: Timestamp,
    since: Instant,
    /// Seconds by second, for a while; then it goes right.
    rate: u32,
    lasts: Duration,
}

impl Reading {
    fn now(&self) -> Timestamp {
        let passed = self.since.elapsed();
        let bent = passed.min(self.lasts);
        after(self.shown, bent * self.rate + passed.saturating_sub(bent))
    }
}

impl Wall {
    /// One that shows this time now, and goes right.
    pub fn showing(shown: Timestamp) -> Self {
        Self(Arc::new(Mutex::new(Reading {
            shown,
            since: Instant::now(),
            rate: 1,
            lasts: Duration::ZERO,
        })))
    }

    /// The time that it shows.
    pub fn now(&self) -> Timestamp {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).now()
    }

    /// It jumps, and goes right from there.
    pub fn jump(&self, by: SignedDuration) {
        self.go_on(self.now() + by, 1, Duration::ZERO);
    }

    /// For a while it goes at this rate: 0 is frozen, 2 twice as fast. Then it goes right from where it is.
    pub fn run_at(&self, rate: u32, lasts: Duration) {
        self.go_on(self.now(), rate, lasts);
    }

    fn go_on(&self, shown: Timestamp, rate: u32, lasts: Duration) {
        let since = Instant::now();
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Reading {
            shown,
            since,
            rate,
            lasts,
        };
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_wall_clock_jumps_stops_and_hurries() {
        let beginning = Timestamp::from_second(BEGINNING).unwrap();
        let wall = Wall::showing(beginning);
        let shown = || (wall.now() - beginning).get_seconds();
        tokio::time::advance(Duration::from_secs(5)).await;
        wall.jump(SignedDuration::from_secs(-60));
        assert_eq!(shown(), -55);
        wall.run_at(0, Duration::from_secs(10));
        tokio::time::advance(Duration::from_secs(12)).await;
        assert_eq!(shown(), -53);
        wall.run_at(2, Duration::from_secs(10));
        tokio::time::advance(Duration::from_secs(12)).await;
        assert_eq!(shown(), -31);
    }
}
