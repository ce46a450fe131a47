//! The connection pool and the execution of queries. Each subject of the store, such as messages or
//! plays, has a separate module that adds a handle to [`ColdStore`].

mod access;
mod call;
mod connect;
mod error;
mod health;
pub mod metrics;
mod pool;
mod requirements;
mod schema;
mod shares;
mod sqlstate;
mod timestamp;

use std::{
    sync::{Arc, Once},
    time::Duration,
};

use diesel::result::{Error as DieselError, QueryResult};
use diesel_async::AsyncPgConnection;
use mayfly_runtime::settings;
use parking_lot::Mutex;
use tokio::time::{Instant, timeout_at};

pub use self::{access::ColdAccess, connect::ConnectError, error::ColdError};
use self::{
    call::RunningQuery,
    error::{ErrorClass, describe_with_sqlstate, is_read_only},
    pool::{Pool, SessionManager},
    shares::Shares,
    sqlstate::SqlState,
};
pub(crate) use self::{
    connect::{Connector, Session},
    requirements::Server,
    schema::{dead_letters, early_expiries, messages},
    shares::ReadKind,
    timestamp::{from_pg, to_millis, to_pg},
};

/// The longest statement timeout that Postgres accepts, in milliseconds.
const STATEMENT_TIMEOUT_MILLIS_MAX: u128 = 2_147_483_647;
/// A read waits for a slot for at most its timeout divided by this number. The rest of the timeout
/// is left for obtaining a session and for the query.
const WAIT_SHARE: u32 = 2;
/// Makes the planner prefer plans that read the rows of a page from an index, in the order of the
/// page. With outdated statistics, the planner could otherwise choose to scan and sort all matching
/// rows.
const PLAN_BY_INDEX: &str = "SET enable_seqscan = off; SET enable_bitmapscan = off; \
     SET enable_sort = off; SET enable_incremental_sort = off";

/// The cold store. Cheap to clone; connects on first use.
#[derive(Clone)]
pub struct ColdStore {
    pool: Pool,
    /// The limits on reads of each kind; `None` for background work and commands.
    shares: Option<Arc<Shares>>,
    /// The time and cause of the last statement failure for lack of a resource, such as disk space.
    /// Reads and the queries of the health check can succeed even without the resource.
    exhausted: Arc<Mutex<Option<(Instant, String)>>>,
    /// Limits the warning about settings of Postgres to one.
    settings_warning: Arc<Once>,
    /// The default timeout of a call, including the time to obtain a connection.
    timeout: Duration,
}

impl ColdStore {
    /// Creates a store for background work and commands. Does not connect yet.
    #[must_use]
    pub fn new(settings: &settings::PostgresSettings) -> Self {
        Self::with_statement_timeout(settings, settings.timeout)
    }

    /// Creates a store for request handlers. Even if the reads of one kind are numerous or slow,
    /// sessions are left for the other kinds. Does not connect yet.
    #[must_use]
    pub fn for_requests(settings: &settings::PostgresSettings) -> Self {
        Self {
            shares: Some(Arc::new(Shares::new(settings.pool_size_max))),
            ..Self::create(settings, settings.timeout, PLAN_BY_INDEX)
        }
    }

    /// Creates a store with sessions in which Postgres aborts a statement, or a transaction with an
    /// idle client, after `statement_timeout`. Therefore, a client that times out or crashes does
    /// not hold its locks indefinitely.
    #[must_use]
    pub fn with_statement_timeout(
        settings: &settings::PostgresSettings,
        statement_timeout: Duration,
    ) -> Self {
        Self::create(settings, statement_timeout, "")
    }

    fn create(
        settings: &settings::PostgresSettings,
        statement_timeout: Duration,
        setup: &str,
    ) -> Self {
        let millis = statement_timeout.as_millis().min(STATEMENT_TIMEOUT_MILLIS_MAX);
        // JIT compilation of a statement takes about 0.3 s, which is longer than the statements of
        // this crate usually run.
        let setup = format!(
            "SET statement_timeout = {millis}; SET idle_in_transaction_session_timeout = {millis}; \
             SET jit = off; {setup}"
        );
        let connector = Connector::new(&settings.url, setup, Some(settings.timeout));
        let manager = SessionManager::new(connector, settings.timeout);
        let pool = Pool::builder(manager).max_size(settings.pool_size_max);
        let pool = pool.build().expect("invariant: a pool without timeouts needs no runtime");
        Self {
            pool,
            shares: None,
            exhausted: Arc::default(),
            settings_warning: Arc::new(Once::new()),
            timeout: settings.timeout,
        }
    }

    /// Returns whether the migrations have created the tables and functions that this version of
    /// the store requires.
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

    /// Runs a query within a timeout. Discards the session if the query times out or is abandoned,
    /// or if Postgres is unavailable.
    pub(crate) async fn call_within<T>(
        &self,
        timeout: Duration,
        query: impl AsyncFnOnce(&mut AsyncPgConnection) -> QueryResult<T>,
    ) -> Result<T, ColdError> {
        Box::pin(self.run(timeout, None, query)).await
    }

    /// Runs a read within the default timeout. In a store for request handlers, the number of
    /// concurrent reads of the same kind is limited.
    pub(crate) async fn read<T>(
        &self,
        kind: ReadKind,
        query: impl AsyncFnOnce(&mut AsyncPgConnection) -> QueryResult<T>,
    ) -> Result<T, ColdError> {
        Box::pin(self.run(self.timeout, Some(kind), query)).await
    }

    /// Runs a query. Callers box this future, which is several KiB: the handlers of requests that
    /// usually need no query would contain it otherwise.
    async fn run<T>(
        &self,
        timeout: Duration,
        read: Option<ReadKind>,
        query: impl AsyncFnOnce(&mut AsyncPgConnection) -> QueryResult<T>,
    ) -> Result<T, ColdError> {
        let deadline = Instant::now() + timeout;
        let slot = match (read, &self.shares) {
            (Some(kind), Some(shares)) => Some(shares.acquire(kind, timeout / WAIT_SHARE).await?),
            _ => None,
        };
        let session =
            timeout_at(deadline, self.pool.get()).await.map_err(|_| ColdError::Timeout)??;
        let mut running = RunningQuery::new(session, read.is_some(), slot);
        let session = running.session();
        // Clear the error of an earlier query.
        session.sqlstate.take();
        let result = timeout_at(deadline, query(&mut session.connection))
            .await
            .map_err(|_| ColdError::Timeout)?;
        let result = match result {
            Ok(value) => Ok(value),
            Err(error) => Err(self.classify(error, session, deadline).await),
        };
        running.complete(!result.as_ref().is_err_and(ColdError::is_outage));
        result
    }

    /// Classifies the error of a query. Discards the idle sessions if they probably have the same
    /// problem, and records the error if a resource is exhausted.
    async fn classify(
        &self,
        error: DieselError,
        session: &mut Session,
        deadline: Instant,
    ) -> ColdError {
        let sqlstate = session.sqlstate.take();
        let code = sqlstate.as_ref().map(SqlState::as_str);
        let class =
            code.map_or_else(|| ErrorClass::from_client_error(&error), ErrorClass::from_sqlstate);
        match class {
            ErrorClass::Timeout => ColdError::Timeout,
            ErrorClass::Rejected => ColdError::Rejected(error),
            ErrorClass::Undefined => {
                match timeout_at(deadline, schema::exists(&mut session.connection)).await {
                    Ok(Ok(false)) => ColdError::SchemaMissing(error),
                    Ok(_) => ColdError::Unavailable(describe_with_sqlstate(&error, code).into()),
                    Err(_) => ColdError::Timeout,
                }
            }
            ErrorClass::Unavailable => {
                let cause = describe_with_sqlstate(&error, code);
                match code.map(|code| &code[..2]) {
                    // A session keeps the access mode with which it was opened, and an operator who
                    // terminates one session usually terminates all sessions.
                    Some("25" | "57") => drop(self.pool.retain(|_, _| false)),
                    // The health check found that the session is read-only.
                    None if is_read_only(&error) => drop(self.pool.retain(|_, _| false)),
                    Some("53" | "58") => {
                        *self.exhausted.lock() = Some((Instant::now(), cause.clone()));
                    }
                    _ => {}
                }
                ColdError::Unavailable(cause.into())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use diesel::{IntoSql, sql_types::Integer};
    use diesel_async::{RunQueryDsl, SimpleAsyncConnection};
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
        execute(&store, "SELECT 1").await.expect("the pool opens a new connection");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn unknown_table_is_a_missing_schema_until_the_migrations_have_run() {
        let (settings, store) = create_store("unknown_table").await;
        let result = execute(&store, "SELECT FROM no_such_table").await;
        assert!(matches!(result, Err(ColdError::SchemaMissing(_))), "{result:?}");
        migrations::run(&settings.url, |_| {}).await.expect("the migrations succeed");
        let result = execute(&store, "SELECT FROM no_such_table").await;
        assert!(matches!(result, Err(ColdError::Unavailable(_))), "{result:?}");
    }

    /// Returns a statement that raises an error with the given SQLSTATE and a German message.
    fn raise(sqlstate: &str) -> String {
        format!(
            "DO $$ BEGIN RAISE EXCEPTION USING ERRCODE = '{sqlstate}', \
             MESSAGE = 'Das geht gerade nicht'; END $$"
        )
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn statement_that_fails_for_another_reason_than_its_data_can_be_retried() {
        let (settings, store) = create_store("exhausted").await;
        migrations::run(&settings.url, |_| {}).await.expect("the migrations succeed");
        for sqlstate in [
            "0A000", "25006", "25P02", "40P01", "42501", "53100", "53200", "53300", "55000",
            "57P03", "58030", "XX000", "XX001",
        ] {
            let result = execute(&store, &raise(sqlstate)).await;
            assert!(matches!(result, Err(ColdError::Unavailable(_))), "{sqlstate}: {result:?}");
        }
        for sqlstate in ["57014", "55P03"] {
            let result = execute(&store, &raise(sqlstate)).await;
            assert!(matches!(result, Err(ColdError::Timeout)), "{sqlstate}: {result:?}");
        }
        let result = execute(&store, &raise("22021")).await;
        assert!(matches!(result, Err(ColdError::Rejected(_))), "{result:?}");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn session_without_its_prepared_statements_is_replaced() {
        let (_, store) = create_store("lost_statements").await;
        let select = async || {
            store
                .call(async |connection| {
                    diesel::select(1_i32.into_sql::<Integer>()).get_result::<i32>(connection).await
                })
                .await
        };
        select().await.expect("the statement is prepared");
        // A pooler in transaction mode can switch to a session in which it is not prepared.
        store
            .call(async |connection| connection.batch_execute("DEALLOCATE ALL").await)
            .await
            .expect("valid SQL");
        let error = select().await.expect_err("the statement is not prepared");
        let text = error.to_string();
        assert!(error.is_outage() && text.contains("SQLSTATE 26000"), "{error:?}");
        assert!(text.contains("poolers in transaction mode are not supported"), "{text}");
        select().await.expect("the statement is prepared in a new session");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn health_check_names_a_full_disk_while_statements_fail() {
        let (settings, store) = create_store("full_disk").await;
        migrations::run(&settings.url, |_| {}).await.expect("the migrations succeed");
        assert_eq!(store.check_access(ColdAccess::Store).await, Ok(()));
        execute(&store, &raise("53100")).await.expect_err("the statement fails");
        let cause = store.check_access(ColdAccess::Store).await.expect_err("the disk is full");
        assert!(cause.contains("SQLSTATE 53100"), "{cause}");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn classification_does_not_depend_on_the_message_language() {
        let (_, store) = create_store("message_language").await;
        // Raises the error for an unknown table, with the message that Postgres reports in German.
        let raise = "DO $$ BEGIN RAISE EXCEPTION USING ERRCODE = '42P01', \
             MESSAGE = 'Relation »messages« existiert nicht'; END $$";
        let result = execute(&store, raise).await;
        assert!(matches!(result, Err(ColdError::SchemaMissing(_))), "{result:?}");
    }
}
