//! The Slipway controller binary: parses the command line, prepares the process, runs.

use std::{
    io::{Read as _, Write as _},
    path::Path,
    process::ExitCode,
};

use clap::{CommandFactory as _, Parser as _};
use slipway_controller::{
    args::{Cli, Command},
    error, replay, run, telemetry,
};

// Two threads are plenty for work that waits for answers, and keep an idle controller small on a large node.
#[tokio::main(worker_threads = 2)]
async fn main() -> ExitCode {
    let args = match Cli::parse() {
        Cli {
            command: Some(Command::Replay { file }),
            ..
        } => {
            return match print_replay(&file) {
                Ok(()) => ExitCode::SUCCESS,
                Err(error) => failed(&error),
            };
        }
        Cli { args: Some(args), .. } => args,
        Cli { args: None, .. } => Cli::command()
            .error(
                clap::error::ErrorKind::MissingRequiredArgument,
                "--namespace and --pod-name are needed",
            )
            .exit(),
    };
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

/// Prints recorded decisions as a transcript.
fn print_replay(file: &Path) -> std::io::Result<()> {
    let mut recorded = String::new();
    if file == Path::new("-") {
        std::io::stdin().read_to_string(&mut recorded)?;
    } else {
        recorded = std::fs::read_to_string(file)?;
    }
    let transcript = replay::replay(&recorded)?;
    std::io::stdout().write_all(transcript.as_bytes())
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
