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
