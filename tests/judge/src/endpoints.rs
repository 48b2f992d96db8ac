//! Ready endpoints of Services over time.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde_json::Value;
use slipway_crds::names::SERVICE_NAME;
use slipway_kubernetes::fields;

/// Ready endpoints of one Service from a moment on: their number by side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ready {
    /// Since when.
    pub at: Timestamp,
    /// By `pod-template-hash`; the empty text stands for addresses without a pod of a `ReplicaSet`.
    pub by_side: BTreeMap<String, usize>,
}

impl Ready {
    /// Ready endpoints of all sides.
    pub fn total(&self) -> usize {
        self.by_side.values().sum()
    }
}

/// Follows the slices of all watched Services.
#[derive(Clone, Debug, Default)]
pub struct Endpoints {
    /// By slice: its Service and its ready endpoints, named by pod or address.
    slices: BTreeMap<String, (String, BTreeSet<String>)>,
    timelines: BTreeMap<String, Vec<Ready>>,
}

impl Endpoints {
    /// A slice was made or changed.
    pub fn apply(&mut self, slice: &Value, at: Timestamp) {
        let service = fields::label(slice, SERVICE_NAME);
        if !service.is_empty() {
            let state = (service.to_owned(), ready_endpoints(slice));
            self.slices.insert(fields::name(slice).to_owned(), state);
            self.note(service, at);
        }
    }

    /// A slice is gone.
    pub fn delete(&mut self, slice: &Value, at: Timestamp) {
        if let Some((service, _)) = self.slices.remove(fields::name(slice)) {
            self.note(&service, at);
        }
    }

    /// The watch began anew, and these are all slices that there are.
    pub fn replace(&mut self, slices: &[Value], at: Timestamp) {
        let there: BTreeSet<_> = slices.iter().map(fields::name).collect();
        let gone: Vec<_> = self
            .slices
            .extract_if(.., |name, _| !there.contains(name.as_str()))
            .collect();
        for (_, (service, _)) in gone {
            self.note(&service, at);
        }
        for slice in slices {
            self.apply(slice, at);
        }
    }

    /// What was seen of one Service, oldest first; empty when it never had a slice.
    pub fn timeline(&self, service: &str) -> &[Ready] {
        self.timelines.get(service).map_or(&[], Vec::as_slice)
    }

    /// The states of one Service from a moment on, the one that held at that moment included.
    pub fn since(&self, service: &str, at: Timestamp) -> &[Ready] {
        let timeline = self.timeline(service);
        let later = timeline.partition_point(|ready| ready.at <= at);
        &timeline[later.saturating_sub(1)..]
    }

    /// The fewest ready endpoints from a moment on; `None` when nothing was seen.
    pub fn fewest(&self, service: &str, since: Timestamp) -> Option<usize> {
        self.since(service, since).iter().map(Ready::total).min()
    }

    /// The sides that had a ready endpoint from a moment on.
    pub fn sides(&self, service: &str, since: Timestamp) -> BTreeSet<String> {
        let states = self.since(service, since).iter();
        states.flat_map(|ready| ready.by_side.keys().cloned()).collect()
    }

    fn note(&mut self, service: &str, at: Timestamp) {
        let slices = self.slices.values().filter(|(of, _)| of == service);
        let pods: BTreeSet<_> = slices.flat_map(|(_, pods)| pods).collect();
        let mut by_side = BTreeMap::new();
        for pod in pods {
            *by_side.entry(side_of(pod).to_owned()).or_default() += 1;
        }
        let timeline = self.timelines.entry(service.to_owned()).or_default();
        if timeline.last().is_none_or(|last| last.by_side != by_side) {
            timeline.push(Ready { at, by_side });
        }
    }
}

/// Ready endpoints of a slice; an absent condition means ready.
fn ready_endpoints(slice: &Value) -> BTreeSet<String> {
    let endpoints = fields::list(slice, "/endpoints").iter();
    let ready = endpoints.filter(|endpoint| endpoint["conditions"]["ready"] != false);
    let name = |endpoint: &Value| match fields::text(endpoint, "/targetRef/name") {
        "" => fields::text(endpoint, "/addresses/0").to_owned(),
        pod => pod.to_owned(),
    };
    ready.map(name).collect()
}

/// The `pod-template-hash` in the name of a `ReplicaSet`'s pod: `web-59bcf55688-x7k2p`.
fn side_of(pod: &str) -> &str {
    let mut parts = pod.rsplitn(3, '-');
    match (parts.next(), parts.next(), parts.next()) {
        (Some(_), Some(hash), Some(_)) => hash,
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn second(second: i64) -> Timestamp {
        Timestamp::from_second(1_760_000_000 + second).unwrap()
    }

    fn slice(name: &str, pods: &[(&str, bool)]) -> Value {
        let endpoints: Vec<_> = pods
            .iter()
            .map(|(pod, ready)| {
                json!({"addresses": ["10.0.0.1"], "conditions": {"ready": ready},
                    "targetRef": {"kind": "Pod", "name": pod}})
            })
            .collect();
        json!({
            "metadata": {"name": name, "labels": {SERVICE_NAME: "web"}},
            "addressType": "IPv4", "endpoints": endpoints
        })
    }

    #[test]
    fn the_timeline_has_each_change_once_with_its_sides() {
        let mut endpoints = Endpoints::default();
        let old = [
            ("web-old-aaaaa", true),
            ("web-old-bbbbb", true),
            ("web-old-ccccc", false),
        ];
        let new = [
            ("web-new-aaaaa", true),
            ("web-new-bbbbb", true),
            ("web-new-ccccc", true),
        ];
        endpoints.apply(&slice("web-1", &old), second(0));
        endpoints.apply(&slice("web-1", &old), second(1));
        endpoints.apply(&slice("web-1", &new), second(10));
        endpoints.delete(&slice("web-1", &[]), second(20));
        let totals: Vec<_> = endpoints
            .timeline("web")
            .iter()
            .map(|ready| (ready.at, ready.total()))
            .collect();
        assert_eq!(totals, [(second(0), 2), (second(10), 3), (second(20), 0)]);
        assert_eq!(endpoints.fewest("web", second(5)), Some(0));
        assert_eq!(
            endpoints.sides("web", second(5)),
            ["new", "old"].map(str::to_owned).into()
        );
        assert_eq!(endpoints.sides("web", second(15)), ["new".to_owned()].into());
        assert_eq!(endpoints.fewest("other", second(0)), None);
    }

    #[test]
    fn several_slices_add_up_and_a_new_list_forgets_what_is_gone() {
        let mut endpoints = Endpoints::default();
        let slices = [
            slice("a", &[("web-x-aaaaa", true)]),
            slice("b", &[("web-x-bbbbb", true), ("web-x-aaaaa", true)]),
        ];
        endpoints.replace(&slices, second(0));
        assert_eq!(
            endpoints.timeline("web").last().unwrap().by_side,
            [("x".to_owned(), 2)].into()
        );
        endpoints.replace(&slices[..1], second(1));
        assert_eq!(endpoints.timeline("web").last().unwrap().total(), 1);
    }
}
