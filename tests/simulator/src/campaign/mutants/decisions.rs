//! What the engine decides, made worse.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use slipway_crds::Uid;
use slipway_crds::v1alpha1::status::{StepName, TaskOutcome};
use slipway_engine::{
    Call, Decision, Effect, Observed, Progress,
    decision::{Kind, Patch, Purpose},
};
use slipway_judge::past::HOLD;

use super::Error;

/// Changes for nothing, so that the run has an end.
const UNREST: usize = 30;

/// What an erring engine remembers.
#[derive(Debug, Default)]
pub(super) struct Memory {
    /// Jobs that were made, by name.
    jobs: BTreeMap<String, Value>,
    /// Whether the error was made.
    done: bool,
    /// How often a Deployment was changed for nothing.
    changes: usize,
}

/// Changes a decision.
pub(super) fn mutate(
    error: Error,
    committed: &Progress,
    observed: &Observed,
    mut decision: Decision,
    memory: &mut Memory,
) -> Decision {
    match error {
        Error::BoltTooEarly => {
            let mut workloads = committed.status.workloads.iter();
            let locked = workloads.any(|workload| workload.locked_at.is_some());
            let early = locked && committed.status.cutover.is_none();
            decision.effects.extend(early.then(|| bolt(observed)).flatten());
        }
        Error::HoldInTwoPatches => bodies(&mut decision, Purpose::Hold, |body| {
            let template = body["spec"]["template"].clone();
            body["spec"] = json!({"template": template});
        }),
        Error::ComputedHash => bodies(&mut decision, Purpose::Flip, |body| {
            body["spec"]["selector"]["pod-template-hash"] = json!("5d4f8c7b9b");
        }),
        Error::Unconditional => bodies(&mut decision, Purpose::Pin, |body| {
            body["metadata"]
                .as_object_mut()
                .expect("metadata")
                .remove("resourceVersion");
        }),
        Error::ForeignField => bodies(&mut decision, Purpose::Lock, |body| {
            body["spec"]["replicas"] = json!(4);
        }),
        Error::EffectBeforeCommit => {
            if committed.status.cutover.is_none() {
                decision.progress.status.cutover = None;
            }
        }
        Error::Restless => {
            let watching = committed.step(StepName::Watch).is_some();
            if watching && memory.changes < UNREST {
                memory.changes += 1;
                decision.effects.extend(unrest(observed));
            }
        }
        Error::JobMadeAgain => again(committed, observed, &mut decision, memory),
        Error::RetriedPost => twice(&mut decision),
        Error::StartedAtOnce => at_once(&mut decision),
        Error::HoldRemembered => {
            for workload in &mut decision.progress.status.workloads {
                if let Some(remembered) = &mut workload.remembered {
                    remembered.progress_deadline_seconds = i32::try_from(HOLD + 1).ok();
                }
            }
        }
        Error::AliasTooEarly | Error::IndexTooEarly => early(error, committed, &mut decision, memory),
        Error::OutcomeChanged => {
            let recorded = committed.status.tasks.iter().any(|task| task.outcome.is_some());
            if recorded && !memory.done {
                memory.done = true;
                if let Some(task) = decision.progress.status.tasks.first_mut() {
                    task.outcome = Some(TaskOutcome::Failed);
                }
            }
        }
        Error::PinBeforeOpen => {
            if purposes(&decision).any(|purpose| purpose == Purpose::Open) {
                decision.effects.splice(0..0, pin(observed));
            }
        }
        Error::HoldWithoutLock
        | Error::BothWithoutBolt
        | Error::UnpinAfterClose
        | Error::EvictedSuccess
        | Error::OwnLease
        | Error::UnsettledWindow
        | Error::LeaseOutlived
        | Error::UngatedRescue
        | Error::UnreadySide => {}
    }
    decision
}

fn purposes(decision: &Decision) -> impl Iterator<Item = Purpose> {
    decision.effects.iter().map(|effect| effect.purpose)
}

fn bodies(decision: &mut Decision, purpose: Purpose, change: impl Fn(&mut Value)) {
    for effect in &mut decision.effects {
        if let Call::Patch(patch) = &mut effect.call
            && effect.purpose == purpose
        {
            change(&mut patch.body);
        }
    }
}

fn patch(purpose: Purpose, kind: Kind, name: &str, uid: &Uid, body: Value) -> Effect {
    let call = Call::Patch(Patch {
        kind,
        name: name.to_owned(),
        uid: uid.clone(),
        body,
    });
    Effect { call, purpose }
}

fn create(name: &str, job: Value) -> Effect {
    let call = Call::Create {
        kind: Kind::Job,
        name: name.to_owned(),
        body: job,
    };
    Effect {
        call,
        purpose: Purpose::CreateJob,
    }
}

/// Name and body of each Job that is made.
fn made(decision: &Decision) -> impl Iterator<Item = (&String, &Value)> {
    decision.effects.iter().filter_map(|effect| match &effect.call {
        Call::Create { name, body, .. } => Some((name, body)),
        _ => None,
    })
}

/// The bolt on the side that serves.
fn bolt(observed: &Observed) -> Option<Effect> {
    let web = observed.deployments.get(&"web".into())?;
    let old = web
        .replica_sets
        .iter()
        .find(|set| set.wanted > 0 && set.template_digest != *web.template.digest())
        .filter(|old| old.min_ready_seconds.map(i64::from) != Some(HOLD))?;
    Some(patch(
        Purpose::Bolt,
        Kind::ReplicaSet,
        &old.name,
        &old.uid,
        json!({
            "metadata": {"resourceVersion": old.resource_version},
            "spec": {"minReadySeconds": HOLD},
        }),
    ))
}

/// A change of a Deployment that calls for the next one.
fn unrest(observed: &Observed) -> Option<Effect> {
    let web = observed.deployments.get(&"web".into())?;
    Some(patch(
        Purpose::Claim,
        Kind::Deployment,
        web.name.as_str(),
        &web.uid,
        json!({
            "metadata": {"resourceVersion": web.resource_version, "labels": {"slipway.dev/claim": web.resource_version}},
        }),
    ))
}

/// The pin to the side that serves.
fn pin(observed: &Observed) -> Option<Effect> {
    let (web, service) = (
        observed.deployments.get(&"web".into())?,
        observed.services.get(&"web".into())?,
    );
    let side = web.replica_sets.iter().find(|set| set.wanted > 0)?;
    Some(patch(
        Purpose::Pin,
        Kind::Service,
        service.name.as_str(),
        &service.uid,
        json!({
            "metadata": {"resourceVersion": service.resource_version},
            "spec": {"selector": {"pod-template-hash": side.hash}},
        }),
    ))
}

/// Jobs are made as others make them: they run.
fn at_once(decision: &mut Decision) {
    for effect in &mut decision.effects {
        if let Call::Create { body, .. } = &mut effect.call {
            body["spec"]["suspend"] = json!(false);
        }
    }
}

/// A Job that is gone is made again, and runs.
fn again(committed: &Progress, observed: &Observed, decision: &mut Decision, memory: &mut Memory) {
    for (name, job) in made(decision) {
        memory.jobs.insert(name.clone(), job.clone());
    }
    for task in committed.open_tasks().filter(|task| task.job_uid.is_some()) {
        if let Some(job) = memory.jobs.get(task.job.as_str())
            && !observed.jobs.contains_key(&task.job)
        {
            decision.effects.push(create(task.job.as_str(), job.clone()));
            at_once(decision);
        }
    }
}

/// Every Job is asked for twice, as a client would that tries again and lets the server choose the name.
fn twice(decision: &mut Decision) {
    let copy = |(name, job): (&String, &Value)| {
        let (name, mut job) = (format!("{name}-again"), job.clone());
        job["metadata"]["name"] = json!(name);
        create(&name, job)
    };
    let copies: Vec<Effect> = made(decision).map(copy).collect();
    decision.effects.extend(copies);
    at_once(decision);
}

/// What belongs into Retire is done in Watch.
fn early(error: Error, committed: &Progress, decision: &mut Decision, memory: &mut Memory) {
    let watching = committed.completed(StepName::Cutover) && !committed.completed(StepName::Watch);
    let search = committed.status.search.as_ref();
    let (Some(search), false, true) = (search, memory.done, watching) else {
        return;
    };
    let Some(candidate) = &search.candidate else {
        return;
    };
    let url = "http://search:9200".to_owned();
    memory.done = true;
    if error == Error::AliasTooEarly {
        let Some(index) = candidate.indices.first() else {
            return;
        };
        let call = Call::MoveAlias {
            url,
            alias: "products".into(),
            from: Some("products_1".into()),
            to: index.index.clone(),
            to_uuid: index.uuid.clone(),
        };
        decision.effects.push(Effect {
            call,
            purpose: Purpose::MoveAlias,
        });
    } else if let Some(index) = candidate.baseline.first() {
        let call = Call::DeleteIndex {
            url,
            own_alias: Some("products".into()),
            index: index.index.clone(),
            uuid: index.uuid.clone(),
        };
        decision.effects.push(Effect {
            call,
            purpose: Purpose::DeleteIndex,
        });
    }
}
