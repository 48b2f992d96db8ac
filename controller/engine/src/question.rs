//! What has to be known beyond what the watches hold. A step asks, the shell answers; nothing is read without need.
//!
//! Each kind of question has one reader in the shell. An answer says when it was read and is good for a while; a read
//! that failed is an answer too.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use slipway_crds::{DeploymentName, Uid};

use crate::intent::Intent;
use crate::observed::{Observed, PodTrouble, SearchFacts};
use crate::progress::Progress;
use crate::search::{Counts, SearchQuestion};
use crate::{decide, housekeeping, steps, task, terminate};

/// Something that is read live.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum Question {
    /// What names and indices of the search engine are.
    Search(SearchQuestion),
    /// Access modes of these volume claims.
    VolumeClaims(Vec<String>),
    /// Autoscalers of the namespace that scale by a metric of type Value.
    Autoscalers,
    /// Why the pods of this Deployment are not ready.
    PodTroubles(DeploymentName),
    /// Why the Job of this UID has no pod.
    JobTrouble(Uid),
}

impl Question {
    /// How long an answer is good. What an irreversible effect rests on is asked every time.
    pub fn fresh_for(&self) -> SignedDuration {
        match self {
            Self::Search(question) => match question.counts {
                Counts::AsTheyAre => SignedDuration::from_secs(1),
                Counts::No | Counts::Refreshed => SignedDuration::ZERO,
            },
            Self::VolumeClaims(_) | Self::Autoscalers => SignedDuration::from_secs(10),
            Self::PodTroubles(_) => SignedDuration::from_secs(1),
            Self::JobTrouble(_) => SignedDuration::from_secs(2),
        }
    }
}

/// What was read.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum Answer {
    /// Of the search engine.
    Search(SearchFacts),
    /// Access modes by name of the claim; a claim that does not exist is absent.
    VolumeClaims(BTreeMap<String, Vec<String>>),
    /// Name of the autoscaler by that of its Deployment.
    Autoscalers(BTreeMap<DeploymentName, String>),
    /// In the words of the pods.
    PodTroubles(Vec<PodTrouble>),
    /// What the Job controller says; none where it says nothing.
    JobTrouble(Option<String>),
}

/// A question and what became of it.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Answered {
    /// What was asked.
    pub question: Question,
    /// When it was read.
    pub at: Timestamp,
    /// What was read, or why it could not be.
    pub answer: Result<Answer, String>,
}

/// The answers that a decision looks at.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Answers(pub Vec<Answered>);

/// What is known of something that is read live.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Known<'a, T> {
    /// It was not asked.
    NotAsked,
    /// It was asked and gave no usable answer: why.
    Unknown(&'a str),
    /// It is this.
    Is(&'a T),
}

impl Answers {
    fn find<'a, T>(
        &'a self,
        asks: impl Fn(&Question) -> bool,
        read: impl Fn(&'a Answer) -> Option<&'a T>,
    ) -> Known<'a, T> {
        let Some(answered) = self.0.iter().find(|answered| asks(&answered.question)) else {
            return Known::NotAsked;
        };
        match &answered.answer {
            Ok(answer) => read(answer).map_or(Known::Unknown("the answer is to another question"), Known::Is),
            Err(why) => Known::Unknown(why),
        }
    }

    /// What the search engine said.
    pub fn search(&self) -> Known<'_, SearchFacts> {
        self.find(
            |question| matches!(question, Question::Search(_)),
            |answer| match answer {
                Answer::Search(facts) => Some(facts),
                Answer::VolumeClaims(_)
                | Answer::Autoscalers(_)
                | Answer::PodTroubles(_)
                | Answer::JobTrouble(_) => None,
            },
        )
    }

    /// Access modes of volume claims.
    pub fn volume_claims(&self) -> Known<'_, BTreeMap<String, Vec<String>>> {
        self.find(
            |question| matches!(question, Question::VolumeClaims(_)),
            |answer| match answer {
                Answer::VolumeClaims(modes) => Some(modes),
                Answer::Search(_)
                | Answer::Autoscalers(_)
                | Answer::PodTroubles(_)
                | Answer::JobTrouble(_) => None,
            },
        )
    }

    /// Autoscalers by a metric of type Value.
    pub fn autoscalers(&self) -> Known<'_, BTreeMap<DeploymentName, String>> {
        self.find(
            |question| matches!(question, Question::Autoscalers),
            |answer| match answer {
                Answer::Autoscalers(scaled) => Some(scaled),
                Answer::Search(_)
                | Answer::VolumeClaims(_)
                | Answer::PodTroubles(_)
                | Answer::JobTrouble(_) => None,
            },
        )
    }

    /// Why pods are not ready, of all Deployments that were asked for.
    pub fn pod_troubles(&self) -> impl Iterator<Item = &PodTrouble> {
        let answers = self.0.iter().filter_map(|answered| answered.answer.as_ref().ok());
        let troubles = answers.filter_map(|answer| match answer {
            Answer::PodTroubles(troubles) => Some(troubles),
            Answer::Search(_) | Answer::VolumeClaims(_) | Answer::Autoscalers(_) | Answer::JobTrouble(_) => {
                None
            }
        });
        troubles.flatten()
    }

    /// Why the Job of a UID has no pod, where that is known.
    pub fn job_trouble(&self, uid: &Uid) -> Option<&str> {
        let asked = |question: &Question| matches!(question, Question::JobTrouble(of) if of == uid);
        let answered = self.0.iter().find(|answered| asked(&answered.question))?;
        match answered.answer.as_ref().ok()? {
            Answer::JobTrouble(trouble) => trouble.as_deref(),
            Answer::Search(_) | Answer::VolumeClaims(_) | Answer::Autoscalers(_) | Answer::PodTroubles(_) => {
                None
            }
        }
    }
}

/// What the next decision wants to know: the union of what its parts ask. `observed` needs no answers yet.
pub fn questions(
    intent: &Intent,
    committed: &Progress,
    observed: &Observed,
    now: Timestamp,
) -> Vec<Question> {
    let Some(plan) = decide::plan(intent, committed) else {
        return Vec::new();
    };
    let input = crate::draft::StepInput {
        intent,
        plan: &plan,
        committed,
        observed,
        now,
    };
    let mut asked = if intent.meta.deleting {
        terminate::asks(&input)
    } else {
        let mut asked = steps::asks(&input);
        asked.extend(housekeeping::asks(&input));
        asked
    };
    asked.extend(task::asks(&input));
    asked.dedup();
    asked
}
