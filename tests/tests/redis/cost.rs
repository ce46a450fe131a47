//! Tests that the cost of periodic jobs in Redis does not grow with the amount of stored data.
//! Redis executes one command at a time, so an expensive job would delay all requests.

use std::{fs, time::Duration};

use mayfly_core::{EntryId, StateFeed};
use mayfly_hot::{FanoutReport, Lease, Stream};
use mayfly_stack::{SharedRedis, Spec, Stack};

use crate::{JOB, LONG, TestStore, entry_id, host};

/// The number of entries, waiting messages, videos and so on that are stored in each case.
const FEW: u64 = 10;
const MANY: u64 = 500_000;
/// The number of entries that one script call writes.
const STEP_ENTRIES: u64 = 2_000;
/// The number of runs per job. The fastest run counts, because other processes use the machine too.
const RUNS: usize = 7;
/// The cost at [`MANY`] entries may be this many times the cost at [`FEW`] entries, plus
/// [`MICROS_MAX`] microseconds, because some jobs process a limited number of entries.
const FACTOR_MAX: u64 = 5;
const MICROS_MAX: u64 = 5_000;
/// The greatest integer that Lua represents exactly.
const NO_LIMIT: u64 = (1 << 53) - 1;

/// The jobs that run periodically in any process.
const JOBS: [&str; 23] = [
    "trim messages",
    "trim plays",
    "measure messages",
    "measure plays",
    "remove consumers",
    "reconcile messages",
    "reconcile plays",
    "reconcile the lag",
    "check the ledger",
    "check a missing entry",
    "prune counted plays",
    "restore messages",
    "restore counts",
    "sync API keys",
    "sync token revocations",
    "read the versions of keys",
    "renew a lease",
    "sample the pulse",
    "publish counts",
    "save counts",
    "list hosts",
    "follow the stream",
    "report a process",
];

/// Fills the streams and all keys that grow with them. The last entry is the newest.
const FILL: &str = r"
local messages, plays, waiting, ledger = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
for i = tonumber(ARGV[1]), tonumber(ARGV[2]) do
    local entry = redis.call('XADD', messages, '*', 'message.v1', 'x', 'meta', 'x')
    redis.call('HSET', waiting, 'message ' .. i, entry)
    redis.call('XADD', plays, '*', 'plays.v1', 'x', 'meta', 'x')
    redis.call('HSET', ledger, 'messages.last', entry, 'plays.waiting', i)
    redis.call('ZADD', KEYS[5], i, 'video ' .. i)
    redis.call('HSET', KEYS[6], 'video ' .. i, i)
    redis.call('SADD', KEYS[7], 'video ' .. i)
    redis.call('HSET', KEYS[8], 'message ' .. i, 'x')
end
";

/// Creates a store with its own Redis, so that the command statistics contain no other commands.
async fn create_store(name: &str, entries: u64) -> (Stack, TestStore, Lease) {
    let shared = SharedRedis::get().await.expect("Redis starts");
    let root = shared.root().join(name);
    fs::create_dir_all(&root).expect("a directory");
    let stack = Stack::up(Spec::redis_only(&root)).await.expect("Redis starts");
    let test = TestStore::connect(stack.env().redis_url(), "cost", &[]).await;
    test.query::<()>(&["CONFIG", "SET", "maxmemory", "0"]).await;
    let keys = test.keys();
    for stream in Stream::ALL {
        test.hot.queue().create_group(stream).await.expect("Redis responds");
    }
    for first in (1..=entries).step_by(STEP_ENTRIES.try_into().expect("it fits")) {
        let last = entries.min(first + STEP_ENTRIES - 1).to_string();
        test.query::<()>(&[
            "EVAL",
            FILL,
            "8",
            &keys.messages(),
            &keys.plays(),
            &keys.waiting(),
            &keys.ledger(),
            &keys.play_counts(),
            &keys.plays_published(),
            &keys.plays_unsaved(),
            &keys.taken(),
            &first.to_string(),
            &last,
        ])
        .await;
    }
    test.hot.ledger().begin_epoch("").await.expect("Redis responds");
    let run_id = test.hot.plays().find_run_id().await.expect("Redis responds");
    test.query::<()>(&["HSET", &keys.ledger(), "plays.restored", &run_id]).await;
    let lease = test.lead().await;
    (stack, test, lease)
}

async fn run(job: &str, test: &TestStore, lease: &Lease) {
    const RESPONDS: &str = "Redis responds";
    let (hot, queue) = (&test.hot, test.hot.queue());
    match job {
        "trim messages" => {
            queue.trim(Stream::Messages, LONG, NO_LIMIT).await.expect(RESPONDS);
        }
        "trim plays" => drop(queue.trim(Stream::Plays, LONG, NO_LIMIT).await.expect(RESPONDS)),
        "measure messages" => {
            queue.length(Stream::Messages).await.expect(RESPONDS);
            queue.depth(Stream::Messages).await.expect(RESPONDS);
        }
        "measure plays" => {
            queue.length(Stream::Plays).await.expect(RESPONDS);
            queue.depth(Stream::Plays).await.expect(RESPONDS);
        }
        "remove consumers" => {
            queue.remove_idle_consumers(Stream::Messages).await.expect(RESPONDS);
        }
        "reconcile messages" => {
            queue.reconcile_waiting_messages("0").await.expect(RESPONDS);
        }
        "reconcile plays" => queue.reconcile_waiting_plays().await.expect(RESPONDS),
        "reconcile the lag" => {
            queue.reconcile_lag(Stream::Messages).await.expect(RESPONDS);
        }
        "check the ledger" => {
            let ledger = hot.ledger().find_or_begin(Stream::Messages).await.expect(RESPONDS);
            let newest = ledger.newest.expect("an entry");
            hot.ledger().is_entry_lost(Stream::Messages, &newest).await.expect(RESPONDS);
        }
        "check a missing entry" => {
            hot.ledger().is_entry_lost(Stream::Plays, "9999999999999-0").await.expect(RESPONDS);
            let stream = hot.message_stream();
            stream.has_entry(entry_id("9999999999999-0")).await.expect(RESPONDS);
        }
        "prune counted plays" => {
            queue.find_acked_up_to(Stream::Plays).await.expect(RESPONDS);
        }
        "restore messages" => drop(hot.messages().find_restore_progress().await.expect(RESPONDS)),
        "restore counts" => {
            let run_id = hot.plays().find_run_id().await.expect(RESPONDS);
            hot.plays().has_all_counts(&run_id).await.expect(RESPONDS);
        }
        "sync API keys" => {
            hot.api_keys().is_current(1).await.expect(RESPONDS);
        }
        "sync token revocations" => {
            hot.token_revocations().is_current(1).await.expect(RESPONDS);
        }
        "read the versions of keys" => drop(hot.read_access_versions().await.expect(RESPONDS)),
        "renew a lease" => {
            Lease::new(hot, JOB, LONG).acquire_or_renew().await.expect(RESPONDS);
        }
        "sample the pulse" => {
            hot.snapshots().find_totals().await.expect(RESPONDS);
            queue.find_consumption(Stream::Messages).await.expect(RESPONDS);
            let publishing = hot.snapshots().publish_state(lease, StateFeed::Pulse, b"{}");
            publishing.await.expect(RESPONDS);
        }
        "publish counts" => {
            hot.plays().begin_tick(lease, Duration::from_millis(1)).await.expect(RESPONDS);
            hot.plays().publish_counts(lease).await.expect(RESPONDS);
        }
        "save counts" => {
            let unsaved = hot.plays().find_unsaved_counts(100).await.expect(RESPONDS);
            // The count differs from the published count, so that it stays unsaved.
            let changed = unsaved.into_iter().take(1).map(|(video, _)| (video, 0));
            hot.plays().mark_counts_saved(&changed.collect::<Vec<_>>()).await.expect(RESPONDS);
        }
        "list hosts" => {
            hot.visits().list_hosts(LONG).await.expect(RESPONDS);
            hot.trends().list_watched_hosts().await.expect(RESPONDS);
            hot.source().list_requested_hosts().await.expect(RESPONDS);
        }
        "follow the stream" => {
            let position = hot.message_stream().find_position().await.expect(RESPONDS);
            assert!(position.entry > EntryId::START);
            hot.snapshots().find_state(StateFeed::Pulse).await.expect(RESPONDS);
        }
        "report a process" => {
            let report = FanoutReport { connections: 1, delivered: 1 };
            hot.fanouts().report("one", report).await.expect(RESPONDS);
            let watched = host("a.org");
            // Only a host with an accepted key is watched.
            let source_keys = test.keys().source_keys(&watched);
            test.query::<()>(&["ZADD", &source_keys, "1", "digest"]).await;
            hot.trends().watch_hosts(&[watched]).await.expect(RESPONDS);
        }
        other => panic!("unknown job {other}"),
    }
}

/// Returns the time in microseconds that Redis needs for a job.
async fn measure(job: &str, test: &TestStore, lease: &Lease) -> u64 {
    let mut fastest = u64::MAX;
    for _ in 0..RUNS {
        test.query::<()>(&["CONFIG", "RESETSTAT"]).await;
        run(job, test, lease).await;
        let info: String = test.query(&["INFO", "commandstats"]).await;
        let micros = info.lines().filter_map(parse_micros).sum();
        fastest = fastest.min(micros);
    }
    fastest
}

/// Parses a line such as `cmdstat_xadd:calls=1,usec=12,usec_per_call=12.00`. Redis counts the time
/// of a command in a script twice: for the command and for the script.
fn parse_micros(line: &str) -> Option<u64> {
    let (command, values) = line.strip_prefix("cmdstat_")?.split_once(':')?;
    if ["info", "config|resetstat"].contains(&command) {
        return None;
    }
    let micros = values.split(',').find_map(|value| value.strip_prefix("usec="))?;
    micros.trim().parse().ok()
}

/// Changes the state of both queues.
async fn enter_state(state: &str, test: &TestStore) {
    let keys = test.keys();
    for stream in Stream::ALL {
        let (key, group) = (keys.stream(stream), stream.group());
        match state {
            "a backlog" => {}
            // Redis cannot compute the lag after the deletion.
            "a backlog with a deleted entry" => {
                let last: Vec<(String, Vec<String>)> =
                    test.query(&["XREVRANGE", &key, "+", "-", "COUNT", "2"]).await;
                test.query::<()>(&["XDEL", &key, &last[1].0]).await;
            }
            // All entries are within the resume window.
            "everything stored" => {
                test.query::<()>(&["XGROUP", "SETID", &key, group, "$"]).await;
                test.query::<()>(&["UNLINK", &keys.waiting()]).await;
            }
            other => panic!("unknown state {other}"),
        }
    }
}

#[tokio::test]
async fn cost_of_periodic_jobs_does_not_grow_with_the_stored_data() {
    let (_few_stack, few, few_lease) = create_store("few", FEW).await;
    let (_many_stack, many, many_lease) = create_store("many", MANY).await;
    let mut excessive = Vec::new();
    for state in ["a backlog", "a backlog with a deleted entry", "everything stored"] {
        enter_state(state, &few).await;
        enter_state(state, &many).await;
        for job in JOBS {
            let at_few = measure(job, &few, &few_lease).await;
            let at_many = measure(job, &many, &many_lease).await;
            println!("{state}: {job}: {at_few} µs at {FEW}, {at_many} µs at {MANY}");
            if at_many > at_few * FACTOR_MAX + MICROS_MAX {
                excessive.push(format!("{state}: {job}: {at_few} µs, then {at_many} µs"));
            }
        }
    }
    assert!(excessive.is_empty(), "{excessive:#?}");
}
