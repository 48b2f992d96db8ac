//! A product, as a row and as a document of the index.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sqlx::{FromRow, Row, postgres::PgRow};

use crate::settings::Version;

/// One row of `products`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Product {
    /// The row's key and the document's.
    pub(crate) id: i64,
    /// What a customer sees first.
    pub(crate) name: String,
    /// A sentence.
    pub(crate) description: String,
    /// In cents, never negative.
    pub(crate) price_cents: i64,
    /// Version 2 only: version 1 does not read the column, which may not be there yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) brand: Option<String>,
    /// Grows by one with each change of the row.
    pub(crate) revision: i64,
    /// Only the catch-up and the comparison read deleted rows.
    #[serde(skip)]
    pub(crate) deleted: bool,
}

/// What a client sends. Both versions take the same body; version 1 ignores `brand`.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Draft {
    /// At least one character.
    pub(crate) name: String,
    /// May be left out.
    #[serde(default)]
    pub(crate) description: String,
    /// 0 or more.
    pub(crate) price_cents: i64,
    /// May be left out.
    #[serde(default = "unbranded")]
    pub(crate) brand: String,
}

fn unbranded() -> String {
    "unbranded".to_owned()
}

impl Draft {
    /// What to change, for a client that sent nonsense.
    pub(crate) fn refused(&self) -> Option<&'static str> {
        if self.name.is_empty() {
            Some("name is empty")
        } else if self.price_cents < 0 {
            Some("price_cents is negative")
        } else {
            None
        }
    }
}

impl Product {
    /// The document that this version of the shop puts into its index.
    pub(crate) fn document(&self, version: Version) -> Value {
        let Self {
            id,
            name,
            description,
            price_cents,
            brand,
            revision: _,
            deleted: _,
        } = self;
        match version {
            Version::One => {
                json!({"id": id, "name": name, "description": description, "price_cents": price_cents})
            }
            Version::Two => json!({
                "id": id, "title": name, "description": description, "brand": brand, "price_cents": price_cents,
            }),
        }
    }
}

/// The columns of a [`Product`]. Never `*`: a column added by a newer version would change the result of statements
/// that running processes have prepared, and PostgreSQL refuses those ("cached plan must not change result type").
pub(crate) fn columns(version: Version) -> &'static str {
    match version {
        Version::One => {
            "id, name, description, price_cents, null::text as brand, revision, deleted_at is not null as deleted"
        }
        Version::Two => {
            "id, name, description, price_cents, brand, revision, deleted_at is not null as deleted"
        }
    }
}

impl FromRow<'_, PgRow> for Product {
    fn from_row(row: &PgRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            id: row.try_get("id")?,
            name: row.try_get("name")?,
            description: row.try_get("description")?,
            price_cents: row.try_get("price_cents")?,
            brand: row.try_get("brand")?,
            revision: row.try_get("revision")?,
            deleted: row.try_get("deleted")?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lamp() -> Product {
        Product {
            id: 7,
            name: "Lamp".to_owned(),
            description: "Gives light".to_owned(),
            price_cents: 1999,
            brand: Some("Lumen".to_owned()),
            revision: 3,
            deleted: false,
        }
    }

    #[test]
    fn the_versions_write_different_documents() {
        assert_eq!(
            lamp().document(Version::One),
            json!({"id": 7, "name": "Lamp", "description": "Gives light", "price_cents": 1999})
        );
        assert_eq!(
            lamp().document(Version::Two),
            json!({
                "id": 7, "title": "Lamp", "description": "Gives light", "brand": "Lumen", "price_cents": 1999,
            })
        );
    }

    #[test]
    fn only_version_2_reads_the_new_column() {
        assert!(columns(Version::One).contains("null::text as brand,"));
        assert!(columns(Version::Two).contains("price_cents, brand,"));
    }

    #[test]
    fn nonsense_is_refused() {
        let draft = |name: &str, price_cents| Draft {
            name: name.to_owned(),
            description: String::new(),
            price_cents,
            brand: unbranded(),
        };
        assert_eq!(draft("Lamp", 0).refused(), None);
        assert_eq!(draft("", 1).refused(), Some("name is empty"));
        assert_eq!(draft("Lamp", -1).refused(), Some("price_cents is negative"));
    }
}
