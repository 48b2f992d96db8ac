use serde_json::{Value, json};
use slipway_kubernetes::fields;

use crate::fixture::{Kind, World, full, plain};
use crate::observed::WindowGuard;

/// Bad input: a clear condition that says what to change, and nothing is changed.
struct Bad {
    name: &'static str,
    spec: fn(&mut Value),
    world: fn(&mut World),
    reason: &'static str,
    /// What the message names.
    says: &'static [&'static str],
}

const SOUND: fn(&mut Value) = |_| {};
const CALM: fn(&mut World) = |_| {};

/// Changes the Deployment.
fn web(world: &mut World, pointer: &str, value: Value) {
    world.change(Kind::Deployment, "web", |web| fields::set(web, pointer, value));
}

/// Changes the Service.
fn service(world: &mut World, name: &str, pointer: &str, value: Value) {
    world.change(Kind::Service, name, |service| {
        fields::set(service, pointer, value);
    });
}

/// The claim of another Release.
fn claimed(world: &mut World, kind: Kind) {
    world.add_release("other", &plain("shop:1"));
    let uid = fields::uid(&world.get(Kind::Release, "other")).to_owned();
    world.change(kind, "web", |object| {
        object["metadata"]["labels"] = json!({"slipway.dev/claim": uid});
    });
}

/// A Deployment's pods mount a volume.
fn volume(world: &mut World) {
    let claim = json!([{"name": "data", "persistentVolumeClaim": {"claimName": "data"}}]);
    web(world, "/spec/template/spec/volumes", claim);
}

#[test]
fn preflight_bad_input_says_what_to_change_and_changes_nothing() {
    let rows = [
        Bad {
            name: "a_tag_that_moves",
            spec: |spec| spec["image"] = json!("shop:latest"),
            world: CALM,
            reason: "InvalidSpec",
            says: &["spec.image", "shop:latest", "version tag"],
        },
        Bad {
            name: "two_containers_and_none_named",
            spec: SOUND,
            world: |world| {
                let proxy = json!({"name": "proxy", "image": "envoy:3"});
                let main = json!({"name": "main", "image": "shop:1"});
                web(world, "/spec/template/spec/containers", json!([main, proxy]));
            },
            reason: "InvalidSpec",
            says: &["spec.workloads[0]", "web", "main, proxy", "container"],
        },
        Bad {
            name: "a_container_that_is_not_there",
            spec: |spec| spec["workloads"][0]["container"] = json!("app"),
            world: CALM,
            reason: "InvalidSpec",
            says: &["spec.workloads[0].container", "no container app", "main"],
        },
        Bad {
            name: "a_deployment_that_is_not_there",
            spec: |spec| spec["workloads"][0]["deployment"] = json!("wob"),
            world: CALM,
            reason: "DeploymentMissing",
            says: &["spec.workloads[0]", "wob", "Create it"],
        },
        Bad {
            name: "a_service_that_is_not_there",
            spec: |spec| spec["workloads"][0]["services"] = json!(["wob"]),
            world: CALM,
            reason: "ServiceMissing",
            says: &["services", "wob"],
        },
        Bad {
            name: "a_service_that_selects_nothing",
            spec: SOUND,
            world: |world| service(world, "web", "/spec/selector", json!({"app": "wob"})),
            reason: "ServiceSelectsNothing",
            says: &["Service web", "Deployment web", "Correct the selector"],
        },
        Bad {
            name: "a_service_that_also_selects_other_pods",
            spec: SOUND,
            world: |world| {
                let labels = json!({"app": "web", "part": "api"});
                let selector = json!({"matchLabels": {"part": "api"}});
                world.add_deployment_of("api", "shop:1", 1, &labels, &selector);
            },
            reason: "ServiceSelectsOthers",
            says: &["Service web", "Deployment api", "labels"],
        },
        Bad {
            name: "a_service_that_matches_and_is_not_named",
            spec: SOUND,
            world: |world| {
                world.add_service("metrics");
                service(world, "metrics", "/spec/selector", json!({"app": "web"}));
            },
            reason: "ServiceUnlisted",
            says: &["Service metrics", "services", "leave"],
        },
        Bad {
            name: "a_service_that_is_pinned_already",
            spec: SOUND,
            world: |world| {
                let old = world.get(Kind::ReplicaSet, &world.set_of("web", "shop:1"));
                let hash = fields::label(&old, "pod-template-hash");
                let pinned = json!({"app": "web", "pod-template-hash": hash});
                service(world, "web", "/spec/selector", pinned);
            },
            reason: "ServicePinned",
            says: &["Service web", "pod-template-hash", "Remove that key"],
        },
        Bad {
            name: "a_named_port_that_no_container_has",
            spec: SOUND,
            world: |world| {
                let ports = json!([{"port": 80, "targetPort": "http"}]);
                service(world, "web", "/spec/ports", ports);
            },
            reason: "ServicePortMissing",
            says: &["port http", "Deployment web"],
        },
        Bad {
            name: "a_deployment_claimed_by_another_release",
            spec: SOUND,
            world: |world| claimed(world, Kind::Deployment),
            reason: "ClaimedBy",
            says: &["Deployment web", "another Release"],
        },
        Bad {
            name: "a_service_claimed_by_another_release",
            spec: SOUND,
            world: |world| claimed(world, Kind::Service),
            reason: "ClaimedBy",
            says: &["Service web", "another Release"],
        },
        Bad {
            name: "recreate",
            spec: SOUND,
            world: |world| web(world, "/spec/strategy", json!({"type": "Recreate"})),
            reason: "RecreateStrategy",
            says: &["Deployment web", "Recreate", "move: After"],
        },
        Bad {
            name: "a_volume_for_one_node",
            spec: SOUND,
            world: |world| {
                volume(world);
                let modes = [("data".to_owned(), vec!["ReadWriteOnce".to_owned()])];
                world.claims = modes.into();
            },
            reason: "VolumeNotShareable",
            says: &["claim data", "ReadWriteMany"],
        },
        Bad {
            name: "an_autoscaler_that_runs_away",
            spec: SOUND,
            world: |world| {
                world.autoscalers = [("web".into(), "web-hpa".to_owned())].into();
            },
            reason: "UnsupportedAutoscalerMetric",
            says: &["web-hpa", "AverageValue"],
        },
        Bad {
            name: "values_of_a_window_that_nobody_opened",
            spec: SOUND,
            world: |world| {
                web(world, "/spec/progressDeadlineSeconds", json!(i32::MAX));
                web(world, "/spec/minReadySeconds", json!(i32::MAX - 1));
            },
            reason: "HeldByUnknown",
            says: &["Deployment web", "kubectl patch deployment web"],
        },
        Bad {
            name: "a_manifest_that_holds_the_fields_without_a_guard",
            spec: SOUND,
            world: |world| {
                world.guard = WindowGuard::Off;
                let manifest = json!({
                    "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"},
                    "spec": {"strategy": {"type": "RollingUpdate"}},
                });
                world.kubectl("flux applies web", |kubectl| {
                    kubectl.apply_server_side(&manifest, "flux", true)
                });
            },
            reason: "ManifestHoldsFields",
            says: &["flux", "windowGuard.mode"],
        },
        Bad {
            name: "labels_that_a_service_selects",
            spec: |spec| spec["tasks"] = json!({"labels": {"app": "web"}}),
            world: CALM,
            reason: "TaskLabelsSelected",
            says: &["task", "Service web", "other labels"],
        },
        Bad {
            name: "labels_that_a_deployment_selects_by_an_expression",
            spec: |spec| spec["tasks"] = json!({"labels": {"tier": "batch"}}),
            world: |world| {
                world.delete_deployment("web");
                world.pass_without_us(10);
                let labels = json!({"app": "web", "tier": "web"});
                let tier = json!({"key": "tier", "operator": "In", "values": ["web", "batch"]});
                let selector = json!({"matchExpressions": [tier]});
                world.add_deployment_of("web", "shop:1", 3, &labels, &selector);
                world.pass_without_us(10);
            },
            reason: "TaskLabelsSelected",
            says: &["task", "Deployment web", "other labels"],
        },
        Bad {
            name: "an_engine_that_does_not_answer",
            spec: |spec| spec["image"] = json!("shop:2"),
            world: |world| world.engine().down = true,
            reason: "SearchUnavailable",
            says: &["http://search:9200 refused", "spec.reindex.search.url"],
        },
        Bad {
            name: "an_alias_on_two_indices",
            spec: |spec| spec["image"] = json!("shop:2"),
            world: |world| world.add_index("products_2", 5, &["products"]),
            reason: "AliasOnSeveralIndices",
            says: &["products_1 and products_2", "exactly one"],
        },
        Bad {
            name: "an_index_in_the_place_of_an_alias",
            spec: |spec| spec["image"] = json!("shop:2"),
            world: |world| {
                world.wipe_engine();
                world.add_index("products", 5, &[]);
            },
            reason: "AliasIsIndex",
            says: &["products is an index itself"],
        },
    ];
    for row in rows {
        let mut spec = full("shop:1", "one");
        (row.spec)(&mut spec);
        let mut world = World::new(&spec);
        (row.world)(&mut world);
        world.pass(3);
        assert_eq!(
            world.reason("Stalled").as_deref(),
            Some(row.reason),
            "{}",
            row.name
        );
        let message = world.progress().status.waiting_for.unwrap_or_default();
        for word in row.says {
            assert!(
                message.contains(word),
                "{}: {word} is not in: {message}",
                row.name
            );
        }
        let harmless = world
            .effects
            .iter()
            .all(|deed| matches!(*deed, "Guard" | "Claim"));
        assert!(harmless, "{}: {:?}", row.name, world.effects);
    }
}

#[test]
fn preflight_what_is_mended_goes_on_by_itself() {
    let mut world = World::new(&plain("shop:2"));
    service(&mut world, "web", "/spec/selector", json!({"app": "wob"}));
    world.pass(3);
    assert_eq!(world.reason("Stalled").as_deref(), Some("ServiceSelectsNothing"));
    world.apply_service("web");
    world.rest();
    assert_eq!(world.phase(), slipway_crds::v1alpha1::Phase::Complete);
}

#[test]
fn preflight_unread_volume_claims_are_waited_for() {
    let mut world = World::new(&plain("shop:2"));
    volume(&mut world);
    world.unreadable = true;
    world.pass(3);
    assert_eq!(world.reason("Ready").as_deref(), Some("Pending"));
    assert!(
        world.effects.iter().all(|deed| *deed == "Guard"),
        "{:?}",
        world.effects
    );
}

#[test]
fn preflight_says_which_containers_do_not_run_beside_tasks() {
    for (tasks, told) in [
        (json!({"expand": {"command": ["migrate"]}}), true),
        (json!(null), false),
    ] {
        let mut spec = plain("shop:1");
        spec["workloads"][0]["container"] = json!("main");
        spec["migrate"] = tasks;
        let mut world = World::new(&spec);
        let proxy = json!({"name": "cloud-sql-proxy", "image": "proxy:1"});
        let main = json!({"name": "main", "image": "shop:1"});
        web(&mut world, "/spec/template/spec/containers", json!([main, proxy]));
        world.rest();
        world.release_image("shop:2");
        world.rest();
        let line = world.lines.iter().find(|line| line.contains("SidecarLeftOut"));
        assert_eq!(line.is_some(), told);
        assert!(line.is_none_or(|line| line.contains("container cloud-sql-proxy of workload web")));
    }
}
