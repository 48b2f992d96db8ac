//! Recorded sequences: what random requests do not reach, watches above all.

use std::fmt;

use http::Method;
use serde_json::{Value, json};
use slipway_kubernetes::kind::Kind;

use super::requests::{Version, Wish};

/// A sequence with a name.
pub(super) struct Sequence {
    pub(super) name: &'static str,
    pub(super) steps: Vec<Step>,
}

/// One step.
pub(super) enum Step {
    /// A request.
    Ask(Wish),
    /// A watch, from its beginning to its end.
    Watch(Watch),
    /// The history so far is forgotten. A real server that has just begun does not know version 1 in any case.
    Forget,
}

/// A watch.
#[derive(Clone, Copy, Debug)]
pub struct Watch {
    /// What is watched.
    pub kind: Kind,
    /// From where on.
    pub from: From,
    /// More of the query.
    pub query: &'static str,
    /// How long, in seconds.
    pub seconds: u32,
    /// Whether no more than the metadata is wanted.
    pub metadata_only: bool,
    /// Whether a bookmark has to come. How many come beside it is a matter of timing.
    pub bookmark: bool,
}

/// Where a watch begins.
#[derive(Clone, Copy, Debug)]
pub enum From {
    /// It does not say.
    Nothing,
    /// At this version.
    Exactly(&'static str),
    /// At the version of the last list.
    List,
}

impl fmt::Display for Step {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ask(wish) => wish.fmt(formatter),
            Self::Watch(watch) => fmt::Debug::fmt(watch, formatter),
            Self::Forget => formatter.write_str("the history is forgotten"),
        }
    }
}

/// All of them.
pub(super) fn all() -> Vec<Sequence> {
    let sequence = |name, steps| Sequence { name, steps };
    let mut all = vec![
        sequence("changes after a list", changes_after_a_list()),
        sequence("the state at the beginning", the_state_at_the_beginning()),
        sequence("a version that is too old", a_version_that_is_too_old()),
        sequence("bookmarks", bookmarks()),
        sequence("objects that come into a selection and leave it", selection()),
        sequence("writes that change nothing", nothing_to_tell()),
    ];
    for kind in [Kind::ConfigMap, Kind::Deployment, Kind::Release] {
        all.push(sequence("a deletion that waits for a finalizer", finalizer(kind)));
    }
    for kind in [Kind::Deployment, Kind::Release] {
        all.push(sequence("status and spec", status_and_spec(kind)));
    }
    all
}

fn object(kind: Kind, name: &str, tier: &str) -> Value {
    let spec = match kind {
        Kind::Deployment => json!({
            "replicas": 2,
            "selector": {"matchLabels": {"app": "web"}},
            "template": {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "web", "image": "shop:1"}]}},
        }),
        Kind::Release => json!({"image": "shop:1"}),
        _ => Value::Null,
    };
    let mut object = json!({
        "apiVersion": kind.api_version(),
        "kind": kind.traits().kind,
        "metadata": {"name": name, "labels": {"tier": tier}},
    });
    if !spec.is_null() {
        object["spec"] = spec;
    }
    object
}

fn create(kind: Kind, name: &str, tier: &str) -> Step {
    Step::Ask(Wish {
        method: Method::POST,
        name: String::new(),
        body: object(kind, name, tier),
        ..Wish::get(kind, name)
    })
}

fn merge(kind: Kind, name: &str, body: Value) -> Wish {
    Wish {
        method: Method::PATCH,
        content_type: "application/merge-patch+json",
        body,
        ..Wish::get(kind, name)
    }
}

fn label(name: &str, tier: &str) -> Step {
    let body = json!({"metadata": {"labels": {"tier": tier}}});
    Step::Ask(merge(Kind::ConfigMap, name, body))
}

fn delete(kind: Kind, name: &str) -> Step {
    Step::Ask(Wish {
        method: Method::DELETE,
        body: json!({"propagationPolicy": "Background"}),
        ..Wish::get(kind, name)
    })
}

fn list(kind: Kind) -> Step {
    Step::Ask(Wish {
        name: String::new(),
        ..Wish::get(kind, "")
    })
}

fn watch(kind: Kind, from: From, query: &'static str) -> Watch {
    Watch {
        kind,
        from,
        query,
        seconds: 2,
        metadata_only: false,
        bookmark: false,
    }
}

fn watched(from: From, query: &'static str) -> Step {
    Step::Watch(watch(Kind::ConfigMap, from, query))
}

fn changes_after_a_list() -> Vec<Step> {
    let kind = Kind::ConfigMap;
    vec![
        create(kind, "a", "web"),
        create(kind, "b", "web"),
        list(kind),
        label("a", "api"),
        delete(kind, "b"),
        create(kind, "c", "web"),
        create(kind, "b", "again"),
        watched(From::List, ""),
        Step::Watch(Watch {
            metadata_only: true,
            ..watch(kind, From::List, "")
        }),
        Step::Ask(Wish {
            metadata_only: true,
            name: String::new(),
            ..Wish::get(kind, "")
        }),
        watched(From::List, ""),
    ]
}

fn the_state_at_the_beginning() -> Vec<Step> {
    vec![
        create(Kind::ConfigMap, "a", "web"),
        create(Kind::ConfigMap, "b", "api"),
        watched(From::Nothing, ""),
        watched(From::Exactly("0"), "fieldSelector=metadata.name%3Da"),
        watched(
            From::Nothing,
            "sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true",
        ),
        watched(From::Nothing, "sendInitialEvents=true&allowWatchBookmarks=true"),
    ]
}

fn a_version_that_is_too_old() -> Vec<Step> {
    vec![
        create(Kind::ConfigMap, "a", "web"),
        Step::Forget,
        watched(From::Exactly("1"), ""),
        watched(From::Exactly("1"), "allowWatchBookmarks=true"),
        list(Kind::ConfigMap),
        label("a", "api"),
        watched(From::List, ""),
    ]
}

fn bookmarks() -> Vec<Step> {
    let until_the_bookmark = Watch {
        seconds: 5,
        bookmark: true,
        ..watch(Kind::ConfigMap, From::List, "allowWatchBookmarks=true")
    };
    vec![
        create(Kind::ConfigMap, "a", "web"),
        list(Kind::ConfigMap),
        label("a", "api"),
        Step::Watch(until_the_bookmark),
    ]
}

fn selection() -> Vec<Step> {
    let kind = Kind::ConfigMap;
    vec![
        create(kind, "a", "web"),
        create(kind, "b", "api"),
        list(kind),
        label("a", "api"),
        label("b", "web"),
        label("a", "none"),
        delete(kind, "b"),
        delete(kind, "a"),
        watched(From::List, "labelSelector=tier%3Dweb"),
        watched(From::List, "labelSelector=tier%21%3Dweb"),
        watched(From::List, "fieldSelector=metadata.name%3Da"),
    ]
}

fn nothing_to_tell() -> Vec<Step> {
    let kind = Kind::ConfigMap;
    let same = || merge(kind, "a", json!({"metadata": {"labels": {"tier": "web"}}}));
    let other = || merge(kind, "a", json!({"metadata": {"labels": {"tier": "api"}}}));
    vec![
        create(kind, "a", "web"),
        list(kind),
        Step::Ask(same()),
        Step::Ask(Wish {
            query: "dryRun=All".to_owned(),
            ..other()
        }),
        Step::Ask(Wish {
            version: Version::Wrong,
            ..other()
        }),
        watched(From::List, ""),
        Step::Ask(Wish {
            version: Version::Current,
            ..other()
        }),
        watched(From::List, ""),
    ]
}

fn finalizer(kind: Kind) -> Vec<Step> {
    let finalizers = |value: Value| merge(kind, "a", json!({"metadata": {"finalizers": value}}));
    vec![
        create(kind, "a", "web"),
        Step::Ask(finalizers(json!(["slipway.dev/test", "slipway.dev/other"]))),
        list(kind),
        delete(kind, "a"),
        delete(kind, "a"),
        Step::Ask(finalizers(json!(["slipway.dev/test", "slipway.dev/third"]))),
        Step::Ask(finalizers(json!(["slipway.dev/test"]))),
        Step::Ask(merge(kind, "a", json!({"metadata": {"labels": {"tier": "api"}}}))),
        create(kind, "a", "web"),
        Step::Ask(finalizers(Value::Null)),
        Step::Ask(Wish::get(kind, "a")),
        create(kind, "a", "web"),
        Step::Watch(watch(kind, From::List, "")),
    ]
}

fn status_and_spec(kind: Kind) -> Vec<Step> {
    let status = |body: Value| Wish {
        subresource: "status".to_owned(),
        ..merge(kind, "a", body)
    };
    let spec = if kind == Kind::Deployment {
        json!({"spec": {"paused": true}})
    } else {
        json!({"spec": {"image": "shop:2"}})
    };
    vec![
        create(kind, "a", "web"),
        list(kind),
        Step::Ask(status(json!({"status": {"observedGeneration": 1}}))),
        Step::Ask(merge(kind, "a", json!({"status": {"observedGeneration": 9}}))),
        Step::Ask(Wish {
            version: Version::Old,
            ..status(json!({"status": {"observedGeneration": 2}}))
        }),
        Step::Ask(Wish {
            version: Version::Current,
            ..merge(kind, "a", spec)
        }),
        Step::Ask(Wish {
            version: Version::Current,
            ..status(json!({"status": {"observedGeneration": 2}}))
        }),
        Step::Watch(watch(kind, From::List, "")),
    ]
}
