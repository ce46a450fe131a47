//! A message by id: found from its 2xx on, whatever becomes of it.

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
    Answer, LASTING, PATIENCE, Setup, World, beside_others, eventually, id_of, short_or_full,
};
use redis::AsyncCommands;
use serde_json::{Value, json};
use tokio::task::JoinHandle;

type Time = DateTime<Utc>;

/// Now, as far as an answer can say it.
fn now() -> Time {
    SystemTime::now().into()
}

fn time(message: &Value, field: &str) -> Time {
    let text = message[field].as_str().expect("a time");
    DateTime::parse_from_rfc3339(text).expect("RFC 3339").to_utc()
}

/// One look at a message: when it was asked for, when the answer was there, and the answer.
type Look = (Time, Time, Answer);

/// Looks at a message every few milliseconds until told to end.
struct Watcher {
    id: String,
    end: Arc<AtomicBool>,
    looks: JoinHandle<Vec<Look>>,
}

impl Watcher {
    fn of(world: &World, id: &str) -> Self {
        let end = Arc::new(AtomicBool::new(false));
        let ended = Arc::clone(&end);
        let (http, url) = (world.http.clone(), world.list(&format!("/v1/messages/{id}")));
        let looks = tokio::spawn(async move {
            let mut looks = Vec::new();
            while !ended.load(Ordering::Relaxed) {
                let asked = now();
                let answer = Answer::of(http.get(&url)).await;
                looks.push((asked, now(), answer));
                tokio::time::sleep(Duration::from_millis(4)).await;
            }
            looks
        });
        Self { id: id.to_owned(), end, looks }
    }

    /// Ends it; every look must have found the message, expiring as `posted` says until it was
    /// expired between `change`, and as `after` says from then on.
    async fn end(self, posted: &Value, change: (Time, Time), after: &Value) {
        self.end.store(true, Ordering::Relaxed);
        let looks = self.looks.await.expect("the watcher ends");
        assert!(looks.len() > short_or_full(12, 50), "it looked {} times", looks.len());
        for (asked, answered, answer) in looks {
            assert_eq!(answer.status, 200, "{} at {asked}: {}", self.id, answer.text());
            let seen = answer.json();
            let is_old = seen == *posted && asked <= change.1;
            let is_new = seen == *after && answered >= change.0;
            assert!(is_old || is_new, "{asked} to {answered}, changed {change:?}: {seen}");
        }
    }
}

async fn get(world: &World, id: &str) -> Value {
    let (status, message) = world.get(&format!("/v1/messages/{id}")).await;
    assert_eq!(status, 200, "{id}");
    message
}

async fn delete(world: &World, id: &str) -> Answer {
    Answer::of(world.http.delete(world.list(&format!("/v1/messages/{id}")))).await
}

async fn inbox(world: &World) -> Vec<Value> {
    let (_, inbox) = world.get("/v1/users/fred/messages").await;
    inbox["items"].as_array().cloned().expect("there are items")
}

/// Posts a message of fred that lives so many seconds.
async fn post(world: &World, ttl: i64) -> Value {
    let message = world.post_message(&json!({"username": "fred", "text": "x", "ttl": ttl})).await;
    let lives = time(&message, "expires_at") - time(&message, "created_at");
    assert_eq!(lives.num_milliseconds(), ttl * 1_000);
    message
}

/// Waits until a message is gone from Redis by itself; that must be at its end.
async fn see_it_go(world: &World, message: &Value) {
    let late = eventually(PATIENCE, "the hot copy goes", async || {
        let left = world.pttl(id_of(message)).await;
        if left == -2 { Ok(now() - time(message, "expires_at")) } else { Err(left) }
    })
    .await;
    // By the clock of Redis, which counts from a moment after the acceptance.
    let late_max = short_or_full(2_000, 500);
    assert!((-50..late_max).contains(&late.num_milliseconds()), "it went {late} after its end");
}

/// Expires one message by a take and another by a deletion; gives when, and how they are then.
async fn expire(world: &World, taken: &Value, deleted: &Value) -> ((Time, Time), Value, Value) {
    let from = now() - chrono::TimeDelta::milliseconds(1);
    assert_eq!(delete(world, id_of(deleted)).await.status, 204);
    assert_eq!(world.pttl(id_of(deleted)).await, -2, "gone at the deletion");
    let items = world.take("fred").await;
    assert_eq!(world.pttl(id_of(taken)).await, -2, "gone at the take");
    let to = now();
    assert_eq!(inbox(world).await, [] as [Value; 0]);
    let (after_take, after_deletion) =
        (get(world, id_of(taken)).await, get(world, id_of(deleted)).await);
    assert_eq!(
        items,
        std::slice::from_ref(&after_take),
        "the taker sees what everybody sees from then on"
    );
    for after in [&after_take, &after_deletion] {
        let at = time(after, "expires_at");
        assert!(from <= at && at <= to, "{at} is not from {from} to {to}");
    }
    assert_eq!(delete(world, id_of(deleted)).await.status, 204, "expired it is already");
    ((from, to), after_take, after_deletion)
}

async fn see_them_stored(world: &World, messages: &[&Value]) {
    let postgres = world.postgres().await;
    let query = "SELECT count(*), \
                 to_char(max(expires_at AT TIME ZONE 'UTC'), 'YYYY-MM-DD\"T\"HH24:MI:SS.MS\"Z\"') \
                 FROM messages WHERE id = $1::text::uuid";
    for message in messages {
        let id = id_of(message);
        // A take shows within 3 s of an idle worker.
        eventually(
            beside_others(Duration::from_secs(3)),
            "Postgres shows it as it is",
            async || {
                let row = postgres.query_one(query, &[&id]).await.expect("the query works");
                let (count, end): (i64, Option<String>) = (row.get(0), row.get(1));
                let is = count == 1 && message["expires_at"] == json!(end);
                if is { Ok(()) } else { Err((count, end)) }
            },
        )
        .await;
        assert_eq!(get(world, id).await, **message);
    }
}

/// Everything that can become of a message, watched all the while.
async fn live_and_expire(worker_runs: bool) {
    let world = Setup::new().start().await;
    if !worker_runs {
        world.stack.stop(Service::PersistWorker).await.expect("the worker stops");
    }
    // The short one must be live until it was looked at.
    let posted = [0, 3, 60, 60].map(|ttl| post(&world, ttl));
    let posted = futures_util::future::join_all(posted).await;
    let watchers: Vec<_> =
        posted.iter().map(|message| Watcher::of(&world, id_of(message))).collect();
    for (message, ttl) in posted.iter().zip([0, 3_000, 60_000, 60_000]) {
        assert_eq!(get(&world, id_of(message)).await, *message);
        let left = world.pttl(id_of(message)).await;
        let is_right = if ttl == 0 { left == -2 } else { 0 < left && left <= ttl };
        assert!(is_right, "{left} ms are left of {ttl}");
    }
    let [zero, one, taken, deleted] = &posted[..] else { panic!("four were posted") };
    let lies: BTreeSet<_> = inbox(&world).await.iter().map(|one| id_of(one).to_owned()).collect();
    assert_eq!(lies, [one, taken, deleted].map(|one| id_of(one).to_owned()).into());
    see_it_go(&world, one).await;
    assert_eq!(inbox(&world).await.len(), 2, "what is expired is in no inbox");
    let (when, after_take, after_deletion) = expire(&world, taken, deleted).await;
    if !worker_runs {
        // The watchers look on for as long as the worker is away.
        tokio::time::sleep(Duration::from_secs(short_or_full(1, 60))).await;
        assert_eq!(world.count("SELECT count(*) FROM messages").await, 0);
        world.stack.start(Service::PersistWorker).await.expect("the worker starts");
    }
    see_them_stored(&world, &[zero, one, &after_take, &after_deletion]).await;
    let ends = [(zero, zero), (one, one), (taken, &after_take), (deleted, &after_deletion)];
    for (watcher, (posted, after)) in watchers.into_iter().zip(ends) {
        watcher.end(posted, when, after).await;
    }
    eventually(PATIENCE, "nothing is left that should have gone", async || {
        let keys = world.keys().await;
        let stays = LASTING.map(str::to_owned);
        if keys == BTreeSet::from(stays) { Ok(()) } else { Err(keys) }
    })
    .await;
}

#[tokio::test]
async fn a_message_is_found_all_the_time_and_leaves_nothing_in_redis_with_the_worker_running() {
    live_and_expire(true).await;
}

#[tokio::test]
async fn a_message_is_found_all_the_time_and_leaves_nothing_in_redis_with_the_worker_stopped() {
    live_and_expire(false).await;
}

/// A worker that stored a message and is slow, or dead, before it says so, is no reason to show what
/// the message was like before it was taken.
#[tokio::test]
async fn a_taken_message_is_shown_as_taken_where_the_worker_that_stored_it_did_not_acknowledge_it()
{
    let world = Setup::new().start().await;
    world.stack.stop(Service::PersistWorker).await.expect("the worker stops");
    let posted = post(&world, 60).await;
    let (id, waiting, mut redis) = (id_of(&posted), world.key("waiting"), world.redis().await);
    let entry: String = redis.hget(&waiting, id).await.expect("it waits");
    world.stack.start(Service::PersistWorker).await.expect("the worker starts");
    eventually(PATIENCE, "it is stored", async || {
        if world.is_waiting(id).await { Err("waiting") } else { Ok(()) }
    })
    .await;
    // As if the worker had come as far as its commit, and no further.
    let _: () = redis.hset(&waiting, id, entry).await.expect("Redis answers");
    let taken = world.take("fred").await;
    assert_ne!(taken, std::slice::from_ref(&posted));
    eventually(PATIENCE, "Postgres shows the take", async || {
        assert_eq!(get(&world, id).await, taken[0]);
        let stands_in: bool = redis.hexists(world.key("taken"), id).await.expect("Redis answers");
        if stands_in { Err("it stands in for the row") } else { Ok(()) }
    })
    .await;
    assert_eq!(get(&world, id).await, taken[0]);
    see_them_stored(&world, &[&taken[0]]).await;
}

#[tokio::test]
async fn a_deletion_expires_a_stored_message_and_what_is_expired_stays_as_it_is() {
    let world = World::shared().await;
    let message = world.post_message(&json!({"username": "reader", "text": "x"})).await;
    let born_expired = world.post_message(&json!({"text": "x", "ttl": 0})).await;
    for id in [id_of(&message), id_of(&born_expired)] {
        eventually(PATIENCE, "it is stored", async || {
            if world.is_waiting(id).await { Err("waiting") } else { Ok(()) }
        })
        .await;
        let answer = delete(&world, id).await;
        assert_eq!((answer.status, answer.body.len()), (204, 0));
    }
    let after = get(&world, id_of(&message)).await;
    assert!(time(&after, "expires_at") < time(&message, "expires_at"));
    assert_eq!(world.take("reader").await, [] as [Value; 0]);
    see_them_stored(&world, &[&after, &born_expired]).await;
    assert_eq!(delete(&world, id_of(&message)).await.status, 204);
    assert_eq!(get(&world, id_of(&message)).await, after);
}

#[tokio::test]
async fn an_id_that_nothing_has_is_404_for_both_reading_and_deleting() {
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
            let answer = Answer::of(world.http.get(world.list(&path))).await;
            answer.expect_problem(404, "not_found");
        }
    }
}

#[tokio::test]
async fn a_message_is_the_same_by_its_chat_address() {
    let world = World::shared().await;
    let message = world.post_message(&json!({"username": "by-chat", "text": "x"})).await;
    let (status, chat) = world.get(&format!("/chat/{}", id_of(&message))).await;
    assert_eq!((status, &chat), (200, &message));
    assert_eq!(world.take("by-chat").await.len(), 1, "it is still in the inbox");
}
