//! The requirements of Postgres: its version, encoding, access mode and rights.

use std::time::Duration;

use mayfly_cold::{ColdAccess, ColdError, ColdStore, migrations};
use mayfly_runtime::settings::PostgresSettings;
use mayfly_stack::SharedServers;
use secrecy::{ExposeSecret, SecretString};
use tokio::task::JoinSet;
use tokio_postgres::{Client, NoTls};

use crate::create_migrated_database;

const TIMEOUT: Duration = Duration::from_secs(20);
const SESSIONS: usize = 4;

fn store(url: &str) -> ColdStore {
    ColdStore::new(&PostgresSettings {
        url: url.to_owned().into(),
        pool_size_max: SESSIONS,
        timeout: TIMEOUT,
    })
}

pub(crate) async fn connect(url: &str) -> Client {
    let (client, connection) =
        tokio_postgres::connect(url, NoTls).await.expect("Postgres responds");
    tokio::spawn(connection);
    client
}

async fn execute(url: &str, statements: &str) {
    connect(url).await.batch_execute(statements).await.expect("valid SQL");
}

/// Creates a database with the schema and returns its URL.
async fn migrated(name: &str) -> String {
    create_migrated_database(name).await.expose_secret().to_owned()
}

async fn shared_url() -> String {
    SharedServers::get().await.expect("the servers start").database_url().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn migrated_database_grants_every_access_to_its_owner() {
    let store = store(&migrated("health_owner").await);
    for access in [ColdAccess::Read, ColdAccess::Store, ColdAccess::Publish, ColdAccess::Migrate] {
        assert_eq!(store.check_access(access).await, Ok(()), "{access:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn missing_right_is_named() {
    let url = migrated("health_rights").await;
    execute(
        &url,
        "CREATE ROLE health_rights_app; \
         GRANT SELECT, INSERT, UPDATE, DELETE, TRUNCATE ON ALL TABLES IN SCHEMA public \
             TO health_rights_app; \
         REVOKE INSERT ON dead_letters FROM health_rights_app; \
         REVOKE SELECT ON messages FROM health_rights_app",
    )
    .await;
    let app = store(&format!("{url}?options=-c%20role%3Dhealth_rights_app"));
    let missing = app.check_access(ColdAccess::Store).await.expect_err("rights are missing");
    assert_eq!(
        missing,
        "the user health_rights_app lacks rights: SELECT on messages, INSERT on dead_letters"
    );
    let missing = app.check_access(ColdAccess::Read).await.expect_err("a right is missing");
    assert_eq!(missing, "the user health_rights_app lacks rights: SELECT on messages");
    assert_eq!(app.check_access(ColdAccess::Publish).await, Ok(()));
    execute(&url, "GRANT SELECT ON messages TO health_rights_app").await;
    assert_eq!(app.check_access(ColdAccess::Read).await, Ok(()));
    execute(&url, "DROP OWNED BY health_rights_app; DROP ROLE health_rights_app").await;
}

/// Sets whether new sessions with a database are read-only.
async fn set_read_only(url: &str, mode: &str) {
    let (_, database) = url.rsplit_once('/').expect("a database");
    // This session is not read-only.
    let url = format!("{url}?options=-c%20default_transaction_read_only%3Doff");
    let setting = format!("default_transaction_read_only = {mode}");
    execute(&url, &format!("ALTER DATABASE {database} SET {setting}")).await;
}

/// Opens all sessions of the pool.
async fn fill_pool(store: &ColdStore) {
    let mut reads = JoinSet::new();
    for _ in 0..SESSIONS {
        let store = store.clone();
        reads.spawn(async move { store.api_keys().find_version().await });
    }
    for read in reads.join_all().await {
        read.expect("reads succeed");
    }
}

async fn write(store: &ColdStore) -> Result<(), ColdError> {
    store.play_counts().save_published(&[("v".to_owned(), 1)]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_of_a_read_only_database_are_replaced_when_it_is_writable() {
    let url = migrated("health_read_only").await;
    let store = store(&url);
    set_read_only(&url, "on").await;
    fill_pool(&store).await;
    let cause = store.check_access(ColdAccess::Store).await.expect_err("it is read-only");
    assert!(cause.contains("health_read_only is read-only"), "{cause}");
    assert_eq!(store.check_access(ColdAccess::Read).await, Ok(()));

    fill_pool(&store).await;
    set_read_only(&url, "off").await;
    let error = write(&store).await.expect_err("the session is still read-only");
    assert!(error.is_outage() && error.to_string().contains("25006"), "{error}");
    // The failed write discarded all sessions.
    for _ in 0..SESSIONS {
        write(&store).await.expect("the database is writable");
    }
    assert_eq!(store.check_access(ColdAccess::Store).await, Ok(()));
}

#[tokio::test(flavor = "multi_thread")]
async fn health_check_replaces_all_read_only_sessions() {
    let url = migrated("health_replaced").await;
    let store = store(&url);
    set_read_only(&url, "on").await;
    fill_pool(&store).await;
    set_read_only(&url, "off").await;
    store.check_access(ColdAccess::Store).await.expect_err("the session is still read-only");
    // The failed check discarded all sessions.
    assert_eq!(store.check_access(ColdAccess::Store).await, Ok(()));
    for _ in 0..SESSIONS {
        write(&store).await.expect("the database is writable");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn database_with_another_encoding_is_refused_before_anything_changes() {
    execute(
        &shared_url().await,
        "CREATE DATABASE health_latin1 ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C' \
         TEMPLATE template0",
    )
    .await;
    let url =
        SharedServers::get().await.expect("the servers start").url_for_database("health_latin1");
    let refused = migrations::run(&SecretString::from(url.clone()), |_| {}).await;
    let refused = refused.expect_err("the encoding is refused").to_string();
    assert!(refused.contains("health_latin1 is LATIN1; Mayfly requires UTF8"), "{refused}");
    let tables = "SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace";
    let row = connect(&url).await.query_one(tables, &[]).await.expect("valid SQL");
    assert_eq!(row.get::<_, i64>(0), 0);
    let cause = store(&url).check_access(ColdAccess::Read).await.expect_err("it is refused");
    assert!(cause.contains("LATIN1"), "{cause}");
}

#[tokio::test(flavor = "multi_thread")]
async fn cause_of_a_refused_session_is_named() {
    let url = shared_url().await;
    let (server, _) = url.rsplit_once('/').expect("a database");
    let error = store(&format!("{server}/nowhere")).ledger().find("e", "messages").await;
    let error = error.map(drop).expect_err("the database does not exist");
    assert!(error.is_outage() && error.to_string().contains("SQLSTATE 3D000"), "{error}");
    assert!(error.to_string().contains("nowhere"), "{error}");
    let unknown_user = format!("{url}?user=nobody_here");
    let error = store(&unknown_user).ledger().find("e", "messages").await.map(drop);
    let error = error.expect_err("the user does not exist").to_string();
    assert!(error.contains("SQLSTATE 28000") && error.contains("nobody_here"), "{error}");
}
