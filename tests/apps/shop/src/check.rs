//! `check`: the index compared with the database, one by one.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::{
    database::Database,
    error::Error,
    output,
    product::Product,
    search::{Found, Search},
    settings::{Settings, Version},
};

/// Rows compared at a time.
const BATCH: i64 = 1_000;
/// Ids that are named for whoever looks into a difference.
const EXAMPLES: usize = 10;

/// The result, as printed.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
struct Comparison {
    /// Documents in the index.
    documents: u64,
    /// Products for sale that the index lacks.
    missing: u64,
    /// Documents that differ from their row, by revision or by content.
    stale: u64,
    /// Documents whose product is deleted or never was.
    extra: u64,
    /// Ids of the first differences.
    examples: Vec<i64>,
}

/// Compares and prints one line of JSON. It exits 0 whenever the comparison could be made. Nobody should write
/// meanwhile: what changes between the two readings is a difference.
pub(crate) async fn check(settings: &Settings) -> Result<(), Error> {
    let database = Database::new(settings)?;
    let search = Search::new(settings)?;
    let index = search.own_index(&settings.alias).await?;
    search.refresh(&index).await?;
    let mut comparison = Comparison::default();
    let mut last_id = 0;
    loop {
        let products = database.all_after(last_id, BATCH).await?;
        // After the last row, whatever else the index has.
        let up_to = products.last().map(|product| product.id);
        let found = search.range(&index, last_id, up_to).await?;
        comparison.add(&products, found, settings.version);
        match up_to {
            Some(id) => last_id = id,
            None => break,
        }
    }
    let text = serde_json::to_string(&comparison).map_err(|error| Error::System {
        what: "print the comparison".to_owned(),
        source: error.into(),
    })?;
    output::line(&text);
    Ok(())
}

impl Comparison {
    /// Both sides of the same range of ids.
    fn add(&mut self, products: &[Product], found: Vec<Found>, version: Version) {
        self.documents += found.len() as u64;
        let mut found: BTreeMap<i64, Found> = found.into_iter().map(|found| (found.id, found)).collect();
        for product in products.iter().filter(|product| !product.deleted) {
            match found.remove(&product.id) {
                None => {
                    self.missing += 1;
                    self.example(product.id);
                }
                Some(found)
                    if found.version != product.revision || found.source != product.document(version) =>
                {
                    self.stale += 1;
                    self.example(product.id);
                }
                Some(_) => {}
            }
        }
        self.extra += found.len() as u64;
        for id in found.into_keys() {
            self.example(id);
        }
    }

    fn example(&mut self, id: i64) {
        if self.examples.len() < EXAMPLES {
            self.examples.push(id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn product(id: i64, revision: i64, deleted: bool) -> Product {
        Product {
            id,
            name: format!("Lamp {id}"),
            description: String::new(),
            price_cents: 5,
            brand: Some("Lumen".to_owned()),
            revision,
            deleted,
        }
    }

    fn document(product: &Product, version: Version) -> Found {
        Found {
            id: product.id,
            version: product.revision,
            source: product.document(version),
        }
    }

    #[test]
    fn each_kind_of_difference_is_counted_once() {
        let same = product(1, 1, false);
        let missing = product(2, 1, false);
        let older = product(3, 2, false);
        let deleted = product(4, 2, true);
        let found = vec![
            document(&same, Version::Two),
            document(&product(3, 1, false), Version::Two),
            document(&product(4, 1, false), Version::Two),
            document(&product(5, 1, false), Version::Two),
        ];
        let mut comparison = Comparison::default();
        comparison.add(&[same, missing, older, deleted], found, Version::Two);
        let expected = Comparison {
            documents: 4,
            missing: 1,
            stale: 1,
            extra: 2,
            examples: vec![2, 3, 4, 5],
        };
        assert_eq!(comparison, expected);
    }

    #[test]
    fn the_same_revision_with_other_content_is_stale() {
        let row = product(1, 1, false);
        let mut comparison = Comparison::default();
        comparison.add(
            std::slice::from_ref(&row),
            vec![document(&row, Version::One)],
            Version::Two,
        );
        assert_eq!(comparison.stale, 1);
    }
}
