//! `cargo cluster`: a one-node Kubernetes on this machine, to look around in.
#![allow(clippy::print_stdout, reason = "it talks to a terminal")]

use std::{
    ffi::OsString,
    os::unix::process::CommandExt,
    path::PathBuf,
    process::{Command, ExitCode},
};

use anyhow::{Context, Result, bail};
use clap::{Parser, Subcommand};
use slipway_e2e::{
    cargo::forget_this_package,
    cluster::Cluster,
    image::{self, Image},
    progress::Progress,
    sandbox::{Lifetime, Sandbox},
    setup,
};

/// Starts, uses and takes down a one-node Kubernetes with real containers. Needs root.
#[derive(Debug, Parser)]
struct Arguments {
    /// The cluster's name; clusters of different names run side by side.
    #[arg(long, global = true, default_value = "dev")]
    name: String,
    #[command(subcommand)]
    command: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Start it, and keep it until Ctrl-C.
    Up {
        /// Leave it running and return.
        #[arg(long)]
        detach: bool,
    },
    /// Take it down; nothing is left of it.
    Down,
    /// Say which clusters are up, and what runs in this one.
    Status,
    /// Run a command inside, with kubectl, helm and ctr set up for it.
    Exec {
        /// The command and its arguments, after `--`.
        #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
        command: Vec<OsString>,
    },
    /// Build a package of this workspace, or an application of the tests, as a static binary and make an image of it for pods.
    Image {
        /// The package, such as `shop`.
        package: String,
        /// The image's name and tag, such as `shop:1.0`.
        #[arg(long)]
        tag: String,
        /// A variable that the image sets, `NAME=value`; may be given several times.
        #[arg(long = "env", value_parser = variable)]
        environment: Vec<(String, String)>,
    },
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<()> {
    let name = arguments.name.as_str();
    match &arguments.command {
        Verb::Up { detach } => up(name, *detach),
        Verb::Down => Sandbox::named(name)?.destroy(),
        Verb::Status => status(name),
        Verb::Exec { command } => exec(name, command),
        Verb::Image {
            package,
            tag,
            environment,
        } => make_image(name, package, tag, environment),
    }
}

fn up(name: &str, detach: bool) -> Result<()> {
    let progress = Progress::new();
    let prefix = if name == "dev" {
        "cargo cluster --".to_owned()
    } else {
        format!("cargo cluster -- --name {name}")
    };
    if Sandbox::named(name)?.is_alive() {
        println!(
            "cluster {name} is up already. Look around: {prefix} exec -- kubectl get pods --all-namespaces"
        );
        return Ok(());
    }
    let binaries = setup::prepare(&progress)?;
    let lifetime = if detach {
        Lifetime::Detached
    } else {
        Lifetime::Attached
    };
    let cluster = Cluster::start(name, lifetime, &binaries, &progress)?;
    println!();
    println!(" Look around:  {prefix} exec -- kubectl get pods --all-namespaces");
    println!(" A shell:      {prefix} exec -- bash");
    println!(
        " Logs:         {}",
        cluster.sandbox().state().join("logs").display()
    );
    if detach {
        println!(" Take away:    {prefix} down");
        return Ok(());
    }
    println!(" Take away:    Ctrl-C");
    wait_for_the_end()?;
    println!(" taking cluster {name} down");
    cluster.stop()
}

/// Returns when somebody asks this process to end.
fn wait_for_the_end() -> Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut hang_up = signal(SignalKind::hangup())?;
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
            _ = hang_up.recv() => {}
        }
        Ok(())
    })
}

fn status(name: &str) -> Result<()> {
    let mut names: Vec<String> = Sandbox::all()?
        .iter()
        .filter(|one| one.is_alive())
        .map(|one| one.name().to_owned())
        .collect();
    names.sort();
    println!(
        "up: {}",
        if names.is_empty() {
            "none".to_owned()
        } else {
            names.join(" ")
        }
    );
    if names.iter().any(|up| up == name) {
        let cluster = Cluster::find(name)?;
        println!(
            "logs of {name}: {}",
            cluster.sandbox().state().join("logs").display()
        );
        let kubectl = cluster.sandbox().state().join("bin/kubectl");
        cluster
            .command(kubectl)?
            .args(["get", "nodes,pods", "--all-namespaces"])
            .status()?;
    }
    Ok(())
}

fn exec(name: &str, command: &[OsString]) -> Result<()> {
    let (program, rest) = command.split_first().context("a command is needed after `--`")?;
    let cluster = Cluster::find(name)?;
    let mut inner: Command = cluster.command(PathBuf::from(program))?;
    forget_this_package(&mut inner);
    bail!("cannot run {}: {}", program.display(), inner.args(rest).exec())
}

fn make_image(name: &str, package: &str, tag: &str, environment: &[(String, String)]) -> Result<()> {
    let cluster = Cluster::find(name)?;
    let stage = Progress::new().stage(tag);
    let binary = image::build(package, &stage)?;
    let image = Image {
        reference: tag.to_owned(),
        environment: environment.to_vec(),
    };
    cluster.load(&binary, &[image])?;
    stage.done_in_time();
    Ok(())
}

fn variable(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("must read NAME=value")?;
    Ok((name.to_owned(), value.to_owned()))
}
