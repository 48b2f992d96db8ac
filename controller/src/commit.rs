//! Status, by compare-and-set: it is written only if nobody changed the Release since it was read. A
//! conflict is no error: somebody newer has been there, and the Release gets another pass.

use std::time::Duration;

use kube::{Api, api::PostParams};
use slipway_crds::v1alpha1::{Release, ReleaseStatus};
use slipway_engine::{Progress, progress::facts};

use crate::{cache::Key, context::Context};

/// Words that change by the second are written this often at most.
const WORDS: Duration = Duration::from_secs(5);

/// What has to be written.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Change {
    /// Nothing.
    None,
    /// Only words: how far it is, since when.
    Words,
    /// Something that a decision looks at.
    Facts,
}

/// How a commit ended.
#[derive(Debug)]
pub enum Commit {
    /// Written; the Release as it is now.
    Done(Box<Release>),
    /// Somebody changed the Release since it was read, or deleted it.
    Conflict,
}

/// What differs between the stored status and the new one.
pub fn change(before: Option<&ReleaseStatus>, after: &ReleaseStatus) -> Change {
    let before = before.cloned().unwrap_or_default();
    if before == *after {
        Change::None
    } else if facts(before) == facts(after.clone()) {
        Change::Words
    } else {
        Change::Facts
    }
}

/// How long until words may be written again; none if now.
pub fn words_wait(context: &Context, key: &Key) -> Option<Duration> {
    context
        .words_age(key)
        .and_then(|age| WORDS.checked_sub(age))
        .filter(|wait| !wait.is_zero())
}

/// Writes a status, if the Release is still the one that was read.
pub async fn commit(context: &Context, release: &Release, progress: &Progress) -> kube::Result<Commit> {
    let namespace = release.metadata.namespace.as_deref().unwrap_or_default();
    let name = release.metadata.name.as_deref().unwrap_or_default();
    let api: Api<Release> = Api::namespaced(context.client.clone(), namespace);
    let mut next = release.clone();
    next.metadata.managed_fields = None;
    next.status = Some(progress.status.clone());
    match api.replace_status(name, &PostParams::default(), &next).await {
        Ok(written) => Ok(Commit::Done(Box::new(written))),
        Err(kube::Error::Api(refused)) if refused.is_conflict() || refused.is_not_found() => {
            context.metrics.commit_conflict();
            Ok(Commit::Conflict)
        }
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use slipway_crds::v1alpha1::Phase;

    use super::*;

    #[test]
    fn words_alone_are_told_from_facts() {
        let status = |phase, words: &str| ReleaseStatus {
            phase: Some(phase),
            waiting_for: Some(words.to_owned()),
            ..ReleaseStatus::default()
        };
        let before = status(Phase::Preboot, "since 1s");
        assert_eq!(change(Some(&before), &before), Change::None);
        assert_eq!(
            change(Some(&before), &status(Phase::Preboot, "since 2s")),
            Change::Words
        );
        assert_eq!(
            change(Some(&before), &status(Phase::Cutover, "since 2s")),
            Change::Facts
        );
    }
}
