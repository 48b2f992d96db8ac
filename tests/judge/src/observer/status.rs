//! What the controller claims in a Release's status.

use jiff::Timestamp;
use serde_json::Value;
use slipway_kubernetes::{kind::Kind, store::Change};

use crate::{differences::differences, past::ours};

/// One status that the controller wrote.
#[derive(Clone, Debug)]
pub struct Claimed {
    /// When.
    pub at: Timestamp,
    /// The version that it made.
    pub version: u64,
    /// Name of the Release.
    pub release: String,
    /// The whole status.
    pub status: Value,
    /// True if nothing changed but how far things are: the texts and counts of progress.
    pub only_progress: bool,
}

/// Every status that the controller wrote.
pub(super) fn claims(changes: &[Change]) -> Vec<Claimed> {
    let own = changes
        .iter()
        .filter(|change| change.key.kind == Kind::Release && ours(change));
    own.filter_map(claimed).collect()
}

fn claimed(change: &Change) -> Option<Claimed> {
    let before = change.before.as_deref().unwrap_or(&Value::Null);
    let changed = differences(&before["status"], &change.object["status"]);
    (!changed.is_empty()).then(|| Claimed {
        at: change.at,
        version: change.version,
        release: change.key.name.clone(),
        status: change.object["status"].clone(),
        only_progress: changed
            .iter()
            .all(|difference| is_progress(&difference.path.keys())),
    })
}

fn is_progress(path: &[&str]) -> bool {
    matches!(
        path,
        ["progress" | "waitingFor"]
            | ["steps", _, "progress" | "message"]
            | ["workloads", _, "old" | "new", "ready" | "wanted"]
            | ["conditions", _, "message"]
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::audit::{
        AuditEvent, one_each,
        tests::{CONTROLLER, event},
    };
    use super::super::observation::tests::judge;
    use super::super::reader::{Baseline, changes};
    use super::*;

    fn wrote(at: i64, user: &str, status: &Value) -> AuditEvent {
        let release =
            json!({"metadata": {"name": "shop", "resourceVersion": at.to_string()}, "status": status});
        event(
            at,
            user,
            "update",
            ("releases/status", "shop"),
            200,
            (release.clone(), release),
        )
    }

    fn status(generation: i64, revision: i64, outcome: Option<&str>) -> Value {
        json!({"observedGeneration": generation, "revision": {"number": revision},
            "tasks": [{"step": "Expand", "name": "expand", "attempt": 1, "job": "shop-7-expand-1", "jobUid": "a",
                "outcome": outcome}]})
    }

    #[test]
    fn numbers_that_fall_and_ends_that_change_are_seen() {
        let events = [
            wrote(1, CONTROLLER, &status(3, 7, None)),
            wrote(2, CONTROLLER, &status(3, 7, Some("Failed"))),
            wrote(3, CONTROLLER, &status(2, 6, Some("Succeeded"))),
        ];
        assert_eq!(
            judge(&events),
            [
                "monotone: status of shop: /observedGeneration falls from 3 to 2",
                "monotone: status of shop: /revision/number falls from 7 to 6",
                "monotone: status of shop: the outcome of shop-7-expand-1 changes from \"Failed\" to \"Succeeded\"",
            ]
        );
        let stripped = [
            events[1].clone(),
            wrote(3, "alice", &json!({})),
            wrote(4, CONTROLLER, &status(3, 1, None)),
        ];
        assert!(judge(&stripped).is_empty());
    }

    #[test]
    fn a_success_needs_a_complete_job() {
        let created = json!({"metadata": {"name": "shop-7-expand-1", "uid": "a", "labels": {
            "slipway.dev/release": "shop", "slipway.dev/revision": "7", "slipway.dev/step": "expand"}}});
        let creation = event(
            1,
            CONTROLLER,
            "create",
            ("jobs", "shop-7-expand-1"),
            201,
            (Value::Null, created),
        );
        let succeeded = wrote(5, CONTROLLER, &status(3, 7, Some("Succeeded")));
        let expected =
            "unknown is not success: shop-7-expand-1 is recorded as succeeded, and its pod has not";
        assert_eq!(judge(&[creation.clone(), succeeded.clone()]), [expected]);
        let mut complete = creation.response_object.as_ref().clone();
        complete["metadata"]["resourceVersion"] = json!("2");
        complete["status"] = json!({"conditions": [{"type": "Complete", "status": "True"}]});
        let user = "system:serviceaccount:kube-system:job-controller";
        let job = ("jobs/status", "shop-7-expand-1");
        let complete = event(2, user, "update", job, 200, (Value::Null, complete));
        assert!(judge(&[creation, complete, succeeded]).is_empty());
    }

    #[test]
    fn writes_that_only_tell_how_far_things_are_are_told_apart() {
        let step = |message: &str, state: &str| json!({"progress": message, "steps": [{"name": "Reindex", "state": state, "progress": message}]});
        let events = [
            wrote(1, CONTROLLER, &step("1%", "Running")),
            wrote(2, CONTROLLER, &step("2%", "Running")),
            wrote(3, CONTROLLER, &step("done", "Succeeded")),
        ];
        let kinds: Vec<_> = claims(&changes(&Baseline::default(), &one_each(&events), CONTROLLER))
            .iter()
            .map(|claimed| claimed.only_progress)
            .collect();
        assert_eq!(kinds, [false, true, false]);
    }
}
