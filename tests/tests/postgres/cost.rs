//! The cost of reads and writes, in rows and blocks that Postgres reads, does not depend on the
//! number of rows in the tables.

use std::time::Duration;

use mayfly_cold::{
    ColdStore, DeadLetter, Expiry, MessageBatch, NewMessageRow, NewPlays, PageRequest, PlaysBatch,
    ReadRights, ReadableNames,
};
use mayfly_core::{
    Channel, EntryId, Host, MessageId, Order, PagePath, Timestamp, Username, message::MessageView,
    plays::PlaysView,
};
use mayfly_runtime::settings::PostgresSettings;
use secrecy::{ExposeSecret, SecretString};
use tokio_postgres::Client;
use uuid::Uuid;

use crate::{create_migrated_database, health::connect, wait_until};

const TIMEOUT: Duration = Duration::from_secs(20);
/// 2026-11-20T19:07:00.000Z, one millisecond before the first message. Each message is created one
/// millisecond after the previous one.
const START: i64 = 1_795_201_620_000;
const HOUR: i64 = 3_600_000;

/// The number of messages.
fn messages() -> i64 {
    let is_full = std::env::var_os("MAYFLY_TEST_FULL").is_some_and(|value| value == "1");
    if is_full { 1_000_000 } else { 60_000 }
}

/// Inserts messages of four channels: `old` and `early` in the first half, `new` and `late` in the
/// second half. All messages of `old` and `new`, and none of `early` and `late`, belong to the user
/// `u`.
const FILL: &str = "
    ALTER TABLE messages DISABLE TRIGGER count_messages;
    INSERT INTO messages (id, seq, channel, username, text, created_at, expires_at, body_bytes)
        SELECT (lpad(to_hex(START + n), 12, '0') || '70008' || lpad(to_hex(n), 15, '0'))::uuid, n,
            CASE WHEN n <= MANY / 2 THEN CASE n % 2 WHEN 0 THEN 'old' ELSE 'early' END
                ELSE CASE n % 2 WHEN 0 THEN 'new' ELSE 'late' END END,
            CASE WHEN n % 2 = 0 THEN 'u' WHEN n % 10 > 1 THEN 'user ' || n % 5000 END,
            'text', to_timestamp((START + n) / 1000.0), to_timestamp((START + n) / 1000.0), 300
        FROM generate_series(1::bigint, MANY) AS n;
    ALTER TABLE messages ENABLE TRIGGER count_messages;
    UPDATE message_sequence SET last = MANY;
    INSERT INTO dead_letters (stream, epoch, entry_id, kind, message_id, body, meta, reason, attempts, plays_id)
        SELECT 'plays', 'e', n || '-0', 'plays.v1', gen_random_uuid(), '{}', '', '', 5, gen_random_uuid()
        FROM generate_series(1, MANY / 20) AS n;
    INSERT INTO counted_entries
        SELECT 'e', ARRAY[gen_random_uuid(), gen_random_uuid()], n, 0, n, 9
        FROM generate_series(1, MANY / 20) AS n;
    INSERT INTO play_counts SELECT 'video ' || lpad(n::text, 9, '0'), n, now()
        FROM generate_series(1, MANY / 10) AS n;
    INSERT INTO published_counts SELECT video_id, count FROM play_counts;
    INSERT INTO hosts (host) SELECT 'host-' || n || '.org' FROM generate_series(1, 20) AS n;
    INSERT INTO page_samples SELECT 1 + n % 2, to_timestamp((START + n) / 1000.0), 1, true, '[]'
        FROM generate_series(1, MANY / 10) AS n;
    INSERT INTO page_hours
        SELECT 1, to_timestamp((START / 3600000 + n / 100) * 3600),
            substring(sha256(convert_to('/' || n % 100, 'UTF8')) FOR 16), 1, 1, 1, 1, '/' || n % 100
        FROM generate_series(0, MANY / 10) AS n;
";

/// The rows and blocks that a job reads.
#[derive(Debug, Clone, Copy)]
struct Cost {
    rows: i64,
    blocks: i64,
}

/// Selects the rows and blocks that all ended sessions have read. A session reports its numbers
/// when it ends.
const COST: &str = "SELECT \
        (SELECT sum(seq_tup_read) FROM pg_stat_user_tables)::bigint \
            + (SELECT sum(idx_tup_read) FROM pg_stat_user_indexes)::bigint, \
        (SELECT sum(heap_blks_read + heap_blks_hit \
            + coalesce(idx_blks_read + idx_blks_hit, 0) \
            + coalesce(toast_blks_read + toast_blks_hit + tidx_blks_read + tidx_blks_hit, 0)) \
            FROM pg_statio_user_tables)::bigint";

struct Database {
    url: SecretString,
    client: Client,
}

impl Database {
    async fn create(name: &str) -> Self {
        let url = create_migrated_database(name).await;
        let client = connect(url.expose_secret()).await;
        let disable = "SELECT 'ALTER TABLE ' || relid::regclass || ' SET (autovacuum_enabled = off)' \
                       FROM pg_stat_user_tables JOIN pg_class ON pg_class.oid = relid \
                       WHERE relkind = 'r'";
        for row in client.query(disable, &[]).await.expect("valid SQL") {
            client.batch_execute(row.get(0)).await.expect("valid SQL");
        }
        let fill = FILL.replace("START", &START.to_string());
        let fill = fill.replace("MANY", &format!("{}::bigint", messages()));
        client.batch_execute(&fill).await.expect("the tables are filled");
        // The planner may prefer to scan some of these tables, because they are smaller than in
        // production.
        let prefer_indexes = "DO $$ BEGIN EXECUTE format( \
            'ALTER DATABASE %I SET enable_seqscan = off', current_database()); END $$";
        client.batch_execute(prefer_indexes).await.expect("valid SQL");
        let report = "SELECT pg_stat_force_next_flush()";
        client.batch_execute(report).await.expect("the cost of filling is reported");
        Self { url, client }
    }

    async fn read_cost(&self) -> Cost {
        wait_until("the sessions end", async || {
            let sessions = "SELECT count(*) FROM pg_stat_activity \
                WHERE datname = current_database() AND pid <> pg_backend_pid()";
            let row = self.client.query_one(sessions, &[]).await.expect("valid SQL");
            row.get::<_, i64>(0) == 0
        })
        .await;
        let row = self.client.query_one(COST, &[]).await.expect("valid SQL");
        Cost { rows: row.get(0), blocks: row.get(1) }
    }

    /// Returns the cost of a job that runs in new sessions.
    async fn measure(&self, job: impl AsyncFnOnce(&ColdStore, &ColdStore)) -> Cost {
        let before = self.read_cost().await;
        let settings =
            PostgresSettings { url: self.url.clone(), pool_size_max: 1, timeout: TIMEOUT };
        let requests = ColdStore::for_requests(&settings);
        let background = ColdStore::new(&settings);
        job(&requests, &background).await;
        drop((requests, background));
        let after = self.read_cost().await;
        Cost { rows: after.rows - before.rows, blocks: after.blocks - before.blocks }
    }

    /// Checks that a job reads at most `rows_max` rows.
    async fn check(
        &self,
        name: &str,
        rows_max: i64,
        job: impl AsyncFnOnce(&ColdStore, &ColdStore),
    ) {
        let cost = self.measure(job).await;
        println!("{name}: {cost:?}");
        // In the worst case, each row is in a separate block. Every search also descends some
        // indexes.
        let blocks_max = 2 * rows_max + 150;
        assert!(cost.rows <= rows_max && cost.blocks <= blocks_max, "{name}: {cost:?}");
    }

    /// Checks pages at several positions, with each combination of filters and order.
    async fn check_pages(&self) {
        let channels = [None, Some("early"), Some("old"), Some("new"), Some("missing")];
        let usernames = [None, Some("u"), Some("user 3"), Some("missing")];
        for channel in channels {
            for username in usernames {
                for order in [Order::Asc, Order::Desc] {
                    let request = PageRequest {
                        order,
                        channel: channel.map(|name| Channel::parse(name).expect("a channel")),
                        username: username.map(|name| Username::parse(name).expect("a username")),
                        ..PageRequest::default()
                    };
                    let name = format!("{channel:?} {username:?} {order:?}");
                    // A larger page reads the sizes of its messages first.
                    let rows_max = 3 * 11 + 3 * 201;
                    self.check(&name, rows_max, async |store, _| list(store, request).await).await;
                }
            }
        }
    }
}

/// Lists small and large pages at the beginning, in the middle and at the end.
async fn list(store: &ColdStore, request: PageRequest) {
    for limit in [10, 100] {
        for after in [None, Some(messages() / 2), Some(0), Some(messages())] {
            let is_before_the_first = after == Some(0) && request.order == Order::Asc;
            let is_after_the_last = after == Some(messages()) && request.order == Order::Desc;
            if is_before_the_first || is_after_the_last {
                continue;
            }
            let request = PageRequest { limit, after, ..request.clone() };
            let page = store.messages().list_page(&request).await.expect("the page is read");
            assert!(page.items.len() <= limit as usize);
        }
    }
}

/// Checks pages of callers who may read only some of the messages.
async fn check_readable_pages(database: &Database) {
    let names =
        ReadableNames { channels: vec!["old", "new", "missing"], usernames: vec!["user 3"] };
    let is_named = |channel: &str, username: Option<&str>| {
        ["old", "new"].contains(&channel) || username == Some("user 3")
    };
    let is_hidden = |_: &str, _: Option<&str>| false;
    for order in [Order::Asc, Order::Desc] {
        for after in [None, Some(messages() / 2)] {
            let request = PageRequest { limit: 100, order, after, ..PageRequest::default() };
            let name = format!("exact names {order:?} {after:?}");
            database
                .check(&name, 4 * 101 + 2 * 101, async |store, _| {
                    let names = Some(names.clone());
                    let rights = ReadRights { names, is_readable: &is_named };
                    let page = store.messages().list_readable_page(&request, &rights).await;
                    assert_eq!(page.expect("the page is read").items.len(), 100);
                })
                .await;
            let name = format!("patterns {order:?} {after:?}");
            database
                .check(&name, 5_100, async |store, _| {
                    let rights = ReadRights { names: None, is_readable: &is_hidden };
                    let page = store.messages().list_readable_page(&request, &rights).await;
                    let page = page.expect("the page is read");
                    assert_eq!((page.items.len(), page.has_more), (0, true));
                })
                .await;
        }
    }
}

/// Returns the ID of a message.
fn id(number: i64) -> MessageId {
    let text = format!("{:012x}70008{number:015x}", START + number);
    Uuid::parse_str(&text).expect("an ID").into()
}

fn host() -> Host {
    Host::parse("host-1.org").expect("a host")
}

fn at(millis: i64) -> Timestamp {
    Timestamp::from_millis(START + millis)
}

async fn check_request_reads(database: &Database) {
    let ids: Vec<_> = (1..=100).map(id).collect();
    database
        .check("messages by ID", 102, async |store, _| {
            store.messages().find(id(1)).await.expect("read").expect("a message");
            assert_eq!(store.messages().find_many(&ids).await.expect("read").len(), 100);
            let unknown = MessageId::from(Uuid::now_v7());
            assert!(store.dead_letters().find_message(unknown).await.expect("read").is_none());
        })
        .await;
    database
        .check("play count", 2, async |store, _| {
            store.play_counts().find("video 000000777").await.expect("read").expect("a count");
        })
        .await;
    database
        .check("sample", 6, async |store, _| {
            for millis in [messages() / 10, messages() / 20, -1] {
                store.samples().find(&host(), at(millis)).await.expect("read");
            }
        })
        .await;
    database
        .check("history", 30, async |store, _| {
            let path = PagePath::parse("/7").expect("a path");
            let hours = store.samples().list_hours(&host(), &path, at(0), at(24 * HOUR)).await;
            assert_eq!(hours.expect("read").len(), 24);
        })
        .await;
}

async fn check_background_reads(database: &Database) {
    let ids: Vec<_> = (1..=10).map(id).collect();
    database
        .check("processed and sequence", 140, async |_, store| {
            store.messages().count_processed(&ids).await.expect("read");
            store.messages().find_seqs(&ids).await.expect("read");
            store.messages().find_max_seq().await.expect("read");
            assert_eq!(store.messages().count_seqs(1, 100).await.expect("read"), 100);
        })
        .await;
    database
        .check("live messages", 2 * 20_000 + 100, async |_, store| {
            let page = store.messages().list_live(id(0), id(messages()), at(10 * HOUR), 64).await;
            let page = page.expect("read");
            assert_eq!((page.messages.len(), page.up_to), (0, Some(id(20_000))));
            let page = store.messages().list_live(id(0), id(messages()), at(-1), 64).await;
            let page = page.expect("read");
            assert_eq!((page.messages.len(), page.up_to), (64, Some(id(64))));
        })
        .await;
    database
        .check("published counts", 420, async |_, store| {
            for after in ["", "video 000003000"] {
                let page = store.play_counts().list_published(after, 100).await.expect("read");
                assert_eq!(page.len(), 100);
            }
        })
        .await;
    database
        .check("dead letters", 4, async |_, store| {
            let count = store.dead_letters().count().await.expect("read");
            assert_eq!(i64::try_from(count), Ok(messages() / 20));
        })
        .await;
    database
        .check("baseline", 1_500, async |_, store| {
            store.samples().find_baseline(&host(), at(36 * HOUR)).await.expect("read");
        })
        .await;
    // The query reads all 4,200 seconds of the ring buffer.
    database
        .check("statistics", 4_300, async |_, store| {
            store.statistics().read(at(0)).await.expect("read").expect("statistics");
        })
        .await;
    database
        .check("retention", 300, async |_, store| {
            let long = Duration::from_secs(1_000_000_000);
            assert_eq!(store.samples().delete_old(long, long, 1_000).await.expect("deleted"), 0);
        })
        .await;
}

/// Stores a batch twice. The second time, every message already exists.
async fn store_messages(store: &ColdStore, first: i64) {
    let json: Vec<String> = (first..first + 4)
        .map(|number| {
            format!(
                r#"{{"id":"{}","channel":"old","username":"u","text":"x","city":null,"state":null,"data":null,"created_at":"2026-11-20T19:07:00.123Z","expires_at":"2026-11-20T19:08:00.123Z"}}"#,
                id(number)
            )
        })
        .collect();
    let messages = json.iter().map(|json| NewMessageRow {
        message: MessageView::from_json(json.as_bytes()).expect("a message"),
        body_bytes: json.len(),
    });
    let expiries = (first - 2..first + 2).map(|number| Expiry { id: id(number), at: at(0) });
    let batch =
        MessageBatch { epoch: "e", messages: messages.collect(), expiries: expiries.collect() };
    store.messages().store_batch(&batch, TIMEOUT).await.expect("stored");
    store.messages().store_batch(&batch, TIMEOUT).await.expect("stored");
}

async fn count_plays(store: &ColdStore, entry: &str) {
    let json = format!(
        r#"{{"id":"{}","enqueued_at":"2026-11-20T19:07:00.123Z","plays":[{{"video_id":"video 000000007","play_id":"p"}},{{"video_id":"new"}}]}}"#,
        Uuid::now_v7()
    );
    let plays = PlaysView::from_json(json.as_bytes()).expect("plays");
    let entry_id: EntryId = entry.parse().expect("an entry ID");
    let batch = PlaysBatch { epoch: "e", entries: vec![NewPlays { entry_id, plays }] };
    store.plays().count_batch(&batch, TIMEOUT).await.expect("counted");
}

async fn check_writes(database: &Database, first: i64) {
    database
        .check("store messages", 400, async |_, store| store_messages(store, first).await)
        .await;
    let entry = format!("{}-0", messages());
    database.check("count plays", 200, async |_, store| count_plays(store, &entry).await).await;
    for (stream, message_id, plays_id) in
        [("messages", Some(id(first + 1_000)), None), ("plays", None, Some(Uuid::now_v7()))]
    {
        let letter = DeadLetter {
            stream,
            epoch: "e".into(),
            entry_id: entry.clone(),
            kind: "kind".into(),
            message_id,
            plays_id,
            items: 1,
            body: b"{}".to_vec(),
            meta: String::new(),
            reason: first.to_string(),
            attempts: 5,
        };
        database
            .check("dead letter", 200, async |_, store| {
                store.dead_letters().insert(&letter, TIMEOUT).await.expect("inserted");
            })
            .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn cost_does_not_depend_on_the_number_of_rows() {
    let database = Database::create("cost").await;
    // First with the planner statistics of empty tables, then with current statistics.
    database.check_pages().await;
    check_readable_pages(&database).await;
    check_request_reads(&database).await;
    let analyze = "ANALYZE; SELECT pg_stat_force_next_flush()";
    database.client.batch_execute(analyze).await.expect("valid SQL");
    database.check_pages().await;
    check_readable_pages(&database).await;
    check_request_reads(&database).await;
    check_background_reads(&database).await;
    check_writes(&database, messages() + 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn records_of_counted_entries_are_pruned_in_steps() {
    let url = create_migrated_database("pruned_in_steps").await;
    let client = connect(url.expose_secret()).await;
    let fill = "INSERT INTO counted_entries \
        SELECT CASE n % 2 WHEN 0 THEN 'even' ELSE 'odd' END, ARRAY[gen_random_uuid()], n, 0, n, 3 \
        FROM generate_series(1, 2600) AS n";
    client.batch_execute(fill).await.expect("valid SQL");
    let store = ColdStore::new(&PostgresSettings { url, pool_size_max: 1, timeout: TIMEOUT });
    let up_to = "2501-9".parse().expect("an entry ID");
    store.plays().prune_counted_entries(up_to).await.expect("pruned");
    let row = client.query_one("SELECT count(*), min(last_ms) FROM counted_entries", &[]).await;
    let row = row.expect("valid SQL");
    assert_eq!((row.get::<_, i64>(0), row.get::<_, i64>(1)), (99, 2_502));
    let marks = "SELECT epoch, ms, number FROM counted_marks ORDER BY epoch";
    let marks = client.query(marks, &[]).await.expect("valid SQL");
    let marks: Vec<(String, i64, i64)> =
        marks.iter().map(|row| (row.get(0), row.get(1), row.get(2))).collect();
    assert_eq!(marks, [("even".to_owned(), 2_500, 3), ("odd".to_owned(), 2_501, 3)]);
}
