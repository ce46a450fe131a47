//! The connections to Postgres.

use std::time::Duration;

use diesel::result::QueryResult;
use diesel_async::{
    AsyncPgConnection, RunQueryDsl,
    pooled_connection::{
        AsyncDieselConnectionManager, ManagerConfig, RecyclingMethod,
        deadpool::{Object, Pool},
    },
};
use mayfly_runtime::settings;
use secrecy::ExposeSecret;
use tokio::time::{Instant, timeout_at};

use crate::error::ColdError;

/// The cold store. Cheap to clone; connects when it is first asked.
#[derive(Clone)]
pub struct Cold {
    pool: Pool<AsyncPgConnection>,
    /// How long a call that a caller waits for may take, getting a connection included.
    timeout: Duration,
}

impl Cold {
    /// Prepares a pool; nothing is connected yet.
    #[must_use]
    pub fn new(settings: &settings::Postgres) -> Self {
        let mut config = ManagerConfig::default();
        config.recycling_method = RecyclingMethod::Fast;
        let manager = AsyncDieselConnectionManager::<AsyncPgConnection>::new_with_config(
            settings.url.expose_secret(),
            config,
        );
        let pool = Pool::builder(manager)
            .max_size(settings.pool_size_max)
            .build()
            .expect("invariant: a pool without timeouts of its own needs no runtime");
        Self { pool, timeout: settings.timeout }
    }

    /// Asks whether Postgres answers.
    pub async fn ping(&self) -> Result<(), ColdError> {
        self.call(async |connection| {
            diesel::sql_query("SELECT 1").execute(connection).await.map(|_| ())
        })
        .await
    }

    /// Runs a query that a caller waits for.
    pub(crate) async fn call<T>(
        &self,
        query: impl AsyncFnOnce(&mut AsyncPgConnection) -> QueryResult<T>,
    ) -> Result<T, ColdError> {
        self.call_within(self.timeout, query).await
    }

    /// Runs a query within a deadline. A connection that missed it is given up: what it still has
    /// to say belongs to nobody.
    pub(crate) async fn call_within<T>(
        &self,
        timeout: Duration,
        query: impl AsyncFnOnce(&mut AsyncPgConnection) -> QueryResult<T>,
    ) -> Result<T, ColdError> {
        let deadline = Instant::now() + timeout;
        let mut connection =
            timeout_at(deadline, self.pool.get()).await.map_err(|_| ColdError::Timeout)??;
        let answer = match timeout_at(deadline, query(&mut connection)).await {
            Ok(answer) => answer.map_err(ColdError::from),
            Err(_) => Err(ColdError::Timeout),
        };
        if answer.as_ref().is_err_and(ColdError::is_outage) {
            drop(Object::take(connection));
        }
        answer
    }
}
