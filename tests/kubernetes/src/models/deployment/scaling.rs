//! Sizes: surge and unavailability, and proportional scaling.

use std::sync::Arc;

use serde_json::Value;

use super::{Rollout, created, size};
use crate::{
    fields,
    kind::Kind,
    store::{Key, Part},
};

/// The size of the Deployment when its ReplicaSet was scaled last.
pub(super) const DESIRED: &str = "deployment.kubernetes.io/desired-replicas";
/// The same with the surge.
pub(super) const MAXIMUM: &str = "deployment.kubernetes.io/max-replicas";

impl Rollout<'_> {
    /// The pods that there may be beyond, and the pods that may be missing from, the wanted number.
    fn fenceposts(&self) -> (i64, i64) {
        if self.recreates() {
            return (0, 0);
        }
        let unavailable = self
            .deployment
            .pointer("/spec/strategy/rollingUpdate/maxUnavailable");
        let unavailable = share(unavailable.unwrap_or(&Value::Null), self.wanted(), false);
        let surge = self.surge_for_new();
        if surge == 0 && unavailable == 0 {
            (0, 1)
        } else {
            (surge, unavailable)
        }
    }

    fn max_surge(&self) -> i64 {
        self.fenceposts().0
    }

    /// The surge for a new ReplicaSet, which is read without the fenceposts.
    pub(super) fn surge_for_new(&self) -> i64 {
        let surge = self.deployment.pointer("/spec/strategy/rollingUpdate/maxSurge");
        share(surge.unwrap_or(&Value::Null), self.wanted(), true)
    }

    pub(super) fn max_unavailable(&self) -> i64 {
        if self.wanted() == 0 {
            0
        } else {
            self.fenceposts().1.min(self.wanted())
        }
    }

    /// Scales what is there: the only active ReplicaSet, the old ones away when the new one is complete, or
    /// all of them in proportion.
    pub(super) fn scale(&mut self) {
        let wanted = self.wanted();
        if let Some(only) = self.active_or_latest() {
            self.resize(&only, wanted);
        } else if self.is_saturated() {
            for old in self.old.clone().iter().filter(|set| size(set) > 0) {
                self.resize(old, 0);
            }
        } else if !self.recreates() {
            self.scale_in_proportion();
        }
    }

    fn scale_in_proportion(&mut self) {
        let mut active: Vec<_> = self.all().filter(|set| size(set) > 0).cloned().collect();
        let total = active.iter().map(|set| size(set)).sum::<i64>();
        let allowed = if self.wanted() > 0 {
            self.wanted() + self.max_surge()
        } else {
            0
        };
        let change = allowed - total;
        // The largest first; among equals the newer one when growing, the older one when shrinking.
        active.sort_by_key(|set| created(set));
        if change > 0 {
            active.reverse();
        }
        active.sort_by_key(|set| -size(set));
        let mut done = 0;
        let mut sizes = Vec::new();
        for set in &active {
            let share = self.proportion(set, change, done);
            done += share;
            sizes.push(size(set) + share);
        }
        if let Some(first) = sizes.first_mut() {
            *first = (*first + change - done).max(0);
        }
        for (set, wanted) in active.iter().zip(sizes) {
            self.write_size(set, wanted);
        }
    }

    /// The part of a change that falls to one ReplicaSet.
    fn proportion(&self, set: &Value, change: i64, done: i64) -> i64 {
        let allowed = change - done;
        if size(set) == 0 || change == 0 || allowed == 0 {
            return 0;
        }
        let fraction = self.fraction(set);
        if change > 0 {
            fraction.min(allowed)
        } else {
            fraction.max(allowed)
        }
    }

    fn fraction(&self, set: &Value) -> i64 {
        let current = size(set);
        if self.wanted() == 0 {
            return -current;
        }
        let before = fields::annotation(set, MAXIMUM).parse().unwrap_or_default();
        let before = if before == 0 {
            fields::count(&self.deployment, "/status/replicas")
        } else {
            before
        };
        if before == 0 {
            return 0;
        }
        // Rounded half up, in whole numbers.
        let scaled = current * (self.wanted() + self.max_surge());
        (2 * scaled + before) / (2 * before) - current
    }

    /// The only active ReplicaSet; without any the new one or the newest. None when there are several.
    fn active_or_latest(&self) -> Option<Arc<Value>> {
        let mut active = self.all().filter(|set| size(set) > 0);
        match (active.next(), active.next()) {
            (None, _) => self.new.clone().or_else(|| self.old.last().cloned()),
            (Some(only), None) => Some(Arc::clone(only)),
            (Some(_), Some(_)) => None,
        }
    }

    /// Whether the new ReplicaSet alone serves as many as are wanted.
    fn is_saturated(&self) -> bool {
        self.new.as_ref().is_some_and(|new| {
            let wanted = self.wanted();
            fields::annotation(new, DESIRED).parse() == Ok(wanted)
                && size(new) == wanted
                && fields::count(new, "/status/availableReplicas") == wanted
        })
    }

    /// Gives a ReplicaSet another size. Returns whether it had a different one.
    pub(super) fn resize(&mut self, set: &Arc<Value>, wanted: i64) -> bool {
        if size(set) == wanted {
            return false;
        }
        self.write_size(set, wanted);
        true
    }

    fn write_size(&mut self, set: &Arc<Value>, wanted: i64) {
        let mut changed = Value::clone(set);
        fields::set(&mut changed, "/spec/replicas", wanted);
        self.annotate_scale(&mut changed);
        if changed == **set {
            return;
        }
        let key = Key::of(Kind::ReplicaSet, set);
        let written = self.put(key, changed, Part::Main);
        let uid = fields::uid(&written).to_owned();
        for place in self
            .old
            .iter_mut()
            .chain(&mut self.new)
            .filter(|place| fields::uid(place) == uid)
        {
            *place = Arc::clone(&written);
        }
    }

    /// Records on a ReplicaSet for which size of the Deployment it was scaled.
    pub(super) fn annotate_scale(&self, set: &mut Value) {
        let wanted = self.wanted();
        let most = wanted + self.max_surge();
        for (key, value) in [(DESIRED, wanted), (MAXIMUM, most)] {
            fields::set(
                set,
                &format!("/metadata/annotations/{}", fields::escape(key)),
                value.to_string(),
            );
        }
    }
}

/// A number, or a percentage of the wanted number.
fn share(value: &Value, wanted: i64, up: bool) -> i64 {
    if let Some(number) = value.as_i64() {
        return number;
    }
    let percent = value
        .as_str()
        .and_then(|text| text.strip_suffix('%')?.parse::<i64>().ok());
    let exact = wanted * percent.unwrap_or_default();
    if up { (exact + 99) / 100 } else { exact / 100 }
}
