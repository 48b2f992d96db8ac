//! Makes a fresh machine ready for the suites and the demo.

use anyhow::Result;

use super::{binaries::Binaries, packages, progress::Progress, search_engine::SearchEngine};

/// Installs packages that are missing (as root, else says how), finds or builds the Kubernetes binaries, and
/// fetches the search engines.
///
/// # Errors
/// When something is missing that this cannot provide; the message says what to install.
pub fn prepare(progress: &Progress) -> Result<Binaries> {
    packages::install_missing(progress)?;
    let binaries = Binaries::prepare(progress)?;
    for engine in SearchEngine::ALL {
        engine.fetch(progress)?;
    }
    Ok(binaries)
}
