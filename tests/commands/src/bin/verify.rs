//! `cargo verify`: everything that is checked before a change lands.

use std::process::ExitCode;

use clap::{Parser, ValueEnum};
use slipway_commands::verify::{self, Check, Options};

/// Checks everything: format, warnings, docs, licences, tests, charts, and the suites on a real cluster.
///
/// It installs and builds what is missing (as root; else it says what to install). Programs that it builds are
/// kept in the cache folder: `$SLIPWAY_CACHE`, else `~/.cache/slipway`.
#[derive(Debug, Parser)]
struct Arguments {
    /// Leave out what needs the cluster, and so root.
    #[arg(long)]
    quick: bool,
    /// Run this check alone; may be given several times.
    #[arg(long, value_enum, value_name = "CHECK", conflicts_with = "quick")]
    only: Vec<Check>,
    /// Go on after a failure, and fail at the end.
    #[arg(long)]
    keep_going: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let all = Check::value_variants().iter().copied();
    let checks = match (arguments.quick, arguments.only) {
        (true, _) => all.filter(|check| *check != Check::Cluster).collect(),
        (false, only) if only.is_empty() => all.collect(),
        (false, only) => only,
    };
    let options = Options {
        checks,
        keep_going: arguments.keep_going,
    };
    match verify::run(&options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}
