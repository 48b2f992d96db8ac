//! One look at a Release: observe, decide, commit, execute, report.

use std::time::Duration;

use slipway_crds::{names::RELEASE_FINALIZER, v1alpha1::Release};
use slipway_engine::{
    Call, Decision, Intent, Observed, Progress, Wake,
    decision::{Kind, Patch},
};

use crate::{
    cache::{Key, Source},
    commit::{self, Change, Commit},
    context::Context,
    execute::{self, Outcome, execute},
    observe::{cached, live, observe},
    report,
};

/// Why a look ended early. It is tried again after a pause that grows.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The status could not be written.
    #[error("the status could not be written")]
    Commit(#[source] Box<kube::Error>),
    /// Something could not be read right before an effect that cannot be taken back.
    #[error("nothing was done, because what it rests on could not be read again")]
    ReadAgain(#[source] Box<kube::Error>),
    /// An effect was not carried out.
    #[error(transparent)]
    Execute(#[from] execute::Error),
    /// A decision broke an invariant and was dropped: an error of Slipway itself.
    #[error("a decision was dropped, because it would break an invariant: {0}")]
    Invariant(String),
    /// The Release is looked at again and again without an end: an error of Slipway itself.
    #[error("the Release did not come to rest in {ROUNDS} rounds")]
    Restless,
}

/// Rounds of one look: a release has about a dozen writes in a row at most.
const ROUNDS: usize = 40;

/// Looks at a Release until there is nothing more to do now. Says when to look again by itself.
pub async fn reconcile(context: &Context, key: &Key) -> Result<Option<Duration>, Error> {
    for _ in 0..ROUNDS {
        let Some(release) = context.caches.releases.get(key) else {
            context.forget(key);
            return Ok(None);
        };
        let finalizers = release.metadata.finalizers.iter().flatten();
        if release.metadata.deletion_timestamp.is_some()
            && !finalizers.into_iter().any(|name| name == RELEASE_FINALIZER)
        {
            return Ok(None);
        }
        match round(context, key, &release).await? {
            Round::More => {}
            Round::Rest(wake) => return Ok(wake),
        }
    }
    Err(Error::Restless)
}

enum Round {
    More,
    Rest(Option<Duration>),
}

async fn round(context: &Context, key: &Key, release: &Release) -> Result<Round, Error> {
    let now = context.clock.now();
    let intent = Intent::parse(release);
    let committed = Progress::new(release.status.clone());
    let observed = observe(context, &intent, &committed, now).await;
    let decision = context.planner.decide(&intent, &committed, &observed, now);
    let Some((decision, observed)) = read_again(context, &intent, &committed, decision, observed).await?
    else {
        return Ok(Round::Rest(Some(context.outdated(key))));
    };
    let broken = context.planner.broken(&intent, &committed, &observed, &decision);
    let change = commit::change(release.status.as_ref(), &decision.progress.status);
    let rests_on = (&intent, &committed, &observed);
    report::remember(context, key, now, rests_on, &decision, change, &broken);
    if !broken.is_empty() {
        return Err(Error::Invariant(broken.join("; ")));
    }
    let words_wait = commit::words_wait(context, key);
    // A patch of the Release itself carries the version that was read: a status written before would outdate it.
    let itself = decision
        .effects
        .iter()
        .any(|effect| matches!(&effect.call, Call::Patch(Patch { kind, .. }) if *kind == Kind::Release));
    let write = !itself && (change == Change::Facts || (change == Change::Words && words_wait.is_none()));
    if write {
        match commit::commit(context, release, &decision.progress)
            .await
            .map_err(|error| Error::Commit(Box::new(error)))?
        {
            Commit::Conflict => return Ok(Round::Rest(Some(context.outdated(key)))),
            Commit::Done(written) => {
                report::finished_steps(context, release, &decision);
                let version = written.metadata.resource_version.clone().unwrap_or_default();
                context
                    .caches
                    .releases
                    .apply(key.clone(), &version, written.into(), Source::Answer);
                if change == Change::Words {
                    context.words_written(key);
                }
            }
        }
    }
    let done = carry_out(context, key, &decision).await;
    report::phase(context, key, &decision);
    if change == Change::Facts || !decision.effects.is_empty() {
        report::report(context, release, &decision.because);
    }
    if !done? {
        return Ok(Round::Rest(Some(context.outdated(key))));
    }
    context.up_to_date(key);
    if change == Change::Facts || !decision.effects.is_empty() {
        return Ok(Round::More);
    }
    let words = (change == Change::Words && !write)
        .then_some(words_wait)
        .flatten();
    Ok(Round::Rest(earlier(wake(decision.wake), words)))
}

fn wake(wake: Wake) -> Option<Duration> {
    match wake {
        Wake::OnChange => None,
        Wake::After(length) => Duration::try_from(length).ok(),
    }
}

fn earlier(one: Option<Duration>, two: Option<Duration>) -> Option<Duration> {
    [one, two].into_iter().flatten().min()
}

/// Before what cannot be taken back, what it rests on is read again and the decision is made again. None when that
/// now rests on something else: another pass has to look.
async fn read_again(
    context: &Context,
    intent: &Intent,
    committed: &Progress,
    decision: Decision,
    observed: Observed,
) -> Result<Option<(Decision, Observed)>, Error> {
    if decision.read_again.is_empty() {
        return Ok(Some((decision, observed)));
    }
    live::read_again(context, intent, &decision.read_again)
        .await
        .map_err(|error| Error::ReadAgain(Box::new(error)))?;
    let fresh = Observed {
        answers: observed.answers,
        ..cached(context, intent, committed)
    };
    let again = context
        .planner
        .decide(intent, committed, &fresh, context.clock.now());
    let known = again.read_again.is_subset(&decision.read_again);
    Ok(known.then_some((again, fresh)))
}

/// Carries out every effect; one that is outdated does not keep the others from being done.
async fn carry_out(context: &Context, key: &Key, decision: &Decision) -> Result<bool, Error> {
    let revision = decision.progress.revision_name();
    let mut outdated = false;
    for effect in &decision.effects {
        let done = execute(context, &key.namespace, effect).await;
        report::carried_out(context, effect, &revision, &done);
        outdated |= done? != Outcome::Done;
    }
    Ok(!outdated)
}
