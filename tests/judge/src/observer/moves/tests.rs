//! A whole window and its ways out, told from audit events.

use serde_json::json;

use std::sync::Arc;

use slipway_kubernetes::store::Key;

use super::*;
use crate::observer::{
    audit::{
        AuditEvent, one_each,
        tests::{CONTROLLER, event},
    },
    observation::tests::judge_after,
    reader::{Baseline, changes},
};

/// Plays a story: every step is a patch, and the object after it is made by merging.
struct Story {
    baseline: Baseline,
    present: BTreeMap<Key, Arc<Value>>,
    events: Vec<AuditEvent>,
    version: i64,
}

impl Story {
    fn new() -> Self {
        let mut baseline = Baseline::default();
        let template = json!({
            "metadata": {"labels": {"app": "web"}},
            "spec": {"containers": [{"name": "web", "image": "shop:1", "ports": [{"containerPort": 8080}]}]}
        });
        let deployment = json!({
            "metadata": {"name": "web", "resourceVersion": "10"},
            "spec": {"replicas": 3, "progressDeadlineSeconds": 600, "template": template,
                "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"}}}
        });
        let service = json!({
            "metadata": {"name": "web", "resourceVersion": "11"},
            "spec": {"selector": {"app": "web"}, "ports": [{"port": 80}]}
        });
        let old = json!({"metadata": {"name": "web-old", "resourceVersion": "12"}, "spec": {"replicas": 3}});
        for (resource, object) in [
            ("deployments", deployment),
            ("services", service),
            ("replicasets", old),
        ] {
            baseline.add("shop", resource, &json!({"items": [object]}));
        }
        Self {
            present: baseline.0.clone(),
            baseline,
            events: Vec::new(),
            version: 20,
        }
    }

    fn by(&mut self, user: &str, resource: &str, name: &str, mut patch: Value) -> &mut Self {
        let kind = match resource {
            "deployments" => Kind::Deployment,
            "services" => Kind::Service,
            _ => Kind::ReplicaSet,
        };
        let object = Arc::make_mut(self.present.get_mut(&Key::new(kind, "shop", name)).unwrap());
        if user == CONTROLLER {
            patch["metadata"]["resourceVersion"] = object["metadata"]["resourceVersion"].clone();
        }
        json_patch::merge(object, &patch);
        object["metadata"]["resourceVersion"] = json!(self.version.to_string());
        let bodies = (patch, object.clone());
        self.events
            .push(event(self.version, user, "patch", (resource, name), 200, bodies));
        self.version += 1;
        self
    }

    fn deployment(&mut self, patch: Value) -> &mut Self {
        self.by(CONTROLLER, "deployments", "web", patch)
    }

    fn service(&mut self, patch: Value) -> &mut Self {
        self.by(CONTROLLER, "services", "web", patch)
    }

    fn pin(&mut self, side: &str) -> &mut Self {
        self.service(json!({"spec": {"selector": {"pod-template-hash": side}}}))
    }

    fn bolt(&mut self, seconds: i64) -> &mut Self {
        self.by(
            CONTROLLER,
            "replicasets",
            "web-old",
            json!({"spec": {"minReadySeconds": seconds}}),
        )
    }

    fn open_to_lock(&mut self) -> &mut Self {
        self.deployment(json!({"metadata": {"labels": {WINDOW: "open"}}, "spec": {"paused": true}}))
            .service(json!({"metadata": {"labels": {WINDOW: "open"}}, "spec": {"selector": {"pod-template-hash": "old"}}}))
            .deployment(hold("shop:2"))
            .deployment(json!({"spec": {"paused": true}}))
    }

    fn unpin_and_close(&mut self) -> &mut Self {
        self.service(json!({"metadata": {"labels": {WINDOW: null}}, "spec": {"selector": {"pod-template-hash": null}}}))
            .deployment(json!({"metadata": {"labels": {WINDOW: null}}, "spec": {"paused": false}}))
    }

    fn read(&self) -> Vec<Moved> {
        moves(&changes(&self.baseline, &one_each(&self.events), CONTROLLER))
    }

    fn violations(&self) -> Vec<String> {
        judge_after(&self.baseline, &self.events)
    }

    fn order(&self) -> Vec<Move> {
        assert_eq!(self.violations(), Vec::<String>::new());
        self.read().into_iter().map(|moved| moved.what).collect()
    }
}

fn template(image: &str) -> Value {
    json!({"spec": {"containers": [{"name": "web", "image": image, "ports": [{"containerPort": 8080}],
        "env": [{"name": "SEARCH_INDEX_GENERATION", "value": "g7"}]}]}})
}

fn hold(image: &str) -> Value {
    json!({"spec": {"template": template(image), "minReadySeconds": HOLD, "progressDeadlineSeconds": HOLD + 1,
        "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "100%", "maxUnavailable": 0}},
        "paused": false}})
}

fn user_values(template: &Value) -> Value {
    json!({"spec": {"template": template, "minReadySeconds": 0, "progressDeadlineSeconds": 600,
        "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"}},
        "paused": true}})
}

fn first_template() -> Value {
    json!({"spec": {"containers": [{"name": "web", "image": "shop:1", "ports": [{"containerPort": 8080}]}]}})
}

#[test]
fn a_whole_window_is_read_as_its_moves() {
    use Move::{Bolt, Claim, Close, Flip, Hold, Lock, Open, Pin, Retire, Unpin};
    let mut story = Story::new();
    let claim = || json!({"metadata": {"labels": {CLAIM: "uid-1"}}});
    story
        .deployment(claim())
        .service(claim())
        .open_to_lock()
        .bolt(HOLD)
        .pin("new");
    story
        .deployment(user_values(&template("shop:2")))
        .unpin_and_close();
    assert_eq!(
        story.order(),
        [
            Claim, Claim, Open, Pin, Hold, Lock, Bolt, Flip, Retire, Unpin, Close
        ]
    );
    let moves = story.read();
    let text = transcript(&moves, moves[0].at);
    assert!(text.contains("+0.002s  Deployment web "), "{text}");
    assert!(
        text.contains("Flip      spec.selector.pod-template-hash: old → new"),
        "{text}"
    );
}

#[test]
fn a_rollback_goes_back_the_way_it_came() {
    use Move::{Bolt, Close, Flip, FlipBack, Hold, Lock, Open, Pin, Revert, Unbolt, Unpin};
    let mut story = Story::new();
    story.open_to_lock().bolt(HOLD).pin("new").pin("old").bolt(0);
    story.deployment(user_values(&first_template())).unpin_and_close();
    assert_eq!(
        story.order(),
        [
            Open, Pin, Hold, Lock, Bolt, Flip, FlipBack, Unbolt, Revert, Unpin, Close
        ]
    );
}

#[test]
fn what_others_do_in_between_is_not_taken_for_ours() {
    use Move::{Close, Hold, Lock, Open, Pin, Repair, Repin, Retire, Unpin};
    let mut story = Story::new();
    story.open_to_lock();
    story.by(
        "flux",
        "services",
        "web",
        json!({"spec": {"selector": {"pod-template-hash": null}}}),
    );
    story.pin("old");
    story.by(
        "kubectl",
        "deployments",
        "web",
        json!({"spec": {"paused": false, "replicas": 5}}),
    );
    story.deployment(json!({"spec": {"paused": true}}));
    story.by(
        "kubectl",
        "deployments",
        "web",
        json!({"spec": {"template": template("shop:3")}}),
    );
    story
        .deployment(hold("shop:2"))
        .deployment(json!({"spec": {"paused": true}}));
    story.by(
        "kubectl",
        "deployments",
        "web",
        json!({"spec": {"template": template("shop:4")}}),
    );
    story
        .deployment(user_values(&template("shop:2")))
        .unpin_and_close();
    assert_eq!(
        story.order(),
        [
            Open, Pin, Hold, Lock, Repin, Lock, Repair, Lock, Retire, Unpin, Close
        ]
    );
}

#[test]
fn an_update_without_a_window_is_a_roll_and_the_rest_is_shown() {
    let mut story = Story::new();
    story
        .deployment(json!({"spec": {"template": template("shop:2")}}))
        .deployment(json!({"spec": {}}));
    assert_eq!(story.order(), [Move::Roll, Move::Other("nothing changed".into())]);
}

#[test]
fn fields_that_are_not_ours_and_blind_writes_are_violations() {
    let mut story = Story::new();
    story.deployment(json!({"spec": {"replicas": 5, "paused": true}}));
    story.service(json!({"spec": {"ports": [{"port": 81}]}}));
    let mut other = template("shop:2");
    other["spec"]["containers"][0]["env"][0]["name"] = json!("LOG_LEVEL");
    story.deployment(json!({"spec": {"template": other}}));
    story.events.push(event(
        99,
        CONTROLLER,
        "patch",
        ("replicasets", "web-old"),
        200,
        (
            json!({"spec": {"minReadySeconds": HOLD}}),
            json!({"metadata": {"resourceVersion": "99"},
            "spec": {"replicas": 3, "minReadySeconds": HOLD}}),
        ),
    ));
    let mut found = story.violations();
    let blind = found.pop().unwrap();
    let begins = blind.starts_with("own things only: unconditional: ");
    assert!(begins && blind.contains("replicasets/web-old"), "{blind}");
    assert_eq!(
        found,
        [
            "Deployment shop/web changes a field that is not ours: spec.replicas: 3 → 5",
            "Service shop/web changes a field that is not ours: spec.ports.0.port: 80 → 81",
            "Deployment shop/web changes a field that is not ours: \
             spec.template.spec.containers.web.env.LOG_LEVEL.name: none → LOG_LEVEL",
            "Deployment shop/web changes a field that is not ours: \
             spec.template.spec.containers.web.env.LOG_LEVEL.value: none → g7",
        ]
        .map(|what| format!("own things only: {what}"))
    );
}
