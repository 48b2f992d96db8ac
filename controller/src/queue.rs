//! Which Release is reconciled next: each at most once at a time, at the earliest time that was asked for.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{sync::Notify, time::Instant};

use crate::cache::Key;

#[derive(Debug, Default)]
struct State {
    due: BTreeSet<(Instant, Key)>,
    times: HashMap<Key, Instant>,
    running: HashSet<Key>,
    again: HashMap<Key, Instant>,
}

/// Releases that wait to be reconciled.
#[derive(Debug, Default)]
pub struct Queue {
    state: Mutex<State>,
    changed: Notify,
}

impl State {
    fn schedule(&mut self, key: Key, at: Instant) {
        match self.times.get(&key) {
            Some(known) if *known <= at => return,
            Some(known) => {
                self.due.remove(&(*known, key.clone()));
            }
            None => {}
        }
        self.times.insert(key.clone(), at);
        self.due.insert((at, key));
    }
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks for a pass after a while; an earlier wish stands. One that is being reconciled gets another pass.
    pub fn add(&self, key: Key, after: Duration) {
        let at = Instant::now() + after;
        let mut state = self.lock();
        if state.running.contains(&key) {
            let wish = state.again.entry(key).or_insert(at);
            *wish = at.min(*wish);
        } else {
            state.schedule(key, at);
            drop(state);
            self.changed.notify_one();
        }
    }

    /// The next Release that is due; it is not given to anybody else before [`Queue::done`].
    pub async fn next(&self) -> Key {
        loop {
            let changed = self.changed.notified();
            let wait = {
                let mut state = self.lock();
                match state.due.first().cloned() {
                    Some((at, key)) if at <= Instant::now() => {
                        state.due.remove(&(at, key.clone()));
                        state.times.remove(&key);
                        state.running.insert(key.clone());
                        return key;
                    }
                    Some((at, _)) => Some(at),
                    None => None,
                }
            };
            match wait {
                Some(at) => {
                    tokio::select! {
                        biased;
                        () = changed => {}
                        () = tokio::time::sleep_until(at) => {}
                    }
                }
                None => changed.await,
            }
        }
    }

    /// A pass has ended; the next one is wished for after this long.
    pub fn done(&self, key: &Key, next: Option<Duration>) {
        let mut state = self.lock();
        state.running.remove(key);
        let wishes = [state.again.remove(key), next.map(|after| Instant::now() + after)];
        if let Some(at) = wishes.into_iter().flatten().min() {
            state.schedule(key.clone(), at);
        }
        drop(state);
        self.changed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn one_release_is_never_reconciled_twice_at_a_time() {
        let queue = Queue::default();
        let key = Key::new("shop", "shop");
        queue.add(key.clone(), Duration::ZERO);
        assert_eq!(queue.next().await, key);
        queue.add(key.clone(), Duration::ZERO);
        let waits = tokio::time::timeout(Duration::from_mins(1), queue.next()).await;
        assert!(waits.is_err(), "it is still being reconciled");
        queue.done(&key, None);
        assert_eq!(
            queue.next().await,
            key,
            "what happened meanwhile is not forgotten"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn the_earliest_wish_stands() {
        let queue = Queue::default();
        let key = Key::new("shop", "shop");
        let begin = Instant::now();
        queue.add(key.clone(), Duration::from_mins(1));
        queue.add(key.clone(), Duration::from_secs(5));
        queue.add(key.clone(), Duration::from_secs(30));
        assert_eq!(queue.next().await, key);
        assert_eq!(begin.elapsed(), Duration::from_secs(5));
        queue.done(&key, Some(Duration::from_secs(7)));
        assert_eq!(queue.next().await, key);
        assert_eq!(begin.elapsed(), Duration::from_secs(12));
    }
}
