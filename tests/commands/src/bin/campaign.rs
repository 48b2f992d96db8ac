//! `cargo campaign`: every campaign of the simulator at full size.

use std::process::ExitCode;

use clap::Parser;
use mimalloc::MiMalloc;
use slipway_commands::campaign::{self, Options};

/// Half of a run's time is JSON objects that come and go; this allocator makes a campaign a third shorter.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// Plays whole releases by the real controller in a simulated cluster, with crashes, faults, lies and strangers,
/// and judges every one from outside. As root it also compares the simulator's API server with a real one:
/// `--only conformance`.
#[derive(Debug, Parser)]
struct Arguments {
    /// Play this campaign alone, such as C4; may be given several times.
    #[arg(long, value_name = "NAME")]
    only: Vec<String>,
    /// Play every so many runs.
    #[arg(long, default_value_t = 1, value_name = "NUMBER")]
    every: usize,
    /// The most runs of one campaign, spread evenly.
    #[arg(long, value_name = "NUMBER")]
    most: Option<usize>,
    /// The seed of the comparison's random requests.
    #[arg(long, default_value_t = 1, value_name = "NUMBER")]
    seed: u64,
}

fn main() -> ExitCode {
    let Arguments {
        only,
        every,
        most,
        seed,
    } = Arguments::parse();
    let options = Options {
        only,
        every: every.max(1),
        most,
        seed,
    };
    match campaign::run(&options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}
