//! `load`: fills an empty database.

use serde_json::json;

use crate::{database::Database, error::Error, output, settings::Settings};

/// Rows of one statement: few statements, and still a line of progress now and then.
const BATCH: u32 = 10_000;

/// Deterministic: product 17 is the same in every database.
const INSERT: &str = "
    insert into products (name, description, price_cents)
    select
        (array['Amber','Blue','Copper','Desert','Early','Forest','Golden','Humble','Iron','Jolly'])[1 + n % 10]
            || ' ' || (array['Lamp','Chair','Table','Shelf','Kettle','Carpet','Mirror'])[1 + n % 7]
            || ' No. ' || n,
        'Made of '
            || (array['oak','steel','glass','linen','clay'])[1 + n % 5]
            || ', item ' || n || ' of the collection, delivered within ' || (1 + n % 9) || ' days.',
        100 + (n * 7919) % 100000
    from generate_series($1::bigint, $2::bigint) as n
    order by n";

/// Inserts `products` rows. Rows that are already there would make the result depend on what happened before.
pub(crate) async fn load(settings: &Settings, products: u32) -> Result<(), Error> {
    let database = Database::new(settings)?;
    let present = database.count().await?;
    if present > 0 {
        return Err(Error::Settings(format!(
            "the database has {present} products; load wants an empty one"
        )));
    }
    let mut done = 0;
    while done < products {
        let last = products.min(done.saturating_add(BATCH));
        sqlx::query(INSERT)
            .bind(i64::from(done) + 1)
            .bind(i64::from(last))
            .execute(&database.pool)
            .await
            .map_err(Error::database("insert products"))?;
        done = last;
        output::progress(done.into(), products.into(), "products");
    }
    output::result(&json!({"products": products}));
    Ok(())
}
