use jiff::{SignedDuration, Timestamp};
use slipway_crds::v1alpha1::status::RetiredIndex;

use super::due;
use crate::fixture::{Row, Scene, World, plain, table};

/// An index of a generation that is due after some hours.
fn index(token: &str, hours: i64) -> RetiredIndex {
    RetiredIndex {
        url: None,
        alias: "products".into(),
        token: Some(token.into()),
        index: format!("products_{token}").into(),
        uuid: format!("uuid-{token}").into(),
        delete_after: Timestamp::UNIX_EPOCH + SignedDuration::from_hours(hours),
    }
}

#[test]
fn which_generations_are_due() {
    let (old, new, over, failed) = (index("g1", 24), index("g2", 24), index("g3", -1), index("g4", 0));
    let now = Timestamp::UNIX_EPOCH;
    let due = |retired: &[&RetiredIndex], index: &RetiredIndex, keep| {
        let retired: Vec<RetiredIndex> = retired.iter().map(|index| (*index).clone()).collect();
        due(&retired, index, keep, now)
    };
    assert!(!due(&[&new], &new, 1), "its time is not over");
    assert!(due(&[&over], &over, 1), "its time is over");
    assert!(due(&[&new], &new, 0), "none is kept");
    assert!(due(&[&old, &new], &old, 1), "one is kept, and it is the newer");
    assert!(!due(&[&old, &new], &old, 2), "two are kept");
    assert!(
        !due(&[&new, &failed], &new, 1),
        "a failed candidate takes nobody's place"
    );
}

#[test]
fn at_rest() {
    let rows = [
        Row {
            name: "nothing_to_tidy",
            change: |_| {},
            does: &[],
            says: "",
        },
        Row {
            name: "a_pin_that_came_late_is_taken_off",
            change: |scene| {
                let old = scene.side("1").hash.clone();
                let service = scene.service();
                service.window = true;
                service
                    .selector
                    .insert("pod-template-hash".to_owned(), old.to_string());
            },
            does: &["Unpin"],
            says: "",
        },
        Row {
            name: "a_pin_of_others_is_theirs",
            change: |scene| {
                scene.service().claim = None;
                scene.service().window = true;
            },
            does: &[],
            says: "",
        },
    ];
    table(&Scene::of(&World::adopted(&plain("shop:1"))), &rows);
}
