//! A one-node Kubernetes with real containers, in namespaces of its own.

use std::{
    env,
    ffi::OsString,
    fs,
    future::Future,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::core::v1::{Node, Pod, ServiceAccount};
use kube::{
    Api, Client, Config,
    config::{KubeConfigOptions, Kubeconfig},
};
use tokio::net::TcpStream;

use super::{
    binaries::Binaries,
    certificates,
    components::{Components, PAUSE_IMAGE},
    control_groups,
    image::{self, Image},
    network::{NODE_ADDRESS, NODE_NAME},
    process::{Process, wait_until},
    progress::{Progress, Stage},
    sandbox::{Guard, Lifetime, STATE_VARIABLE, Sandbox},
    setup,
};

/// How long a component may take to answer. On a fast machine each takes a second or two.
const PATIENCE: Duration = Duration::from_mins(1);

/// A running cluster. The one that started it attached takes it down when this is dropped.
#[derive(Debug)]
pub struct Cluster {
    sandbox: Sandbox,
    _guard: Option<Guard>,
}

impl Cluster {
    /// Starts a cluster and returns when its node is ready.
    ///
    /// # Errors
    /// When one of that name is up already, without root, and when a component does not come up; the message
    /// then has the end of its log.
    pub fn start(name: &str, lifetime: Lifetime, binaries: &Binaries, progress: &Progress) -> Result<Self> {
        setup::ensure_root()?;
        for stale in Sandbox::all()? {
            stale.sweep()?;
        }
        let sandbox = Sandbox::named(name)?;
        ensure!(
            !sandbox.is_alive(),
            "cluster {name} is up already: `cargo cluster -- down --name {name}` ends it"
        );
        let stage = progress.stage("node ready");
        let certificates = sandbox.state().join("certificates");
        certificates::write(&certificates)?;
        link_binaries(&sandbox, binaries)?;
        control_groups::create(name)?;
        let guard = sandbox.create(lifetime)?;
        let cluster = Self {
            sandbox,
            _guard: Some(guard),
        };
        if let Err(error) = cluster.boot(binaries, &certificates, &stage) {
            // The logs are in the error already, and a half-started cluster is of no use.
            cluster.sandbox.destroy()?;
            return Err(error);
        }
        stage.done_in_time();
        Ok(cluster)
    }

    /// The cluster of that name, started by another process.
    ///
    /// # Errors
    /// When it is not up.
    pub fn find(name: &str) -> Result<Self> {
        let sandbox = Sandbox::named(name)?;
        ensure!(
            sandbox.is_alive(),
            "no cluster {name} is up: `cargo cluster -- up --detach --name {name}` starts one"
        );
        Ok(Self {
            sandbox,
            _guard: None,
        })
    }

    /// The cluster that this process runs inside of.
    ///
    /// # Errors
    /// When this process was started outside of any.
    pub fn attach() -> Result<Self> {
        Ok(Self {
            sandbox: Sandbox::current()?,
            _guard: None,
        })
    }

    /// Takes the cluster down, and returns when nothing is left of it.
    ///
    /// # Errors
    /// When something is left.
    pub fn stop(self) -> Result<()> {
        self.sandbox.destroy()
    }

    /// Its namespaces and state folder.
    pub fn sandbox(&self) -> &Sandbox {
        &self.sandbox
    }

    /// The administrator's kubeconfig; it works inside only.
    pub fn kubeconfig(&self) -> PathBuf {
        self.sandbox.state().join("certificates/admin.kubeconfig")
    }

    /// The API server's audit log, one event a line.
    pub fn audit_log(&self) -> PathBuf {
        self.sandbox.state().join("audit.log")
    }

    /// A client with the administrator's rights, for a process or thread that is inside.
    ///
    /// # Errors
    /// When the kubeconfig cannot be read.
    pub async fn client(&self) -> Result<Client> {
        let kubeconfig = Kubeconfig::read_from(self.kubeconfig()).context("cannot read the kubeconfig")?;
        let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default())
            .await
            .context("the kubeconfig is not valid")?;
        Client::try_from(config).context("cannot make a client")
    }

    /// A command that runs inside, with kubectl, helm and ctr ready to use.
    ///
    /// # Errors
    /// When the cluster is down.
    pub fn command(&self, program: impl AsRef<Path>) -> Result<Command> {
        let mut command = self.sandbox.command(program)?;
        for variable in env::vars_os().map(|(name, _)| name).filter(is_proxy) {
            command.env_remove(variable);
        }
        let state = self.sandbox.state();
        let own = [state.join("bin")].into_iter();
        let path = env::join_paths(own.chain(env::split_paths(&env::var_os("PATH").unwrap_or_default())))?;
        command
            .env("PATH", path)
            .env("KUBECONFIG", self.kubeconfig())
            .env(STATE_VARIABLE, state);
        // There is no way out to a registry.
        command.env("CARGO_NET_OFFLINE", "true");
        command.env("KUBECACHEDIR", state.join("kubectl-cache"));
        command
            .env("CONTAINERD_ADDRESS", state.join("containerd.sock"))
            .env("CONTAINERD_NAMESPACE", "k8s.io");
        Ok(command)
    }

    /// Runs `work` to its end inside; for launchers, which are outside.
    ///
    /// # Errors
    /// When the cluster is down, and what `work` fails with.
    pub fn block_on<T: Send>(&self, work: impl Future<Output = Result<T>> + Send) -> Result<T> {
        self.sandbox.block_on(work)
    }

    /// Makes images of a static binary available to pods. What is there already is not brought again.
    ///
    /// # Errors
    /// When the binary cannot be read, or containerd refuses.
    pub fn load(&self, binary: &Path, images: &[Image]) -> Result<()> {
        let folder = self.sandbox.state().join("images");
        fs::create_dir_all(&folder).context("cannot create the folder of images")?;
        let archive = tempfile::NamedTempFile::new_in(&folder).context("cannot create an archive")?;
        let digest = image::archive(binary, images, archive.path())?;
        let markers: Vec<PathBuf> = images
            .iter()
            .map(|image| folder.join(image.reference.replace('/', "_")))
            .collect();
        if markers
            .iter()
            .all(|marker| fs::read_to_string(marker).is_ok_and(|loaded| loaded == digest))
        {
            return Ok(());
        }
        let mut import = self.command("ctr")?;
        import
            .args(["images", "import"])
            .arg(archive.path())
            .stdin(Stdio::null());
        let output = import.output().context("cannot start ctr")?;
        ensure!(
            output.status.success(),
            "ctr images import: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        for marker in markers {
            fs::write(marker, &digest).context("cannot mark the image as loaded")?;
        }
        Ok(())
    }

    /// The process of a pod's first container, as numbered inside; for signals and for what /proc knows.
    ///
    /// # Errors
    /// When the pod has no running container.
    pub fn process_of(&self, pod: &Pod) -> Result<u32> {
        let statuses = pod
            .status
            .as_ref()
            .and_then(|status| status.container_statuses.as_ref());
        let container = statuses
            .and_then(|all| all.first())
            .and_then(|first| first.container_id.as_ref());
        let container = container
            .and_then(|id| id.strip_prefix("containerd://"))
            .context("no container yet")?;
        let output = self
            .command("ctr")?
            .args(["tasks", "list"])
            .output()
            .context("cannot start ctr")?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let mut fields = text.lines().map(str::split_whitespace);
        let process = fields.find_map(|mut line| {
            if line.next() == Some(container) {
                line.next()
            } else {
                None
            }
        });
        process
            .and_then(|number| number.parse().ok())
            .context("the container does not run")
    }

    fn boot(&self, binaries: &Binaries, certificates: &Path, stage: &Stage) -> Result<()> {
        self.block_on(async {
            let components = Components {
                sandbox: &self.sandbox,
                binaries,
            };
            stage.note("starting etcd and containerd");
            let mut etcd = components.etcd()?;
            let mut containerd = components.containerd()?;
            wait_until("etcd", PATIENCE, &mut [&mut etcd], || is_open("127.0.0.1", 2379)).await?;
            stage.note("starting the API server");
            let mut server = components.api_server(certificates)?;
            let client = self.client().await?;
            wait_until("the API server", PATIENCE, &mut [&mut etcd, &mut server], || {
                is_ready(&client)
            })
            .await?;
            stage.note("starting the node");
            let socket = self.sandbox.state().join("containerd.sock");
            wait_until("containerd", PATIENCE, &mut [&mut containerd], || async {
                socket.exists()
            })
            .await?;
            let mut node = [
                components.controller_manager(certificates)?,
                components.kubelet(certificates)?,
                components.scheduler(certificates)?,
                components.proxy(certificates)?,
                containerd,
                server,
            ];
            self.load(binaries.path("pause"), &[Image::new(PAUSE_IMAGE)])?;
            let mut all: Vec<&mut Process> = node.iter_mut().collect();
            wait_until("the node", PATIENCE, &mut all, || node_is_ready(&client)).await
        })
    }
}

/// Puts every binary under one folder, which commands inside have first on their PATH.
fn link_binaries(sandbox: &Sandbox, binaries: &Binaries) -> Result<()> {
    let folder = sandbox.state().join("bin");
    fs::create_dir_all(&folder).context("cannot create the state folder")?;
    for (name, path) in binaries.iter() {
        symlink(path, folder.join(name)).with_context(|| format!("cannot link {name}"))?;
    }
    Ok(())
}

fn is_proxy(variable: &OsString) -> bool {
    variable
        .to_string_lossy()
        .to_ascii_lowercase()
        .ends_with("_proxy")
}

async fn is_open(host: &str, port: u16) -> bool {
    TcpStream::connect((host, port)).await.is_ok()
}

/// Whether an API server is up.
pub(super) async fn is_ready(client: &Client) -> bool {
    let request = http::Request::get("/readyz")
        .body(Vec::new())
        .expect("the request is valid");
    client.request_text(request).await.is_ok_and(|text| text == "ok")
}

/// Whether pods can run: the node takes them, ClusterIPs lead somewhere, and the account they run as exists.
async fn node_is_ready(client: &Client) -> bool {
    let Ok(Some(node)) = Api::<Node>::all(client.clone()).get_opt(NODE_NAME).await else {
        return false;
    };
    let conditions = node
        .status
        .and_then(|status| status.conditions)
        .unwrap_or_default();
    let taints = node.spec.and_then(|spec| spec.taints).unwrap_or_default();
    let accounts: Api<ServiceAccount> = Api::default_namespaced(client.clone());
    conditions
        .iter()
        .any(|condition| condition.type_ == "Ready" && condition.status == "True")
        && taints.is_empty()
        && is_open(NODE_ADDRESS, 10256).await
        && accounts
            .get_opt("default")
            .await
            .is_ok_and(|account| account.is_some())
}
