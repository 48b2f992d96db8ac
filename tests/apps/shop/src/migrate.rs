//! `migrate`: the migrations folder, up to this process's version.

use std::borrow::Cow;

use serde_json::json;
use sqlx::{
    ConnectOptions, PgConnection, SqlStr,
    migrate::{Migrate, Migration, MigrationType},
};

use crate::{
    database,
    error::Error,
    faults::Faults,
    output,
    settings::{Settings, Version},
};

/// sqlx's own name for the table of what has run.
const TABLE: &str = "_sqlx_migrations";

/// One file of `migrations/`.
struct File {
    number: i64,
    name: &'static str,
    /// The version of the shop that brought it.
    since: Version,
    sql: &'static str,
}

/// All of them, in order.
const FILES: [File; 3] = [
    File {
        number: 1,
        name: "0001_products",
        since: Version::One,
        sql: include_str!("../migrations/0001_products.sql"),
    },
    File {
        number: 2,
        name: "0002_work",
        since: Version::One,
        sql: include_str!("../migrations/0002_work.sql"),
    },
    File {
        number: 3,
        name: "0003_product_brand",
        since: Version::Two,
        sql: include_str!("../migrations/0003_product_brand.sql"),
    },
];

/// Fails as a migration of a careless author does. It runs after the others, so the database is left half-way.
const BROKEN: File = File {
    number: 9999,
    name: "9999_broken",
    since: Version::One,
    sql: "update products set prize_cents = 0 where prize_cents is null",
};

/// Runs what has not run yet, each file in one transaction with its entry in the table. Migrations of a newer version
/// that are already in the database are left alone.
pub(crate) async fn migrate(settings: &Settings) -> Result<(), Error> {
    let mut connection = database::options(settings)?
        .connect()
        .await
        .map_err(Error::database("connect to the database"))?;
    // The lock belongs to the session: it goes when the connection does, however this process ends.
    connection.lock().await.map_err(named("lock"))?;
    connection
        .ensure_migrations_table(TABLE)
        .await
        .map_err(named("table"))?;
    let applied = connection
        .list_applied_migrations(TABLE)
        .await
        .map_err(named("table"))?;
    let applied = |number| applied.iter().any(|migration| migration.version == number);
    sleep(&mut connection, settings.faults.migration_sleep).await?;
    let mut done = 0_u32;
    for file in pending(settings.version, &settings.faults, &applied) {
        output::line(&format!("migrating {}", file.name));
        connection
            .apply(TABLE, &migration(file))
            .await
            .map_err(named(file.name))?;
        done += 1;
    }
    connection.unlock().await.map_err(named("unlock"))?;
    output::result(&json!({"migrations": done}));
    Ok(())
}

fn pending<'a>(
    version: Version,
    faults: &Faults,
    applied: &'a dyn Fn(i64) -> bool,
) -> impl Iterator<Item = &'static File> + use<'a> {
    let own = FILES
        .iter()
        .filter(move |file| file.since <= version && !applied(file.number));
    own.chain(faults.fail_migration.then_some(&BROKEN))
}

fn migration(file: &File) -> Migration {
    let kind = MigrationType::Simple;
    Migration::new(
        file.number,
        Cow::Borrowed(file.name),
        kind,
        SqlStr::from_static(file.sql),
        false,
    )
}

async fn sleep(connection: &mut PgConnection, seconds: u32) -> Result<(), Error> {
    if seconds == 0 {
        return Ok(());
    }
    output::line(&format!(
        "sleeping {seconds} s inside the database, as the environment asks"
    ));
    sqlx::query("select pg_sleep($1)")
        .bind(f64::from(seconds))
        .execute(connection)
        .await
        .map_err(Error::database("sleep inside the database"))?;
    Ok(())
}

fn named(name: &str) -> impl FnOnce(sqlx::migrate::MigrateError) -> Error {
    move |source| Error::Migration {
        name: name.to_owned(),
        source,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(version: Version, faults: &Faults, applied: &dyn Fn(i64) -> bool) -> Vec<&'static str> {
        pending(version, faults, applied).map(|file| file.name).collect()
    }

    #[test]
    fn a_version_runs_its_own_migrations_and_older_ones() {
        let faults = Faults::default();
        assert_eq!(
            names(Version::One, &faults, &|_| false),
            ["0001_products", "0002_work"]
        );
        assert_eq!(
            names(Version::Two, &faults, &|number| number < 3),
            ["0003_product_brand"]
        );
        assert!(names(Version::One, &faults, &|_| true).is_empty());
    }

    #[test]
    fn the_broken_migration_comes_last_and_only_when_asked_for() {
        let faults = Faults {
            fail_migration: true,
            ..Faults::default()
        };
        assert_eq!(
            names(Version::Two, &faults, &|number| number < 3),
            ["0003_product_brand", "9999_broken"]
        );
    }

    #[test]
    fn files_are_numbered_as_they_are_named() {
        for (file, number) in FILES.iter().zip(1..) {
            assert_eq!(file.number, number);
            assert!(file.name.starts_with(&format!("{number:04}_")), "{}", file.name);
        }
    }
}
