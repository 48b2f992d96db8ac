//! The Slipway controller: a thin shell around [`slipway_engine`] that observes, commits, executes and reports what
//! the engine decides.

pub mod admin;
pub mod args;
pub mod backoff;
pub mod client;
pub mod clock;
pub mod events;
pub mod leader;
pub mod metrics;
pub mod panics;
pub mod run;
pub mod search;
pub mod telemetry;
