//! What the controller asked of the API server, and for what.

use std::collections::BTreeSet;

use jiff::Timestamp;
use slipway_e2e::own_time::Span;
use slipway_judge::observer::{Mark, Observation, moves};

/// The controller's requests.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counted {
    /// What a release without tasks asks, too.
    pub(super) rollout: usize,
    /// About Jobs and their pods, and status writes that tell of a task or an index.
    pub(super) tasks: usize,
    /// Status writes that only tell how far things are, and Events.
    pub(super) told: usize,
    /// In the last ten seconds, leases and watches apart.
    pub(super) idle: usize,
}

/// Counts the requests since the Release was applied.
pub(super) fn counted(seen: &Observation, applied: &Mark, idle: &Mark) -> Counted {
    let since = seen.requests_since(applied);
    let writes = writes_of_tasks(seen);
    let budgeted = since.budgeted();
    let is_of_tasks = |at: &Timestamp, resource: &str| {
        resource.starts_with("jobs") || resource.starts_with("pods") || writes.contains(at)
    };
    let asked = budgeted.0.iter();
    let tasks = asked
        .filter(|asked| is_of_tasks(&asked.at, &asked.resource))
        .count();
    Counted {
        rollout: budgeted.count() - tasks,
        tasks,
        told: since.beyond_idle().count() - budgeted.count(),
        idle: seen.requests_since(idle).beyond_idle().count(),
    }
}

/// The times of the status writes that changed what is said of tasks or of the search.
fn writes_of_tasks(seen: &Observation) -> BTreeSet<Timestamp> {
    let pairs = seen.claims.iter().zip(seen.claims.iter().skip(1));
    let tells = pairs.filter(|(before, after)| {
        ["tasks", "search"]
            .iter()
            .any(|part| before.status[part] != after.status[part])
    });
    tells.map(|(_, after)| after.at).collect()
}

/// The story in full: moves, tasks, waits and requests, with times since the Release was applied.
pub(super) fn details(seen: &Observation, applied: &Mark, waits: &[Span]) -> String {
    let since = |at: Timestamp| at.duration_since(applied.at).as_secs_f64();
    let jobs = seen.jobs.iter().map(|job| {
        let ended = job.ended.as_ref().map_or(f64::NAN, |(_, at)| since(*at));
        format!(
            "{:>+9.3}s  to {ended:+.3}s  {}\n",
            since(job.created_at),
            job.name
        )
    });
    let waits = waits
        .iter()
        .map(|wait| format!("{:>+9.3}s  to {:+.3}s\n", since(wait.from), since(wait.to)));
    let requests = seen.requests_since(applied);
    format!(
        "moves\n{}\n\ntasks\n{}\nwaits\n{}\nrequests in the budget\n{}\n{requests}",
        moves::transcript(&seen.moves, applied.at),
        jobs.collect::<String>(),
        waits.collect::<String>(),
        requests.budgeted().list(applied.at)
    )
}
