//! The schema's migrations: plain SQL, embedded, run by `mayfly migrate` and never by a service.

use std::time::Duration;

use diesel_async::{AsyncConnection, AsyncMigrationHarness, AsyncPgConnection, RunQueryDsl};
use diesel_migrations::{EmbeddedMigrations, MigrationHarness, embed_migrations};
use secrecy::{ExposeSecret, SecretString};
use tokio::time::sleep;

use crate::{Cold, error::ColdError};

const MIGRATIONS: EmbeddedMigrations = embed_migrations!("../../migrations");

/// The key of the advisory lock that makes several runs at once harmless: "mayfly" in ASCII.
const LOCK: i64 = 0x6d61_7966_6c79;

/// How often a run that waits for another one asks whether that is over.
const ASK_AGAIN: Duration = Duration::from_millis(200);

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

/// What a run does at the moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step<'a> {
    /// Another run is at it; this one waits for it.
    Waiting,
    /// This version begins; it may take a while where there is much to go through.
    Applying(&'a str),
}

/// Brings the schema to the present, and says what it does; gives the versions that were applied.
/// Run twice it does nothing the second time, run by several at once each migration is applied once.
pub async fn run(
    database_url: &SecretString,
    mut say: impl FnMut(Step<'_>),
) -> Result<Vec<String>, MigrationError> {
    let connection = connect_locked(database_url, || say(Step::Waiting)).await?;
    let mut harness = AsyncMigrationHarness::new(connection);
    let mut applied = Vec::new();
    for migration in harness.pending_migrations(MIGRATIONS).map_err(MigrationError::Run)? {
        say(Step::Applying(&migration.name().to_string()));
        let version = harness.run_migration(&migration).map_err(MigrationError::Run)?;
        applied.push(version.to_string());
    }
    Ok(applied)
}

/// Takes the whole schema down again, newest migration first.
pub async fn revert_all(database_url: &SecretString) -> Result<Vec<String>, MigrationError> {
    let mut harness = AsyncMigrationHarness::new(connect_locked(database_url, || {}).await?);
    let reverted = harness.revert_all_migrations(MIGRATIONS).map_err(MigrationError::Run)?;
    Ok(reverted.iter().map(ToString::to_string).collect())
}

/// The lock belongs to the session: it goes with the connection, however that ends.
///
/// It is asked for again and again, and not waited for in Postgres: a statement that waits keeps
/// what others delete and replace from being cleaned away.
async fn connect_locked(
    database_url: &SecretString,
    mut wait: impl FnMut(),
) -> Result<AsyncPgConnection, MigrationError> {
    #[derive(diesel::QueryableByName)]
    struct Locked {
        #[diesel(sql_type = diesel::sql_types::Bool)]
        locked: bool,
    }
    let mut connection = AsyncPgConnection::establish(database_url.expose_secret()).await?;
    let mut has_said = false;
    loop {
        let answer: Locked = diesel::sql_query("SELECT pg_try_advisory_lock($1) AS locked")
            .bind::<diesel::sql_types::BigInt, _>(LOCK)
            .get_result(&mut connection)
            .await?;
        if answer.locked {
            return Ok(connection);
        }
        if !has_said {
            has_said = true;
            wait();
        }
        sleep(ASK_AGAIN).await;
    }
}

impl Cold {
    /// Whether messages can be stored, plays counted and keys found: the schema is there, in this
    /// version or a later one.
    pub async fn has_schema(&self) -> Result<bool, ColdError> {
        #[derive(diesel::QueryableByName)]
        struct There {
            #[diesel(sql_type = diesel::sql_types::Bool)]
            there: bool,
        }
        self.call(async |connection| {
            diesel::sql_query("SELECT to_regproc('store_samples_v1') IS NOT NULL AS there")
                .get_result::<There>(connection)
                .await
        })
        .await
        .map(|row| row.there)
    }
}
