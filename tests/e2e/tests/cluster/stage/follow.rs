//! Follows one Release by a watch, so that a test waits for what it wants to see and for nothing else.

use std::{sync::Arc, time::Duration};

use futures::StreamExt;
use kube::{
    Api, Client,
    runtime::{WatchStreamExt, watcher, watcher::watch_object},
};
use slipway_crds::v1alpha1::Release;
use tokio::{sync::watch, task::JoinSet, time::timeout};

/// The newest state of a Release.
#[derive(Debug)]
pub(crate) struct Follower {
    newest: watch::Receiver<Option<Arc<Release>>>,
    _task: JoinSet<()>,
}

impl Follower {
    /// Begins.
    pub(crate) fn start(client: &Client, namespace: &str, name: &str) -> Self {
        let api: Api<Release> = Api::namespaced(client.clone(), namespace);
        let (sender, newest) = watch::channel(None);
        let name = name.to_owned();
        let mut task = JoinSet::new();
        task.spawn(async move {
            let mut states = watch_object(api, &name).default_backoff().boxed();
            while let Some(state) = states.next().await {
                // A watch that broke off begins anew by itself.
                let Ok::<Option<Release>, watcher::Error>(state) = state else {
                    continue;
                };
                sender.send_replace(state.map(Arc::new));
            }
        });
        Self { newest, _task: task }
    }

    /// The newest state that was seen; none while there is no Release.
    pub(crate) fn now(&self) -> Option<Arc<Release>> {
        self.newest.borrow().clone()
    }

    /// Waits until a state is as wanted; none when the patience was over first.
    pub(crate) async fn until(
        &self,
        patience: Duration,
        is_so: impl Fn(Option<&Release>) -> bool,
    ) -> Option<Option<Arc<Release>>> {
        let mut newest = self.newest.clone();
        let found = newest.wait_for(|state| is_so(state.as_deref()));
        let found = timeout(patience, found).await.ok()?.ok()?;
        Some(found.clone())
    }
}

/// Whether status is about the spec as it is now.
pub(crate) fn is_current(release: &Release) -> bool {
    let observed = release
        .status
        .as_ref()
        .and_then(|status| status.observed_generation);
    observed >= release.metadata.generation
}
