//! Random requests.

mod objects;

use std::fmt;

use http::Method;
use serde_json::{Value, json};
use slipway_kubernetes::{kind::Kind, random::Random};

use self::objects::object;

use super::wire::{JSON, MERGE};

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
    /// Whether no more than the metadata is wanted back.
    pub metadata_only: bool,
}

impl fmt::Display for Wish {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (kind, method) = (self.kind.traits().kind, &self.method);
        write!(
            formatter,
            "{method} {kind}/{} {} {}",
            self.name, self.subresource, self.query
        )?;
        write!(
            formatter,
            " version {:?} uid {:?} {} {}",
            self.version, self.uid, self.content_type, self.body
        )
    }
}

impl Wish {
    /// A look at one object: what other wishes begin with.
    pub(super) fn get(kind: Kind, name: &str) -> Self {
        Self {
            method: Method::GET,
            kind,
            name: name.to_owned(),
            target: name.to_owned(),
            subresource: String::new(),
            query: String::new(),
            content_type: JSON,
            body: Value::Null,
            version: Version::None,
            uid: Version::None,
            metadata_only: false,
        }
    }
}

const STRATEGIC: &str = "application/strategic-merge-patch+json";
const PATCH: &str = "application/json-patch+json";
const APPLY: &str = "application/apply-patch+yaml";
const KINDS: [Kind; 7] = [
    Kind::ConfigMap,
    Kind::Deployment,
    Kind::Job,
    Kind::Lease,
    Kind::Release,
    Kind::ReplicaSet,
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
        query: format!("fieldManager={manager}"),
        metadata_only: random.chance(1, 20),
        ..Wish::get(kind, &target)
    };
    let dry = random.chance(1, 12);
    let mut wish = match random.below(18) {
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
        9 | 10 if !matches!(kind, Kind::Lease | Kind::Job | Kind::ReplicaSet) => apply(random, base),
        11 => delete(random, base),
        12 if kind != Kind::Release => Wish {
            method: Method::PATCH,
            content_type: STRATEGIC,
            body: change(random, kind),
            ..base
        },
        13 if matches!(kind, Kind::Deployment | Kind::Release | Kind::ReplicaSet) => Wish {
            method: Method::PATCH,
            content_type: MERGE,
            subresource: "status".to_owned(),
            body: random.pick(&statuses(kind)).clone(),
            version: *random.pick(&versions),
            ..base
        },
        14 if matches!(kind, Kind::Deployment | Kind::ReplicaSet) => scale(random, base),
        15 if random.chance(1, 3) => delete_all(random, base),
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
        json!({"propagationPolicy": "Orphan"}),
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

/// All objects of a kind at once, or those with a label.
fn delete_all(random: &mut Random, base: Wish) -> Wish {
    let query = random.pick(&["", "labelSelector=tier%3Dweb"]);
    Wish {
        method: Method::DELETE,
        name: String::new(),
        query: (*query).to_owned(),
        body: json!({"propagationPolicy": "Background"}),
        metadata_only: false,
        ..base
    }
}

fn scale(random: &mut Random, base: Wish) -> Wish {
    let base = Wish {
        subresource: "scale".to_owned(),
        metadata_only: false,
        ..base
    };
    if random.chance(1, 3) {
        return base;
    }
    Wish {
        method: Method::PATCH,
        content_type: MERGE,
        body: json!({"spec": {"replicas": random.pick(&[0, 2, 5])}}),
        version: *random.pick(&[Version::None, Version::Current, Version::Old]),
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

fn statuses(kind: Kind) -> Vec<Value> {
    let mut all = vec![
        json!({"status": {"observedGeneration": 1}}),
        json!({"metadata": {"labels": {"from": "status"}, "annotations": {"from": "status"}}, "status": {"observedGeneration": 2}}),
        json!({"spec": {"replicas": 9}, "status": {"observedGeneration": 3}}),
        json!({"metadata": {"finalizers": ["slipway.dev/test"]}, "status": {"observedGeneration": 4}}),
    ];
    if kind == Kind::Release {
        all.push(json!({"status": {"phase": "Watch", "conditions": [{"type": "Ready", "status": "False"}]}}));
        all.push(json!({"status": {"phase": null}}));
    }
    all
}

fn operations() -> [Value; 8] {
    [
        json!([{"op": "test", "path": "/metadata/name", "value": "a"}, {"op": "add", "path": "/metadata/labels", "value": {"tier": "api"}}]),
        json!([{"op": "replace", "path": "/metadata/labels/tier", "value": "web"}]),
        json!([{"op": "remove", "path": "/metadata/annotations"}]),
        json!([{"op": "add", "path": "/metadata/annotations/note", "value": "patched"}]),
        json!([{"op": "test", "path": "/metadata/labels/tier", "value": "web"}, {"op": "remove", "path": "/metadata/labels/tier"}]),
        json!([{"op": "add", "path": "/metadata/finalizers", "value": ["slipway.dev/test"]}]),
        json!([{"op": "remove", "path": "/metadata/finalizers/0"}]),
        json!([{"op": "replace", "path": "/metadata/name", "value": "other"}]),
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
        Kind::ReplicaSet => vec![
            json!({"spec": {"replicas": 4}}),
            json!({"spec": {"replicas": -1}}),
            json!({"spec": {"minReadySeconds": 2_147_483_646}}),
            json!({"spec": {"minReadySeconds": null}}),
            json!({"spec": {"selector": {"matchLabels": {"app": "other"}}}}),
            json!({"spec": {"template": {"spec": {"containers": [{"name": "web", "image": "shop:2"}]}}}}),
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
