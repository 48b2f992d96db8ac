//! `reindex`: a new index from the database, in the manner of searchkick.

use jiff::Timestamp;
use serde_json::json;

use crate::{
    database::Database,
    error::Error,
    faults::ReindexFault,
    output,
    search::{Search, physical_name},
    settings::Settings,
};

/// Rows of one bulk request.
const BATCH: i64 = 500;
/// What `SHOP_FAIL_REINDEX=few` indexes.
const FEW: i64 = 3;

/// Builds a new index with every product that is for sale, then points this process's alias to it. With a generation
/// set nobody reads that alias yet. Without one it is the alias that every running process reads, and they meet the
/// new index at that moment, ready for it or not.
pub(crate) async fn reindex(settings: &Settings) -> Result<(), Error> {
    let database = Database::new(settings)?;
    let search = Search::new(settings)?;
    let alias = &settings.alias;
    clean(&search, alias).await?;
    let index = physical_name(alias, Timestamp::now());
    search.create(&index).await?;
    output::line(&format!("building {index}"));
    let documents = fill(settings, &database, &search, &index).await?;
    search.refresh(&index).await?;
    search.point(alias, &index).await?;
    output::line(&format!("alias {alias} leads to {index}"));
    let live = &settings.live_alias;
    if settings.faults.move_live_alias && alias != live {
        search.point(live, &index).await?;
        output::line(&format!("alias {live} leads to {index}, as the environment asks"));
    }
    clean(&search, alias).await?;
    output::result(&json!({"documents": documents}));
    Ok(())
}

/// Before and after, as searchkick does: what was built under this alias and is not in use goes, the index that the
/// alias led to until now too.
async fn clean(search: &Search, alias: &str) -> Result<(), Error> {
    for index in search.clean(alias).await? {
        output::line(&format!("deleted unused index {index}"));
    }
    Ok(())
}

/// Copies the rows by id. What changes behind the cursor is a catch-up's business.
async fn fill(settings: &Settings, database: &Database, search: &Search, index: &str) -> Result<i64, Error> {
    let few = settings.faults.reindex == Some(ReindexFault::Few);
    let total = database.count().await?;
    let batch = if few { FEW } else { BATCH };
    let (mut done, mut last_id) = (0, 0);
    loop {
        let products = database.live_after(last_id, batch).await?;
        let Some(last) = products.last() else {
            return Ok(done);
        };
        last_id = last.id;
        done += search.bulk(index, &products).await?.indexed;
        output::progress(done, total.max(done), "products");
        if few {
            return Ok(done);
        }
        if settings.faults.reindex == Some(ReindexFault::Exit) && done * 2 >= total {
            return Err(Error::Fault("the reindex stopped half-way"));
        }
        tokio::time::sleep(settings.faults.reindex_delay).await;
    }
}
