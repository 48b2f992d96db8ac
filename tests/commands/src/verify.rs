//! `cargo verify`: everything that is checked before a change lands, set-up included.
//!
//! Each check is named, timed, and quiet unless it fails; then all that it said is shown. The `test result`
//! lines of test runs go to standard output.

mod checks;
mod command;
mod on_cluster;
mod tools;

use std::time::Duration;

use anyhow::{Result, bail};
use clap::ValueEnum;
use slipway_e2e::{
    binaries::Binaries, image, packages, progress::Progress, search_engine::SearchEngine, setup,
};

/// One check. They run in this order.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub enum Check {
    /// Every file is formatted.
    Fmt,
    /// No warning of rustc or clippy, tests included.
    Clippy,
    /// The documentation builds without a warning.
    Docs,
    /// The engine's dependencies have no runtime and no client.
    Engine,
    /// Licences and sources of all dependencies; no crate in two versions without a reason.
    Deny,
    /// Every test that needs no cluster.
    Test,
    /// The charts are well-formed in every mode.
    Charts,
    /// The suites on a real cluster.
    Cluster,
}

/// What to run, and what to do about a failure.
#[derive(Clone, Debug)]
pub struct Options {
    /// The checks, in any order.
    pub checks: Vec<Check>,
    /// Go on after a failure.
    pub keep_going: bool,
}

impl Check {
    fn title(self) -> String {
        self.to_possible_value()
            .map(|value| value.get_name().to_owned())
            .unwrap_or_default()
    }
}

/// A line of the closing table.
#[derive(Debug)]
struct Row {
    title: String,
    state: State,
}

#[derive(Debug)]
enum State {
    Passed { took: Duration, said: String },
    Failed { took: Duration },
    NotRun,
}

/// What the checks share.
struct Run {
    progress: Progress,
    rows: Vec<Row>,
    keep_going: bool,
}

impl Run {
    /// Runs one piece of work under its name, unless an earlier failure ended the run.
    fn check<T>(
        &mut self,
        title: &str,
        work: impl FnOnce(&command::Shown<'_>) -> Result<(T, String)>,
    ) -> Option<T> {
        if self.failed() && !self.keep_going {
            self.row(title, State::NotRun);
            return None;
        }
        let stage = self.progress.stage(title);
        let result = work(&command::Shown::new(&self.progress, &stage));
        let took = stage.elapsed();
        match result {
            Ok((value, said)) => {
                stage.done(&format!("{:>7}  {said}", seconds(took)));
                self.row(title, State::Passed { took, said });
                Some(value)
            }
            Err(error) => {
                drop(stage);
                self.progress.line(&format!("\n{title} failed:\n{error:#}\n"));
                self.row(title, State::Failed { took });
                None
            }
        }
    }

    fn failed(&self) -> bool {
        self.rows
            .iter()
            .any(|row| matches!(row.state, State::Failed { .. }))
    }

    fn row(&mut self, title: &str, state: State) {
        self.rows.push(Row {
            title: title.to_owned(),
            state,
        });
    }
}

/// Sets the machine up as far as the checks need it, and runs them.
///
/// # Errors
/// When the set-up fails, or a check did; what failed was shown by then.
pub fn run(options: &Options) -> Result<()> {
    let mut run = Run {
        progress: Progress::new(),
        rows: Vec::new(),
        keep_going: options.keep_going,
    };
    let wanted = |check| options.checks.contains(&check);
    let on_cluster = wanted(Check::Cluster);
    if on_cluster {
        // Said at once, not after half an hour of building.
        packages::install_missing(&run.progress)?;
        setup::ensure_root()?;
    }
    let deny = wanted(Check::Deny)
        .then(|| tools::cargo_deny(&run.progress))
        .transpose()?;
    let binaries = on_cluster.then(|| prepare(&run.progress)).transpose()?;
    let helm = match &binaries {
        Some(binaries) => Some(binaries.path("helm").to_owned()),
        None => wanted(Check::Charts)
            .then(|| Binaries::helm(&run.progress))
            .transpose()?,
    };

    for check in Check::value_variants() {
        let title = check.title();
        match check {
            _ if !wanted(*check) => {}
            Check::Fmt => drop(run.check(&title, checks::fmt)),
            Check::Clippy => drop(run.check(&title, checks::clippy)),
            Check::Docs => drop(run.check(&title, checks::docs)),
            Check::Engine => drop(run.check(&title, checks::engine)),
            Check::Deny => drop(run.check(&title, |shown| checks::deny(shown, deny.as_deref()))),
            Check::Test => drop(run.check(&title, checks::test)),
            Check::Charts => drop(run.check(&title, |shown| checks::charts(shown, helm.as_deref()))),
            Check::Cluster => {
                if let Some(binaries) = &binaries {
                    on_cluster::run(&mut run, binaries);
                }
            }
        }
    }
    run.progress.line(&table(&run.rows));
    if run.failed() {
        bail!("cargo verify failed");
    }
    Ok(())
}

/// What the cluster needs besides packages.
fn prepare(progress: &Progress) -> Result<Binaries> {
    let binaries = Binaries::prepare(progress)?;
    for engine in SearchEngine::ALL {
        engine.fetch(progress)?;
    }
    Ok(binaries)
}

/// The images' binaries, so that no suite has to wait for a compiler.
fn images(shown: &command::Shown<'_>) -> Result<((), String)> {
    for package in ["slipway-controller", "shop"] {
        image::build(package, shown.stage())?;
    }
    Ok(((), "controller and shop, static".to_owned()))
}

fn seconds(time: Duration) -> String {
    match time.as_secs() {
        0..100 => format!("{:.1}s", time.as_secs_f64()),
        more => format!("{}m{:02}s", more / 60, more % 60),
    }
}

/// The closing table: one line a check, and the sum.
fn table(rows: &[Row]) -> String {
    let mut lines = vec![format!("\n {:<26} {:>8}", "check", "time")];
    let mut whole = Duration::ZERO;
    for Row { title, state } in rows {
        let (mark, time, said) = match state {
            State::Passed { took, said } => {
                whole += *took;
                ('✔', seconds(*took), said.as_str())
            }
            State::Failed { took } => {
                whole += *took;
                ('✘', seconds(*took), "failed")
            }
            State::NotRun => ('·', String::new(), "not run"),
        };
        lines.push(
            format!(" {mark} {title:<24} {time:>8}  {said}")
                .trim_end()
                .to_owned(),
        );
    }
    let count = |wanted: fn(&State) -> bool| rows.iter().filter(|row| wanted(&row.state)).count();
    let passed = count(|state| matches!(state, State::Passed { .. }));
    let failed = count(|state| matches!(state, State::Failed { .. }));
    lines.push(format!(
        "\n {passed} passed, {failed} failed, {} in all",
        seconds(whole)
    ));
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_has_a_line_for_each_check() {
        let rows = [
            Row {
                title: "fmt".to_owned(),
                state: State::Passed {
                    took: Duration::from_millis(800),
                    said: String::new(),
                },
            },
            Row {
                title: "clippy".to_owned(),
                state: State::Failed {
                    took: Duration::from_secs(125),
                },
            },
            Row {
                title: "test".to_owned(),
                state: State::NotRun,
            },
        ];
        let expected = "\
\n check                          time
 ✔ fmt                          0.8s
 ✘ clippy                      2m05s  failed
 · test                               not run

 1 passed, 1 failed, 2m05s in all";
        assert_eq!(table(&rows), expected);
    }

    #[test]
    fn each_check_has_a_name_for_the_command_line() {
        let names: Vec<_> = Check::value_variants()
            .iter()
            .map(|check| check.title())
            .collect();
        assert_eq!(
            names,
            [
                "fmt", "clippy", "docs", "engine", "deny", "test", "charts", "cluster"
            ]
        );
    }
}
