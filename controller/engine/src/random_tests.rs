//! Random tests: whatever people and machines do, and in whatever order, no decision breaks an invariant,
//! nothing runs twice, and when it is over everything comes to rest and serves.
//!
//! `PROPTEST_CASES=5000 cargo test -p slipway-engine random` looks further than the fixed seeds.

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRng, TestRunner};
use serde_json::{Value, json};
use slipway_crds::v1alpha1::Phase;

use slipway_kubernetes::fields;

use crate::fixture::{Kind, World, fails, full, plain};

/// Something that happens.
#[derive(Clone, Copy, Debug)]
enum Event {
    Pass(u8),
    Scale(u8),
    SetImage,
    Resume,
    Manifest(u8),
    ForceService,
    Unlabel,
    DeleteSet(usize),
    FailPods(usize, u8, u8),
    Evict(usize),
    EvictTask,
    DeleteJob,
    Annotate(u8, u8),
    Image(u8),
    Fingerprint(u8),
    Suspend(bool),
    Delete,
    LoseStatus,
    Engine(bool),
    PointAlias,
    Breaks(u8),
    TaskFails(u8),
    TaskIsSlow(u8),
}

fn event() -> impl Strategy<Value = Event> {
    use Event::*;
    prop_oneof![
        12 => (0u8..90).prop_map(Pass),
        2 => (0u8..6).prop_map(Scale),
        1 => Just(SetImage),
        1 => Just(Resume),
        1 => (1u8..4).prop_map(Manifest),
        1 => Just(ForceService),
        1 => Just(Unlabel),
        2 => (0usize..4).prop_map(DeleteSet),
        3 => (0usize..4, 1u8..4, 1u8..120).prop_map(|(set, count, seconds)| FailPods(set, count, seconds)),
        1 => (0usize..4).prop_map(Evict),
        1 => Just(EvictTask),
        1 => Just(DeleteJob),
        4 => (0u8..4, 0u8..3).prop_map(|(lever, value)| Annotate(lever, value)),
        4 => (1u8..5).prop_map(Image),
        2 => (1u8..4).prop_map(Fingerprint),
        2 => any::<bool>().prop_map(Suspend),
        1 => Just(Delete),
        1 => Just(LoseStatus),
        2 => any::<bool>().prop_map(Engine),
        1 => Just(PointAlias),
        2 => (2u8..5).prop_map(Breaks),
        2 => (0u8..4).prop_map(TaskFails),
        1 => (0u8..4).prop_map(TaskIsSlow),
    ]
}

const TASKS: [&str; 4] = ["assets", "expand", "build", "catch-up"];

fn happen(world: &mut World, event: Event) {
    let nth = |world: &World, number: usize| world.names(Kind::ReplicaSet).into_iter().nth(number);
    let job = |world: &World| world.jobs().pop();
    match event {
        Event::Pass(seconds) => world.pass(seconds.into()),
        Event::Scale(replicas) => world.scale("web", replicas.into()),
        Event::SetImage => world.set_image("web", "foreign:1"),
        Event::Resume => world.resume("web"),
        Event::Manifest(image) => manifest(world, &format!("shop:{image}")),
        Event::ForceService => world.apply_service("web"),
        Event::Unlabel => world.unlabel("web"),
        Event::DeleteSet(number) => nth(world, number).iter().for_each(|set| world.delete_set(set)),
        Event::FailPods(number, count, seconds) => nth(world, number)
            .iter()
            .for_each(|set| world.fail_pods(set, count.into(), seconds.into())),
        Event::Evict(number) => nth(world, number).iter().for_each(|set| world.evict(set)),
        Event::EvictTask => job(world).iter().for_each(|job| world.evict_task(job)),
        Event::DeleteJob => job(world).iter().for_each(|job| world.delete_job(job)),
        Event::Annotate(lever, value) => {
            let lever = ["retry", "abort", "rollback", "resume"][usize::from(lever)];
            let value = format!("{}/{value}", world.progress().revision_name());
            world.annotate(lever, &value);
        }
        Event::Image(image) => world.release_image(&format!("shop:{image}")),
        Event::Fingerprint(number) => world.edit(|spec| {
            if spec["reindex"].is_object() {
                spec["reindex"]["rebuild"]["fingerprint"] = json!(number.to_string());
            }
        }),
        Event::Suspend(suspend) => world.edit(|spec| spec["suspend"] = json!(suspend)),
        Event::Delete => world.delete(),
        Event::LoseStatus => world.lose_status(),
        Event::Engine(away) => world.engine().down = away,
        Event::PointAlias => {
            let last = world.indices().keys().next_back().cloned();
            if let Some(index) = last {
                world.point("products", &index);
            }
        }
        Event::Breaks(image) => world.breaks(&format!("shop:{image}")),
        Event::TaskFails(task) => world.script(TASKS[usize::from(task)], [fails("no")]),
        Event::TaskIsSlow(task) => {
            world.script_patient(TASKS[usize::from(task)], 40);
        }
    }
}

/// In a window the guard refuses a manifest with a strategy of its own, and without the guard Preflight does:
/// there it is one without.
fn manifest(world: &mut World, image: &str) {
    let web = world.get(Kind::Deployment, "web");
    if fields::label(&web, "slipway.dev/window").is_empty() {
        world.apply_manifest("web", image);
    } else {
        world.set_image("web", image);
    }
}

/// The faults are over: everybody lets the release go on.
fn without_faults(world: &mut World) {
    world.mends();
    world.engine().down = false;
    world.edit(|spec| spec["suspend"] = json!(false));
    if world.replicas("web") == 0 {
        world.scale("web", 3);
    }
}

/// What holds when nothing happens any more.
fn at_rest(world: &World) {
    let story = || world.lines.join("\n");
    let ended = matches!(
        world.phase(),
        Phase::Complete | Phase::Failed | Phase::Aborted | Phase::RolledBack
    );
    if world.release().is_none() || ended {
        for deployment in world.all(Kind::Deployment) {
            let name = fields::name(&deployment);
            let labels = &deployment["metadata"]["labels"];
            assert!(
                labels.get("slipway.dev/window").is_none(),
                "{name} is labelled\n{}",
                story()
            );
            let spec = &deployment["spec"];
            assert_ne!(
                spec["minReadySeconds"],
                i32::MAX - 1,
                "{name} is held\n{}",
                story()
            );
            assert_ne!(
                spec["progressDeadlineSeconds"],
                i32::MAX,
                "{name} is held\n{}",
                story()
            );
            assert_ne!(
                spec["strategy"]["rollingUpdate"]["maxSurge"],
                "100%",
                "{name} is held\n{}",
                story()
            );
            assert!(spec["paused"].is_null(), "{name} is paused\n{}", story());
        }
        let selector = world.get(Kind::Service, "web")["spec"]["selector"].clone();
        assert_eq!(selector, json!({"app": "web"}), "\n{}", story());
    } else {
        assert!(
            world.reason("Stalled").is_some(),
            "at rest without a word\n{}",
            story()
        );
    }
    if world.release().is_none() {
        assert!(
            world.jobs().is_empty() && world.task_pods().is_empty(),
            "\n{}",
            story()
        );
    }
    let wanted = usize::try_from(world.replicas("web")).unwrap();
    assert_eq!(world.ready_endpoints("web"), wanted, "not served\n{}", story());
    assert!(world.alias("products").len() <= 1, "\n{}", story());
    if let Some(token) = world.variable("web") {
        let index = format!("products_{token}");
        assert!(
            world.indices().contains_key(&index),
            "{index} is read and not there\n{}",
            story()
        );
    }
}

fn play(seed: u64, spec: &Value, events: &[Event]) {
    let mut world = World::adopted_in(seed, spec);
    world.doubt = true;
    world.release_image("shop:2");
    for event in events {
        happen(&mut world, *event);
        world.pass(1);
    }
    without_faults(&mut world);
    world.say("faults", "are over");
    world.comes_to_rest();
    at_rest(&world);
}

fn random(spec: &Value, most: usize) {
    let cases = std::env::var("PROPTEST_CASES")
        .ok()
        .and_then(|cases| cases.parse().ok());
    let config = Config {
        cases: cases.unwrap_or(24),
        failure_persistence: None,
        max_shrink_iters: 400,
        ..Config::default()
    };
    let mut runner = if cases.is_some() {
        TestRunner::new(config)
    } else {
        let fixed = TestRng::deterministic_rng(proptest::test_runner::RngAlgorithm::ChaCha);
        TestRunner::new_with_rng(config, fixed)
    };
    let runs = (any::<u64>(), proptest::collection::vec(event(), 1..most));
    let outcome = runner.run(&runs, |(seed, events)| {
        play(seed, spec, &events);
        Ok(())
    });
    if let Err(failure) = outcome {
        panic!("{failure}");
    }
}

#[test]
fn a_plain_release_survives_whatever_happens() {
    random(&plain("shop:1"), 14);
}

#[test]
fn a_release_with_tasks_and_an_index_survives_whatever_happens() {
    random(&full("shop:1", "1"), 20);
}
