//! What is gathered on a real cluster: the API server's audit log, `EndpointSlices`, the aliases of a search engine.
//!
//! All are plain functions over what was gathered: [`reader`] makes a history of it, which is judged by
//! [`crate::invariants`]; [`moves`], [`jobs`], [`status`] and [`requests`] say what tests want to know besides.

pub mod aliases;
pub mod audit;
pub mod jobs;
pub mod moves;
pub mod observation;
pub mod reader;
pub mod requests;
pub mod status;
mod unanswered;

use std::path::PathBuf;

use jiff::Timestamp;

pub use moves::{Move, Moved};
pub use observation::Observation;
pub use requests::{Purpose, Requests};

/// A named moment, comparable between the client, the observer and the API server's audit log, which all
/// run on one machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    /// What happened, for reports.
    pub name: String,
    /// When.
    pub at: Timestamp,
}

impl Mark {
    /// A mark for this moment.
    pub fn now(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            at: Timestamp::now(),
        }
    }
}

/// A search engine with the aliases to watch.
#[derive(Clone, Debug)]
pub struct Engine {
    /// Such as `http://127.0.0.1:9200`.
    pub url: String,
    /// Names of the aliases.
    pub aliases: Vec<String>,
}

/// What to observe.
#[derive(Clone, Debug)]
pub struct ObserverConfig {
    /// The API server's audit log, one JSON object a line.
    pub audit_log: PathBuf,
    /// The namespace with the application.
    pub namespace: String,
    /// The controller's user.
    pub controller_user: String,
    /// The search engine, if aliases are to be watched.
    pub engine: Option<Engine>,
    /// Services whose endpoints are watched.
    pub services: Vec<String>,
}

impl ObserverConfig {
    /// Observes a namespace, with the names that chart and examples use.
    pub fn new(audit_log: impl Into<PathBuf>, namespace: impl Into<String>) -> Self {
        Self {
            audit_log: audit_log.into(),
            namespace: namespace.into(),
            controller_user: "system:serviceaccount:slipway-system:slipway".to_owned(),
            engine: None,
            services: Vec::new(),
        }
    }

    /// Watches the endpoints of these Services.
    #[must_use]
    pub fn services(self, names: &[&str]) -> Self {
        Self {
            services: names.iter().map(|name| (*name).to_owned()).collect(),
            ..self
        }
    }

    /// Watches these aliases.
    #[must_use]
    pub fn aliases(self, url: impl Into<String>, names: &[&str]) -> Self {
        let aliases = names.iter().map(|name| (*name).to_owned()).collect();
        Self {
            engine: Some(Engine {
                url: url.into(),
                aliases,
            }),
            ..self
        }
    }
}
