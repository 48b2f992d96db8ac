//! The Job controller (`pkg/controller/job` of Kubernetes 1.34), for Jobs that are not indexed.

mod pods;
mod status;

use std::{collections::BTreeMap, ops::Range, sync::Arc, time::Duration};

use jiff::Timestamp;
use serde_json::{Value, json};

use self::pods::{Counts, TRACKING};
use super::{Model, Wake};
use crate::{
    clock,
    cluster::Cluster,
    fields,
    kind::Kind,
    random::Random,
    refusal::Refusal,
    store::{Caller, Change, DeleteOptions, Event, Key, Part, Store},
};

/// How long the controller waits after the first failure of a pod; the wait doubles with each one.
const BACK_OFF: Duration = Duration::from_secs(10);

/// The model.
#[derive(Debug, Default)]
pub struct Jobs {
    /// The failures of a Job's pods and the time of the last, by the Job's UID.
    failures: BTreeMap<String, (u32, Timestamp)>,
}

impl Model for Jobs {
    fn name(&self) -> &'static str {
        "job-controller"
    }

    fn affected(&mut self, change: &Change, _store: &Store) -> Vec<Key> {
        let owner =
            || fields::controller(&change.object).filter(|owner| fields::text(owner, "/kind") == "Job");
        match change.key.kind {
            Kind::Job => vec![change.key.clone()],
            Kind::Pod => owner()
                .map(|owner| Key::new(Kind::Job, &change.key.namespace, fields::text(owner, "/name")))
                .into_iter()
                .collect(),
            _ => Vec::new(),
        }
    }

    fn lag(&self, change: &Change) -> Range<Duration> {
        // Changes of pods are collected for a second.
        if change.key.kind == Kind::Pod && change.event != Event::Added {
            Duration::from_secs(1)..Duration::from_millis(1040)
        } else {
            Duration::from_millis(1)..Duration::from_millis(30)
        }
    }

    fn reconcile(&mut self, key: &Key, cluster: &mut Cluster, _random: &mut Random) -> Wake {
        let caller = Caller::new(self.name());
        let store = &mut cluster.store;
        let done = match store.get(key).cloned() {
            None => release_orphans(store, &caller, key).map(|()| Wake::Idle),
            Some(job) if is_finished(&job) => finished(store, &caller, key, &job),
            Some(job) => self.sync(store, &caller, key, &job),
        };
        done.unwrap_or(Wake::Retry)
    }
}

impl Jobs {
    fn sync(
        &mut self,
        store: &mut Store,
        caller: &Caller,
        key: &Key,
        job: &Arc<Value>,
    ) -> Result<Wake, Refusal> {
        let now = store.now();
        let pods = own_pods(store, key, fields::uid(job));
        if let Some(interim) = status::interim(job) {
            return self.conclude(store, caller, key, job, &pods, interim);
        }
        if fields::flag(job, "/spec/suspend") {
            return suspend(store, caller, key, job, &pods);
        }
        let mut counts = Counts::of(job, &pods);
        self.remember(job, &counts);
        let mut wanted = Value::clone(job);
        let resumed = status::resume(&mut wanted, now);
        let started = clock::read(fields::text(&wanted, "/status/startTime"));
        let started = started.filter(|_| !resumed).unwrap_or(now);
        fields::set(&mut wanted, "/status/startTime", clock::seconds(started));
        let deadline = fields::number(job, "/spec/activeDeadlineSeconds")
            .map(|seconds| clock::after(started, Duration::from_secs(seconds.unsigned_abs())));
        if let Some((reason, message)) = counts.failure(job, deadline.is_some_and(|deadline| deadline <= now))
        {
            // What still runs is stopped, counts as failed at once, and is no longer tracked.
            counts.failed += counts.active;
            for pod in &pods {
                release(store, caller, pod)?;
                if !fields::finished(pod) {
                    remove_pod(store, caller, pod)?;
                }
            }
            counts.terminating += std::mem::take(&mut counts.active);
            counts.ready = 0;
            status::write(&mut wanted, &counts);
            status::condition(&mut wanted, "FailureTarget", reason, &message, now);
            store.replace(caller, key, wanted, Part::Status)?;
            return Ok(Wake::At(now));
        }
        if counts.succeeded >= fields::number(job, "/spec/completions").unwrap_or(1) && counts.active == 0 {
            let message = "Reached expected number of succeeded pods";
            status::write(&mut wanted, &counts);
            status::condition(
                &mut wanted,
                "SuccessCriteriaMet",
                "CompletionsReached",
                message,
                now,
            );
            store.replace(caller, key, wanted, Part::Status)?;
            return Ok(Wake::At(now));
        }
        let made = self.create_missing(store, caller, key, job, &mut counts);
        for pod in &pods {
            if pods::is_over(job, pod) {
                release(store, caller, pod)?;
            }
        }
        status::write(&mut wanted, &counts);
        store.replace(caller, key, wanted, Part::Status)?;
        if let Err(refusal) = &made {
            tell(store, caller, key, job, refusal);
        }
        let next = made?;
        let next = next.into_iter().chain(deadline).filter(|at| *at > now).min();
        Ok(next.map_or(Wake::Idle, Wake::At))
    }

    /// After the interim condition: the final one, once no pod runs any more.
    fn conclude(
        &mut self,
        store: &mut Store,
        caller: &Caller,
        key: &Key,
        job: &Value,
        pods: &[Arc<Value>],
        interim: &Value,
    ) -> Result<Wake, Refusal> {
        for pod in pods {
            release(store, caller, pod)?;
        }
        let running = pods.iter().filter(|pod| !fields::finished(pod)).count();
        if running > 0 {
            return Ok(Wake::Idle);
        }
        let now = store.now();
        let mut wanted = job.clone();
        let success = fields::text(interim, "/type") == "SuccessCriteriaMet";
        let (reason, message) = (
            fields::text(interim, "/reason"),
            fields::text(interim, "/message"),
        );
        status::condition(
            &mut wanted,
            if success { "Complete" } else { "Failed" },
            reason,
            message,
            now,
        );
        if success {
            fields::set(&mut wanted, "/status/completionTime", clock::seconds(now));
        }
        fields::set(&mut wanted, "/status/terminating", 0);
        fields::remove(&mut wanted, "/status/active");
        store.replace(caller, key, wanted, Part::Status)?;
        self.failures.remove(fields::uid(job));
        Ok(Wake::Idle)
    }

    /// Keeps in mind when pods failed, for the wait before the next one.
    fn remember(&mut self, job: &Value, counts: &Counts) {
        if let Some(at) = counts.last_failure {
            let (count, last) = self
                .failures
                .entry(fields::uid(job).to_owned())
                .or_insert((0, at));
            *count += counts.newly_failed;
            *last = at.max(*last);
        }
    }

    fn create_missing(
        &self,
        store: &mut Store,
        caller: &Caller,
        key: &Key,
        job: &Value,
        counts: &mut Counts,
    ) -> Result<Option<Timestamp>, Refusal> {
        let completions = fields::number(job, "/spec/completions").unwrap_or(1);
        let parallel = fields::count(job, "/spec/parallelism").min(completions - counts.succeeded);
        let terminating = if pods::only_replaces_failed(job) {
            counts.terminating
        } else {
            0
        };
        let missing = parallel - counts.active - terminating;
        if missing <= 0 || fields::terminating(job) {
            return Ok(None);
        }
        if let Some((count, last)) = self
            .failures
            .get(fields::uid(job))
            .filter(|(count, _)| *count > 0)
        {
            let next = clock::after(*last, BACK_OFF * 2_u32.pow((*count - 1).min(6)));
            if next > store.now() {
                return Ok(Some(next));
            }
        }
        for _ in 0..missing {
            store.create(caller, Kind::Pod, &key.namespace, pods::pod_of(job))?;
            counts.active += 1;
        }
        Ok(None)
    }
}

/// A Job's status does not say why it has no pod; only an event does.
fn tell(store: &mut Store, caller: &Caller, key: &Key, job: &Value, refusal: &Refusal) {
    let event = json!({
        "metadata": {"name": format!("{}.failed-create", key.name)},
        "type": "Warning", "reason": "FailedCreate", "action": "FailedCreate",
        "regarding": {"kind": "Job", "name": key.name, "namespace": key.namespace, "uid": fields::uid(job)},
        "note": format!("Error creating: {}", refusal.message),
    });
    // The first one says it all.
    drop(store.create(caller, Kind::Event, &key.namespace, event));
}

fn is_finished(job: &Value) -> bool {
    fields::is_true(job, "Complete") || fields::is_true(job, "Failed")
}

/// A suspended Job's pods are deleted and do not count.
fn suspend(
    store: &mut Store,
    caller: &Caller,
    key: &Key,
    job: &Arc<Value>,
    pods: &[Arc<Value>],
) -> Result<Wake, Refusal> {
    for pod in pods {
        release(store, caller, pod)?;
        if !fields::finished(pod) {
            remove_pod(store, caller, pod)?;
        }
    }
    let mut wanted = Value::clone(job);
    let mut counts = Counts::of(job, pods);
    counts.terminating += std::mem::take(&mut counts.active);
    counts.ready = 0;
    status::write(&mut wanted, &counts);
    status::suspend(&mut wanted, store.now());
    store.replace(caller, key, wanted, Part::Status)?;
    Ok(Wake::Idle)
}

/// A finished Job lets go of its pods and is deleted when its time to live is over.
fn finished(store: &mut Store, caller: &Caller, key: &Key, job: &Value) -> Result<Wake, Refusal> {
    for pod in own_pods(store, key, fields::uid(job)) {
        release(store, caller, &pod)?;
    }
    let Some(seconds) = fields::number(job, "/spec/ttlSecondsAfterFinished") else {
        return Ok(Wake::Idle);
    };
    let last = fields::condition(job, "Complete").or_else(|| fields::condition(job, "Failed"));
    let ended = last.and_then(|condition| clock::read(fields::text(condition, "/lastTransitionTime")));
    let due = clock::after(
        ended.unwrap_or_else(|| store.now()),
        Duration::from_secs(seconds.unsigned_abs()),
    );
    if due > store.now() {
        return Ok(Wake::At(due));
    }
    let uid = Some(fields::uid(job).to_owned());
    store.delete(
        &Caller::new("ttl-controller"),
        key,
        &DeleteOptions {
            uid,
            ..DeleteOptions::background()
        },
    )?;
    Ok(Wake::Idle)
}

/// The pods of a Job that no longer exists are no longer tracked.
fn release_orphans(store: &mut Store, caller: &Caller, key: &Key) -> Result<(), Refusal> {
    let pods = store
        .list(Kind::Pod, Some(&key.namespace))
        .map(|(_, pod)| Arc::clone(pod));
    let of_job = |pod: &Arc<Value>| fields::label(pod, "batch.kubernetes.io/job-name") == key.name;
    let orphans: Vec<_> = pods.filter(of_job).collect();
    orphans.iter().try_for_each(|pod| release(store, caller, pod))
}

fn own_pods(store: &Store, key: &Key, uid: &str) -> Vec<Arc<Value>> {
    let pods = store.list(Kind::Pod, Some(&key.namespace));
    pods.filter(|(_, pod)| fields::controlled_by(pod, uid))
        .map(|(_, pod)| Arc::clone(pod))
        .collect()
}

/// Takes the tracking finalizer off a pod.
fn release(store: &mut Store, caller: &Caller, pod: &Value) -> Result<(), Refusal> {
    if !fields::list(pod, "/metadata/finalizers")
        .iter()
        .any(|name| name == TRACKING)
    {
        return Ok(());
    }
    let done = store.modify(caller, &Key::of(Kind::Pod, pod), Part::Main, |pod| {
        let mut finalizers = fields::list(pod, "/metadata/finalizers").to_vec();
        finalizers.retain(|name| name != TRACKING);
        fields::set(pod, "/metadata/finalizers", finalizers);
    });
    match done {
        Err(refusal) if refusal.code != 404 => Err(refusal),
        Ok(_) | Err(_) => Ok(()),
    }
}

fn remove_pod(store: &mut Store, caller: &Caller, pod: &Value) -> Result<(), Refusal> {
    match store.delete(caller, &Key::of(Kind::Pod, pod), &DeleteOptions::background()) {
        Err(refusal) if refusal.code != 404 => Err(refusal),
        Ok(_) | Err(_) => Ok(()),
    }
}
