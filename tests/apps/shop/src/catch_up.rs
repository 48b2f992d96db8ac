//! `catch-up`: what changed in the database since a moment, brought into the index.

use jiff::Timestamp;
use serde_json::json;

use crate::{
    database::Database,
    error::Error,
    output,
    search::{Search, Written},
    settings::Settings,
};

/// Rows of one bulk request.
const BATCH: i64 = 500;

/// Writes every row changed since `RELEASE_SINCE`, and removes the deleted ones. It may run as often as one likes.
pub(crate) async fn catch_up(settings: &Settings) -> Result<(), Error> {
    let since = since(settings)?;
    let database = Database::new(settings)?;
    let search = Search::new(settings)?;
    let index = search.own_index(&settings.alias).await?;
    let mut written = Written::default();
    let mut last_id = 0;
    loop {
        let products = database.changed_after(since, last_id, BATCH).await?;
        let Some(last) = products.last() else {
            break;
        };
        last_id = last.id;
        let Written { indexed, deleted } = search.bulk(&index, &products).await?;
        written.indexed += indexed;
        written.deleted += deleted;
    }
    search.refresh(&index).await?;
    output::line(&format!("caught up {index} with changes since {since}"));
    output::result(&json!({"indexed": written.indexed, "deleted": written.deleted}));
    Ok(())
}

fn since(settings: &Settings) -> Result<Timestamp, Error> {
    let text = settings
        .since
        .as_deref()
        .ok_or_else(|| Error::Settings("RELEASE_SINCE is not set".to_owned()))?;
    text.parse().map_err(|_| {
        let text = format!("RELEASE_SINCE is {text}; set it to a time such as 2026-11-21T10:41:07Z");
        Error::Settings(text)
    })
}
