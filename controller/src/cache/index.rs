//! By what the objects of a cache are found, so that a question costs by the number of its answers.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet, HashMap},
};

use slipway_crds::{DeploymentName, ServiceName, Uid, names::POD_TEMPLATE_HASH};

use super::Key;

/// By what an object is found within its namespace.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum Tag {
    /// The UID of a Release: its own, or that of the Release it belongs to.
    Release(Uid),
    /// The UID of the Deployment that owns it.
    Owner(Uid),
    /// The name of a Deployment.
    Deployment(DeploymentName),
    /// The name of a Service.
    Service(ServiceName),
    /// A label that its pods carry.
    Label(String, String),
    /// A label that it selects pods by: of all of those the one under which the fewest are filed.
    Selects(String, String),
    /// It selects pods whatever their labels.
    SelectsAll,
}

/// What is kept in a cache.
pub trait Indexed {
    /// By what it is found.
    fn tags(&self) -> Vec<Tag>;

    /// The labels that pods must have to be selected by it; none if it selects none.
    fn selector(&self) -> Option<Cow<'_, BTreeMap<String, String>>> {
        None
    }
}

/// The names of objects by namespace and tag.
#[derive(Debug, Default)]
pub(super) struct Index(HashMap<(String, Tag), BTreeSet<String>>);

impl Index {
    pub(super) fn enter(&mut self, key: &Key, value: &impl Indexed) {
        for tag in value.tags() {
            self.file(key, tag);
        }
        if let Some(selector) = value.selector() {
            let pairs = pairs(&selector).map(|(name, label)| Tag::Selects(name.clone(), label.clone()));
            let rarest = pairs.min_by_key(|tag| self.count(&key.namespace, tag));
            self.file(key, rarest.unwrap_or(Tag::SelectsAll));
        }
    }

    pub(super) fn leave(&mut self, key: &Key, value: &impl Indexed) {
        let selects = value.selector().into_iter().flat_map(|selector| {
            let pairs = pairs(&selector).map(|(name, label)| Tag::Selects(name.clone(), label.clone()));
            pairs.chain([Tag::SelectsAll]).collect::<Vec<_>>()
        });
        for tag in value.tags().into_iter().chain(selects) {
            let place = (key.namespace.clone(), tag);
            if let Some(names) = self.0.get_mut(&place) {
                names.remove(&key.name);
                if names.is_empty() {
                    self.0.remove(&place);
                }
            }
        }
    }

    fn file(&mut self, key: &Key, tag: Tag) {
        let place = (key.namespace.clone(), tag);
        self.0.entry(place).or_default().insert(key.name.clone());
    }

    fn count(&self, namespace: &str, tag: &Tag) -> usize {
        self.names(namespace, tag).map_or(0, BTreeSet::len)
    }

    /// What is filed under a tag.
    pub(super) fn names(&self, namespace: &str, tag: &Tag) -> Option<&BTreeSet<String>> {
        self.0.get(&(namespace.to_owned(), tag.clone()))
    }

    /// What may select pods with these labels.
    pub(super) fn selecting(&self, namespace: &str, labels: &BTreeMap<String, String>) -> BTreeSet<&String> {
        let tags = pairs(labels).map(|(name, label)| Tag::Selects(name.clone(), label.clone()));
        tags.chain([Tag::SelectsAll])
            .filter_map(|tag| self.names(namespace, &tag))
            .flatten()
            .collect()
    }

    /// What is filed under every label of a selector.
    pub(super) fn labelled(&self, namespace: &str, selector: &BTreeMap<String, String>) -> Vec<&String> {
        let tags = pairs(selector).map(|(name, label)| Tag::Label(name.clone(), label.clone()));
        let filed: Option<Vec<&BTreeSet<String>>> = tags.map(|tag| self.names(namespace, &tag)).collect();
        let filed = filed.unwrap_or_default();
        let rarest = filed.iter().min_by_key(|names| names.len());
        let names = rarest.into_iter().flat_map(|names| names.iter());
        names
            .filter(|name| filed.iter().all(|names| names.contains(*name)))
            .collect()
    }
}

/// The labels that say something: the hash that Kubernetes and a pin add tells the sides of one Deployment apart.
fn pairs(labels: &BTreeMap<String, String>) -> impl Iterator<Item = (&String, &String)> {
    labels.iter().filter(|(name, _)| *name != POD_TEMPLATE_HASH)
}

/// Whether a selector selects pods with these labels.
pub(super) fn selects(selector: &BTreeMap<String, String>, labels: &BTreeMap<String, String>) -> bool {
    pairs(selector).all(|(name, label)| labels.get(name) == Some(label))
}
