//! Effects on the abstract cluster: each conditional on what was seen, and each watched for what must never be.

use slipway_engine::decision::Purpose;

use crate::decision::Effect;
use crate::memory::Memory;
use crate::state::{Cluster, Deployment, Job, JobState, Set};
use crate::view::pod_version;

/// How a call ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Answer {
    /// Carried out.
    Done,
    /// The object is not what it was when it was seen.
    Outdated,
}

impl Cluster {
    /// Carries out an effect; `current` says whether the Release is still the one that was read.
    pub(crate) fn carry_out(&mut self, effect: &Effect, current: bool) -> Answer {
        match effect {
            Effect::Release { finalizer } if current && !self.release.gone => {
                self.release.finalizer = *finalizer;
                self.release.gone = self.release.deleting && !finalizer;
            }
            Effect::Deployment { to, .. } if to.version == self.deployment.version => {
                let labels = Deployment {
                    claim: to.claim,
                    window: to.window,
                    ..self.deployment.clone()
                };
                let (synced, counted) = (self.deployment.synced, self.deployment.counted);
                let same = Deployment {
                    synced,
                    counted,
                    ..to.clone()
                } == labels;
                let version = to.version + 1;
                self.deployment = Deployment {
                    synced: synced && same,
                    counted,
                    version,
                    ..to.clone()
                };
            }
            Effect::Set { image, to, .. } => match self.set_mut(*image) {
                Some(set) if (set.uid, set.version) == (to.uid, to.version) => {
                    *set = Set {
                        held: to.held,
                        version: set.version + 1,
                        current: false,
                        ..set.clone()
                    };
                }
                Some(_) | None => return Answer::Outdated,
            },
            Effect::Service { to, .. } if to.version == self.service.version => {
                self.service = to.clone();
                self.service.version += 1;
            }
            Effect::FreePod { job, version } => {
                let mut pods = self.pods.iter_mut();
                match pods.find(|pod| pod.job == *job && pod_version(pod) == *version) {
                    Some(pod) => pod.finalizer = false,
                    None => return Answer::Outdated,
                }
                self.pods.sort();
            }
            Effect::Create { job } => {
                if self
                    .jobs
                    .iter()
                    .any(|known| known.name == job.name && known.state != JobState::Gone)
                {
                    return Answer::Outdated;
                }
                let before = self.jobs.iter().filter(|known| known.name == job.name).count();
                self.jobs.push(Job {
                    uid: u8::try_from(before).expect("few Jobs of a name"),
                    ..job.clone()
                });
                self.jobs.sort();
            }
            Effect::Start { job, uid } => {
                let mut jobs = self.jobs.iter_mut();
                match jobs.find(|known| known.name == *job && known.uid == *uid) {
                    Some(known) if known.state == JobState::Made => {
                        known.state = JobState::New;
                        known.started = true;
                    }
                    Some(_) | None => return Answer::Outdated,
                }
                self.jobs.sort();
            }
            Effect::Delete {
                job,
                uid,
                never_started,
            } => {
                let known = self
                    .jobs
                    .iter()
                    .find(|known| known.name == *job && known.uid == *uid);
                let unchanged = known.is_some_and(|known| !never_started || known.state == JobState::Made);
                if !unchanged || !self.delete_job(job) {
                    return Answer::Outdated;
                }
            }
            Effect::Release { .. } | Effect::Deployment { .. } | Effect::Service { .. } => {
                return Answer::Outdated;
            }
        }
        Answer::Done
    }

    /// A Job goes, its pod is told to end. False where there is none.
    pub(crate) fn delete_job(&mut self, name: &str) -> bool {
        let known = self
            .jobs
            .iter_mut()
            .find(|job| &*job.name == name && job.state != JobState::Gone);
        let Some(job) = known else {
            return false;
        };
        job.state = JobState::Gone;
        self.end_pod(name, false);
        true
    }

    /// What a look must not lead to, as the cluster is right then.
    pub(crate) fn wrong_aim(&self, effect: &Effect) -> Option<&'static str> {
        match effect {
            Effect::Service { to, .. } => {
                let (before, after) = (self.selected(self.service.pin), self.selected(to.pin));
                let takes = before > 0 && after == 0 && to.version == self.service.version;
                takes.then_some("Serving: a write takes a Service's last ready pod away")
            }
            Effect::Release { .. }
            | Effect::Deployment { .. }
            | Effect::Set { .. }
            | Effect::FreePod { .. }
            | Effect::Create { .. }
            | Effect::Start { .. }
            | Effect::Delete { .. } => None,
        }
    }

    /// What a write that was carried out must not have been: `before` and `memory` are what the API server held.
    pub(crate) fn wrong_write(before: &Self, effect: &Effect, memory: &Memory) -> Option<&'static str> {
        let deleting = before.release.deleting;
        let leaves = memory.leaves() || deleting;
        match effect {
            Effect::Start { job, .. }
                if before
                    .jobs
                    .iter()
                    .any(|known| known.name == *job && known.started) =>
            {
                Some("At most once: an attempt is started again")
            }
            Effect::Start { job, uid } if !memory.intended(job, *uid) => {
                Some("At most once: a Job is started that was not recorded")
            }
            Effect::Service {
                purpose: Purpose::Flip,
                ..
            } if !memory.cutover => Some("Committed first: traffic moves without a recorded intent"),
            Effect::Service {
                purpose: Purpose::Flip,
                ..
            } if !before.bolted() => Some("Section 4: traffic moves while the old side is not bolted"),
            Effect::Service {
                purpose: Purpose::FlipBack,
                ..
            } if !leaves => Some("Committed first: traffic moves back without a recorded intent"),
            Effect::Set {
                purpose: Purpose::Bolt,
                ..
            } if !memory.cutover => Some("Section 4: the bolt before the recorded intent of the cutover"),
            Effect::Deployment {
                purpose: Purpose::EndWindow,
                ..
            } if !leaves => Some("Committed first: a side goes without a recorded intent"),
            Effect::Deployment {
                purpose: Purpose::EndWindow,
                to,
            } if before.two_sides() && before.service.pin.is_some_and(|pin| pin != to.image) => {
                Some("Kept: a write ends the side that the traffic goes to")
            }
            Effect::Deployment {
                purpose: Purpose::Hold,
                to,
            } if !(to.held_ready && to.held_deadline && to.held_strategy && before.deployment.window) => {
                Some("Section 4: a new template without the hold, or outside of a window")
            }
            Effect::Deployment {
                purpose: Purpose::Hold,
                ..
            } if before.service.pin.is_none() => {
                Some("Section 4: new pods boot before the Service is pinned")
            }
            Effect::Service {
                purpose: Purpose::Unpin,
                ..
            } if before.two_sides() => Some("Section 4: a Service is unpinned while both sides have pods"),
            Effect::Release { .. }
            | Effect::Deployment { .. }
            | Effect::Set { .. }
            | Effect::Service { .. }
            | Effect::FreePod { .. }
            | Effect::Create { .. }
            | Effect::Start { .. }
            | Effect::Delete { .. } => None,
        }
    }

    /// Whether every side but that of the Deployment's own template is bolted or wants nothing.
    fn bolted(&self) -> bool {
        let others = (1..)
            .zip(&self.sets)
            .filter(|(image, _)| *image != self.deployment.image);
        others
            .filter_map(|(_, set)| set.as_ref())
            .all(|set| set.held || set.wanted == 0)
    }

    fn two_sides(&self) -> bool {
        self.sets.iter().flatten().filter(|set| set.ready > 0).count() > 1
    }

    /// What a step of the others must not do to pods that serve: `next` is the cluster after it.
    pub(crate) fn wrong_step(&self, next: &Self, memory: &Memory) -> Option<&'static str> {
        let shrunk = |image: &u8| {
            let wanted = |cluster: &Self| cluster.set(*image).map_or(0, |set| set.wanted);
            wanted(next) < wanted(self)
        };
        let mut sides = (1..=3).filter(shrunk);
        let serving = sides.clone().any(|image| self.service.pin == Some(image));
        let ready = |image: u8| self.set(image).is_some_and(|set| set.ready > 0);
        if serving && sides.clone().any(ready) {
            return Some("Kept: the serving side is scaled away");
        }
        let kept = memory.cutover && memory.number > 0 && !memory.leaves() && memory.outcome.is_none();
        (kept && !self.release.deleting && sides.any(ready)).then_some("Kept: the warm side is scaled away")
    }

    /// The values of the user, and nothing of a window.
    pub(crate) fn as_the_user_left_it(&self) -> bool {
        self.deployment.as_the_user_left_it() && !self.service.window && self.service.pin.is_none()
    }
}

impl Deployment {
    /// The values of the user, and nothing of a window.
    pub(crate) fn as_the_user_left_it(&self) -> bool {
        !(self.held_ready || self.held_deadline || self.held_strategy || self.window || self.paused)
    }
}
