//! What all tests of a cluster share, made once: the images, and the controller installed by its charts.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use serde_json::json;
use sha2::{Digest, Sha256};
use slipway_e2e::{
    cargo::root,
    cluster::Cluster,
    helm,
    image::{self, Image},
    progress::Progress,
};
use tokio::{
    sync::{Mutex, MutexGuard, Notify},
    task::spawn_blocking,
};

/// Where the controller runs.
pub(crate) const SYSTEM: &str = "slipway-system";

/// The binary of the shop, for processes beside the pods.
static SHOP: Mutex<Option<PathBuf>> = Mutex::const_new(None);

/// What runs now, and who counts on it.
static FLOOR: Mutex<Floor> = Mutex::const_new(Floor {
    guard: None,
    users: 0,
    alone: false,
});

/// Told whenever somebody leaves the floor.
static LEFT: Notify = Notify::const_new();

struct Floor {
    guard: Option<WindowGuard>,
    users: usize,
    alone: bool,
}

/// What the window guard does with the changes that it was made to stop.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum WindowGuard {
    /// It refuses them.
    Deny,
    /// It is not installed.
    Off,
}

/// A place in the cluster. Tests that want the same window guard have theirs at the same time; one that
/// disturbs the controller has the cluster to itself.
#[derive(Debug)]
pub(crate) struct Place {
    alone: bool,
}

impl Place {
    /// Waits for a place, and returns when the controller runs with that window guard.
    pub(crate) async fn take(cluster: &Cluster, guard: WindowGuard, alone: bool) -> Result<Self> {
        let mut floor = loop {
            let left = LEFT.notified();
            let floor = FLOOR.lock().await;
            let free = floor.users == 0;
            if free || (!alone && !floor.alone && floor.guard == Some(guard)) {
                break floor;
            }
            drop(floor);
            left.await;
        };
        if floor.guard != Some(guard) {
            prepare(cluster, guard, &mut floor).await?;
        }
        floor.users += 1;
        floor.alone = alone;
        Ok(Self { alone })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let leave = |mut floor: MutexGuard<'_, Floor>, alone: bool| {
            floor.users -= 1;
            floor.alone &= !alone;
            LEFT.notify_waiters();
        };
        // Nobody holds the lock for long but who installs the controller, and then nobody has a place.
        loop {
            if let Ok(floor) = FLOOR.try_lock() {
                return leave(floor, self.alone);
            }
            std::thread::yield_now();
        }
    }
}

/// The path of the shop's binary.
pub(crate) async fn shop() -> Result<PathBuf> {
    SHOP.lock().await.clone().context("the shop was not built yet")
}

/// Makes the images of the shop available to pods.
pub(crate) async fn load_shop(cluster: &Cluster) -> Result<()> {
    let mut known = SHOP.lock().await;
    if known.is_none() {
        let (shop, _) = binaries().await?;
        cluster.load(&shop, &shops())?;
        *known = Some(shop);
    }
    Ok(())
}

async fn prepare(cluster: &Cluster, guard: WindowGuard, floor: &mut Floor) -> Result<()> {
    floor.guard = None;
    let (shop, controller) = binaries().await?;
    cluster.load(&shop, &shops())?;
    let tag = digest(&[&controller])?;
    let tag = &tag[..12];
    cluster.load(&controller, &[Image::new(&format!("slipway:{tag}"))])?;
    *SHOP.lock().await = Some(shop);
    install(cluster, guard, tag).await?;
    floor.guard = Some(guard);
    Ok(())
}

/// The two binaries: those of the folder that `SLIPWAY_BINARIES` names, else they are built.
async fn binaries() -> Result<(PathBuf, PathBuf)> {
    if let Some(folder) = env::var_os("SLIPWAY_BINARIES").map(PathBuf::from) {
        return Ok((folder.join("shop"), folder.join("slipway")));
    }
    let build = || {
        let stage = Progress::new().stage("images");
        let built = (
            image::build("shop", &stage)?,
            image::build("slipway-controller", &stage)?,
        );
        stage.done_in_time();
        Ok(built)
    };
    spawn_blocking(build).await.context("the build panicked")?
}

/// The shop in all the versions and with all the faults that tests release.
fn shops() -> Vec<Image> {
    let version = |tag: &str, number: &str| Image::new(&format!("shop:{tag}")).with("SHOP_VERSION", number);
    vec![
        version("1.0", "1"),
        version("2.0", "2"),
        version("2.1", "2"),
        version("never-ready", "2").with("SHOP_CRASH", "never-ready"),
        version("crash-loop", "2").with("SHOP_CRASH", "boot"),
    ]
}

/// Installs both charts, unless the very same is there already.
async fn install(cluster: &Cluster, guard: WindowGuard, tag: &str) -> Result<()> {
    let charts = root().join("charts");
    let mut files = Vec::new();
    list(&charts, &mut files)?;
    let files: Vec<&Path> = files.iter().map(PathBuf::as_path).collect();
    let wanted = format!("{tag} {guard:?} {}", digest(&files)?);
    let marker = cluster.sandbox().state().join("slipway-installed");
    if fs::read_to_string(&marker).is_ok_and(|installed| installed == wanted) {
        return Ok(());
    }
    helm::install(
        cluster,
        "slipway-crds",
        &charts.join("slipway-crds"),
        SYSTEM,
        &json!({}),
    )
    .await?;
    let values = json!({
        "image": {"repository": "slipway", "tag": tag},
        "windowGuard": {"mode": format!("{guard:?}")},
        "log": "info,kube_client::client::builder=off",
        // Tests are at work side by side, and one that waits for another's turn would measure that.
        "concurrency": 8,
    });
    helm::install(cluster, "slipway", &charts.join("slipway"), SYSTEM, &values).await?;
    fs::write(marker, wanted).context("cannot note what is installed")
}

fn list(folder: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    let mut entries: Vec<_> = fs::read_dir(folder)
        .with_context(|| format!("cannot read {}", folder.display()))?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<std::io::Result<_>>()?;
    entries.sort();
    for path in entries {
        if path.is_dir() {
            list(&path, files)?;
        } else {
            files.push(path);
        }
    }
    Ok(())
}

fn digest(files: &[&Path]) -> Result<String> {
    let mut digest = Sha256::new();
    for path in files {
        digest.update(fs::read(path).with_context(|| format!("cannot read {}", path.display()))?);
    }
    Ok(format!("{:x}", digest.finalize()))
}
