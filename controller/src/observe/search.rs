//! What the search engine says, in one go.

use std::{collections::BTreeMap, net::IpAddr};

use slipway_crds::AliasName;
use slipway_engine::{
    observed::{IndexView, NameView, SearchFacts},
    search::{Counts, SearchQuestion},
};

use crate::{
    cache::Key,
    context::Context,
    error::chain,
    search::{Health, IndexFacts, Resolved, SearchClient, SearchError},
};

/// Asks the engine.
///
/// # Errors
/// Why it gives no usable answer.
pub(super) async fn ask(
    context: &Context,
    namespace: &str,
    question: &SearchQuestion,
) -> Result<SearchFacts, String> {
    let client = client(context, namespace, &question.url)?;
    facts(&client, question).await.map_err(|error| chain(&error))
}

/// The way to the engine: a host of one label is the Service of that name in the Release's namespace.
pub(crate) fn client(context: &Context, namespace: &str, url: &str) -> Result<SearchClient, String> {
    let host = url
        .split("://")
        .nth(1)
        .unwrap_or(url)
        .split([':', '/'])
        .next()
        .unwrap_or_default();
    let one_label = !host.contains('.') && !host.starts_with('[') && host != "localhost";
    let address: Option<IpAddr> = if one_label {
        let service = context.caches.services.get(&Key::new(namespace, host));
        let service = service.ok_or_else(|| format!("there is no Service {host} in this namespace"))?;
        Some(
            service
                .address
                .ok_or_else(|| format!("Service {host} has no cluster IP"))?,
        )
    } else {
        None
    };
    let transport = (context.connect)(url, address).map_err(|error| error.to_string())?;
    Ok(SearchClient::new(transport, context.fence.clone()))
}

async fn facts(client: &SearchClient, question: &SearchQuestion) -> Result<SearchFacts, SearchError> {
    let root = client.root().await?;
    let mut facts = SearchFacts {
        engine: root.to_string(),
        ..SearchFacts::default()
    };
    if !root.supported() {
        facts.unsupported = Some(format!(
            "{root} is too old: Slipway needs Elasticsearch 7.10 or OpenSearch 1.3, or newer"
        ));
        return Ok(facts);
    }
    let mut found: BTreeMap<String, IndexFacts> = BTreeMap::new();
    for name in &question.names {
        match client.resolve(name.as_str()).await? {
            Resolved::Absent => {}
            Resolved::Index(index) => {
                facts.names.insert(name.clone(), NameView::Index);
                found.insert(index.name.clone(), index);
            }
            Resolved::Alias(indices) => {
                let names = indices.iter().map(|index| index.name.as_str().into()).collect();
                facts.names.insert(name.clone(), NameView::Alias(names));
                found.extend(indices.into_iter().map(|index| (index.name.clone(), index)));
            }
        }
    }
    for prefix in &question.prefixes {
        let indices = client.indices(&format!("{prefix}*")).await?;
        found.extend(indices.into_iter().map(|index| (index.name.clone(), index)));
    }
    for name in &question.indices {
        if let Resolved::Index(index) = client.resolve(name.as_str()).await? {
            found.insert(index.name.clone(), index);
        }
    }
    for (name, index) in found {
        let view = index_view(client, &name, index, question.counts).await?;
        facts.indices.insert(name.into(), view);
    }
    Ok(facts)
}

async fn index_view(
    client: &SearchClient,
    name: &str,
    index: IndexFacts,
    counts: Counts,
) -> Result<IndexView, SearchError> {
    let aliases = client.aliases_on(name).await?.unwrap_or_default();
    let red = client.health(name).await? == Health::Red;
    let trouble = if red {
        Some("its health is red".to_owned())
    } else {
        index
            .write_blocked
            .then(|| "it refuses writes (a write block is set)".to_owned())
    };
    // An index without a primary shard cannot be counted.
    let documents = if red || !index.open || counts == Counts::No {
        0
    } else {
        if counts == Counts::Refreshed {
            client.refresh(name).await?;
        }
        i64::try_from(client.count(name).await?).unwrap_or(i64::MAX)
    };
    Ok(IndexView {
        uuid: index.uuid.into(),
        documents,
        aliases: aliases.into_iter().map(AliasName::from).collect(),
        trouble,
    })
}
