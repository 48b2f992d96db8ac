//! A whole window made by hand, in the controller's name and without it: the mechanism alone under traffic,
//! with everything that the observer and the traffic client tell of it.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Service;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams, Preconditions};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config, ResourceExt};
use serde_json::{Value, json};
use slipway_crds::names::{ATTEMPT, CLAIM, POD_TEMPLATE_HASH, RELEASE, REVISION, STEP, TASK, WINDOW};
use slipway_e2e::{
    cluster::Cluster,
    components::PAUSE_IMAGE,
    namespaces,
    observer::Observer,
    traffic::{Mix, Traffic, TrafficConfig, by_body},
};
use slipway_judge::observer::{
    Move::{Bolt, Claim, Close, Flip, Hold, Lock, Open, Pin, Retire, Unpin},
    ObserverConfig,
};
use tokio::time::{Instant, sleep};

const NAMESPACE: &str = "by-hand";
const HOLD: i32 = 2_147_483_646;

/// The application and the rights to move it.
struct Hand {
    deployments: Api<Deployment>,
    replica_sets: Api<ReplicaSet>,
    services: Api<Service>,
    jobs: Api<Job>,
}

impl Hand {
    fn new(client: &Client) -> Self {
        Self {
            deployments: Api::namespaced(client.clone(), NAMESPACE),
            replica_sets: Api::namespaced(client.clone(), NAMESPACE),
            services: Api::namespaced(client.clone(), NAMESPACE),
            jobs: Api::namespaced(client.clone(), NAMESPACE),
        }
    }

    /// Three pods that answer with their own name, behind a Service.
    async fn deploy(&self) -> Result<SocketAddr> {
        let deployment = serde_json::from_value(json!({
            "metadata": {"name": "web"},
            "spec": {"replicas": 3, "selector": {"matchLabels": {"app": "web"}}, "template": template("g1")}
        }))?;
        let service = serde_json::from_value(json!({
            "metadata": {"name": "web"},
            "spec": {"selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": 8080}]}
        }))?;
        self.deployments
            .create(&PostParams::default(), &deployment)
            .await?;
        let service = self.services.create(&PostParams::default(), &service).await?;
        self.side("g1", "is ready", |side| ready(side) == 3).await?;
        let address = service
            .spec
            .and_then(|spec| spec.cluster_ip)
            .context("the Service has no ClusterIP")?;
        Ok(SocketAddr::new(address.parse()?, 80))
    }

    async fn deployment(&self, patch: Value) -> Result<()> {
        patch_as_seen(&self.deployments, "web", patch).await
    }

    async fn service(&self, patch: Value) -> Result<()> {
        patch_as_seen(&self.services, "web", patch).await
    }

    async fn pin(&self, side: &ReplicaSet) -> Result<()> {
        let hash = &side.labels()[POD_TEMPLATE_HASH];
        self.service(json!({"metadata": {"labels": {WINDOW: "open"}},
            "spec": {"selector": {POD_TEMPLATE_HASH: hash}}}))
            .await
    }

    async fn bolt(&self, side: &ReplicaSet) -> Result<()> {
        let patch = json!({"spec": {"minReadySeconds": HOLD}});
        patch_as_seen(&self.replica_sets, &side.name_any(), patch).await?;
        let bolted = |side: &ReplicaSet| {
            side.status
                .as_ref()
                .is_some_and(|status| status.available_replicas.is_none())
        };
        self.side("g1", "is bolted", bolted).await.map(drop)
    }

    /// Waits until the side with this generation is as it should be.
    async fn side(
        &self,
        generation: &str,
        what: &str,
        is_so: impl Fn(&ReplicaSet) -> bool,
    ) -> Result<ReplicaSet> {
        let end = Instant::now() + Duration::from_mins(1);
        loop {
            let sides = self.replica_sets.list(&ListParams::default()).await?;
            let of_generation =
                |side: &ReplicaSet| serde_json::to_string(side).is_ok_and(|text| text.contains(generation));
            if let Some(side) = sides.into_iter().find(|side| of_generation(side) && is_so(side)) {
                return Ok(side);
            }
            ensure!(
                Instant::now() < end,
                "a minute is over, and no side {generation} {what}"
            );
            sleep(Duration::from_millis(50)).await;
        }
    }

    /// A task that fails at once, and is taken away when it has.
    async fn failing_task(&self, attempt: &str) -> Result<()> {
        let name = format!("shop-7-expand-{attempt}");
        let labels =
            json!({RELEASE: "shop", REVISION: "7", STEP: "expand", TASK: "expand", ATTEMPT: attempt});
        let container = json!({"name": "task", "image": PAUSE_IMAGE, "imagePullPolicy": "IfNotPresent",
            "args": ["no address"]});
        let job = serde_json::from_value(json!({
            "metadata": {"name": name, "labels": labels},
            "spec": {"backoffLimit": 0, "template": {"metadata": {"labels": labels},
                "spec": {"restartPolicy": "Never", "containers": [container]}}}
        }))?;
        let job = self.jobs.create(&PostParams::default(), &job).await?;
        let end = Instant::now() + Duration::from_mins(1);
        while self
            .jobs
            .get(&name)
            .await?
            .status
            .and_then(|status| status.failed)
            != Some(1)
        {
            ensure!(Instant::now() < end, "the task did not fail within a minute");
            sleep(Duration::from_millis(100)).await;
        }
        let own = Preconditions {
            uid: job.uid(),
            ..Preconditions::default()
        };
        self.jobs
            .delete(&name, &DeleteParams::background().preconditions(own))
            .await?;
        Ok(())
    }
}

/// A client that acts in the name of another user, with every right.
async fn client_as(cluster: &Cluster, user: &str) -> Result<Client> {
    let kubeconfig = Kubeconfig::read_from(cluster.kubeconfig())?;
    let mut config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
    config.auth_info.impersonate = Some(user.to_owned());
    config.auth_info.impersonate_groups = Some(vec!["system:masters".to_owned()]);
    Ok(Client::try_from(config)?)
}

/// A merge patch on what was seen just before, again when somebody was faster, as the controller does it.
async fn patch_as_seen<K>(api: &Api<K>, name: &str, mut patch: Value) -> Result<()>
where
    K: Clone + serde::de::DeserializeOwned + std::fmt::Debug + ResourceExt,
{
    loop {
        patch["metadata"]["resourceVersion"] = json!(api.get(name).await?.resource_version());
        match api
            .patch(name, &PatchParams::default(), &Patch::Merge(&patch))
            .await
        {
            Ok(_) => return Ok(()),
            Err(kube::Error::Api(status)) if status.is_conflict() => {}
            Err(error) => return Err(error.into()),
        }
    }
}

fn template(generation: &str) -> Value {
    json!({"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{
        "name": "web", "image": PAUSE_IMAGE, "imagePullPolicy": "IfNotPresent", "args": [":8080"],
        "env": [{"name": "SEARCH_INDEX_GENERATION", "value": generation}],
        "resources": {"requests": {"cpu": "10m"}},
        "readinessProbe": {"httpGet": {"path": "/", "port": 8080}, "periodSeconds": 1}}]}})
}

fn rolling(surge: &str, unavailable: &str) -> Value {
    json!({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": surge, "maxUnavailable": unavailable}})
}

fn ready(side: &ReplicaSet) -> i32 {
    side.status
        .as_ref()
        .and_then(|status| status.ready_replicas)
        .unwrap_or(0)
}

fn wanted(side: &ReplicaSet) -> i32 {
    side.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(0)
}

/// From Open to the lock: the new side is full beside the old one.
async fn boot_beside(hand: &Hand) -> Result<[ReplicaSet; 2]> {
    let claim = json!({"metadata": {"labels": {CLAIM: "uid-of-the-release"}}});
    hand.deployment(claim.clone()).await?;
    hand.service(claim).await?;
    hand.deployment(json!({"metadata": {"labels": {WINDOW: "open"}}, "spec": {"paused": true}}))
        .await?;
    let old = hand.side("g1", "is there", |_| true).await?;
    hand.pin(&old).await?;
    hand.deployment(
        json!({"spec": {"template": template("g2"), "paused": false, "minReadySeconds": HOLD,
        "progressDeadlineSeconds": HOLD + 1, "strategy": rolling("100%", "0%")}}),
    )
    .await?;
    hand.side("g2", "wants its size", |side| wanted(side) == 3)
        .await?;
    hand.deployment(json!({"spec": {"paused": true}})).await?;
    let new = hand.side("g2", "is ready", |side| ready(side) == 3).await?;
    Ok([old, new])
}

/// From Retire to Close.
async fn retire(hand: &Hand) -> Result<()> {
    hand.deployment(
        json!({"spec": {"template": template("g2"), "paused": true, "minReadySeconds": 0,
        "progressDeadlineSeconds": 600, "strategy": rolling("25%", "25%")}}),
    )
    .await?;
    let gone = |side: &ReplicaSet| side.status.as_ref().is_some_and(|status| status.replicas == 0);
    hand.side("g1", "is gone", gone).await?;
    let unpinned =
        json!({"metadata": {"labels": {WINDOW: null}}, "spec": {"selector": {POD_TEMPLATE_HASH: null}}});
    hand.service(unpinned).await?;
    hand.deployment(json!({"metadata": {"labels": {WINDOW: null}}, "spec": {"paused": false}}))
        .await
}

#[tokio::test]
#[ignore = "needs the cluster: cargo verify"]
async fn a_window_made_by_hand_loses_nothing_and_is_seen_from_outside() -> Result<()> {
    let cluster = Cluster::attach()?;
    let admin = cluster.client().await?;
    namespaces::create(&admin, NAMESPACE).await?;
    let config = ObserverConfig::new(cluster.audit_log(), NAMESPACE).services(&["web"]);
    let hand = Hand::new(&client_as(&cluster, &config.controller_user).await?);
    let target = Hand::new(&admin).deploy().await?;
    let observer = Observer::start(admin.clone(), config).await?;
    let side_of = |pod: &str| pod.rsplit('-').nth(1).map(str::to_owned);
    let traffic = Traffic::start(TrafficConfig::new(target, Mix::only("/")).classify(by_body(side_of)));
    ensure!(
        traffic.flowing(100, Duration::from_secs(10)).await,
        "no traffic flows: {:?}",
        traffic.live()
    );

    let window = observer.mark("window");
    let [old, new] = boot_beside(&hand).await?;
    hand.bolt(&old).await?;
    let flip = traffic.mark("flip");
    hand.pin(&new).await?;
    sleep(Duration::from_secs(2)).await;
    traffic.mark("retire");
    retire(&hand).await?;
    hand.failing_task("1").await?;
    hand.failing_task("2").await?;

    let report = traffic.stop().await;
    println!("{report}\n{}", report.per_second());
    report.assert_no_failures();
    let [old, new] = [old, new].map(|side| side.labels()[POD_TEMPLATE_HASH].clone());
    let flipped = report.offset(flip.at);
    assert_eq!(
        report.answered_between(&new, Duration::ZERO, flipped),
        0,
        "{report}"
    );
    let moved = flipped + Duration::from_secs(1);
    assert_eq!(report.answered_between(&old, moved, Duration::MAX), 0, "{report}");

    let seen = observer.finish().await;
    println!("{}\n{}", seen.transcript(), seen.requests);
    seen.assert_well();
    assert_eq!(
        seen.order(),
        [Claim, Open, Pin, Hold, Lock, Bolt, Flip, Retire, Unpin, Close]
    );
    assert!(
        seen.endpoints.fewest("web", window.at) >= Some(3),
        "{:?}",
        seen.endpoints.timeline("web")
    );
    assert_eq!(seen.endpoints.sides("web", window.at), [old, new].into());
    let ends: Vec<_> = seen
        .jobs
        .iter()
        .filter_map(|job| Some(job.ended.as_ref()?.0.as_str()))
        .collect();
    assert_eq!(ends, ["Failed", "Failed"]);
    namespaces::delete(&admin, NAMESPACE).await
}
