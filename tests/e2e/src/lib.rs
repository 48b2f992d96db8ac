//! What the suites on the real cluster and the demo stand on: a one-node Kubernetes, images, Helm,
//! PostgreSQL, a search engine, traffic, and an observer that checks from outside.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::missing_panics_doc,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "test code: a broken assumption ends the test, and the harness talks to a terminal"
)]

pub mod binaries;
pub mod cache;
pub mod cargo;
pub mod certificates;
pub mod cluster;
pub mod components;
pub mod control_groups;
pub mod helm;
pub mod image;
pub mod namespaces;
pub mod network;
pub mod observer;
pub mod own_time;
pub mod packages;
pub mod postgres;
pub mod process;
pub mod progress;
pub mod reference;
pub mod sandbox;
pub mod search_engine;
pub mod setup;
pub mod traffic;
