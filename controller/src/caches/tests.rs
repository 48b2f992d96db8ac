use std::collections::BTreeSet;

use kube::core::DynamicObject;
use serde_json::{Value, json};
use slipway_crds::v1alpha1::Release;
use slipway_engine::{Intent, Observed, Progress};

use super::Caches;
use crate::{
    cache::Key,
    watch::kinds::{DEPLOYMENTS, RELEASES, SERVICES, WatchedKind},
};

/// A namespace with the Releases one and two, each with a Deployment and a Service of its own.
struct Shop {
    caches: Caches,
    version: u64,
}

impl Shop {
    fn new() -> Self {
        let mut shop = Self {
            caches: Caches::default(),
            version: 0,
        };
        for name in ["one", "two"] {
            shop.tell(&RELEASES, name, json!({"spec": spec(name, &json!({}))}));
            shop.tell(
                &DEPLOYMENTS,
                name,
                deployment(&json!({"app": name, "part-of": "shop"})),
            );
            shop.tell(&SERVICES, name, service(&json!({"app": name, "part-of": "shop"})));
        }
        shop
    }

    fn object(&mut self, name: &str, mut object: Value) -> DynamicObject {
        self.version += 1;
        object["metadata"] = json!({
            "name": name,
            "namespace": "shop",
            "uid": format!("uid-{name}"),
            "resourceVersion": self.version.to_string(),
            "labels": object["labels"],
        });
        serde_json::from_value(object).unwrap()
    }

    /// Names of the Releases that are woken.
    fn tell(&mut self, kind: &WatchedKind, name: &str, object: Value) -> Vec<String> {
        let object = self.object(name, object);
        names((kind.enter)(&self.caches, &object))
    }

    fn gone(&mut self, kind: &WatchedKind, name: &str) -> Vec<String> {
        let object = self.object(name, json!({}));
        names((kind.leave)(&self.caches, &object))
    }

    fn observed(&self, name: &str) -> Observed {
        let release = self.caches.releases.get(&Key::new("shop", name)).unwrap();
        let release: &Release = &release;
        let committed = Progress::new(release.status.clone());
        self.caches.observed(&Intent::parse(release), &committed)
    }
}

fn names(keys: BTreeSet<Key>) -> Vec<String> {
    keys.into_iter().map(|key| key.name).collect()
}

fn spec(name: &str, task_labels: &Value) -> Value {
    json!({
        "image": "shop:1",
        "workloads": [{"name": "web", "deployment": name, "services": [name]}],
        "prepare": [{"name": "assets", "command": ["sync"], "labels": task_labels}],
    })
}

fn deployment(labels: &Value) -> Value {
    json!({"spec": {"selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels}}}})
}

fn service(selector: &Value) -> Value {
    json!({"spec": {"selector": selector}})
}

fn keys<K: ToString, V>(map: &std::collections::BTreeMap<K, V>) -> Vec<String> {
    map.keys().map(ToString::to_string).collect()
}

#[test]
fn a_release_sees_what_concerns_it_and_nothing_else() {
    let mut shop = Shop::new();
    let observed = shop.observed("one");
    assert_eq!(keys(&observed.deployments), ["one"]);
    assert_eq!(keys(&observed.services), ["one"]);
    assert!(observed.releases.is_empty(), "nobody has claimed anything");

    shop.tell(&SERVICES, "all", service(&json!({"part-of": "shop"})));
    shop.tell(
        &DEPLOYMENTS,
        "canary",
        deployment(&json!({"app": "one", "part-of": "shop", "track": "canary"})),
    );
    let mut claimed = deployment(&json!({"app": "left"}));
    claimed["labels"] = json!({"slipway.dev/claim": "uid-one"});
    shop.tell(&DEPLOYMENTS, "left", claimed);
    let observed = shop.observed("one");
    assert_eq!(keys(&observed.deployments), ["canary", "left", "one"]);
    assert_eq!(keys(&observed.services), ["all", "one"]);
    assert_eq!(observed.releases, BTreeSet::from(["uid-one".into()]));
    assert_eq!(keys(&shop.observed("two").deployments), ["two"]);
}

#[test]
fn what_would_take_a_task_pod_for_its_own_concerns_the_release() {
    let mut shop = Shop::new();
    let labels = json!({"team": "search", "job": "assets"});
    shop.tell(&RELEASES, "one", json!({"spec": spec("one", &labels)}));
    assert_eq!(
        shop.tell(&SERVICES, "jobs", service(&json!({"job": "assets"}))),
        ["one"]
    );
    assert_eq!(
        shop.tell(&DEPLOYMENTS, "jobs", deployment(&json!({"team": "search"}))),
        ["one"]
    );
    assert_eq!(keys(&shop.observed("one").services), ["jobs", "one"]);
    assert_eq!(keys(&shop.observed("one").deployments), ["jobs", "one"]);
    assert_eq!(shop.gone(&SERVICES, "jobs"), ["one"]);
    assert_eq!(keys(&shop.observed("one").services), ["one"]);
}

#[test]
fn what_a_release_does_not_name_wakes_it_when_it_begins_or_ceases_to_matter() {
    let mut shop = Shop::new();
    let selector = json!({"app": "one"});
    assert_eq!(shop.tell(&SERVICES, "debug", service(&selector)), ["one"]);
    assert!(
        shop.tell(&SERVICES, "debug", service(&selector)).is_empty(),
        "nothing that matters changed"
    );
    assert_eq!(
        shop.tell(&SERVICES, "debug", service(&json!({"app": "two"}))),
        ["one", "two"]
    );
    assert_eq!(shop.gone(&SERVICES, "debug"), ["two"]);

    let labels = json!({"app": "two", "part-of": "shop"});
    assert_eq!(shop.tell(&DEPLOYMENTS, "copy", deployment(&labels)), ["two"]);
    assert!(shop.tell(&DEPLOYMENTS, "copy", deployment(&labels)).is_empty());
    assert_eq!(
        shop.tell(&DEPLOYMENTS, "copy", deployment(&json!({"app": "three"}))),
        ["two"]
    );
    assert!(shop.gone(&DEPLOYMENTS, "copy").is_empty());
}
