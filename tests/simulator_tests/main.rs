//! The simulator's own tests: the fake API server and the models of the controllers behave as was measured on
//! a real cluster of Kubernetes 1.34.

mod determinism;
mod faults;
mod jobs;
mod order;
mod owners;
mod search;
mod server;
mod stage;
mod status;
mod watches;
mod window;
mod window_after;
