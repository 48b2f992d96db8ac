//! One PostgreSQL server beside the cluster, with a database for each test. All its data is in memory.

use std::{path::PathBuf, time::Duration};

use anyhow::{Context, Result, ensure};
use kube::Client;
use tokio::{process::Command, task::spawn_blocking};

use super::{
    cache,
    cluster::Cluster,
    network::{NODE_ADDRESS, expose},
    packages::postgresql_programs,
    process::{Process, wait_until},
};

/// The server's port on [`NODE_ADDRESS`]; not PostgreSQL's usual one, which a server of the machine may hold.
pub const PORT: u16 = 15432;

/// In memory: the namespaces have a /run of their own.
const DATA: &str = "/run/slipway-postgres";

/// The server refuses to run as root.
const AS_POSTGRES: [&str; 4] = ["--reuid=postgres", "--regid=postgres", "--init-groups", "--"];

/// The server of one cluster. It runs until the cluster ends.
#[derive(Debug)]
pub struct Postgres<'a> {
    cluster: &'a Cluster,
    programs: PathBuf,
}

impl<'a> Postgres<'a> {
    /// Starts the server, or finds the one that another test has started.
    ///
    /// # Errors
    /// When it does not come up; the message has the end of its log.
    pub async fn start(cluster: &'a Cluster) -> Result<Self> {
        let programs = postgresql_programs().context("PostgreSQL is missing: apt-get install postgresql")?;
        let server = Self { cluster, programs };
        let lock = cluster.sandbox().state().join("postgres.lock");
        let _lock = spawn_blocking(move || cache::lock(&lock))
            .await
            .context("the lock's thread panicked")??;
        if !server.is_up().await {
            server.initialize().await?;
            let mut arguments: Vec<String> = AS_POSTGRES.map(str::to_owned).to_vec();
            arguments.push(server.programs.join("postgres").display().to_string());
            for setting in [
                &format!("port={PORT}"),
                "listen_addresses=*",
                &format!("unix_socket_directories={DATA}"),
                "max_connections=400",
                // Nothing is to survive: the folder is in memory.
                "fsync=off",
                "synchronous_commit=off",
                "full_page_writes=off",
            ] {
                arguments.extend(["-c".to_owned(), setting.to_owned()]);
            }
            arguments.extend(["-D".to_owned(), format!("{DATA}/data")]);
            let mut process = Process::start(
                cluster.sandbox(),
                "postgres",
                "setpriv",
                &arguments,
                &[("LC_ALL", "C.UTF-8")],
            )?;
            wait_until("PostgreSQL", Duration::from_secs(30), &mut [&mut process], || {
                server.is_up()
            })
            .await?;
        }
        Ok(server)
    }

    /// Makes an empty database of that name, in place of one that may be there.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn create_database(&self, name: &str) -> Result<()> {
        self.query(
            "postgres",
            &format!("DROP DATABASE IF EXISTS \"{name}\" WITH (FORCE)"),
        )
        .await?;
        self.query("postgres", &format!("CREATE DATABASE \"{name}\""))
            .await?;
        Ok(())
    }

    /// Runs one statement and returns its rows, one a line, columns divided by `|`.
    ///
    /// # Errors
    /// When the server refuses; the message has the server's own.
    pub async fn query(&self, database: &str, statement: &str) -> Result<String> {
        let mut command = Command::from(self.cluster.command(self.programs.join("psql"))?);
        command.args([
            "--host",
            NODE_ADDRESS,
            "--port",
            &PORT.to_string(),
            "--username",
            "postgres",
        ]);
        command.args([
            "--no-psqlrc",
            "--quiet",
            "--tuples-only",
            "--no-align",
            "-v",
            "ON_ERROR_STOP=1",
        ]);
        command.args(["--dbname", database, "--command", statement]);
        let output = command.output().await.context("cannot start psql")?;
        ensure!(
            output.status.success(),
            "{statement}: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        );
        Ok(String::from_utf8_lossy(&output.stdout).trim_end().to_owned())
    }

    /// Gives pods of a namespace a Service `postgres`, and returns the URL of a database by its ClusterIP.
    ///
    /// # Errors
    /// When the API server refuses.
    pub async fn expose(&self, client: &Client, namespace: &str, database: &str) -> Result<String> {
        let address = expose(client, namespace, "postgres", 5432, PORT).await?;
        Ok(format!("postgres://postgres@{address}:5432/{database}"))
    }

    /// The URL of a database for processes that run inside, but not in a pod.
    pub fn url(&self, database: &str) -> String {
        format!("postgres://postgres@{NODE_ADDRESS}:{PORT}/{database}")
    }

    /// Whether it takes statements: it listens a moment earlier.
    async fn is_up(&self) -> bool {
        let Ok(command) = self.cluster.command(self.programs.join("pg_isready")) else {
            return false;
        };
        let mut command = Command::from(command);
        command.args(["--quiet", "--host", NODE_ADDRESS, "--port", &PORT.to_string()]);
        command.status().await.is_ok_and(|status| status.success())
    }

    async fn initialize(&self) -> Result<()> {
        let mut folder = Command::from(self.cluster.command("install")?);
        folder.args(["--directory", "--owner=postgres", "--mode=700", DATA]);
        checked(folder).await?;
        let mut command = Command::from(self.cluster.command("setpriv")?);
        command.args(AS_POSTGRES).arg(self.programs.join("initdb"));
        command.args([
            "--auth=trust",
            "--username=postgres",
            "--encoding=UTF8",
            "--locale=C.UTF-8",
            "--no-sync",
        ]);
        command.args(["--pgdata", &format!("{DATA}/data")]);
        checked(command).await?;
        // Only this network reaches the server, and nothing else is in it.
        let rule = format!("echo 'host all all 0.0.0.0/0 trust' >> {DATA}/data/pg_hba.conf");
        let mut command = Command::from(self.cluster.command("sh")?);
        command.args(["-c", &rule]);
        checked(command).await
    }
}

async fn checked(mut command: Command) -> Result<()> {
    let output = command
        .output()
        .await
        .context("cannot start a program of PostgreSQL's set-up")?;
    ensure!(
        output.status.success(),
        "PostgreSQL: {}",
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(())
}
