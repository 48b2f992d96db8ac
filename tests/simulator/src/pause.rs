//! A process that is stopped as a whole, as by SIGSTOP: its tasks do nothing while all clocks go on.

use std::{
    future::poll_fn,
    pin::{Pin, pin},
    sync::{Arc, Mutex, PoisonError},
    task::Poll,
};

use tokio::time::{Instant, Sleep, sleep_until};

/// Whether one process is stopped, and until when.
#[derive(Clone, Debug, Default)]
pub struct Pause(Arc<Mutex<Option<Instant>>>);

impl Pause {
    /// Stops the process until this instant.
    pub fn until(&self, end: Instant) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(end);
    }

    /// When the process goes on; none while it runs.
    fn end(&self) -> Option<Instant> {
        let end = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        end.filter(|end| Instant::now() < *end)
    }

    /// Waits until the process runs.
    pub async fn over(&self) {
        while let Some(end) = self.end() {
            sleep_until(end).await;
        }
    }

    /// A task of the process: it is not polled while the process is stopped.
    pub async fn obeyed<F: Future>(self, work: F) -> F::Output {
        let mut work = pin!(work);
        let mut asleep: Option<Pin<Box<Sleep>>> = None;
        poll_fn(|context| {
            while let Some(end) = self.end() {
                let sleep = asleep.insert(Box::pin(sleep_until(end)));
                if sleep.as_mut().poll(context).is_pending() {
                    return Poll::Pending;
                }
            }
            work.as_mut().poll(context)
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_stopped_task_sees_its_deadline_only_when_it_wakes() {
        let (pause, started) = (Pause::default(), Instant::now());
        let work = async move {
            tokio::time::sleep(Duration::from_secs(10)).await;
            started.elapsed()
        };
        let task = tokio::spawn(pause.clone().obeyed(work));
        tokio::time::sleep(Duration::from_secs(1)).await;
        pause.until(Instant::now() + Duration::from_mins(1));
        assert_eq!(task.await.unwrap(), Duration::from_secs(61));
    }
}
