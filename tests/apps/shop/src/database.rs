//! PostgreSQL: the pool and every statement on products. Each version names only columns that it knows.

use std::{str::FromStr, time::Duration};

use jiff::Timestamp;
use sqlx::{
    AssertSqlSafe, PgPool,
    postgres::{PgConnectOptions, PgPoolOptions},
};

use crate::{
    error::Error,
    product::{Draft, Product, columns},
    settings::{Settings, Version},
};

/// Many processes share one small database.
const CONNECTIONS: u32 = 4;
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(5);

/// The database as one version of the shop sees it.
#[derive(Clone)]
pub(crate) struct Database {
    /// For statements on other tables than products.
    pub(crate) pool: PgPool,
    version: Version,
}

/// Reads the URL. `PGOPTIONS`, and so a `lock_timeout` or a `statement_timeout`, is honoured by the driver.
pub(crate) fn options(settings: &Settings) -> Result<PgConnectOptions, Error> {
    let options = PgConnectOptions::from_str(settings.database_url()?)
        .map_err(|error| Error::Settings(format!("DATABASE_URL cannot be read: {error}")))?;
    Ok(options.application_name(&format!("shop-{}", settings.version.number())))
}

impl Database {
    /// Connects when the first statement needs it, so that a process starts while the database is away.
    pub(crate) fn new(settings: &Settings) -> Result<Self, Error> {
        let pool = PgPoolOptions::new()
            .max_connections(CONNECTIONS)
            .acquire_timeout(ACQUIRE_TIMEOUT)
            .connect_lazy_with(options(settings)?);
        Ok(Self {
            pool,
            version: settings.version,
        })
    }

    /// One round trip.
    pub(crate) async fn ping(&self) -> Result<(), Error> {
        sqlx::query("select 1")
            .execute(&self.pool)
            .await
            .map_err(Error::database("reach the database"))?;
        Ok(())
    }

    /// The number of products that are for sale.
    pub(crate) async fn count(&self) -> Result<i64, Error> {
        sqlx::query_scalar("select count(*) from products where deleted_at is null")
            .fetch_one(&self.pool)
            .await
            .map_err(Error::database("count the products"))
    }

    /// The last products that came in.
    pub(crate) async fn newest(&self, limit: i64) -> Result<Vec<Product>, Error> {
        self.select("where deleted_at is null order by id desc limit $1", |query| {
            query.bind(limit)
        })
        .await
    }

    /// One product that is for sale.
    pub(crate) async fn find(&self, id: i64) -> Result<Option<Product>, Error> {
        let found = self
            .select("where id = $1 and deleted_at is null", |query| query.bind(id))
            .await?
            .into_iter()
            .next();
        Ok(found)
    }

    /// A page of products for sale, by id.
    pub(crate) async fn live_after(&self, id: i64, limit: i64) -> Result<Vec<Product>, Error> {
        self.select(
            "where id > $1 and deleted_at is null order by id limit $2",
            |query| query.bind(id).bind(limit),
        )
        .await
    }

    /// A page of products, deleted ones too, by id.
    pub(crate) async fn all_after(&self, id: i64, limit: i64) -> Result<Vec<Product>, Error> {
        self.select("where id > $1 order by id limit $2", |query| {
            query.bind(id).bind(limit)
        })
        .await
    }

    /// A page of products changed since then, deleted ones too, by id. One that changes again while the pages are
    /// read may come with either state; the next catch-up has it again.
    pub(crate) async fn changed_after(
        &self,
        since: Timestamp,
        id: i64,
        limit: i64,
    ) -> Result<Vec<Product>, Error> {
        self.select(
            "where updated_at >= $1::text::timestamptz and id > $2 order by id limit $3",
            |query| query.bind(since.to_string()).bind(id).bind(limit),
        )
        .await
    }

    /// Adds a product and the job that its price leaves for a worker.
    pub(crate) async fn insert(&self, draft: &Draft) -> Result<Product, Error> {
        let (target, values) = match self.version {
            Version::One => ("name, description, price_cents", "$1, $2, $3"),
            Version::Two => ("name, description, price_cents, brand", "$1, $2, $3, $4"),
        };
        let columns = columns(self.version);
        let statement = format!("insert into products ({target}) values ({values}) returning {columns}");
        let inserted = self.write(statement, draft, None).await;
        let inserted = inserted.and_then(|product| product.ok_or(sqlx::Error::RowNotFound));
        inserted.map_err(Error::database("insert a product"))
    }

    /// Changes a product that is for sale.
    pub(crate) async fn update(&self, id: i64, draft: &Draft) -> Result<Option<Product>, Error> {
        let (set, key) = match self.version {
            Version::One => ("name = $1, description = $2, price_cents = $3", "$4"),
            Version::Two => ("name = $1, description = $2, price_cents = $3, brand = $4", "$5"),
        };
        let columns = columns(self.version);
        let statement =
            format!("update products set {set} where id = {key} and deleted_at is null returning {columns}");
        self.write(statement, draft, Some(id))
            .await
            .map_err(Error::database("change a product"))
    }

    /// Marks a product as deleted and returns its last state.
    pub(crate) async fn delete(&self, id: i64) -> Result<Option<Product>, Error> {
        let statement = format!(
            "update products set deleted_at = clock_timestamp() where id = $1 and deleted_at is null returning {}",
            columns(self.version)
        );
        sqlx::query_as(AssertSqlSafe(statement))
            .bind(id)
            .fetch_optional(&self.pool)
            .await
            .map_err(Error::database("delete a product"))
    }

    async fn write(
        &self,
        statement: String,
        draft: &Draft,
        id: Option<i64>,
    ) -> Result<Option<Product>, sqlx::Error> {
        let mut transaction = self.pool.begin().await?;
        let mut query = sqlx::query_as::<_, Product>(AssertSqlSafe(statement))
            .bind(&draft.name)
            .bind(&draft.description)
            .bind(draft.price_cents);
        if self.version >= Version::Two {
            query = query.bind(&draft.brand);
        }
        if let Some(id) = id {
            query = query.bind(id);
        }
        let Some(product) = query.fetch_optional(&mut *transaction).await? else {
            return Ok(None);
        };
        sqlx::query("insert into jobs (product_id) values ($1)")
            .bind(product.id)
            .execute(&mut *transaction)
            .await?;
        transaction.commit().await?;
        Ok(Some(product))
    }

    /// The statement is put together from constants of this file only; every value is bound.
    async fn select<'a>(
        &self,
        condition: &str,
        bind: impl FnOnce(Select<'a>) -> Select<'a>,
    ) -> Result<Vec<Product>, Error> {
        let statement = format!("select {} from products {condition}", columns(self.version));
        bind(sqlx::query_as(AssertSqlSafe(statement)))
            .fetch_all(&self.pool)
            .await
            .map_err(Error::database("read products"))
    }
}

type Select<'a> = sqlx::query::QueryAs<'a, sqlx::Postgres, Product, sqlx::postgres::PgArguments>;
