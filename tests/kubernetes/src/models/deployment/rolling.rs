//! The two strategies.

use std::sync::Arc;

use serde_json::Value;

use super::{HASH, Rollout, progress, size};
use crate::{fields, kind::Kind};

impl Rollout<'_> {
    /// One step of a rolling update: up if possible, else down if possible, else clean up when complete.
    pub(super) fn roll(&mut self) {
        let Some(new) = self.ensure_new() else {
            return;
        };
        if self.grow_new(&new) || self.shrink_old() {
            return;
        }
        if progress::is_complete(&self.deployment, &self.deployment["status"]) {
            self.clean_up();
        }
    }

    fn grow_new(&mut self, new: &Arc<Value>) -> bool {
        let (current, wanted) = (size(new), self.wanted());
        if current == wanted {
            return false;
        }
        let target = if current > wanted {
            wanted
        } else {
            self.new_size(current)
        };
        self.resize(new, target)
    }

    /// Scales old ReplicaSets down as far as enough pods stay available: those that are not available
    /// first, from the oldest ReplicaSet on.
    fn shrink_old(&mut self) -> bool {
        if self.old.iter().all(|set| size(set) == 0) {
            return false;
        }
        let minimum = self.wanted() - self.max_unavailable();
        let total = self.all().map(|set| size(set)).sum::<i64>();
        let new_unavailable = self.new.as_ref().map_or(0, |new| size(new) - available(new));
        let most = total - minimum - new_unavailable;
        if most <= 0 {
            return false;
        }
        let cleaned = self.clean_unhealthy(most);
        let spare = self.all().map(|set| available(set)).sum::<i64>() - minimum;
        let scaled = self.shrink_available(spare);
        cleaned + scaled > 0
    }

    fn clean_unhealthy(&mut self, most: i64) -> i64 {
        let mut done = 0;
        for set in self.old.clone() {
            let unhealthy = size(&set) - available(&set);
            if done < most && unhealthy > 0 {
                let count = unhealthy.min(most - done);
                self.resize(&set, size(&set) - count);
                done += count;
            }
        }
        done
    }

    fn shrink_available(&mut self, spare: i64) -> i64 {
        let mut done = 0;
        for set in self.old.clone() {
            if done < spare && size(&set) > 0 {
                let count = size(&set).min(spare - done);
                self.resize(&set, size(&set) - count);
                done += count;
            }
        }
        done
    }

    /// One step of a replacement: all old pods gone first, then the new ones.
    pub(super) fn recreate(&mut self) {
        self.follow_revision();
        let mut scaled = false;
        for set in self.old.clone() {
            scaled |= self.resize(&set, 0);
        }
        if scaled || self.old_pods_run() {
            return;
        }
        let Some(new) = self.ensure_new() else {
            return;
        };
        let wanted = self.wanted();
        self.resize(&new, wanted);
        if progress::is_complete(&self.deployment, &self.deployment["status"]) {
            self.clean_up();
        }
    }

    fn old_pods_run(&self) -> bool {
        let hashes: Vec<_> = self.old.iter().map(|set| fields::label(set, HASH)).collect();
        let mut pods = self.store.list(Kind::Pod, Some(&self.key.namespace));
        pods.any(|(_, pod)| hashes.contains(&fields::label(pod, HASH)) && !fields::finished(pod))
    }
}

fn available(set: &Value) -> i64 {
    fields::count(set, "/status/availableReplicas")
}
