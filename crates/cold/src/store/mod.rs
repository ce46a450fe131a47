//! The connection pool and the execution of queries. The subjects of the store, such as messages or
//! plays, are modules of their own that add their handles to [`ColdStore`].

mod error;
mod health;
pub mod metrics;
mod schema;
mod timestamp;

use std::time::Duration;

use diesel::{
    ConnectionError,
    result::{DatabaseErrorKind, Error as DieselError, QueryResult},
};
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

pub use error::ColdError;
pub(crate) use schema::{dead_letters, early_expiries, ledger, messages};
pub(crate) use timestamp::{from_pg, to_pg};

/// The cold store. Cheap to clone; connects on first use.
#[derive(Clone)]
pub struct ColdStore {
    pool: Pool<AsyncPgConnection>,
    /// The default timeout of a call, including the time to obtain a connection.
    timeout: Duration,
}

impl ColdStore {
    /// Creates a store for request handlers. Does not connect yet.
    #[must_use]
    pub fn new(settings: &settings::PostgresSettings) -> Self {
        Self::with_statement_timeout(settings, settings.timeout)
    }

    /// Creates a store in which Postgres itself aborts a statement, or a transaction whose client
    /// is idle, after `statement_timeout`. A client that timed out or crashed holds no lock for
    /// longer.
    ///
    /// # Panics
    /// Never: building a pool without timeouts cannot fail.
    #[must_use]
    pub fn with_statement_timeout(
        settings: &settings::PostgresSettings,
        statement_timeout: Duration,
    ) -> Self {
        let millis = statement_timeout.as_millis();
        // Compiling a statement takes about 0.3 s, longer than any statement of this crate runs.
        let setup = format!(
            "SET statement_timeout = {millis}; SET idle_in_transaction_session_timeout = {millis}; \
             SET jit = off"
        );
        let mut config = ManagerConfig::default();
        config.recycling_method = RecyclingMethod::Fast;
        config.custom_setup = Box::new(move |url| {
            let setup = setup.clone();
            async move {
                let mut connection = AsyncPgConnection::establish(url).await?;
                connection
                    .batch_execute(&setup)
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

    /// Checks that Postgres responds.
    pub async fn ping(&self) -> Result<(), ColdError> {
        self.call(async |connection| {
            diesel::sql_query("SELECT 1").execute(connection).await.map(|_| ())
        })
        .await
    }

    /// Returns whether the schema has this version or a later one.
    pub async fn has_schema(&self) -> Result<bool, ColdError> {
        self.call(schema::exists).await
    }

    /// Runs a query within the default timeout.
    pub(crate) async fn call<T>(
        &self,
        query: impl AsyncFnOnce(&mut AsyncPgConnection) -> QueryResult<T>,
    ) -> Result<T, ColdError> {
        self.call_within(self.timeout, query).await
    }

    /// Runs a query within a timeout. A connection whose query timed out is discarded, as a late
    /// response could be mistaken for that of the next query.
    pub(crate) async fn call_within<T>(
        &self,
        timeout: Duration,
        query: impl AsyncFnOnce(&mut AsyncPgConnection) -> QueryResult<T>,
    ) -> Result<T, ColdError> {
        let deadline = Instant::now() + timeout;
        let mut connection =
            timeout_at(deadline, self.pool.get()).await.map_err(|_| ColdError::Timeout)??;
        let result = match timeout_at(deadline, query(&mut connection)).await {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(error)) => Err(classify(error, &mut connection, deadline).await),
            Err(_) => Err(ColdError::Timeout),
        };
        if result.as_ref().is_err_and(ColdError::is_outage) {
            drop(Object::take(connection));
        }
        result
    }
}

/// Classifies the error of a query.
///
/// diesel does not expose the SQLSTATE of a closing connection (57P01 to 57P03) or of an undefined
/// table or function (42P01, 42883), and the language of the message depends on `lc_messages`. A
/// probe on the same connection distinguishes them: it fails if Postgres closed the connection, and
/// otherwise reports whether the schema exists.
async fn classify(
    error: DieselError,
    connection: &mut AsyncPgConnection,
    deadline: Instant,
) -> ColdError {
    if !matches!(error, DieselError::DatabaseError(DatabaseErrorKind::Unknown, _)) {
        return error.into();
    }
    match timeout_at(deadline, schema::exists(connection)).await {
        Ok(Ok(true)) => ColdError::Rejected(error),
        Ok(Ok(false)) => ColdError::SchemaMissing(error),
        Ok(Err(_)) => ColdError::Unavailable(Box::new(error)),
        Err(_) => ColdError::Timeout,
    }
}

#[cfg(test)]
mod tests {
    use mayfly_stack::SharedServers;

    use super::*;
    use crate::migrations;

    const TIMEOUT: Duration = Duration::from_secs(20);

    async fn create_store(database: &str) -> (settings::PostgresSettings, ColdStore) {
        let servers = SharedServers::get().await.expect("the servers start");
        let url = servers.create_database(database).await.expect("the database is created").into();
        let settings = settings::PostgresSettings { url, pool_size_max: 1, timeout: TIMEOUT };
        let store = ColdStore::new(&settings);
        (settings, store)
    }

    async fn execute(store: &ColdStore, statement: &str) -> Result<usize, ColdError> {
        store.call(async |connection| diesel::sql_query(statement).execute(connection).await).await
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn terminated_connection_is_unavailable_and_replaced() {
        let (settings, store) = create_store("terminated_connection").await;
        migrations::run(&settings.url, |_| {}).await.expect("the migrations succeed");
        let result = execute(&store, "SELECT pg_terminate_backend(pg_backend_pid())").await;
        assert!(matches!(result, Err(ColdError::Unavailable(_))), "{result:?}");
        store.ping().await.expect("the pool opens a new connection");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn unknown_table_is_a_missing_schema_until_the_migrations_have_run() {
        let (settings, store) = create_store("unknown_table").await;
        let result = execute(&store, "SELECT FROM no_such_table").await;
        assert!(matches!(result, Err(ColdError::SchemaMissing(_))), "{result:?}");
        migrations::run(&settings.url, |_| {}).await.expect("the migrations succeed");
        let result = execute(&store, "SELECT FROM no_such_table").await;
        assert!(matches!(result, Err(ColdError::Rejected(_))), "{result:?}");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn classification_does_not_depend_on_the_message_language() {
        let (_, store) = create_store("message_language").await;
        // Postgres localizes this message; the statement raises it with the same SQLSTATE.
        let raise = "DO $$ BEGIN RAISE EXCEPTION USING ERRCODE = '42P01', \
             MESSAGE = 'Relation »messages« existiert nicht'; END $$";
        let result = execute(&store, raise).await;
        assert!(matches!(result, Err(ColdError::SchemaMissing(_))), "{result:?}");
    }
}
