//! A cluster leaves nothing on the machine, however it ends.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Mutex, MutexGuard, PoisonError},
    thread::sleep,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use slipway_e2e::{cache, sandbox::Sandbox};

/// These tests start whole clusters: one at a time is quicker than three.
static TURN: Mutex<()> = Mutex::new(());

fn turn() -> MutexGuard<'static, ()> {
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A launcher, as `cargo cluster -- up` is one. It runs inside of the cluster that the suites run in.
struct Launcher {
    name: &'static str,
    process: Child,
}

impl Launcher {
    /// Starts one, and returns when its node is ready.
    fn start(name: &'static str) -> Result<Self> {
        let log = cache::directory()?.join("run").join(format!("{name}.log"));
        let file = fs::File::create(&log)?;
        let process = cluster(name)
            .arg("up")
            .stdin(Stdio::null())
            .stdout(file)
            .spawn()?;
        let mut launcher = Self { name, process };
        let started = Instant::now();
        while !fs::read_to_string(&log)?.contains("Ctrl-C") {
            ensure!(launcher.process.try_wait()?.is_none(), "the launcher ended early");
            ensure!(
                started.elapsed() < Duration::from_mins(2),
                "the cluster is not up after two minutes"
            );
            sleep(Duration::from_millis(50));
        }
        fs::remove_file(log)?;
        ensure!(!traces(name)?.is_empty(), "a running cluster has traces");
        Ok(launcher)
    }

    fn signal(&self, signal: &str) -> Result<()> {
        let status = Command::new("kill")
            .args([signal, &self.process.id().to_string()])
            .status()?;
        ensure!(status.success(), "kill {signal} failed");
        Ok(())
    }

    /// Waits for the launcher's end and, since it may not have cleaned up itself, for that of all traces.
    fn ensure_nothing_is_left(mut self) -> Result<()> {
        self.process.wait()?;
        let started = Instant::now();
        loop {
            let left = traces(self.name)?;
            if left.is_empty() {
                return Ok(());
            }
            ensure!(
                started.elapsed() < Duration::from_secs(10),
                "left behind: {left:?}"
            );
            sleep(Duration::from_millis(50));
        }
    }
}

fn cluster(name: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cluster"));
    command.args(["--name", name]);
    command
}

/// Every process, control group, mount and folder that a cluster of that name has.
fn traces(name: &str) -> Result<Vec<PathBuf>> {
    let state = Sandbox::named(name)?.state().to_owned();
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc")?.flatten() {
        let command = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        if String::from_utf8_lossy(&command).contains(&*state.to_string_lossy()) {
            found.push(entry.path());
        }
    }
    let group = format!("slipway-{name}");
    let hierarchies = fs::read_dir("/sys/fs/cgroup")?
        .flatten()
        .map(|entry| entry.path());
    let groups = hierarchies
        .chain([PathBuf::from("/sys/fs/cgroup")])
        .map(|folder| folder.join(&group));
    found.extend(groups.chain([state.clone()]).filter(|path| path.exists()));
    let mounts = fs::read_to_string("/proc/self/mounts").context("cannot read the mounts")?;
    let below = |line: &str| {
        line.split_whitespace()
            .nth(1)
            .is_some_and(|path| Path::new(path).starts_with(&state))
    };
    found.extend(mounts.lines().filter(|line| below(line)).map(PathBuf::from));
    Ok(found)
}

#[test]
#[ignore = "needs the cluster: cargo verify"]
fn a_killed_launcher_leaves_nothing() -> Result<()> {
    let _turn = turn();
    let launcher = Launcher::start("left-by-kill")?;
    launcher.signal("-KILL")?;
    launcher.ensure_nothing_is_left()
}

#[test]
#[ignore = "needs the cluster: cargo verify"]
fn an_interrupted_launcher_leaves_nothing() -> Result<()> {
    let _turn = turn();
    let launcher = Launcher::start("left-by-interrupt")?;
    let again = cluster("left-by-interrupt").arg("up").output()?;
    assert!(
        String::from_utf8_lossy(&again.stdout).contains("is up already"),
        "{again:?}"
    );
    launcher.signal("-INT")?;
    launcher.ensure_nothing_is_left()
}

#[test]
#[ignore = "needs the cluster: cargo verify"]
fn what_a_killed_guard_leaves_goes_at_the_next_chance() -> Result<()> {
    let _turn = turn();
    let launcher = Launcher::start("left-by-guard")?;
    let guard = format!(
        "{}\0left-by-guard",
        Sandbox::named("left-by-guard")?
            .state()
            .join("guard.sh")
            .display()
    );
    let is_guard = |path: &PathBuf| {
        let command = fs::read(path.join("cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&command).contains(&guard)
    };
    let guard = traces("left-by-guard")?
        .into_iter()
        .find(is_guard)
        .context("a cluster has a guard")?;
    let process = guard.file_name().context("its folder in /proc is its number")?;
    ensure!(
        Command::new("kill").arg("-KILL").arg(process).status()?.success(),
        "kill failed"
    );
    ensure!(
        cluster("left-by-guard").arg("down").status()?.success(),
        "down failed"
    );
    launcher.signal("-INT")?;
    launcher.ensure_nothing_is_left()
}
