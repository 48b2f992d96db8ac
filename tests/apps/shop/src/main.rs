//! A small web shop: PostgreSQL, a search index, a worker. It exists in two versions that do not understand each
//! other's index, and it is what the tests and the demo release. The README beside this crate has the settings.

mod assets;
mod catch_up;
mod check;
mod database;
mod error;
mod faults;
mod hello;
mod load;
mod migrate;
mod output;
mod product;
mod reindex;
mod search;
mod serve;
mod settings;
mod signals;
mod work;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use tracing_subscriber::EnvFilter;

use crate::{error::Error, settings::Settings};

/// A small web shop. Every setting is an environment variable, so that no secret is on a command line.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Answer requests until SIGTERM
    Serve,
    /// Answer every request with this version's number until SIGTERM; needs neither database nor search engine
    Hello,
    /// Do nothing for so many seconds: a task that takes its time
    Nap {
        /// How long
        seconds: u64,
    },
    /// Do the jobs that the web processes leave, until SIGTERM
    Work,
    /// Publish this version's static files
    Assets,
    /// Bring the database to this version's schema
    Migrate,
    /// Build a new search index from the database and point this process's alias to it
    Reindex,
    /// Bring products changed since `RELEASE_SINCE` into the index
    CatchUp,
    /// Fill an empty database with products, the same ones each time
    Load {
        /// How many products
        #[arg(value_parser = clap::value_parser!(u32).range(1..))]
        products: u32,
    },
    /// Compare the index with the database, one by one, and print the result as JSON
    Check,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    // The driver logs PostgreSQL's notices, such as that a table is already there.
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info,sqlx=warn"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .init();
    match run(arguments.command).await {
        Ok(code) => code,
        Err(error) => {
            output::error(&error);
            ExitCode::FAILURE
        }
    }
}

async fn run(command: Command) -> Result<ExitCode, Error> {
    let settings = Settings::read(&|name| std::env::var(name).ok())?;
    match command {
        Command::Serve => serve::serve(settings).await,
        Command::Hello => hello::hello(settings).await,
        Command::Nap { seconds } => signals::task(&settings, hello::nap(seconds)).await,
        Command::Work => work::work(&settings).await,
        Command::Assets => signals::task(&settings, assets::assets(&settings)).await,
        Command::Migrate => signals::task(&settings, migrate::migrate(&settings)).await,
        Command::Reindex => signals::task(&settings, reindex::reindex(&settings)).await,
        Command::CatchUp => signals::task(&settings, catch_up::catch_up(&settings)).await,
        Command::Load { products } => signals::task(&settings, load::load(&settings, products)).await,
        Command::Check => signals::task(&settings, check::check(&settings)).await,
    }
}
