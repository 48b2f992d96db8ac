//! Programs that only the checks need.

use std::path::PathBuf;

use anyhow::Result;
use slipway_e2e::{cache, cargo::cargo, packages::run_shown, progress::Progress};

/// The version of cargo-deny, which knows the format of `deny.toml`.
const CARGO_DENY: &str = "0.20.2";

/// Finds cargo-deny in the cache, or builds it into it, once.
///
/// # Errors
/// When it cannot be built.
pub(super) fn cargo_deny(progress: &Progress) -> Result<PathBuf> {
    let stage = progress.stage(&format!("cargo-deny {CARGO_DENY}"));
    let folder = cache::directory()?.join(format!("cargo-deny-{CARGO_DENY}"));
    let program = folder.join("bin/cargo-deny");
    if program.exists() {
        stage.done("in the cache");
        return Ok(program);
    }
    stage.note("building it from source (once, a few minutes): it checks licences and sources");
    cache::fill_once(&folder, |draft| {
        let mut install = cargo(&[
            "install",
            "--locked",
            "cargo-deny",
            "--version",
            CARGO_DENY,
            "--root",
        ]);
        run_shown(install.arg(draft), |line| stage.flash(line.trim()))
    })?;
    stage.done_in_time();
    Ok(program)
}
