//! `assets`: publishes this version's static files.

use serde_json::json;

use crate::{database::Database, error::Error, output, settings::Settings};

/// The one static file. Each version has its own copy under its own digest, so that pages of the old version still
/// find theirs after the new version's are published.
const STYLE_SHEET: &str = include_str!("../assets/style.css");

const PUBLISH: &str = "
    insert into assets (digest, version, body)
    values (encode(sha256(convert_to($2, 'UTF8')), 'hex'), $1, $2)
    on conflict do nothing";

/// Stores the files of this version under their digests. The table stands for an object store: it is made here and
/// not by a migration, because a release publishes its files before it migrates.
pub(crate) async fn assets(settings: &Settings) -> Result<(), Error> {
    let database = Database::new(settings)?;
    let version = settings.version.number();
    let body = format!("/* shop {version} */\n{STYLE_SHEET}");
    sqlx::raw_sql(
        "create table if not exists assets (
            digest text primary key,
            version smallint not null,
            body text not null,
            published_at timestamptz not null default clock_timestamp()
        )",
    )
    .execute(&database.pool)
    .await
    .map_err(Error::database("make the table of assets"))?;
    sqlx::query(PUBLISH)
        .bind(i16::from(version))
        .bind(&body)
        .execute(&database.pool)
        .await
        .map_err(Error::database("publish an asset"))?;
    output::line("published style.css");
    output::result(&json!({"assets": 1}));
    Ok(())
}
