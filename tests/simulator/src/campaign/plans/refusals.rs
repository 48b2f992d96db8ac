//! A part of C8: quotas and admission refuse our writes for a while, and then not any more.

use jiff::SignedDuration;
use slipway_judge::calls::Call;
use slipway_kubernetes::{kind::Kind, refusal::Refusal};

use super::{SEED, is_write, writes};
use crate::{
    campaign::{plan::Plan, run::Record, scenario::Scenario},
    server::faults::Fault,
    world::World,
};

/// How long it lasts.
const LASTS: SignedDuration = SignedDuration::from_secs(60);

/// What refuses, which of our writes, and with which words.
struct Policy {
    name: &'static str,
    concerns: fn(&Call) -> bool,
    refusal: fn() -> Refusal,
}

const POLICIES: [Policy; 6] = [
    Policy {
        name: "a webhook denies all writes",
        concerns: |_| true,
        refusal: denied,
    },
    Policy {
        name: "a webhook denies all writes but status",
        concerns: |call| call.kind != Some(Kind::Release),
        refusal: denied,
    },
    Policy {
        name: "a webhook denies all writes to Deployments",
        concerns: |call| call.kind == Some(Kind::Deployment),
        refusal: denied,
    },
    Policy {
        name: "a policy refuses all writes as invalid",
        concerns: |_| true,
        refusal: || {
            let why = "ValidatingAdmissionPolicy 'freeze' with binding 'freeze' denied request: not now";
            Refusal::plain(422, "Invalid", why)
        },
    },
    Policy {
        name: "a webhook does not answer",
        concerns: |_| true,
        refusal: || {
            Refusal::internal("failed calling webhook \"freeze.example.com\": context deadline exceeded")
        },
    },
    Policy {
        name: "a quota has no room for Jobs",
        concerns: |call| call.kind == Some(Kind::Job),
        refusal: || {
            let why = "exceeded quota: jobs, requested: count/jobs.batch=1, used: count/jobs.batch=4, limited: \
                       count/jobs.batch=4";
            Refusal::forbidden(Kind::Job, "any", why)
        },
    },
];

fn denied() -> Refusal {
    let why = "admission webhook \"freeze.example.com\" denied the request: not now";
    Refusal::plain(403, "Forbidden", why)
}

/// Each of them, from each write on.
pub(super) fn of_scenario(scenario: Scenario, reference: &Record) -> impl Iterator<Item = Plan> {
    let count = writes(reference);
    POLICIES.iter().flat_map(move |policy| {
        (0..count).map(move |write| {
            let trouble = format!("{} for a minute from write {write} on", policy.name);
            let mut plan = Plan::without_faults(scenario, SEED).with(trouble, move |world: &mut World| {
                refuse(world, policy, write);
            });
            plan.helped = true;
            plan
        })
    })
}

fn refuse(world: &World, policy: &'static Policy, write: usize) {
    let (mut seen, mut since) = (0, None);
    world.cluster().faults.rule(policy.name, move |call| {
        if !is_write(call) {
            return None;
        }
        seen += 1;
        if seen <= write {
            return None;
        }
        let since = *since.get_or_insert(call.at);
        let refused = (policy.concerns)(call) && call.at.duration_since(since) < LASTS;
        refused.then(|| Fault::Answer((policy.refusal)()))
    });
}
