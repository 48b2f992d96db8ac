//! The pages. Whatever fails inside is a 500 with its reason: the shop has nothing to hide.

use std::{sync::Arc, time::Duration};

use axum::{
    Json,
    extract::{Path, Query, State},
    response::{IntoResponse, Response},
};
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use super::Shop;
use crate::{error::Error, faults::Crash, product::Draft};

/// Products on the first page.
const NEWEST: i64 = 10;
/// A readiness probe must answer before the kubelet gives up on it, after 3 s in our manifests.
const PROBE_TIMEOUT: Duration = Duration::from_millis(2_500);

type Shared = State<Arc<Shop>>;

/// Why a page is not 200.
pub(super) enum Failure {
    /// 404.
    NotFound,
    /// 422: the client's fault, with what to change.
    Refused(&'static str),
    /// 500.
    Broken(Error),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Broken(error)
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let (status, error) = match self {
            Self::NotFound => (StatusCode::NOT_FOUND, "no such product".to_owned()),
            Self::Refused(reason) => (StatusCode::UNPROCESSABLE_ENTITY, reason.to_owned()),
            Self::Broken(error) => {
                tracing::error!(%error, "request failed");
                (StatusCode::INTERNAL_SERVER_ERROR, error.to_string())
            }
        };
        (status, Json(json!({"error": error}))).into_response()
    }
}

/// The process is alive.
pub(super) async fn alive() -> &'static str {
    "ok"
}

/// The database answers, and the index that this process reads is there.
pub(super) async fn ready(State(shop): Shared) -> Result<&'static str, (StatusCode, String)> {
    let unavailable = |reason: String| (StatusCode::SERVICE_UNAVAILABLE, reason);
    if shop.settings.faults.crash == Some(Crash::NeverReady) {
        return Err(unavailable("never ready, as the environment asks".to_owned()));
    }
    let alias = &shop.settings.alias;
    let probe = async {
        shop.database.ping().await?;
        shop.search.indices_of(alias).await
    };
    match tokio::time::timeout(PROBE_TIMEOUT, probe).await {
        Ok(Ok(indices)) if indices.is_empty() => Err(unavailable(format!("there is no index {alias}"))),
        Ok(Ok(_)) => Ok("ok"),
        Ok(Err(error)) => Err(unavailable(error.to_string())),
        Err(_) => Err(unavailable(
            "database or search engine did not answer in time".to_owned(),
        )),
    }
}

/// `GET /`: the newest products, from the database.
pub(super) async fn newest(State(shop): Shared) -> Result<Json<Value>, Failure> {
    let products = shop.database.newest(NEWEST).await?;
    Ok(Json(
        json!({"version": shop.settings.version.number(), "newest": products}),
    ))
}

/// `GET /products/{id}`: one product, from the database.
pub(super) async fn product(State(shop): Shared, Path(id): Path<i64>) -> Result<Json<Value>, Failure> {
    let product = shop.database.find(id).await?.ok_or(Failure::NotFound)?;
    Ok(Json(json!(product)))
}

/// The query of a search.
#[derive(Deserialize)]
pub(super) struct Words {
    #[serde(default)]
    q: String,
}

/// `GET /search?q=…`: products, from the index.
pub(super) async fn search(State(shop): Shared, Query(words): Query<Words>) -> Result<Json<Value>, Failure> {
    let mut found = shop.search.find(&shop.settings.alias, &words.q).await?;
    if let Some(found) = found.as_object_mut() {
        found.insert("version".to_owned(), json!(shop.settings.version.number()));
    }
    Ok(Json(found))
}

/// `POST /products`: a new product, to the database and then to the index.
pub(super) async fn insert(
    State(shop): Shared,
    Json(draft): Json<Draft>,
) -> Result<(StatusCode, Json<Value>), Failure> {
    draft
        .refused()
        .map_or(Ok(()), |reason| Err(Failure::Refused(reason)))?;
    let product = shop.database.insert(&draft).await?;
    shop.search.write(&shop.settings.alias, &product).await?;
    Ok((StatusCode::CREATED, Json(json!(product))))
}

/// `PUT /products/{id}`: a changed product.
pub(super) async fn update(
    State(shop): Shared,
    Path(id): Path<i64>,
    Json(draft): Json<Draft>,
) -> Result<Json<Value>, Failure> {
    draft
        .refused()
        .map_or(Ok(()), |reason| Err(Failure::Refused(reason)))?;
    let product = shop.database.update(id, &draft).await?.ok_or(Failure::NotFound)?;
    shop.search.write(&shop.settings.alias, &product).await?;
    Ok(Json(json!(product)))
}

/// `DELETE /products/{id}`: marked in the database, removed from the index.
pub(super) async fn delete(State(shop): Shared, Path(id): Path<i64>) -> Result<StatusCode, Failure> {
    let product = shop.database.delete(id).await?.ok_or(Failure::NotFound)?;
    shop.search.write(&shop.settings.alias, &product).await?;
    Ok(StatusCode::NO_CONTENT)
}
