//! `cargo campaign`: every campaign of the simulator, with its counts, and the comparison with a real API server.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::Instant,
};

use anyhow::{Result, bail, ensure};
use slipway_e2e::{
    binaries::Binaries, cluster::Cluster, packages, progress::Progress, reference::Reference,
    sandbox::Lifetime, setup,
};
use slipway_simulator::{
    campaign::{
        mutants,
        plan::Plan,
        plans::{ALL, Campaign, Failure, References, choose, judge},
        scenes,
    },
    conformance,
};

/// The name of the comparison with a real API server, and of its cluster.
const CONFORMANCE: &str = "conformance";
/// The random requests of it.
const REQUESTS: usize = 10_000;

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
    /// The seed of the comparison with a real API server.
    pub seed: u64,
}

/// Plays the campaigns. An error when a run went wrong.
pub fn run(options: &Options) -> Result<()> {
    let progress = Progress::new();
    for name in &options.only {
        ensure!(
            names().contains(&name.as_str()),
            "there is no campaign {name}; there are {}",
            names().join(", ")
        );
    }
    let all = options.only.is_empty();
    let wanted = |name: &str| all || options.only.iter().any(|only| only == name);
    if !all && wanted(CONFORMANCE) {
        setup::ensure_root()?;
    }
    let chosen: Vec<_> = ALL.iter().filter(|campaign| wanted(campaign.name)).collect();
    let (mut runs, mut failed) = play_all(&chosen, options, &progress);
    if all {
        failed += play_mutants(&progress);
    }
    if wanted(CONFORMANCE) {
        match setup::ensure_root() {
            Ok(()) => {
                let (asked, differ) = compare(options, &progress)?;
                runs += asked;
                failed += differ;
            }
            Err(why) => progress.line(&format!("{CONFORMANCE}: left out. {why}")),
        }
    }
    progress.line(&format!("{runs} runs, {failed} went wrong"));
    if failed > 0 {
        bail!("{failed} runs went wrong");
    }
    Ok(())
}

fn names() -> Vec<&'static str> {
    let campaigns = ALL.iter().map(|campaign| campaign.name);
    campaigns.chain([CONFORMANCE]).collect()
}

/// Plays campaigns; the number of runs, and of those that went wrong.
fn play_all(chosen: &[&Campaign], options: &Options, progress: &Progress) -> (usize, usize) {
    if chosen.is_empty() {
        return (0, 0);
    }
    let stage = progress.stage("references");
    let references = References::play(&scenes::ALL);
    stage.done(&format!("{} scenarios", scenes::ALL.len()));
    let (mut runs, mut failed) = (0, 0);
    for campaign in chosen {
        let (played, wrong) = play(campaign, &references, options, progress);
        failed += wrong;
        runs += played;
    }
    (runs, failed)
}

/// Plays one campaign; the number of its runs, and of those that went wrong.
fn play(
    campaign: &Campaign,
    references: &References,
    options: &Options,
    progress: &Progress,
) -> (usize, usize) {
    let stage = progress.stage(campaign.name);
    let all = (campaign.plans)(references);
    let whole = all.len();
    let most = options.most.map_or(1, |most| whole.div_ceil(most.max(1)));
    let plans: Vec<Plan> = choose(all, options.every.max(most));
    let count = plans.len();
    let (said, told) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let started = Instant::now();
    let failures = judge(&plans, references, &|done, failure| {
        if let Some(failure) = failure {
            tell(failure, told.fetch_add(1, Ordering::Relaxed), progress);
        }
        let note = format!("{done} of {count}: {}", campaign.about);
        if said.fetch_max(done / SAID, Ordering::Relaxed) < done / SAID {
            stage.note(&note);
        } else {
            stage.flash(&note);
        }
    });
    let seconds = started.elapsed().as_secs();
    stage.done(&format!("{count} of {whole} runs in {seconds} s"));
    let wrong = failures.len();
    progress.line(&format!(
        "{}: {count} of {whole} runs, {wrong} went wrong: {}",
        campaign.name, campaign.about
    ));
    (count, wrong)
}

/// Tells of a run that went wrong as soon as it did: the first ones in full.
fn tell(failure: &Failure, before: usize, progress: &Progress) {
    if before < TOLD {
        progress.line(&failure.to_string());
    } else {
        progress.line(&format!("{}: {}", failure.name, failure.wrong.join("; ")));
    }
}

/// Plays the controllers that err; the number of those that nobody caught.
fn play_mutants(progress: &Progress) -> usize {
    let stage = progress.stage("mutants");
    let missed: Vec<_> = mutants::ALL
        .iter()
        .filter(|mutant| {
            let violations = mutant.plan().play().violations;
            !violations
                .iter()
                .any(|found| found.invariant == mutant.caught_by && found.what.contains(mutant.says))
        })
        .map(|mutant| mutant.error)
        .collect();
    let all = mutants::ALL.len();
    stage.done(&format!("{} of {all} planted errors caught", all - missed.len()));
    progress.line(&format!(
        "mutants: {} of {all} planted errors caught",
        all - missed.len()
    ));
    for error in &missed {
        progress.line(&format!("nobody caught {error:?}"));
    }
    missed.len()
}

/// Starts a cluster and compares the fake API server with a real one; the number of answers, and of those that
/// differ.
fn compare(options: &Options, progress: &Progress) -> Result<(usize, usize)> {
    packages::install_missing(progress)?;
    let binaries = Binaries::prepare(progress)?;
    let cluster = Cluster::start(CONFORMANCE, Lifetime::Attached, &binaries, progress)?;
    let stage = progress.stage(CONFORMANCE);
    let (seed, about) = (
        options.seed,
        "random requests and recorded sequences to both API servers",
    );
    let count = REQUESTS
        .div_ceil(options.every)
        .min(options.most.unwrap_or(REQUESTS));
    let started = Instant::now();
    let compared = cluster.block_on(async {
        let reference = Reference::start(&cluster).await?;
        let told = |asked: usize| stage.flash(&format!("{asked} of {count}: {about}"));
        Ok(conformance::compare(reference.client(), seed, count, &told).await?)
    })?;
    let seconds = started.elapsed().as_secs();
    stage.done(&format!("{} answers in {seconds} s", compared.asked));
    for difference in &compared.differences {
        progress.line(difference);
    }
    let differ = compared.differences.len();
    progress.line(&format!(
        "{CONFORMANCE}: {} answers, {differ} differ, seed {seed}: {about}",
        compared.asked
    ));
    cluster.stop()?;
    Ok((compared.asked, differ))
}
