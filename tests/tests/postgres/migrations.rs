//! The migrations.

use mayfly_cold::migrations;
use secrecy::ExposeSecret;

use crate::{create_database, create_migrated_database, health::connect};

#[tokio::test(flavor = "multi_thread")]
async fn migrations_can_be_reverted_and_applied_again() {
    let url = create_database("up_down_up").await;
    let applied = migrations::run(&url, |_| {}).await.expect("the migrations succeed");
    assert!(!applied.is_empty());
    assert_eq!(
        migrations::run(&url, |_| {}).await.expect("the second run succeeds"),
        Vec::<String>::new()
    );
    let mut reverted = migrations::revert_all(&url).await.expect("the migrations are reverted");
    reverted.reverse();
    assert_eq!(reverted, applied);
    assert_eq!(migrations::run(&url, |_| {}).await.expect("the migrations succeed again"), applied);
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_runs_apply_each_migration_once() {
    let url = create_database("concurrent_runs").await;
    let runs: Vec<_> = (0..4)
        .map(|_| {
            let url = url.clone();
            tokio::spawn(async move {
                migrations::run(&url, |_| {}).await.expect("the migrations succeed")
            })
        })
        .collect();
    let mut applied = Vec::new();
    for run in runs {
        applied.extend(run.await.expect("it does not panic"));
    }
    let once: std::collections::BTreeSet<_> = applied.iter().collect();
    assert_eq!(once.len(), applied.len(), "{applied:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn interrupted_index_build_is_repeated() {
    const INDEX: &str = "'messages_channel_username_seq'::regclass";
    let url = create_migrated_database("interrupted_index").await;
    let client = connect(url.expose_secret()).await;
    client
        .batch_execute(&format!(
            "UPDATE pg_index SET indisvalid = false WHERE indexrelid = {INDEX}; \
             DELETE FROM __diesel_schema_migrations WHERE version = '20261130000011'"
        ))
        .await
        .expect("valid SQL");
    let applied = migrations::run(&url, |_| {}).await.expect("the migrations succeed");
    assert_eq!(applied, ["20261130000011"]);
    let is_valid = format!("SELECT indisvalid FROM pg_index WHERE indexrelid = {INDEX}");
    let row = client.query_one(&is_valid, &[]).await.expect("the index exists");
    assert!(row.get::<_, bool>(0));
}

/// A publication must not stop updates and deletions.
#[tokio::test(flavor = "multi_thread")]
async fn every_table_has_a_replica_identity() {
    let url = create_migrated_database("replica_identities").await;
    let client = connect(url.expose_secret()).await;
    let tables = "SELECT relname::text, relreplident = 'f' OR EXISTS ( \
             SELECT FROM pg_index WHERE indrelid = pg_class.oid AND \
                 CASE relreplident WHEN 'd' THEN indisprimary ELSE indisreplident END) \
         FROM pg_class \
         WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p')";
    let tables = client.query(tables, &[]).await.expect("valid SQL");
    assert!(tables.len() > 20, "only {} tables found", tables.len());
    let missing = tables.iter().filter(|row| !row.get::<_, bool>(1));
    let missing: Vec<String> = missing.map(|row| row.get(0)).collect();
    assert!(missing.is_empty(), "tables without a replica identity: {missing:?}");
    for statement in [
        "CREATE PUBLICATION every_table FOR ALL TABLES",
        "UPDATE city_counts SET messages = 0",
        "DELETE FROM counted_entries",
    ] {
        client.batch_execute(statement).await.expect(statement);
    }
}
