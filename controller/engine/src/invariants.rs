//! What must hold of every decision; the shell checks it before it carries anything out, and drops the whole
//! decision if it does not.

use slipway_crds::v1alpha1::status::{Course, StepName};
use slipway_crds::{IndexUuid, JobName, Uid};

use crate::decision::{Call, Decision, Kind, Patch, Purpose};
use crate::intent::Intent;
use crate::observed::Observed;
use crate::progress::Progress;
use crate::window::WorkloadWindow;

/// The statements that a decision breaks; none for a sound one.
pub fn broken(
    intent: &Intent,
    committed: &Progress,
    observed: &Observed,
    decision: &Decision,
) -> Vec<String> {
    let mut broken: Vec<String> = Vec::new();
    for effect in &decision.effects {
        let problem = match &effect.call {
            Call::Patch(patch) => patch_problem(intent, committed, observed, effect.purpose, patch),
            Call::Create {
                kind: Kind::Job,
                name,
                ..
            } => create_problem(committed, observed, &name.as_str().into()),
            Call::Delete {
                kind: Kind::Job, uid, ..
            } => own_job_problem(intent, observed, uid),
            Call::Create { kind, .. } | Call::Delete { kind, .. } => {
                Some(format!("a {} is neither created nor deleted", kind.word()))
            }
            Call::MoveAlias { to_uuid, .. } => alias_problem(committed, to_uuid),
            Call::DeleteIndex { uuid, .. } => delete_problem(intent, committed, uuid),
        };
        broken.extend(problem.map(|problem| format!("{}: {problem}", effect.word())));
    }
    let (before, after) = (&committed.status, &decision.progress.status);
    if after.observed_generation < before.observed_generation {
        broken.push("observedGeneration falls".to_owned());
    }
    for task in before.tasks.iter().filter(|task| task.outcome.is_some()) {
        let now = after.tasks.iter().find(|now| now.job == task.job);
        if now.is_some_and(|now| now.outcome != task.outcome) {
            broken.push(format!("the outcome of {} changes", task.job));
        }
    }
    broken
}

/// Every patch carries the resource version; what cannot be taken back has a committed intent.
fn patch_problem(
    intent: &Intent,
    committed: &Progress,
    observed: &Observed,
    purpose: Purpose,
    patch: &Patch,
) -> Option<String> {
    let version = patch.body.pointer("/metadata/resourceVersion");
    if version
        .and_then(serde_json::Value::as_str)
        .is_none_or(str::is_empty)
    {
        return Some(format!("a patch of {} without resourceVersion", patch.name));
    }
    let course = committed.running().map(|revision| revision.course);
    match purpose {
        Purpose::Flip => {
            let intended = committed.status.cutover.is_some();
            let ready = WorkloadWindow::all(committed, observed)
                .iter()
                .filter(|window| {
                    window
                        .services
                        .iter()
                        .any(|service| service.name.as_str() == patch.name)
                })
                .all(|window| window.new.is_some_and(|new| new.ready > 0));
            (!intended || !ready).then(|| {
                "traffic would move without a committed intent or to a side without ready pods".to_owned()
            })
        }
        Purpose::FlipBack => {
            let asked = course == Some(Course::Rollback) || intent.meta.deleting;
            (!asked).then(|| "traffic would move back without a committed intent".to_owned())
        }
        Purpose::EndWindow => {
            let retiring = committed.completed(StepName::Watch);
            let ending = matches!(course, Some(Course::Stop | Course::Rollback)) || intent.meta.deleting;
            (!retiring && !ending).then(|| "a side would go without a committed intent".to_owned())
        }
        Purpose::Hold | Purpose::Lock | Purpose::Repair => {
            let spec = patch.body.get("spec");
            let whole = [
                "template",
                "minReadySeconds",
                "progressDeadlineSeconds",
                "strategy",
                "paused",
            ];
            let missing = whole
                .iter()
                .any(|field| spec.and_then(|spec| spec.get(field)).is_none());
            missing.then(|| "template and hold fields must travel together".to_owned())
        }
        Purpose::FreePod => {
            let pod = observed.task_pods.iter().find(|pod| pod.name == patch.name)?;
            let open = committed.open_tasks().any(|task| task.job == pod.job);
            (open && !pod.never_ran()).then(|| "the outcome is not recorded yet".to_owned())
        }
        Purpose::Start => start_problem(committed, observed, patch),
        Purpose::Guard
        | Purpose::LetGo
        | Purpose::Claim
        | Purpose::Unclaim
        | Purpose::Open
        | Purpose::Pin
        | Purpose::Bolt
        | Purpose::Unbolt
        | Purpose::Unpin
        | Purpose::Close
        | Purpose::Suspend
        | Purpose::Roll => None,
        Purpose::CreateJob | Purpose::DeleteJob | Purpose::MoveAlias | Purpose::DeleteIndex => {
            Some("this is no patch".to_owned())
        }
    }
}

/// At most once: the Job is the one that was recorded, nobody has started it, and no pod of its attempt is there.
fn start_problem(committed: &Progress, observed: &Observed, patch: &Patch) -> Option<String> {
    let name = &JobName::from(patch.name.as_str());
    let task = committed.open_tasks().find(|task| task.job == *name);
    let fresh = observed.jobs.get(name).is_some_and(|job| job.never_started);
    match task {
        None => Some(format!("{name} has no committed intent")),
        Some(task) if task.job_uid.as_ref() != Some(&patch.uid) => {
            Some(format!("{name} is not the Job that was recorded"))
        }
        Some(_) if !fresh => Some(format!("{name} was started before")),
        Some(_) if observed.task_pods.iter().any(|pod| pod.job == *name) => {
            Some(format!("a pod of {name} exists"))
        }
        Some(_) => None,
    }
}

/// An intent is committed, no Job of it was ever seen, no pod of it is there.
fn create_problem(committed: &Progress, observed: &Observed, name: &JobName) -> Option<String> {
    let task = committed.open_tasks().find(|task| task.job == *name);
    match task {
        None => Some(format!("{name} has no committed intent")),
        Some(task) if task.job_uid.is_some() => Some(format!("{name} was made before")),
        Some(_) if observed.jobs.contains_key(name) => Some(format!("{name} exists")),
        Some(_) if observed.task_pods.iter().any(|pod| pod.job == *name) => {
            Some(format!("a pod of {name} exists"))
        }
        Some(_) => None,
    }
}

fn own_job_problem(intent: &Intent, observed: &Observed, uid: &Uid) -> Option<String> {
    let job = observed.jobs.values().find(|job| job.uid == *uid)?;
    (job.release_uid.as_ref() != Some(&intent.meta.uid)).then(|| format!("{} is not ours", job.name))
}

/// The stable alias moves to the verified generation only, when no old pod is left.
fn alias_problem(committed: &Progress, to_uuid: &IndexUuid) -> Option<String> {
    let verified = committed
        .candidate()
        .filter(|candidate| candidate.verified_at.is_some());
    let known =
        verified.is_some_and(|candidate| candidate.indices.iter().any(|index| index.uuid == *to_uuid));
    if !known {
        return Some("the index was not verified".to_owned());
    }
    committed
        .window_open()
        .then(|| "old pods may still be there".to_owned())
}

/// Only indices that were recorded as not needed any more.
fn delete_problem(intent: &Intent, committed: &Progress, uuid: &IndexUuid) -> Option<String> {
    let search = committed.status.search.as_ref();
    let retired = search.is_some_and(|search| search.retired.iter().any(|index| index.uuid == *uuid));
    let live = search.is_some_and(|search| {
        search
            .live
            .iter()
            .flat_map(|live| &live.indices)
            .any(|index| index.uuid == *uuid)
    });
    (live || !(retired || intent.meta.deleting))
        .then(|| "the index was not recorded as not needed any more".to_owned())
}

#[cfg(test)]
mod tests;
