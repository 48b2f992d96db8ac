//! From plans to Kubernetes objects: client-free, with deterministic names.

pub mod job;

use slipway_crds::v1alpha1::status::StepName;
use slipway_crds::{JobName, RevisionName};

use crate::template::digest;

/// Longest name of a Job: its pods carry it as a label value.
const LONGEST: usize = 63;

/// Name of the Job that runs an attempt: `shop-7-expand-1`. Too long a name ends in a digest of the whole.
pub fn job_name(revision: &RevisionName, step: StepName, task: &str, attempt: i32) -> JobName {
    let task = match step {
        StepName::Prepare => format!("prepare-{task}"),
        StepName::Preflight
        | StepName::Expand
        | StepName::Reindex
        | StepName::Preboot
        | StepName::Cutover
        | StepName::Watch
        | StepName::Retire => task.to_owned(),
    };
    let name = format!("{revision}-{task}-{attempt}");
    if name.len() <= LONGEST {
        return name.into();
    }
    let tail = digest(&[&name]);
    let head: String = name.chars().take(LONGEST - tail.len() - 1).collect();
    format!("{}-{tail}", head.trim_end_matches('-')).into()
}

/// A step as labels and variables write it.
pub fn step_word(step: StepName) -> &'static str {
    match step {
        StepName::Preflight => "preflight",
        StepName::Prepare => "prepare",
        StepName::Expand => "expand",
        StepName::Reindex => "reindex",
        StepName::Preboot => "preboot",
        StepName::Cutover => "cutover",
        StepName::Watch => "watch",
        StepName::Retire => "retire",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_jobs_name_says_what_it_is_and_never_grows_too_long() {
        assert_eq!(
            job_name(&"shop-7".into(), StepName::Expand, "expand", 1),
            "shop-7-expand-1".into()
        );
        assert_eq!(
            job_name(&"shop-7".into(), StepName::Prepare, "assets", 2),
            "shop-7-prepare-assets-2".into()
        );
        let long = job_name(
            &format!("{}-1234567", "a".repeat(40)).into(),
            StepName::Prepare,
            &"b".repeat(20),
            1,
        );
        assert_eq!(long.as_str().len(), 63);
        assert_ne!(
            long,
            job_name(
                &format!("{}-1234567", "a".repeat(40)).into(),
                StepName::Prepare,
                &"b".repeat(20),
                2
            )
        );
    }
}
