//! How long to leave an object alone after its reconcile failed.
//!
//! kube's controller gives the error policy no count of attempts, so the counts live here. They are lost with the
//! process on purpose: a new leader may try at once. What must survive a restart stands in the status.

use std::{
    collections::HashMap,
    hash::{BuildHasher as _, DefaultHasher, Hash, Hasher as _, RandomState},
    sync::{Mutex, PoisonError},
    time::Duration,
};

/// The wait after the first failure, before jitter.
pub const FIRST: Duration = Duration::from_secs(1);
/// No wait is longer, whatever a server asks for in `Retry-After`.
pub const CAP: Duration = Duration::from_mins(5);

/// The wait before an attempt, counted from one: `first`, doubled with each, up to `cap`.
pub(crate) fn doubled(first: Duration, attempt: u32, cap: Duration) -> Duration {
    let times = 2_u32.saturating_pow(attempt.saturating_sub(1));
    first.saturating_mul(times).min(cap)
}

/// Counts failures per object and turns them into waits: doubled from [`FIRST`] up to [`CAP`], of which the upper
/// half is jitter, forgotten at the first success.
#[derive(Debug)]
pub struct Backoff<K> {
    failures: Mutex<HashMap<K, u32>>,
    seed: u64,
}

impl<K: Hash + Eq + Clone> Backoff<K> {
    /// Jitter that differs from process to process, so that two replicas do not knock in step.
    pub fn new() -> Self {
        Self::seeded(RandomState::new().hash_one(()))
    }

    /// Jitter that is the same for the same seed, key and count, for tests and simulations.
    pub fn seeded(seed: u64) -> Self {
        Self {
            failures: Mutex::default(),
            seed,
        }
    }

    /// Notes a failure of `key` and says how long to wait. `retry_after` is what the server asked for, if it did.
    pub fn failed(&self, key: &K, retry_after: Option<Duration>) -> Duration {
        let attempt = {
            let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
            let count = failures.entry(key.clone()).or_insert(0);
            *count = count.saturating_add(1);
            *count
        };
        let half = doubled(FIRST, attempt, CAP) / 2;
        let wait = half + half.mul_f64(self.jitter(key, attempt));
        wait.max(retry_after.unwrap_or_default().min(CAP))
    }

    /// Forgets the failures of `key`: it succeeded, or it is gone.
    pub fn succeeded(&self, key: &K) {
        self.failures
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(key);
    }

    /// A number in 0..1 from seed, key and count.
    fn jitter(&self, key: &K, attempt: u32) -> f64 {
        let mut hasher = DefaultHasher::new();
        (self.seed, key, attempt).hash(&mut hasher);
        f64::from(u32::try_from(hasher.finish() >> 32).unwrap_or(0)) / f64::from(u32::MAX)
    }
}

impl<K: Hash + Eq + Clone> Default for Backoff<K> {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_with_jitter_in_the_upper_half_up_to_the_cap() {
        let backoff = Backoff::seeded(7);
        for attempt in 0..40_u32 {
            let full = FIRST.saturating_mul(2_u32.saturating_pow(attempt)).min(CAP);
            let wait = backoff.failed(&"shop", None);
            assert!(
                wait >= full / 2 && wait <= full,
                "attempt {attempt}: {wait:?} of {full:?}"
            );
        }
    }

    #[test]
    fn success_resets_only_its_own_object() {
        let backoff = Backoff::seeded(7);
        for _ in 0..6 {
            backoff.failed(&"shop", None);
            backoff.failed(&"blog", None);
        }
        backoff.succeeded(&"shop");
        assert!(backoff.failed(&"shop", None) <= FIRST);
        assert!(backoff.failed(&"blog", None) >= Duration::from_secs(32));
    }

    #[test]
    fn what_the_server_asks_for_is_honoured_up_to_the_cap() {
        let backoff = Backoff::seeded(7);
        assert_eq!(
            backoff.failed(&"shop", Some(Duration::from_secs(30))),
            Duration::from_secs(30)
        );
        assert_eq!(backoff.failed(&"shop", Some(Duration::from_secs(9999))), CAP);
        for _ in 0..20 {
            backoff.failed(&"shop", None);
        }
        assert!(backoff.failed(&"shop", Some(Duration::from_secs(1))) >= CAP / 2);
    }

    #[test]
    fn jitter_is_the_same_for_a_seed_and_differs_between_objects() {
        let waits = |seed| {
            let backoff = Backoff::seeded(seed);
            ["shop", "blog", "pay"].map(|key| backoff.failed(&key, None))
        };
        assert_eq!(waits(7), waits(7));
        assert_ne!(waits(7), waits(8));
        let [shop, blog, pay] = waits(7);
        assert!(shop != blog && blog != pay);
    }
}
