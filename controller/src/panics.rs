//! Keeps a panic in one reconcile from ending the process.
//!
//! kube's controller runs reconciles in a join set whose handle unwraps: an uncaught panic would travel through
//! the whole stream, end the process, and come back with the same object after the restart, for everyone.

use std::{any::Any, panic::AssertUnwindSafe};

use futures::FutureExt as _;

// With `panic = "abort"` nothing can be caught, and one bad object would stop all releases.
const _: () = assert!(
    cfg!(panic = "unwind"),
    "slipway must be built with panic = \"unwind\""
);

/// A future panicked; the object it worked on is to be quarantined by back-off, a condition and a metric.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("panicked: {message}")]
pub struct Panicked {
    /// What the panic said, when it said something readable.
    pub message: String,
}

/// Runs `work` to its end and turns a panic in it into an error.
///
/// State shared with other objects must not be left half-changed across an await inside `work`; a reconcile
/// keeps none.
pub async fn catch<F: Future>(work: F) -> Result<F::Output, Panicked> {
    AssertUnwindSafe(work)
        .catch_unwind()
        .await
        .map_err(|payload| Panicked {
            message: message_of(payload.as_ref()),
        })
}

/// The text of a panic: `panic!` carries a `&str` or a `String`, everything else has none.
fn message_of(payload: &(dyn Any + Send)) -> String {
    payload
        .downcast_ref::<&str>()
        .map(ToString::to_string)
        .or_else(|| payload.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "no message".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_becomes_an_error_with_its_message() {
        let panicked = catch(async { panic!("object {} is odd", "shop") }).await;
        assert_eq!(
            panicked,
            Err::<(), _>(Panicked {
                message: "object shop is odd".into()
            })
        );

        let panicked = catch(async { panic!("plain") }).await;
        assert_eq!(
            panicked,
            Err::<(), _>(Panicked {
                message: "plain".into()
            })
        );
    }

    #[tokio::test]
    async fn a_panic_after_an_await_is_caught_too() {
        let panicked = catch(async {
            tokio::task::yield_now().await;
            std::panic::panic_any(7);
        })
        .await;
        assert_eq!(
            panicked,
            Err::<(), _>(Panicked {
                message: "no message".into()
            })
        );
    }

    #[tokio::test]
    async fn other_results_pass_through() {
        assert_eq!(catch(async { 7 }).await, Ok(7));
    }
}
