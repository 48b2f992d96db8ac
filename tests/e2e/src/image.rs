//! Container images made of one static binary, without Docker and without a registry.

use std::{
    fs::{self, File},
    io::Write,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tar::{Builder, EntryType, Header};

use super::{
    cargo::{application, cargo_in, root},
    packages::run_shown,
    progress::Stage,
};

/// The user that every image runs as: nobody in particular, so that the restricted pod security holds.
const USER: u64 = 65532;

/// An image to make of a binary: what its name and its fixed environment are.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Image {
    /// Name and tag, such as `shop:1.0`.
    pub reference: String,
    /// Variables that the image sets.
    pub environment: Vec<(String, String)>,
}

impl Image {
    /// An image with no variables of its own.
    pub fn new(reference: &str) -> Self {
        Self {
            reference: reference.to_owned(),
            environment: Vec::new(),
        }
    }

    /// The same image with one more variable.
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }
}

/// Builds the binary of a package of this workspace, or of an application, so that it runs in an empty image, and returns its path.
///
/// # Errors
/// When cargo fails; the message has its errors.
pub fn build(package: &str, stage: &Stage) -> Result<PathBuf> {
    stage.note(&format!("building {package} as a static binary"));
    let folder = application(package).unwrap_or_else(|| root().to_owned());
    let mut command = cargo_in(
        &folder,
        &["build", "--profile", "image", "--package", package, "--bins"],
    );
    command.args([
        "--target",
        &host_triple()?,
        "--message-format",
        "json-render-diagnostics",
    ]);
    command.env("RUSTFLAGS", "-C target-feature=+crt-static");
    let mut executable = None;
    run_shown(&mut command, |line| match serde_json::from_str::<Value>(line) {
        Ok(message) => {
            let path = message["executable"].as_str().map(PathBuf::from);
            executable = path.or_else(|| executable.take());
        }
        Err(_) => stage.flash(&format!("building {package}: {}", line.trim())),
    })?;
    executable.with_context(|| format!("package {package} has no binary"))
}

/// The triple that rustc builds for by default. Naming it keeps the flags away from build scripts.
fn host_triple() -> Result<String> {
    let output = Command::new("rustc")
        .arg("-vV")
        .output()
        .context("cannot start rustc")?;
    let text = String::from_utf8_lossy(&output.stdout);
    let triple = text.lines().find_map(|line| line.strip_prefix("host: "));
    triple.map(str::to_owned).context("rustc -vV names no host")
}

/// Writes an archive that holds all `images`, which share one layer with the binary, and returns its digest.
///
/// # Errors
/// When the binary cannot be read or the archive not be written.
pub fn archive(binary: &Path, images: &[Image], to: &Path) -> Result<String> {
    let layer = layer(binary)?;
    let layer_digest = format!("{:x}", Sha256::digest(&layer));
    let layer_name = format!("{layer_digest}/layer.tar");
    let entrypoint = format!("/{}", file_name(binary)?);
    let file = File::create(to).with_context(|| format!("cannot create {}", to.display()))?;
    let mut archive = Builder::new(file);
    add(&mut archive, &layer_name, EntryType::Regular, 0o644, &layer)?;
    let mut manifest = Vec::new();
    for image in images {
        let environment = image
            .environment
            .iter()
            .map(|(name, value)| format!("{name}={value}"));
        let config = json!({
            "architecture": if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" },
            "os": "linux",
            "config": {
                "Env": environment.collect::<Vec<_>>(),
                "Entrypoint": [entrypoint],
                "User": format!("{USER}:{USER}"),
                "WorkingDir": "/",
            },
            "rootfs": { "type": "layers", "diff_ids": [format!("sha256:{layer_digest}")] },
        })
        .to_string();
        let config_name = format!("{:x}.json", Sha256::digest(&config));
        add(
            &mut archive,
            &config_name,
            EntryType::Regular,
            0o644,
            config.as_bytes(),
        )?;
        manifest
            .push(json!({ "Config": config_name, "RepoTags": [image.reference], "Layers": [layer_name] }));
    }
    let manifest = Value::from(manifest).to_string();
    add(
        &mut archive,
        "manifest.json",
        EntryType::Regular,
        0o644,
        manifest.as_bytes(),
    )?;
    archive
        .into_inner()
        .and_then(|mut file| file.flush())
        .context("cannot finish the archive")?;
    Ok(format!("{:x}", Sha256::digest(manifest)))
}

/// The one layer: the binary, the machine's certificate authorities, a user, and a place for scratch files.
fn layer(binary: &Path) -> Result<Vec<u8>> {
    let authorities = "/etc/ssl/certs/ca-certificates.crt";
    let authorities = fs::read(authorities).with_context(|| format!("cannot read {authorities}"))?;
    let program = fs::read(binary).with_context(|| format!("cannot read {}", binary.display()))?;
    let users = format!("root:x:0:0::/:/none\nnobody:x:{USER}:{USER}::/:/none\n");
    let mut layer = Builder::new(Vec::new());
    add(
        &mut layer,
        "etc/passwd",
        EntryType::Regular,
        0o644,
        users.as_bytes(),
    )?;
    add(
        &mut layer,
        "etc/ssl/certs/ca-certificates.crt",
        EntryType::Regular,
        0o644,
        &authorities,
    )?;
    add(&mut layer, "tmp/", EntryType::Directory, 0o1777, &[])?;
    add(
        &mut layer,
        file_name(binary)?,
        EntryType::Regular,
        0o755,
        &program,
    )?;
    layer.into_inner().context("cannot finish the layer")
}

fn add<W: Write>(
    archive: &mut Builder<W>,
    name: &str,
    kind: EntryType,
    mode: u32,
    data: &[u8],
) -> Result<()> {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_size(data.len() as u64);
    header.set_mtime(0);
    archive
        .append_data(&mut header, name, data)
        .with_context(|| format!("cannot add {name} to the archive"))
}

fn file_name(path: &Path) -> Result<&str> {
    path.file_name()
        .and_then(|name| name.to_str())
        .context("a binary has a plain name")
}
