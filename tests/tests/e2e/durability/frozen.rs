//! Pagination while writers write and a process is frozen in the middle of a transaction.

use std::{
    collections::HashSet,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use mayfly_stack::Service;
use mayfly_tests::{
    DEFAULT_TIMEOUT, Frozen, Setup, World, eventually, is_full, message_id, short_or_full,
};
use serde_json::{Value, json};
use tokio::{
    task::JoinSet,
    time::{Instant, interval, sleep},
};

const WRITERS: usize = 4;
const WORKERS: usize = 3;
const BATCH: usize = 50;
const MAX_WAIT: Duration = Duration::from_secs(10);
/// The advisory lock that the test holds to keep workers' transactions open.
const LOCK: i64 = 1;

#[tokio::test(flavor = "multi_thread")]
async fn pagination_returns_each_message_once_while_workers_freeze_in_transactions() {
    let world = start().await;
    let freeze = async |round: usize, _backend: u32| {
        Frozen::freeze([world.stack.env().pids(Service::PersistWorker)[round % WORKERS]])
    };
    paginate_while_freezing(&world, freeze).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pagination_returns_each_message_once_while_postgres_freezes_in_a_transaction() {
    let world = start().await;
    let freeze = async |_round: usize, backend: u32| Frozen::freeze([backend]);
    paginate_while_freezing(&world, freeze).await;
}

async fn start() -> World {
    let mut setup = Setup::new().scale(Service::PersistWorker, WORKERS);
    if !is_full() {
        setup = setup
            .set("MAYFLY_QUEUE__CLAIM_AFTER", "7s")
            .set("MAYFLY_PERSIST__STATEMENT_TIMEOUT", "1s");
    }
    let world = setup.start().await;
    let lock = format!(
        "CREATE FUNCTION wait_at_gate() RETURNS trigger LANGUAGE plpgsql AS \
         'BEGIN PERFORM pg_advisory_xact_lock_shared({LOCK}); RETURN NULL; END'; \
         CREATE TRIGGER gate AFTER INSERT ON messages \
         FOR EACH STATEMENT EXECUTE FUNCTION wait_at_gate()"
    );
    world.postgres().await.batch_execute(&lock).await.expect("the trigger is created");
    world
}

async fn paginate_while_freezing(world: &World, freeze: impl AsyncFn(usize, u32) -> Frozen) {
    let done = Arc::new(AtomicBool::new(false));
    let writers = write(world, short_or_full(9_000, 100_000), short_or_full(1_500, 3_000));
    let mut readers = JoinSet::new();
    for filter in ["", "", "&channel=even"] {
        readers.spawn(Reader::new(world, filter).follow(done.clone()));
    }
    let newest_first = tokio::spawn(paginate_newest_first(world.clone(), done.clone()));
    let (posted, freezes) = freeze_until_written(world, writers, freeze).await;
    world.wait_until_processed(DEFAULT_TIMEOUT).await;
    done.store(true, Ordering::Relaxed);

    let (all, even) = posted;
    let mut longest = Longest::default();
    while let Some(reader) = readers.join_next().await {
        let reader = reader.expect("the reader does not panic");
        let expected = if reader.filter.is_empty() { &all } else { &even };
        reader.assert_seen_once(expected);
        longest = longest.max(reader.longest);
    }
    let passes = newest_first.await.expect("the reader does not panic");
    println!(
        "messages {}, freezes {freezes}, newest-first passes {passes}, longest {longest:?}",
        all.len()
    );
    assert!(freezes >= 2, "only {freezes} freezes");
    assert!(longest.page < MAX_WAIT && longest.without_items < MAX_WAIT, "{longest:?}");
}

type Ids = HashSet<String>;

/// Starts writers that post every second batch to the channel `even`. Each writer returns the IDs
/// of all its messages, and the IDs of its messages in this channel.
fn write(world: &World, messages: usize, per_second: usize) -> JoinSet<(Ids, Ids)> {
    let batch_interval = Duration::from_secs(1)
        * u32::try_from(BATCH * WRITERS).expect("a small number")
        / u32::try_from(per_second).expect("a small number");
    let mut writers = JoinSet::new();
    for _ in 0..WRITERS {
        let world = world.clone();
        writers.spawn(async move {
            let mut ticks = interval(batch_interval);
            let (mut all, mut even) = (Ids::new(), Ids::new());
            for batch in 0..messages / WRITERS / BATCH {
                ticks.tick().await;
                let ids = post_batch(&world, if batch % 2 == 0 { "even" } else { "odd" }).await;
                if batch % 2 == 0 {
                    even.extend(ids.iter().cloned());
                }
                all.extend(ids);
            }
            (all, even)
        });
    }
    writers
}

async fn post_batch(world: &World, channel: &str) -> Vec<String> {
    let items = vec![json!({"text": "on the way", "channel": channel}); BATCH];
    let response = world.post("/v1/messages/batch", &items.into()).await;
    assert_eq!(response.status(), 202);
    let response: Value = response.json().await.expect("the response is JSON");
    let ids = response["ids"].as_array().expect("the response has `ids`");
    ids.iter().filter_map(|id| id.as_str().map(str::to_owned)).collect()
}

/// Freezes processes repeatedly until everything is written.
async fn freeze_until_written(
    world: &World,
    mut writers: JoinSet<(Ids, Ids)>,
    freeze: impl AsyncFn(usize, u32) -> Frozen,
) -> ((Ids, Ids), usize) {
    let freeze_duration = Duration::from_millis(short_or_full(1_500, 5_000));
    let (mut all, mut even, mut freezes) = (Ids::new(), Ids::new(), 0);
    let freezing = async {
        loop {
            let frozen = freeze_in_a_transaction(world, &freeze, freezes).await;
            sleep(freeze_duration).await;
            drop(frozen);
            freezes += 1;
            wait_until_stored_again(world).await;
        }
    };
    let written = async {
        while let Some(writer) = writers.join_next().await {
            let (ids, even_ids) = writer.expect("the writer does not panic");
            all.extend(ids);
            even.extend(even_ids);
        }
    };
    tokio::select! {
        () = freezing => {}
        () = written => {}
    }
    ((all, even), freezes)
}

/// Takes the lock, waits until all workers are in their transactions and the first one has inserted
/// its rows and taken its sequence numbers, freezes a process, and releases the lock.
async fn freeze_in_a_transaction(
    world: &World,
    freeze: impl AsyncFn(usize, u32) -> Frozen,
    round: usize,
) -> Frozen {
    let postgres = world.postgres().await;
    let lock = "SELECT pg_advisory_lock($1)";
    postgres.execute(lock, &[&LOCK]).await.expect("the lock is taken");
    let backend = eventually(DEFAULT_TIMEOUT, "the workers are storing", async || {
        let rows = postgres
            .query(
                "SELECT pid, wait_event = 'advisory' FROM pg_stat_activity \
                 WHERE datname = current_database() AND state = 'active' \
                 AND query LIKE '%store_messages_v1(%' AND pid <> pg_backend_pid()",
                &[],
            )
            .await
            .expect("the query works");
        let waiting = rows.iter().find(|row| row.get::<_, Option<bool>>(1) == Some(true));
        match waiting {
            Some(row) if rows.len() >= WORKERS => Ok(row.get::<_, i32>(0)),
            _ => Err(rows.len()),
        }
    })
    .await;
    let frozen = freeze(round, backend.unsigned_abs()).await;
    // Closing the session releases the lock.
    drop(postgres);
    frozen
}

/// Waits until no worker is in a frozen transaction, since two freezes without a pause would be one
/// long freeze.
async fn wait_until_stored_again(world: &World) {
    eventually(DEFAULT_TIMEOUT, "the workers store again", async || {
        let old = "SELECT count(*) FROM pg_stat_activity \
             WHERE datname = current_database() AND state = 'active' \
             AND query LIKE '%store_messages_v1(%' AND now() - query_start > interval '1 s'";
        // The query counts itself only if it takes longer than a second.
        let old = world.query_count(old).await;
        if old == 0 { Ok(()) } else { Err(old) }
    })
    .await;
}

/// The longest waits of a reader.
#[derive(Debug, Clone, Copy, Default)]
struct Longest {
    page: Duration,
    without_items: Duration,
}

impl Longest {
    fn max(self, other: Self) -> Self {
        Self {
            page: self.page.max(other.page),
            without_items: self.without_items.max(other.without_items),
        }
    }
}

struct Reader {
    world: World,
    filter: &'static str,
    seen: Vec<String>,
    longest: Longest,
}

impl Reader {
    fn new(world: &World, filter: &'static str) -> Self {
        Self { world: world.clone(), filter, seen: Vec::new(), longest: Longest::default() }
    }

    /// Reads all pages and polls for more until `done` is set.
    async fn follow(mut self, done: Arc<AtomicBool>) -> Self {
        let mut cursor = String::new();
        let mut last_items_at = Instant::now();
        loop {
            let was_done = done.load(Ordering::Relaxed);
            let started = Instant::now();
            let path = format!("/v1/messages?limit=500{}{cursor}", self.filter);
            let (status, page) = self.world.get(&path).await;
            assert_eq!(status, 200, "{page}");
            self.longest.page = self.longest.page.max(started.elapsed());
            let items = page["items"].as_array().expect("the response has `items`");
            if !items.is_empty() {
                self.longest.without_items =
                    self.longest.without_items.max(last_items_at.elapsed());
                last_items_at = Instant::now();
            }
            self.seen.extend(items.iter().map(|item| message_id(item).to_owned()));
            if let Some(next) = page["next_cursor"].as_str() {
                cursor = format!("&cursor={next}");
            }
            if page["has_more"] == false {
                if was_done {
                    return self;
                }
                sleep(Duration::from_millis(20)).await;
            }
        }
    }

    fn assert_seen_once(&self, expected: &Ids) {
        let seen: Ids = self.seen.iter().cloned().collect();
        assert_eq!(seen.len(), self.seen.len(), "a message was returned twice");
        assert_eq!(&seen, expected, "a message was missed");
    }
}

/// Repeatedly reads all pages, newest first. Checks that each pass returns exactly once every
/// message that was stored before the pass. Returns the number of passes.
async fn paginate_newest_first(world: World, done: Arc<AtomicBool>) -> usize {
    for passes in 1.. {
        let was_done = done.load(Ordering::Relaxed);
        let stored = world.stored_ids().await;
        let mut seen = Ids::new();
        let mut cursor = String::new();
        loop {
            let path = format!("/v1/messages?limit=1000&order=desc{cursor}");
            let (status, page) = world.get(&path).await;
            assert_eq!(status, 200, "{page}");
            for item in page["items"].as_array().expect("the response has `items`") {
                assert!(seen.insert(message_id(item).to_owned()), "a message was returned twice");
            }
            if page["has_more"] == false {
                break;
            }
            cursor = format!(
                "&cursor={}",
                page["next_cursor"].as_str().expect("the page has `next_cursor`")
            );
        }
        assert!(stored.is_subset(&seen), "a message was missed");
        if was_done {
            return passes;
        }
        sleep(Duration::from_millis(100)).await;
    }
    unreachable!("the loop does not end")
}
