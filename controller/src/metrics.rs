//! What Prometheus reads. Labels are words of this code, never names of objects: their number stays bounded.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::Registry,
};

/// The media type of [`Metrics::encode`]'s text.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Upper bounds of one reconcile's time, seconds.
const RECONCILE_BUCKETS: [f64; 11] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0];
/// Upper bounds of one step's time, seconds: from an instant step to a build of a day.
const STEP_BUCKETS: [f64; 12] = [
    0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3600.0, 7200.0, 21_600.0, 86_400.0,
];

type Bucketed<L> = Family<L, Histogram, fn() -> Histogram>;

/// All metrics of the process. Cheap to clone; clones count into the same numbers.
#[derive(Clone, Debug)]
pub struct Metrics {
    registry: Arc<Registry>,
    reconcile_total: Family<ResultLabel, Counter>,
    reconcile_seconds: Histogram,
    phase: Family<PhaseLabel, Gauge>,
    phases: Arc<Mutex<HashMap<String, &'static str>>>,
    step_seconds: Bucketed<StepLabel>,
    effects_total: Family<EffectLabel, Counter>,
    commit_conflicts_total: Counter,
    leader: Gauge,
    api_requests_total: Family<RequestLabel, Counter>,
    events_lost_total: Counter,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ResultLabel {
    result: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PhaseLabel {
    phase: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StepLabel {
    step: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct EffectLabel {
    effect: &'static str,
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabel {
    verb: &'static str,
    resource: String,
}

impl Metrics {
    /// All metrics, at zero.
    pub fn new() -> Self {
        let mut registry = Registry::with_prefix("slipway");
        let reconcile_total = Family::default();
        registry.register("reconcile", "Reconciles by their result", reconcile_total.clone());
        let reconcile_seconds = Histogram::new(RECONCILE_BUCKETS);
        registry.register(
            "reconcile_seconds",
            "Time of one reconcile",
            reconcile_seconds.clone(),
        );
        let phase = Family::default();
        registry.register("phase", "Releases that are in a phase now", phase.clone());
        let step_seconds =
            Bucketed::new_with_constructor((|| Histogram::new(STEP_BUCKETS)) as fn() -> Histogram);
        registry.register("step_seconds", "Time of one finished step", step_seconds.clone());
        let effects_total = Family::default();
        registry.register(
            "effects",
            "Executed effects by kind and outcome",
            effects_total.clone(),
        );
        let commit_conflicts_total = Counter::default();
        registry.register(
            "commit_conflicts",
            "Status writes that lost against a newer version",
            commit_conflicts_total.clone(),
        );
        let leader = Gauge::default();
        registry.register("leader", "1 while this process holds the Lease", leader.clone());
        let api_requests_total = Family::default();
        registry.register(
            "api_requests",
            "Requests sent to the Kubernetes API by verb and resource",
            api_requests_total.clone(),
        );
        let events_lost_total = Counter::default();
        registry.register(
            "events_lost",
            "Kubernetes events that could not be written",
            events_lost_total.clone(),
        );
        Self {
            registry: Arc::new(registry),
            reconcile_total,
            reconcile_seconds,
            phase,
            phases: Arc::default(),
            step_seconds,
            effects_total,
            commit_conflicts_total,
            leader,
            api_requests_total,
            events_lost_total,
        }
    }

    /// One pass ended after `took`: `done`, `panicked`, or a [class](crate::error::class) of failure.
    pub fn reconciled(&self, result: &'static str, took: Duration) {
        self.reconcile_total.get_or_create(&ResultLabel { result }).inc();
        self.reconcile_seconds.observe(took.as_secs_f64());
    }

    /// The Release with this UID is in `phase` now; `None` when it is gone.
    pub fn phase(&self, release: &str, phase: Option<&'static str>) {
        let mut phases = self.phases.lock().unwrap_or_else(PoisonError::into_inner);
        let before = match phase {
            Some(phase) => phases.insert(release.to_owned(), phase),
            None => phases.remove(release),
        };
        if before == phase {
            return;
        }
        if let Some(phase) = before {
            self.phase.get_or_create(&PhaseLabel { phase }).dec();
        }
        if let Some(phase) = phase {
            self.phase.get_or_create(&PhaseLabel { phase }).inc();
        }
    }

    /// A step of some release finished after `took`.
    pub fn step(&self, step: &'static str, took: Duration) {
        self.step_seconds
            .get_or_create(&StepLabel { step })
            .observe(took.as_secs_f64());
    }

    /// An effect was executed, with this outcome.
    pub fn effect(&self, effect: &'static str, outcome: &'static str) {
        self.effects_total
            .get_or_create(&EffectLabel { effect, outcome })
            .inc();
    }

    /// A status write was refused because somebody wrote before.
    pub fn commit_conflict(&self) {
        self.commit_conflicts_total.inc();
    }

    /// Whether this process holds the Lease now.
    pub fn leader(&self, leading: bool) {
        self.leader.set(i64::from(leading));
    }

    /// A request to the Kubernetes API is being sent.
    pub fn api_request(&self, verb: &'static str, resource: &str) {
        self.api_requests_total
            .get_or_create(&RequestLabel {
                verb,
                resource: resource.to_owned(),
            })
            .inc();
    }

    /// A Kubernetes event was dropped or refused.
    pub fn event_lost(&self) {
        self.events_lost_total.inc();
    }

    /// Everything in the text format of `OpenMetrics`.
    pub fn encode(&self) -> Result<String, std::fmt::Error> {
        let mut text = String::new();
        encode(&mut text, &self.registry)?;
        Ok(text)
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn assert_line(metrics: &Metrics, line: &str) {
        let text = metrics.encode().unwrap();
        assert!(text.lines().any(|have| have == line), "{line} is not in\n{text}");
    }

    #[test]
    fn the_names_are_those_the_documentation_promises() {
        let metrics = Metrics::new();
        metrics.reconciled("done", Duration::from_millis(20));
        metrics.step("expand", Duration::from_secs(70));
        metrics.effect("CreateJob", "done");
        metrics.commit_conflict();
        metrics.leader(true);
        metrics.api_request("patch", "deployments");
        metrics.event_lost();
        for line in [
            r#"slipway_reconcile_total{result="done"} 1"#,
            r#"slipway_reconcile_seconds_bucket{le="0.025"} 1"#,
            r#"slipway_step_seconds_bucket{le="300.0",step="expand"} 1"#,
            r#"slipway_effects_total{effect="CreateJob",outcome="done"} 1"#,
            "slipway_commit_conflicts_total 1",
            "slipway_leader 1",
            r#"slipway_api_requests_total{verb="patch",resource="deployments"} 1"#,
            "slipway_events_lost_total 1",
        ] {
            assert_line(&metrics, line);
        }
    }

    #[test]
    fn a_release_is_counted_in_exactly_one_phase() {
        let metrics = Metrics::new();
        metrics.phase("uid-1", Some("Expand"));
        metrics.phase("uid-2", Some("Expand"));
        metrics.phase("uid-1", Some("Expand"));
        assert_line(&metrics, r#"slipway_phase{phase="Expand"} 2"#);
        metrics.phase("uid-1", Some("Preboot"));
        metrics.phase("uid-2", None);
        metrics.phase("uid-2", None);
        assert_line(&metrics, r#"slipway_phase{phase="Expand"} 0"#);
        assert_line(&metrics, r#"slipway_phase{phase="Preboot"} 1"#);
    }
}
