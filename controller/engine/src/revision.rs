//! How revisions begin: adoption of what runs, the next version, and what a newer spec does to a running one.

use slipway_crds::v1alpha1::status::{
    Course, Ended, FrozenSpec, Generation, Outcome, PastRevision, Pending, Reason, Remembered, Revision,
    Side, StepName, Strategy, WorkloadStatus,
};
use slipway_crds::v1alpha1::{Move, RebuildWhen};

use crate::ending::{past, ran_by};
use crate::intent::{Intent, Plan};
use crate::levers::give_up_candidate;
use crate::observed::{DeploymentView, Observed};
use crate::search;
use crate::steps::{ORDER, preflight};
use crate::task;
use crate::turn::{StepInput, Turn, Verdict};
use crate::window::patches::{held, remember};
use crate::window::side_of;

/// A Release without a status: an open window is ended on the side that serves, then what runs is adopted.
pub fn adopt(input: &StepInput<'_>, turn: &mut Turn) -> Verdict {
    let plan = input.plan;
    if recover(input, turn) {
        return Verdict::working(
            "recovering",
            "a window that was found open to be ended on the side that serves",
        );
    }
    if let Err(finding) = preflight::inspect(input, plan) {
        return match finding {
            preflight::Finding::Wrong { reason, message } => Verdict::stalled(reason, message),
            preflight::Finding::Unsettled(message) => Verdict::working("waiting", message),
        };
    }
    let first = nothing_runs(input.observed, plan);
    let unsettled = deployments(input.observed, plan).find(|deployment| !deployment.settled() && !first);
    if let Some(deployment) = unsettled {
        return Verdict::working(
            "waiting",
            format!(
                "Deployment {0} to finish the rollout that is under way, before it is adopted. See kubectl rollout status deployment/{0}",
                deployment.name
            ),
        );
    }
    if !preflight::claim(input.observed, &input.intent.meta.uid, plan, turn) {
        return Verdict::working(
            "claiming",
            "the Deployments and Services to carry the claim label",
        );
    }
    let number = first_number(input.observed, plan);
    remember_live(input, turn, plan, first);
    if first {
        begin(input.intent, plan, input.observed, number, turn);
        return Verdict::working("begins", "the first revision to begin");
    }
    let name = format!("{}-{number}", input.intent.meta.name);
    turn.progress.status.serving = Some(name.clone());
    turn.tell(
        "Adopted",
        name.clone(),
        format!(
            "what runs is {name} ({}); no pod was restarted",
            running_image(input.observed, plan).unwrap_or_default()
        ),
    );
    if same_version(input.observed, plan) {
        let now = turn.now();
        let mut revision = revision(input.intent, plan, number, now);
        revision.ended = Some(Ended {
            outcome: Outcome::Adopted,
            at: now,
        });
        turn.progress.status.revision = Some(revision);
        return Verdict::Done;
    }
    let now = turn.now();
    turn.progress.status.history = vec![PastRevision {
        number,
        name,
        digest: String::new(),
        image: running_image(input.observed, plan).unwrap_or_default(),
        outcome: Outcome::Adopted,
        reason: None,
        started_at: now,
        ended_at: now,
        tasks: ran_by(plan, &running_image(input.observed, plan).unwrap_or_default()),
    }];
    begin(input.intent, plan, input.observed, number + 1, turn);
    Verdict::working("begins", "the revision to begin")
}

fn deployments<'a>(observed: &'a Observed, plan: &'a Plan) -> impl Iterator<Item = &'a DeploymentView> {
    plan.workloads
        .iter()
        .filter_map(|workload| observed.deployments.get(&workload.deployment))
}

/// No pod is ready, so there is nothing whose traffic could be moved. One that is ready has traffic already, also
/// while it does not count as available yet.
fn nothing_runs(observed: &Observed, plan: &Plan) -> bool {
    deployments(observed, plan).all(|deployment| {
        let pods = deployment.ready_replicas.max(deployment.available_replicas);
        pods == 0 && !deployment.window
    })
}

fn running_image(observed: &Observed, plan: &Plan) -> Option<String> {
    let workload = plan.workloads.first()?;
    let template = &observed.deployments.get(&workload.deployment)?.template;
    template.image(&preflight::container(workload, template)?)
}

fn same_version(observed: &Observed, plan: &Plan) -> bool {
    plan.workloads.iter().all(|workload| {
        let deployment = observed.deployments.get(&workload.deployment);
        deployment.is_some_and(|deployment| {
            preflight::image_changes(workload, &deployment.template, &plan.image).is_empty()
        })
    })
}

/// Above every number that left a trace, so that a lost status never meets its own leftovers.
fn first_number(observed: &Observed, plan: &Plan) -> i64 {
    let jobs = observed.jobs.values().filter_map(|job| job.revision).max();
    let token = live_token(observed, plan).as_deref().and_then(search::number_of);
    jobs.max(token).map_or(1, |number| number + 1)
}

fn live_token(observed: &Observed, plan: &Plan) -> Option<String> {
    let variable = &plan.reindex.as_ref()?.variable;
    plan.workloads.iter().find_map(|workload| {
        let template = &observed.deployments.get(&workload.deployment)?.template;
        template.variable(&preflight::container(workload, template)?, variable)
    })
}

/// What the running version reads: the token in its pods, or the plain names. Where nothing runs, nothing was
/// built yet.
fn remember_live(input: &StepInput<'_>, turn: &mut Turn, plan: &Plan, first: bool) {
    let Some(reindex) = &plan.reindex else {
        return;
    };
    let token = live_token(input.observed, plan);
    let fingerprint = reindex
        .fingerprint
        .clone()
        .filter(|_| !first && same_version(input.observed, plan));
    turn.progress.search_mut().live = Some(Generation {
        token,
        fingerprint,
        indices: Vec::new(),
    });
}

fn revision(intent: &Intent, plan: &Plan, number: i64, now: jiff::Timestamp) -> Revision {
    Revision {
        number,
        name: format!("{}-{number}", intent.meta.name),
        digest: plan.digest.clone(),
        image: plan.image.clone(),
        previous_image: None,
        previous: None,
        started_at: now,
        inputs: FrozenSpec(Box::new(plan.spec.clone())),
        course: Course::Forward,
        reason: None,
        ended: None,
        first_installation: false,
    }
}

/// Begins a revision: everything of the last one makes room.
pub fn begin(intent: &Intent, plan: &Plan, observed: &Observed, number: i64, turn: &mut Turn) {
    let previous = turn.progress.status.serving.clone();
    let previous_image = running_image(observed, plan);
    let mut next = revision(intent, plan, number, turn.now());
    let zero = || deployments(observed, plan).all(|deployment| deployment.replicas == 0);
    next.first_installation = nothing_runs(observed, plan) && (previous.is_none() || zero());
    next.previous.clone_from(&previous);
    next.previous_image.clone_from(&previous_image);
    let was = previous_image
        .map(|image| format!(", was {image}"))
        .unwrap_or_default();
    turn.tell(
        "Planned",
        next.name.clone(),
        format!("revision {} ({}{was}): {}", next.name, plan.image, outline(plan)),
    );
    if turn.progress.revision().is_some() {
        give_up_candidate(turn);
    }
    let status = &mut turn.progress.status;
    status.revision = Some(next);
    status.pending = None;
    status.rejected = None;
    status.steps.clear();
    status.tasks.clear();
    status.workloads.clear();
    status.cutover = None;
    status.rollback = None;
    for name in ORDER {
        turn.progress.step_mut(name);
    }
}

fn outline(plan: &Plan) -> String {
    let mut steps = Vec::new();
    steps.extend((!plan.prepare.is_empty()).then_some("prepare"));
    steps.extend(plan.expand.as_ref().map(|_| "expand"));
    steps.extend(plan.reindex.as_ref().map(|_| "reindex"));
    if plan
        .workloads
        .iter()
        .any(|workload| workload.move_ == Move::WithTraffic)
    {
        steps.extend(["preboot", "cutover"]);
    }
    steps.extend(["watch", "retire"]);
    steps.join(", ")
}

/// At rest: begins the version that the spec describes, if that is another one.
pub fn next(input: &StepInput<'_>, turn: &mut Turn) -> Option<Verdict> {
    let revision = input.committed.revision()?;
    if revision.digest == input.plan.digest {
        return None;
    }
    if input.intent.live.suspend {
        return Some(Verdict::working(
            "suspended",
            "suspended; set spec.suspend to false to release the new version",
        ));
    }
    // A task's pod tells its outcome until its finalizer is gone; then its record may make room.
    if input.observed.task_pods.iter().any(|pod| pod.finalizer) {
        return Some(Verdict::working(
            "begins",
            "the task pods of the last revision to be let go",
        ));
    }
    let number = revision.number + 1;
    if let Some(past) = past(input.committed) {
        turn.progress.status.history.insert(0, past);
        turn.progress.status.history.truncate(input.intent.live.history);
    }
    begin(input.intent, input.plan, input.observed, number, turn);
    Some(Verdict::working("begins", "the revision to begin"))
}

/// What a newer spec does to a running revision. True when something has to be committed before going on.
pub fn supersede(input: &StepInput<'_>, wanted: &Plan, turn: &mut Turn) -> bool {
    let Some(revision) = input
        .committed
        .running()
        .filter(|revision| revision.digest != wanted.digest)
    else {
        let none = input.committed.status.pending.is_none();
        turn.progress.status.pending = None;
        return !none;
    };
    let waits = |message: &str| Pending {
        digest: wanted.digest.clone(),
        image: wanted.image.clone(),
        message: message.to_owned(),
    };
    let migrating = input
        .committed
        .open_tasks()
        .any(|task| task.step == StepName::Expand && !task::cannot_start(input, task));
    let reindexing = input
        .committed
        .status
        .search
        .as_ref()
        .is_some_and(|search| search.candidate.is_some());
    let always = input
        .plan
        .reindex
        .as_ref()
        .is_some_and(|reindex| reindex.rebuild == RebuildWhen::Always);
    let pending = if input.committed.status.cutover.is_some() {
        waits(&format!(
            "{} has the traffic already; the newer version begins when it is complete",
            revision.name
        ))
    } else if revision.course != Course::Forward {
        waits(&format!("{} is being cleaned up", revision.name))
    } else if migrating {
        waits(&format!(
            "the migration of {} runs; the newer version begins when it has ended",
            revision.name
        ))
    } else if reindexing && always {
        waits(&format!(
            "{} is building its index; without a fingerprint the newer version could not use it and would never get through",
            revision.name
        ))
    } else if reindexing && keeps_build(input, wanted) {
        hand_over(input, wanted, turn);
        return true;
    } else {
        let message = format!("a newer version ({}) is wanted", wanted.image);
        let reason = turn.reason("Superseded", message);
        turn.progress.steer(Course::Stop, reason);
        return true;
    };
    let changed = input.committed.status.pending.as_ref() != Some(&pending);
    if changed {
        turn.tell(
            "Queued",
            wanted.digest.clone(),
            format!("{}: {}", pending.image, pending.message),
        );
        turn.progress.status.pending = Some(pending);
    }
    changed
}

/// The newer version wants the very generation that is being built.
fn keeps_build(input: &StepInput<'_>, wanted: &Plan) -> bool {
    let (Some(old), Some(new)) = (&input.plan.reindex, &wanted.reindex) else {
        return false;
    };
    let same = old.fingerprint == new.fingerprint
        && old.aliases == new.aliases
        && old.variable == new.variable
        && old.url == new.url;
    let only_build = input
        .committed
        .open_tasks()
        .all(|task| task.step == StepName::Reindex);
    same && new.rebuild == RebuildWhen::FingerprintChanged && only_build && !input.committed.window_open()
}

/// The newer version takes over the running build: hourly merges must not starve a two-hour build.
fn hand_over(input: &StepInput<'_>, wanted: &Plan, turn: &mut Turn) {
    let now = turn.now();
    let number = input.committed.number() + 1;
    let reason = Reason {
        reason: "Superseded".to_owned(),
        message: "its build was handed over to a newer version".to_owned(),
        at: now,
    };
    turn.progress.steer(Course::Stop, reason);
    if let Some(revision) = &mut turn.progress.status.revision {
        revision.ended = Some(Ended {
            outcome: Outcome::Aborted,
            at: now,
        });
    }
    if let Some(past) = past(&turn.progress) {
        turn.progress.status.history.insert(0, past);
        turn.progress.status.history.truncate(input.intent.live.history);
    }
    let candidate = turn.progress.search_mut().candidate.take();
    let mut tasks = turn.progress.status.tasks.clone();
    tasks.retain(|task| task.step == StepName::Reindex);
    begin(input.intent, wanted, input.observed, number, turn);
    turn.progress.search_mut().candidate = candidate;
    turn.progress.status.tasks = tasks;
}

/// A window without a record of it: the status was lost. True when that had to be recorded. It is ended on the side that serves, with the
/// values that Kubernetes would have set by default, because the user's own are not known any more.
pub fn recover(input: &StepInput<'_>, turn: &mut Turn) -> bool {
    let mut workloads: Vec<WorkloadStatus> = Vec::new();
    for plan in &input.plan.workloads {
        let Some(deployment) = input.observed.deployments.get(&plan.deployment) else {
            continue;
        };
        let services = plan
            .services
            .iter()
            .filter_map(|name| input.observed.services.get(name));
        let services: Vec<_> = services.collect();
        let ours = deployment.claim.as_ref() == Some(&input.intent.meta.uid);
        if !ours || !(deployment.window || services.iter().any(|service| service.window)) {
            continue;
        }
        let pin = services.iter().find_map(|service| service.pin());
        let serving = deployment
            .replica_sets
            .iter()
            .find(|set| Some(set.hash.as_str()) == pin);
        let serving = serving.or_else(|| deployment.by_template(deployment.template.digest()));
        let mut status = preflight::workload_status(plan, deployment, &input.plan.image, input.observed);
        status.images.clear();
        status.old = serving.map(side_of);
        status.new = Some(Side {
            template: String::new(),
            ..Side::default()
        });
        status.window = true;
        status.bolted_at = Some(turn.now());
        status.remembered = Some(if held(deployment) {
            defaults(deployment)
        } else {
            // Only opened: but for `paused`, what is there is the user's.
            Remembered {
                paused: None,
                ..remember(deployment)
            }
        });
        turn.warn("WindowRecovered", deployment.name.clone(), format!(
            "the status of the Release was lost while the window of Deployment {} was open; it is ended on the side that serves. strategy, minReadySeconds and progressDeadlineSeconds are Kubernetes' defaults now: apply your manifest again",
            deployment.name
        ));
        workloads.push(status);
    }
    if workloads.is_empty() {
        return false;
    }
    let now = turn.now();
    let number = first_number(input.observed, input.plan);
    let mut lost = revision(input.intent, input.plan, number, now);
    // Not the version's own digest: what the spec asks for is begun anew afterwards.
    lost.digest = String::new();
    lost.course = Course::Stop;
    lost.reason = Some(Reason {
        reason: "StatusLost".to_owned(),
        message: "the status was lost".to_owned(),
        at: now,
    });
    turn.progress.status.revision = Some(lost);
    turn.progress.status.workloads = workloads;
    true
}

fn defaults(deployment: &DeploymentView) -> Remembered {
    let quarter = || Some(slipway_crds::v1alpha1::status::Amount(serde_json::json!("25%")));
    Remembered {
        min_ready_seconds: None,
        progress_deadline_seconds: Some(600),
        strategy: Some(Strategy {
            type_: Some("RollingUpdate".to_owned()),
            max_surge: quarter(),
            max_unavailable: quarter(),
        }),
        paused: None,
        resource_version: deployment.resource_version.clone(),
    }
}

#[cfg(test)]
mod tests;
