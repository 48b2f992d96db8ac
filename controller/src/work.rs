//! The loop over the queue: a bounded number of passes at a time, none of which can disturb another.

use std::{sync::Arc, time::Duration};

use futures::FutureExt as _;
use k8s_openapi::api::core::v1::ObjectReference;
use kube::{Resource as _, runtime::events::EventType};
use slipway_crds::v1alpha1::Phase;
use tokio::{sync::Semaphore, task::JoinSet, time::Instant};
use tracing::Instrument as _;

use crate::{
    backoff::Backoff,
    cache::Key,
    client::retry_after,
    context::Context,
    error::{chain, class},
    execute,
    leader::Leadership,
    panics,
    queue::Queue,
    reconcile::{Error, reconcile},
    watch::Relist,
};

/// One pass takes at most this long; each call has a deadline of its own.
const LONGEST: Duration = Duration::from_mins(2);

/// How much is done at a time, and how soon again.
#[derive(Debug)]
pub struct Limits {
    /// Passes at a time.
    pub concurrency: usize,
    /// The pauses after failures.
    pub backoff: Backoff<Key>,
}

impl Limits {
    /// So many passes at a time, and pauses with a jitter of this process's own.
    pub fn new(concurrency: usize) -> Self {
        Self {
            concurrency,
            backoff: Backoff::new(),
        }
    }
}

/// Reconciles what is due while this process leads, until `stop`. Then the passes that run are brought to their
/// end.
///
/// Decisions rest on whole lists that were read in this term: a watch may not have told yet what the leader
/// before has done.
pub async fn work(
    context: Arc<Context>,
    queue: Arc<Queue>,
    leadership: Leadership,
    relist: Relist,
    limits: Limits,
    stop: impl Future<Output = ()>,
) {
    let places = Arc::new(Semaphore::new(limits.concurrency));
    let backoff = Arc::new(limits.backoff);
    let mut passes = JoinSet::new();
    let stop = stop.shared();
    loop {
        tokio::select! {
            biased;
            () = stop.clone() => break,
            () = leadership.gained() => {}
        }
        tokio::select! {
            biased;
            () = stop.clone() => break,
            () = leadership.lost() => continue,
            () = relist.read() => {}
        }
        // A new leader reconciles everything once.
        for key in context.caches.releases.keys() {
            queue.add(key, Duration::ZERO);
        }
        loop {
            let place = places.clone().acquire_owned();
            let next = async { (place.await, queue.next().await) };
            let (place, key) = tokio::select! {
                biased;
                () = stop.clone() => break,
                () = leadership.lost() => break,
                next = next => next,
            };
            while passes.try_join_next().is_some() {}
            let (context, queue, backoff) = (context.clone(), queue.clone(), backoff.clone());
            passes.spawn(Box::pin(async move {
                pass(&context, &queue, &backoff, &key).await;
                drop(place);
            }));
        }
        while passes.join_next().await.is_some() {}
        if stop.clone().now_or_never().is_some() {
            break;
        }
    }
}

async fn pass(context: &Context, queue: &Queue, backoff: &Backoff<Key>, key: &Key) {
    let span = span(context, key);
    let begun = Instant::now();
    let reconciled = tokio::time::timeout(LONGEST, Box::pin(reconcile(context, key)));
    let ended = panics::catch(reconciled.instrument(span.clone())).await;
    let _entered = span.enter();
    let (result, next) = match ended {
        Ok(Ok(Ok(next))) => {
            backoff.succeeded(key);
            ("done", next)
        }
        Ok(Ok(Err(error))) => {
            let asked = source(&error).and_then(retry_after);
            let pause = backoff.failed(key, asked);
            complain(context, key, &error, pause);
            (class(&error), Some(pause))
        }
        Ok(Err(_elapsed)) => {
            tracing::error!(after = ?LONGEST, "this pass was given up");
            ("timeout", Some(backoff.failed(key, None)))
        }
        Err(panicked) => {
            let pause = backoff.failed(key, None);
            tracing::error!(error = %panicked, ?pause, "a panic; this Release rests for a while, the others go on");
            ("panicked", Some(pause))
        }
    };
    context.metrics.reconciled(result, begun.elapsed());
    queue.done(key, next);
}

/// What stands with every line that is logged in a pass: the Release, with revision and phase as the pass begins.
fn span(context: &Context, key: &Key) -> tracing::Span {
    let release = context.caches.releases.get(key);
    let status = release.as_ref().and_then(|release| release.status.as_ref());
    let revision = status.and_then(|status| status.revision.as_ref());
    tracing::info_span!(
        "release",
        namespace = key.namespace,
        name = key.name,
        revision = revision.map(|revision| revision.name.as_str()),
        phase = status.and_then(|status| status.phase).map(Phase::word),
    )
}

fn source(error: &Error) -> Option<&kube::Error> {
    match error {
        Error::Commit(source)
        | Error::ReadAgain(source)
        | Error::Execute(execute::Error::Kubernetes { source, .. }) => Some(source),
        Error::Execute(execute::Error::Search { .. } | execute::Error::NoSearch { .. })
        | Error::Invariant(_)
        | Error::Restless => None,
    }
}

/// What was refused is told in an event; what only failed on the way is logged.
fn complain(context: &Context, key: &Key, error: &Error, pause: Duration) {
    let whole = chain(error);
    tracing::warn!(error = whole, ?pause, "tried again after a pause");
    let refused = source(error)
        .is_some_and(|source| matches!(source, kube::Error::Api(status) if matches!(status.code, 403 | 422)));
    let own = matches!(error, Error::Invariant(_) | Error::Restless);
    if let Some(release) = context.caches.releases.get(key).filter(|_| refused || own) {
        let about: ObjectReference = release.object_ref(&());
        let reason = if own { "InternalError" } else { "CallRefused" };
        context
            .events
            .publish(about, EventType::Warning, reason, reason, &whole);
    }
}
