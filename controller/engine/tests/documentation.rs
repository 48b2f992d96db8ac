//! `docs/operations.md` has a row for everything that people are told, and none for what nobody tells.
#![allow(clippy::unwrap_used, reason = "test code: a broken assumption ends the test")]

use std::collections::BTreeSet;
use std::fs::{read_dir, read_to_string};
use std::path::{Path, PathBuf};

use kube::CustomResourceExt as _;
use serde_json::Value;
use slipway_crds::v1alpha1::Release;
use slipway_crds::v1alpha1::status::{StopReason, TaskReason};

fn engine(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// The words that begin the rows of the tables of a section, each once.
fn rows(section: &str) -> BTreeSet<String> {
    let text = read_to_string(engine("../../docs/operations.md")).unwrap();
    let begin = text.split_once(&format!("\n## {section}\n")).unwrap().1;
    let section = begin.split("\n## ").next().unwrap();
    let words: Vec<String> = section
        .lines()
        .filter_map(|line| line.strip_prefix("| `"))
        .filter_map(|line| Some(line.split_once("` |")?.0.to_owned()))
        .collect();
    let once: BTreeSet<String> = words.iter().cloned().collect();
    assert_eq!(once.len(), words.len(), "a row stands twice: {words:?}");
    once
}

#[test]
fn every_stop_reason_has_its_row_and_every_row_its_reason() {
    let reasons = StopReason::ALL.iter().map(|reason| reason.word().to_owned());
    assert_eq!(rows("Reasons"), reasons.collect());
}

#[test]
fn every_task_reason_has_its_row_and_every_row_its_reason() {
    let reasons = TaskReason::ALL.iter().map(|reason| reason.word().to_owned());
    assert_eq!(rows("How a task ended"), reasons.collect());
}

#[test]
fn every_phase_has_its_row_and_every_row_its_phase() {
    let schema = serde_json::to_value(Release::crd()).unwrap();
    let phases = schema
        .pointer("/spec/versions/0/schema/openAPIV3Schema/properties/status/properties/phase/enum")
        .and_then(Value::as_array)
        .unwrap();
    let phases = phases.iter().filter_map(Value::as_str).map(str::to_owned);
    assert_eq!(rows("Phases"), phases.collect());
}

#[test]
fn every_event_has_its_row_and_every_row_its_event() {
    let mut told = BTreeSet::new();
    in_sources(&engine("src"), &mut told);
    assert_eq!(rows("Events"), told);
}

/// The words that the sources tell or warn with; those that are a variable are stop reasons.
fn in_sources(folder: &Path, told: &mut BTreeSet<String>) {
    for entry in read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            in_sources(&path, told);
            continue;
        }
        let source = read_to_string(&path).unwrap();
        for call in [".tell(", ".warn("] {
            let after = source.split(call).skip(1);
            let words = after.filter_map(|call| call.trim_start().strip_prefix('"')?.split('"').next());
            told.extend(words.map(str::to_owned));
        }
    }
}
