//! What has to be read for a decision beyond what the watches hold. Nothing is read without need.

use jiff::{SignedDuration, Timestamp};
use slipway_crds::v1alpha1::status::{Course, StepName};

use crate::housekeeping::due;
use crate::intent::{Intent, Plan};
use crate::progress::{Progress, since};
use crate::search::{Question, question};

/// What has to be read live.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Needs {
    /// What to ask the search engine.
    pub search: Option<Question>,
    /// Volume claims and autoscalers of the namespace.
    pub preflight: bool,
    /// Why the pods of these Deployments are not ready.
    pub pod_troubles: Vec<String>,
}

impl Needs {
    /// Whether all of this is among what was asked for before.
    pub fn within(&self, asked: &Self) -> bool {
        (self.search.is_none() || self.search == asked.search)
            && (!self.preflight || asked.preflight)
            && self
                .pod_troubles
                .iter()
                .all(|name| asked.pod_troubles.contains(name))
    }
}

/// A boot that takes longer than this is looked into.
const SLOW_BOOT: SignedDuration = SignedDuration::from_secs(5);

/// What the next decision wants to know.
pub fn needs(intent: &Intent, committed: &Progress, now: Timestamp) -> Needs {
    let frozen = committed
        .revision()
        .and_then(|revision| Plan::parse(&revision.inputs.0).ok());
    let wanted = intent.wanted.clone().ok();
    let running = committed.running();
    let plan = if running.is_some() {
        frozen.or(wanted)
    } else {
        wanted.or(frozen)
    };
    let Some(plan) = plan else {
        return Needs::default();
    };
    let forward = running.is_some_and(|revision| revision.course == Course::Forward);
    let candidate = committed.candidate().is_some();
    let upcoming = running.is_none()
        && !intent.live.suspend
        && committed
            .revision()
            .is_some_and(|ended| ended.digest != plan.digest);
    let preflight =
        upcoming || committed.revision().is_none() || (forward && !committed.passed(StepName::Preflight));
    let engine = if intent.meta.deleting {
        candidate
    } else if upcoming {
        true
    } else if forward {
        !committed.passed(StepName::Preflight)
            || committed.passed(StepName::Expand) && !committed.passed(StepName::Reindex)
            || candidate
                && (!committed.passed(StepName::Cutover) && committed.passed(StepName::Preboot)
                    || committed.begun(StepName::Retire))
    } else {
        running.is_none()
            && committed.status.search.as_ref().is_some_and(|search| {
                let keep = plan
                    .reindex
                    .as_ref()
                    .map_or(1, |reindex| reindex.keep_generations);
                search
                    .retired
                    .iter()
                    .any(|index| due(&search.retired, index, keep, now))
            })
    };
    let workloads = committed.status.workloads.iter();
    let slow = workloads.filter(|workload| {
        forward
            && !committed.passed(StepName::Preboot)
            && workload.ready_since.is_none()
            && workload
                .locked_at
                .is_some_and(|locked| since(now, locked) >= SLOW_BOOT)
    });
    Needs {
        search: engine.then(|| question(&plan, committed, true)).flatten(),
        preflight,
        pod_troubles: slow.map(|workload| workload.deployment.clone()).collect(),
    }
}
