//! What is done in one run: a scenario and its troubles.

use std::{fmt, sync::Arc, time::Duration};

use jiff::SignedDuration;
use slipway_controller::context::{Engine, Planner};

use super::{
    run::{Record, Run},
    scenario::Scenario,
};
use crate::world::World;

/// Before each number of a trouble in the name of a run that was made smaller.
pub const ONLY: &str = "/only ";

/// Makes the planner of a process.
pub type MakePlanner = Arc<dyn Fn() -> Box<dyn Planner> + Send + Sync>;

/// Something that is arranged in a world before the controller starts.
pub type Arrange = Arc<dyn Fn(&mut World) + Send + Sync>;

/// One thing that goes wrong in a run.
#[derive(Clone)]
pub struct Trouble {
    /// In words.
    pub words: String,
    /// Arranges it.
    pub arrange: Arrange,
}

impl Trouble {
    /// One of these words.
    pub fn new(words: impl Into<String>, arrange: impl Fn(&mut World) + Send + Sync + 'static) -> Self {
        Self {
            words: words.into(),
            arrange: Arc::new(arrange),
        }
    }
}

/// What is done in one run.
#[derive(Clone)]
#[allow(
    clippy::struct_excessive_bools,
    reason = "each says one thing about how a run is judged"
)]
pub struct Plan {
    /// What people do.
    pub scenario: Scenario,
    /// All chance.
    pub seed: u64,
    /// What goes wrong, in words; with scenario and seed it names the run.
    pub trouble: String,
    /// All that goes wrong.
    pub troubles: Vec<Trouble>,
    /// Those of them that are left in a run that is made smaller; none for all.
    pub kept: Option<Vec<usize>>,
    /// Processes that take part in the election at a time.
    pub processes: usize,
    /// Whether each has a Lease of its own, so that all of them lead.
    pub own_leases: bool,
    /// How far the clock of every second process is ahead.
    pub skew: SignedDuration,
    /// Whether all clocks go right.
    pub timed: bool,
    /// No end comes before this time: something is still to happen then.
    pub earliest: Duration,
    /// For how long the end has to be the end, where something else may come after what looks like it.
    pub lasting: Duration,
    /// How much longer than others a run may take.
    pub slack: Duration,
    /// Whether its processes write only while they hold the Lease.
    pub fenced: bool,
    /// Whether the Lease has to stay with its first holder.
    pub steady: bool,
    /// What decides.
    pub planner: MakePlanner,
    /// Whether a person says `retry` to what waits for one, so that the end may have more attempts.
    pub helped: bool,
    /// Whether the troubles themselves harm pods or objects: traffic and ends are then not compared.
    pub harmed: bool,
    /// Whether the end is another than the reference's.
    pub free: bool,
    /// Whether something is tried again for ever, so that there is no rest.
    pub restless: bool,
}

impl Plan {
    /// A run in which nothing goes wrong.
    pub fn without_faults(scenario: Scenario, seed: u64) -> Self {
        Self {
            scenario,
            seed,
            trouble: "nothing".to_owned(),
            troubles: Vec::new(),
            kept: None,
            processes: 1,
            own_leases: false,
            skew: SignedDuration::ZERO,
            timed: true,
            earliest: Duration::ZERO,
            lasting: Duration::ZERO,
            slack: Duration::ZERO,
            fenced: true,
            steady: false,
            planner: Arc::new(|| Box::new(Engine)),
            helped: false,
            harmed: false,
            free: false,
            restless: false,
        }
    }

    /// The same with something that goes wrong.
    #[must_use]
    pub fn with(
        mut self,
        trouble: impl Into<String>,
        arrange: impl Fn(&mut World) + Send + Sync + 'static,
    ) -> Self {
        self.trouble = trouble.into();
        self.troubles = vec![Trouble::new(self.trouble.clone(), arrange)];
        self
    }

    /// The same with several things that go wrong.
    #[must_use]
    pub fn with_all(mut self, trouble: impl Into<String>, troubles: Vec<Trouble>) -> Self {
        self.trouble = trouble.into();
        self.troubles = troubles;
        self
    }

    /// The same with these of its troubles alone, by their numbers.
    #[must_use]
    pub fn only(mut self, kept: Vec<usize>) -> Self {
        self.kept = Some(kept);
        self
    }

    /// The numbers of its troubles.
    pub(super) fn numbers(&self) -> Vec<usize> {
        let all = || (0..self.troubles.len()).collect();
        self.kept.clone().unwrap_or_else(all)
    }

    /// The same with one trouble less, in every way; nothing for a run with a single one.
    pub fn smaller(&self) -> Vec<Self> {
        let numbers = self.numbers();
        if numbers.len() < 2 {
            return Vec::new();
        }
        let without = |left_out: &usize| {
            let kept = numbers.iter().filter(|number| *number != left_out);
            self.clone().only(kept.copied().collect())
        };
        numbers.iter().map(without).collect()
    }

    /// Its troubles in words.
    pub fn words(&self) -> Vec<&str> {
        let troubles = self.numbers().into_iter().map(|number| &self.troubles[number]);
        troubles.map(|trouble| trouble.words.as_str()).collect()
    }

    /// The name of the run.
    pub fn name(&self) -> String {
        let kept = self.kept.iter().flatten().map(|number| format!("{ONLY}{number}"));
        let kept: String = kept.collect();
        format!("{}/{}/seed {}{kept}", self.scenario.name, self.trouble, self.seed)
    }

    /// Plays it in a runtime of its own: one thread, paused time.
    pub fn play(&self) -> Record {
        fastrand::seed(self.seed);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .expect("a runtime");
        runtime.block_on(async { Run::new(self).play().await })
    }
}

impl fmt::Debug for Plan {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.name())
    }
}
