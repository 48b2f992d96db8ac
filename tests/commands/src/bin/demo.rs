//! `cargo demo`: an application goes from one version to the next on a real cluster, under traffic.

use std::process::ExitCode;

use clap::Parser;
use slipway_commands::demo::{self, Options};

/// Releases a new version of a shop on a one-node Kubernetes with real containers, PostgreSQL and OpenSearch,
/// while customers use it: migration, reindex beside the live index, new pods beside the old, one cutover.
///
/// Exits with a failure when one request failed or met the wrong index, when one document is missing or stale,
/// or when the release did not complete. Needs root; installs and builds what is missing.
#[derive(Debug, Parser)]
struct Arguments {
    /// Leave everything running at the end, to look around.
    #[arg(long, conflicts_with = "down")]
    keep: bool,
    /// Take away what `--keep` left.
    #[arg(long)]
    down: bool,
    /// Print every change that slipway made and every request to the API server that counts, too.
    #[arg(long)]
    details: bool,
    /// Products in the shop.
    #[arg(long, default_value_t = 50_000, value_parser = clap::value_parser!(u32).range(1_000..=1_000_000))]
    products: u32,
    /// Requests each second.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=2_000))]
    rate: u32,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let options = Options {
        products: arguments.products,
        rate: arguments.rate,
        keep: arguments.keep,
        details: arguments.details,
    };
    let result = if arguments.down {
        demo::down().map(|()| true)
    } else {
        demo::run(&options)
    };
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}
