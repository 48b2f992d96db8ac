//! The command line. Every flag can be given by an environment variable too, as the chart does.

use std::{net::SocketAddr, path::PathBuf};

use clap::{Parser, Subcommand, ValueEnum};

/// The Slipway controller: takes the Deployments of each Release from one version to the next.
#[derive(Debug, Clone, PartialEq, Eq, Parser)]
#[command(
    name = "slipway",
    version,
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true
)]
pub struct Cli {
    /// What to do; without it the controller runs.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// How the controller runs.
    #[command(flatten)]
    pub args: Option<Args>,
}

/// What else there is to do.
#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub enum Command {
    /// Makes recorded decisions again, and prints them as a transcript.
    Replay {
        /// What /debug/releases/NAMESPACE/NAME of a controller has shown; - for standard input.
        file: PathBuf,
    },
}

/// How the controller runs.
#[derive(Debug, Clone, PartialEq, Eq, clap::Args)]
pub struct Args {
    /// The namespace this controller runs in; its Lease lives there.
    #[arg(long, env = "POD_NAMESPACE")]
    pub namespace: String,

    /// The name of this pod: the Lease names it as holder, and events as the reporting instance.
    #[arg(long, env = "POD_NAME")]
    pub pod_name: String,

    /// The name of the Lease that decides which replica acts.
    #[arg(long, env = "SLIPWAY_LEASE_NAME", default_value = "slipway")]
    pub lease_name: String,

    /// Look after the Releases of this namespace alone; without it, after those of all namespaces.
    #[arg(long, env = "SLIPWAY_WATCH_NAMESPACE", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    pub watch_namespace: Option<String>,

    /// Where /healthz, /readyz and /metrics are served.
    #[arg(long, env = "SLIPWAY_ADMIN_ADDRESS", default_value = "0.0.0.0:8080")]
    pub admin_address: SocketAddr,

    /// Where /debug/releases is served. It repeats pod templates and what tasks printed: on the loopback address it is
    /// reached by kubectl port-forward alone, which the API server authorizes.
    #[arg(long, env = "SLIPWAY_DEBUG_ADDRESS", default_value = "127.0.0.1:8081")]
    pub debug_address: SocketAddr,

    /// How many Releases are worked on at the same time.
    #[arg(long, env = "SLIPWAY_CONCURRENCY", default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub concurrency: u16,

    /// How log lines are written.
    #[arg(long, env = "SLIPWAY_LOG_FORMAT", value_enum, default_value_t = LogFormat::Json)]
    pub log_format: LogFormat,

    /// What is logged, in the syntax of `tracing_subscriber::EnvFilter`, such as `info,slipway_controller=debug`.
    #[arg(
        long,
        env = "SLIPWAY_LOG",
        default_value = "info,kube_client::client::builder=off"
    )]
    pub log: String,

    /// What the chart's window guard policies do with a change that would lose requests. It must say what is
    /// installed: with the guard off, preflight refuses what only the guard could stop.
    #[arg(long, env = "SLIPWAY_WINDOW_GUARD", value_enum, default_value_t = WindowGuard::Off)]
    pub window_guard: WindowGuard,
}

/// How log lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// One line a human reads.
    Text,
    /// One JSON object a line.
    Json,
}

/// What the window guard does with a change that it was made to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum WindowGuard {
    /// The change is refused, and the message names the Release.
    Deny,
    /// The change passes with a warning.
    Warn,
    /// There is no guard.
    Off,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    fn parse(flags: &[&str]) -> Result<Args, clap::Error> {
        let required = [
            "slipway",
            "--namespace",
            "slipway-system",
            "--pod-name",
            "slipway-0",
        ];
        let cli = Cli::try_parse_from(required.iter().chain(flags))?;
        Ok(cli.args.unwrap())
    }

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn defaults_are_those_the_documentation_names() {
        let args = parse(&[]).unwrap();
        assert_eq!(args.lease_name, "slipway");
        assert_eq!(args.watch_namespace, None);
        assert_eq!(args.admin_address, "0.0.0.0:8080".parse().unwrap());
        assert_eq!(args.concurrency, 4);
        assert_eq!(args.log_format, LogFormat::Json);
        assert_eq!(args.window_guard, WindowGuard::Off);
    }

    #[test]
    fn a_replay_needs_a_file_and_nothing_of_a_cluster() {
        let cli = Cli::try_parse_from(["slipway", "replay", "decisions.json"]).unwrap();
        let file = "decisions.json".into();
        assert_eq!(cli.command, Some(Command::Replay { file }));
        assert!(Cli::try_parse_from(["slipway", "replay"]).is_err());
        assert!(Cli::try_parse_from(["slipway"]).is_err());
    }

    #[test]
    fn unbounded_concurrency_is_refused() {
        assert!(parse(&["--concurrency", "0"]).is_err());
        assert!(parse(&["--concurrency", "65"]).is_err());
    }
}
