//! What one event costs while 10, 1,000 and 10,000 Releases share a namespace, and what the caches take for each
//! Release: `cargo bench -p slipway-controller --bench events`.
//!
//! An event is what the watch gives: it is entered into the caches, and every Release that it concerns is observed
//! and decided about. Every Release is at rest, with a Deployment of three pods, its ReplicaSets, a Service and an
//! EndpointSlice.

#![expect(clippy::indexing_slicing, reason = "all JSON that is indexed is made here")]

use std::{error::Error, io::Write as _};

use jiff::Timestamp;
use kube::core::DynamicObject;
use serde_json::{Value, json};
use slipway_controller::{
    cache::Key,
    caches::Caches,
    watch::kinds::{DEPLOYMENTS, RELEASES, REPLICA_SETS, SERVICES, SLICES, WatchedKind},
};
use slipway_crds::v1alpha1::Phase;
use slipway_engine::{Decision, Intent, Progress};

const LARGEST: usize = 10_000;
const SIZES: [usize; 3] = [LARGEST, 1_000, 10];
/// Events in one measurement.
const EVENTS: usize = 2_000;
/// Measurements, of which the median counts.
const MEASUREMENTS: usize = 5;
const NAMESPACE: &str = "shops";

type Outcome<T> = Result<T, Box<dyn Error>>;

fn main() -> Outcome<()> {
    let mut out = std::io::stdout();
    writeln!(out, "µs an event:  Deployment  EndpointSlice  Release")?;
    // The largest first: what a smaller one takes of memory was in use before.
    for size in SIZES {
        let before = resident()?;
        let caches = filled(size)?;
        if size == LARGEST {
            let memory = (resident()? - before) / size;
            writeln!(out, "{size} Releases take {memory} KiB each")?;
        }
        let deployments = median(&caches, size, &DEPLOYMENTS, deployment)?;
        let slices = median(&caches, size, &SLICES, slice)?;
        let releases = median(&caches, size, &RELEASES, |number, at| {
            let release = caches.releases.get(&Key::new(NAMESPACE, name(number)));
            let mut release = release.as_deref().map_or(Value::Null, |release| json!(release));
            release["metadata"]["resourceVersion"] = json!(at.to_string());
            release
        })?;
        writeln!(
            out,
            "{size:>11}:  {deployments:>10.1}  {slices:>13.1}  {releases:>7.1}"
        )?;
    }
    Ok(())
}

/// Microseconds of processor time for one event on the Releases in turn, scattered.
fn median(
    caches: &Caches,
    size: usize,
    kind: &WatchedKind,
    object: impl Fn(usize, usize) -> Value,
) -> Outcome<f64> {
    let mut version = versions_above(size);
    let mut means = Vec::new();
    for _ in 0..MEASUREMENTS {
        let objects = (0..EVENTS).map(|event| object(event * 7919 % size, version + event));
        let objects: Result<Vec<DynamicObject>, _> = objects.map(serde_json::from_value).collect();
        version += EVENTS;
        let begun = processor_time()?;
        for object in &objects? {
            for key in (kind.enter)(caches, object) {
                drop(std::hint::black_box(decide(caches, &key)?));
            }
        }
        means.push((processor_time()? - begun) / f64::from(u32::try_from(EVENTS)?));
    }
    means.sort_by(f64::total_cmp);
    Ok(means.get(MEASUREMENTS / 2).copied().unwrap_or_default())
}

/// Microseconds that this thread has run; who else is at work on the machine does not count.
fn processor_time() -> Outcome<f64> {
    let times = std::fs::read_to_string("/proc/thread-self/schedstat")?;
    let nanoseconds: f64 = times.split(' ').next().ok_or("no schedstat")?.parse()?;
    Ok(nanoseconds / 1e3)
}

/// Above every version that [`filled`] used.
fn versions_above(size: usize) -> usize {
    size * 100
}

/// The caches of a namespace in which everything is at rest.
fn filled(size: usize) -> Outcome<Caches> {
    let caches = Caches::default();
    for number in 0..size {
        enter(&caches, &DEPLOYMENTS, deployment(number, 1))?;
        for past in 0..3 {
            enter(&caches, &REPLICA_SETS, replica_set(number, past))?;
        }
        enter(&caches, &SERVICES, service(number))?;
        enter(&caches, &SLICES, slice(number, 1))?;
        enter(&caches, &RELEASES, release(number))?;
        come_to_rest(&caches, number)?;
    }
    Ok(caches)
}

fn come_to_rest(caches: &Caches, number: usize) -> Outcome<()> {
    let key = Key::new(NAMESPACE, name(number));
    for version in 2..20 {
        let decision = decide(caches, &key)?;
        let known = caches.releases.get(&key).ok_or("no Release")?;
        if known.status.as_ref() == Some(&decision.progress.status) {
            let at_rest = decision.progress.status.phase == Some(Phase::Complete);
            return if at_rest {
                Ok(())
            } else {
                Err(format!("{decision:?}").into())
            };
        }
        let mut release = json!(*known);
        release["status"] = json!(decision.progress.status);
        release["metadata"]["resourceVersion"] = json!(version.to_string());
        enter(caches, &RELEASES, release)?;
    }
    Err("it does not come to rest".into())
}

fn enter(caches: &Caches, kind: &WatchedKind, object: Value) -> Outcome<()> {
    (kind.enter)(caches, &serde_json::from_value(object)?);
    Ok(())
}

fn decide(caches: &Caches, key: &Key) -> Outcome<Decision> {
    let release = caches.releases.get(key).ok_or("no Release")?;
    let intent = Intent::parse(&release);
    let committed = Progress::new(release.status.clone());
    let observed = caches.observed(&intent, &committed);
    let now: Timestamp = "2026-01-01T00:00:00Z".parse()?;
    Ok(slipway_engine::decide(&intent, &committed, &observed, now))
}

/// KiB of this process that are in memory.
fn resident() -> Outcome<usize> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let number = line.and_then(|line| line.split_whitespace().next());
    Ok(number.ok_or("no VmRSS")?.parse()?)
}

fn name(number: usize) -> String {
    format!("shop-{number}")
}

fn metadata(number: usize, name: &str, version: usize, labels: &Value) -> Value {
    json!({
        "name": name,
        "namespace": NAMESPACE,
        "uid": format!("{name}-uid-{number:024}"),
        "resourceVersion": version.to_string(),
        "generation": 1,
        "labels": labels,
    })
}

fn release_uid(number: usize) -> String {
    format!("{}-uid-{number:024}", name(number))
}

fn release(number: usize) -> Value {
    let mut metadata = metadata(number, &name(number), 1, &json!({}));
    metadata["finalizers"] = json!(["slipway.dev/release"]);
    json!({
        "metadata": metadata,
        "spec": {
            "image": "registry.example/shop:1",
            "workloads": [{"name": "web", "deployment": name(number), "services": [name(number)]}],
            "prepare": [{"name": "assets", "command": ["bin/sync-assets"]}],
            "migrate": {"expand": {"command": ["bin/rails", "db:migrate"]}},
        },
    })
}

fn template(number: usize, hash: Option<&str>) -> Value {
    let variable =
        |at: u32| json!({"name": format!("SETTING_{at}"), "value": format!("value of setting {at}")});
    let mut labels = json!({"app": name(number), "app.kubernetes.io/part-of": "shops"});
    if let Some(hash) = hash {
        labels["pod-template-hash"] = json!(hash);
    }
    json!({
        "metadata": {"labels": labels},
        "spec": {"containers": [{
            "name": "web",
            "image": "registry.example/shop:1",
            "env": (0..20).map(variable).collect::<Vec<_>>(),
            "ports": [{"name": "http", "containerPort": 8080}],
            "readinessProbe": {"httpGet": {"path": "/up", "port": "http"}},
        }]},
    })
}

fn deployment(number: usize, version: usize) -> Value {
    let labels = json!({"slipway.dev/claim": release_uid(number)});
    json!({
        "metadata": metadata(number, &name(number), version, &labels),
        "spec": {
            "replicas": 3,
            "selector": {"matchLabels": {"app": name(number)}},
            "template": template(number, None),
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"}},
        },
        "status": {
            "observedGeneration": 1,
            "replicas": 3,
            "updatedReplicas": 3,
            "readyReplicas": 2 + version % 2,
            "availableReplicas": 2 + version % 2,
        },
    })
}

fn replica_set(number: usize, past: usize) -> Value {
    let hash = format!("{past}5d8f7c9b");
    let pods = if past == 0 { 3 } else { 0 };
    let mut template = template(number, Some(&hash));
    if past > 0 {
        template["spec"]["containers"][0]["image"] = json!(format!("registry.example/shop:0.{past}"));
    }
    let name = format!("{}-{hash}", name(number));
    let mut metadata = metadata(number, &name, 1, &json!({"pod-template-hash": hash}));
    let owner = deployment(number, 1);
    metadata["ownerReferences"] = json!([{
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "name": owner["metadata"]["name"],
        "uid": owner["metadata"]["uid"],
        "controller": true,
    }]);
    json!({
        "metadata": metadata,
        "spec": {"replicas": pods, "template": template},
        "status": {"observedGeneration": 1, "replicas": pods, "readyReplicas": pods, "availableReplicas": pods},
    })
}

fn service(number: usize) -> Value {
    let labels = json!({"slipway.dev/claim": release_uid(number)});
    json!({
        "metadata": metadata(number, &name(number), 1, &labels),
        "spec": {"clusterIP": "10.0.0.1", "selector": {"app": name(number)}, "ports": [{"port": 80, "targetPort": "http"}]},
    })
}

fn slice(number: usize, version: usize) -> Value {
    let labels = json!({"kubernetes.io/service-name": name(number)});
    let endpoint = |pod: u32| {
        let pod = format!("{}-05d8f7c9b-pod{pod:02}", name(number));
        json!({"addresses": ["10.1.0.1"], "conditions": {"ready": true}, "targetRef": {"kind": "Pod", "name": pod}})
    };
    json!({
        "metadata": metadata(number, &format!("{}-x7k2p", name(number)), version, &labels),
        "endpoints": (0..3).map(endpoint).collect::<Vec<_>>(),
    })
}
