//! The suites on a real cluster: it is started, they run inside of it, it is taken down.

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use slipway_e2e::{
    binaries::Binaries,
    cargo::cargo,
    cluster::Cluster,
    sandbox::{Lifetime, Sandbox},
    search_engine::SearchEngine,
};

use super::{
    Run,
    command::{Shown, tests_passed},
    images,
};

/// Name of the cluster.
const NAME: &str = "verify";

/// The suites in their order: the title, what is run, and how long it may take. One that waits for ever fails in time.
const SUITES: [(&str, &[&str], &str); 2] = [
    // It starts many pods at once, and would make the times of other tests worse.
    ("cluster: conformance", &["conformance::"], "10m"),
    ("cluster: suites", &["--skip", "conformance::"], "35m"),
];

/// The test programs that have tests for inside.
struct Programs {
    cluster: PathBuf,
    search_engine: PathBuf,
}

/// Runs all of it. After a failure the cluster is still taken down.
pub(super) fn run(run: &mut Run, binaries: &Binaries) {
    run.check("cluster: images", images);
    let programs = run.check("cluster: build", build);
    let progress = run.progress.clone();
    let started = run.check("cluster: start", |_| {
        let cluster = Cluster::start(NAME, Lifetime::Attached, binaries, &progress)?;
        Ok((cluster, "one node".to_owned()))
    });
    let Some(cluster) = started else { return };
    if let Some(programs) = &programs {
        for engine in SearchEngine::ALL {
            run.check(&format!("cluster: {engine:?}"), |shown| {
                search_engine(shown, &cluster, engine, programs)
            });
        }
        for (title, chosen, limit) in SUITES {
            run.check(title, |shown| {
                let mut suite = cluster.command("timeout")?;
                suite
                    .arg(limit)
                    .arg(&programs.cluster)
                    .arg("--ignored")
                    .args(chosen)
                    // The stack of an async test says nothing; what failed is told right before it.
                    .env("RUST_BACKTRACE", "0");
                let lines = shown.run(&mut suite)?;
                Ok(((), tests_passed(&lines)))
            });
        }
    }
    // Not a check that a failure leaves out: the cluster goes in any case.
    let keep_going = std::mem::replace(&mut run.keep_going, true);
    run.check("cluster: taken down", |_| {
        let state = Sandbox::named(NAME)?.state().to_owned();
        cluster.stop()?;
        ensure!(!state.exists(), "{} is left behind", state.display());
        Ok(((), "nothing left behind".to_owned()))
    });
    run.keep_going = keep_going;
}

/// Builds the test programs outside, where there is a way to the registry, by the same command as [`super::checks::test`]
/// so that nothing is compiled twice.
fn build(shown: &Shown<'_>) -> Result<(Programs, String)> {
    let mut command = cargo(&[
        "test",
        "--locked",
        "--workspace",
        "--no-run",
        "--test",
        "cluster",
        "--test",
    ]);
    let lines = shown.run(command.args(["search_engine", "--message-format", "json-render-diagnostics"]))?;
    let program = |name: &str| {
        let messages = lines
            .iter()
            .filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let mut own = messages
            .filter(|message| message["target"]["name"] == name && message["profile"]["test"] == true);
        let executable = own.find_map(|message| message["executable"].as_str().map(PathBuf::from));
        executable.with_context(|| format!("cargo built no test program {name}"))
    };
    let programs = Programs {
        cluster: program("cluster")?,
        search_engine: program("search_engine")?,
    };
    Ok((programs, String::new()))
}

/// The controller's search client against one of the harness's engines.
fn search_engine(
    shown: &Shown<'_>,
    cluster: &Cluster,
    engine: SearchEngine,
    programs: &Programs,
) -> Result<((), String)> {
    shown.stage().note("starting it");
    cluster.block_on(engine.start(cluster))?;
    let mut tests = cluster.command(&programs.search_engine)?;
    let lines = shown.run(tests.arg("--ignored").env("SLIPWAY_SEARCH_URL", engine.url()))?;
    Ok(((), tests_passed(&lines)))
}
