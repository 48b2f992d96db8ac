//! The suites on the real cluster.
