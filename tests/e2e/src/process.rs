//! A long-running program inside a cluster's namespaces, with its log.

use std::{
    fs::{self, File},
    future::Future,
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use tokio::time::sleep;

use super::sandbox::Sandbox;

/// A program that was started inside. It ends with the namespaces; dropping this does not end it.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts `program` with an environment of nothing but PATH and `environment`; it logs to
    /// `logs/<name>.log` in the state folder.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(
        sandbox: &Sandbox,
        name: &str,
        program: impl AsRef<std::path::Path>,
        arguments: &[String],
        environment: &[(&str, &str)],
    ) -> Result<Self> {
        let folder = sandbox.state().join("logs");
        fs::create_dir_all(&folder).context("cannot create the folder of logs")?;
        let log = folder.join(format!("{name}.log"));
        let file = File::create(&log).with_context(|| format!("cannot create {}", log.display()))?;
        let inner = sandbox.command(program)?;
        // A session of its own: Ctrl-C in the terminal is not for it.
        let mut command = Command::new("setsid");
        command
            .arg(inner.get_program())
            .args(inner.get_args())
            .args(arguments);
        command.env_clear().env(
            "PATH",
            "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        );
        command.env("HOME", "/run").envs(environment.iter().copied());
        command
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file);
        let child = command.spawn().with_context(|| format!("cannot start {name}"))?;
        Ok(Self {
            name: name.to_owned(),
            child,
            log,
        })
    }

    /// Fails when it has ended, with the last lines of its log.
    ///
    /// # Errors
    /// When it has ended.
    pub fn ensure_running(&mut self) -> Result<()> {
        match self
            .child
            .try_wait()
            .with_context(|| format!("cannot wait for {}", self.name))?
        {
            Some(status) => bail!("{} ended ({status}). {}", self.name, self.last_lines()),
            None => Ok(()),
        }
    }

    /// Ends it. One that was started from outside of the namespaces goes with them instead.
    pub fn kill(&mut self) {
        // A failure means that it has just ended by itself.
        let _gone = self.child.kill();
        let _status = self.child.wait();
    }

    /// The end of its log, for an error's text.
    pub fn last_lines(&self) -> String {
        let text = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        let tail = lines[lines.len().saturating_sub(15)..].join("\n  ");
        format!("The end of {}:\n  {tail}", self.log.display())
    }
}

/// Waits until `is_ready` says yes, as long as `processes` run.
///
/// # Errors
/// When one of them ends, or after `limit`; both with the last lines of its log.
pub async fn wait_until<F>(
    what: &str,
    limit: Duration,
    processes: &mut [&mut Process],
    is_ready: impl Fn() -> F,
) -> Result<()>
where
    F: Future<Output = bool>,
{
    let deadline = Instant::now() + limit;
    loop {
        for process in &mut *processes {
            process.ensure_running()?;
        }
        if is_ready().await {
            return Ok(());
        }
        if Instant::now() > deadline {
            let tails: Vec<String> = processes.iter().map(|process| process.last_lines()).collect();
            bail!("{what}: not within {}s. {}", limit.as_secs(), tails.join("\n"));
        }
        sleep(Duration::from_millis(50)).await;
    }
}
