//! The migration that fills the rollups while workers of the previous version store messages.

use std::{
    process::{Output, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use mayfly_stack::SharedServers;
use mayfly_tests::{bin_dir, eventually, short_or_full};
use tokio::process::{Child, Command};
use tokio_postgres::Client;

use super::counts::Counts;

/// The schema of the previous version, marked as applied.
const PREVIOUS_SCHEMA: &str = concat!(
    include_str!("../../../../../migrations/2026-11-20-000001_create_messages/up.sql"),
    "CREATE TABLE __diesel_schema_migrations (
         version varchar(50) PRIMARY KEY,
         run_on timestamp NOT NULL DEFAULT current_timestamp
     );
     INSERT INTO __diesel_schema_migrations (version) VALUES ('20261120000001');"
);

/// Stores messages as a worker does. Equal numbers result in equal messages.
const STORE: &str = "
    SELECT stored FROM generate_series($1::bigint, $2, 1000) AS numbers (first)
    CROSS JOIN LATERAL (
        SELECT array_agg(md5('message ' || n)::uuid) AS ids,
            array_agg('lobby'::text) AS channels,
            array_agg(CASE WHEN n % 3 > 0 THEN 'user ' || n % 997 END) AS usernames,
            array_agg('text ' || n) AS texts,
            array_agg(NULL::text) AS nothing,
            array_agg(CASE WHEN n % 2 = 0 THEN 'city ' || n % 503 END) AS cities,
            array_agg(CASE WHEN n % 4 = 0 THEN 'NY' END) AS states,
            array_agg(now() - n % 7000 * interval '1 second') AS created,
            array_agg(now() + interval '1 minute') AS expires,
            array_agg(100) AS bytes
        FROM generate_series(first, first + 999) AS n
    ) AS batch
    CROSS JOIN LATERAL store_messages_v1('epoch', ids, channels, usernames, texts, nothing, cities,
        states, created, expires, bytes, '{}', '{}')";

async fn store(client: &Client, first: i64, count: i64) {
    client.query(STORE, &[&first, &(first + count - 1)]).await.expect("messages are stored");
}

/// Stores new messages and duplicates until stopped. Returns the number of distinct messages.
async fn store_until_stopped(counts: Counts, first: i64, stop: Arc<AtomicBool>) -> i64 {
    let client = counts.connect().await;
    let mut next = first;
    while !stop.load(Ordering::Relaxed) {
        store(&client, next, 1_000).await;
        // An overlapping batch, as after a redelivery.
        store(&client, next.saturating_sub(1_000).max(first), 2_000).await;
        next += 1_000;
    }
    next - first
}

fn migrate(url: &str) -> Child {
    let mut command = Command::new(bin_dir().join("mayfly"));
    command.arg("migrate").env("DATABASE_URL", url);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    command.spawn().expect("the command starts")
}

fn output_text(output: &Output) -> String {
    String::from_utf8_lossy(&[&output.stdout[..], &output.stderr[..]].concat()).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn interrupted_migration_counts_each_message_once_while_workers_store() {
    let before = short_or_full(60_000, 1_000_000);
    let servers = SharedServers::get().await.expect("the shared servers start");
    let url = servers.create_database("fill").await.expect("the database is created");
    let counts = Counts::with_url(&url);
    let client = counts.connect().await;
    client.batch_execute(PREVIOUS_SCHEMA).await.expect("the previous schema is created");
    assert_eq!(counts.read().await, None, "the previous schema has no rollups");
    store(&client, 0, before).await;

    let stop = Arc::new(AtomicBool::new(false));
    let workers = [10_000_000, 20_000_000].map(|first| {
        tokio::spawn(store_until_stopped(Counts::with_url(&url), first, stop.clone()))
    });

    let first = migrate(&url);
    interrupt(&counts).await;
    let first = first.wait_with_output().await.expect("the command exits");
    assert_eq!(first.status.code(), Some(1), "{}", output_text(&first));
    assert_eq!(counts.read().await, None, "the rollups are incomplete");

    let runs = [migrate(&url), migrate(&url)].map(Child::wait_with_output);
    let mut outputs = Vec::new();
    for run in runs {
        let run = run.await.expect("the command exits");
        assert!(run.status.success(), "{}", output_text(&run));
        outputs.push(String::from_utf8_lossy(&run.stdout).into_owned());
    }
    outputs.sort();
    let [one, other] = [0, 1].map(|run: usize| outputs[run].as_str());
    assert!(one.starts_with("applied 20261120000003\n"), "{one}");
    assert_eq!(other, "the schema is up to date\n");
    assert!(counts.read().await.is_some());

    stop.store(true, Ordering::Relaxed);
    let mut stored = before;
    for worker in workers {
        stored += worker.await.expect("the worker does not panic");
    }
    let snapshot = counts.assert_consistent().await;
    assert_eq!(i64::try_from(snapshot.messages.total).ok(), Some(stored));
    assert!(stored > before, "workers stored messages during the migration");
    println!("{before} before, {} during the migration: {:?}", stored - before, snapshot.messages);
}

/// Terminates the migration's connection while it fills the rollups.
async fn interrupt(counts: &Counts) {
    let mut client = counts.connect().await;
    let table = eventually(Duration::from_secs(60), "the fill has started", async || {
        let known = client.query_one("SELECT to_regclass('statistics_fill')::text", &[]).await;
        known.expect("Postgres responds").get::<_, Option<String>>(0).ok_or("no table yet")
    })
    .await;
    eventually(Duration::from_secs(60), "the fill has progressed", async || {
        let transaction = client.transaction().await.expect("the transaction starts");
        // The migration waits for this row before the next chunk.
        let lock_progress = format!(
            "SELECT filled_to, up_to FROM {table} \
             WHERE filled_to > 0 AND filled_to < up_to FOR UPDATE"
        );
        let Some(row) =
            transaction.query_opt(&lock_progress, &[]).await.expect("Postgres responds")
        else {
            return Err("no progress yet");
        };
        println!("interrupted at {} of {}", row.get::<_, i64>(0), row.get::<_, i64>(1));
        let terminated = transaction
            .query(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
                 WHERE datname = current_database() AND query LIKE '%CALL fill_statistics_v1%' \
                 AND pid <> pg_backend_pid()",
                &[],
            )
            .await
            .expect("the query works");
        assert_eq!(terminated.len(), 1, "one migration fills the rollups");
        transaction.rollback().await.expect("the row is released");
        Ok(())
    })
    .await;
}
