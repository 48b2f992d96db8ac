//! What the suites on the real cluster and the demo stand on: a one-node Kubernetes, images, Helm,
//! PostgreSQL, a search engine, traffic, and an observer that checks from outside.

pub mod observer;
pub mod traffic;
