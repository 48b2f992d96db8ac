//! Whether this process may write, known at any instant without asking anybody.

use std::{future::poll_fn, pin::pin, task::Poll};

use tokio::{sync::watch, time::Instant};

/// The end of the time in which writes are allowed; none while this process does not lead.
type Until = Option<Instant>;

/// Open while the last renewal of the Lease is recent enough, on the monotonic clock of this machine. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Fence {
    until: watch::Receiver<Until>,
}

/// Opens and closes the [`Fence`] it was made with. When it is dropped the fence falls shut at its time.
#[derive(Debug)]
pub struct FenceKeeper {
    until: watch::Sender<Until>,
}

/// A fence, closed.
pub fn fence() -> (FenceKeeper, Fence) {
    let (sender, receiver) = watch::channel(None);
    (FenceKeeper { until: sender }, Fence { until: receiver })
}

impl FenceKeeper {
    /// Allows writes before `until`; `None` closes the fence at once.
    pub fn set(&self, until: Option<Instant>) {
        self.until.send_if_modified(|current| {
            let changed = *current != until;
            *current = until;
            changed
        });
    }
}

impl Fence {
    /// A fence that stays open, for programs that need no Lease: the simulator, tests of single calls.
    pub fn always_open() -> Self {
        let far = Instant::now() + std::time::Duration::from_hours(24 * 365 * 30);
        Self {
            until: watch::channel(Some(far)).1,
        }
    }

    /// Whether a write may be sent now.
    pub fn allows_writes(&self) -> bool {
        self.until.borrow().is_some_and(|until| Instant::now() < until)
    }

    /// Waits until the fence is closed; at once if it is.
    pub async fn closed(&self) {
        let mut until = self.until.clone();
        loop {
            let now_until = *until.borrow_and_update();
            match now_until {
                Some(at) if Instant::now() < at => {
                    tokio::select! {
                        biased;
                        () = tokio::time::sleep_until(at) => {}
                        // An error says that the keeper is gone: what remains is the time.
                        Err(_) = until.changed() => tokio::time::sleep_until(at).await,
                        else => {}
                    }
                }
                Some(_) | None => return,
            }
        }
    }

    /// Runs `write` as long as the fence is open. `None`: it closed before `write` had ended, and `write` was
    /// dropped without another poll. The fence is looked at before every poll, so a process that slept through
    /// the end of its time finds it closed when it wakes, before it sends anything.
    pub async fn guard<F: Future>(&self, write: F) -> Option<F::Output> {
        let mut write = pin!(write);
        let mut closed = pin!(self.closed());
        poll_fn(|context| {
            if !self.allows_writes() || closed.as_mut().poll(context).is_ready() {
                return Poll::Ready(None);
            }
            write.as_mut().poll(context).map(Some)
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn open_until_its_time_and_longer_when_extended() {
        let (keeper, fence) = fence();
        assert!(!fence.allows_writes());
        fence.closed().await;

        let start = Instant::now();
        keeper.set(Some(start + 10 * SECOND));
        assert!(fence.allows_writes());
        let waiting = tokio::spawn({
            let fence = fence.clone();
            async move {
                fence.closed().await;
                start.elapsed()
            }
        });
        tokio::time::sleep(5 * SECOND).await;
        keeper.set(Some(start + 15 * SECOND));
        assert_eq!(waiting.await.unwrap(), 15 * SECOND);
        assert!(!fence.allows_writes());
    }

    #[tokio::test(start_paused = true)]
    async fn closing_early_ends_the_wait_and_the_write() {
        let (keeper, fence) = fence();
        keeper.set(Some(Instant::now() + 10 * SECOND));
        let write = tokio::spawn({
            let fence = fence.clone();
            async move { fence.guard(std::future::pending::<()>()).await }
        });
        tokio::time::sleep(SECOND).await;
        keeper.set(None);
        assert_eq!(tokio::time::timeout(SECOND, write).await.unwrap().unwrap(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_keeper_that_is_gone_closes_the_fence_at_its_time() {
        let (keeper, fence) = fence();
        let start = Instant::now();
        keeper.set(Some(start + 10 * SECOND));
        drop(keeper);
        fence.closed().await;
        assert_eq!(start.elapsed(), 10 * SECOND);
    }

    #[tokio::test(start_paused = true)]
    async fn a_process_that_slept_sends_nothing_when_it_wakes() {
        let (keeper, fence) = fence();
        keeper.set(Some(Instant::now() + 10 * SECOND));
        let polled = std::cell::Cell::new(0);
        let write = poll_fn(|context| {
            polled.set(polled.get() + 1);
            if polled.get() == 1 {
                context.waker().wake_by_ref();
                return Poll::Pending;
            }
            Poll::Ready(())
        });
        let guarded = fence.guard(write);
        let mut guarded = pin!(guarded);
        assert!(futures::poll!(guarded.as_mut()).is_pending());
        tokio::time::advance(60 * SECOND).await;
        assert_eq!(guarded.await, None);
        assert_eq!(polled.get(), 1);
    }
}
