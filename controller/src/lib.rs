//! The Slipway controller.
