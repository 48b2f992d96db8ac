//! The control group that holds the pods of one cluster, in the layout of this machine (version 1 or 2).

use std::{fs, path::Path};

use anyhow::{Context, Result};

const ROOT: &str = "/sys/fs/cgroup";

/// The group of a cluster, as a path below the root of each hierarchy: what the kubelet is told.
pub fn name(cluster: &str) -> String {
    format!("/slipway-{cluster}")
}

/// Makes the group in every hierarchy. The guard removes it.
///
/// # Errors
/// When the control groups are not mounted or not writable.
pub fn create(cluster: &str) -> Result<()> {
    let root = Path::new(ROOT);
    let group = name(cluster);
    let group = group.trim_start_matches('/');
    if root.join("cgroup.controllers").exists() {
        return create_unified(root, &root.join(group));
    }
    for hierarchy in fs::read_dir(root)
        .context("no control groups are mounted at /sys/fs/cgroup")?
        .flatten()
    {
        // Links such as cpu,cpuacct lead to a hierarchy that has its own entry.
        if hierarchy.file_type().is_ok_and(|kind| kind.is_dir()) && hierarchy.path().join("tasks").exists() {
            let folder = hierarchy.path().join(group);
            make(&folder)?;
            inherit_processors(&hierarchy.path(), &folder)?;
        }
    }
    Ok(())
}

/// Version 2: a controller reaches a group only when every group above it hands it down.
fn create_unified(root: &Path, folder: &Path) -> Result<()> {
    make(folder)?;
    let controllers =
        fs::read_to_string(root.join("cgroup.controllers")).context("cannot read cgroup.controllers")?;
    for controller in controllers.split_whitespace() {
        for parent in [root, folder] {
            // One that this machine does not hand down is missed by the kubelet, which says so itself.
            let _refused = fs::write(parent.join("cgroup.subtree_control"), format!("+{controller}"));
        }
    }
    Ok(())
}

/// Version 1: a new group has no processors and no memory nodes until it is given some.
fn inherit_processors(parent: &Path, folder: &Path) -> Result<()> {
    for file in ["cpuset.cpus", "cpuset.mems"] {
        if let Ok(value) = fs::read_to_string(parent.join(file)) {
            fs::write(folder.join(file), value.trim())
                .with_context(|| format!("cannot write {file} in {}", folder.display()))?;
        }
    }
    Ok(())
}

fn make(folder: &Path) -> Result<()> {
    fs::create_dir_all(folder).with_context(|| format!("cannot make control group {}", folder.display()))
}
