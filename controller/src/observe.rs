//! All reads: from the caches, and live where a step asks. A read that fails is an answer of its own, and no error.

mod answers;
pub mod live;
mod search;

pub(crate) use search::client as search_client;

use jiff::Timestamp;
use slipway_engine::{Intent, Observed, Progress, questions};

use crate::context::Context;

/// Looks at everything that a decision wants to know.
pub async fn observe(context: &Context, intent: &Intent, committed: &Progress, now: Timestamp) -> Observed {
    let mut observed = cached(context, intent, committed);
    let asked = questions(intent, committed, &observed, now);
    observed.answers = answers::of(context, intent, &observed, asked, now).await;
    observed
}

/// What the caches hold of what concerns a Release.
pub fn cached(context: &Context, intent: &Intent, committed: &Progress) -> Observed {
    Observed {
        guard: context.guard,
        ..context.caches.observed(intent, committed)
    }
}
