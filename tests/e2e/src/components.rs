//! How each component of Kubernetes is configured for one node inside the namespaces.

use std::{fs, path::Path};

use anyhow::{Context, Result};
use serde_json::json;

use super::{
    binaries::Binaries,
    control_groups,
    network::{
        API_PORT, CLUSTER_DNS_ADDRESS, NODE_ADDRESS, NODE_NAME, POD_RANGE, REFERENCE_PORT, SERVICE_RANGE,
    },
    packages::CNI_PLUGINS,
    process::Process,
    sandbox::Sandbox,
};

/// The name of the image that holds each pod's network, as containerd is told.
pub const PAUSE_IMAGE: &str = "slipway.dev/pause:1";

/// The audit policy: what the observer reads.
const AUDIT_POLICY: &str = include_str!("components/audit-policy.yaml");

/// Starts components; each method starts one.
#[derive(Clone, Copy, Debug)]
pub struct Components<'a> {
    /// Where they run.
    pub sandbox: &'a Sandbox,
    /// The programs.
    pub binaries: &'a Binaries,
}

impl Components<'_> {
    fn start(&self, name: &str, arguments: &[String]) -> Result<Process> {
        Process::start(self.sandbox, name, self.binaries.path(name), arguments, &[])
    }

    fn file(&self, name: &str) -> String {
        self.sandbox.state().join(name).display().to_string()
    }

    fn write(&self, name: &str, text: &str) -> Result<String> {
        let path = self.sandbox.state().join(name);
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
        }
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
        Ok(path.display().to_string())
    }

    /// etcd, on a folder in memory.
    pub fn etcd(&self) -> Result<Process> {
        let arguments = [
            format!("--data-dir={}", self.file("etcd/data")),
            "--listen-client-urls=http://127.0.0.1:2379".to_owned(),
            "--advertise-client-urls=http://127.0.0.1:2379".to_owned(),
            "--listen-peer-urls=http://127.0.0.1:2380".to_owned(),
            // The folder is in memory: nothing is to be kept.
            "--unsafe-no-fsync=true".to_owned(),
        ];
        self.start("etcd", &arguments)
    }

    /// The API server, with every request in the audit log.
    pub fn api_server(&self, certificates: &Path) -> Result<Process> {
        let certificate = |name: &str| certificates.join(name).display().to_string();
        let mut arguments = served(certificates, API_PORT);
        arguments.extend([
            "--authorization-mode=Node,RBAC".to_owned(),
            "--enable-admission-plugins=NodeRestriction".to_owned(),
            "--allow-privileged=true".to_owned(),
            format!("--kubelet-client-certificate={}", certificate("admin.crt")),
            format!("--kubelet-client-key={}", certificate("admin.key")),
            "--kubelet-preferred-address-types=InternalIP".to_owned(),
            format!(
                "--audit-policy-file={}",
                self.write("audit-policy.yaml", AUDIT_POLICY)?
            ),
            format!("--audit-log-path={}", self.file("audit.log")),
            "--audit-log-maxsize=0".to_owned(),
        ]);
        self.start("kube-apiserver", &arguments)
    }

    /// The controller manager.
    pub fn controller_manager(&self, certificates: &Path) -> Result<Process> {
        let certificate = |name: &str| certificates.join(name).display().to_string();
        let arguments = [
            format!("--kubeconfig={}", certificate("controller-manager.kubeconfig")),
            format!(
                "--service-account-private-key-file={}",
                certificate("service-accounts.key")
            ),
            format!("--root-ca-file={}", certificate("ca.crt")),
            "--use-service-account-credentials=true".to_owned(),
            "--leader-elect=false".to_owned(),
            // Suites run side by side: the usual limits would make them wait for each other.
            "--kube-api-qps=200".to_owned(),
            "--kube-api-burst=400".to_owned(),
        ];
        self.start("kube-controller-manager", &arguments)
    }

    /// The scheduler.
    pub fn scheduler(&self, certificates: &Path) -> Result<Process> {
        let kubeconfig = certificates.join("scheduler.kubeconfig");
        let arguments = [
            format!("--kubeconfig={}", kubeconfig.display()),
            "--leader-elect=false".to_owned(),
        ];
        self.start("kube-scheduler", &arguments)
    }

    /// kube-proxy, quick to follow changes.
    pub fn proxy(&self, certificates: &Path) -> Result<Process> {
        let kubeconfig = certificates.join("proxy.kubeconfig");
        let arguments = [
            format!("--kubeconfig={}", kubeconfig.display()),
            format!("--hostname-override={NODE_NAME}"),
            "--proxy-mode=iptables".to_owned(),
            "--nodeport-addresses=primary".to_owned(),
            format!("--cluster-cidr={POD_RANGE}"),
            "--iptables-min-sync-period=100ms".to_owned(),
            // The limits of connection tracking belong to the machine, not to this network.
            "--conntrack-max-per-core=0".to_owned(),
            "--conntrack-tcp-timeout-established=0".to_owned(),
            "--conntrack-tcp-timeout-close-wait=0".to_owned(),
        ];
        self.start("kube-proxy", &arguments)
    }

    /// containerd, with folders and a socket of its own.
    pub fn containerd(&self) -> Result<Process> {
        let network = json!({
            "cniVersion": "0.4.0",
            "name": "slipway",
            "plugins": [{
                "type": "ptp",
                "ipMasq": false,
                "ipam": {
                    "type": "host-local",
                    "ranges": [[{ "subnet": POD_RANGE }]],
                    "routes": [{ "dst": "0.0.0.0/0" }],
                    "dataDir": "/run/pod-addresses",
                },
            }],
        });
        self.write("cni/10-slipway.conflist", &network.to_string())?;
        let config = include_str!("components/containerd.toml")
            .replace("STATE", &self.sandbox.state().display().to_string())
            .replace("PAUSE_IMAGE", PAUSE_IMAGE)
            .replace("CNI_PLUGINS", CNI_PLUGINS);
        let arguments = ["--config".to_owned(), self.write("containerd.toml", &config)?];
        Process::start(self.sandbox, "containerd", "containerd", &arguments, &[])
    }

    /// The kubelet of the one node.
    pub fn kubelet(&self, certificates: &Path) -> Result<Process> {
        let certificate = |name: &str| certificates.join(name).display().to_string();
        let config = json!({
            "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "kind": "KubeletConfiguration",
            "authentication": {
                "anonymous": { "enabled": false },
                "x509": { "clientCAFile": certificate("ca.crt") },
            },
            "containerRuntimeEndpoint": format!("unix://{}", self.file("containerd.sock")),
            "cgroupDriver": "cgroupfs",
            "cgroupRoot": control_groups::name(self.sandbox.name()),
            "enforceNodeAllocatable": [],
            "failSwapOn": false,
            "oomScoreAdj": 0,
            "makeIPTablesUtilChains": false,
            "maxPods": 250,
            "podLogsDir": self.file("pods"),
            "volumePluginDir": self.file("volume-plugins"),
            "resolvConf": "",
            "clusterDomain": "cluster.local",
            // Nothing answers there. Without an address the kubelet would complain of it at every pod.
            "clusterDNS": [CLUSTER_DNS_ADDRESS],
            // A nearly full disk is the machine's affair: nothing is evicted, no image removed.
            "evictionHard": { "memory.available": "0%", "nodefs.available": "0%", "imagefs.available": "0%" },
            "imageGCHighThresholdPercent": 100,
            "serializeImagePulls": false,
            "registryPullQPS": 0,
            "eventRecordQPS": 0,
            "kubeAPIQPS": 200,
            "kubeAPIBurst": 400,
            "syncFrequency": "10s",
        });
        let arguments = [
            format!("--config={}", self.write("kubelet.json", &config.to_string())?),
            format!("--kubeconfig={}", certificate("kubelet.kubeconfig")),
            format!("--hostname-override={NODE_NAME}"),
            format!("--node-ip={NODE_ADDRESS}"),
            format!("--root-dir={}", self.file("kubelet")),
            format!("--cert-dir={}", self.file("kubelet-certificates")),
        ];
        self.start("kubelet", &arguments)
    }
}

/// An API server without anything around it, which keeps its objects under a prefix of their own.
pub(super) fn reference(sandbox: &Sandbox) -> Result<Process> {
    let mut arguments = served(&sandbox.state().join("certificates"), REFERENCE_PORT);
    arguments.extend(
        [
            "--etcd-prefix=/reference",
            "--authorization-mode=AlwaysAllow",
            // Nobody makes the accounts that it would ask for.
            "--disable-admission-plugins=ServiceAccount",
        ]
        .map(str::to_owned),
    );
    let program = sandbox.state().join("bin/kube-apiserver");
    Process::start(sandbox, "kube-apiserver-reference", program, &arguments, &[])
}

/// What every API server is told.
fn served(certificates: &Path, port: u16) -> Vec<String> {
    let certificate = |name: &str| certificates.join(name).display().to_string();
    vec![
        "--etcd-servers=http://127.0.0.1:2379".to_owned(),
        format!("--advertise-address={NODE_ADDRESS}"),
        format!("--secure-port={port}"),
        format!("--service-cluster-ip-range={SERVICE_RANGE}"),
        format!("--client-ca-file={}", certificate("ca.crt")),
        format!("--tls-cert-file={}", certificate("server.crt")),
        format!("--tls-private-key-file={}", certificate("server.key")),
        "--service-account-issuer=https://kubernetes.default.svc".to_owned(),
        format!(
            "--service-account-key-file={}",
            certificate("service-accounts.pub")
        ),
        format!(
            "--service-account-signing-key-file={}",
            certificate("service-accounts.key")
        ),
    ]
}
