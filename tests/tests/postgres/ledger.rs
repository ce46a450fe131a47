//! The ledger: epochs, their ends, and reports about them.

use mayfly_cold::{ColdStore, EpochReport, EpochState, LedgerRow};

use crate::api_keys::cold;

const KIND: &str = "messages";
const QUEUE_MAX: u64 = 1_000;

async fn observe(cold: &ColdStore, epoch: &str, accepted: u64, writers: &[&str]) {
    let newest = Some("1-0");
    let state = EpochState { epoch, accepted, newest, writers };
    cold.ledger().observe(KIND, state).await.expect("the query succeeds");
}

async fn report(cold: &ColdStore, writer: &str, accepted: u64, unresolved: u64) {
    let report = EpochReport { epoch: "first", writer, accepted, unresolved };
    cold.ledger().report(KIND, report).await.expect("the query succeeds");
}

async fn find(cold: &ColdStore) -> LedgerRow {
    let found = cold.ledger().find("first", KIND).await.expect("the query succeeds");
    found.expect("a row")
}

async fn loss(cold: &ColdStore) -> String {
    find(cold).await.loss(QUEUE_MAX).to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn loss_is_exact_when_all_processes_have_reported() {
    let cold = cold("ledger_reports").await;
    observe(&cold, "first", 59, &["a", "b"]).await;
    let row = find(&cold).await;
    assert_eq!((row.accepted, row.newest.as_deref(), row.ended_at), (59, Some("1-0"), None));
    observe(&cold, "second", 0, &["a", "b"]).await;
    assert!(find(&cold).await.ended_at.is_some());
    assert_eq!(loss(&cold).await, "between 59 and 1000");
    report(&cold, "a", 58, 0).await;
    assert_eq!(loss(&cold).await, "between 59 and 1000");
    report(&cold, "b", 60, 2).await;
    assert_eq!(loss(&cold).await, "between 60 and 62");
    // A repeated report, and the report of a process that started after the last observation.
    report(&cold, "b", 60, 2).await;
    report(&cold, "c", 61, 0).await;
    let row = find(&cold).await;
    assert_eq!((row.reported, row.unresolved, row.is_reported), (61, 2, true));
    let listed = cold.ledger().list(KIND).await.expect("the query succeeds");
    let epochs: Vec<_> = listed.iter().map(|row| row.epoch.as_str()).collect();
    assert_eq!(epochs, ["first", "second"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn epoch_without_processes_has_an_exact_loss() {
    let cold = cold("ledger_writers").await;
    observe(&cold, "first", 5, &["a"]).await;
    observe(&cold, "first", 5, &[]).await;
    observe(&cold, "second", 0, &[]).await;
    assert_eq!(loss(&cold).await, "5");
}

#[tokio::test(flavor = "multi_thread")]
async fn loss_of_an_unobserved_epoch_is_unknown() {
    let cold = cold("ledger_unobserved").await;
    report(&cold, "a", 7, 0).await;
    observe(&cold, "second", 0, &["a"]).await;
    assert_eq!(loss(&cold).await, "between 7 and 1000");
}

#[tokio::test(flavor = "multi_thread")]
async fn items_accepted_after_a_loss_are_added() {
    let cold = cold("ledger_resumed").await;
    observe(&cold, "first", 700, &["a"]).await;
    for _ in 0..2 {
        cold.ledger().record_loss("first", KIND, 700, 500).await.expect("the query succeeds");
    }
    observe(&cold, "second", 0, &["a"]).await;
    report(&cold, "a", 700, 0).await;
    let row = find(&cold).await;
    assert_eq!((row.known_accepted(), row.loss(2_000).to_string()), (1_200, "1200".to_owned()));
}
