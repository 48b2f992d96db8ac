//! Finding and making the ReplicaSet of the current template.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{HASH, REVISION, Rollout, Write, same_template, scaling, size};
use crate::{
    fields,
    kind::Kind,
    random,
    store::{Key, Part},
};

/// The annotation with the revisions that a ReplicaSet had before its present one.
const HISTORY: &str = "deployment.kubernetes.io/revision-history";
/// Annotations of the Deployment that are not copied to its ReplicaSets.
const PRIVATE: [&str; 6] = [
    "kubectl.kubernetes.io/last-applied-configuration",
    REVISION,
    HISTORY,
    scaling::DESIRED,
    scaling::MAXIMUM,
    "deprecated.deployment.rollback.to",
];

/// The revision that a ReplicaSet is marked with.
pub(super) fn revision(set: &Value) -> i64 {
    fields::annotation(set, REVISION).parse().unwrap_or_default()
}

impl Rollout<'_> {
    /// Brings revision, annotations and minReadySeconds of the new ReplicaSet up to date, if it exists.
    pub(super) fn follow_revision(&mut self) {
        let Some(new) = self.new.clone() else {
            return;
        };
        let mut wanted = Value::clone(&new);
        self.annotate(&mut wanted);
        let seconds = fields::count(&self.deployment, "/spec/minReadySeconds");
        fields::set_count(&mut wanted, "/spec/minReadySeconds", seconds);
        if wanted != *new {
            let key = Key::of(Kind::ReplicaSet, &wanted);
            self.new = Some(self.put(key, wanted, Part::Main));
            return;
        }
        let mut status = self.deployment["status"].clone();
        if self.has_deadline() && fields::condition(&self.deployment, "Progressing").is_none() {
            let message = format!("Found new replica set \"{}\"", fields::name(&new));
            self.set_condition(&mut status, "Progressing", "True", "FoundNewReplicaSet", &message);
        }
        self.write_revision(&revision(&new).to_string(), status);
    }

    /// The new ReplicaSet, made when there is none. None when its name is taken: the next look uses another.
    pub(super) fn ensure_new(&mut self) -> Option<Arc<Value>> {
        if self.new.is_some() {
            self.follow_revision();
            return self.new.clone();
        }
        let wanted = self.blank();
        let name = fields::name(&wanted).to_owned();
        if let Some(found) = self.store.find(Kind::ReplicaSet, &self.key.namespace, &name) {
            return self.take_or_collide(Arc::clone(found));
        }
        self.writes.push_back(Write::Create(wanted.clone()));
        let created = Arc::new(wanted);
        self.new = Some(Arc::clone(&created));
        let mut status = self.deployment["status"].clone();
        if self.has_deadline() {
            let message = format!("Created new replica set \"{name}\"");
            self.set_condition(
                &mut status,
                "Progressing",
                "True",
                "NewReplicaSetCreated",
                &message,
            );
        }
        self.write_revision(&revision(&created).to_string(), status);
        Some(created)
    }

    /// A ReplicaSet of the name that the new one would have: ours after all, or a collision to count.
    fn take_or_collide(&mut self, found: Arc<Value>) -> Option<Arc<Value>> {
        let own = fields::controlled_by(&found, fields::uid(&self.deployment))
            && same_template(&found["spec"]["template"], &self.deployment["spec"]["template"]);
        if own {
            self.new = Some(Arc::clone(&found));
            return Some(found);
        }
        let collisions = fields::count(&self.deployment, "/status/collisionCount") + 1;
        let mut deployment = Value::clone(&self.deployment);
        fields::set(&mut deployment, "/status/collisionCount", collisions);
        self.put_status(deployment);
        None
    }

    /// A ReplicaSet for the current template, not yet created.
    fn blank(&self) -> Value {
        let deployment = &self.deployment;
        let collisions = fields::count(deployment, "/status/collisionCount");
        let hash = template_hash(&deployment["spec"]["template"], collisions);
        let mut template = deployment["spec"]["template"].clone();
        fields::set(&mut template, &format!("/metadata/labels/{HASH}"), hash.as_str());
        let mut selector = deployment["spec"]["selector"].clone();
        fields::set(&mut selector, &format!("/matchLabels/{HASH}"), hash.as_str());
        let mut set = json!({
            "metadata": {
                "name": format!("{}-{hash}", self.key.name),
                "namespace": self.key.namespace,
                "labels": template["metadata"]["labels"],
                "ownerReferences": [fields::owner_reference(deployment)],
            },
            "spec": {"replicas": self.new_size(0), "selector": selector, "template": template},
        });
        let seconds = fields::count(deployment, "/spec/minReadySeconds");
        fields::set_count(&mut set, "/spec/minReadySeconds", seconds);
        self.annotate(&mut set);
        self.annotate_scale(&mut set);
        set
    }

    /// Copies the Deployment's annotations and counts the revision.
    fn annotate(&self, set: &mut Value) {
        let copied = fields::map(&self.deployment, "/metadata/annotations")
            .into_iter()
            .flatten();
        for (key, value) in copied.filter(|(key, _)| !PRIVATE.contains(&key.as_str())) {
            fields::set(
                set,
                &format!("/metadata/annotations/{}", fields::escape(key)),
                value.clone(),
            );
        }
        let next = self.old.iter().map(|set| revision(set)).max().unwrap_or_default() + 1;
        let before = fields::annotation(set, REVISION).to_owned();
        if revision(set) < next {
            let pointer = |key: &str| format!("/metadata/annotations/{}", fields::escape(key));
            fields::set(set, &pointer(REVISION), next.to_string());
            if !before.is_empty() {
                let history = fields::annotation(set, HISTORY);
                let separator = if history.is_empty() { "" } else { "," };
                let longer = format!("{history}{separator}{before}");
                fields::set(set, &pointer(HISTORY), longer);
            }
        }
    }

    /// Writes the Deployment's own revision together with a status, when either differs.
    fn write_revision(&mut self, revision: &str, status: Value) {
        if fields::annotation(&self.deployment, REVISION) == revision && self.deployment["status"] == status {
            return;
        }
        let mut deployment = Value::clone(&self.deployment);
        let pointer = format!("/metadata/annotations/{}", fields::escape(REVISION));
        fields::set(&mut deployment, &pointer, revision);
        fields::set(&mut deployment, "/status", status);
        self.put_status(deployment);
    }

    /// The size of the new ReplicaSet that surge and what is there allow.
    pub(super) fn new_size(&self, current: i64) -> i64 {
        let wanted = self.wanted();
        if self.recreates() {
            return wanted;
        }
        let total = self.all().map(|set| size(set)).sum::<i64>();
        let most = wanted + self.surge_for_new();
        if total >= most {
            current
        } else {
            current + (most - total).min(wanted - current)
        }
    }
}

/// A stable hash of a template, as the label and the ReplicaSet's name carry it.
fn template_hash(template: &Value, collisions: i64) -> String {
    let salt = if collisions > 0 {
        collisions.to_string()
    } else {
        String::new()
    };
    random::safe_hash(random::digest(format!("{template}{salt}").as_bytes()))
}
