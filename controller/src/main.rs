//! The Slipway controller binary.
fn main() {}
