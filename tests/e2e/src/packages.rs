//! The Debian packages that the cluster, PostgreSQL and the search engines need.

use std::{
    env, fs,
    io::{BufRead, BufReader},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, bail};

use super::progress::Progress;

/// Where Debian puts the CNI plugins.
pub const CNI_PLUGINS: &str = "/usr/lib/cni";

/// A package, what shows that it is there, and why it is wanted.
struct Package {
    name: &'static str,
    is_there: fn() -> bool,
    why: &'static str,
}

const PACKAGES: [Package; 10] = [
    Package {
        name: "containerd",
        is_there: || program("containerd").is_some(),
        why: "it runs the pods",
    },
    Package {
        name: "runc",
        is_there: || program("runc").is_some(),
        why: "it runs the pods' containers",
    },
    Package {
        name: "containernetworking-plugins",
        is_there: || Path::new(CNI_PLUGINS).join("ptp").exists(),
        why: "it gives pods their addresses",
    },
    Package {
        name: "iptables",
        is_there: || program("iptables").is_some(),
        why: "kube-proxy writes Services with it",
    },
    Package {
        name: "iproute2",
        is_there: || program("ip").is_some(),
        why: "it sets up the cluster's own network",
    },
    Package {
        name: "util-linux",
        is_there: || {
            ["unshare", "nsenter", "setpriv", "flock", "setsid"]
                .iter()
                .all(|name| program(name).is_some())
        },
        why: "it keeps the cluster apart from the machine",
    },
    Package {
        name: "postgresql",
        is_there: || postgresql_programs().is_some(),
        why: "the database of the example application; its own server at port 5432 is not touched",
    },
    Package {
        name: "default-jre-headless",
        is_there: || program("java").is_some(),
        why: "it runs the search engines",
    },
    Package {
        name: "maven",
        is_there: || program("mvn").is_some(),
        why: "it fetches OpenSearch and Elasticsearch from Maven Central",
    },
    Package {
        name: "ca-certificates",
        is_there: || Path::new("/etc/ssl/certs/ca-certificates.crt").exists(),
        why: "it goes into the images",
    },
];

/// Installs what is missing, or says the one command that does.
///
/// # Errors
/// When packages are missing and this user cannot install them, or when apt-get fails.
pub fn install_missing(progress: &Progress) -> Result<()> {
    let stage = progress.stage("packages");
    let missing: Vec<&Package> = PACKAGES.iter().filter(|package| !(package.is_there)()).collect();
    let names: Vec<&str> = missing.iter().map(|package| package.name).collect();
    if names.is_empty() {
        stage.done("already there");
        return Ok(());
    }
    for package in &missing {
        stage.note(&format!("{} is missing ({})", package.name, package.why));
    }
    let command = format!(
        "apt-get install --yes --no-install-recommends {}",
        names.join(" ")
    );
    let Some(apt) = program("apt-get") else {
        bail!(
            "these Debian packages, or what your system calls them, are missing: {}",
            names.join(" ")
        );
    };
    if !rustix::process::geteuid().is_root() {
        bail!("packages are missing. Run this as root, then try again:\n    {command}");
    }
    stage.note(&format!("installing: {command}"));
    run_shown(Command::new(&apt).args(["update", "--quiet"]), |line| {
        stage.flash(line);
    })?;
    let mut install = Command::new(&apt);
    install
        .args(["install", "--yes", "--no-install-recommends"])
        .args(&names);
    run_shown(install.env("DEBIAN_FRONTEND", "noninteractive"), |line| {
        stage.flash(line);
    })?;
    stage.done(&format!("installed {}", names.join(" ")));
    Ok(())
}

/// Runs a command, hands each line of its output to `show`, and on failure says its last lines that are not JSON.
///
/// # Errors
/// When the command cannot be started or does not exit with 0.
pub fn run_shown(command: &mut Command, mut show: impl FnMut(&str)) -> Result<()> {
    let name = command.get_program().to_string_lossy().into_owned();
    let (reader, writer) = std::io::pipe().context("cannot make a pipe")?;
    command
        .stdin(Stdio::null())
        .stdout(writer.try_clone()?)
        .stderr(writer);
    let mut child = command.spawn().with_context(|| format!("cannot start {name}"))?;
    // The command still holds the writing end, and the reader would wait for it for ever.
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let mut lines = Vec::new();
    for line in BufReader::new(reader).lines().map_while(std::result::Result::ok) {
        show(&line);
        if !line.starts_with('{') {
            lines.push(line);
        }
    }
    let status = child.wait().with_context(|| format!("cannot wait for {name}"))?;
    if !status.success() {
        let tail = &lines[lines.len().saturating_sub(20)..];
        bail!("{name} failed ({status}):\n{}", tail.join("\n"));
    }
    Ok(())
}

/// The path of a program on PATH, or in the folders of the administrator that PATH often lacks.
pub fn program(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let extra = [
        "/usr/local/sbin",
        "/usr/local/bin",
        "/usr/local/go/bin",
        "/usr/sbin",
        "/usr/bin",
        "/sbin",
        "/bin",
    ];
    env::split_paths(&path)
        .chain(extra.iter().map(PathBuf::from))
        .map(|folder| folder.join(name))
        .find(|file| is_executable(file))
}

/// The folder of the newest PostgreSQL server's programs: Debian keeps them off PATH.
pub fn postgresql_programs() -> Option<PathBuf> {
    let versions = fs::read_dir("/usr/lib/postgresql").ok()?;
    let mut numbers: Vec<u32> = versions
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect();
    numbers.sort_unstable();
    numbers
        .into_iter()
        .rev()
        .map(|number| PathBuf::from(format!("/usr/lib/postgresql/{number}/bin")))
        .find(|folder| is_executable(&folder.join("initdb")))
}

fn is_executable(file: &Path) -> bool {
    fs::metadata(file).is_ok_and(|data| data.is_file() && data.permissions().mode() & 0o111 != 0)
}
