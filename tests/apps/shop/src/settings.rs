//! The environment, read once at start.

use std::time::Duration;

use crate::{
    error::Error,
    faults::{Faults, number},
};

/// Looks up one environment variable.
pub(crate) type Environment<'a> = &'a dyn Fn(&str) -> Option<String>;

/// The alias of the product index as a first adopter's code knows it, unless `SHOP_INDEX` names another one.
const PRODUCTS: &str = "products";

/// The version of the shop that this process is. One binary plays both, so that the tests build only one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Version {
    /// Products have a name.
    One,
    /// Products also have a brand, and the index calls the name `title`.
    Two,
}

impl Version {
    /// 1 or 2.
    pub(crate) fn number(self) -> u8 {
        match self {
            Self::One => 1,
            Self::Two => 2,
        }
    }
}

/// Everything the environment says.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// `SHOP_VERSION`, part of the image.
    pub(crate) version: Version,
    database_url: Option<String>,
    search_url: Option<String>,
    /// `SHOP_INDEX`, or `products`: the alias that readers without a generation use.
    pub(crate) live_alias: String,
    /// The live alias, or `<live alias>_<SEARCH_INDEX_GENERATION>` where that is set: the alias this process reads and
    /// writes.
    pub(crate) alias: String,
    /// `PORT`.
    pub(crate) port: u16,
    /// `SHOP_DRAIN_SECONDS`: how long to go on accepting after SIGTERM, until no client is sent here any more.
    pub(crate) drain: Duration,
    /// `RELEASE_SINCE`, as it is.
    pub(crate) since: Option<String>,
    /// Switched-on faults.
    pub(crate) faults: Faults,
}

impl Settings {
    /// Reads the environment. An empty variable counts as not set.
    pub(crate) fn read(environment: Environment<'_>) -> Result<Self, Error> {
        let get = |name: &str| environment(name).filter(|value| !value.is_empty());
        let version = match get("SHOP_VERSION").as_deref() {
            Some("1") => Version::One,
            Some("2") => Version::Two,
            other => {
                let found = other.unwrap_or("not set");
                return Err(Error::Settings(format!(
                    "SHOP_VERSION is {found}; set it to 1 or 2"
                )));
            }
        };
        let live_alias = get("SHOP_INDEX").unwrap_or_else(|| PRODUCTS.to_owned());
        Ok(Self {
            version,
            database_url: get("DATABASE_URL"),
            search_url: get("SEARCH_URL"),
            alias: get("SEARCH_INDEX_GENERATION").map_or_else(
                || live_alias.clone(),
                |generation| format!("{live_alias}_{generation}"),
            ),
            live_alias,
            port: match get("PORT") {
                None => 8080,
                Some(text) => text.parse().map_err(|_| {
                    Error::Settings(format!("PORT is {text}; set it to a number up to 65535"))
                })?,
            },
            drain: match get("SHOP_DRAIN_SECONDS") {
                None => Duration::from_secs(2),
                Some(_) => Duration::from_secs(number("SHOP_DRAIN_SECONDS", environment)?.into()),
            },
            since: get("RELEASE_SINCE"),
            faults: Faults::read(environment)?,
        })
    }

    /// `DATABASE_URL`; `hello` and `nap` do without.
    pub(crate) fn database_url(&self) -> Result<&str, Error> {
        self.database_url
            .as_deref()
            .ok_or_else(|| not_set("DATABASE_URL"))
    }

    /// `SEARCH_URL`; only the commands that use the search engine need it.
    pub(crate) fn search_url(&self) -> Result<&str, Error> {
        self.search_url.as_deref().ok_or_else(|| not_set("SEARCH_URL"))
    }
}

fn not_set(name: &str) -> Error {
    Error::Settings(format!("{name} is not set"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&str, &str)]) -> Result<Settings, Error> {
        Settings::read(&|name| {
            pairs
                .iter()
                .find(|(known, _)| *known == name)
                .map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn without_a_generation_the_unsuffixed_alias_is_used() {
        let base = [("SHOP_VERSION", "1"), ("DATABASE_URL", "postgres://db/shop")];
        assert_eq!(read(&base).unwrap().alias, "products");
        let empty = [base[0], base[1], ("SEARCH_INDEX_GENERATION", "")];
        assert_eq!(read(&empty).unwrap().alias, "products");
        let set = [base[0], base[1], ("SEARCH_INDEX_GENERATION", "g7")];
        assert_eq!(read(&set).unwrap().alias, "products_g7");
        let named = [
            base[0],
            ("SHOP_INDEX", "goods"),
            ("SEARCH_INDEX_GENERATION", "g7"),
        ];
        assert_eq!(read(&named).unwrap().live_alias, "goods");
        assert_eq!(read(&named).unwrap().alias, "goods_g7");
    }

    #[test]
    fn what_is_missing_is_named() {
        assert_eq!(
            read(&[]).unwrap_err().to_string(),
            "SHOP_VERSION is not set; set it to 1 or 2"
        );
        let settings = read(&[("SHOP_VERSION", "2")]).unwrap();
        let error = settings.database_url().unwrap_err();
        assert_eq!(error.to_string(), "DATABASE_URL is not set");
        let settings = read(&[("SHOP_VERSION", "2"), ("DATABASE_URL", "postgres://db/shop")]).unwrap();
        assert_eq!(
            settings.search_url().unwrap_err().to_string(),
            "SEARCH_URL is not set"
        );
        assert_eq!(settings.drain, Duration::from_secs(2));
    }
}
