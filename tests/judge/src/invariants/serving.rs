//! Serving: a Service never has fewer ready endpoints than before because of a release.
//!
//! On a real cluster tests take pods away themselves, so that each asks its own question of
//! [`crate::endpoints::Endpoints`].

use std::collections::BTreeSet;

use serde_json::Map;
use slipway_kubernetes::{fields, kind::Kind};

use super::{History, Violation};
use crate::oracle::Oracle;

/// A Service never has fewer ready endpoints than this, once it had as many.
pub(super) fn floor(history: History<'_>, floor: usize, found: &mut Vec<Violation>) {
    let mut oracle = Oracle::default();
    oracle.observe(history.changes);
    let selects = |service| !fields::map(service, "/spec/selector").is_none_or(Map::is_empty);
    let changes = history.changes.iter();
    let services: BTreeSet<_> = changes
        .filter(|change| change.key.kind == Kind::Service && selects(&change.object))
        .map(|change| (change.key.namespace.as_str(), change.key.name.as_str()))
        .collect();
    for (namespace, service) in services {
        let served = oracle.timeline(namespace, service).iter();
        let mut served = served.skip_while(|ready| ready.total() < floor);
        if let Some(low) = served.find(|ready| ready.total() < floor) {
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
