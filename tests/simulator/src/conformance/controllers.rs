//! The models of the controllers and of the kubelet against the real ones: the same stories, the same states.
//!
//! A story is what people do to a namespace, as data. The same player acts it on both sides, through the same kind of
//! client, and looks at the namespace whenever it has come to rest. Times, names and the order in between are not
//! compared.

mod deployments;
mod jobs;
mod manifests;
mod player;
mod seen;
mod simulated;
mod story;

use std::collections::BTreeSet;

pub use self::{
    player::{Followed, Hands, play},
    simulated::simulate,
    story::{Signal, Story},
};
use slipway_kubernetes::trace;

/// What was seen in a story, in order: the name of the state, and the state; null when it was not reached in time.
pub type Account = Vec<(String, serde_json::Value)>;

/// All stories.
pub fn stories() -> Vec<Story> {
    let all = [deployments::all(), jobs::all()].concat();
    let names: BTreeSet<_> = all.iter().map(|story| story.name).collect();
    assert_eq!(names.len(), all.len(), "each story has a name of its own");
    all
}

/// What differs between the account of the real cluster and that of the simulator, in words.
pub fn differences(real: &Account, simulated: &Account) -> Vec<String> {
    let mut found = Vec::new();
    for ((name, wanted), (other, got)) in real.iter().zip(simulated) {
        assert_eq!(name, other, "both play the same story");
        for (side, state) in [("the real cluster", wanted), ("the simulator", got)] {
            if state.is_null() {
                found.push(format!("{name}: never came on {side}"));
            }
        }
        let lines = trace::difference(wanted, got);
        if !lines.is_empty() {
            found.push(format!(
                "{name} (real → simulated):\n    {}",
                lines.join("\n    ")
            ));
        }
    }
    if real.len() != simulated.len() {
        let (wanted, got) = (real.len(), simulated.len());
        found.push(format!(
            "{wanted} states on the real cluster, {got} in the simulator"
        ));
    }
    found
}
