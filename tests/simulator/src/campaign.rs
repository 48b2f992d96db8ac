//! Whole releases by the real controller, with everything that can go wrong, judged from outside.
//!
//! - [`scenario`] and [`scenes`]: what people do and where it must end;
//! - [`plan`]: what is done in one run: a scenario and its troubles;
//! - [`run`]: the run, and its verdict;
//! - [`end`]: the end of a run, to be compared with the reference;
//! - [`plans`]: the campaigns;
//! - [`mutants`]: controllers that err, each of which an invariant has to catch.

pub mod end;
pub mod mutants;
pub mod plan;
pub mod plans;
pub mod run;
pub mod scenario;
pub mod scenes;
mod transcript;
