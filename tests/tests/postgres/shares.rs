//! Reads of one kind leave sessions for the other kinds.

use std::time::Duration;

use mayfly_cold::{ColdError, ColdStore, Page, PageRequest};
use mayfly_core::{Host, MessageId, PagePath, Timestamp};
use mayfly_runtime::settings::PostgresSettings;
use secrecy::ExposeSecret;
use tokio::task::JoinSet;
use tokio_postgres::Client;
use uuid::Uuid;

use crate::{create_migrated_database, health::connect, wait_until};

const TIMEOUT: Duration = Duration::from_secs(20);
const READS: usize = 30;

/// Creates a store for requests with the default pool size, and a session that can lock tables.
async fn create(name: &str, timeout: Duration) -> (ColdStore, Client) {
    let url = create_migrated_database(name).await;
    let client = connect(url.expose_secret()).await;
    let settings = PostgresSettings { url, pool_size_max: 8, timeout };
    (ColdStore::for_requests(&settings), client)
}

async fn lock(client: &Client, table: &str) {
    let statements = format!("BEGIN; LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE");
    client.batch_execute(&statements).await.expect("the table is locked");
}

async fn unlock(client: &Client) {
    client.batch_execute("ROLLBACK").await.expect("the table is unlocked");
}

/// Waits until the expected number of sessions waits for a lock.
async fn wait_for_waiting(client: &Client, expected: i64) {
    wait_until("sessions wait for the lock", async || {
        let waiting = "SELECT count(*) FROM pg_stat_activity \
                       WHERE datname = current_database() AND wait_event_type = 'Lock'";
        // Within a transaction, Postgres reads the activity only once.
        client.batch_execute("SELECT pg_stat_clear_snapshot()").await.expect("valid SQL");
        let row = client.query_one(waiting, &[]).await.expect("valid SQL");
        row.get::<_, i64>(0) == expected
    })
    .await;
}

fn spawn_lists(store: &ColdStore) -> JoinSet<Result<Page, ColdError>> {
    let mut reads = JoinSet::new();
    for _ in 0..READS {
        let store = store.clone();
        reads.spawn(async move {
            store.messages().list_page(&PageRequest { limit: 10, ..PageRequest::default() }).await
        });
    }
    reads
}

async fn list_hours(store: &ColdStore) -> Result<(), ColdError> {
    let host = Host::parse("a.org").expect("a host");
    let path = PagePath::parse("/").expect("a path");
    let hours = store.samples().list_hours(
        &host,
        &path,
        Timestamp::from_millis(0),
        Timestamp::from_millis(3_600_000),
    );
    hours.await.map(drop)
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_reads_of_one_kind_do_not_delay_the_others() {
    let (store, client) = create("shares_lists", TIMEOUT).await;
    lock(&client, "messages").await;
    let lists = spawn_lists(&store);
    wait_for_waiting(&client, 3).await;
    list_hours(&store).await.expect("hours are read");
    store.play_counts().find("v").await.expect("counts are read");
    store.play_counts().list(10, None).await.expect("counts are read");
    let id = MessageId::from(Uuid::now_v7());
    store.dead_letters().find_message(id).await.expect("dead letters are read");
    unlock(&client).await;
    for page in lists.join_all().await {
        page.expect("a waiting read continues");
    }

    lock(&client, "page_hours").await;
    let mut hours = JoinSet::new();
    for _ in 0..READS {
        let store = store.clone();
        hours.spawn(async move { list_hours(&store).await });
    }
    wait_for_waiting(&client, 3).await;
    for page in spawn_lists(&store).join_all().await {
        page.expect("messages are listed");
    }
    store.messages().find(id).await.expect("messages are read");
    unlock(&client).await;
    for read in hours.join_all().await {
        read.expect("a waiting read continues");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn abandoned_reads_are_canceled() {
    let (store, client) = create("shares_abandoned", TIMEOUT).await;
    lock(&client, "messages").await;
    for _ in 0..3 {
        let mut lists = spawn_lists(&store);
        wait_for_waiting(&client, 3).await;
        lists.shutdown().await;
        // The lock is still held.
        wait_for_waiting(&client, 0).await;
        list_hours(&store).await.expect("hours are read");
    }
    unlock(&client).await;
    for page in spawn_lists(&store).join_all().await {
        page.expect("messages are listed");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn read_that_waits_too_long_for_a_session_is_refused() {
    let (store, client) = create("shares_refused", Duration::from_secs(2)).await;
    lock(&client, "messages").await;
    let (mut timed_out, mut refused) = (0, 0);
    for page in spawn_lists(&store).join_all().await {
        match page.expect_err("the table is locked") {
            ColdError::Timeout => timed_out += 1,
            ColdError::Overloaded => refused += 1,
            error => panic!("{error}"),
        }
    }
    assert_eq!((timed_out, refused), (3, READS - 3));
    unlock(&client).await;
}
