//! The database migration.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Task;
use crate::Duration;

/// The database migration, in the parts that a release may run at different times.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Migrate {
    /// What the old code survives: new tables, new columns with a default, new indices built concurrently.
    /// It runs once for the same image, command, args and env, before anything is built or booted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expand: Option<ExpandTask>,
}

/// A migration task with the two timeouts that keep it from blocking the old code.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ExpandTask {
    /// What runs.
    #[serde(flatten)]
    pub task: Task,

    /// PostgreSQL's `lock_timeout` for the task's sessions, by PGOPTIONS. A connection pooler may refuse it.
    /// Default: what the database says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lock_timeout: Option<Duration>,

    /// PostgreSQL's `statement_timeout` for the task's sessions, by PGOPTIONS. A connection pooler may
    /// refuse it. Default: what the database says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub statement_timeout: Option<Duration>,
}
