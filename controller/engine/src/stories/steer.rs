//! What people ask for while a release is on its way: in each of its steps.

use std::fmt::Write as _;

use serde_json::json;
use slipway_crds::v1alpha1::Phase;

use super::{clean, completes, jobs_of};
use crate::fixture::{Kind, World, full, takes, told_as};

const PHASES: [Phase; 7] = [
    Phase::Prepare,
    Phase::Expand,
    Phase::Reindex,
    Phase::Preboot,
    Phase::Cutover,
    Phase::Watch,
    Phase::Retire,
];

/// A release of everything that is at work in a phase.
fn at_work(phase: Phase) -> World {
    let mut world = World::adopted(&full("shop:1", "one"));
    world.script("build", [takes(60)]);
    world.script("expand", [takes(20)]);
    world.release_image("shop:2");
    world.edit(|spec| spec["reindex"]["rebuild"]["fingerprint"] = json!("two"));
    world.reach(phase);
    world.pass(1);
    assert_eq!(world.phase(), phase);
    world.lines.clear();
    world.watch_traffic();
    world
}

/// Plays something in each phase to its end, and tells it all.
fn in_each_phase(name: &str, act: impl Fn(&mut World), check: impl Fn(&World, Phase)) {
    let mut story = String::new();
    for phase in PHASES {
        let mut world = at_work(phase);
        act(&mut world);
        world.rest();
        check(&world, phase);
        assert!(
            world.lowest() >= 3,
            "{phase:?}: {} endpoints\n{}",
            world.lowest(),
            world.lines.join("\n")
        );
        clean(&world);
        assert!(world.alias("products").len() == 1);
        writeln!(story, "== in {phase:?}\n{}\n", up_to_the_next(&world)).unwrap();
    }
    told_as(name, &story);
}

/// The story up to the release that follows, which is like any other.
fn up_to_the_next(world: &World) -> String {
    let planned = world.lines.iter().position(|line| line.contains("Planned"));
    let told = planned.map_or(world.lines.len(), |at| at + 1);
    let mut story = world.lines[..told].join("\n");
    if let Some(last) = world.lines[told..].last() {
        write!(story, "\n     …  \n{last}").unwrap();
    }
    story
}

/// What serves is whole: image, token and alias belong together.
fn pair(world: &World, image: &str) {
    assert_eq!(
        world.serves("web"),
        [image.to_owned()].into(),
        "{}",
        world.lines.join("\n")
    );
    assert_eq!(world.image("worker"), image, "{}", world.lines.join("\n"));
    assert_eq!(world.variable("web").is_some(), image != "shop:1");
    assert_eq!(world.variable("web"), world.variable("worker"));
}

#[test]
fn abort_in_each_step() {
    in_each_phase(
        "abort",
        |world| world.annotate("abort", "shop-2"),
        |world, phase| {
            let (end, image) = match phase {
                Phase::Watch => (Phase::RolledBack, "shop:1"),
                Phase::Retire => (Phase::Complete, "shop:2"),
                Phase::Pending
                | Phase::Preflight
                | Phase::Prepare
                | Phase::Expand
                | Phase::Reindex
                | Phase::Preboot
                | Phase::Cutover
                | Phase::Stopping
                | Phase::RollingBack
                | Phase::Complete
                | Phase::Failed
                | Phase::RolledBack
                | Phase::Aborted
                | Phase::Terminating => (Phase::Aborted, "shop:1"),
            };
            assert_eq!(world.phase(), end, "in {phase:?}\n{}", world.lines.join("\n"));
            pair(world, image);
        },
    );
}

#[test]
fn a_newer_spec_in_each_step() {
    in_each_phase(
        "newer-spec",
        |world| {
            world.release_image("shop:3");
            world.edit(|spec| spec["reindex"]["rebuild"]["fingerprint"] = json!("three"));
        },
        |world, phase| {
            assert_eq!(
                world.phase(),
                Phase::Complete,
                "in {phase:?}\n{}",
                world.lines.join("\n")
            );
            pair(world, "shop:3");
            assert_eq!(world.progress().revision_name(), "shop-3".into());
        },
    );
}

#[test]
fn a_newer_spec_with_the_same_fingerprint_takes_the_build_over() {
    let mut world = at_work(Phase::Reindex);
    world.release_image("shop:3");
    completes(&mut world);
    pair(&world, "shop:3");
    let builds = jobs_of(&world, "build");
    assert_eq!(builds, ["shop-2-build-1"]);
    world.is_told_as("build-handed-over");
}

#[test]
fn a_newer_spec_queues_behind_a_build_that_it_could_not_use() {
    let mut world = World::adopted(&full("shop:1", "one"));
    world.edit(|spec| spec["reindex"]["rebuild"] = json!({"when": "Always"}));
    world.script("build", [takes(60)]);
    world.release_image("shop:2");
    world.reach(Phase::Reindex);
    world.release_image("shop:3");
    world.pass(5);
    assert_eq!(
        world
            .progress()
            .status
            .pending
            .map(|pending| pending.image)
            .as_deref(),
        Some("shop:3")
    );
    assert!(world.until(|world| world.phase() == Phase::Complete && world.image("web") == "shop:3"));
    world.is_told_as("queued-behind-a-build");
}

#[test]
fn back_to_the_old_spec_in_each_step() {
    in_each_phase(
        "back-to-the-old-spec",
        |world| {
            world.release_image("shop:1");
            world.edit(|spec| spec["reindex"]["rebuild"]["fingerprint"] = json!("one"));
        },
        |world, phase| {
            assert_eq!(
                world.phase(),
                Phase::Complete,
                "in {phase:?}\n{}",
                world.lines.join("\n")
            );
            assert_eq!(world.serves("web"), ["shop:1".to_owned()].into());
            assert_eq!(world.image("worker"), "shop:1");
        },
    );
}

#[test]
fn deletion_in_each_step() {
    in_each_phase("deletion", World::delete, |world, phase| {
        assert!(
            world.release().is_none(),
            "in {phase:?}\n{}",
            world.lines.join("\n")
        );
        assert!(world.jobs().is_empty() && world.task_pods().is_empty());
        let kept = matches!(phase, Phase::Watch | Phase::Retire);
        let image = if kept { "shop:2" } else { "shop:1" };
        assert_eq!(world.serves("web"), [image.to_owned()].into());
        assert_eq!(world.variable("web").is_some(), kept);
        assert_eq!(world.alias("products"), ["products_1"], "in {phase:?}");
        let services = world.all(Kind::Service);
        for object in world.all(Kind::Deployment).iter().chain(&services) {
            assert!(object["metadata"]["labels"].get("slipway.dev/claim").is_none());
        }
    });
}

#[test]
fn a_lost_status_in_each_step() {
    in_each_phase("lost-status", World::lose_status, |world, phase| {
        assert_eq!(
            world.phase(),
            Phase::Complete,
            "in {phase:?}\n{}",
            world.lines.join("\n")
        );
        assert_eq!(world.serves("web"), ["shop:2".to_owned()].into());
        assert_eq!(world.variable("web"), world.variable("worker"), "in {phase:?}");
        let migrations = jobs_of(world, "expand").len();
        assert!(migrations <= 1, "{:?}\n{}", world.jobs(), world.lines.join("\n"));
    });
}

#[test]
fn deletion_right_after_the_status_was_lost() {
    in_each_phase(
        "lost-status-and-deletion",
        |world| {
            world.lose_status();
            world.delete();
        },
        |world, phase| {
            assert!(
                world.release().is_none(),
                "in {phase:?}\n{}",
                world.lines.join("\n")
            );
            assert_eq!(world.serves("web").len(), 1);
        },
    );
}

#[test]
fn suspended_in_each_step() {
    in_each_phase(
        "suspended",
        |world| {
            world.say("user", "spec.suspend = true");
            world.edit(|spec| spec["suspend"] = json!(true));
            world.pass(3600);
            world.say("user", "spec.suspend = false");
            world.edit(|spec| spec["suspend"] = json!(false));
        },
        |world, phase| {
            assert_eq!(
                world.phase(),
                Phase::Complete,
                "in {phase:?}\n{}",
                world.lines.join("\n")
            );
            pair(world, "shop:2");
        },
    );
}
