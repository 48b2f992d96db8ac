//! What everybody else does, in small steps: the controllers of Kubernetes, kubelets, and time.

use crate::state::{Cluster, IMAGES, JobState, PodPhase, Set};

/// One thing that somebody other than a controller of ours does.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(crate) enum Step {
    /// The Deployment controller looks.
    Rollout,
    /// The ReplicaSet controller looks at the ReplicaSet of an image.
    Fill(u8),
    /// A pod of an image gets ready.
    PodReady(u8),
    /// The ready pods of an image have been ready long enough.
    Available(u8),
    /// The EndpointSlice controller looks.
    Endpoints,
    /// The Job controller makes the pod of a Job.
    MakePod(u8),
    /// A task's pod starts.
    Start(u8),
    /// A task's pod ends with this exit code.
    Exit(u8, u8),
    /// The Job controller takes note of the end of a Job's pod.
    Finish(u8),
    /// A task's pod that nobody holds goes.
    Vanish(u8),
}

impl Cluster {
    /// Does a step; none where it changes nothing.
    pub(crate) fn step(&self, step: Step, replicas: u8) -> Option<Self> {
        let mut next = self.clone();
        next.take(step, replicas);
        (next != *self).then_some(next)
    }

    /// Every step that may be taken, in the order in which a quick cluster takes them.
    pub(crate) fn steps(&self) -> Vec<Step> {
        let mut steps = vec![Step::Rollout];
        let images = || 1..=u8::try_from(IMAGES).expect("few images");
        steps.extend(images().map(Step::Fill));
        steps.extend(images().map(Step::PodReady));
        steps.extend(images().map(Step::Available));
        steps.push(Step::Endpoints);
        let jobs = 0..u8::try_from(self.jobs.len()).expect("few Jobs");
        steps.extend(jobs.flat_map(|at| [Step::MakePod(at), Step::Finish(at)]));
        let pods = 0..u8::try_from(self.pods.len()).expect("few pods");
        steps.extend(pods.flat_map(|at| {
            [
                Step::Start(at),
                Step::Exit(at, 0),
                Step::Exit(at, 1),
                Step::Vanish(at),
            ]
        }));
        steps
    }

    fn take(&mut self, step: Step, replicas: u8) {
        match step {
            Step::Rollout => self.roll_out(replicas),
            Step::Fill(image) => self.fill(image),
            Step::PodReady(image) => {
                if let Some(set) = self.set_mut(image).filter(|set| set.ready < set.pods) {
                    set.ready += 1;
                }
            }
            Step::Available(image) => {
                if let Some(set) = self.set_mut(image).filter(|set| !set.held) {
                    set.available = set.ready;
                }
            }
            Step::Endpoints => {
                for image in 1..=IMAGES {
                    let selected = self.service.pin.is_none_or(|pin| usize::from(pin) == image);
                    let ready = self.sets[image - 1].as_ref().map_or(0, |set| set.ready);
                    self.endpoints[image - 1] = if selected { ready } else { 0 };
                }
            }
            Step::MakePod(at) => self.make_pod(usize::from(at)),
            Step::Start(at) => {
                let pod = &mut self.pods[usize::from(at)];
                if pod.phase == PodPhase::Pending {
                    pod.phase = if pod.deleting {
                        PodPhase::NeverRan
                    } else {
                        PodPhase::Running
                    };
                }
            }
            Step::Exit(at, code) => {
                let pod = &mut self.pods[usize::from(at)];
                if pod.phase == PodPhase::Running {
                    pod.phase = if code == 0 {
                        PodPhase::Succeeded
                    } else {
                        PodPhase::Failed
                    };
                }
            }
            Step::Finish(at) => self.finish(usize::from(at)),
            Step::Vanish(at) => {
                let pod = &self.pods[usize::from(at)];
                if pod.deleting
                    && !pod.finalizer
                    && !matches!(pod.phase, PodPhase::Pending | PodPhase::Running)
                {
                    self.pods.remove(usize::from(at));
                }
            }
        }
    }

    /// The ReplicaSet of an image.
    pub(crate) fn set_mut(&mut self, image: u8) -> Option<&mut Set> {
        self.sets[usize::from(image) - 1].as_mut()
    }

    fn resize(&mut self, place: usize, wanted: u8) {
        if let Some(set) = self.sets[place].as_mut().filter(|set| set.wanted != wanted) {
            set.wanted = wanted;
            set.version += 1;
            set.current = false;
        }
    }

    /// One look of the Deployment controller, as `pkg/controller/deployment` of Kubernetes 1.34 has it.
    fn roll_out(&mut self, replicas: u8) {
        self.deployment.synced = true;
        self.deployment.counted = self.sets.iter().flatten().map(|set| set.pods).sum();
        let deployment = self.deployment.clone();
        let new = usize::from(deployment.image) - 1;
        if let Some(set) = self.sets[new]
            .as_mut()
            .filter(|set| set.held != deployment.held_ready)
        {
            set.held = deployment.held_ready;
            set.version += 1;
            set.current = false;
        }
        if deployment.paused {
            self.scale(new, replicas);
            return;
        }
        let surge = if deployment.held_strategy { replicas } else { 1 };
        let total: u8 = self.sets.iter().flatten().map(|set| set.wanted).sum();
        let room = (replicas + surge).saturating_sub(total);
        match self.sets[new].as_ref().map(|set| set.wanted) {
            None => {
                self.sets[new] = Some(Set {
                    uid: deployment.version,
                    version: 1,
                    wanted: room.min(replicas),
                    held: deployment.held_ready,
                    current: false,
                    pods: 0,
                    ready: 0,
                    available: 0,
                });
                return;
            }
            Some(wanted) if wanted < replicas && room > 0 => {
                self.resize(new, replicas.min(wanted + room));
                return;
            }
            Some(_) => {}
        }
        self.shrink_others(new, replicas);
    }

    /// Unavailable pods of old sets go first, then as many as availability allows; none may be missing.
    fn shrink_others(&mut self, new: usize, replicas: u8) {
        let sum = |cluster: &Self, what: fn(&Set) -> u8| cluster.sets.iter().flatten().map(what).sum::<u8>();
        let Some(kept) = self.sets[new].clone() else {
            return;
        };
        let unready = kept.wanted.saturating_sub(kept.available);
        let mut spare = sum(self, |set| set.wanted).saturating_sub(replicas + unready);
        if spare == 0 {
            return;
        }
        let mut going = sum(self, |set| set.available).saturating_sub(replicas);
        let old: Vec<(usize, Set)> = self.by_age().filter(|(place, _)| *place != new).collect();
        let healthy = old.into_iter().map(|(place, set)| {
            let broken = set.wanted.saturating_sub(set.available).min(spare);
            spare -= broken;
            (place, set.wanted - broken)
        });
        for (place, wanted) in healthy.collect::<Vec<_>>() {
            let less = wanted.min(going);
            going -= less;
            self.resize(place, wanted - less);
        }
    }

    /// While paused: sides follow alike; a saturated side ends the others.
    fn scale(&mut self, new: usize, replicas: u8) {
        let active: Vec<(usize, Set)> = self.by_age().filter(|(_, set)| set.wanted > 0).collect();
        let newest = self.sets[new].is_some().then_some(new);
        let only = match active.as_slice() {
            [] => newest.or_else(|| self.by_age().last().map(|(place, _)| place)),
            [(only, _)] => Some(*only),
            _ => None,
        };
        if let Some(only) = only {
            self.resize(only, replicas);
            return;
        }
        let saturated = self.sets[new]
            .as_ref()
            .is_some_and(|set| set.wanted == replicas && set.available == replicas);
        if saturated {
            for (place, _) in active.into_iter().filter(|(place, _)| *place != new) {
                self.resize(place, 0);
            }
            return;
        }
        let allowed = replicas
            + if self.deployment.held_strategy {
                replicas
            } else {
                1
            };
        let total: u8 = active.iter().map(|(_, set)| set.wanted).sum();
        // In proportion to a surge that has not changed: the largest makes up the difference; among equals the newer
        // one when growing, the older one when shrinking.
        let place = if allowed > total {
            active.iter().max_by_key(|(_, set)| set.wanted)
        } else {
            active.iter().rev().max_by_key(|(_, set)| set.wanted)
        };
        if let Some((place, set)) = place {
            self.resize(*place, (set.wanted + allowed).saturating_sub(total));
        }
    }

    /// Sides with their places, the oldest first: the version of the Deployment that made it tells.
    fn by_age(&self) -> impl Iterator<Item = (usize, Set)> + use<> {
        let sets = self.sets.iter().enumerate();
        let mut sets: Vec<(usize, Set)> = sets
            .filter_map(|(place, set)| Some((place, set.clone()?)))
            .collect();
        sets.sort_by_key(|(_, set)| set.uid);
        sets.into_iter()
    }

    /// One look of the ReplicaSet controller.
    fn fill(&mut self, image: u8) {
        if let Some(set) = self.set_mut(image) {
            set.current = true;
            set.pods = set.wanted;
            set.ready = set.ready.min(set.pods);
            set.available = if set.held { 0 } else { set.available.min(set.ready) };
        }
    }

    fn make_pod(&mut self, at: usize) {
        let job = &mut self.jobs[at];
        if job.state == JobState::New {
            job.state = JobState::Active;
            let pod = crate::state::TaskPod {
                job: job.name.clone(),
                step: job.step.clone(),
                phase: PodPhase::Pending,
                deleting: false,
                disrupted: false,
                finalizer: true,
            };
            self.pods.push(pod);
            self.pods.sort();
        }
    }

    fn finish(&mut self, at: usize) {
        let job = &mut self.jobs[at];
        let pod = self.pods.iter().find(|pod| pod.job == job.name);
        if job.state == JobState::Active {
            job.state = match pod.map(|pod| pod.phase) {
                Some(PodPhase::Pending | PodPhase::Running) => JobState::Active,
                Some(PodPhase::Succeeded) => JobState::Complete,
                Some(PodPhase::Failed | PodPhase::NeverRan) | None => JobState::Failed,
            };
        }
    }

    /// The pod of a task is told to end.
    pub(crate) fn end_pod(&mut self, job: &str, disrupted: bool) {
        if let Some(pod) = self.pods.iter_mut().find(|pod| &*pod.job == job) {
            pod.deleting = true;
            pod.disrupted |= disrupted;
        }
        self.pods.sort();
    }
}
