//! The scenarios: a shop with three web pods, and for some of them a worker, migrations and a search index.

use std::time::Duration;

use serde_json::{Value, json};
use slipway_judge::invariants::GENERATION;
use slipway_kubernetes::{
    fields,
    kind::Kind,
    models::behaviour::{Behaviour, Exit, variable},
    store::Propagation,
};

use super::scenario::{Act, Scenario, at, image, lever, patch, pods, release, stalled};
use crate::world::World;

/// Pods behind the Service.
const PODS: usize = 3;
/// Documents in the search index.
const DOCUMENTS: u64 = 200;

/// Revision 1 is adopted: version 2 is asked for.
const UPGRADE: Act = Act {
    when: |world| at(world, 1, "Complete"),
    then: |world| image(world, "shop:2"),
};

/// All of them.
pub const ALL: [Scenario; 11] = [
    PLAIN,
    WHOLE,
    MIGRATION_FAILS,
    EVICTED,
    JOB_DELETED,
    NEVER_READY,
    NEW_SIDE_DIES,
    ABORTED,
    NEWER_SPEC,
    DELETED,
    ASKED_BACK,
];

/// A release without any task.
pub const PLAIN: Scenario = Scenario {
    name: "plain",
    scene: plain,
    acts: &[UPGRADE],
    end: |world| at(world, 2, "Complete"),
    floor: PODS,
    disturbed: false,
};

/// Prepare, migration, reindex with catch-up, a worker that follows.
pub const WHOLE: Scenario = Scenario {
    name: "whole",
    scene: whole,
    acts: &[UPGRADE],
    end: |world| at(world, 2, "Complete") && !world.cluster().search.indices.contains_key("products_1"),
    ..PLAIN
};

/// The migration fails; a person mends it and tries again.
pub const MIGRATION_FAILS: Scenario = Scenario {
    name: "migration-fails",
    scene: |world| {
        migrating(world);
        let mut cluster = world.cluster();
        cluster
            .scripts
            .command("migrate", Behaviour::task(Duration::from_secs(2), 1));
    },
    acts: &[
        UPGRADE,
        Act {
            when: |world| at(world, 2, "Failed"),
            then: |world| {
                let mended = Behaviour::task(Duration::from_secs(2), 0);
                world.cluster().scripts.command("migrate", mended);
                lever(world, "retry", "shop-2/mended");
            },
        },
    ],
    ..PLAIN
};

/// The node of the migration's pod is drained; it exits 0 on SIGTERM, and its Job reads Complete. A person looks,
/// and tries again.
pub const EVICTED: Scenario = Scenario {
    name: "evicted",
    scene: slow_migration,
    acts: &[
        UPGRADE,
        Act {
            when: |world| migration(world).is_some(),
            then: |world| {
                let pod = migration(world).expect("it runs");
                world.user(|user| user.evict(&pod));
            },
        },
        RETRY,
    ],
    ..PLAIN
};

/// A person deletes the migration's Job while it runs, looks, and tries again.
pub const JOB_DELETED: Scenario = Scenario {
    name: "job-deleted",
    scene: slow_migration,
    acts: &[
        UPGRADE,
        Act {
            when: |world| migration(world).is_some(),
            then: |world| {
                let job = "shop-2-expand-1";
                world.user(|user| user.delete(Kind::Job, job, Propagation::Background));
            },
        },
        RETRY,
    ],
    ..PLAIN
};

/// A person says that the unknown may be tried again.
const RETRY: Act = Act {
    when: stalled,
    then: |world| lever(world, "retry", "shop-2/looked"),
};

/// The new pods never get ready.
pub const NEVER_READY: Scenario = Scenario {
    name: "never-ready",
    scene: |world| {
        plain(world);
        world.cluster().scripts.image("shop:2", Behaviour::never_ready());
    },
    end: |world| at(world, 2, "Failed"),
    ..PLAIN
};

/// All new pods stop answering while the old side is warm.
pub const NEW_SIDE_DIES: Scenario = Scenario {
    name: "new-side-dies",
    acts: &[
        UPGRADE,
        Act {
            when: |world| at(world, 2, "Watch"),
            then: |world| {
                for pod in pods(world, "shop:2") {
                    world.set_sick(&pod, true);
                }
            },
        },
    ],
    end: |world| at(world, 2, "RolledBack"),
    floor: 0,
    ..PLAIN
};

/// A person gives up before the cutover.
pub const ABORTED: Scenario = Scenario {
    name: "aborted",
    acts: &[
        UPGRADE,
        Act {
            when: |world| at(world, 2, "Preboot"),
            then: |world| lever(world, "abort", "shop-2"),
        },
    ],
    end: |world| at(world, 2, "Aborted"),
    ..PLAIN
};

/// A newer version is asked for while the new pods boot.
pub const NEWER_SPEC: Scenario = Scenario {
    name: "newer-spec",
    acts: &[
        UPGRADE,
        Act {
            when: |world| at(world, 2, "Preboot"),
            then: |world| image(world, "shop:3"),
        },
    ],
    end: |world| at(world, 3, "Complete"),
    ..PLAIN
};

/// The Release is deleted while the new pods boot.
pub const DELETED: Scenario = Scenario {
    name: "deleted",
    acts: &[
        UPGRADE,
        Act {
            when: |world| at(world, 2, "Preboot"),
            then: |world| {
                let gone =
                    world.kubectl(|kubectl| kubectl.delete(Kind::Release, "shop", Propagation::Background));
                gone.expect("a person may delete a Release");
            },
        },
    ],
    end: |world| release(world).is_null(),
    ..PLAIN
};

/// A person asks for the old version back while it is warm.
pub const ASKED_BACK: Scenario = Scenario {
    name: "asked-back",
    scene: whole,
    acts: &[
        UPGRADE,
        Act {
            when: |world| at(world, 2, "Watch") && rolled(world),
            then: |world| lever(world, "rollback", "shop-2"),
        },
    ],
    end: |world| at(world, 2, "RolledBack") && world.cluster().search.indices.len() == 1,
    ..PLAIN
};

/// A person changes the Deployment in the moment in which the next version is asked for. Not one of [`ALL`]: what
/// the user changed stays, and is nobody's reference.
pub const UNSETTLED: Scenario = Scenario {
    name: "unsettled",
    acts: &[Act {
        when: |world| at(world, 1, "Complete"),
        then: |world| {
            world.user(|user| user.set_env("web", "main", "CHANGED", "1"));
            image(world, "shop:2");
        },
    }],
    ..PLAIN
};

/// All old pods stop answering while the new ones boot. Not one of [`ALL`] either: nobody serves for a while.
pub const OLD_SIDE_DIES: Scenario = Scenario {
    name: "old-side-dies",
    scene: |world| {
        apply(world, &deployment("web", PODS));
        apply(world, &service("web"));
        apply(
            world,
            &shop(&json!({"preboot": {"minimumWait": "30s", "timeout": "2m"}})),
        );
    },
    acts: &[
        UPGRADE,
        Act {
            when: |world| at(world, 2, "Preboot"),
            then: |world| {
                for pod in pods(world, "shop:1") {
                    world.set_sick(&pod, true);
                }
            },
        },
    ],
    floor: 0,
    ..PLAIN
};

/// A person points the spec to another search engine while the new index is built. Not one of [`ALL`]: it is the story
/// of one fault. What was built goes live where it was built.
pub const MOVED_ENGINE: Scenario = Scenario {
    name: "moved-engine",
    acts: &[
        UPGRADE,
        Act {
            when: |world| at(world, 2, "Reindex"),
            then: |world| {
                let search = json!({"url": "http://other:9200"});
                patch(world, json!({"spec": {"reindex": {"search": search}}}));
            },
        },
    ],
    end: |world| (WHOLE.end)(world) && world.cluster().other_search.indices.contains_key("products_1"),
    ..WHOLE
};

/// A quota has no room for the migration's pod; a person gives the version up, and then there is room. Not one of
/// [`ALL`]: nothing of the task ever runs.
pub const NO_ROOM: Scenario = Scenario {
    name: "no-room",
    scene: |world| {
        migrating(world);
        world.cluster().store.pod_quota.insert("default".to_owned(), PODS);
    },
    acts: &[
        UPGRADE,
        Act {
            when: |world| fields::text(&release(world), "/status/waitingFor").contains("exceeded quota"),
            then: |world| lever(world, "abort", "shop-2"),
        },
        Act {
            when: |world| at(world, 2, "Aborted"),
            then: |world| world.cluster().store.pod_quota.clear(),
        },
    ],
    end: |world| {
        let jobs = world.all(Kind::Job);
        let cluster = world.cluster();
        let mut processes = cluster.processes.iter();
        let task = processes.any(|process| process.labels.contains_key("slipway.dev/step"));
        jobs.is_empty() && !task
    },
    ..PLAIN
};

/// Whether the worker runs version 2 alone.
fn rolled(world: &World) -> bool {
    let worker = world.get(Kind::Deployment, "worker");
    let count = |field: &str| fields::count(&worker, &format!("/status/{field}"));
    fields::text(&worker, "/spec/template/spec/containers/0/image") == "shop:2"
        && count("observedGeneration") == fields::count(&worker, "/metadata/generation")
        && (
            count("updatedReplicas"),
            count("replicas"),
            count("availableReplicas"),
        ) == (1, 1, 1)
}

fn plain(world: &mut World) {
    apply(world, &deployment("web", PODS));
    apply(world, &service("web"));
    apply(world, &shop(&json!({})));
}

/// A migration that takes its time, and exits 0 when it is told to end.
fn slow_migration(world: &mut World) {
    migrating(world);
    let slow = Behaviour {
        terminate: Some(Exit::new(Duration::from_secs(1), 0)),
        ..Behaviour::task(Duration::from_secs(20), 0)
    };
    world.cluster().scripts.command("migrate", slow);
}

/// The running pod of the first attempt of the migration.
fn migration(world: &World) -> Option<String> {
    let pods = world.all(Kind::Pod);
    let running = pods.iter().find(|pod| {
        fields::label(pod, "slipway.dev/step") == "expand"
            && fields::label(pod, "slipway.dev/attempt") == "1"
            && fields::text(pod, "/status/phase") == "Running"
            && !fields::terminating(pod)
    });
    running.map(|pod| fields::name(pod).to_owned())
}

fn migrating(world: &mut World) {
    apply(world, &deployment("web", PODS));
    apply(world, &service("web"));
    apply(
        world,
        &shop(&json!({"migrate": {"expand": {"command": ["rake", "migrate"]}}})),
    );
}

fn whole(world: &mut World) {
    apply(world, &deployment("web", PODS));
    apply(world, &deployment("worker", 1));
    apply(world, &service("web"));
    apply(world, &service("search"));
    apply(world, &service("other"));
    let spec = json!({
        "workloads": [
            {"name": "web", "deployment": "web", "services": ["web"]},
            {"name": "worker", "deployment": "worker", "move": "After"},
        ],
        "prepare": [{"name": "assets", "command": ["rake", "assets"]}],
        "migrate": {"expand": {"command": ["rake", "migrate"]}},
        "reindex": {
            "search": {"url": "http://search:9200"},
            "indices": [{"alias": "products", "minimumDocuments": 1}],
            "env": GENERATION,
            "rebuild": {"when": "Always"},
            "build": {"command": ["rake", "reindex"], "timeout": "6h", "stallTimeout": "30m"},
            "catchUp": {"command": ["rake", "catch-up"], "margin": "10s", "maxLag": "20s"},
            "keep": {"generations": 1, "for": "2m"},
        },
    });
    apply(world, &shop(&spec));
    let mut cluster = world.cluster();
    for host in ["search", "other"] {
        let engine = cluster.engine(host).expect("there are two");
        engine.create("products_1");
        engine.write("products_1", DOCUMENTS);
        engine.refresh("products_1");
        engine.set_alias("products", &["products_1"]);
    }
    let build = Behaviour::task(Duration::from_mins(2), 0)
        .says(&json!({"documents": DOCUMENTS}).to_string())
        .does(Duration::from_mins(1), |engine, pod| {
            let index = format!("products_{}", variable(pod, GENERATION));
            engine.write(&index, DOCUMENTS);
            engine.refresh(&index);
        });
    cluster.scripts.command("reindex", build);
}

/// Applies a manifest as a person.
pub fn apply(world: &World, manifest: &Value) {
    drop(world.user(|user| user.apply(manifest)));
}

/// A Deployment of version 1.
pub fn deployment(name: &str, replicas: usize) -> Value {
    let labels = json!({"app": name});
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name},
        "spec": {
            "replicas": replicas, "minReadySeconds": 1, "progressDeadlineSeconds": 300,
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}},
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {"containers": [{"name": "main", "image": "shop:1", "ports": [{"containerPort": 8080}]}]},
            },
        },
    })
}

/// A Service in front of a Deployment; those of search engines have none behind them.
pub fn service(name: &str) -> Value {
    let mut service = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": name},
        "spec": {"ports": [{"port": 80, "targetPort": 8080}]},
    });
    if !["search", "other"].contains(&name) {
        service["spec"]["selector"] = json!({"app": name});
    }
    service
}

/// The Release, with more in its spec.
pub fn shop(more: &Value) -> Value {
    let mut release = json!({
        "apiVersion": "slipway.dev/v1alpha1", "kind": "Release", "metadata": {"name": "shop"},
        "spec": {
            "image": "shop:1",
            "workloads": [{"name": "web", "deployment": "web", "services": ["web"]}],
            "preboot": {"minimumWait": "5s", "timeout": "2m"},
            "watch": {"for": "10s"},
        },
    });
    for (key, value) in more.as_object().into_iter().flatten() {
        release["spec"][key] = value.clone();
    }
    release
}
