//! Cargo, started by a process that cargo itself has started.

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
};

/// What cargo tells a process of the package that it is of.
const OF_THIS_PACKAGE: [&str; 5] = [
    "CARGO_PKG_",
    "CARGO_MANIFEST_",
    "CARGO_BIN_",
    "CARGO_CRATE_",
    "CARGO_PRIMARY_",
];

/// Cargo at the root of the workspace.
pub fn cargo(arguments: &[&str]) -> Command {
    cargo_in(root(), arguments)
}

/// Cargo in the folder of a workspace.
pub fn cargo_in(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    forget_this_package(&mut command);
    command.current_dir(folder).args(arguments);
    command
}

/// Takes away the variables that say which package this process is of: build scripts would take them for their own,
/// and everything that rests on them would be built again.
pub fn forget_this_package(command: &mut Command) {
    for (name, _) in env::vars_os() {
        let text = name.to_string_lossy();
        if OF_THIS_PACKAGE.iter().any(|prefix| text.starts_with(prefix)) {
            command.env_remove(&name);
        }
    }
}

/// The folder of an application that the tests release: a workspace of its own. None for the product's packages.
pub fn application(package: &str) -> Option<PathBuf> {
    let folder = root().join("tests/apps").join(package);
    folder.exists().then_some(folder)
}

/// The root of the workspace.
pub fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}
