//! When each ReplicaSet had its pods: watched, so that waiting for pods can be told from the controller's work.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use futures::{StreamExt, TryStreamExt};
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::ReplicaSet;
use kube::{
    Api, Client, ResourceExt,
    runtime::{WatchStreamExt, watcher},
};
use tokio::task::JoinHandle;

/// The sizes of one ReplicaSet from a moment on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Size {
    at: Timestamp,
    wanted: i32,
    there: i32,
    ready: i32,
}

/// The sizes of all ReplicaSets over time, by name.
#[derive(Clone, Debug, Default)]
pub struct Sides(BTreeMap<String, Vec<Size>>);

impl Sides {
    /// When it first had all the pods that it wanted, and at least one, from a moment on.
    pub fn full_at(&self, name: &str, since: Timestamp) -> Option<Timestamp> {
        let is_full = |size: &&Size| size.at >= since && size.wanted > 0 && size.ready >= size.wanted;
        self.0.get(name)?.iter().find(is_full).map(|size| size.at)
    }

    /// When its last pod was gone.
    pub fn gone_at(&self, name: &str) -> Option<Timestamp> {
        let sizes = self.0.get(name)?;
        let last = sizes.iter().rposition(|size| size.there > 0)?;
        sizes.get(last + 1).map(|size| size.at)
    }

    fn add(&mut self, set: &ReplicaSet, at: Timestamp) {
        let status = set.status.clone().unwrap_or_default();
        let size = Size {
            at,
            wanted: set.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(0),
            there: status.replicas,
            ready: status.ready_replicas.unwrap_or(0),
        };
        let sizes = self.0.entry(set.name_any()).or_default();
        let same =
            |last: &Size| (last.wanted, last.there, last.ready) == (size.wanted, size.there, size.ready);
        if !sizes.last().is_some_and(same) {
            sizes.push(size);
        }
    }
}

/// A running watch; dropping it ends it.
pub struct Watching {
    sides: Arc<Mutex<Sides>>,
    task: JoinHandle<()>,
}

impl Watching {
    /// Begins to watch the ReplicaSets of a namespace.
    pub fn start(client: Client, namespace: &str) -> Self {
        let sides = Arc::new(Mutex::new(Sides::default()));
        let task = tokio::spawn(follow(Api::namespaced(client, namespace), Arc::clone(&sides)));
        Self { sides, task }
    }

    /// What was seen up to now.
    pub fn sides(&self) -> Sides {
        self.sides
            .lock()
            .expect("nobody panics while adding a size")
            .clone()
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn follow(api: Api<ReplicaSet>, sides: Arc<Mutex<Sides>>) {
    let mut sets = watcher(api, watcher::Config::default())
        .default_backoff()
        .applied_objects()
        .boxed();
    loop {
        match sets.try_next().await {
            Ok(Some(set)) => sides
                .lock()
                .expect("nobody panics while adding a size")
                .add(&set, Timestamp::now()),
            Ok(None) => return,
            // The watch goes on by itself after a pause.
            Err(error) => tracing::debug!(%error, "the watch of ReplicaSets broke off"),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn seen(sizes: &[(i64, i32, i32, i32)]) -> Sides {
        let mut seen = Sides::default();
        for (at, wanted, there, ready) in sizes {
            let set = json!({"metadata": {"name": "web-1"}, "spec": {"replicas": wanted, "selector": {}},
                "status": {"replicas": there, "readyReplicas": ready}});
            seen.add(
                &serde_json::from_value(set).unwrap(),
                Timestamp::from_second(*at).unwrap(),
            );
        }
        seen
    }

    #[test]
    fn a_side_is_full_when_all_its_pods_are_ready_and_gone_with_the_last() {
        let sides = seen(&[
            (1, 3, 0, 0),
            (2, 3, 3, 1),
            (3, 3, 3, 3),
            (4, 0, 3, 3),
            (5, 0, 1, 0),
            (6, 0, 0, 0),
        ]);
        assert_eq!(
            sides.full_at("web-1", Timestamp::MIN),
            Timestamp::from_second(3).ok()
        );
        assert_eq!(sides.gone_at("web-1"), Timestamp::from_second(6).ok());
        assert_eq!(sides.full_at("web-2", Timestamp::MIN), None);
    }

    #[test]
    fn a_side_that_has_pods_is_not_gone() {
        let sides = seen(&[(1, 0, 0, 0), (2, 3, 3, 3)]);
        assert_eq!(sides.gone_at("web-1"), None);
    }
}
