//! The migrations.

use mayfly_cold::migrations;

use crate::create_database;

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
