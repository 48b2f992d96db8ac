//! What makes a version another one.

use serde_json::{Value, json};
use slipway_crds::v1alpha1::{self as crd, Reindex, ReleaseSpec, Task};
use slipway_crds::{AliasName, VersionDigest};

use crate::template::{canonical, digest};

/// What identifies a version: image, the container of each workload, what its tasks are given, the
/// fingerprint. Everything else is named here too, so that a new field has to be put on one side.
pub(super) fn identity(spec: &ReleaseSpec) -> VersionDigest {
    let ReleaseSpec {
        image,
        workloads,
        prepare,
        migrate,
        reindex,
        tasks: _,
        suspend: _,
        preboot: _,
        watch: _,
        rollback: _,
        history: _,
    } = spec;
    let workloads: Vec<Value> = workloads.iter().map(identity_of_workload).collect();
    let prepare: Vec<Value> = prepare
        .iter()
        .map(|named| json!([named.name, identity_of_task(&named.task)]))
        .collect();
    let expand = migrate
        .as_ref()
        .and_then(|crd::Migrate { expand }| expand.as_ref());
    let expand = expand.map(|expand| {
        let crd::ExpandTask {
            task,
            lock_timeout,
            statement_timeout,
        } = expand;
        json!([identity_of_task(task), lock_timeout, statement_timeout])
    });
    let reindex = reindex.as_ref().map(identity_of_reindex);
    digest(&[&canonical(&json!([image, workloads, prepare, expand, reindex]))]).into()
}

fn identity_of_workload(workload: &crd::Workload) -> Value {
    let crd::Workload {
        name,
        deployment,
        container,
        services: _,
        leave: _,
        move_: _,
    } = workload;
    json!([name, deployment, container])
}

fn identity_of_task(task: &Task) -> Value {
    let Task {
        command,
        args,
        env,
        resources: _,
        settings,
    } = task;
    let crd::TaskSettings {
        from,
        init_containers: _,
        labels: _,
        annotations: _,
        start_deadline: _,
        timeout: _,
        on_timeout: _,
        retries: _,
        idempotent: _,
    } = settings;
    json!([command, args, env, from])
}

fn identity_of_reindex(reindex: &Reindex) -> Value {
    let Reindex {
        search: _,
        indices,
        mode: _,
        env,
        rebuild,
        build,
        catch_up,
        verify: _,
        keep: _,
    } = reindex;
    let crd::Build {
        task: build,
        stall_timeout: _,
    } = build;
    let fingerprint = rebuild
        .as_ref()
        .and_then(|crd::Rebuild { when: _, fingerprint }| fingerprint.as_ref());
    let aliases: Vec<&AliasName> = indices
        .iter()
        .map(
            |crd::Index {
                 alias,
                 minimum_documents: _,
             }| alias,
        )
        .collect();
    let catch_up = catch_up.as_ref().map(|catch_up| {
        let crd::CatchUp {
            task,
            margin: _,
            max_lag: _,
            max_passes: _,
        } = catch_up;
        identity_of_task(task)
    });
    json!([aliases, env, fingerprint, identity_of_task(build), catch_up])
}
