//! The connections to Postgres.

use std::time::Duration;

use diesel::{ConnectionError, result::QueryResult};
use diesel_async::{
    AsyncConnection, AsyncPgConnection, RunQueryDsl, SimpleAsyncConnection,
    pooled_connection::{
        AsyncDieselConnectionManager, ManagerConfig, RecyclingMethod,
        deadpool::{Object, Pool},
    },
};
use futures_util::FutureExt;
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
    /// Prepares a pool for calls that somebody waits for; nothing is connected yet.
    #[must_use]
    pub fn new(settings: &settings::Postgres) -> Self {
        Self::with_statement_timeout(settings, settings.timeout)
    }

    /// Prepares a pool in which Postgres ends a statement, or a transaction that waits for its
    /// client, by itself after so long: one whose caller gave up, or is gone, holds no lock for longer.
    ///
    /// # Panics
    /// Never: a pool without timeouts of its own can always be made.
    #[must_use]
    pub fn with_statement_timeout(
        settings: &settings::Postgres,
        statement_timeout: Duration,
    ) -> Self {
        let millis = statement_timeout.as_millis();
        let setting = format!(
            "SET statement_timeout = {millis}; SET idle_in_transaction_session_timeout = {millis}"
        );
        let mut config = ManagerConfig::default();
        config.recycling_method = RecyclingMethod::Fast;
        config.custom_setup = Box::new(move |url| {
            let setting = setting.clone();
            async move {
                let mut connection = AsyncPgConnection::establish(url).await?;
                connection
                    .batch_execute(&setting)
                    .await
                    .map_err(ConnectionError::CouldntSetupConfiguration)?;
                Ok(connection)
            }
            .boxed()
        });
        let manager = AsyncDieselConnectionManager::<AsyncPgConnection>::new_with_config(
            settings.url.expose_secret(),
            config,
        );
        let pool = Pool::builder(manager).max_size(settings.pool_size_max);
        let pool = pool.build().expect("invariant: a pool without timeouts needs no runtime");
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
