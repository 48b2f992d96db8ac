//! The search client against a real engine, OpenSearch or Elasticsearch. Run it with the engine's URL:
//! `SLIPWAY_SEARCH_URL=http://127.0.0.1:9200 cargo test -p slipway-controller --test search_engine -- --ignored`
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "test code: a broken assumption ends the test"
)]

use std::{collections::BTreeSet, sync::Arc};

use http::Method;
use serde_json::{Value, json};
use slipway_controller::{
    leader::Fence,
    search::{
        AliasMove, Answer, Ask, Deletion, Health, HttpTransport, IndexFacts, IndexRef, Resolved,
        SearchClient, SearchError, Transport,
    },
};

/// An engine with a prefix of names that belongs to one test.
struct Engine {
    transport: HttpTransport,
    client: SearchClient,
}

impl Engine {
    async fn new() -> Self {
        drop(rustls::crypto::ring::default_provider().install_default());
        let url = std::env::var("SLIPWAY_SEARCH_URL").expect("SLIPWAY_SEARCH_URL names a running engine");
        let transport = HttpTransport::new(&url, None).unwrap();
        let client = SearchClient::new(Arc::new(transport.clone()), Fence::always_open());
        let engine = Self { transport, client };
        for name in ["slipway_a", "slipway_b", "slipway_c"] {
            engine.send(Method::DELETE, &format!("/{name}"), None).await;
        }
        engine
    }

    async fn send(&self, method: Method, path: &str, body: Option<Value>) -> Answer {
        self.transport
            .send(Ask {
                method,
                path: path.to_owned(),
                body,
            })
            .await
            .unwrap()
    }

    /// Makes an index of two shards with this many documents.
    async fn index(&self, name: &str, documents: u32) -> IndexFacts {
        let settings = json!({"settings": {"number_of_shards": 2, "number_of_replicas": 1}});
        assert_eq!(
            self.send(Method::PUT, &format!("/{name}"), Some(settings))
                .await
                .status,
            200
        );
        for id in 0..documents {
            let written = self
                .send(
                    Method::PUT,
                    &format!("/{name}/_doc/{id}"),
                    Some(json!({"id": id})),
                )
                .await;
            assert_eq!(written.status, 201);
        }
        self.facts(name).await
    }

    async fn facts(&self, name: &str) -> IndexFacts {
        match self.client.resolve(name).await.unwrap() {
            Resolved::Index(facts) => facts,
            other @ (Resolved::Absent | Resolved::Alias(_)) => panic!("{name} is {other:?}"),
        }
    }
}

fn reference(facts: &IndexFacts) -> IndexRef<'_> {
    IndexRef {
        name: &facts.name,
        uuid: &facts.uuid,
    }
}

#[tokio::test]
#[ignore = "needs a search engine"]
async fn a_real_engine_behaves_as_the_client_believes() {
    let engine = Engine::new().await;
    let client = &engine.client;
    let root = client.root().await.unwrap();
    println!("{root:?}, must_exist {}", root.must_exist());
    assert!(root.supported());

    let a = engine.index("slipway_a", 7).await;
    let b = engine.index("slipway_b", 3).await;
    reads(&engine, &a).await;
    moves(&engine, &root, &a, &b).await;
    deletions(&engine, &a, &b).await;
}

async fn reads(engine: &Engine, a: &IndexFacts) {
    let client = &engine.client;
    assert!(a.open && !a.write_blocked && !a.uuid.is_empty());
    let age = jiff::Timestamp::now().duration_since(a.created);
    assert!(age.as_secs().abs() < 300, "created {}", a.created);

    client.refresh("slipway_a").await.unwrap();
    assert_eq!(client.count("slipway_a").await.unwrap(), 7);
    assert_eq!(
        client
            .documents_shown("slipway_*")
            .await
            .unwrap()
            .get("slipway_a"),
        Some(&7)
    );
    assert_eq!(client.health("slipway_a").await.unwrap(), Health::Yellow);
    assert_eq!(client.health("slipway_none").await.unwrap(), Health::Red);

    let mark = client.watermark("slipway_a").await.unwrap().unwrap();
    assert_eq!(mark.uuid, a.uuid);
    assert_eq!(mark.shards.len(), 2);
    assert_eq!(
        mark.shards
            .values()
            .map(|shard| shard.max_seq_no + 1)
            .sum::<i64>(),
        7
    );
    assert_eq!(client.watermark("slipway_a").await.unwrap().unwrap(), mark);
    engine
        .send(Method::PUT, "/slipway_a/_doc/7", Some(json!({"id": 7})))
        .await;
    assert_ne!(client.watermark("slipway_a").await.unwrap().unwrap(), mark);
    assert_eq!(client.watermark("slipway_none").await.unwrap(), None);

    assert_eq!(client.resolve("slipway_none").await.unwrap(), Resolved::Absent);
    assert_eq!(client.indices("slipway_none*").await.unwrap(), []);
    let names: Vec<_> = client
        .indices("slipway_*")
        .await
        .unwrap()
        .into_iter()
        .map(|index| index.name)
        .collect();
    assert_eq!(names, ["slipway_a", "slipway_b"]);

    let block = json!({"index.blocks.write": true});
    engine
        .send(Method::PUT, "/slipway_a/_settings", Some(block))
        .await;
    assert!(engine.facts("slipway_a").await.write_blocked);
    engine
        .send(
            Method::PUT,
            "/slipway_a/_settings",
            Some(json!({"index.blocks.write": null})),
        )
        .await;
    assert!(!engine.facts("slipway_a").await.write_blocked);
    engine.send(Method::POST, "/slipway_b/_close", None).await;
    assert!(!engine.facts("slipway_b").await.open);
    engine.send(Method::POST, "/slipway_b/_open", None).await;
    assert!(engine.facts("slipway_b").await.open);
}

async fn moves(engine: &Engine, root: &slipway_controller::search::Root, a: &IndexFacts, b: &IndexFacts) {
    let client = &engine.client;
    let to = |index| client.move_alias(root, "slipway", None, reference(index));
    assert_eq!(to(a).await, Ok(AliasMove::Moved));
    assert_eq!(to(a).await, Ok(AliasMove::AlreadyThere));
    assert_eq!(
        to(b).await,
        Ok(AliasMove::Conflict(BTreeSet::from(["slipway_a".to_owned()])))
    );
    let Resolved::Alias(on) = client.resolve("slipway").await.unwrap() else {
        panic!("no alias")
    };
    assert_eq!(on, [engine.facts("slipway_a").await]);

    let from_a = client
        .move_alias(root, "slipway", Some("slipway_a"), reference(b))
        .await;
    assert_eq!(from_a, Ok(AliasMove::Moved));
    let again = client
        .move_alias(root, "slipway", Some("slipway_a"), reference(a))
        .await;
    assert_eq!(
        again,
        Ok(AliasMove::Conflict(BTreeSet::from(["slipway_b".to_owned()])))
    );
    let found = client
        .aliases(&["slipway", "slipway_missing", "slipw*"])
        .await
        .unwrap();
    assert_eq!(
        found.into_iter().collect::<Vec<_>>(),
        [("slipway".to_owned(), BTreeSet::from(["slipway_b".to_owned()]))]
    );

    // What `must_exist` is for: the engine itself refuses all of a change whose alias is not where it was.
    let raw = json!({"actions": [
        {"remove": {"index": "slipway_a", "alias": "slipway", "must_exist": true}},
        {"add": {"index": "slipway_a", "alias": "slipway"}},
    ]});
    let answer = engine.send(Method::POST, "/_aliases", Some(raw)).await;
    assert_eq!(
        answer.status,
        if root.must_exist() { 404 } else { 400 },
        "{answer:?}"
    );
    let concrete = client.move_alias(root, "slipway_a", None, reference(b)).await;
    assert!(
        matches!(concrete, Err(SearchError::Refused { status: 400, .. })),
        "{concrete:?}"
    );
}

async fn deletions(engine: &Engine, a: &IndexFacts, b: &IndexFacts) {
    let client = &engine.client;
    assert_eq!(client.add_alias("slipway_guard", reference(a)).await, Ok(true));
    let held = client.delete_index(reference(a), &[]).await;
    assert_eq!(
        held,
        Ok(Deletion::HeldBy(BTreeSet::from(["slipway_guard".to_owned()])))
    );
    let anew = IndexRef {
        name: "slipway_b",
        uuid: &a.uuid,
    };
    assert_eq!(
        client.delete_index(anew, &["slipway"]).await,
        Ok(Deletion::Foreign)
    );
    let alias = IndexRef {
        name: "slipway",
        uuid: &b.uuid,
    };
    assert_eq!(
        client.delete_index(alias, &["slipway"]).await,
        Ok(Deletion::Foreign)
    );
    assert_eq!(
        client.delete_index(reference(a), &["slipway_guard"]).await,
        Ok(Deletion::Deleted)
    );
    assert_eq!(
        client.delete_index(reference(a), &["slipway_guard"]).await,
        Ok(Deletion::AlreadyGone)
    );
    assert_eq!(
        client.delete_index(reference(b), &["slipway"]).await,
        Ok(Deletion::Deleted)
    );
    assert_eq!(
        client.aliases(&["slipway", "slipway_guard"]).await.unwrap().len(),
        0
    );
}
