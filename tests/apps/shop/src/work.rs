//! `work`: does what the web processes leave behind.

use std::{process::ExitCode, time::Duration};

use crate::{database::Database, error::Error, output, settings::Settings, signals};

const PAUSE: Duration = Duration::from_secs(1);

/// Takes a batch of jobs and notes the products' prices, all in one statement: either a job is done or it is still
/// there. `skip locked` keeps several workers out of each other's way. A round without jobs is noted too, so that
/// anyone can see which version works.
const ROUND: &str = "
    with taken as (
        delete from jobs
        where id in (select id from jobs order by id limit 500 for update skip locked)
        returning product_id
    ), noted as (
        insert into price_history (product_id, price_cents)
        select products.id, products.price_cents from taken join products on products.id = taken.product_id
    )
    insert into job_runs (version, jobs) select $1, count(*) from taken returning jobs";

/// One round a second until SIGTERM, which lets the current round finish. A database that is away is waited for.
pub(crate) async fn work(settings: &Settings) -> Result<ExitCode, Error> {
    let database = Database::new(settings)?;
    let mut terminated = std::pin::pin!(signals::terminated()?);
    tracing::info!(version = settings.version.number(), "working");
    loop {
        let round = sqlx::query_scalar::<_, i64>(ROUND).bind(i16::from(settings.version.number()));
        match round.fetch_one(&database.pool).await {
            Ok(jobs) => tracing::debug!(jobs, "round done"),
            Err(error) => tracing::warn!(%error, "round failed; the next one is in a second"),
        }
        tokio::select! {
            () = &mut terminated => {
                output::line("stopped by SIGTERM between two rounds");
                return Ok(ExitCode::SUCCESS);
            }
            () = tokio::time::sleep(PAUSE) => {}
        }
    }
}
