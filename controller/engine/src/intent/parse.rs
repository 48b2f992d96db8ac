//! From the spec to a plan: every default is filled in, every text is checked.

use jiff::SignedDuration;
use serde::{Deserialize, Serialize};
use slipway_crds::v1alpha1::status::StepName;
use slipway_crds::v1alpha1::{self as crd, OnFailure, RebuildWhen, Reindex, ReleaseSpec, Task};
use slipway_crds::{Duration, WorkloadName};
use thiserror::Error;

use super::identity::identity;
use super::{Live, Plan, ReindexPlan, ReindexSettings, TaskPlan, TaskSettings, WorkloadPlan};

/// A spec that cannot be followed, with what to change.
#[derive(Clone, Debug, Deserialize, Eq, Error, PartialEq, Serialize)]
#[error("{field}: {problem}")]
pub struct InvalidSpec {
    /// Path of the field.
    pub field: String,
    /// What is wrong and what to write instead.
    pub problem: String,
}

fn invalid(field: impl Into<String>, problem: impl Into<String>) -> InvalidSpec {
    InvalidSpec {
        field: field.into(),
        problem: problem.into(),
    }
}

const MINUTE: SignedDuration = SignedDuration::from_mins(1);

/// A duration of the spec. The schema admits only texts that parse; the default stands in for others.
fn length(given: Option<&Duration>, default: SignedDuration) -> SignedDuration {
    given.and_then(Duration::parse).unwrap_or(default)
}

/// The settings that hold for a running revision too.
pub(super) fn live(spec: &ReleaseSpec) -> Live {
    let preboot = spec.preboot.clone().unwrap_or_default();
    let watch = spec.watch.clone().unwrap_or_default();
    let on_failure = spec
        .rollback
        .as_ref()
        .and_then(|rollback| rollback.on_failure)
        .unwrap_or_default();
    Live {
        suspend: spec.suspend,
        minimum_wait: length(preboot.minimum_wait.as_ref(), SignedDuration::ZERO),
        preboot_timeout: length(preboot.timeout.as_ref(), MINUTE * 15),
        watch_for: length(watch.for_.as_ref(), MINUTE * 15),
        automatic_rollback: on_failure == OnFailure::Automatic,
        history: spec
            .history
            .and_then(|count| usize::try_from(count).ok())
            .unwrap_or(10)
            .clamp(1, 50),
    }
}

impl Plan {
    /// Reads a spec.
    ///
    /// # Errors
    /// [`InvalidSpec`] names the field and what to write instead.
    pub fn parse(spec: &ReleaseSpec) -> Result<Self, InvalidSpec> {
        check_image(&spec.image)?;
        let workloads: Vec<WorkloadPlan> = spec.workloads.iter().map(WorkloadPlan::new).collect();
        let first = workloads
            .first()
            .ok_or_else(|| invalid("spec.workloads", "is empty; name a Deployment"))?;
        let defaults = spec.tasks.clone().unwrap_or_default();
        let mut tasks = Tasks {
            defaults: &defaults,
            first: &first.name,
            workloads: &workloads,
            settings: Vec::new(),
        };
        let prepare = spec.prepare.iter().enumerate().map(|(at, named)| {
            let field = format!("spec.prepare[{at}]");
            tasks.plan(StepName::Prepare, &named.name, &named.task, &field)
        });
        let prepare = prepare.collect::<Result<_, _>>()?;
        let expand = spec.migrate.as_ref().and_then(|migrate| migrate.expand.as_ref());
        let expand = expand.map(|expand| {
            let mut plan = tasks.plan(StepName::Expand, "expand", &expand.task, "spec.migrate.expand")?;
            plan.postgres_options =
                postgres_options(expand.lock_timeout.as_ref(), expand.statement_timeout.as_ref());
            Ok(plan)
        });
        let expand = expand.transpose()?;
        let reindex = spec.reindex.as_ref().map(|reindex| tasks.reindex(reindex));
        let reindex = reindex.transpose()?;
        let tasks = tasks.settings;
        Ok(Self {
            digest: identity(spec),
            image: spec.image.clone(),
            workloads,
            prepare,
            expand,
            reindex,
            spec: spec.clone(),
            tasks,
        })
    }
}

/// Refuses a tag that moves: a task that ran for it once would be skipped for the next image of that name.
fn check_image(image: &str) -> Result<(), InvalidSpec> {
    if image.contains('@') {
        return Ok(());
    }
    let name = image.rsplit('/').next().unwrap_or(image);
    match name.split_once(':') {
        Some((_, tag)) if !tag.is_empty() && tag != "latest" => Ok(()),
        Some(_) | None => Err(invalid(
            "spec.image",
            format!(
                "{image} has no fixed tag, so Slipway could not tell one version from the next; write a version tag, or the digest (name@sha256:…)"
            ),
        )),
    }
}

fn postgres_options(lock: Option<&Duration>, statement: Option<&Duration>) -> Option<String> {
    let option = |name: &str, length: Option<&Duration>| {
        length
            .and_then(Duration::parse)
            .map(|length| format!("-c {name}={}s", length.as_secs()))
    };
    let options: Vec<String> = [
        option("lock_timeout", lock),
        option("statement_timeout", statement),
    ]
    .into_iter()
    .flatten()
    .collect();
    (!options.is_empty()).then(|| options.join(" "))
}

/// A percentage such as `0.1%` in parts of 100,000.
fn tolerance(text: &str) -> Option<i64> {
    let (whole, part) = match text.strip_suffix('%')?.split_once('.') {
        Some((whole, part)) => (whole, part),
        None => (text.strip_suffix('%')?, ""),
    };
    let thousandths: i64 = format!("{part:0<3}").get(..3)?.parse().ok()?;
    Some(whole.parse::<i64>().ok()? * 1000 + thousandths)
}

/// The settings of a task that says nothing.
pub(super) fn default_settings() -> TaskSettings {
    settings(
        StepName::Preflight,
        "",
        &Task::default(),
        &crd::TaskSettings::default(),
    )
}

fn settings(step: StepName, name: &str, task: &Task, defaults: &crd::TaskSettings) -> TaskSettings {
    let own = &task.settings;
    let resources = task.resources.as_ref();
    let mut labels = defaults.labels.clone();
    labels.extend(own.labels.clone());
    let mut annotations = defaults.annotations.clone();
    annotations.extend(own.annotations.clone());
    TaskSettings {
        step,
        name: name.to_owned(),
        resources: resources.and_then(|resources| serde_json::to_value(resources).ok()),
        init_containers: own
            .init_containers
            .or(defaults.init_containers)
            .unwrap_or_default(),
        labels,
        annotations,
        start_deadline: length(
            own.start_deadline.as_ref().or(defaults.start_deadline.as_ref()),
            MINUTE * 10,
        ),
        timeout: length(own.timeout.as_ref().or(defaults.timeout.as_ref()), MINUTE * 60),
        on_timeout: own.on_timeout.or(defaults.on_timeout).unwrap_or_default(),
        retries: own.retries.or(defaults.retries).unwrap_or_default(),
        idempotent: own.idempotent.or(defaults.idempotent).unwrap_or_default(),
    }
}

struct Tasks<'a> {
    defaults: &'a crd::TaskSettings,
    first: &'a WorkloadName,
    workloads: &'a [WorkloadPlan],
    settings: Vec<TaskSettings>,
}

impl Tasks<'_> {
    fn plan(
        &mut self,
        step: StepName,
        name: &str,
        task: &Task,
        field: &str,
    ) -> Result<TaskPlan, InvalidSpec> {
        let own = task.settings.from.as_ref();
        let from = own.or(self.defaults.from.as_ref()).unwrap_or(self.first);
        if !self.workloads.iter().any(|workload| workload.name == *from) {
            return Err(invalid(
                format!("{field}.from"),
                format!("{from} names no workload of this Release; write the name of one of spec.workloads"),
            ));
        }
        if task.command.is_empty() && task.args.is_empty() {
            return Err(invalid(
                field,
                "needs command or args: what is to run in the new image",
            ));
        }
        self.settings.push(settings(step, name, task, self.defaults));
        Ok(TaskPlan {
            step,
            name: name.to_owned(),
            from: from.clone(),
            command: task.command.clone(),
            args: task.args.clone(),
            env: task.env.clone(),
            postgres_options: None,
        })
    }

    fn reindex(&mut self, reindex: &Reindex) -> Result<ReindexPlan, InvalidSpec> {
        let step = StepName::Reindex;
        let rebuild = reindex.rebuild.clone().unwrap_or_default();
        let when = match (rebuild.when, &rebuild.fingerprint) {
            (Some(RebuildWhen::FingerprintChanged), None) => {
                return Err(invalid(
                    "spec.reindex.rebuild",
                    "FingerprintChanged needs a fingerprint: a text that changes when the documents change",
                ));
            }
            (Some(when), _) => when,
            (None, Some(_)) => RebuildWhen::FingerprintChanged,
            (None, None) => RebuildWhen::Always,
        };
        let catch_up = reindex.catch_up.as_ref();
        let catch_up =
            catch_up.map(|catch_up| self.plan(step, "catch-up", &catch_up.task, "spec.reindex.catchUp"));
        Ok(ReindexPlan {
            url: reindex.search.url.trim_end_matches('/').to_owned(),
            variable: reindex
                .env
                .clone()
                .unwrap_or_else(|| "SEARCH_INDEX_GENERATION".to_owned()),
            aliases: reindex.indices.iter().map(|index| index.alias.clone()).collect(),
            rebuild: when,
            fingerprint: rebuild.fingerprint,
            build: self.plan(step, "build", &reindex.build.task, "spec.reindex.build")?,
            catch_up: catch_up.transpose()?,
            live: reindex_settings(reindex)?,
        })
    }
}

fn reindex_settings(reindex: &Reindex) -> Result<ReindexSettings, InvalidSpec> {
    let tolerance = match reindex
        .verify
        .as_ref()
        .and_then(|verify| verify.count_tolerance.as_ref())
    {
        Some(text) => tolerance(text).ok_or_else(|| {
            invalid(
                "spec.reindex.verify.countTolerance",
                format!("{text} is no percentage; write for example 0.1%"),
            )
        })?,
        None => 5_000,
    };
    let minimum = |index: &crd::Index| Some((index.alias.clone(), index.minimum_documents?));
    let catch_up = reindex.catch_up.as_ref();
    let keep = reindex.keep.clone().unwrap_or_default();
    let generations = keep.generations.and_then(|count| usize::try_from(count).ok());
    Ok(ReindexSettings {
        minimum_documents: reindex.indices.iter().filter_map(minimum).collect(),
        stall_timeout: length(reindex.build.stall_timeout.as_ref(), MINUTE * 30),
        margin: length(
            catch_up.and_then(|catch_up| catch_up.margin.as_ref()),
            MINUTE * 10,
        ),
        max_lag: length(catch_up.and_then(|catch_up| catch_up.max_lag.as_ref()), MINUTE),
        max_passes: catch_up.and_then(|catch_up| catch_up.max_passes).unwrap_or(10),
        tolerance,
        keep_generations: generations.unwrap_or(1),
        keep_for: length(keep.for_.as_ref(), MINUTE * 60 * 24),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn a_tag_that_moves_is_refused_unless_the_digest_is_given() {
        for good in [
            "shop:2.0",
            "registry.example:5000/shop:2",
            "shop@sha256:abc",
            "shop:latest@sha256:abc",
        ] {
            assert_eq!(check_image(good), Ok(()), "{good}");
        }
        for bad in ["shop", "shop:latest", "registry.example:5000/shop", "shop:"] {
            assert!(check_image(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_tolerance_is_read_to_a_thousandth_of_a_percent() {
        assert_eq!(tolerance("0.1%"), Some(100));
        assert_eq!(tolerance("5%"), Some(5_000));
        assert_eq!(tolerance("0.125%"), Some(125));
        assert_eq!(tolerance("5"), None);
    }

    fn spec(edit: impl FnOnce(&mut Value)) -> ReleaseSpec {
        let mut spec = json!({
            "image": "shop:2.0",
            "workloads": [{"name": "web", "deployment": "web", "services": ["web"]}],
            "migrate": {"expand": {"command": ["migrate"], "lockTimeout": "5s", "statementTimeout": "1h"}},
        });
        edit(&mut spec);
        serde_json::from_value(spec).unwrap()
    }

    #[test]
    fn live_settings_are_no_part_of_a_versions_identity() {
        let base = Plan::parse(&spec(|_| {})).unwrap().digest;
        let digest = |edit: fn(&mut Value)| Plan::parse(&spec(edit)).unwrap().digest;
        assert_eq!(base, digest(|spec| spec["watch"] = json!({"for": "1m"})));
        assert_eq!(
            base,
            digest(|spec| spec["migrate"]["expand"]["timeout"] = json!("2h"))
        );
        assert_eq!(base, digest(|spec| spec["suspend"] = json!(true)));
        assert_ne!(base, digest(|spec| spec["image"] = json!("shop:2.1")));
        assert_ne!(
            base,
            digest(|spec| spec["migrate"]["expand"]["command"] = json!(["other"]))
        );
    }

    #[test]
    fn the_two_timeouts_become_options_of_the_connection() {
        let plan = Plan::parse(&spec(|_| {})).unwrap();
        assert_eq!(
            plan.expand.unwrap().postgres_options.as_deref(),
            Some("-c lock_timeout=5s -c statement_timeout=3600s")
        );
    }

    #[test]
    fn a_task_of_an_unknown_workload_is_refused_with_the_field() {
        let error = Plan::parse(&spec(|spec| spec["tasks"] = json!({"from": "nobody"}))).unwrap_err();
        assert_eq!(error.field, "spec.migrate.expand.from");
    }
}
