//! Traffic: somebody always answers, and what answers reads an index that is there.

use jiff::Timestamp;
use slipway_kubernetes::{
    fields,
    kind::Kind,
    search::NameChange,
    store::{Change, Event},
};

use super::{History, Violation};
use crate::{oracle::Oracle, past::Past};

/// The variable that tells a pod which indices to read.
pub const GENERATION: &str = "SEARCH_INDEX_GENERATION";

/// Looks at what gets traffic after a change.
pub(super) fn see(
    change: &Change,
    past: &Past,
    name_changes: &[(Timestamp, NameChange)],
    found: &mut Vec<Violation>,
) {
    if change.key.kind != Kind::EndpointSlice || change.event == Event::Deleted {
        return;
    }
    for endpoint in fields::list(&change.object, "/endpoints") {
        let pod = fields::text(endpoint, "/targetRef/name");
        let Some(pod) = past.get(Kind::Pod, &change.key.namespace, pod) else {
            continue;
        };
        let generation = slipway_kubernetes::models::behaviour::variable(pod, GENERATION);
        if fields::flag(endpoint, "/conditions/ready")
            && !generation.is_empty()
            && !exists(name_changes, generation, change.at)
        {
            found.push(Violation {
                invariant: "pairing",
                at: change.at,
                what: format!(
                    "{} gets traffic, and there is no index {generation}",
                    fields::name(pod)
                ),
            });
        }
    }
}

/// Whether an index of a generation was there at a time.
fn exists(name_changes: &[(Timestamp, NameChange)], generation: &str, at: Timestamp) -> bool {
    let mut there = false;
    for (_, renamed) in name_changes.iter().take_while(|(when, _)| *when <= at) {
        match renamed {
            NameChange::Created { index, .. } if index.ends_with(generation) => there = true,
            NameChange::Deleted { index, .. } if index.ends_with(generation) => there = false,
            _ => {}
        }
    }
    there
}

/// A Service never has fewer ready endpoints than this, once it had as many.
pub(super) fn floor(history: History<'_>, floor: usize, found: &mut Vec<Violation>) {
    let mut oracle = Oracle::default();
    oracle.observe(history.changes);
    let mut services: Vec<(&str, &str)> = history
        .changes
        .iter()
        .filter(|change| change.key.kind == Kind::Service)
        .filter(|change| !fields::map(&change.object, "/spec/selector").is_none_or(serde_json::Map::is_empty))
        .map(|change| (change.key.namespace.as_str(), change.key.name.as_str()))
        .collect();
    services.sort_unstable();
    services.dedup();
    for (namespace, service) in services {
        let samples = oracle.samples(namespace, service).iter();
        let served = samples.skip_while(|sample| sample.total() < floor);
        if let Some(low) = served.into_iter().find(|sample| sample.total() < floor) {
            found.push(Violation {
                invariant: "serving",
                at: low.at,
                what: format!(
                    "Service {service} has {} ready endpoints; never fewer than {floor} were to be",
                    low.total()
                ),
            });
        }
    }
}
