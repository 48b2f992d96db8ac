//! What people and their tools do: kubectl's commands as functions on the cluster.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{
    clock,
    cluster::Cluster,
    fields,
    kind::Kind,
    models::{
        deployment::{HASH, REVISION, same_template},
        disruption,
    },
    refusal::Refusal,
    store::{Caller, DeleteOptions, Key, Part, Patch, Propagation, strategic_merge},
};

/// The annotation in which client-side apply keeps what it applied.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";
/// Annotations that `rollout undo` does not copy back.
const PRIVATE: [&str; 6] = [
    LAST_APPLIED,
    REVISION,
    "deployment.kubernetes.io/revision-history",
    "deployment.kubernetes.io/desired-replicas",
    "deployment.kubernetes.io/max-replicas",
    "deprecated.deployment.rollback.to",
];

/// The result of a command: the object as written, or why not.
pub type Written = Result<Arc<Value>, Refusal>;

/// A person with kubectl in the namespace `default`.
pub struct Kubectl<'a> {
    cluster: &'a mut Cluster,
    user: String,
}

impl<'a> Kubectl<'a> {
    /// The tool in the hands of a user.
    pub fn new(cluster: &'a mut Cluster, user: &str) -> Self {
        Self {
            cluster,
            user: user.to_owned(),
        }
    }

    fn caller(&self, manager: &str) -> Caller {
        Caller {
            manager: manager.to_owned(),
            ..Caller::new(&self.user)
        }
    }

    /// `kubectl create -f`.
    pub fn create(&mut self, manifest: &Value) -> Written {
        let caller = self.caller("kubectl-create");
        self.cluster
            .store
            .create(&caller, kind_of(manifest)?, "default", manifest.clone())
    }

    /// `kubectl apply -f`: client-side, a three-way merge with what was applied last.
    pub fn apply(&mut self, manifest: &Value) -> Written {
        let kind = kind_of(manifest)?;
        let caller = self.caller("kubectl-client-side-apply");
        let key = Key::new(kind, "default", fields::name(manifest));
        let mut wanted = manifest.clone();
        let pointer = format!("/metadata/annotations/{}", fields::escape(LAST_APPLIED));
        fields::set(&mut wanted, &pointer, manifest.to_string());
        let Some(live) = self.cluster.store.get(&key).cloned() else {
            return self.cluster.store.create(&caller, kind, "default", wanted);
        };
        let last = serde_json::from_str(fields::annotation(&live, LAST_APPLIED)).unwrap_or(Value::Null);
        self.cluster.store.modify(&caller, &key, Part::Main, |object| {
            take_dropped(object, &last, &wanted);
            retain_strategy(object, &wanted);
            strategic_merge(kind, object, &wanted);
        })
    }

    /// `kubectl apply --server-side --field-manager=… [--force-conflicts]`.
    pub fn apply_server_side(&mut self, manifest: &Value, manager: &str, force: bool) -> Written {
        let key = Key::new(kind_of(manifest)?, "default", fields::name(manifest));
        let caller = self.caller(manager);
        let patch = Patch::Apply {
            body: manifest.clone(),
            force,
        };
        self.cluster.store.patch(&caller, &key, &patch, Part::Main)
    }

    /// `kubectl replace -f`, or an edit of everything.
    pub fn replace(&mut self, manifest: &Value) -> Written {
        let key = Key::new(kind_of(manifest)?, "default", fields::name(manifest));
        let caller = self.caller("kubectl-replace");
        self.cluster
            .store
            .replace(&caller, &key, manifest.clone(), Part::Main)
    }

    /// `kubectl patch --type=merge`.
    pub fn patch(&mut self, kind: Kind, name: &str, patch: impl Into<Value>) -> Written {
        let caller = self.caller("kubectl-patch");
        let key = Key::new(kind, "default", name);
        self.cluster
            .store
            .patch(&caller, &key, &Patch::Merge(patch.into()), Part::Main)
    }

    /// `kubectl set image`.
    pub fn set_image(&mut self, deployment: &str, container: &str, image: &str) -> Written {
        let containers = json!([{"name": container, "image": image}]);
        self.strategic(deployment, &json!({"containers": containers}))
    }

    /// `kubectl set env`.
    pub fn set_env(&mut self, deployment: &str, container: &str, name: &str, value: &str) -> Written {
        let containers = json!([{"name": container, "env": [{"name": name, "value": value}]}]);
        self.strategic(deployment, &json!({"containers": containers}))
    }

    fn strategic(&mut self, deployment: &str, pod_spec: &Value) -> Written {
        let caller = self.caller("kubectl-set");
        let key = Key::new(Kind::Deployment, "default", deployment);
        let patch = Patch::Strategic(json!({"spec": {"template": {"spec": pod_spec}}}));
        self.cluster.store.patch(&caller, &key, &patch, Part::Main)
    }

    /// `kubectl scale`.
    pub fn scale(&mut self, deployment: &str, replicas: i64) -> Written {
        self.patch(
            Kind::Deployment,
            deployment,
            json!({"spec": {"replicas": replicas}}),
        )
    }

    /// `kubectl label`; null removes.
    pub fn label(&mut self, kind: Kind, name: &str, key: &str, value: impl Into<Value>) -> Written {
        self.patch(kind, name, json!({"metadata": {"labels": {key: value.into()}}}))
    }

    /// `kubectl annotate`; null removes.
    pub fn annotate(&mut self, kind: Kind, name: &str, key: &str, value: impl Into<Value>) -> Written {
        self.patch(
            kind,
            name,
            json!({"metadata": {"annotations": {key: value.into()}}}),
        )
    }

    /// `kubectl rollout pause`.
    pub fn pause(&mut self, deployment: &str) -> Written {
        self.patch(Kind::Deployment, deployment, json!({"spec": {"paused": true}}))
    }

    /// `kubectl rollout resume`.
    pub fn resume(&mut self, deployment: &str) -> Written {
        self.patch(Kind::Deployment, deployment, json!({"spec": {"paused": null}}))
    }

    /// `kubectl rollout restart`; kubectl refuses it while the Deployment is paused.
    pub fn restart(&mut self, deployment: &str) -> Written {
        self.refuse_paused(
            deployment,
            "can't restart paused deployment (run rollout resume first)",
        )?;
        let now = clock::seconds(self.cluster.clock.now());
        let annotations = json!({"annotations": {"kubectl.kubernetes.io/restartedAt": now}});
        self.patch(
            Kind::Deployment,
            deployment,
            json!({"spec": {"template": {"metadata": annotations}}}),
        )
    }

    /// `kubectl rollout undo`: the template of the revision before, with its annotations; kubectl refuses it
    /// while the Deployment is paused.
    pub fn undo(&mut self, deployment: &str) -> Written {
        self.refuse_paused(
            deployment,
            "you cannot rollback a paused deployment; resume it first",
        )?;
        let key = Key::new(Kind::Deployment, "default", deployment);
        let live = self.read(&key)?;
        let sets = self.cluster.store.list(Kind::ReplicaSet, Some("default"));
        let mut own: Vec<_> = sets
            .filter(|(_, set)| fields::controlled_by(set, fields::uid(&live)))
            .map(|(_, set)| {
                (
                    fields::annotation(set, REVISION).parse().unwrap_or(0),
                    Arc::clone(set),
                )
            })
            .collect();
        own.sort_by_key(|(revision, _): &(i64, _)| -revision);
        let Some((_, before)) = own.get(1) else {
            return Err(client_side("no rollout history found"));
        };
        if same_template(&before["spec"]["template"], &live["spec"]["template"]) {
            return Ok(live);
        }
        let mut template = before["spec"]["template"].clone();
        fields::remove(&mut template, &format!("/metadata/labels/{HASH}"));
        let mut annotations = json!({});
        let is_private = |key: &str| PRIVATE.contains(&key);
        let own = fields::map(&live, "/metadata/annotations").into_iter().flatten();
        for (key, value) in own.filter(|(key, _)| is_private(key)) {
            annotations[key] = value.clone();
        }
        let copied = fields::map(before, "/metadata/annotations").into_iter().flatten();
        for (key, value) in copied.filter(|(key, _)| !is_private(key)) {
            annotations[key] = value.clone();
        }
        let patch = json!([
            {"op": "replace", "path": "/spec/template", "value": template},
            {"op": "replace", "path": "/metadata/annotations", "value": annotations},
        ]);
        let caller = self.caller("kubectl-rollout");
        self.cluster
            .store
            .patch(&caller, &key, &Patch::Json(patch), Part::Main)
    }

    fn refuse_paused(&self, deployment: &str, why: &str) -> Result<(), Refusal> {
        let live = self.read(&Key::new(Kind::Deployment, "default", deployment))?;
        if fields::flag(&live, "/spec/paused") {
            Err(client_side(why))
        } else {
            Ok(())
        }
    }

    fn read(&self, key: &Key) -> Written {
        self.cluster
            .store
            .get(key)
            .cloned()
            .ok_or_else(|| Refusal::not_found(key.kind, &key.name))
    }

    /// `kubectl delete --cascade=…`.
    pub fn delete(&mut self, kind: Kind, name: &str, cascade: Propagation) -> Result<(), Refusal> {
        let options = DeleteOptions {
            propagation: Some(cascade),
            ..DeleteOptions::default()
        };
        self.delete_with(kind, name, &options)
    }

    /// `kubectl delete` with other options: a grace, conditions.
    pub fn delete_with(&mut self, kind: Kind, name: &str, options: &DeleteOptions) -> Result<(), Refusal> {
        let namespace = if kind.traits().namespaced { "default" } else { "" };
        let caller = self.caller("kubectl-delete");
        self.cluster
            .store
            .delete(&caller, &Key::new(kind, namespace, name), options)
            .map(drop)
    }

    /// The eviction of a pod, as `kubectl drain` asks for it.
    pub fn evict(&mut self, pod: &str) -> Result<(), Refusal> {
        let caller = self.caller("kubectl-drain");
        disruption::evict(self.cluster, &caller, &Key::new(Kind::Pod, "default", pod))
    }
}

/// A refusal by kubectl itself: nothing was sent, so it has no HTTP status.
fn client_side(why: &str) -> Refusal {
    Refusal::plain(0, "Client", why)
}

fn kind_of(manifest: &Value) -> Result<Kind, Refusal> {
    let (api_version, kind) = (
        fields::text(manifest, "/apiVersion"),
        fields::text(manifest, "/kind"),
    );
    Kind::of_object(api_version, kind).ok_or_else(|| {
        client_side(&format!(
            "no matches for kind \"{kind}\" in version \"{api_version}\""
        ))
    })
}

/// Takes away what the last manifest had and the new one has not.
fn take_dropped(live: &mut Value, last: &Value, wanted: &Value) {
    if let (Some(last), Some(live)) = (last.as_object(), live.as_object_mut()) {
        for (key, before) in last {
            match (wanted.get(key), live.get_mut(key)) {
                (None, Some(_)) if key != "annotations" => drop(live.remove(key)),
                (Some(after), Some(live)) => take_dropped(live, before, after),
                _ => {}
            }
        }
    } else if let (Some(last), Some(live), Some(wanted)) =
        (last.as_array(), live.as_array_mut(), wanted.as_array())
    {
        let name = |element: &Value| element.get("name").cloned();
        let named = |list: &[Value], wanted: &Value| {
            list.iter()
                .find(|element| name(element).is_some() && name(element) == name(wanted))
                .cloned()
        };
        live.retain(|element| named(last, element).is_none() || named(wanted, element).is_some());
        for element in live {
            if let (Some(before), Some(after)) = (named(last, element), named(wanted, element)) {
                take_dropped(element, &before, &after);
            }
        }
    }
}

/// A change of the strategy drops the keys that the manifest does not have.
fn retain_strategy(live: &mut Value, wanted: &Value) {
    let Some(strategy) = wanted.pointer("/spec/strategy") else {
        return;
    };
    let before = live.pointer("/spec/strategy").cloned().unwrap_or_default();
    let mut after = before.clone();
    strategic_merge(Kind::Deployment, &mut after, strategy);
    if after != before
        && let Some(found) = live.pointer_mut("/spec/strategy").and_then(Value::as_object_mut)
    {
        found.retain(|key, _| strategy.get(key).is_some());
    }
}
