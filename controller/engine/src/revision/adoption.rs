//! What runs already becomes the first revision, without a pod restarted or a task run.

use slipway_crds::v1alpha1::status::{Ended, Generation, Outcome, PastRevision};
use slipway_crds::{GenerationToken, VersionDigest};

use super::recovery::recover;
use super::{begin, deployments, nothing_runs, revision, revision_name, running_image};
use crate::draft::{Draft, StepInput, Verdict};
use crate::ending::ran_by;
use crate::intent::Plan;
use crate::observed::Observed;
use crate::search;
use crate::steps::preflight;
use crate::workloads::{container, image_changes};

/// A Release without a status: an open window is ended on the side that serves, then what runs is adopted.
pub fn adopt(input: &StepInput<'_>, draft: &mut Draft) -> Verdict {
    let plan = input.plan;
    if recover(input, draft) {
        return Verdict::working(
            "recovering",
            "Ending a window that was found open on the side that serves.",
        );
    }
    if let Err(finding) = preflight::inspect(input, plan) {
        return finding.verdict();
    }
    let first = nothing_runs(input.observed, plan);
    let mut deployments = deployments(input.observed, plan);
    if let Some(deployment) = deployments.find(|deployment| !deployment.at_rest() && !first) {
        return Verdict::rolls(deployment);
    }
    if !preflight::claim(input.observed, &input.intent.meta.uid, plan, draft) {
        return Verdict::working(
            "claiming",
            "Waiting for the Deployments and Services to carry the claim label.",
        );
    }
    let number = first_number(input.observed, plan);
    remember_live(input, draft, plan, first);
    if first {
        begin(input.intent, plan, input.observed, number, draft);
        return Verdict::working("begins", "Waiting for the first revision to begin.");
    }
    let name = revision_name(&input.intent.meta, number);
    draft.progress.status.serving = Some(name.clone());
    draft.tell(
        "Adopted",
        name.to_string(),
        format!(
            "what runs is {name} ({}); no pod was restarted",
            running_image(input.observed, plan).unwrap_or_default()
        ),
    );
    if same_version(input.observed, plan) {
        let now = draft.now();
        let mut revision = revision(input.intent, plan, number, now);
        revision.ended = Some(Ended {
            outcome: Outcome::Adopted,
            at: now,
        });
        draft.progress.status.revision = Some(revision);
        return Verdict::Done;
    }
    let now = draft.now();
    draft.progress.status.history = vec![PastRevision {
        number,
        name,
        digest: VersionDigest::default(),
        image: running_image(input.observed, plan).unwrap_or_default(),
        outcome: Outcome::Adopted,
        reason: None,
        started_at: now,
        ended_at: now,
        tasks: ran_by(plan, &running_image(input.observed, plan).unwrap_or_default()),
    }];
    begin(input.intent, plan, input.observed, number + 1, draft);
    Verdict::working("begins", "Waiting for the revision to begin.")
}

fn same_version(observed: &Observed, plan: &Plan) -> bool {
    plan.workloads.iter().all(|workload| {
        let deployment = observed.deployments.get(&workload.deployment);
        deployment
            .is_some_and(|deployment| image_changes(workload, &deployment.template, &plan.image).is_empty())
    })
}

/// Above every number that left a trace, so that a lost status never meets its own leftovers.
pub(super) fn first_number(observed: &Observed, plan: &Plan) -> i64 {
    let jobs = observed.jobs.values().filter_map(|job| job.revision).max();
    let token = live_token(observed, plan).as_ref().and_then(search::number_of);
    jobs.max(token).map_or(1, |number| number + 1)
}

fn live_token(observed: &Observed, plan: &Plan) -> Option<GenerationToken> {
    let variable = &plan.reindex.as_ref()?.variable;
    plan.workloads.iter().find_map(|workload| {
        let template = &observed.deployments.get(&workload.deployment)?.template;
        let token = template.variable(&container(workload, template)?, variable);
        token.map(GenerationToken::from)
    })
}

/// What the running version reads: the token in its pods, or the plain names. Where nothing runs, nothing was
/// built yet.
fn remember_live(input: &StepInput<'_>, draft: &mut Draft, plan: &Plan, first: bool) {
    let Some(reindex) = &plan.reindex else {
        return;
    };
    let token = live_token(input.observed, plan);
    let fingerprint = reindex
        .fingerprint
        .clone()
        .filter(|_| !first && same_version(input.observed, plan));
    draft.progress.search_mut().live = Some(Generation {
        url: Some(reindex.url.clone()),
        token,
        fingerprint,
        indices: Vec::new(),
    });
}
