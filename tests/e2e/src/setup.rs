//! Makes a fresh machine ready for the suites and the demo.

use anyhow::{Result, ensure};

use super::{binaries::Binaries, packages, progress::Progress, search_engine::SearchEngine};

/// Installs packages that are missing (as root, else says how), finds or builds the Kubernetes binaries, and
/// fetches the search engines.
///
/// # Errors
/// When something is missing that this cannot provide; the message says what to install.
pub fn prepare(progress: &Progress) -> Result<Binaries> {
    packages::install_missing(progress)?;
    ensure_root()?;
    let binaries = Binaries::prepare(progress)?;
    for engine in SearchEngine::ALL {
        engine.fetch(progress)?;
    }
    Ok(binaries)
}

/// Only root can make the namespaces, mounts and control groups of a cluster.
///
/// # Errors
/// When this process is not root's; the message says how to run it so.
pub fn ensure_root() -> Result<()> {
    ensure!(
        rustix::process::geteuid().is_root(),
        "a cluster with real containers needs root. Put this before the command: sudo -E env \"PATH=$PATH\""
    );
    Ok(())
}
