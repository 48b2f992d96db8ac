//! The pure core of Slipway.
