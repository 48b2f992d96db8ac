//! The release itself: traffic flows, the Release is applied, every step is followed to the end, and then
//! everything is compared.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, api::ListParams};
use serde_json::Value;
use slipway_crds::v1alpha1::{Phase, Release, status::ReleaseStatus};
use slipway_e2e::{
    observer::Observer,
    own_time::{self, Measured, sides::Watching},
    progress::Progress,
    traffic::{Mix, Traffic, TrafficConfig, TrafficReport, Version},
};
use slipway_judge::observer::{Observation, ObserverConfig};
use tokio::time::{Instant, sleep};

use super::{
    NAMESPACE, Options, SYSTEM, account,
    application::{Application, manifest},
    engine::Watermark,
    screen::Screen,
};

/// How often the Release is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// A release that is not at its end by then has failed.
const PATIENCE: Duration = Duration::from_mins(20);

/// A Release that is stalled this long waits for a person; here is none.
const STALLED: Duration = Duration::from_secs(20);

/// Answers to requests that left before the cutover have arrived by then.
const UNDER_WAY: Duration = Duration::from_secs(1);

/// Length of one round of practice, and of all of them.
const PRACTICE: Duration = Duration::from_secs(5);
const PRACTICE_LIMIT: Duration = Duration::from_mins(3);

/// So long the controller must be silent at the end.
const IDLE: Duration = Duration::from_secs(10);

/// Everything that the demo tells at its end.
pub(super) struct Told {
    pub(super) version: String,
    pub(super) whole: Option<(Duration, Duration)>,
    pub(super) steps: Vec<Measured>,
    pub(super) traffic: TrafficReport,
    pub(super) wrongly_paired: usize,
    pub(super) old_index: (String, Watermark),
    pub(super) new_index: String,
    pub(super) comparison: Value,
    pub(super) requests: account::Counted,
    pub(super) tasks: usize,
    /// Resident memory of each replica of the controller, in MiB.
    pub(super) memory: Vec<f64>,
    /// Every move and every request, for who wants to know.
    pub(super) details: String,
    /// What went wrong, in plain sentences; empty when all is well.
    pub(super) problems: Vec<String>,
}

/// What was noted on the way.
struct Followed {
    release: Release,
    /// The old index at the cutover.
    at_cutover: Option<Watermark>,
    stalled: Option<String>,
}

/// Takes the shop from version 1 to version 2.
pub(super) async fn travel(
    application: &Application<'_>,
    options: &Options,
    progress: &Progress,
) -> Result<Told> {
    let engine = &application.engine;
    let config = ObserverConfig::new(application.cluster.audit_log(), NAMESPACE)
        .services(&["web"])
        .aliases(
            slipway_e2e::search_engine::SearchEngine::OpenSearch.url(),
            &["products"],
        );
    let observer = Observer::start(application.client.clone(), config).await?;
    let watching = Watching::start(application.client.clone(), NAMESPACE);
    let traffic = traffic(application, options, progress).await?;
    let old_index = engine.index_of("products").await?;

    let mut screen = Screen::new(progress, options);
    let applied = traffic.mark("kubectl apply");
    screen.line(" $ kubectl apply --filename release.yaml");
    application
        .kubectl(&["apply", "--filename", &manifest("release.yaml")])
        .await?;
    let followed = follow(application, &traffic, &old_index, &mut screen).await?;
    sleep(Duration::from_secs(3)).await;
    let idle = observer.mark("idle");
    sleep(IDLE).await;
    screen.close();

    let report = traffic.stop().await;
    let memory = memory(application).await?;
    let seen = observer.finish().await;
    let status = followed.release.status.clone().unwrap_or_default();
    let token = live_token(&status);
    let comparison = application.shop("2", &token, &["check"], |_| {}).await;
    let at_end = engine.watermark(&old_index).await;
    let new_index = format!("products_{token}");
    let waits = own_time::waits(&followed.release, &seen, &watching.sides());
    let mut told = Told {
        version: followed.release.spec.image.clone(),
        whole: own_time::whole(&status).map(|span| (span.length(), span.own(&waits))),
        steps: own_time::steps(&status, &waits),
        wrongly_paired: wrongly_paired(&report, &new_index),
        traffic: report,
        old_index: (old_index, followed.at_cutover.clone().unwrap_or_default()),
        new_index,
        comparison: Value::Null,
        requests: account::counted(&seen, &applied, &idle),
        tasks: seen.jobs.len(),
        memory,
        details: account::details(&seen, &applied, &waits),
        problems: Vec::new(),
    };
    told.problems = problems(&followed, &status, &told, &seen);
    match comparison {
        Ok(comparison) => told.comparison = comparison,
        Err(error) => told
            .problems
            .push(format!("the new index could not be compared: {error:#}")),
    }
    told.problems.extend(document_problems(&told.comparison));
    match (at_end, &followed.at_cutover) {
        (Ok(end), Some(cutover)) if end != *cutover => told.problems.push(
            "the old index was written after the cutover: rollback would not find what was there".to_owned(),
        ),
        (Err(error), _) => told
            .problems
            .push(format!("the old index is not as it was: {error:#}")),
        (Ok(_), _) => {}
    }
    Ok(told)
}

/// Customers, more and more of them until all are served well: a search engine that has just started needs some
/// practice. Only then the account begins.
async fn traffic(application: &Application<'_>, options: &Options, progress: &Progress) -> Result<Traffic> {
    let stage = progress.stage("customers");
    // Clones go on where the first one stops: no product is deleted twice.
    let mix = Mix::shop(options.products.into());
    let config = |rate: u32| TrafficConfig::new(application.address, mix.clone()).rate(rate);
    let mut rates = [
        options.rate / 10,
        options.rate / 4,
        options.rate / 2,
        options.rate,
        options.rate,
    ]
    .into_iter()
    .filter(|rate| *rate > 0);
    let mut next = rates.next();
    while let Some(rate) = next {
        stage.note(&format!("{rate} requests/s"));
        let practice = Traffic::start(config(rate));
        sleep(PRACTICE).await;
        let report = practice.stop().await;
        if report.failed() == 0 && report.not_sent == 0 {
            next = rates.next();
        }
        ensure!(
            stage.elapsed() < PRACTICE_LIMIT,
            "this machine does not serve {rate} requests/s, even without a release. Try fewer: cargo demo -- --rate \
             {}\n{report}",
            rate / 2
        );
    }
    let traffic = Traffic::start(config(options.rate).limit(PATIENCE + Duration::from_mins(5)));
    let some = u64::from(options.rate) * 3;
    ensure!(
        traffic.flowing(some, Duration::from_secs(30)).await,
        "no traffic flows: {:?}",
        traffic.live()
    );
    stage.done(&format!("{} requests/s: pages, searches, writes", options.rate));
    Ok(traffic)
}

/// Looks at the Release until it has ended.
async fn follow(
    application: &Application<'_>,
    traffic: &Traffic,
    old_index: &str,
    screen: &mut Screen,
) -> Result<Followed> {
    let releases: Api<Release> = Api::namespaced(application.client.clone(), NAMESPACE);
    let end = Instant::now() + PATIENCE;
    let mut stalled_since: Option<Instant> = None;
    let mut confirmed: Option<Instant> = None;
    let mut at_cutover = None;
    loop {
        let release = releases.get("shop").await.context("cannot read Release shop")?;
        let status = release.status.clone().unwrap_or_default();
        let token = status
            .search
            .as_ref()
            .and_then(|search| search.candidate.as_ref());
        let built = match token.filter(|_| status.phase == Some(Phase::Reindex)) {
            Some(candidate) => application
                .engine
                .count(&format!("products_{}*", candidate.token))
                .await
                .ok(),
            None => None,
        };
        screen.show(&status, &traffic.live(), built);
        if status
            .cutover
            .is_some_and(|cutover| cutover.confirmed_at.is_some())
            && at_cutover.is_none()
        {
            let since = *confirmed.get_or_insert_with(|| {
                traffic.mark("cutover");
                Instant::now()
            });
            if since.elapsed() >= UNDER_WAY {
                at_cutover = Some(application.engine.watermark(old_index).await?);
            }
        }
        let stalled = stalled(&status);
        stalled_since = stalled
            .as_ref()
            .map(|_| stalled_since.unwrap_or_else(Instant::now));
        let given_up = stalled_since.is_some_and(|since| since.elapsed() > STALLED) || Instant::now() > end;
        if has_ended(&release) || given_up {
            return Ok(Followed {
                release,
                at_cutover,
                stalled,
            });
        }
        sleep(LOOK_EVERY).await;
    }
}

fn has_ended(release: &Release) -> bool {
    let revision = release
        .status
        .as_ref()
        .and_then(|status| status.revision.as_ref());
    revision.is_some_and(|revision| revision.image == release.spec.image && revision.ended.is_some())
}

fn stalled(status: &ReleaseStatus) -> Option<String> {
    let mut conditions = status.conditions.iter();
    let stalled = conditions.find(|condition| condition.type_ == "Stalled" && condition.status == "True")?;
    Some(format!("{}: {}", stalled.reason, stalled.message))
}

/// The token of the generation that the new version reads.
fn live_token(status: &ReleaseStatus) -> String {
    let search = status.search.clone().unwrap_or_default();
    let live = search.live.and_then(|live| live.token);
    live.or_else(|| search.candidate.map(|candidate| candidate.token))
        .map_or_else(String::new, |token| token.to_string())
}

/// Answers of a version that read what is not its own.
fn wrongly_paired(report: &TrafficReport, new_index: &str) -> usize {
    let fits = |version: &Version| match &*version.name {
        "1" => version.index.as_deref() == Some("products"),
        "2" => version.index.as_deref() == Some(new_index),
        _ => false,
    };
    let wrong = report.by_pair().into_iter().filter(|(version, _)| !fits(version));
    wrong.map(|(_, count)| count).sum()
}

/// Resident memory of the controller's replicas.
async fn memory(application: &Application<'_>) -> Result<Vec<f64>> {
    let pods: Api<Pod> = Api::namespaced(application.client.clone(), SYSTEM);
    let mut sizes = Vec::new();
    for pod in pods
        .list(&ListParams::default())
        .await
        .context("cannot list the controller's pods")?
    {
        let process = application.cluster.process_of(&pod)?;
        let mut read = application.cluster.command("cat")?;
        let output = read
            .arg(format!("/proc/{process}/status"))
            .output()
            .context("cannot start cat")?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kilobytes: f64 = line
            .and_then(|line| line.trim().trim_end_matches(" kB").parse().ok())
            .context("the controller's process does not tell its memory")?;
        sizes.push(kilobytes / 1024.0);
    }
    Ok(sizes)
}

fn problems(followed: &Followed, status: &ReleaseStatus, told: &Told, seen: &Observation) -> Vec<String> {
    let mut problems = Vec::new();
    if status.phase != Some(Phase::Complete) {
        let phase = status
            .phase
            .map_or_else(|| "no phase".to_owned(), |phase| format!("{phase:?}"));
        let why = followed
            .stalled
            .clone()
            .or_else(|| status.waiting_for.clone())
            .unwrap_or_default();
        problems.push(format!("the release did not complete ({phase}). {why}"));
    }
    if told.traffic.failed() > 0 {
        problems.push(told.traffic.describe_failures(Duration::ZERO));
    }
    if told.wrongly_paired > 0 {
        problems.push(format!("wrongly paired answers: {:?}", told.traffic.by_pair()));
    }
    if told.requests.idle > 0 {
        let busy = seen.requests.beyond_idle();
        let last = &busy.0[busy.0.len().saturating_sub(told.requests.idle)..];
        problems.push(format!("the controller was not silent at the end: {last:?}"));
    }
    problems.extend(seen.violations().iter().cloned());
    problems
}

fn document_problems(comparison: &Value) -> Option<String> {
    let wrong = ["missing", "stale", "extra"].map(|kind| comparison[kind].as_u64().unwrap_or(0));
    (wrong != [0, 0, 0]).then(|| format!("the new index differs from the database: {comparison}"))
}
