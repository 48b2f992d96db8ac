//! The namespaces that one cluster lives in: its own processes, mounts and network.
//!
//! A shell outside of them, the guard, holds a lock for as long as they exist and removes what they leave
//! behind. They end when their first process does: when the launcher closes its end of a pipe (so also when
//! it panics or is killed), or when [`Sandbox::destroy`] kills it. The kernel then kills every process in
//! them, and takes mounts and interfaces away.

use std::{
    env, fs,
    fs::{File, TryLockError},
    future::Future,
    os::fd::AsFd,
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow, bail, ensure};
use rustix::{
    process::{Pid, Signal, kill_process},
    thread::{LinkNameSpaceType, move_into_link_name_space},
};

use tokio::runtime::Builder;

use super::{
    cache,
    network::{NODE_ADDRESS, POD_RANGE},
};

/// The environment variable that names the state folder to processes inside the namespaces.
pub const STATE_VARIABLE: &str = "SLIPWAY_CLUSTER";

/// How long a cluster lives.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Lifetime {
    /// Until the process that started it ends, in whatever way.
    Attached,
    /// Until it is taken down by name.
    Detached,
}

/// One set of namespaces, by the name of its cluster.
#[derive(Clone, Debug)]
pub struct Sandbox {
    name: String,
    state: PathBuf,
    /// Whether this process itself runs inside.
    inside: bool,
}

/// Keeps an attached sandbox alive; dropped, it takes the sandbox down and waits until nothing is left.
#[derive(Debug)]
pub struct Guard {
    process: Child,
    pipe: Option<ChildStdin>,
    lifetime: Lifetime,
}

impl Sandbox {
    /// The sandbox of that name, whether it exists or not.
    ///
    /// # Errors
    /// When the name is not 1 to 20 lower-case letters, digits and hyphens.
    pub fn named(name: &str) -> Result<Self> {
        let is_plain = name
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        ensure!(
            is_plain && (1..=20).contains(&name.len()),
            "a cluster's name is 1 to 20 lower-case letters, digits and hyphens, not {name:?}"
        );
        let state = cache::directory()?.join("run").join(name);
        ensure!(
            state.as_os_str().len() <= 70,
            "{} is too long for the sockets in it: set SLIPWAY_CACHE to a shorter path",
            state.display()
        );
        Ok(Self {
            name: name.to_owned(),
            state,
            inside: false,
        })
    }

    /// The sandbox that this process was started inside of.
    ///
    /// # Errors
    /// When it was started outside of any.
    pub fn current() -> Result<Self> {
        let state = env::var_os(STATE_VARIABLE).map(PathBuf::from).with_context(|| {
            format!(
                "{STATE_VARIABLE} is not set: run this by `cargo verify`, or `cargo cluster -- exec -- …`"
            )
        })?;
        let name = state
            .file_name()
            .and_then(|name| name.to_str())
            .context("the state folder has a name")?;
        Ok(Self {
            name: name.to_owned(),
            state: state.clone(),
            inside: true,
        })
    }

    /// Every sandbox of which there is a trace in the cache folder.
    ///
    /// # Errors
    /// When the cache folder cannot be read.
    pub fn all() -> Result<Vec<Self>> {
        let Ok(entries) = fs::read_dir(cache::directory()?.join("run")) else {
            return Ok(Vec::new());
        };
        let folders = entries.flatten().filter(|entry| entry.path().is_dir());
        Ok(folders
            .filter_map(|entry| Self::named(entry.file_name().to_str()?).ok())
            .collect())
    }

    /// The name of the cluster.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The folder with everything that belongs to it: configuration, sockets, logs.
    pub fn state(&self) -> &Path {
        &self.state
    }

    /// Whether it exists.
    pub fn is_alive(&self) -> bool {
        if self.inside {
            return true;
        }
        let lock = File::open(self.state.with_added_extension("lock"));
        lock.is_ok_and(|file| matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock)))
    }

    /// Makes the namespaces. The state folder must exist, with what the caller wants in it.
    ///
    /// # Errors
    /// When the kernel refuses; the message has what the guard said.
    pub fn create(&self, lifetime: Lifetime) -> Result<Guard> {
        fs::create_dir_all(self.state.join("etcd")).context("cannot create the state folder")?;
        for (file, text) in [
            ("guard.sh", include_str!("sandbox/guard.sh")),
            ("init.sh", include_str!("sandbox/init.sh")),
            ("sweep.sh", include_str!("sandbox/sweep.sh")),
            (
                "network.sh",
                &format!("node_address={NODE_ADDRESS} pod_range={POD_RANGE}\n"),
            ),
        ] {
            fs::write(self.state.join(file), text).with_context(|| format!("cannot write {file}"))?;
        }
        let log = File::create(self.state.join("guard.log")).context("cannot create the guard's log")?;
        let word = if lifetime == Lifetime::Attached {
            "attached"
        } else {
            "detached"
        };
        let mut command = Command::new("setsid");
        command.arg("sh").arg(self.state.join("guard.sh")).arg(&self.name);
        command.arg(&self.state).arg(word);
        let stdin = if lifetime == Lifetime::Attached {
            Stdio::piped()
        } else {
            Stdio::null()
        };
        command.stdin(stdin).stdout(log.try_clone()?).stderr(log);
        let mut process = command.spawn().context("cannot start the guard")?;
        let mut guard = Guard {
            pipe: process.stdin.take(),
            process,
            lifetime,
        };
        let deadline = Instant::now() + Duration::from_secs(10);
        while !self.state.join("init.pid").exists() {
            let ended = guard.process.try_wait().context("cannot wait for the guard")?;
            if ended.is_some() || Instant::now() > deadline {
                let said = fs::read_to_string(self.state.join("guard.log")).unwrap_or_default();
                bail!("the cluster's namespaces could not be made (root is needed): {said}");
            }
            thread::sleep(Duration::from_millis(5));
        }
        Ok(guard)
    }

    /// Kills everything inside, and waits until nothing is left.
    ///
    /// # Errors
    /// When something is left after 30 seconds; the message says what.
    pub fn destroy(&self) -> Result<()> {
        if self.is_alive() {
            // A failure means that it has just ended by itself.
            let _gone = kill_process(self.first_process()?, Signal::KILL);
        }
        let deadline = Instant::now() + Duration::from_secs(30);
        while self.is_alive() {
            ensure!(
                Instant::now() < deadline,
                "cluster {} does not end; see {}",
                self.name,
                self.state.display()
            );
            thread::sleep(Duration::from_millis(20));
        }
        self.sweep()
    }

    /// Removes what a sandbox leaves behind whose guard was killed too. Does nothing to a living one.
    ///
    /// # Errors
    /// When something cannot be removed.
    pub fn sweep(&self) -> Result<()> {
        if self.is_alive() || !self.state.exists() {
            return Ok(());
        }
        let mut command = Command::new("sh");
        command
            .arg("-c")
            .arg(format!("name=$1 state=$2\n{}", include_str!("sandbox/sweep.sh")));
        let status = command
            .args(["sweep", &self.name])
            .arg(&self.state)
            .status()
            .context("cannot run sh")?;
        ensure!(
            status.success() && !self.state.exists(),
            "{} could not be removed",
            self.state.display()
        );
        Ok(())
    }

    /// A command that runs `program` inside, in the caller's working directory.
    ///
    /// # Errors
    /// When the sandbox does not exist.
    pub fn command(&self, program: impl AsRef<Path>) -> Result<Command> {
        if self.inside {
            return Ok(Command::new(program.as_ref()));
        }
        let here = env::current_dir().context("the working directory is gone")?;
        let mut command = Command::new("nsenter");
        command.arg(format!("--target={}", self.first_process()?.as_raw_nonzero()));
        // `ip netns exec` would hide the control groups from the kubelet: it mounts /sys anew.
        command.args(["--pid", "--mount", "--net", "env"]);
        command
            .arg(format!("--chdir={}", here.display()))
            .arg(program.as_ref());
        Ok(command)
    }

    /// Runs `work` to its end on a thread of its own that has entered the sandbox's network.
    ///
    /// # Errors
    /// When the sandbox does not exist, and what `work` fails with.
    pub fn block_on<T: Send>(&self, work: impl Future<Output = Result<T>> + Send) -> Result<T> {
        let network = if self.inside {
            None
        } else {
            let path = format!("/proc/{}/ns/net", self.first_process()?.as_raw_nonzero());
            Some(File::open(&path).with_context(|| format!("cannot open {path}"))?)
        };
        let network = network.as_ref();
        // A thread that has entered does not come back: it must be one that nobody else uses.
        let run = || {
            if let Some(file) = network {
                move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network))
                    .context("cannot enter the cluster's network")?;
            }
            let runtime = Builder::new_current_thread()
                .enable_all()
                .build()
                .context("cannot start tokio")?;
            runtime.block_on(work)
        };
        thread::scope(|scope| {
            let result = scope.spawn(run).join();
            result.map_err(|_| anyhow!("the work inside the cluster panicked"))?
        })
    }

    /// The first process of the namespaces, as seen from outside.
    fn first_process(&self) -> Result<Pid> {
        ensure!(
            self.is_alive(),
            "no cluster {} is up: start it with `cargo cluster -- up --detach --name {}`",
            self.name,
            self.name
        );
        let text = fs::read_to_string(self.state.join("init.pid")).context("the cluster is just starting")?;
        let number: i32 = text.trim().parse().context("init.pid does not hold a number")?;
        Pid::from_raw(number).context("init.pid holds 0")
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        if self.lifetime == Lifetime::Attached {
            drop(self.pipe.take());
            // Nothing can be done here about a guard that cannot be waited for.
            let _status = self.process.wait();
        }
    }
}
