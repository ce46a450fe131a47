//! The migration that counts what was stored before, while workers of the version before store on.

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

/// The schema of the version before, and that it is known to be there.
const BEFORE: &str = concat!(
    include_str!("../../../../migrations/2026-11-20-000001_create_messages/up.sql"),
    "CREATE TABLE __diesel_schema_migrations (
         version varchar(50) PRIMARY KEY,
         run_on timestamp NOT NULL DEFAULT current_timestamp
     );
     INSERT INTO __diesel_schema_migrations (version) VALUES ('20261120000001');"
);

/// Stores messages as a worker does. A message of the same number is the same message.
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

/// A worker that stores new messages, and some of them again, until it is told to stop.
async fn store_on(counts: Counts, first: i64, stop: Arc<AtomicBool>) -> i64 {
    let client = counts.connect().await;
    let mut next = first;
    while !stop.load(Ordering::Relaxed) {
        store(&client, next, 1_000).await;
        // A batch that was delivered again, and one that overlaps with it.
        store(&client, next.saturating_sub(1_000).max(first), 2_000).await;
        next += 1_000;
    }
    next - first
}

fn migrate(url: &str) -> Child {
    let mut command = Command::new(bin_dir().join("mayfly"));
    command.arg("migrate").env("DATABASE_URL", url);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    command.spawn().expect("the command can be started")
}

fn words(output: &Output) -> String {
    String::from_utf8_lossy(&[&output.stdout[..], &output.stderr[..]].concat()).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_stored_before_is_counted_once_although_the_count_is_cut_off_and_workers_store_on()
{
    let before = short_or_full(60_000, 1_000_000);
    let servers = SharedServers::get().await.expect("the shared servers start");
    let url = servers.create_database("fill").await.expect("a database can be made");
    let counts = Counts::at(&url);
    let client = counts.connect().await;
    client.batch_execute(BEFORE).await.expect("the version before has a schema");
    assert_eq!(counts.read().await, None, "a schema of the version before has no statistics");
    store(&client, 0, before).await;

    let stop = Arc::new(AtomicBool::new(false));
    let workers = [10_000_000, 20_000_000]
        .map(|first| tokio::spawn(store_on(Counts::at(&url), first, stop.clone())));

    let first = migrate(&url);
    cut_off(&counts).await;
    let first = first.wait_with_output().await.expect("the command ends");
    assert_eq!(first.status.code(), Some(1), "{}", words(&first));
    assert_eq!(counts.read().await, None, "not all is counted yet");

    let runs = [migrate(&url), migrate(&url)].map(Child::wait_with_output);
    let mut said = Vec::new();
    for run in runs {
        let run = run.await.expect("the command ends");
        assert!(run.status.success(), "{}", words(&run));
        said.push(String::from_utf8_lossy(&run.stdout).into_owned());
    }
    said.sort();
    let [one, other] = [0, 1].map(|run: usize| said[run].as_str());
    assert!(one.starts_with("applied 20261120000003\n"), "{one}");
    assert_eq!(other, "the schema is up to date\n");
    assert!(counts.read().await.is_some());

    stop.store(true, Ordering::Relaxed);
    let mut stored = before;
    for worker in workers {
        stored += worker.await.expect("it stores to the end");
    }
    let seen = counts.assert_true().await;
    assert_eq!(i64::try_from(seen.messages.total).ok(), Some(stored));
    assert!(stored > before, "workers stored meanwhile");
    println!("{before} before, {} meanwhile: {:?}", stored - before, seen.messages);
}

/// Ends the connection of the migration in the middle of what it counts.
async fn cut_off(counts: &Counts) {
    let mut client = counts.connect().await;
    let holding = eventually(Duration::from_secs(60), "some is counted", async || {
        let known = client.query_one("SELECT to_regclass('statistics_fill')::text", &[]).await;
        known.expect("Postgres answers").get::<_, Option<String>>(0).ok_or("no table yet")
    })
    .await;
    eventually(Duration::from_secs(60), "some of it is counted", async || {
        let held = client.transaction().await.expect("a transaction begins");
        // Whoever counts waits for this row before the next chunk.
        let held_row = format!(
            "SELECT filled_to, up_to FROM {holding} \
             WHERE filled_to > 0 AND filled_to < up_to FOR UPDATE"
        );
        let Some(row) = held.query_opt(&held_row, &[]).await.expect("Postgres answers") else {
            return Err("nothing yet");
        };
        println!("cut off at {} of {}", row.get::<_, i64>(0), row.get::<_, i64>(1));
        let ended = held
            .query(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
                 WHERE datname = current_database() AND query LIKE '%CALL fill_statistics_v1%' \
                 AND pid <> pg_backend_pid()",
                &[],
            )
            .await
            .expect("a connection can be ended");
        assert_eq!(ended.len(), 1, "one counts");
        held.rollback().await.expect("the row is let go of");
        Ok(())
    })
    .await;
}
