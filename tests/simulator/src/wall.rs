//! The wall clocks of the controller's machines, over tokio's paused clock.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};
use slipway_kubernetes::clock::after;
use tokio::time::Instant;

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
        let gone_by = self.since.elapsed();
        let off = gone_by.min(self.lasts);
        after(self.shown, off * self.rate + gone_by.saturating_sub(off))
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

#[cfg(test)]
mod tests {
    use slipway_kubernetes::clock::BEGINNING;

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
