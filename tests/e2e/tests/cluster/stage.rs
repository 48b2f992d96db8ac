//! Where each test plays: a namespace with an application as a user has it, the controller as the charts
//! install it, traffic, and an observer that sees everything from outside.

pub(crate) mod data;
mod diagnosis;
pub(crate) mod follow;
pub(crate) mod install;
pub(crate) mod manifests;
pub(crate) mod setup;
mod verbs;
mod views;

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, bail, ensure};
use kube::{Api, Client};
use serde_json::Value;
use slipway_crds::v1alpha1::{Phase, Release};
use slipway_e2e::{
    cluster::Cluster,
    namespaces,
    observer::Observer,
    traffic::{Traffic, TrafficReport},
};
use slipway_judge::observer::{Move, Observation};

use data::Data;
use follow::{Follower, is_current};
use install::Place;
use views::UserValues;

pub(crate) use setup::Setup;

/// How long a test waits for what it wants to see, unless it says otherwise. Two cores are easily busy.
pub(crate) const PATIENCE: Duration = Duration::from_mins(2);

/// One application in a namespace of its own, with everything around it.
pub(crate) struct Stage {
    /// The cluster.
    pub(crate) cluster: Cluster,
    /// A client with every right: the user.
    pub(crate) client: Client,
    /// The namespace.
    pub(crate) namespace: String,
    /// The user's own manifests, as applied.
    pub(crate) manifests: Vec<Value>,
    /// The Release that a test applies, before its own changes.
    pub(crate) release: Value,
    /// The database and the search engine, where the application has them.
    pub(crate) data: Option<Data>,
    /// What is seen from outside.
    pub(crate) observer: Observer,
    follower: Follower,
    traffic: Option<Traffic>,
    before: UserValues,
    _place: Option<Place>,
}

/// What a test has at its end.
pub(crate) struct Account {
    /// Of the traffic; none where there was none.
    report: Option<TrafficReport>,
    /// Of everything else.
    pub(crate) seen: Observation,
}

impl Account {
    /// The account of the traffic.
    pub(crate) fn report(&self) -> &TrafficReport {
        self.report.as_ref().expect("the test has traffic")
    }
}

impl Stage {
    /// The running traffic.
    pub(crate) fn traffic(&self) -> &Traffic {
        self.traffic.as_ref().expect("the test has traffic")
    }

    /// Waits until so many more requests came to an end.
    pub(crate) async fn more_traffic(&self, requests: u64) -> Result<()> {
        let enough = self.traffic().live().finished() + requests;
        ensure!(self.traffic().flowing(enough, PATIENCE).await, "no traffic flows");
        Ok(())
    }

    /// The Releases of the namespace.
    pub(crate) fn releases(&self) -> Api<Release> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// The Release as it was last seen.
    pub(crate) fn now(&self) -> Arc<Release> {
        self.follower.now().expect("there is a Release")
    }

    /// Waits until the Release is as wanted.
    pub(crate) async fn until(&self, what: &str, is_so: impl Fn(&Release) -> bool) -> Result<Arc<Release>> {
        self.until_within(PATIENCE, what, is_so).await
    }

    /// The same with another patience.
    pub(crate) async fn until_within(
        &self,
        patience: Duration,
        what: &str,
        is_so: impl Fn(&Release) -> bool,
    ) -> Result<Arc<Release>> {
        let found = self
            .follower
            .until(patience, |state| state.is_some_and(&is_so))
            .await;
        if let Some(found) = found.flatten() {
            return Ok(found);
        }
        bail!(
            "{}s are over, and not seen: {what}\n{}",
            patience.as_secs(),
            self.diagnosis().await
        )
    }

    /// Waits until the Release is in a phase, with a status that is about its newest spec.
    pub(crate) async fn until_phase(&self, phase: Phase) -> Result<Arc<Release>> {
        let what = format!("phase {phase:?}");
        self.until(&what, |release| {
            is_current(release) && self::phase(release) == Some(phase)
        })
        .await
    }

    /// Waits until the Release is in a phase or beyond it.
    pub(crate) async fn until_past(&self, phase: Phase) -> Result<Arc<Release>> {
        let what = format!("phase {phase:?} or a later one");
        self.until(&what, |release| {
            is_current(release) && self::phase(release) >= Some(phase)
        })
        .await
    }

    /// Waits until the Release needs somebody, for this reason; the message.
    pub(crate) async fn until_stalled(&self, reason: &str) -> Result<String> {
        let what = format!("condition Stalled with reason {reason}");
        let release = self.until(&what, |release| {
            stalled(release).is_some_and(|(found, _)| found == reason)
        });
        let release = release.await?;
        Ok(stalled(&release)
            .map(|(_, message)| message.to_owned())
            .unwrap_or_default())
    }

    /// Waits until the Release is gone.
    pub(crate) async fn until_gone(&self) -> Result<()> {
        match self.follower.until(PATIENCE, |state| state.is_none()).await {
            Some(_) => Ok(()),
            None => bail!("the Release is not gone\n{}", self.diagnosis().await),
        }
    }

    /// Looks again and again until there is something to be seen.
    pub(crate) async fn eventually<T, F>(&self, what: &str, look: impl Fn() -> F) -> Result<T>
    where
        F: Future<Output = Result<Option<T>>>,
    {
        let end = tokio::time::Instant::now() + PATIENCE;
        while tokio::time::Instant::now() < end {
            if let Some(found) = look().await? {
                return Ok(found);
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        bail!(
            "{}s are over, and not seen: {what}\n{}",
            PATIENCE.as_secs(),
            self.diagnosis().await
        )
    }

    /// Ends the play: the account of all that was seen, in which nothing may be that must not be.
    pub(crate) async fn close(self) -> Result<Account> {
        self.close_but("(nothing is excepted)").await
    }

    /// Ends the test: no request failed, and these were the moves.
    pub(crate) async fn close_with(self, moves: &[Move]) -> Result<()> {
        let account = self.close().await?;
        account.report().assert_no_failures();
        assert_eq!(account.seen.order(), moves);
        Ok(())
    }

    /// The same for a test that itself does what must not be: violations with these words are its own.
    pub(crate) async fn close_but(self, own: &str) -> Result<Account> {
        let report = match self.traffic {
            Some(traffic) => Some(traffic.stop().await),
            None => None,
        };
        let seen = self.observer.finish().await;
        println!("{}\n{}", self.namespace, seen.transcript());
        if let Some(report) = &report {
            println!("{report}");
        }
        let violations: Vec<_> = seen
            .violations()
            .iter()
            .filter(|violation| !violation.contains(own))
            .collect();
        assert!(violations.is_empty(), "{violations:#?}");
        namespaces::delete(&self.client, &self.namespace).await?;
        Ok(Account { report, seen })
    }
}

/// The phase that status tells.
pub(crate) fn phase(release: &Release) -> Option<Phase> {
    release.status.as_ref().and_then(|status| status.phase)
}

/// The name of the newest revision.
pub(crate) fn revision(release: &Release) -> &str {
    let revision = release
        .status
        .as_ref()
        .and_then(|status| status.revision.as_ref());
    revision.map_or("", |revision| revision.name.as_str())
}

/// Reason and message of a condition that is true.
pub(crate) fn condition<'a>(release: &'a Release, kind: &str) -> Option<(&'a str, &'a str)> {
    let conditions = &release.status.as_ref()?.conditions;
    let found = conditions
        .iter()
        .find(|condition| condition.type_ == kind && condition.status == "True")?;
    Some((&found.reason, &found.message))
}

/// Reason and message while the Release needs somebody.
pub(crate) fn stalled(release: &Release) -> Option<(&str, &str)> {
    condition(release, "Stalled").filter(|_| is_current(release))
}
