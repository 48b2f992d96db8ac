//! The client over an engine in memory: what is sent, what is refused before it is sent, and what is known afterwards.

use std::time::Duration;

use tokio::time::Instant;

use super::{
    fake::{FakeEngine, FakeIndex, Fault},
    *,
};
use crate::leader::fence;

fn client(engine: &FakeEngine) -> SearchClient {
    SearchClient::new(Arc::new(engine.clone()), Fence::always_open())
}

fn set<const N: usize>(names: [&str; N]) -> std::collections::BTreeSet<String> {
    names.map(ToOwned::to_owned).into()
}

/// `products` on its first generation, a second one beside it.
fn two_generations(engine: FakeEngine) -> FakeEngine {
    engine.index("products_g1", "u1", 100);
    engine.index("products_g2", "u2", 101);
    engine.alias("products", &["products_g1"]);
    engine
}

const NEW: IndexRef<'_> = IndexRef {
    name: "products_g2",
    uuid: "u2",
};
const OLD: IndexRef<'_> = IndexRef {
    name: "products_g1",
    uuid: "u1",
};

async fn move_products(engine: &FakeEngine, from: Option<&str>) -> Result<AliasMove, SearchError> {
    let client = client(engine);
    let root = client.root().await?;
    client.move_alias(&root, "products", from, NEW).await
}

fn both() -> [FakeEngine; 2] {
    [FakeEngine::open_search(), FakeEngine::elasticsearch_7_10()].map(two_generations)
}

#[tokio::test]
async fn names_resolve_to_identities() {
    let engine = two_generations(FakeEngine::open_search());
    let client = client(&engine);
    let Resolved::Alias(found) = client.resolve("products").await.unwrap() else {
        panic!("no alias")
    };
    assert_eq!(
        found.iter().map(|index| index.uuid.as_str()).collect::<Vec<_>>(),
        ["u1"]
    );
    let Resolved::Index(index) = client.resolve("products_g2").await.unwrap() else {
        panic!("no index")
    };
    assert_eq!(
        (index.uuid.as_str(), index.open, index.write_blocked),
        ("u2", true, false)
    );
    assert_eq!(index.created.to_string(), "2026-01-01T00:00:00Z");
    assert_eq!(client.resolve("orders").await.unwrap(), Resolved::Absent);
    let names: Vec<_> = client
        .indices("products_*")
        .await
        .unwrap()
        .into_iter()
        .map(|index| index.name)
        .collect();
    assert_eq!(names, ["products_g1", "products_g2"]);
    assert_eq!(client.indices("orders_*").await.unwrap(), []);
}

#[tokio::test]
async fn blocks_and_closed_indices_show() {
    let engine = FakeEngine::open_search();
    for (name, blocks, closed) in [
        ("a", vec!["write"], false),
        ("b", vec!["read_only_allow_delete"], false),
        ("c", vec![], true),
    ] {
        let index = FakeIndex {
            uuid: "u".into(),
            blocks: blocks.clone(),
            closed,
            ..FakeIndex::default()
        };
        engine.state().indices.insert(name.into(), index);
        let Resolved::Index(facts) = client(&engine).resolve(name).await.unwrap() else {
            panic!("{name}")
        };
        assert_eq!(
            (facts.write_blocked, facts.open),
            (!blocks.is_empty(), !closed),
            "{name}"
        );
    }
}

#[tokio::test]
async fn aliases_that_are_missing_do_not_hide_the_others() {
    let engine = two_generations(FakeEngine::open_search());
    engine.alias("both", &["products_g1", "products_g2"]);
    let client = client(&engine);
    let found = client.aliases(&["products", "orders", "both"]).await.unwrap();
    assert_eq!(found.get("products"), Some(&set(["products_g1"])));
    assert_eq!(found.get("both"), Some(&set(["products_g1", "products_g2"])));
    assert_eq!(found.get("orders"), None);
    assert_eq!(client.aliases(&[]).await.unwrap().len(), 0);
    assert_eq!(
        client.aliases_on("products_g1").await.unwrap(),
        Some(set(["products", "both"]))
    );
    assert_eq!(client.aliases_on("gone").await.unwrap(), None);
}

#[tokio::test]
async fn counts_are_whole_or_errors() {
    let engine = two_generations(FakeEngine::open_search());
    let client = client(&engine);
    client.refresh("products_g2").await.unwrap();
    assert_eq!(client.count("products_g2").await.unwrap(), 101);
    assert_eq!(
        client
            .documents_shown("products_*")
            .await
            .unwrap()
            .get("products_g1"),
        Some(&100)
    );
    engine
        .state()
        .indices
        .get_mut("products_g2")
        .unwrap()
        .failed_shards = 1;
    assert!(matches!(
        client.count("products_g2").await,
        Err(SearchError::Unreadable { .. })
    ));
    assert!(matches!(
        client.count("orders").await,
        Err(SearchError::Refused { status: 404, .. })
    ));
    assert_eq!(client.health("products_g2").await.unwrap(), Health::Yellow);
    assert_eq!(client.health("orders").await.unwrap(), Health::Red);
}

#[tokio::test]
async fn watermarks_are_those_of_the_primaries() {
    let engine = two_generations(FakeEngine::open_search());
    {
        let mut state = engine.state();
        let index = state.indices.get_mut("products_g1").unwrap();
        (index.max_seq_no, index.global_checkpoint) = (41, 40);
    }
    let mark = client(&engine).watermark("products_g1").await.unwrap().unwrap();
    assert_eq!(mark.uuid, "u1");
    assert_eq!(
        mark.shards[&0],
        ShardMark {
            max_seq_no: 41,
            global_checkpoint: 40
        }
    );
    assert!(!mark.is_settled());
    engine
        .state()
        .indices
        .get_mut("products_g1")
        .unwrap()
        .global_checkpoint = 41;
    assert!(
        client(&engine)
            .watermark("products_g1")
            .await
            .unwrap()
            .unwrap()
            .is_settled()
    );
    assert_eq!(client(&engine).watermark("orders").await.unwrap(), None);
}

#[tokio::test]
async fn an_alias_moves_once() {
    for engine in both() {
        assert_eq!(
            move_products(&engine, Some("products_g1")).await,
            Ok(AliasMove::Moved)
        );
        assert_eq!(
            move_products(&engine, Some("products_g1")).await,
            Ok(AliasMove::AlreadyThere)
        );
        assert_eq!(engine.changes(), ["POST /_aliases"]);
        assert_eq!(engine.state().aliases["products"], set(["products_g2"]));
    }
}

#[tokio::test]
async fn an_alias_that_did_not_exist_is_made() {
    for engine in both() {
        engine.state().aliases.clear();
        assert_eq!(move_products(&engine, None).await, Ok(AliasMove::Moved));
    }
}

#[tokio::test]
async fn an_alias_that_is_elsewhere_is_left_alone() {
    for (on, from) in [
        (vec!["products_g0"], Some("products_g1")),
        (vec!["products_g0", "products_g1"], Some("products_g1")),
        (vec!["products_g1"], None),
        (vec![], Some("products_g1")),
    ] {
        for engine in both() {
            engine.index("products_g0", "u0", 1);
            engine.alias("products", &on);
            let moved = move_products(&engine, from).await;
            assert_eq!(
                moved,
                Ok(AliasMove::Conflict(on.iter().map(ToString::to_string).collect())),
                "{on:?}"
            );
            assert_eq!(engine.changes(), [""; 0]);
        }
    }
}

#[tokio::test]
async fn somebody_faster_is_a_conflict_with_and_without_must_exist() {
    for (engine, left_on) in both()
        .into_iter()
        .zip([set(["products_g0"]), set(["products_g0", "products_g2"])])
    {
        engine.index("products_g0", "u0", 1);
        engine.fail_next(Fault::After(Box::new(|state| {
            state.aliases.insert("products".into(), set(["products_g0"]));
        })));
        let moved = move_products(&engine, Some("products_g1")).await;
        assert_eq!(moved, Ok(AliasMove::Conflict(left_on)));
    }
}

#[tokio::test]
async fn an_alias_does_not_move_to_another_index_of_that_name() {
    for engine in both() {
        engine.index("products_g2", "made anew", 0);
        assert_eq!(
            move_products(&engine, Some("products_g1")).await,
            Ok(AliasMove::TargetChanged)
        );
        engine.state().indices.remove("products_g2");
        assert_eq!(
            move_products(&engine, Some("products_g1")).await,
            Ok(AliasMove::TargetChanged)
        );
        assert_eq!(engine.changes(), [""; 0]);
    }
}

#[tokio::test]
async fn a_change_without_an_answer_is_unknown_and_a_refusal_is_not() {
    let unanswered = [
        Fault::AppliedAndLost,
        Fault::Answers(503, json_error("process_cluster_event_timeout_exception")),
        Fault::AppliedAndAnswers(serde_json::json!({"acknowledged": false})),
    ];
    for fault in unanswered {
        let engine = two_generations(FakeEngine::open_search());
        engine.fail_next(fault);
        let error = move_products(&engine, Some("products_g1")).await.unwrap_err();
        assert!(matches!(error, SearchError::OutcomeUnknown { .. }), "{error:?}");
    }
    let engine = two_generations(FakeEngine::open_search());
    engine.fail_next(Fault::Answers(403, json_error("security_exception")));
    let error = move_products(&engine, Some("products_g1")).await.unwrap_err();
    let SearchError::Refused {
        status: 403, reason, ..
    } = error
    else {
        panic!("{error:?}")
    };
    assert_eq!(reason, "security_exception: no");

    let engine = two_generations(FakeEngine::open_search());
    engine.fail_next(Fault::NotSent);
    let error = move_products(&engine, Some("products_g1")).await.unwrap_err();
    assert!(matches!(error, SearchError::Unreachable { .. }), "{error:?}");

    // What was lost is found by the next look.
    let engine = two_generations(FakeEngine::open_search());
    engine.fail_next(Fault::AppliedAndLost);
    move_products(&engine, Some("products_g1")).await.unwrap_err();
    assert_eq!(
        move_products(&engine, Some("products_g1")).await,
        Ok(AliasMove::AlreadyThere)
    );
}

fn json_error(kind: &str) -> Value {
    serde_json::json!({"error": {"type": kind, "reason": "no"}})
}

#[tokio::test]
async fn only_the_recorded_index_without_other_names_is_deleted() {
    let engine = two_generations(FakeEngine::open_search());
    let client = client(&engine);
    let deleted = client.delete_index(OLD, &["products_guard"]).await.unwrap();
    assert_eq!(deleted, Deletion::HeldBy(set(["products"])));
    let other = IndexRef {
        name: "products_g1",
        uuid: "another",
    };
    assert_eq!(
        client.delete_index(other, &["products"]).await.unwrap(),
        Deletion::Foreign
    );
    let alias = IndexRef {
        name: "products",
        uuid: "u1",
    };
    assert_eq!(
        client.delete_index(alias, &["products"]).await.unwrap(),
        Deletion::Foreign
    );
    assert_eq!(engine.changes(), [""; 0]);

    assert_eq!(
        client.delete_index(OLD, &["products"]).await.unwrap(),
        Deletion::Deleted
    );
    assert_eq!(
        client.delete_index(OLD, &["products"]).await.unwrap(),
        Deletion::AlreadyGone
    );
    assert_eq!(engine.changes(), ["DELETE /products_g1"]);
}

#[tokio::test]
async fn an_alias_is_added_to_the_recorded_index_alone() {
    let engine = two_generations(FakeEngine::open_search());
    let client = client(&engine);
    assert_eq!(client.add_alias("guard", NEW).await, Ok(true));
    assert_eq!(client.add_alias("guard", NEW).await, Ok(true));
    assert_eq!(
        client.add_alias("guard", IndexRef { uuid: "other", ..NEW }).await,
        Ok(false)
    );
    assert_eq!(engine.state().aliases["guard"], set(["products_g2"]));
}

#[tokio::test]
async fn names_that_could_mean_more_than_one_index_never_leave() {
    let engine = two_generations(FakeEngine::open_search());
    let client = client(&engine);
    for name in [
        "",
        "*",
        "_all",
        "products_*",
        "a,b",
        "-products",
        "../x",
        "a/b",
        "a?b",
        "<a-{now}>",
        "a b",
        "%2A",
    ] {
        let index = IndexRef { name, uuid: "u1" };
        let error = client.delete_index(index, &[]).await.unwrap_err();
        assert_eq!(error, SearchError::InvalidName { name: name.into() });
    }
    for name in ["", "*", "**", "_*", "a,*", "-a*"] {
        assert!(
            matches!(client.indices(name).await, Err(SearchError::InvalidName { .. })),
            "{name}"
        );
    }
    assert_eq!(engine.state().asks, [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn no_change_is_sent_while_the_fence_is_closed_and_none_is_waited_for_when_it_closes() {
    struct Silent;
    impl Transport for Silent {
        fn send(&self, _: Ask) -> futures::future::BoxFuture<'_, Result<Answer, TransportError>> {
            Box::pin(std::future::pending())
        }
    }
    let (keeper, fence) = fence();
    let engine = two_generations(FakeEngine::open_search());
    let fenced = SearchClient::new(Arc::new(engine.clone()), fence.clone());
    assert_eq!(
        fenced.delete_index(OLD, &["products"]).await,
        Err(SearchError::Fenced)
    );
    assert_eq!(engine.changes(), [""; 0]);

    keeper.set(Some(Instant::now() + Duration::from_secs(10)));
    let silent = SearchClient::new(Arc::new(Silent), fence);
    let error = silent.write(Method::DELETE, "/x".into(), None).await.unwrap_err();
    assert!(matches!(error, SearchError::OutcomeUnknown { .. }), "{error:?}");
}
