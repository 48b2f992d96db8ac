//! Faults that tests switch on by environment variables; the README lists them. None is on by default.

use std::time::Duration;

use crate::{error::Error, settings::Environment};

/// All switches.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Faults {
    /// `SHOP_FAIL_MIGRATION=sql`: the last migration names a column that does not exist.
    pub(crate) fail_migration: bool,
    /// `SHOP_MIGRATION_SLEEP`: seconds that the migration spends in `pg_sleep`, before it changes anything.
    pub(crate) migration_sleep: u32,
    /// `SHOP_IGNORE_SIGTERM`, `SHOP_EXIT_ZERO_ON_TERM`.
    pub(crate) on_terminate: OnTerminate,
    /// `SHOP_FAIL_REINDEX`.
    pub(crate) reindex: Option<ReindexFault>,
    /// `SHOP_MOVE_LIVE_ALIAS`: a reindex also points the unsuffixed alias to what it built.
    pub(crate) move_live_alias: bool,
    /// `SHOP_REINDEX_DELAY_MS`: a wait after each batch of a reindex.
    pub(crate) reindex_delay: Duration,
    /// `SHOP_CRASH`.
    pub(crate) crash: Option<Crash>,
}

/// What a task does on SIGTERM.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum OnTerminate {
    /// Ends half-way and says so by its exit code.
    #[default]
    Stop,
    /// Ends half-way and exits 0 all the same, as some frameworks do.
    ClaimSuccess,
    /// Goes on until its work is done or SIGKILL arrives.
    Ignore,
}

/// How a reindex fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ReindexFault {
    /// `exit`: stops half-way and exits 1.
    Exit,
    /// `few`: indexes a handful of documents and reports success.
    Few,
}

/// How the server fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Crash {
    /// `boot`: exits 1 before it listens.
    Boot,
    /// `never-ready`: serves, but its readiness probe never succeeds.
    NeverReady,
    /// `after=<seconds>`: serves, then exits 1, after each start anew. `loop` is three seconds.
    After(Duration),
}

impl Faults {
    /// Reads the switches. A value that means nothing is an error: a test must not pass because of a misspelling.
    pub(crate) fn read(environment: Environment<'_>) -> Result<Self, Error> {
        let flag = |name| match environment(name).as_deref() {
            None | Some("" | "0") => Ok(false),
            Some("1") => Ok(true),
            Some(other) => Err(unknown(name, other, "1")),
        };
        let on_terminate = match (flag("SHOP_IGNORE_SIGTERM")?, flag("SHOP_EXIT_ZERO_ON_TERM")?) {
            (false, false) => OnTerminate::Stop,
            (false, true) => OnTerminate::ClaimSuccess,
            (true, false) => OnTerminate::Ignore,
            (true, true) => {
                let text = "set only one of SHOP_IGNORE_SIGTERM and SHOP_EXIT_ZERO_ON_TERM";
                return Err(Error::Settings(text.to_owned()));
            }
        };
        Ok(Self {
            fail_migration: match environment("SHOP_FAIL_MIGRATION").as_deref() {
                None | Some("") => false,
                Some("sql") => true,
                Some(other) => return Err(unknown("SHOP_FAIL_MIGRATION", other, "sql")),
            },
            migration_sleep: number("SHOP_MIGRATION_SLEEP", environment)?,
            on_terminate,
            reindex: match environment("SHOP_FAIL_REINDEX").as_deref() {
                None | Some("") => None,
                Some("exit") => Some(ReindexFault::Exit),
                Some("few") => Some(ReindexFault::Few),
                Some(other) => return Err(unknown("SHOP_FAIL_REINDEX", other, "exit, few")),
            },
            move_live_alias: flag("SHOP_MOVE_LIVE_ALIAS")?,
            reindex_delay: Duration::from_millis(number("SHOP_REINDEX_DELAY_MS", environment)?.into()),
            crash: environment("SHOP_CRASH")
                .filter(|text| !text.is_empty())
                .map(|text| crash(&text))
                .transpose()?,
        })
    }
}

fn crash(text: &str) -> Result<Crash, Error> {
    let refused = || unknown("SHOP_CRASH", text, "boot, loop, never-ready, after=<seconds>");
    match text {
        "boot" => Ok(Crash::Boot),
        "never-ready" => Ok(Crash::NeverReady),
        "loop" => Ok(Crash::After(Duration::from_secs(3))),
        other => {
            let seconds = other
                .strip_prefix("after=")
                .and_then(|seconds| seconds.parse().ok());
            seconds
                .map(|seconds| Crash::After(Duration::from_secs(seconds)))
                .ok_or_else(refused)
        }
    }
}

/// Reads a whole number; 0 when the variable is not set.
pub(crate) fn number(name: &str, environment: Environment<'_>) -> Result<u32, Error> {
    match environment(name).as_deref() {
        None | Some("") => Ok(0),
        Some(text) => text.parse().map_err(|_| unknown(name, text, "a whole number")),
    }
}

fn unknown(name: &str, value: &str, known: &str) -> Error {
    Error::Settings(format!("{name}={value} means nothing here; known: {known}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&str, &str)]) -> Result<Faults, Error> {
        Faults::read(&|name| {
            pairs
                .iter()
                .find(|(known, _)| *known == name)
                .map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn nothing_is_on_by_default() {
        assert_eq!(read(&[]).unwrap(), Faults::default());
        assert_eq!(
            read(&[("SHOP_CRASH", ""), ("SHOP_MOVE_LIVE_ALIAS", "0")]).unwrap(),
            Faults::default()
        );
    }

    #[test]
    fn each_switch_is_understood() {
        let seconds = |seconds| Some(Crash::After(Duration::from_secs(seconds)));
        assert!(read(&[("SHOP_FAIL_MIGRATION", "sql")]).unwrap().fail_migration);
        assert_eq!(read(&[("SHOP_MIGRATION_SLEEP", "9")]).unwrap().migration_sleep, 9);
        assert_eq!(
            read(&[("SHOP_IGNORE_SIGTERM", "1")]).unwrap().on_terminate,
            OnTerminate::Ignore
        );
        assert_eq!(
            read(&[("SHOP_EXIT_ZERO_ON_TERM", "1")]).unwrap().on_terminate,
            OnTerminate::ClaimSuccess
        );
        assert_eq!(
            read(&[("SHOP_FAIL_REINDEX", "few")]).unwrap().reindex,
            Some(ReindexFault::Few)
        );
        assert_eq!(
            read(&[("SHOP_REINDEX_DELAY_MS", "5")]).unwrap().reindex_delay,
            Duration::from_millis(5)
        );
        assert_eq!(read(&[("SHOP_CRASH", "after=40")]).unwrap().crash, seconds(40));
        assert_eq!(read(&[("SHOP_CRASH", "loop")]).unwrap().crash, seconds(3));
    }

    #[test]
    fn a_misspelled_switch_is_refused_and_the_known_values_are_named() {
        let error = read(&[("SHOP_CRASH", "after")]).unwrap_err().to_string();
        assert_eq!(
            error,
            "SHOP_CRASH=after means nothing here; known: boot, loop, never-ready, after=<seconds>"
        );
        assert!(read(&[("SHOP_FAIL_REINDEX", "half")]).is_err());
        assert!(read(&[("SHOP_MOVE_LIVE_ALIAS", "yes")]).is_err());
        assert!(read(&[("SHOP_IGNORE_SIGTERM", "1"), ("SHOP_EXIT_ZERO_ON_TERM", "1")]).is_err());
    }
}
