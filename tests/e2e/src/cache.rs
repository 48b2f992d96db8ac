//! Where built binaries, fetched jars and the state of running clusters are kept.

use std::{
    env,
    fs::{self, File},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};

/// The cache folder: `$SLIPWAY_CACHE`, else `$XDG_CACHE_HOME/slipway`, else `$HOME/.cache/slipway`.
///
/// # Errors
/// When none of the three variables is set.
pub fn directory() -> Result<PathBuf> {
    let set = |name: &str| {
        env::var_os(name)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    };
    set("SLIPWAY_CACHE")
        .or_else(|| set("XDG_CACHE_HOME").map(|folder| folder.join("slipway")))
        .or_else(|| set("HOME").map(|folder| folder.join(".cache/slipway")))
        .context("no place for the cache: set SLIPWAY_CACHE to a folder with 5 GB of free space")
}

/// Fills `folder` by `fill`, which gets an empty folder beside it: the result appears whole or not at all,
/// and two processes that ask at once do the work once.
///
/// # Errors
/// What `fill` fails with, and a cache that cannot be written.
pub fn fill_once(folder: &Path, fill: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    if folder.exists() {
        return Ok(());
    }
    let _lock = lock(&folder.with_added_extension("lock"))?;
    if folder.exists() {
        return Ok(());
    }
    let draft = folder.with_added_extension("draft");
    if draft.exists() {
        fs::remove_dir_all(&draft).with_context(|| format!("cannot remove {}", draft.display()))?;
    }
    fs::create_dir_all(&draft).with_context(|| format!("cannot create {}", draft.display()))?;
    fill(&draft)?;
    fs::rename(&draft, folder).with_context(|| format!("cannot rename {}", draft.display()))
}

/// Waits until this process alone holds `path`; dropping the file lets it go.
///
/// # Errors
/// When the file cannot be created or locked.
pub fn lock(path: &Path) -> Result<File> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).with_context(|| format!("cannot create {}", parent.display()))?;
    }
    let file = File::create(path).with_context(|| format!("cannot create {}", path.display()))?;
    file.lock()
        .with_context(|| format!("cannot lock {}", path.display()))?;
    Ok(file)
}
