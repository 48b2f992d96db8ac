//! Random requests.

use http::Method;
use serde_json::{Value, json};

use super::super::{kind::Kind, random::Random};

/// Which version, or UID, a request names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// None.
    None,
    /// The last one seen.
    Current,
    /// The first one seen.
    Old,
    /// One that never was.
    Wrong,
}

/// A request before versions are filled in.
#[derive(Clone, Debug)]
pub struct Wish {
    /// The method.
    pub method: Method,
    /// The kind.
    pub kind: Kind,
    /// The name in the path; empty for a collection.
    pub name: String,
    /// The object that it is about.
    pub target: String,
    /// The subresource; empty for none.
    pub subresource: String,
    /// The query.
    pub query: String,
    /// The media type of the body.
    pub content_type: &'static str,
    /// The body.
    pub body: Value,
    /// The version that it names.
    pub version: Version,
    /// The UID that it names.
    pub uid: Version,
}

const JSON: &str = "application/json";
const MERGE: &str = "application/merge-patch+json";
const STRATEGIC: &str = "application/strategic-merge-patch+json";
const PATCH: &str = "application/json-patch+json";
const APPLY: &str = "application/apply-patch+yaml";
const KINDS: [Kind; 6] = [
    Kind::ConfigMap,
    Kind::Deployment,
    Kind::Job,
    Kind::Lease,
    Kind::Release,
    Kind::Service,
];
const MANAGERS: [&str; 3] = ["flux", "op", "person"];

/// So many random requests.
pub fn wishes(seed: u64, count: usize) -> Vec<Wish> {
    let mut random = Random::new(seed);
    (0..count).map(|_| wish(&mut random)).collect()
}

fn wish(random: &mut Random) -> Wish {
    let kind = *random.pick(&KINDS);
    let target = (*random.pick(&["a", "b"])).to_owned();
    let manager = *random.pick(&MANAGERS);
    let versions = [
        Version::None,
        Version::None,
        Version::Current,
        Version::Old,
        Version::Wrong,
    ];
    let base = Wish {
        method: Method::GET,
        kind,
        name: target.clone(),
        target,
        subresource: String::new(),
        query: format!("fieldManager={manager}"),
        content_type: JSON,
        body: Value::Null,
        version: Version::None,
        uid: Version::None,
    };
    let dry = random.chance(1, 12);
    let mut wish = match random.below(16) {
        0..=3 => create(random, base),
        4 => base,
        5 => Wish {
            name: String::new(),
            query: list_query(random),
            ..base
        },
        6 | 7 => replace(random, base),
        8 => Wish {
            method: Method::PATCH,
            content_type: PATCH,
            body: random.pick(&operations()).clone(),
            ..base
        },
        9 | 10 if !matches!(kind, Kind::Lease | Kind::Job) => apply(random, base),
        11 => delete(random, base),
        12 if kind != Kind::Release => Wish {
            method: Method::PATCH,
            content_type: STRATEGIC,
            body: change(random, kind),
            ..base
        },
        13 if matches!(kind, Kind::Deployment | Kind::Release) => Wish {
            method: Method::PATCH,
            content_type: MERGE,
            subresource: "status".to_owned(),
            body: random.pick(&statuses()).clone(),
            version: *random.pick(&versions),
            ..base
        },
        _ => Wish {
            method: Method::PATCH,
            content_type: MERGE,
            body: change(random, kind),
            version: *random.pick(&versions),
            uid: if kind != Kind::Job && random.chance(1, 8) {
                *random.pick(&versions)
            } else {
                Version::None
            },
            ..base
        },
    };
    if dry && wish.method != Method::GET {
        wish.query.push_str("&dryRun=All");
    }
    wish
}

fn create(random: &mut Random, base: Wish) -> Wish {
    let body = object(random, base.kind, &base.target);
    Wish {
        method: Method::POST,
        name: String::new(),
        body,
        ..base
    }
}

fn replace(random: &mut Random, base: Wish) -> Wish {
    let body = object(random, base.kind, &base.target);
    let version = *random.pick(&[Version::Current, Version::Current, Version::Old, Version::None]);
    let uid = *random.pick(&[Version::None, Version::None, Version::Current, Version::Wrong]);
    Wish {
        method: Method::PUT,
        body,
        version,
        uid,
        ..base
    }
}

fn apply(random: &mut Random, base: Wish) -> Wish {
    let mut body = object(random, base.kind, &base.target);
    let forced = if random.chance(1, 3) { "&force=true" } else { "" };
    let query = format!("{}{forced}", base.query);
    if random.chance(1, 4) && base.kind == Kind::Deployment {
        body["spec"].as_object_mut().map(serde_json::Map::clear);
    }
    let version = if random.chance(1, 6) {
        Version::Old
    } else {
        Version::None
    };
    Wish {
        method: Method::PATCH,
        content_type: APPLY,
        query,
        body,
        version,
        ..base
    }
}

fn delete(random: &mut Random, base: Wish) -> Wish {
    let policies = [
        json!({}),
        json!({"propagationPolicy": "Background"}),
        json!({"propagationPolicy": "Foreground"}),
    ];
    let version = *random.pick(&[Version::None, Version::None, Version::Current, Version::Wrong]);
    let uid = *random.pick(&[Version::None, Version::None, Version::Current, Version::Wrong]);
    Wish {
        method: Method::DELETE,
        body: random.pick(&policies).clone(),
        version,
        uid,
        ..base
    }
}

fn list_query(random: &mut Random) -> String {
    let queries = [
        "",
        "labelSelector=tier%3Dweb",
        "labelSelector=tier+in+(web,api),!gone",
        "labelSelector=tier%21%3Dweb",
        "fieldSelector=metadata.name%3Da",
        "fieldSelector=spec.none%3Da",
    ];
    (*random.pick(&queries)).to_owned()
}

fn statuses() -> [Value; 3] {
    [
        json!({"status": {"observedGeneration": 1}}),
        json!({"metadata": {"labels": {"from": "status"}, "annotations": {"from": "status"}}, "status": {"observedGeneration": 2}}),
        json!({"spec": {"replicas": 9}, "status": {"observedGeneration": 3}}),
    ]
}

fn operations() -> [Value; 4] {
    [
        json!([{"op": "test", "path": "/metadata/name", "value": "a"}, {"op": "add", "path": "/metadata/labels", "value": {"tier": "api"}}]),
        json!([{"op": "replace", "path": "/metadata/labels/tier", "value": "web"}]),
        json!([{"op": "remove", "path": "/metadata/annotations"}]),
        json!([{"op": "add", "path": "/metadata/annotations/note", "value": "patched"}]),
    ]
}

/// A partial change: of metadata, or of the kind's own fields, good and bad.
fn change(random: &mut Random, kind: Kind) -> Value {
    let common = [
        json!({"metadata": {"labels": {"tier": "web"}}}),
        json!({"metadata": {"labels": {"tier": null}}}),
        json!({"metadata": {"labels": {"tier": "not a label!"}}}),
        json!({"metadata": {"annotations": {"note": "x"}}}),
        json!({"metadata": {"annotations": {"note": null}}}),
        json!({"metadata": {"finalizers": ["slipway.dev/test"]}}),
        json!({"metadata": {"finalizers": null}}),
    ];
    let own = match kind {
        Kind::Deployment => vec![
            json!({"spec": {"replicas": 4}}),
            json!({"spec": {"replicas": -1}}),
            json!({"spec": {"paused": true}}),
            json!({"spec": {"paused": false}}),
            json!({"spec": {"paused": null, "minReadySeconds": 0}}),
            json!({"spec": {"minReadySeconds": 2_147_483_646}}),
            json!({"spec": {"minReadySeconds": 2_147_483_646, "progressDeadlineSeconds": 2_147_483_647}}),
            json!({"spec": {"minReadySeconds": 5, "progressDeadlineSeconds": 600}}),
            json!({"spec": {"strategy": {"type": "Recreate"}}}),
            json!({"spec": {"strategy": {"type": "Recreate", "rollingUpdate": null}}}),
            json!({"spec": {"strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "100%", "maxUnavailable": 0}}}}),
            json!({"spec": {"strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 0, "maxUnavailable": 0}}}}),
            json!({"spec": {"template": {"spec": {"containers": [{"name": "web", "image": "shop:2"}]}}}}),
            json!({"spec": {"template": {"spec": {"containers": [{"name": "side", "image": "side:1"}]}}}}),
            json!({"spec": {"template": {"metadata": {"labels": {"app": "other"}}}}}),
            json!({"spec": {"selector": {"matchLabels": {"app": "other"}}}}),
        ],
        Kind::Service => vec![
            json!({"spec": {"selector": {"pod-template-hash": "abc"}}}),
            json!({"spec": {"selector": {"pod-template-hash": null}}}),
            json!({"spec": {"selector": null}}),
            json!({"spec": {"ports": null}}),
        ],
        Kind::Job => vec![
            json!({"spec": {"backoffLimit": 1}}),
            json!({"spec": {"suspend": false}}),
            json!({"spec": {"activeDeadlineSeconds": 100}}),
            json!({"spec": {"completions": 2}}),
            json!({"spec": {"template": {"spec": {"restartPolicy": "OnFailure"}}}}),
        ],
        Kind::Lease => vec![
            json!({"spec": {"holderIdentity": "b", "leaseDurationSeconds": 20}}),
            json!({"spec": {"leaseDurationSeconds": 0}}),
        ],
        Kind::Release => vec![
            json!({"spec": {"image": "shop:2"}}),
            json!({"spec": {"image": null}, "status": {"phase": "X"}}),
        ],
        _ => vec![json!({"data": {"key": "2"}}), json!({"data": null})],
    };
    if random.chance(1, 2) {
        random.pick(&common).clone()
    } else {
        random.pick(&own).clone()
    }
}

/// A whole object, sometimes an invalid one.
fn object(random: &mut Random, kind: Kind, name: &str) -> Value {
    let bodies = match kind {
        Kind::Deployment => deployments(),
        Kind::Service => services(),
        Kind::Job => jobs(),
        Kind::Lease => vec![
            json!({"spec": {"holderIdentity": "a", "leaseDurationSeconds": 15}}),
            json!({"spec": {"leaseDurationSeconds": 0}}),
        ],
        Kind::Release => vec![
            json!({"spec": {"image": "shop:1"}}),
            json!({"spec": {"image": "shop:1"}, "status": {"phase": "Ready"}}),
        ],
        _ => vec![json!({"data": {"key": "1"}}), json!({})],
    };
    let mut object = random.pick(&bodies).clone();
    object["apiVersion"] = json!(kind.api_version());
    object["kind"] = json!(kind.traits().kind);
    object["metadata"]["name"] = json!(name);
    if random.chance(1, 3) {
        object["metadata"]["labels"] = json!({"tier": random.pick(&["web", "api"])});
    }
    if random.chance(1, 6) {
        object["metadata"]["finalizers"] = json!(["slipway.dev/test"]);
    }
    object
}

fn template(image: &str, policy: &str) -> Value {
    let mut spec = json!({"containers": [{"name": "web", "image": image, "env": [{"name": "A", "value": "1"}], "ports": [{"containerPort": 80}]}]});
    if !policy.is_empty() {
        spec["restartPolicy"] = json!(policy);
    }
    json!({"metadata": {"labels": {"app": "web"}}, "spec": spec})
}

fn deployments() -> Vec<Value> {
    let selector = json!({"matchLabels": {"app": "web"}});
    vec![
        json!({"spec": {"replicas": 3, "selector": selector, "template": template("shop:1", "")}}),
        json!({"spec": {"selector": selector, "template": template("shop:2", ""), "minReadySeconds": 5, "strategy": {"rollingUpdate": {"maxSurge": 1}}}}),
        json!({"spec": {"selector": selector, "template": template("shop", ""), "strategy": {"type": "Recreate"}, "paused": true}}),
        json!({"spec": {"selector": {"matchLabels": {"app": "other"}}, "template": template("shop:1", "")}}),
        json!({"spec": {"replicas": -1, "selector": selector, "template": template("shop:1", "")}}),
    ]
}

fn services() -> Vec<Value> {
    vec![
        json!({"spec": {"selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": 8080}]}}),
        json!({"spec": {"selector": {"app": "web", "tier": "x"}, "ports": [{"name": "http", "port": 80}, {"name": "admin", "port": 81}]}}),
        json!({"spec": {"selector": {"app": "web"}}}),
    ]
}

fn jobs() -> Vec<Value> {
    vec![
        json!({"spec": {"backoffLimit": 0, "template": template("task:1", "Never"), "podFailurePolicy": {"rules": [
            {"action": "FailJob", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]}]}}}),
        json!({"spec": {"suspend": true, "template": template("task:1", "OnFailure")}}),
        json!({"spec": {"template": template("task:1", "")}}),
    ]
}
