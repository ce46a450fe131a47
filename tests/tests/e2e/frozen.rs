//! Walks while writers write and something stands still in the middle of its transaction.

use std::{
    collections::HashSet,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use mayfly_stack::Service;
use mayfly_tests::{Frozen, PATIENCE, Setup, World, eventually, id_of, is_full, short_or_full};
use serde_json::{Value, json};
use tokio::{
    task::JoinSet,
    time::{Instant, interval, sleep},
};

const WRITERS: usize = 4;
const WORKERS: usize = 3;
const BATCH: usize = 50;
const WAIT_MAX: Duration = Duration::from_secs(10);
/// The test holds this lock to keep a worker's transaction open.
const GATE: i64 = 1;

#[tokio::test(flavor = "multi_thread")]
async fn a_walk_meets_every_message_once_while_a_worker_freezes_in_its_transaction_again_and_again()
{
    let world = start().await;
    let freeze = async |round: usize, _backend: u32| {
        Frozen::processes([world.stack.env().pids(Service::PersistWorker)[round % WORKERS]])
    };
    walk_while_something_freezes(&world, freeze).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_walk_meets_every_message_once_while_postgres_freezes_in_a_transaction_of_a_worker() {
    let world = start().await;
    let freeze = async |_round: usize, backend: u32| Frozen::processes([backend]);
    walk_while_something_freezes(&world, freeze).await;
}

async fn start() -> World {
    let mut setup = Setup::new().with(Service::PersistWorker, WORKERS);
    if !is_full() {
        setup = setup
            .set("MAYFLY_QUEUE__CLAIM_AFTER", "7s")
            .set("MAYFLY_PERSIST__STATEMENT_TIMEOUT", "1s");
    }
    let world = setup.start().await;
    let gate = format!(
        "CREATE FUNCTION wait_at_gate() RETURNS trigger LANGUAGE plpgsql AS \
         'BEGIN PERFORM pg_advisory_xact_lock_shared({GATE}); RETURN NULL; END'; \
         CREATE TRIGGER gate AFTER INSERT ON messages \
         FOR EACH STATEMENT EXECUTE FUNCTION wait_at_gate()"
    );
    world.postgres().await.batch_execute(&gate).await.expect("the gate is built");
    world
}

async fn walk_while_something_freezes(world: &World, freeze: impl AsyncFn(usize, u32) -> Frozen) {
    let done = Arc::new(AtomicBool::new(false));
    let writers = write(world, short_or_full(9_000, 100_000), short_or_full(1_500, 3_000));
    let mut walkers = JoinSet::new();
    for filter in ["", "", "&channel=even"] {
        walkers.spawn(Walker::new(world, filter).follow(done.clone()));
    }
    let backwards = tokio::spawn(walk_backwards(world.clone(), done.clone()));
    let (posted, freezes) = freeze_until_written(world, writers, freeze).await;
    world.settle(PATIENCE).await;
    done.store(true, Ordering::Relaxed);

    let (all, even) = posted;
    let mut longest = Longest::default();
    while let Some(walker) = walkers.join_next().await {
        let walker = walker.expect("a walker arrives");
        let expected = if walker.filter.is_empty() { &all } else { &even };
        walker.assert_met_once(expected);
        longest = longest.max(walker.longest);
    }
    let walks = backwards.await.expect("whoever walks backwards arrives");
    println!(
        "messages {}, freezes {freezes}, walks backwards {walks}, longest {longest:?}",
        all.len()
    );
    assert!(freezes >= 2, "only {freezes} freezes");
    assert!(longest.page < WAIT_MAX && longest.without_news < WAIT_MAX, "{longest:?}");
}

type Ids = HashSet<String>;

/// Four writers, every second batch of each into the channel `even`; they give all ids, and those.
fn write(world: &World, messages: usize, per_second: usize) -> JoinSet<(Ids, Ids)> {
    let every = Duration::from_secs(1) * u32::try_from(BATCH * WRITERS).expect("a small number")
        / u32::try_from(per_second).expect("a small number");
    let mut writers = JoinSet::new();
    for _ in 0..WRITERS {
        let world = world.clone();
        writers.spawn(async move {
            let mut ticks = interval(every);
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
    let answer = world.post("/v1/messages/batch", &items.into()).await;
    assert_eq!(answer.status(), 202);
    let answer: Value = answer.json().await.expect("the answer is JSON");
    let ids = answer["ids"].as_array().expect("there are ids");
    ids.iter().filter_map(|id| id.as_str().map(str::to_owned)).collect()
}

/// Freezes something again and again until everything is written.
async fn freeze_until_written(
    world: &World,
    mut writers: JoinSet<(Ids, Ids)>,
    freeze: impl AsyncFn(usize, u32) -> Frozen,
) -> ((Ids, Ids), usize) {
    let lasting = Duration::from_millis(short_or_full(1_500, 5_000));
    let (mut all, mut even, mut freezes) = (Ids::new(), Ids::new(), 0);
    let freezing = async {
        loop {
            let frozen = freeze_in_a_transaction(world, &freeze, freezes).await;
            sleep(lasting).await;
            drop(frozen);
            freezes += 1;
            wait_until_stored_again(world).await;
        }
    };
    let written = async {
        while let Some(writer) = writers.join_next().await {
            let (its, its_even) = writer.expect("a writer ends well");
            all.extend(its);
            even.extend(its_even);
        }
    };
    tokio::select! {
        () = freezing => {}
        () = written => {}
    }
    ((all, even), freezes)
}

/// Closes the gate, waits until all workers are in their transactions, the first of them behind its
/// insert and with the number it took, freezes, and opens the gate.
async fn freeze_in_a_transaction(
    world: &World,
    freeze: impl AsyncFn(usize, u32) -> Frozen,
    round: usize,
) -> Frozen {
    let postgres = world.postgres().await;
    let gate = "SELECT pg_advisory_lock($1)";
    postgres.execute(gate, &[&GATE]).await.expect("the gate closes");
    let backend = eventually(PATIENCE, "the workers are storing", async || {
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
    // The lock ends with the session.
    drop(postgres);
    frozen
}

/// Waits until no worker is in a transaction that stood still: a freeze that follows another without
/// a pause is one long freeze.
async fn wait_until_stored_again(world: &World) {
    eventually(PATIENCE, "the workers store again", async || {
        let old = "SELECT count(*) FROM pg_stat_activity \
             WHERE datname = current_database() AND state = 'active' \
             AND query LIKE '%store_messages_v1(%' AND now() - query_start > interval '1 s'";
        // The query finds itself only if it takes that long.
        let old = world.count(old).await;
        if old == 0 { Ok(()) } else { Err(old) }
    })
    .await;
}

/// What a walker waited for, at most.
#[derive(Debug, Clone, Copy, Default)]
struct Longest {
    page: Duration,
    without_news: Duration,
}

impl Longest {
    fn max(self, other: Self) -> Self {
        Self {
            page: self.page.max(other.page),
            without_news: self.without_news.max(other.without_news),
        }
    }
}

struct Walker {
    world: World,
    filter: &'static str,
    met: Vec<String>,
    longest: Longest,
}

impl Walker {
    fn new(world: &World, filter: &'static str) -> Self {
        Self { world: world.clone(), filter, met: Vec::new(), longest: Longest::default() }
    }

    /// Walks from the beginning, and on as long as more may come.
    async fn follow(mut self, done: Arc<AtomicBool>) -> Self {
        let mut cursor = String::new();
        let mut news_at = Instant::now();
        loop {
            let was_done = done.load(Ordering::Relaxed);
            let began = Instant::now();
            let path = format!("/v1/messages?limit=500{}{cursor}", self.filter);
            let (status, page) = self.world.get(&path).await;
            assert_eq!(status, 200, "{page}");
            self.longest.page = self.longest.page.max(began.elapsed());
            let items = page["items"].as_array().expect("there are items");
            if !items.is_empty() {
                self.longest.without_news = self.longest.without_news.max(news_at.elapsed());
                news_at = Instant::now();
            }
            self.met.extend(items.iter().map(|item| id_of(item).to_owned()));
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

    fn assert_met_once(&self, expected: &Ids) {
        let met: Ids = self.met.iter().cloned().collect();
        assert_eq!(met.len(), self.met.len(), "a message was met twice");
        assert_eq!(&met, expected, "a message was missed");
    }
}

/// Walks newest first, again and again: whatever was stored when a walk began is met once. Gives how
/// many walks there were.
async fn walk_backwards(world: World, done: Arc<AtomicBool>) -> usize {
    for walks in 1.. {
        let was_done = done.load(Ordering::Relaxed);
        let stored = world.stored_ids().await;
        let mut met = Ids::new();
        let mut cursor = String::new();
        loop {
            let path = format!("/v1/messages?limit=1000&order=desc{cursor}");
            let (status, page) = world.get(&path).await;
            assert_eq!(status, 200, "{page}");
            for item in page["items"].as_array().expect("there are items") {
                assert!(met.insert(id_of(item).to_owned()), "a message was met twice");
            }
            if page["has_more"] == false {
                break;
            }
            cursor = format!("&cursor={}", page["next_cursor"].as_str().expect("there is a next"));
        }
        assert!(stored.is_subset(&met), "a message was missed");
        if was_done {
            return walks;
        }
        sleep(Duration::from_millis(100)).await;
    }
    unreachable!("the loop has no end")
}
