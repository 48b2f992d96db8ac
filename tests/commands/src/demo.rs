//! `cargo demo`: an application goes from one version to the next on a real cluster, under traffic.

mod account;
mod application;
mod engine;
mod journey;
mod numbers;
mod screen;
mod summary;

use std::{
    process,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use tokio::signal::unix::{SignalKind, signal};

use application::Application;
use slipway_e2e::{
    binaries::Binaries,
    cluster::Cluster,
    image::{self, Image},
    progress::Progress,
    sandbox::{Lifetime, Sandbox},
    setup,
};

/// Name of the demo's cluster.
const CLUSTER: &str = "demo";

/// The namespace of the application.
const NAMESPACE: &str = "shop";

/// The namespace of the controller.
const SYSTEM: &str = "slipway-system";

/// How large the demo is.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Products in the database and the index, at least 100.
    pub products: u32,
    /// Requests each second, at least one.
    pub rate: u32,
    /// Leave everything running at the end.
    pub keep: bool,
    /// Print every move and every request of the controller, too.
    pub details: bool,
}

/// Runs the demo and prints what came of it. True: everything went as promised.
///
/// # Errors
/// When the set-up fails, or the release can no longer be followed.
pub fn run(options: &Options) -> Result<bool> {
    let progress = Progress::new();
    progress.line("Slipway demo   one node, real containers, PostgreSQL, OpenSearch");
    ensure!(
        !Sandbox::named(CLUSTER)?.is_alive(),
        "the demo is up already. Take it away: cargo demo -- --down"
    );
    let binaries = setup::prepare(&progress)?;
    let built = build(&progress)?;
    clean_up_when_told_to_end()?;
    let lifetime = if options.keep {
        Lifetime::Detached
    } else {
        Lifetime::Attached
    };
    let started = start(lifetime, &binaries, &built, &progress);
    wait_if_told_to_end();
    let cluster = started?;
    let result = play(&cluster, options, &built, &progress);
    wait_if_told_to_end();
    match &result {
        Ok(_) if options.keep => progress.line(LOOK_AROUND),
        Ok(_) => {
            progress.line(" Look around next time:  cargo demo -- --keep");
            cluster.stop()?;
        }
        // What went wrong is said by the error; a half-made demo is of no use.
        Err(_) => cluster.stop()?,
    }
    result
}

/// Takes a demo that was kept away.
///
/// # Errors
/// When something is left.
pub fn down() -> Result<()> {
    Sandbox::named(CLUSTER)?.destroy()
}

/// Printed when everything is left running.
const LOOK_AROUND: &str = "
 Look around:  cargo cluster -- --name demo exec -- kubectl --namespace shop describe release shop
               cargo cluster -- --name demo exec -- kubectl --namespace shop get releases,deployments,pods,jobs
               cargo cluster -- --name demo exec -- bash
 Take away:    cargo demo -- --down";

/// The static binaries that the images are made of.
struct Built {
    controller: std::path::PathBuf,
    shop: std::path::PathBuf,
}

fn build(progress: &Progress) -> Result<Built> {
    let stage = progress.stage("images");
    let built = Built {
        controller: image::build("slipway-controller", &stage)?,
        shop: image::build("shop", &stage)?,
    };
    stage.done("slipway, shop 1.0, shop 2.0");
    Ok(built)
}

fn start(lifetime: Lifetime, binaries: &Binaries, built: &Built, progress: &Progress) -> Result<Cluster> {
    let cluster = Cluster::start(CLUSTER, lifetime, binaries, progress)?;
    let shop = |tag: &str, version: &str| Image::new(tag).with("SHOP_VERSION", version);
    cluster.load(&built.shop, &[shop("shop:1.0", "1"), shop("shop:2.0", "2")])?;
    let controller = format!("slipway:{}", env!("CARGO_PKG_VERSION"));
    cluster.load(&built.controller, &[Image::new(&controller)])?;
    Ok(cluster)
}

fn play(cluster: &Cluster, options: &Options, built: &Built, progress: &Progress) -> Result<bool> {
    cluster.block_on(async {
        let application = Application::set_up(cluster, options, &built.shop, progress).await?;
        let told = journey::travel(&application, options, progress).await?;
        if options.details {
            progress.line(&format!("\n{}", told.details));
        }
        progress.line(&summary::text(&told));
        Ok(told.problems.is_empty())
    })
}

/// An attached cluster ends with this process. A detached one has to be told.
fn clean_up_when_told_to_end() -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start tokio")?;
    let (mut interrupt, mut terminate, mut hang_up) = {
        let _inside = runtime.enter();
        (
            signal(SignalKind::interrupt())?,
            signal(SignalKind::terminate())?,
            signal(SignalKind::hangup())?,
        )
    };
    thread::spawn(move || {
        runtime.block_on(async {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
                _ = hang_up.recv() => {}
            }
        });
        TOLD_TO_END.store(true, Ordering::SeqCst);
        eprintln!("\n taking the demo away");
        if let Err(error) = down() {
            eprintln!("{error:#}");
        }
        process::exit(130);
    });
    Ok(())
}

/// Set when somebody ended the demo.
static TOLD_TO_END: AtomicBool = AtomicBool::new(false);

/// An error on the way down says nothing: the process ends when everything is taken away.
fn wait_if_told_to_end() {
    while TOLD_TO_END.load(Ordering::SeqCst) {
        thread::park();
    }
}

/// Time as the demo prints it: `0.9s`, `61s`, `3m05s`.
fn spoken(time: Duration) -> String {
    match time.as_secs() {
        0..10 => format!("{:.1}s", time.as_secs_f64()),
        seconds @ 10..120 => format!("{seconds}s"),
        seconds => format!("{}m{:02}s", seconds / 60, seconds % 60),
    }
}
