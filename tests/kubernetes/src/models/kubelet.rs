//! The scheduler and the kubelet: they place pods on the one node, run their processes and report.

mod status;

use std::{collections::BTreeMap, time::Duration};

use jiff::Timestamp;
use serde_json::Value;

use super::{
    Model, Wake,
    behaviour::{Behaviour, Exit},
};
use crate::{
    clock,
    cluster::{Cluster, Process},
    fields,
    kind::Kind,
    random::Random,
    store::{Caller, Change, DeleteOptions, Key, Part, Store},
};

/// How long it takes until somebody notices that a pod without a node was deleted.
const POD_COLLECTION: Duration = Duration::from_secs(5);

/// What the node knows about a pod.
#[derive(Debug)]
struct Sandbox {
    uid: String,
    behaviour: Behaviour,
    stage: Stage,
    address: String,
    restarts: i64,
    last_end: Option<(Timestamp, Exit)>,
    work_done: usize,
}

/// Where a pod stands.
#[derive(Clone, Debug)]
enum Stage {
    /// It waits for a node.
    Unplaced { due: Option<Timestamp> },
    /// Its container is being made; without a time for ever.
    Making { due: Option<Timestamp> },
    /// Its process runs.
    Running {
        since: Timestamp,
        process: usize,
        stop: Option<(Timestamp, Exit)>,
    },
    /// Its process ended and is started again then.
    BackOff { until: Timestamp },
    /// It was deleted before it had a node, and somebody has noticed.
    Collected,
    /// Its process ended for good.
    Ended {
        since: Option<Timestamp>,
        at: Timestamp,
        exit: Exit,
    },
}

/// The model.
#[derive(Debug, Default)]
pub struct Kubelet {
    sandboxes: BTreeMap<Key, Sandbox>,
    addresses: u32,
}

impl Model for Kubelet {
    fn name(&self) -> &'static str {
        "kubelet"
    }

    fn affected(&mut self, change: &Change, _store: &Store) -> Vec<Key> {
        if change.key.kind == Kind::Pod {
            vec![change.key.clone()]
        } else {
            Vec::new()
        }
    }

    fn reconcile(&mut self, key: &Key, cluster: &mut Cluster, random: &mut Random) -> Wake {
        let now = cluster.clock.now();
        let pod = cluster.store.get(key).cloned();
        let known = self.sandboxes.get(key);
        if known.is_some_and(|known| pod.as_ref().is_none_or(|pod| fields::uid(pod) != known.uid)) {
            self.abandon(key, cluster, now);
        }
        let Some(pod) = pod else {
            return Wake::Idle;
        };
        if !self.sandboxes.contains_key(key) {
            if fields::finished(&pod) {
                return Wake::Idle;
            }
            self.accept(key, &pod, cluster, random, now);
        }
        let Some(sandbox) = self.sandboxes.get_mut(key) else {
            return Wake::Idle;
        };
        while sandbox.advance(&pod, cluster, now) {}
        sandbox.report(key, cluster, now)
    }
}

impl Kubelet {
    fn accept(&mut self, key: &Key, pod: &Value, cluster: &Cluster, random: &mut Random, now: Timestamp) {
        let mut behaviour = cluster.scripts.of(pod);
        let jitter = random.within(&(Duration::ZERO..behaviour.jitter));
        behaviour.ready = behaviour.ready.map(|ready| ready + jitter);
        self.addresses += 1;
        let address = format!("10.244.{}.{}", self.addresses / 250, self.addresses % 250 + 1);
        let stage = Stage::Unplaced {
            due: behaviour.schedule.map(|wait| clock::after(now, wait)),
        };
        let uid = fields::uid(pod).to_owned();
        let sandbox = Sandbox {
            uid,
            behaviour,
            stage,
            address,
            restarts: 0,
            last_end: None,
            work_done: 0,
        };
        self.sandboxes.insert(key.clone(), sandbox);
    }

    /// The pod's object is gone: whatever still runs is killed.
    fn abandon(&mut self, key: &Key, cluster: &mut Cluster, now: Timestamp) {
        if let Some(Sandbox {
            stage: Stage::Running { process, .. },
            ..
        }) = self.sandboxes.remove(key)
        {
            cluster.processes[process].ended = Some((now, 137));
        }
    }
}

impl Sandbox {
    /// Does the next thing that is due. Returns whether there was one.
    fn advance(&mut self, pod: &Value, cluster: &mut Cluster, now: Timestamp) -> bool {
        let terminating = fields::terminating(pod);
        match self.stage.clone() {
            Stage::Unplaced { .. } if terminating => {
                let asked = clock::read(fields::text(pod, "/metadata/deletionTimestamp")).unwrap_or(now);
                let due = clock::after(asked, POD_COLLECTION);
                let late = due <= now;
                if late {
                    self.stage = Stage::Collected;
                }
                late
            }
            Stage::Unplaced { due } => self.place(due, pod, cluster, now),
            Stage::Making { .. } | Stage::BackOff { .. } if terminating => {
                self.stage = Stage::Ended {
                    since: None,
                    at: now,
                    exit: Exit::new(Duration::ZERO, 137),
                };
                true
            }
            Stage::Making { due } => due.is_some_and(|due| due <= now) && self.start(pod, cluster, now),
            Stage::BackOff { until } => until <= now && self.start(pod, cluster, now),
            Stage::Running { since, process, stop } => {
                let told = terminating.then(|| self.stop_time(pod, stop.as_ref(), now));
                let own = self.own_end(pod, cluster, since, now);
                let end = told.clone().into_iter().chain(own).min_by_key(|(at, _)| *at);
                if let Some((at, exit)) = end.filter(|(at, _)| *at <= now) {
                    self.end(pod, cluster, since, process, at, exit);
                    return true;
                }
                self.stage = Stage::Running {
                    since,
                    process,
                    stop: told,
                };
                self.work(pod, cluster, since, now)
            }
            Stage::Collected | Stage::Ended { .. } => false,
        }
    }

    fn place(&mut self, due: Option<Timestamp>, pod: &Value, cluster: &mut Cluster, now: Timestamp) -> bool {
        if due.is_none_or(|due| due > now) {
            return false;
        }
        let scheduler = Caller::new("scheduler");
        let bound = cluster
            .store
            .modify(&scheduler, &Key::of(Kind::Pod, pod), Part::Main, |pod| {
                fields::set(pod, "/spec/nodeName", "node-1");
            });
        if bound.is_ok() {
            let pull = self.behaviour.pull;
            self.stage = Stage::Making {
                due: pull.map(|pull| clock::after(now, pull)),
            };
        }
        bound.is_ok()
    }

    fn start(&mut self, pod: &Value, cluster: &mut Cluster, now: Timestamp) -> bool {
        let labels = fields::map(pod, "/metadata/labels").into_iter().flatten();
        let labels = labels.map(|(key, value)| (key.clone(), value.as_str().unwrap_or_default().to_owned()));
        cluster.processes.push(Process {
            pod: format!("{}/{}", fields::namespace(pod), fields::name(pod)),
            uid: self.uid.clone(),
            labels: labels.collect(),
            image: fields::text(pod, "/spec/containers/0/image").to_owned(),
            started: now,
            ended: None,
        });
        self.work_done = 0;
        self.stage = Stage::Running {
            since: now,
            process: cluster.processes.len() - 1,
            stop: None,
        };
        true
    }

    /// When and how a process that was told to end does so. A shorter grace may arrive later.
    fn stop_time(&self, pod: &Value, known: Option<&(Timestamp, Exit)>, now: Timestamp) -> (Timestamp, Exit) {
        let grace = fields::count(pod, "/metadata/deletionGracePeriodSeconds").unsigned_abs();
        let asked = clock::read(fields::text(pod, "/metadata/deletionTimestamp")).unwrap_or(now);
        let killed = (asked.max(now), Exit::new(Duration::ZERO, 137));
        let own = known.cloned().or_else(|| {
            let exit = self.behaviour.terminate.clone()?;
            (exit.after <= Duration::from_secs(grace)).then(|| (clock::after(now, exit.after), exit))
        });
        own.filter(|(at, _)| *at <= asked.max(now)).unwrap_or(killed)
    }

    fn own_end(
        &self,
        pod: &Value,
        cluster: &mut Cluster,
        since: Timestamp,
        now: Timestamp,
    ) -> Option<(Timestamp, Exit)> {
        if cluster.scripts.killed.remove(fields::name(pod)) {
            return Some((now, Exit::new(Duration::ZERO, 137)));
        }
        self.behaviour
            .exit
            .clone()
            .map(|exit| (clock::after(since, exit.after), exit))
    }

    fn end(
        &mut self,
        pod: &Value,
        cluster: &mut Cluster,
        since: Timestamp,
        process: usize,
        at: Timestamp,
        exit: Exit,
    ) {
        cluster.processes[process].ended = Some((at, exit.code));
        let again = match fields::text(pod, "/spec/restartPolicy") {
            "Never" => false,
            "OnFailure" => exit.code != 0,
            _ => true,
        };
        if again && !fields::terminating(pod) {
            // At once the first time, then after ten seconds, doubling up to five minutes.
            let wait = if self.restarts == 0 {
                0
            } else {
                (10_u64 << (self.restarts - 1).min(5)).min(300)
            };
            self.last_end = Some((at, exit));
            self.restarts += 1;
            self.stage = Stage::BackOff {
                until: clock::after(at, Duration::from_secs(wait)),
            };
        } else {
            self.stage = Stage::Ended {
                since: Some(since),
                at,
                exit,
            };
        }
    }

    /// Does the part of the process's work that is due.
    fn work(&mut self, pod: &Value, cluster: &mut Cluster, since: Timestamp, now: Timestamp) -> bool {
        let Some((after, work)) = self.behaviour.work.get(self.work_done) else {
            return false;
        };
        if clock::after(since, *after) > now {
            return false;
        }
        work(&mut cluster.search, pod);
        self.work_done += 1;
        true
    }

    /// Writes the pod's status, and ends the object when the process has ended after a deletion.
    fn report(&mut self, key: &Key, cluster: &mut Cluster, now: Timestamp) -> Wake {
        let caller = Caller::new("kubelet");
        let Some(pod) = cluster.store.get(key).cloned() else {
            return Wake::Idle;
        };
        let sick = cluster.scripts.sick.contains(fields::name(&pod));
        let status = self.status(&pod, sick, now);
        if pod["status"] != status {
            let mut wanted = Value::clone(&pod);
            fields::set(&mut wanted, "/status", status);
            if cluster.store.replace(&caller, key, wanted, Part::Status).is_err() {
                return Wake::Retry;
            }
        }
        if matches!(self.stage, Stage::Collected | Stage::Ended { .. }) && fields::terminating(&pod) {
            let options = DeleteOptions {
                uid: Some(self.uid.clone()),
                grace: Some(0),
                ..DeleteOptions::default()
            };
            return match cluster.store.delete(&caller, key, &options) {
                Ok(_) => Wake::Idle,
                Err(refusal) if refusal.code == 404 => Wake::Idle,
                Err(_) => Wake::Retry,
            };
        }
        self.next(&pod, now).map_or(Wake::Idle, Wake::At)
    }

    /// When there is something to do again.
    fn next(&self, pod: &Value, now: Timestamp) -> Option<Timestamp> {
        match &self.stage {
            Stage::Unplaced { .. } if fields::terminating(pod) => {
                let asked = clock::read(fields::text(pod, "/metadata/deletionTimestamp"))?;
                Some(clock::after(asked, POD_COLLECTION))
            }
            Stage::Unplaced { due } | Stage::Making { due } => *due,
            Stage::BackOff { until } => Some(*until),
            Stage::Running { since, stop, .. } => {
                let from = |after: Duration| clock::after(*since, after);
                let ready = self.behaviour.ready.map(from).filter(|at| *at > now);
                let work = self
                    .behaviour
                    .work
                    .get(self.work_done)
                    .map(|(after, _)| from(*after));
                let end = self.behaviour.exit.as_ref().map(|exit| from(exit.after));
                let stop = stop.as_ref().map(|(at, _)| *at);
                ready.into_iter().chain(work).chain(end).chain(stop).min()
            }
            Stage::Collected | Stage::Ended { .. } => None,
        }
    }
}
