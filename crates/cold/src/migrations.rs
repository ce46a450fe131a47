//! The embedded SQL migrations, run by `mayfly migrate` and never by a service.

use std::time::Duration;

use diesel_async::{AsyncMigrationHarness, AsyncPgConnection, RunQueryDsl};
use diesel_migrations::{EmbeddedMigrations, MigrationHarness, embed_migrations};
use secrecy::SecretString;
use tokio::time::sleep;

use crate::store::{ColdAccess, ConnectError, Connector, Server, Session};

const MIGRATIONS: EmbeddedMigrations = embed_migrations!("../../migrations");

/// The key of the advisory lock that serializes concurrent runs: "mayfly" in ASCII.
const LOCK_KEY: i64 = 0x6d61_7966_6c79;

/// The interval between attempts to acquire the lock.
const LOCK_RETRY_INTERVAL: Duration = Duration::from_millis(200);

/// A failure to migrate the schema.
#[derive(Debug, thiserror::Error)]
pub enum MigrationError {
    /// Postgres cannot be reached, or refused the session.
    #[error("Postgres is unavailable: {0}")]
    Connect(#[from] ConnectError),
    /// The server or the database does not meet the requirements. Nothing was changed.
    #[error("Postgres is not suitable: {0}")]
    Unsuitable(String),
    /// A statement before the first migration failed: the check of the server, the acquisition of
    /// the advisory lock, or the removal of an invalid index.
    #[error("the migrations could not be prepared: {0}")]
    Prepare(#[from] diesel::result::Error),
    /// A migration could not be applied or reverted, or the pending migrations could not be
    /// determined. If a migration could not be applied, either its changes were rolled back, or the
    /// next run continues where this run stopped. The earlier migrations remain applied.
    #[error("a migration failed: {0}")]
    Run(Box<dyn std::error::Error + Send + Sync>),
}

/// A step of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step<'a> {
    /// The run is waiting for a concurrent run to finish.
    Waiting,
    /// The run is applying the migration with this name. This can take a while if a table has many
    /// rows.
    Applying(&'a str),
}

/// Drops invalid indexes, applies all pending migrations, and returns the applied versions.
/// Reports each step to `report`. Idempotent. Concurrent runs apply each migration once.
pub async fn run(
    database_url: &SecretString,
    mut report: impl FnMut(Step<'_>),
) -> Result<Vec<String>, MigrationError> {
    let mut connection = connect_locked(database_url, || report(Step::Waiting)).await?;
    drop_invalid_indexes(&mut connection).await?;
    let mut harness = AsyncMigrationHarness::new(connection);
    let mut applied = Vec::new();
    for migration in harness.pending_migrations(MIGRATIONS).map_err(MigrationError::Run)? {
        report(Step::Applying(&migration.name().to_string()));
        let version = harness.run_migration(&migration).map_err(MigrationError::Run)?;
        applied.push(version.to_string());
    }
    Ok(applied)
}

/// Drops the indexes on `messages` that an interrupted `CREATE INDEX CONCURRENTLY` left behind. No
/// query uses an invalid index, but the migration cannot create another index with the same name.
/// Keeps the indexes that are currently being built, which are also invalid.
async fn drop_invalid_indexes(connection: &mut AsyncPgConnection) -> Result<(), MigrationError> {
    #[derive(diesel::QueryableByName)]
    struct Index {
        #[diesel(sql_type = diesel::sql_types::Text)]
        name: String,
    }
    let indexes: Vec<Index> = diesel::sql_query(
        "SELECT indexrelid::regclass::text AS name FROM pg_index \
         WHERE indrelid = to_regclass('messages') AND NOT indisvalid AND NOT EXISTS ( \
             SELECT FROM pg_stat_progress_create_index WHERE index_relid = indexrelid)",
    )
    .get_results(connection)
    .await?;
    for Index { name } in indexes {
        diesel::sql_query(format!("DROP INDEX CONCURRENTLY {name}")).execute(connection).await?;
    }
    Ok(())
}

/// Reverts all migrations, newest first, and returns the reverted versions.
pub async fn revert_all(database_url: &SecretString) -> Result<Vec<String>, MigrationError> {
    let mut harness = AsyncMigrationHarness::new(connect_locked(database_url, || {}).await?);
    let reverted = harness.revert_all_migrations(MIGRATIONS).map_err(MigrationError::Run)?;
    Ok(reverted.iter().map(ToString::to_string).collect())
}

/// Connects, checks the server, and acquires the advisory lock. Calls `on_wait` once if another
/// session holds the lock. Postgres releases the lock when the session ends.
///
/// Polls for the lock, because a statement that waits for the lock in Postgres would hold back
/// vacuum.
async fn connect_locked(
    database_url: &SecretString,
    mut on_wait: impl FnMut(),
) -> Result<AsyncPgConnection, MigrationError> {
    #[derive(diesel::QueryableByName)]
    struct Locked {
        #[diesel(sql_type = diesel::sql_types::Bool)]
        locked: bool,
    }
    let Session { mut connection, .. } =
        Connector::new(database_url, String::new(), None).open().await?;
    let server = Server::read(&mut connection, ColdAccess::Migrate).await?;
    if let Some(requirement) = server.find_unmet_requirement() {
        return Err(MigrationError::Unsuitable(requirement));
    }
    let mut has_reported = false;
    loop {
        let answer: Locked = diesel::sql_query("SELECT pg_try_advisory_lock($1) AS locked")
            .bind::<diesel::sql_types::BigInt, _>(LOCK_KEY)
            .get_result(&mut connection)
            .await?;
        if answer.locked {
            return Ok(connection);
        }
        if !has_reported {
            has_reported = true;
            on_wait();
        }
        sleep(LOCK_RETRY_INTERVAL).await;
    }
}
