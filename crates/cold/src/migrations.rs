//! The schema's migrations: plain SQL, embedded, run by `mayfly migrate` and never by a service.

use diesel_async::{AsyncConnection, AsyncMigrationHarness, AsyncPgConnection, RunQueryDsl};
use diesel_migrations::{EmbeddedMigrations, MigrationHarness, embed_migrations};
use secrecy::{ExposeSecret, SecretString};

use crate::{Cold, error::ColdError};

const MIGRATIONS: EmbeddedMigrations = embed_migrations!("../../migrations");

/// The key of the advisory lock that makes several runs at once harmless: "mayfly" in ASCII.
const LOCK: i64 = 0x6d61_7966_6c79;

/// The schema could not be brought to the present.
#[derive(Debug, thiserror::Error)]
pub enum MigrationError {
    /// Postgres cannot be reached.
    #[error("Postgres is not reachable: {0}")]
    Connect(#[from] diesel::ConnectionError),
    /// The lock could not be had.
    #[error("the lock of the migrations could not be had: {0}")]
    Lock(#[from] diesel::result::Error),
    /// A migration failed; it left nothing behind, or goes on where it was when it is run again.
    /// Those before it are done.
    #[error("a migration failed: {0}")]
    Run(Box<dyn std::error::Error + Send + Sync>),
}

/// Brings the schema to the present; gives the versions that were applied. Run twice it does
/// nothing the second time, run by several at once each migration is applied once.
pub async fn run(database_url: &SecretString) -> Result<Vec<String>, MigrationError> {
    let mut harness = AsyncMigrationHarness::new(connect_locked(database_url).await?);
    let applied = harness.run_pending_migrations(MIGRATIONS).map_err(MigrationError::Run)?;
    Ok(applied.iter().map(ToString::to_string).collect())
}

/// Takes the whole schema down again, newest migration first.
pub async fn revert_all(database_url: &SecretString) -> Result<Vec<String>, MigrationError> {
    let mut harness = AsyncMigrationHarness::new(connect_locked(database_url).await?);
    let reverted = harness.revert_all_migrations(MIGRATIONS).map_err(MigrationError::Run)?;
    Ok(reverted.iter().map(ToString::to_string).collect())
}

/// The lock belongs to the session: it goes with the connection, however that ends.
async fn connect_locked(database_url: &SecretString) -> Result<AsyncPgConnection, MigrationError> {
    let mut connection = AsyncPgConnection::establish(database_url.expose_secret()).await?;
    diesel::sql_query("SELECT pg_advisory_lock($1)")
        .bind::<diesel::sql_types::BigInt, _>(LOCK)
        .execute(&mut connection)
        .await?;
    Ok(connection)
}

impl Cold {
    /// Whether messages can be stored: the schema is there, in this version or a later one, or in
    /// the one before, which knows no statistics. What is stored now is counted by the migration.
    pub async fn has_schema(&self) -> Result<bool, ColdError> {
        #[derive(diesel::QueryableByName)]
        struct There {
            #[diesel(sql_type = diesel::sql_types::Bool)]
            there: bool,
        }
        self.call(async |connection| {
            diesel::sql_query("SELECT to_regproc('store_messages_v1') IS NOT NULL AS there")
                .get_result::<There>(connection)
                .await
        })
        .await
        .map(|row| row.there)
    }
}
