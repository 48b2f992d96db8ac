//! Makes a fresh machine ready for the suites and the demo.

use anyhow::Result;

use super::{binaries::Binaries, packages, progress::Progress};

/// Installs packages that are missing (as root, else says how) and finds or builds the Kubernetes binaries.
///
/// # Errors
/// When something is missing that this cannot provide; the message says what to install.
pub fn prepare(progress: &Progress) -> Result<Binaries> {
    packages::install_missing(progress)?;
    Binaries::prepare(progress)
}
