//! The real controller through whole releases with everything that can go wrong.
//!
//! Every campaign is played in part here and in full by `cargo campaign`.

use jiff::Timestamp;
use slipway_controller::context::{Engine, Planner};
use slipway_engine::{Call, Decision, Intent, Observed, Progress};
use slipway_kubernetes::kind::Kind;
use slipway_simulator::campaign::{
    mutants,
    plan::Plan,
    plans::{ALL, References, choose, judge},
    scenes,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, OnceLock},
    time::{Duration, Instant},
};

fn references() -> &'static References {
    static REFERENCES: OnceLock<References> = OnceLock::new();
    REFERENCES.get_or_init(|| References::play(&scenes::ALL))
}

/// Plays so many runs of a campaign, spread evenly over it.
fn campaign(name: &str, most: usize) {
    let started = Instant::now();
    let campaign = ALL.iter().find(|campaign| campaign.name == name).unwrap();
    let all = (campaign.plans)(references());
    let step = all.len().div_ceil(most);
    let plans = choose(all, step);
    let failures = judge(&plans, references(), &|_, _| {});
    println!(
        "{name}: {} runs in {:?}: {}",
        plans.len(),
        started.elapsed(),
        campaign.about
    );
    let told: Vec<String> = failures.iter().take(3).map(ToString::to_string).collect();
    let names: Vec<_> = failures
        .iter()
        .map(|failure| format!("{}: {}", failure.name, failure.wrong.join("; ")))
        .collect();
    assert!(
        failures.is_empty(),
        "{} of {} failed:\n{}\n{}",
        failures.len(),
        plans.len(),
        names.join("\n"),
        told.join("\n")
    );
}

#[test]
fn every_scenario_comes_to_its_end_in_peace() {
    for (scenario, reference) in references().all() {
        let again = Plan::without_faults(scenario, 2).play();
        let wrong = [reference.wrong(None), again.wrong(Some(&reference.end))].concat();
        assert!(
            wrong.is_empty(),
            "{}\n{}\n{}",
            again.name,
            wrong.join("\n"),
            again.trace
        );
    }
}

#[test]
fn a_migration_without_room_for_its_pod_never_runs_once_it_is_given_up() {
    let mut plan = Plan::without_faults(scenes::NO_ROOM, 1);
    plan.lasting = Duration::from_mins(5);
    let record = plan.play();
    let wrong = record.wrong(None);
    assert!(wrong.is_empty(), "{}\n{}", wrong.join("\n"), record.trace);
}

/// Facts from one engine and alias moves to another would never meet.
#[test]
fn an_index_goes_live_on_the_engine_it_was_built_on_whatever_the_spec_says_meanwhile() {
    let plan = Plan::without_faults(scenes::MOVED_ENGINE, 1);
    let record = plan.play();
    let wrong = record.wrong(None);
    assert!(wrong.is_empty(), "{}\n{}", wrong.join("\n"), record.trace);
    let torn = Plan {
        planner: Arc::new(|| Box::new(TwoEngines)),
        ..plan
    };
    let problems = torn.play().problems.join("; ");
    assert!(problems.contains("converges"), "{problems}");
}

/// An engine that moves the alias where the spec now says.
struct TwoEngines;

impl Planner for TwoEngines {
    fn decide(&self, intent: &Intent, committed: &Progress, observed: &Observed, now: Timestamp) -> Decision {
        let mut decision = Engine.decide(intent, committed, observed, now);
        for effect in &mut decision.effects {
            if let Call::MoveAlias { url, .. } = &mut effect.call {
                "http://other:9200".clone_into(url);
            }
        }
        decision
    }

    fn broken(&self, _: &Intent, _: &Progress, _: &Observed, _: &Decision) -> Vec<String> {
        Vec::new()
    }
}

#[test]
fn one_seed_is_one_run() {
    let play = |seed| {
        let calls = Plan::without_faults(scenes::PLAIN, seed).play().calls;
        // Kube's recorder writes the machine's own time into events.
        let calls = calls.iter().filter(|call| call.kind != Some(Kind::Event));
        calls.map(ToString::to_string).collect::<Vec<_>>()
    };
    let first = play(7);
    assert_eq!(first, play(7));
    assert_ne!(first, play(8));
}

/// Runs that went wrong once, as docs/reliability.md tells.
#[test]
fn what_was_found_stays_mended() {
    let found = [
        ("C4", "aborted/404 at call 44/seed 1"),
        ("C11", "aborted/5 random troubles/seed 5551"),
        ("C11", "evicted/1 random troubles/seed 2966"),
        ("C2", "whole/Pod held for 40 s before event 0/seed 1"),
        ("C2", "job-deleted/Job 30 s late/seed 1"),
        ("C2", "new-side-dies/ReplicaSet 30 s late/seed 1"),
        ("C6", "whole/takeover at write 22 by a clock -600 s ahead/seed 1"),
        (
            "C6",
            "asked-back/the clock stops for 2 minutes at write 82/seed 1",
        ),
        ("C6", "whole/takeover at write 2 by a clock 60 s ahead/seed 1"),
        (
            "C6",
            "new-side-dies/the clock goes on 10 minutes at write 17/seed 1",
        ),
        ("C7", "aborted/the Lease emptied at write 13/seed 1"),
        ("C8", "asked-back/the Deployment restarted at write 35/seed 1"),
        ("C8", "asked-back/the namespace deleted at write 47/seed 1"),
        ("C8", "asked-back/an old pod deleted at write 89/seed 1"),
        ("C8", "plain/the namespace deleted at write 14/seed 1"),
        ("C8", "plain/the Deployment orphaned at write 6/seed 1"),
        ("C8", "plain/the old ReplicaSet deleted at write 2/seed 1"),
        ("C8", "whole/the Service deleted at write 5/seed 1"),
        (
            "C7",
            "job-deleted/Lease lost at write 6, which is 20 s late/seed 1",
        ),
        (
            "C9",
            "whole/workloads.*.name changed at 177500 ms and back/seed 1",
        ),
    ];
    let names: BTreeSet<&str> = found.iter().map(|(name, _)| *name).collect();
    for name in names {
        let campaign = ALL.iter().find(|campaign| campaign.name == name).unwrap();
        let mut plans: BTreeMap<String, Plan> = (campaign.plans)(references())
            .into_iter()
            .map(|plan| (plan.name(), plan))
            .collect();
        let runs = found.iter().filter(|(of, _)| *of == name);
        let runs: Vec<Plan> = runs
            .map(|(_, run)| plans.remove(*run).unwrap_or_else(|| panic!("no {run}")))
            .collect();
        let failures = judge(&runs, references(), &|_, _| {});
        assert!(failures.is_empty(), "{}", failures[0]);
    }
}

#[test]
fn c1_crashes() {
    campaign("C1", 8);
}

#[test]
fn c1_pairs_of_crashes() {
    campaign("C1 pairs", 4);
}

#[test]
fn c2_stale_watches() {
    campaign("C2", 5);
}

#[test]
fn c3_broken_watches() {
    campaign("C3", 5);
}

#[test]
fn c4_faults_of_calls() {
    campaign("C4", 10);
}

#[test]
fn c5_lasting_faults() {
    campaign("C5", 5);
}

#[test]
fn c6_clocks() {
    campaign("C6", 5);
}

#[test]
fn c7_leaders() {
    campaign("C7", 5);
}

#[test]
fn c8_hostile_world() {
    campaign("C8", 5);
}

#[test]
fn c9_changes_of_mind() {
    campaign("C9", 3);
}

#[test]
fn c12_one_poisoned_release() {
    campaign("C12", 1);
}

#[test]
fn c11_random_runs() {
    campaign("C11", 5);
}

#[test]
fn planted_errors_are_caught_by_the_invariant_that_is_there_for_them() {
    let mut missed = Vec::new();
    for mutant in mutants::ALL {
        let record = mutant.plan().play();
        let caught = record
            .violations
            .iter()
            .find(|found| found.invariant == mutant.caught_by && found.what.contains(mutant.says));
        match caught {
            Some(caught) => println!("{:?}: {caught}", mutant.error),
            None => missed.push(format!(
                "{:?}: {:?} {:?}\n{}",
                mutant.error, record.violations, record.problems, record.trace
            )),
        }
    }
    assert!(missed.is_empty(), "not caught: {}", missed.join("\n"));
}
