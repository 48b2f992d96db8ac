//! The whole shop, with its search index, on real engines.

use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::{Value, json};
use slipway_crds::GenerationToken;
use slipway_crds::names::ABORT;
use slipway_crds::v1alpha1::{Phase, Release};
use slipway_e2e::cluster::Cluster;
use slipway_judge::observer::Move::{Flip, Roll};

use super::stage::{Setup, condition};
use super::traffic::STORY;

/// Products of a shop that is reindexed: a few seconds of work.
const PRODUCTS: u32 = 4_000;

fn live_token(release: &Release) -> Option<&str> {
    let search = release.status.as_ref()?.search.as_ref()?;
    search.live.as_ref()?.token.as_ref().map(GenerationToken::as_str)
}

#[tokio::test]
#[ignore = "needs the cluster: cargo verify"]
async fn a_new_generation_is_built_beside_the_live_one_on_opensearch() -> Result<()> {
    goes_from_one_to_two(Setup::shop("reindex", PRODUCTS).traffic(200)).await
}

#[tokio::test]
#[ignore = "needs the cluster: cargo verify"]
async fn a_new_generation_is_built_beside_the_live_one_on_elasticsearch() -> Result<()> {
    goes_from_one_to_two(Setup::shop("elastic", PRODUCTS / 4).elasticsearch().traffic(100)).await
}

async fn goes_from_one_to_two(setup: Setup) -> Result<()> {
    let stage = setup.open().await?;
    let data = stage.data.clone().context("it has data")?;
    let started = stage.observer.mark("release");
    stage.release(&json!({})).await?;
    for phase in [Phase::Reindex, Phase::Preboot, Phase::Retire] {
        stage.until_past(phase).await?;
    }
    let release = stage.until_phase(Phase::Complete).await?;
    let token = live_token(&release).context("a live generation")?.to_owned();
    stage.assert_restored().await?;

    let cluster = Cluster::attach()?;
    let account = stage.close().await?;
    let (report, seen) = (account.report(), &account.seen);
    report.assert_no_failures();
    // Each version reads its own index, and the old one reads it to its end.
    let own = format!("{}_{token}", data.alias);
    report.assert_pairs(|version| match &*version.name {
        "1" => version.index.as_deref() == Some(data.alias.as_str()),
        _ => version.index.as_deref() == Some(own.as_str()),
    });
    let flip = report.offset(seen.first(&Flip).context("a flip")?);
    assert_eq!(
        report.answered_between("1", flip + Duration::from_secs(1), Duration::MAX),
        0
    );
    let moves: Vec<_> = seen
        .order_since(&started)
        .into_iter()
        .filter(|what| *what != Roll)
        .collect();
    assert_eq!(moves, STORY);
    let found = data.check(&cluster, "2", Some(&token)).await?;
    println!("{found}");
    for kind in ["missing", "stale", "extra"] {
        assert_eq!(found[kind], json!(0), "{found}");
    }
    let through_alias = data.check(&cluster, "2", None).await?;
    assert_eq!(
        through_alias["missing"],
        json!(0),
        "the stable alias leads to the same: {through_alias}"
    );
    let steps: Vec<_> = seen
        .jobs
        .iter()
        .map(slipway_judge::observer::jobs::JobLife::step)
        .collect();
    assert_eq!(&steps[..3], ["prepare", "expand", "reindex"]);
    Ok(())
}

/// A build with these variables.
fn build(environment: &[(&str, &str)]) -> Value {
    let environment: Vec<_> = environment
        .iter()
        .map(|(name, value)| json!({"name": name, "value": value}))
        .collect();
    json!({"reindex": {"build": {"env": environment}}})
}

#[tokio::test]
#[ignore = "needs the cluster: cargo verify"]
async fn an_index_that_is_not_as_it_must_be_is_never_booted_on() -> Result<()> {
    let stage = Setup::shop("failures", 1_500).traffic(50).open().await?;
    let live = stage.data.clone().context("it has data")?.alias;
    // A catch-up would bring what the build left out: the products are younger than the passes' overlap.
    let mut few = build(&[("SHOP_FAIL_REINDEX", "few")]);
    few["reindex"]["catchUp"] = Value::Null;
    let cases = [
        (
            build(&[("SHOP_FAIL_REINDEX", "exit")]),
            "BuildFailed",
            "the reindex stopped half-way",
        ),
        (few, "VerificationFailed", "minimumDocuments"),
        (
            build(&[("SHOP_REINDEX_DELAY_MS", "1"), ("SHOP_MOVE_LIVE_ALIAS", "1")]),
            "LiveAliasMoved",
            live.as_str(),
        ),
    ];
    let mut moves = None;
    for (spec, reason, says) in cases {
        if reason == "LiveAliasMoved" {
            // From here on v1 meets an index that it does not know: the accident that the whole story is about.
            moves = Some(stage.traffic().mark("the build moves the live alias"));
        }
        stage.release(&spec).await?;
        let message = stage.until_stalled(reason).await?;
        println!("{reason}: {message}");
        assert!(message.contains(says), "{message}");
        stage.until_phase(Phase::Failed).await?;
        assert!(stage.pods("shop:2.0").await?.is_empty());
        stage.assert_restored().await?;
    }
    let account = stage.close().await?;
    let report = account.report();
    let accident = report.offset(moves.context("a mark")?.at);
    assert!(
        report.failures().all(|(sample, _)| sample.at >= accident),
        "{report}"
    );
    Ok(())
}

#[tokio::test]
#[ignore = "needs the cluster: cargo verify"]
async fn an_engine_that_is_away_is_waited_for() -> Result<()> {
    let stage = Setup::shop("away", 500).pods(1).open().await?;
    // Nobody answers behind the Service any more.
    let slice = json!({"endpoints": []});
    stage
        .kubectl(&[
            "patch",
            "endpointslice",
            "search",
            "--type=merge",
            "--patch",
            &slice.to_string(),
        ])
        .await?;
    stage.release(&json!({})).await?;
    let message = stage.until_stalled("SearchUnavailable").await?;
    assert!(
        message.contains("gives no answer") && message.contains("serves unchanged"),
        "{message}"
    );
    assert!(stage.jobs().await?.is_empty());
    stage.kubectl(&["delete", "endpointslice", "search"]).await?;
    let engine = stage
        .data
        .as_ref()
        .and_then(|data| data.engine)
        .context("it has an engine")?;
    engine.expose(&stage.client, &stage.namespace).await?;
    stage.until_past(Phase::Prepare).await?;
    stage.until_phase(Phase::Complete).await?;
    stage.assert_restored().await?;
    stage.close().await.map(drop)
}

#[tokio::test]
#[ignore = "needs the cluster: cargo verify"]
async fn an_alias_on_two_indices_is_refused() -> Result<()> {
    let stage = Setup::shop("two", 10).pods(1).open().await?;
    let data = stage.data.clone().context("it has data")?;
    data.run(&stage.cluster, "1", Some("beside"), &["reindex"])
        .await?;
    let second =
        json!({"actions": [{"add": {"index": format!("{}_beside_*", data.alias), "alias": data.alias}}]});
    data.ask("POST", "/_aliases", &second).await?;
    stage.release(&json!({})).await?;
    let message = stage.until_stalled("AliasOnSeveralIndices").await?;
    assert!(message.contains(&data.alias), "{message}");
    assert!(stage.jobs().await?.is_empty());
    stage.close_but("stood on").await.map(drop)
}

/// A lost search index is not the only thing that a person may want to give up.
#[tokio::test]
#[ignore = "needs the cluster: cargo verify"]
async fn a_build_that_is_given_up_leaves_everything_as_it_was() -> Result<()> {
    let stage = Setup::shop("given-up", 3_000).pods(1).traffic(20).open().await?;
    let alias = stage.data.clone().context("it has data")?.alias;
    stage
        .release(&build(&[("SHOP_REINDEX_DELAY_MS", "3000")]))
        .await?;
    stage
        .until("a build at work", |release| {
            let tasks = release.status.as_ref().map_or(&[][..], |status| &status.tasks);
            tasks
                .iter()
                .any(|task| task.name == "build" && task.started_at.is_some())
        })
        .await?;
    stage.pull(ABORT).await?;
    let release = stage.until_phase(Phase::Aborted).await?;
    assert!(condition(&release, "Serving").is_some());
    stage.assert_restored().await?;
    let account = stage.close().await?;
    account.report().assert_no_failures();
    account
        .report()
        .assert_pairs(|version| version.index.as_deref() == Some(alias.as_str()));
    Ok(())
}
