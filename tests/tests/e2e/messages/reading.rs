//! Reading a message by ID: it is found at any time after its 2xx response.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, SystemTime},
};

use chrono::{DateTime, Utc};
use mayfly_stack::Service;
use mayfly_tests::{
    ApiResponse, DEFAULT_TIMEOUT, PERSISTENT_KEYS, Setup, World, eventually, message_id,
    short_or_full, with_slack,
};
use redis::AsyncCommands;
use serde_json::{Value, json};
use tokio::task::JoinHandle;

type Time = DateTime<Utc>;

/// Returns the current time.
fn now() -> Time {
    SystemTime::now().into()
}

fn time(message: &Value, field: &str) -> Time {
    let text = message[field].as_str().expect("a time");
    DateTime::parse_from_rfc3339(text).expect("RFC 3339").to_utc()
}

/// One read: the time of the request, the time of the response, and the response.
type Read = (Time, Time, ApiResponse);

/// A task that reads a message every few milliseconds until it is stopped.
struct Watcher {
    id: String,
    stop: Arc<AtomicBool>,
    reads: JoinHandle<Vec<Read>>,
}

impl Watcher {
    fn start(world: &World, id: &str) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let (http, url) = (world.http.clone(), world.list_url(&format!("/v1/messages/{id}")));
        let reads = tokio::spawn(async move {
            let mut reads = Vec::new();
            while !stopped.load(Ordering::Relaxed) {
                let requested_at = now();
                let response = ApiResponse::send(http.get(&url)).await;
                reads.push((requested_at, now(), response));
                tokio::time::sleep(Duration::from_millis(4)).await;
            }
            reads
        });
        Self { id: id.to_owned(), stop, reads }
    }

    /// Stops the task. The message expired at some time in the interval `change`. Every read must
    /// have returned `posted` before that time and `after` from then on.
    async fn stop(self, posted: &Value, change: (Time, Time), after: &Value) {
        self.stop.store(true, Ordering::Relaxed);
        let reads = self.reads.await.expect("the task does not panic");
        assert!(reads.len() > short_or_full(12, 50), "{} reads", reads.len());
        for (requested_at, responded_at, response) in reads {
            assert_eq!(response.status, 200, "{} at {requested_at}: {}", self.id, response.text());
            let message = response.json();
            let is_old = message == *posted && requested_at <= change.1;
            let is_new = message == *after && responded_at >= change.0;
            assert!(
                is_old || is_new,
                "{requested_at} to {responded_at}, changed {change:?}: {message}"
            );
        }
    }
}

async fn get(world: &World, id: &str) -> Value {
    let (status, message) = world.get(&format!("/v1/messages/{id}")).await;
    assert_eq!(status, 200, "{id}");
    message
}

async fn delete(world: &World, id: &str) -> ApiResponse {
    ApiResponse::send(world.http.delete(world.list_url(&format!("/v1/messages/{id}")))).await
}

async fn inbox(world: &World) -> Vec<Value> {
    let (_, inbox) = world.get("/v1/users/fred/messages").await;
    inbox["items"].as_array().cloned().expect("the response has `items`")
}

/// Posts a message to the inbox of fred.
async fn post(world: &World, ttl: i64) -> Value {
    let message = world.post_message(&json!({"username": "fred", "text": "x", "ttl": ttl})).await;
    let lifetime = time(&message, "expires_at") - time(&message, "created_at");
    assert_eq!(lifetime.num_milliseconds(), ttl * 1_000);
    message
}

/// Waits until a hot copy expires and checks that this happens at `expires_at`.
async fn wait_for_expiry(world: &World, message: &Value) {
    let delay = eventually(DEFAULT_TIMEOUT, "the hot copy expires", async || {
        let ttl = world.pttl(message_id(message)).await;
        if ttl == -2 { Ok(now() - time(message, "expires_at")) } else { Err(ttl) }
    })
    .await;
    // Redis starts the TTL slightly after the creation time.
    let max_delay = short_or_full(2_000, 500);
    assert!(
        (-50..max_delay).contains(&delay.num_milliseconds()),
        "expired {delay} after expires_at"
    );
}

/// Expires one message by a take and another by a deletion. Returns the time interval and the
/// expired messages.
async fn expire(world: &World, taken: &Value, deleted: &Value) -> ((Time, Time), Value, Value) {
    let from = now() - chrono::TimeDelta::milliseconds(1);
    assert_eq!(delete(world, message_id(deleted)).await.status, 204);
    assert_eq!(world.pttl(message_id(deleted)).await, -2, "removed by the deletion");
    let items = world.take("fred").await;
    assert_eq!(world.pttl(message_id(taken)).await, -2, "removed by the take");
    let to = now();
    assert_eq!(inbox(world).await, [] as [Value; 0]);
    let (after_take, after_deletion) =
        (get(world, message_id(taken)).await, get(world, message_id(deleted)).await);
    assert_eq!(
        items,
        std::slice::from_ref(&after_take),
        "a take returns the same message as a later read"
    );
    for after in [&after_take, &after_deletion] {
        let at = time(after, "expires_at");
        assert!(from <= at && at <= to, "{at} is not from {from} to {to}");
    }
    assert_eq!(delete(world, message_id(deleted)).await.status, 204, "deleting again succeeds");
    ((from, to), after_take, after_deletion)
}

async fn wait_until_stored(world: &World, messages: &[&Value]) {
    let postgres = world.postgres().await;
    let query = "SELECT count(*), \
                 to_char(max(expires_at AT TIME ZONE 'UTC'), 'YYYY-MM-DD\"T\"HH24:MI:SS.MS\"Z\"') \
                 FROM messages WHERE id = $1::text::uuid";
    for message in messages {
        let id = message_id(message);
        // An idle worker stores a take within 3 s.
        eventually(
            with_slack(Duration::from_secs(3)),
            "Postgres has the message with its expiry",
            async || {
                let row = postgres.query_one(query, &[&id]).await.expect("the query works");
                let (count, expires_at): (i64, Option<String>) = (row.get(0), row.get(1));
                let is_stored = count == 1 && message["expires_at"] == json!(expires_at);
                if is_stored { Ok(()) } else { Err((count, expires_at)) }
            },
        )
        .await;
        assert_eq!(get(world, id).await, **message);
    }
}

/// Posts messages that expire by TTL, take and deletion, and reads them continuously.
async fn read_until_expired(is_worker_running: bool) {
    let world = Setup::new().start().await;
    if !is_worker_running {
        world.stack.stop(Service::PersistWorker).await.expect("the worker stops");
    }
    // The shortest TTL must outlast the first read.
    let posted = [0, 3, 60, 60].map(|ttl| post(&world, ttl));
    let posted = futures_util::future::join_all(posted).await;
    let watchers: Vec<_> =
        posted.iter().map(|message| Watcher::start(&world, message_id(message))).collect();
    for (message, ttl) in posted.iter().zip([0, 3_000, 60_000, 60_000]) {
        assert_eq!(get(&world, message_id(message)).await, *message);
        let remaining = world.pttl(message_id(message)).await;
        let is_valid = if ttl == 0 { remaining == -2 } else { 0 < remaining && remaining <= ttl };
        assert!(is_valid, "{remaining} ms of {ttl}");
    }
    let [zero, one, taken, deleted] = &posted[..] else { panic!("four messages") };
    let in_inbox: BTreeSet<_> =
        inbox(&world).await.iter().map(|one| message_id(one).to_owned()).collect();
    assert_eq!(in_inbox, [one, taken, deleted].map(|one| message_id(one).to_owned()).into());
    wait_for_expiry(&world, one).await;
    assert_eq!(inbox(&world).await.len(), 2, "an expired message is in no inbox");
    let (when, after_take, after_deletion) = expire(&world, taken, deleted).await;
    if !is_worker_running {
        // The reads continue while the worker is stopped.
        tokio::time::sleep(Duration::from_secs(short_or_full(1, 60))).await;
        assert_eq!(world.query_count("SELECT count(*) FROM messages").await, 0);
        world.stack.start(Service::PersistWorker).await.expect("the worker starts");
    }
    wait_until_stored(&world, &[zero, one, &after_take, &after_deletion]).await;
    let outcomes = [(zero, zero), (one, one), (taken, &after_take), (deleted, &after_deletion)];
    for (watcher, (posted, after)) in watchers.into_iter().zip(outcomes) {
        watcher.stop(posted, when, after).await;
    }
    eventually(DEFAULT_TIMEOUT, "Redis has only the persistent keys", async || {
        let keys = world.keys().await;
        let expected = PERSISTENT_KEYS.map(str::to_owned);
        if keys == BTreeSet::from(expected) { Ok(()) } else { Err(keys) }
    })
    .await;
}

#[tokio::test]
async fn message_is_always_readable_and_leaves_no_keys_with_worker_running() {
    read_until_expired(true).await;
}

#[tokio::test]
async fn message_is_always_readable_and_leaves_no_keys_with_worker_stopped() {
    read_until_expired(false).await;
}

/// The worker may crash between storing a message and acknowledging the entry. Reads must then not
/// return the message as it was before a take.
#[tokio::test]
async fn taken_message_is_expired_even_if_its_stream_entry_was_not_acknowledged() {
    let world = Setup::new().start().await;
    world.stack.stop(Service::PersistWorker).await.expect("the worker stops");
    let posted = post(&world, 60).await;
    let (id, waiting, mut redis) = (message_id(&posted), world.key("waiting"), world.redis().await);
    let entry: String = redis.hget(&waiting, id).await.expect("the message is waiting");
    world.stack.start(Service::PersistWorker).await.expect("the worker starts");
    eventually(DEFAULT_TIMEOUT, "the message is stored", async || {
        if world.is_waiting(id).await { Err("waiting") } else { Ok(()) }
    })
    .await;
    // Simulates a worker that crashed after the commit.
    let _: () = redis.hset(&waiting, id, entry).await.expect("Redis responds");
    let taken = world.take("fred").await;
    assert_ne!(taken, std::slice::from_ref(&posted));
    eventually(DEFAULT_TIMEOUT, "Postgres has the take", async || {
        assert_eq!(get(&world, id).await, taken[0]);
        let is_overlaid: bool =
            redis.hexists(world.key("taken"), id).await.expect("Redis responds");
        if is_overlaid { Err("Redis still overlays the row") } else { Ok(()) }
    })
    .await;
    assert_eq!(get(&world, id).await, taken[0]);
    wait_until_stored(&world, &[&taken[0]]).await;
}

#[tokio::test]
async fn deletion_expires_a_stored_message_and_keeps_expired_ones_unchanged() {
    let world = World::shared().await;
    let message = world.post_message(&json!({"username": "reader", "text": "x"})).await;
    let born_expired = world.post_message(&json!({"text": "x", "ttl": 0})).await;
    for id in [message_id(&message), message_id(&born_expired)] {
        eventually(DEFAULT_TIMEOUT, "the message is stored", async || {
            if world.is_waiting(id).await { Err("waiting") } else { Ok(()) }
        })
        .await;
        let response = delete(&world, id).await;
        assert_eq!((response.status, response.body.len()), (204, 0));
    }
    let after = get(&world, message_id(&message)).await;
    assert!(time(&after, "expires_at") < time(&message, "expires_at"));
    assert_eq!(world.take("reader").await, [] as [Value; 0]);
    wait_until_stored(&world, &[&after, &born_expired]).await;
    assert_eq!(delete(&world, message_id(&message)).await.status, 204);
    assert_eq!(get(&world, message_id(&message)).await, after);
}

#[tokio::test]
async fn unknown_id_returns_404_for_read_and_delete() {
    let world = World::shared().await;
    let unknown = uuid::Uuid::now_v7().to_string();
    let version_4 = "936da01f-9abd-4d9d-80c7-02af85c822a8";
    for id in [
        unknown.as_str(),
        version_4,
        "x",
        "%00",
        "%F0%9F%98%80",
        "019a8f3c7b1e7c549d0a3f6e2b8c1d47",
    ] {
        delete(&world, id).await.expect_problem(404, "not_found");
        for path in [format!("/v1/messages/{id}"), format!("/chat/{id}")] {
            let response = ApiResponse::send(world.http.get(world.list_url(&path))).await;
            response.expect_problem(404, "not_found");
        }
    }
}

#[tokio::test]
async fn chat_route_returns_the_same_message() {
    let world = World::shared().await;
    let message = world.post_message(&json!({"username": "by-chat", "text": "x"})).await;
    let (status, chat) = world.get(&format!("/chat/{}", message_id(&message))).await;
    assert_eq!((status, &chat), (200, &message));
    assert_eq!(world.take("by-chat").await.len(), 1, "a read leaves it in the inbox");
}
