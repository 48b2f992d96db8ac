//! The Slipway controller binary: parses the command line, prepares the process, runs.

use std::process::ExitCode;

use clap::Parser as _;
use slipway_controller::{args::Args, error, run, telemetry};

// Two threads are plenty for work that waits for answers, and keep an idle controller small on a large node.
#[tokio::main(worker_threads = 2)]
async fn main() -> ExitCode {
    let args = Args::parse();
    // kube and reqwest share this provider. The error says that one is installed already, which is as good.
    drop(rustls::crypto::ring::default_provider().install_default());
    if let Err(error) = telemetry::init(args.log_format, &args.log) {
        return failed(&error);
    }
    match run::run(args).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failed(&error),
    }
}

/// Says why, with all causes, on standard error: the log may not be there yet.
#[expect(
    clippy::print_stderr,
    reason = "the last words of a process that cannot go on"
)]
fn failed(error: &dyn std::error::Error) -> ExitCode {
    eprintln!("slipway: {}", error::chain(error));
    ExitCode::FAILURE
}
