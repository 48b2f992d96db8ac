//! The Slipway controller: a thin shell around [`slipway_engine`] that observes, commits, executes and reports what
//! the engine decides.

pub mod admin;
pub mod args;
pub mod backoff;
pub mod cache;
pub mod caches;
pub mod client;
pub mod clock;
pub mod commit;
pub mod context;
pub mod error;
pub mod events;
pub mod execute;
pub mod leader;
pub mod metrics;
pub mod observe;
pub mod panics;
pub mod queue;
pub mod reconcile;
pub mod replay;
pub mod report;
pub mod run;
pub mod search;
pub mod telemetry;
pub mod watch;
pub mod work;
