//! What can go wrong, said so that the last line of a task's output explains it.

/// A failure of the shop or of one of its parts.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The environment is wrong.
    #[error("{0}")]
    Settings(String),
    /// PostgreSQL refused or could not be reached.
    #[error("cannot {what}: {}", words(source))]
    Database {
        /// What was attempted.
        what: &'static str,
        /// The driver's error, with PostgreSQL's own words.
        source: sqlx::Error,
    },
    /// One migration failed.
    #[error("migration {name} failed: {}", words(source))]
    Migration {
        /// Its file name without the ending.
        name: String,
        /// The driver's error, with PostgreSQL's own words.
        source: sqlx::migrate::MigrateError,
    },
    /// The search engine refused or could not be reached.
    #[error("cannot {what}: {reason}")]
    Search {
        /// What was attempted, on which index.
        what: String,
        /// The engine's own words, or why no answer came.
        reason: String,
    },
    /// The index under our alias was built for another version of the shop.
    #[error("index {alias} belongs to version {found} of the shop, this is version {wanted}")]
    WrongIndex {
        /// The alias that was read.
        alias: String,
        /// The version in the mapping's marker; `none` without one.
        found: String,
        /// Our own version.
        wanted: u8,
    },
    /// The network or the operating system refused.
    #[error("cannot {what}: {source}")]
    System {
        /// What was attempted.
        what: String,
        /// The system's error.
        source: std::io::Error,
    },
    /// A fault that a test asked for.
    #[error("{0} (asked for by the environment)")]
    Fault(&'static str),
}

impl Error {
    /// For `map_err` after a database call.
    pub(crate) fn database(what: &'static str) -> impl FnOnce(sqlx::Error) -> Self {
        move |source| Self::Database { what, source }
    }
}

/// PostgreSQL's own words where it said something, the driver's otherwise.
fn words(error: &(dyn std::error::Error + 'static)) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    let said = causes
        .filter_map(|cause| cause.downcast_ref::<sqlx::Error>())
        .find_map(sqlx::Error::as_database_error);
    said.map_or_else(|| error.to_string(), |said| said.message().to_owned())
}
