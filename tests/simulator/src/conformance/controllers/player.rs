//! Acts a story, on the real cluster and in the simulator alike.

use std::{collections::BTreeMap, time::Duration};

use futures::StreamExt;
use http::Method;
use kube::{
    Api, Client,
    core::{ApiResource, DynamicObject},
    runtime::{
        WatchStreamExt,
        reflector::{Store, store::Writer},
        watcher,
    },
};
use serde_json::{Value, json};
use slipway_kubernetes::{
    fields,
    kind::Kind,
    models::deployment::{HASH, REVISION},
};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep},
};

use super::{
    Account,
    seen::{KINDS, Seen},
    story::{Action, Holds, Label, Signal, Step, Story},
};
use crate::conformance::wire;

/// How long something may take. The real machine may be busy.
const PATIENCE: Duration = Duration::from_mins(5);
/// How long nothing moves before it is called rest.
const QUIET: Duration = Duration::from_secs(2);
/// Between two looks at what the watches brought.
const LOOK: Duration = Duration::from_millis(250);

/// Reaches the processes of pods.
pub trait Hands: Sync {
    /// Sends a signal to the process of a pod.
    fn signal(&self, pod: &Value, signal: Signal);
}

/// The objects of a cluster, followed by watches.
pub struct Followed {
    stores: BTreeMap<Kind, Store<DynamicObject>>,
    _watches: JoinSet<()>,
}

impl Followed {
    /// Begins to follow all namespaces.
    pub fn start(client: &Client) -> Self {
        let mut watches = JoinSet::new();
        let mut stores = BTreeMap::new();
        for kind in KINDS {
            let resource = resource(kind);
            let api: Api<DynamicObject> = Api::all_with(client.clone(), &resource);
            let writer = Writer::new(resource);
            stores.insert(kind, writer.as_reader());
            let events = watcher(api, watcher::Config::default());
            let events = events.default_backoff().reflect(writer);
            // A watch that broke off begins anew by itself.
            watches.spawn(events.for_each(|_| std::future::ready(())));
        }
        Self {
            stores,
            _watches: watches,
        }
    }

    fn see(&self, namespace: &str) -> Seen {
        let own = |store: &Store<DynamicObject>| -> Vec<Value> {
            let all = store.state();
            let mut found: Vec<_> = all
                .iter()
                .filter(|object| object.metadata.namespace.as_deref() == Some(namespace))
                // Every namespace of a real cluster has this one.
                .filter(|object| object.metadata.name.as_deref() != Some("kube-root-ca.crt"))
                .map(|object| serde_json::to_value(&**object).unwrap_or_default())
                .collect();
            found.sort_by_key(|object| fields::name(object).to_owned());
            found
        };
        let objects = self.stores.iter().map(|(kind, store)| (*kind, own(store)));
        Seen {
            objects: objects.collect(),
        }
    }
}

fn resource(kind: Kind) -> ApiResource {
    let known = kind.traits();
    ApiResource {
        group: known.group.to_owned(),
        version: known.version.to_owned(),
        api_version: kind.api_version(),
        kind: known.kind.to_owned(),
        plural: known.resource.to_owned(),
    }
}

/// Acts a story in a namespace that is there and empty, and returns what was seen.
///
/// # Errors
/// When the server does not answer.
pub async fn play(
    story: &Story,
    client: &Client,
    namespace: &str,
    followed: &Followed,
    hands: &dyn Hands,
) -> Result<Account, kube::Error> {
    let player = Player {
        client,
        namespace,
        followed,
        hands,
    };
    let mut account = Account::new();
    for (index, step) in story.steps.iter().enumerate() {
        if let Some((name, state)) = player.act(step).await? {
            let over = state.is_null();
            account.push((format!("{}, step {}: {name}", story.name, index + 1), state));
            if over {
                break;
            }
        }
    }
    Ok(account)
}

struct Player<'a> {
    client: &'a Client,
    namespace: &'a str,
    followed: &'a Followed,
    hands: &'a dyn Hands,
}

impl Player<'_> {
    /// Does one step. Returns what there is to write down: a state at rest, or null when the story cannot go on.
    async fn act(&self, step: &Step) -> Result<Option<(String, Value)>, kube::Error> {
        match step {
            Step::Create(object) => self.create(object.clone()).await,
            Step::CreateFor(owner, object) => {
                let kind = kind_of(object);
                let seen = self.followed.see(self.namespace);
                let owner = seen.find(kind, owner).unwrap_or(&Value::Null);
                let reference = json!({
                    "apiVersion": kind.api_version(),
                    "kind": kind.traits().kind,
                    "name": fields::name(owner),
                    "uid": fields::uid(owner),
                    "blockOwnerDeletion": true,
                });
                let mut object = object.clone();
                fields::set(&mut object, "/metadata/ownerReferences", json!([reference]));
                self.create(object).await
            }
            Step::Patch(kind, name, patch) => self.patch(*kind, name, patch).await,
            Step::Delete(kind, name, propagation) => {
                let options = propagation.options();
                let answer = self
                    .ask(&Method::DELETE, *kind, name, wire::JSON, &options)
                    .await?;
                self.left(*kind, name).await;
                Ok(self.done("delete", *kind, answer).await)
            }
            Step::Each(kind, label, action) => self.each(*kind, *label, action, usize::MAX).await,
            Step::One(kind, label, action) => self.each(*kind, *label, action, 1).await,
            Step::Pin(version) => {
                let hash = version.map(|version| {
                    let seen = self.followed.see(self.namespace);
                    let mut sets = seen.all(Kind::ReplicaSet).iter();
                    let set = sets.find(|set| fields::label(set, "version") == version);
                    set.map(|set| fields::label(set, HASH).to_owned())
                });
                let patch = json!({"spec": {"selector": {HASH: hash}}});
                self.patch(Kind::Service, "web", &patch).await
            }
            Step::Undo => {
                let template = self.template_before();
                let patch = json!([{"op": "replace", "path": "/spec/template", "value": template}]);
                let kind = Kind::Deployment;
                let answer = self
                    .ask(&Method::PATCH, kind, "web", "application/json-patch+json", &patch)
                    .await?;
                Ok(self.done("undo", kind, answer).await)
            }
            Step::Rest(name, holds) => {
                let state = self.rest(*holds).await;
                Ok(Some(((*name).to_owned(), state)))
            }
            Step::Until(name, holds) => {
                let came = self.until(holds).await;
                Ok((!came).then(|| ((*name).to_owned(), Value::Null)))
            }
        }
    }

    async fn create(&self, object: Value) -> Result<Option<(String, Value)>, kube::Error> {
        let kind = kind_of(&object);
        let answer = self.ask(&Method::POST, kind, "", wire::JSON, &object).await?;
        Ok(self.done("create", kind, answer).await)
    }

    async fn patch(
        &self,
        kind: Kind,
        name: &str,
        patch: &Value,
    ) -> Result<Option<(String, Value)>, kube::Error> {
        let answer = self.ask(&Method::PATCH, kind, name, wire::MERGE, patch).await?;
        Ok(self.done("patch", kind, answer).await)
    }

    async fn each(
        &self,
        kind: Kind,
        (key, value): Label,
        action: &Action,
        most: usize,
    ) -> Result<Option<(String, Value)>, kube::Error> {
        let seen = self.followed.see(self.namespace);
        let chosen = seen
            .all(kind)
            .iter()
            .filter(|object| fields::label(object, key) == value && !fields::terminating(object));
        for object in chosen.take(most) {
            let name = fields::name(object);
            let answer = match action {
                Action::Patch(patch) => self.ask(&Method::PATCH, kind, name, wire::MERGE, patch).await?,
                Action::Delete(propagation) => {
                    let options = propagation.options();
                    let answer = self
                        .ask(&Method::DELETE, kind, name, wire::JSON, &options)
                        .await?;
                    self.left(kind, name).await;
                    answer
                }
                Action::Evict => {
                    let eviction =
                        json!({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name}});
                    let place = format!("{name}/eviction");
                    let answer = self
                        .ask(&Method::POST, kind, &place, wire::JSON, &eviction)
                        .await?;
                    self.left(kind, name).await;
                    answer
                }
                Action::Signal(signal) => {
                    self.hands.signal(object, *signal);
                    continue;
                }
            };
            if let Some(refused) = self.done("each", kind, answer).await {
                return Ok(Some(refused));
            }
        }
        Ok(None)
    }

    async fn ask(
        &self,
        method: &Method,
        kind: Kind,
        name: &str,
        content_type: &str,
        body: &Value,
    ) -> Result<(u16, Value), kube::Error> {
        let mut path = wire::collection(kind, self.namespace);
        if !name.is_empty() {
            path = format!("{path}/{name}");
        }
        wire::exchange(self.client, method, &path, content_type, body).await
    }

    /// Waits until the watches have brought what was written. A refusal ends the story.
    async fn done(&self, what: &str, kind: Kind, (code, answer): (u16, Value)) -> Option<(String, Value)> {
        if code >= 300 {
            println!("{}: {what} was refused: {answer}", self.namespace);
            return Some((what.to_owned(), Value::Null));
        }
        let version = |object: &Value| {
            fields::text(object, "/metadata/resourceVersion")
                .parse::<u64>()
                .ok()
        };
        let (name, uid) = (fields::name(&answer), fields::uid(&answer));
        let written = version(&answer)?;
        self.until(|seen| {
            let found = seen.find(kind, name);
            found.is_none_or(|found| fields::uid(found) != uid || version(found) >= Some(written))
                && (found.is_some() || fields::terminating(&answer) || what != "create")
        })
        .await;
        None
    }

    /// Waits until the watches have brought the deletion of an object.
    async fn left(&self, kind: Kind, name: &str) {
        self.until(|seen| seen.find(kind, name).is_none_or(fields::terminating))
            .await;
    }

    /// The template of the revision before the Deployment's.
    fn template_before(&self) -> Value {
        let seen = self.followed.see(self.namespace);
        let revision = |set: &&Value| -> i64 { fields::annotation(set, REVISION).parse().unwrap_or(0) };
        let mut sets: Vec<_> = seen.all(Kind::ReplicaSet).iter().collect();
        sets.sort_by_key(revision);
        let before = sets.iter().rev().nth(1);
        let mut template = before
            .map(|set| set["spec"]["template"].clone())
            .unwrap_or_default();
        fields::remove(&mut template, &format!("/metadata/labels/{HASH}"));
        template
    }

    async fn until(&self, holds: impl Fn(&Seen) -> bool) -> bool {
        let end = Instant::now() + PATIENCE;
        while !holds(&self.followed.see(self.namespace)) {
            if Instant::now() > end {
                return false;
            }
            sleep(LOOK).await;
        }
        true
    }

    /// The state once something holds and nothing moves; null when that does not come.
    async fn rest(&self, holds: Holds) -> Value {
        let end = Instant::now() + PATIENCE;
        let mut state = Value::Null;
        let mut since = Instant::now();
        while Instant::now() < end {
            let seen = self.followed.see(self.namespace);
            let now = seen.state();
            if now != state || !holds(&seen) || seen.moving() {
                state = now;
                since = Instant::now();
            } else if since.elapsed() >= QUIET {
                return state;
            }
            sleep(LOOK).await;
        }
        println!("{} did not come to rest: {state}", self.namespace);
        Value::Null
    }
}

fn kind_of(object: &Value) -> Kind {
    let (api_version, kind) = (fields::text(object, "/apiVersion"), fields::text(object, "/kind"));
    Kind::of_object(api_version, kind).expect("a kind that is known")
}
