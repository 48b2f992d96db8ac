//! The Kubernetes, etcd and Helm binaries at the versions that the Go modules in `tests/e2e/binaries` pin.
//!
//! Each is taken from `KUBEBUILDER_ASSETS` (the convention of envtest) or PATH where the right version is
//! there, else from the cache folder, else built into it from source, once.

use std::{
    collections::BTreeMap,
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};

use super::{
    cache,
    packages::{program, run_shown},
    progress::{Progress, Stage},
};

/// Where each binary lies, by name.
#[derive(Clone, Debug)]
pub struct Binaries(BTreeMap<&'static str, PathBuf>);

/// One Go module of `tests/e2e/binaries` and what is built from it.
struct Module {
    /// Its folder in `tests/e2e/binaries`.
    folder: &'static str,
    /// Name and version, as in the cache folder's names.
    version: String,
    /// Each binary and the Go package it is built from.
    packages: &'static [(&'static str, &'static str)],
    linker_flags: String,
}

const KUBERNETES: &[(&str, &str)] = &[
    ("kube-apiserver", "k8s.io/kubernetes/cmd/kube-apiserver"),
    (
        "kube-controller-manager",
        "k8s.io/kubernetes/cmd/kube-controller-manager",
    ),
    ("kube-scheduler", "k8s.io/kubernetes/cmd/kube-scheduler"),
    ("kubelet", "k8s.io/kubernetes/cmd/kubelet"),
    ("kube-proxy", "k8s.io/kubernetes/cmd/kube-proxy"),
    ("kubectl", "k8s.io/kubernetes/cmd/kubectl"),
];

/// The version of Kubernetes that the suites run on, such as `v1.34.4`.
pub fn kubernetes_version() -> &'static str {
    required(include_str!("../binaries/kubernetes/go.mod"), "k8s.io/kubernetes")
}

impl Binaries {
    /// Finds every binary, and builds those that are nowhere.
    ///
    /// # Errors
    /// When Go is missing or a build fails.
    pub fn prepare(progress: &Progress) -> Result<Self> {
        Self::of(&modules(), progress)
    }

    /// The path of Helm alone, for what looks at charts and needs no cluster.
    ///
    /// # Errors
    /// When Go is missing or the build fails.
    pub fn helm(progress: &Progress) -> Result<PathBuf> {
        let [_, _, helm, _] = modules();
        Ok(Self::of(&[helm], progress)?.path("helm").to_owned())
    }

    fn of(modules: &[Module], progress: &Progress) -> Result<Self> {
        let mut found = BTreeMap::new();
        for module in modules {
            let stage = progress.stage(&module.version.replace('-', " "));
            let built = module.built(&stage)?;
            let folder = cache::directory()?;
            let is_cached = built.values().all(|path| path.starts_with(&folder));
            stage.done(if is_cached {
                "in the cache"
            } else {
                "found on this machine"
            });
            found.extend(built);
        }
        Ok(Self(found))
    }

    /// The path of one binary, such as `kubectl`.
    pub fn path(&self, name: &str) -> &Path {
        self.0
            .get(name)
            .unwrap_or_else(|| panic!("{name} is not among the binaries"))
    }

    /// Every binary with its path.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, &Path)> {
        self.0.iter().map(|(name, path)| (*name, path.as_path()))
    }
}

fn modules() -> [Module; 4] {
    let kubernetes = kubernetes_version();
    let etcd = required(
        include_str!("../binaries/etcd/go.mod"),
        "go.etcd.io/etcd/server/v3",
    );
    let helm = required(include_str!("../binaries/helm/go.mod"), "helm.sh/helm/v3");
    let pause = Sha256::digest(include_str!("../binaries/pause/main.go"));
    let minor = kubernetes.split('.').nth(1).unwrap_or_default();
    let component = "k8s.io/component-base/version";
    [
        Module {
            folder: "kubernetes",
            version: format!("kubernetes-{kubernetes}"),
            packages: KUBERNETES,
            linker_flags: format!(
                "-s -w -X {component}.gitVersion={kubernetes} -X {component}.gitMajor=1 -X {component}.gitMinor={minor}"
            ),
        },
        Module {
            folder: "etcd",
            version: format!("etcd-{etcd}"),
            packages: &[("etcd", ".")],
            linker_flags: "-s -w".to_owned(),
        },
        Module {
            folder: "helm",
            version: format!("helm-{helm}"),
            packages: &[("helm", "helm.sh/helm/v3/cmd/helm")],
            linker_flags: format!("-s -w -X helm.sh/helm/v3/internal/version.version={helm}"),
        },
        Module {
            folder: "pause",
            version: format!(
                "pause-{:02x}{:02x}{:02x}{:02x}",
                pause[0], pause[1], pause[2], pause[3]
            ),
            packages: &[("pause", ".")],
            linker_flags: "-s -w".to_owned(),
        },
    ]
}

/// The version that a `go.mod` requires of a module.
fn required(go_mod: &'static str, module: &str) -> &'static str {
    go_mod
        .lines()
        .map(|line| line.trim_start_matches("require "))
        .find_map(|line| line.strip_prefix(module)?.strip_prefix(' '))
        .expect("the module is required by its go.mod")
}

impl Module {
    fn built(&self, stage: &Stage) -> Result<BTreeMap<&'static str, PathBuf>> {
        let folder = cache::directory()?.join(&self.version);
        let mut paths = BTreeMap::new();
        for (index, (name, package)) in self.packages.iter().enumerate() {
            let cached = folder.join(name);
            let path = if let Some(path) = self.elsewhere(name, &cached) {
                path
            } else {
                let place = format!("{} of {}", index + 1, self.packages.len());
                self.build(package, &cached, stage, &place)?;
                cached
            };
            paths.insert(*name, path);
        }
        Ok(paths)
    }

    /// A binary that need not be built: from the envtest folder, the cache, or PATH, in this order.
    fn elsewhere(&self, name: &str, cached: &Path) -> Option<PathBuf> {
        let envtest = env::var_os("KUBEBUILDER_ASSETS").map(|folder| Path::new(&folder).join(name));
        if let Some(path) = envtest.filter(|path| self.is_right_version(name, path)) {
            return Some(path);
        }
        if cached.exists() {
            return Some(cached.to_owned());
        }
        program(name).filter(|path| self.is_right_version(name, path))
    }

    fn is_right_version(&self, name: &str, path: &Path) -> bool {
        let arguments: &[&str] = match name {
            "kubectl" => &["version", "--client"],
            "helm" => &["version", "--short"],
            "pause" => return false,
            _ => &["--version"],
        };
        let wanted = self.version.rsplit('v').next().unwrap_or_default();
        let is_wanted = |word: &str| word.trim_start_matches('v').split('+').next() == Some(wanted);
        Command::new(path).args(arguments).output().is_ok_and(|output| {
            String::from_utf8_lossy(&output.stdout)
                .split_whitespace()
                .any(is_wanted)
        })
    }

    fn build(&self, package: &str, target: &Path, stage: &Stage, place: &str) -> Result<()> {
        let go = program("go").context(
            "Go is missing: install Go 1.24 or newer (https://go.dev/doc/install), then try again",
        )?;
        let name = target
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let folder = target.parent().context("a binary in the cache has a folder")?;
        let _lock = cache::lock(&folder.with_added_extension("lock"))?;
        if target.exists() {
            return Ok(());
        }
        fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
        stage.note(&format!(
            "building {name} from source ({place}; once, minutes for the first)"
        ));
        let draft = target.with_added_extension("draft");
        let mut command = Command::new(go);
        command.current_dir(
            Path::new(env!("CARGO_MANIFEST_DIR"))
                .join("binaries")
                .join(self.folder),
        );
        command
            .args(["build", "-trimpath", "-ldflags", &self.linker_flags, "-o"])
            .arg(&draft)
            .arg(package);
        if self.folder == "pause" {
            // It runs in an image without a C library.
            command.env("CGO_ENABLED", "0");
        }
        run_shown(&mut command, |line| {
            stage.flash(&format!("building {name} ({place}): {line}"));
        })?;
        fs::rename(&draft, target).with_context(|| format!("cannot rename {}", draft.display()))?;
        stage.note(&format!(
            "{name} built ({place}, {}s so far)",
            stage.elapsed().as_secs()
        ));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{modules, required};

    #[test]
    fn versions_come_from_the_go_modules() {
        assert_eq!(required("module x\n\nrequire a.b/c v1.2.3\n", "a.b/c"), "v1.2.3");
        let [kubernetes, etcd, helm, _pause] = modules();
        assert!(kubernetes.version.starts_with("kubernetes-v1."));
        assert!(etcd.version.starts_with("etcd-v3."));
        assert!(helm.version.starts_with("helm-v3."));
    }
}
