//! The checks that need no cluster. Each returns a few words on what it found.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use serde_yaml::{Deserializer, Value};
use slipway_e2e::{
    binaries::kubernetes_version,
    cargo::{cargo, cargo_in, root},
};

use super::command::{Shown, tests_passed};

type Said = Result<((), String)>;

/// Runs cargo in the product's workspace and in that of the example application; returns what it said.
fn cargo_everywhere(
    shown: &Shown<'_>,
    arguments: &[&str],
    environment: &[(&str, &str)],
) -> Result<Vec<String>> {
    let mut lines = Vec::new();
    for workspace in workspaces() {
        let mut command = cargo_in(&workspace, arguments);
        lines.extend(shown.run(command.envs(environment.iter().copied()))?);
    }
    Ok(lines)
}

fn workspaces() -> [PathBuf; 2] {
    [root().to_owned(), root().join("tests/apps/shop")]
}

pub(super) fn fmt(shown: &Shown<'_>) -> Said {
    cargo_everywhere(shown, &["fmt", "--all", "--check"], &[])?;
    Ok(((), String::new()))
}

pub(super) fn clippy(shown: &Shown<'_>) -> Said {
    let arguments = [
        "clippy",
        "--locked",
        "--workspace",
        "--all-targets",
        "--",
        "-D",
        "warnings",
    ];
    cargo_everywhere(shown, &arguments, &[])?;
    Ok(((), "no warnings".to_owned()))
}

pub(super) fn docs(shown: &Shown<'_>) -> Said {
    let arguments = [
        "doc",
        "--locked",
        "--no-deps",
        "--workspace",
        "--document-private-items",
    ];
    cargo_everywhere(shown, &arguments, &[("RUSTDOCFLAGS", "-D warnings")])?;
    Ok(((), "no warnings".to_owned()))
}

/// The engine stays pure because it cannot be otherwise.
pub(super) fn engine(shown: &Shown<'_>) -> Said {
    let mut tree = cargo(&[
        "tree",
        "--locked",
        "--package",
        "slipway-engine",
        "--edges",
        "normal",
    ]);
    let lines = shown.run(tree.args(["--prefix", "none", "--format", "{p}"]))?;
    let has = |name: &str| lines.iter().any(|line| line.split(' ').next() == Some(name));
    ensure!(
        has("slipway-crds"),
        "cargo tree does not list the engine's dependencies"
    );
    for runtime in ["tokio", "hyper", "reqwest"] {
        ensure!(
            !has(runtime),
            "slipway-engine depends on {runtime}: it must do no input and output. `cargo tree --package \
             slipway-engine --invert {runtime}` says through which crate"
        );
    }
    Ok(((), "neither tokio nor hyper nor reqwest".to_owned()))
}

pub(super) fn deny(shown: &Shown<'_>, program: Option<&Path>) -> Said {
    let program = program.context("cargo-deny was not prepared")?;
    for workspace in workspaces() {
        let mut command = Command::new(program);
        command
            .current_dir(workspace)
            .args(["check", "bans", "licenses", "sources"]);
        shown.run(&mut command)?;
    }
    Ok(((), "bans, licences, sources".to_owned()))
}

pub(super) fn test(shown: &Shown<'_>) -> Said {
    let lines = cargo_everywhere(shown, &["test", "--locked", "--workspace"], &[])?;
    Ok(((), tests_passed(&lines)))
}

/// Lints both charts, renders them in every mode, and makes sure that a wrong value is refused.
pub(super) fn charts(shown: &Shown<'_>, helm: Option<&Path>) -> Said {
    let helm = helm.context("Helm was not prepared")?;
    let run = |arguments: &[&str]| {
        let mut command = Command::new(helm);
        command.current_dir(root()).args(arguments);
        command
    };
    let kubernetes = ["--kube-version", kubernetes_version()];
    for chart in ["charts/slipway-crds", "charts/slipway"] {
        shown.run(run(&["lint", "--strict", chart]).args(kubernetes))?;
    }
    let mut objects =
        rendered(&shown.run(run(&["template", "crds", "charts/slipway-crds"]).args(kubernetes))?)?;
    let mut modes = 0;
    for guard in ["Deny", "Warn", "Off"] {
        for namespace in ["", "shop"] {
            let mut command = run(&[
                "template",
                "slipway",
                "charts/slipway",
                "--namespace",
                "slipway-system",
            ]);
            command
                .args(kubernetes)
                .args(["--set", &format!("windowGuard.mode={guard}")]);
            command.args(["--set", &format!("watchNamespace={namespace}")]);
            objects += rendered(&shown.run(&mut command)?).with_context(|| format!("{guard} {namespace}"))?;
            modes += 1;
        }
    }
    let mut wrong = run(&[
        "template",
        "slipway",
        "charts/slipway",
        "--set",
        "windowGuard.mode=Sometimes",
    ]);
    let output = wrong.output().context("cannot start helm")?;
    ensure!(
        !output.status.success(),
        "values.schema.json lets windowGuard.mode=Sometimes pass"
    );
    Ok(((), format!("{modes} modes, {objects} objects")))
}

/// The number of Kubernetes objects in what Helm rendered; everything must be one.
fn rendered(lines: &[String]) -> Result<usize> {
    let text = lines.join("\n");
    let mut count = 0;
    for document in Deserializer::from_str(&text) {
        let object = Value::deserialize(document).context("a template does not render to YAML")?;
        if object.is_null() {
            continue;
        }
        ensure!(
            object["kind"].is_string() && object["metadata"]["name"].is_string(),
            "a template renders to something that is no Kubernetes object: {object:?}"
        );
        count += 1;
    }
    ensure!(count > 0, "the chart renders to nothing");
    Ok(count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rendered_objects_are_counted_and_looked_at() {
        let lines = |text: &str| text.lines().map(str::to_owned).collect::<Vec<_>>();
        let two = "---\nkind: Service\nmetadata: {name: a}\n---\n# nothing\n---\nkind: Lease\nmetadata: {name: b}\n";
        assert_eq!(rendered(&lines(two)).unwrap(), 2);
        assert!(rendered(&lines("---\nmetadata: {name: a}\n")).is_err());
        assert!(rendered(&lines("# nothing\n")).is_err());
    }
}
