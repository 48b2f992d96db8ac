//! `cargo campaign`: every campaign of the simulator, with its counts.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::Instant,
};

use anyhow::{Result, bail, ensure};

use crate::{
    harness::progress::Progress,
    simulator::campaign::{
        plans::{ALL, Campaign, Failure, References, choose, judge},
        run::Plan,
        scenes, teeth,
    },
};

/// Failures of one campaign that are told in full.
const TOLD: usize = 3;
/// How often a log says how far a campaign is, in runs.
const SAID: usize = 500;

/// What is played.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Names of campaigns; none for all.
    pub only: Vec<String>,
    /// Every so many runs.
    pub every: usize,
    /// The most runs of one campaign.
    pub most: Option<usize>,
}

/// Plays the campaigns. An error when a run went wrong.
pub fn run(options: &Options) -> Result<()> {
    let progress = Progress::new();
    for name in &options.only {
        let known = ALL.iter().any(|campaign| campaign.name == name);
        ensure!(
            known,
            "there is no campaign {name}; there are {}",
            names().join(", ")
        );
    }
    let stage = progress.stage("references");
    let references = References::play(&scenes::ALL);
    stage.done(&format!("{} scenarios", scenes::ALL.len()));
    let mut failed = 0;
    let mut runs = 0;
    let chosen = ALL
        .iter()
        .filter(|campaign| options.only.is_empty() || options.only.iter().any(|name| name == campaign.name));
    for campaign in chosen {
        let (played, failures) = play(campaign, &references, options, &progress);
        for failure in failures.iter().take(TOLD) {
            progress.line(&failure.to_string());
        }
        for failure in failures.iter().skip(TOLD) {
            progress.line(&format!("{}: {}", failure.name, failure.wrong.join("; ")));
        }
        failed += failures.len();
        runs += played;
    }
    if options.only.is_empty() {
        failed += bite(&progress);
    }
    progress.line(&format!("{runs} runs, {failed} went wrong"));
    if failed > 0 {
        bail!("{failed} runs went wrong");
    }
    Ok(())
}

fn names() -> Vec<&'static str> {
    ALL.iter().map(|campaign| campaign.name).collect()
}

/// Plays one campaign; the number of its runs, and those that went wrong.
fn play(
    campaign: &Campaign,
    references: &References,
    options: &Options,
    progress: &Progress,
) -> (usize, Vec<Failure>) {
    let stage = progress.stage(campaign.name);
    let all = (campaign.plans)(references);
    let whole = all.len();
    let most = options.most.map_or(1, |most| whole.div_ceil(most.max(1)));
    let plans: Vec<Plan> = choose(all, options.every.max(most));
    let count = plans.len();
    let said = AtomicUsize::new(0);
    let begun = Instant::now();
    let failures = judge(&plans, references, &|done| {
        let note = format!("{done} of {count}: {}", campaign.about);
        if said.fetch_max(done / SAID, Ordering::Relaxed) < done / SAID {
            stage.note(&note);
        } else {
            stage.flash(&note);
        }
    });
    let seconds = begun.elapsed().as_secs();
    stage.done(&format!("{count} of {whole} runs in {seconds} s"));
    let wrong = failures.len();
    progress.line(&format!(
        "{}: {count} of {whole} runs, {wrong} went wrong: {}",
        campaign.name, campaign.about
    ));
    (count, failures)
}

/// Plays the controllers that err; the number of those that nobody caught.
fn bite(progress: &Progress) -> usize {
    let stage = progress.stage("teeth");
    let missed: Vec<_> = teeth::ALL
        .iter()
        .filter(|tooth| {
            let violations = tooth.plan().play().violations;
            !violations
                .iter()
                .any(|found| found.invariant == tooth.caught_by && found.what.contains(tooth.says))
        })
        .map(|tooth| tooth.error)
        .collect();
    let all = teeth::ALL.len();
    stage.done(&format!("{} of {all} planted errors caught", all - missed.len()));
    progress.line(&format!(
        "teeth: {} of {all} planted errors caught",
        all - missed.len()
    ));
    for error in &missed {
        progress.line(&format!("nobody caught {error:?}"));
    }
    missed.len()
}
