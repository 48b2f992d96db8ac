//! How much the controller asks of the API server.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use jiff::Timestamp;

use super::audit::AuditEvent;

/// What a request is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Purpose {
    /// A write of the Lease, or a look at it.
    Lease,
    /// A watch: one request however long it lasts.
    Watch,
    /// A Kubernetes event.
    Event,
    /// A status write that only tells how far things are.
    Progress,
    /// Every other status write.
    Status,
    /// A get or list.
    Read,
    /// Every other write.
    Write,
}

/// One request of the controller.
#[derive(Clone, Debug)]
pub struct Asked {
    /// When it came in.
    pub at: Timestamp,
    /// Verb as RBAC writes it.
    pub verb: String,
    /// Resource and subresource.
    pub resource: String,
    /// Name of the object, if it had one.
    pub name: String,
    /// Code of the answer.
    pub code: u16,
    /// What it was for.
    pub purpose: Purpose,
}

/// Requests of the controller; [`fmt::Display`] prints them as a table by verb and resource.
#[derive(Clone, Debug, Default)]
pub struct Requests(pub Vec<Asked>);

impl Requests {
    /// Sorts the controller's requests by purpose. `progress` has the versions that progress-only status
    /// writes made.
    pub fn of(requests: &[&AuditEvent], controller: &str, progress: &BTreeSet<u64>) -> Self {
        let own = requests.iter().filter(|event| event.username() == controller);
        Self(own.map(|event| asked(event, progress)).collect())
    }

    /// The requests from a moment on.
    #[must_use]
    pub fn since(&self, at: Timestamp) -> Self {
        Self(self.0.iter().filter(|asked| asked.at >= at).cloned().collect())
    }

    /// What counts against the budget of a release: everything but the lease, watches, Events and
    /// progress-only status writes.
    #[must_use]
    pub fn budgeted(&self) -> Self {
        let counts =
            |asked: &&Asked| matches!(asked.purpose, Purpose::Status | Purpose::Read | Purpose::Write);
        Self(self.0.iter().filter(counts).cloned().collect())
    }

    /// Those that a newer version of the object outran; each was sent again.
    #[must_use]
    pub fn outrun(&self) -> Self {
        Self(self.0.iter().filter(|asked| asked.code == 409).cloned().collect())
    }

    /// What an idle controller must not do: everything but the lease and watches.
    #[must_use]
    pub fn beyond_idle(&self) -> Self {
        let busy = |asked: &&Asked| !matches!(asked.purpose, Purpose::Lease | Purpose::Watch);
        Self(self.0.iter().filter(busy).cloned().collect())
    }

    /// How many.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// One line a request, in order, with times from `origin` on.
    pub fn list(&self, origin: Timestamp) -> String {
        let line = |asked: &Asked| {
            let Asked {
                at,
                verb,
                resource,
                name,
                code,
                purpose,
            } = asked;
            let seconds = at.duration_since(origin).as_secs_f64();
            format!("{seconds:>+9.3}s  {verb:<7} {resource:<22} {name:<32} {code}  {purpose:?}\n")
        };
        self.0.iter().map(line).collect()
    }
}

fn asked(event: &AuditEvent, progress: &BTreeSet<u64>) -> Asked {
    let purpose = match (event.object_ref.resource.as_str(), event.verb.as_str()) {
        ("leases", _) => Purpose::Lease,
        (_, "watch") => Purpose::Watch,
        ("events", _) => Purpose::Event,
        _ if event.is_write() && event.object_ref.subresource == "status" => {
            let version = event.resource_version();
            if version.is_some_and(|version| progress.contains(&version)) {
                Purpose::Progress
            } else {
                Purpose::Status
            }
        }
        _ if event.is_write() => Purpose::Write,
        _ => Purpose::Read,
    };
    Asked {
        at: event.received_at,
        verb: event.verb.clone(),
        resource: event.resource(),
        name: event.name().to_owned(),
        code: event.response_status.code,
        purpose,
    }
}

impl fmt::Display for Requests {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rows: BTreeMap<_, (usize, BTreeMap<u16, usize>)> = BTreeMap::new();
        for asked in &self.0 {
            let (count, refused) = rows
                .entry((asked.purpose, &asked.resource, &asked.verb))
                .or_default();
            *count += 1;
            if asked.code >= 300 {
                *refused.entry(asked.code).or_default() += 1;
            }
        }
        writeln!(
            formatter,
            "{:<9} {:<26} {:<8} {:>6}  refused",
            "purpose", "resource", "verb", "count"
        )?;
        for ((purpose, resource, verb), (count, refused)) in rows {
            let refused: Vec<_> = refused
                .iter()
                .map(|(code, count)| format!("{code} ×{count}"))
                .collect();
            let purpose = format!("{purpose:?}");
            let row = format!(
                "{purpose:<9} {resource:<26} {verb:<8} {count:>6}  {}",
                refused.join(", ")
            );
            writeln!(formatter, "{}", row.trim_end())?;
        }
        write!(
            formatter,
            "{} requests, {} of them in the budget",
            self.count(),
            self.budgeted().count()
        )
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::audit::one_each;
    use super::super::audit::tests::{CONTROLLER, bare, event};
    use super::super::observation::tests::judge;
    use super::*;

    fn asked(at: i64, verb: &str, object: (&str, &str), code: u16, body: Value) -> AuditEvent {
        event(at, CONTROLLER, verb, object, code, (body, json!({})))
    }

    #[test]
    fn requests_are_sorted_by_purpose_and_counted() {
        let events = [
            asked(1, "update", ("leases", "slipway"), 200, Value::Null),
            asked(2, "watch", ("jobs", ""), 200, Value::Null),
            asked(3, "create", ("events", ""), 201, Value::Null),
            asked(4, "update", ("releases/status", "shop"), 200, Value::Null),
            asked(5, "update", ("releases/status", "shop"), 200, Value::Null),
            asked(6, "get", ("jobs", "shop-7-expand-1"), 404, Value::Null),
            asked(7, "patch", ("services", "web"), 409, Value::Null),
            asked(8, "patch", ("services", "web"), 200, Value::Null),
            bare(9, "alice", "get", ("services", "web")),
        ];
        let progress = BTreeSet::from([5]);
        let requests = Requests::of(&one_each(&events), CONTROLLER, &progress);
        assert_eq!(
            (
                requests.count(),
                requests.budgeted().count(),
                requests.beyond_idle().count()
            ),
            (8, 4, 6)
        );
        assert_eq!(requests.since(events[6].received_at).count(), 2);
        let table = requests.to_string();
        assert!(
            table.contains("Write     services                   patch         2  409 ×1"),
            "{table}"
        );
        assert!(table.ends_with("8 requests, 4 of them in the budget"), "{table}");
        assert_eq!(requests.list(events[0].received_at).lines().count(), 8);
    }

    #[test]
    fn writes_beyond_the_controllers_business_are_seen() {
        let uid = json!({"kind": "DeleteOptions", "preconditions": {"uid": "a"}});
        let finalizers = json!({"metadata": {"resourceVersion": "5", "finalizers": []}});
        let well = [
            asked(1, "delete", ("jobs", "shop-7-expand-1"), 200, uid),
            asked(2, "patch", ("pods", "shop-7-expand-1-x7k2p"), 200, finalizers),
            asked(3, "patch", ("releases", "shop"), 200, Value::Null),
        ];
        assert_eq!(judge(&well), Vec::<String>::new());
        let wrong = [
            asked(
                1,
                "delete",
                ("jobs", "shop-7-expand-1"),
                200,
                json!({"kind": "DeleteOptions"}),
            ),
            asked(
                2,
                "patch",
                ("pods", "web-1"),
                200,
                json!({"metadata": {"labels": {"a": "b"}}}),
            ),
            asked(3, "create", ("secrets", "s"), 201, Value::Null),
        ];
        let found = judge(&wrong);
        let said = [
            (
                "unconditional",
                "delete /apis/apps/v1/namespaces/shop/jobs/shop-7-expand-1",
            ),
            (
                "none of the controller's business",
                "patch /apis/apps/v1/namespaces/shop/pods/web-1",
            ),
            ("unconditional", "patch /apis/apps/v1/namespaces/shop/pods/web-1"),
            (
                "none of the controller's business",
                "create /apis/apps/v1/namespaces/shop/secrets/s",
            ),
        ];
        assert_eq!(found.len(), said.len(), "{found:#?}");
        for (found, (what, call)) in found.iter().zip(said) {
            let begins = found.starts_with(&format!("own things only: {what}: "));
            assert!(begins && found.contains(call), "{found}");
        }
    }
}
