//! Entries that cannot be stored are dead-lettered and do not block others.

use std::{collections::HashMap, time::Duration};

use mayfly_stack::Service;
use mayfly_tests::{
    ApiResponse, DEFAULT_TIMEOUT, PERSISTENT_KEYS, Setup, World, eventually, message_id,
    message_ids, with_slack,
};
use serde_json::{Value, json};

/// Makes Postgres reject every message with the text `poison`.
async fn reject_poison(world: &World) {
    let sql = "CREATE FUNCTION refuse_poison() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
                   IF NEW.text = 'poison' THEN RAISE EXCEPTION 'poison is refused'; END IF; \
                   RETURN NEW; \
               END $$; \
               CREATE TRIGGER refuse_poison BEFORE INSERT ON messages \
                   FOR EACH ROW EXECUTE FUNCTION refuse_poison();";
    world.postgres().await.batch_execute(sql).await.expect("the trigger is created");
}

/// Waits for dead letters. Returns attempts, reason, kind and body of each.
async fn wait_for_dead_letters(world: &World, count: usize) -> Vec<(i32, String, String, Vec<u8>)> {
    let postgres = world.postgres().await;
    let query = "SELECT attempts, reason, kind, body FROM dead_letters ORDER BY id";
    eventually(DEFAULT_TIMEOUT, "the entries are dead-lettered", async || {
        let rows = postgres.query(query, &[]).await.expect("the query works");
        let letters: Vec<_> =
            rows.iter().map(|row| (row.get(0), row.get(1), row.get(2), row.get(3))).collect();
        if letters.len() == count { Ok(letters) } else { Err(letters) }
    })
    .await
}

async fn wait_until_nothing_pending(world: &World) {
    let mut redis = world.redis().await;
    let mut command = redis::cmd("XINFO");
    command.arg("GROUPS").arg(world.key("messages"));
    eventually(DEFAULT_TIMEOUT, "nothing is pending", async || {
        let groups: Vec<HashMap<String, redis::Value>> =
            command.query_async(&mut redis).await.expect("Redis responds");
        let is_done = |group: &HashMap<_, _>| group["pending"] == redis::Value::Int(0);
        if groups.len() == 1 && groups.iter().all(is_done) { Ok(()) } else { Err(groups) }
    })
    .await;
}

async fn ledger(world: &World) -> (i64, i64) {
    let query = "SELECT sum(stored)::bigint, sum(dead_lettered)::bigint FROM ledger";
    let row = world.postgres().await.query_one(query, &[]).await.expect("the query works");
    (row.get(0), row.get(1))
}

async fn check_ledger(world: &World, accepted: i64) {
    let ledger_key = world.key("ledger");
    let counted: i64 = redis::cmd("HGET")
        .arg(ledger_key)
        .arg("messages.accepted")
        .query_async(&mut world.redis().await)
        .await
        .expect("Redis responds");
    let (stored, dead) = ledger(world).await;
    assert_eq!((counted, stored + dead), (accepted, accepted), "accepted = stored + dead-lettered");
}

#[tokio::test]
async fn entry_that_postgres_rejects_is_dead_lettered_after_all_attempts() {
    let world = Setup::new().set("MAYFLY_PERSIST__RETRY_AFTER", "50ms").start().await;
    reject_poison(&world).await;
    world.stack.stop(Service::PersistWorker).await.expect("the worker stops");
    // All entries are in one batch, which Postgres first rejects as a whole.
    let texts = ["before", "poison", "between", "poison", "after"];
    let messages: Vec<_> = texts.iter().map(|text| json!({"text": text, "ttl": 0})).collect();
    let response = world.post("/v1/messages/batch", &Value::from(messages)).await;
    let response: Value = response.json().await.expect("valid JSON");
    let ids: Vec<_> =
        response["ids"].as_array().expect("ids").iter().filter_map(Value::as_str).collect();
    let check_readable = async || {
        for (id, text) in ids.iter().zip(texts) {
            let (status, message) = world.get(&format!("/v1/messages/{id}")).await;
            assert_eq!((status, &message["text"]), (200, &json!(text)));
        }
    };
    check_readable().await;
    world.stack.start(Service::PersistWorker).await.expect("the worker starts");
    let all_stored = [ids[0], ids[2], ids[4]];
    eventually(with_slack(Duration::from_secs(2)), "the other messages are stored", async || {
        check_readable().await;
        let listed = world.list_all_messages(10).await;
        if message_ids(&listed) == all_stored { Ok(()) } else { Err(listed) }
    })
    .await;
    let letters = wait_for_dead_letters(&world, 2).await;
    for (attempts, reason, kind, body) in letters {
        assert_eq!((attempts, kind.as_str()), (5, "message.v1"));
        assert!(reason.contains("poison is refused"), "{reason}");
        let body: Value = serde_json::from_slice(&body).expect("valid JSON");
        assert_eq!(body["text"], "poison");
    }
    wait_until_nothing_pending(&world).await;
    check_readable().await;
    assert_eq!(ledger(&world).await, (3, 2));
    check_ledger(&world, 5).await;
    let later = world.post_message(&json!({"text": "later", "ttl": 0})).await;
    eventually(DEFAULT_TIMEOUT, "later messages are stored", async || {
        let listed = world.list_all_messages(10).await;
        if listed.last() == Some(&later) { Ok(()) } else { Err(listed) }
    })
    .await;
    eventually(DEFAULT_TIMEOUT, "Redis has only the persistent keys", async || {
        let keys = world.keys().await;
        if keys.iter().eq(PERSISTENT_KEYS) { Ok(()) } else { Err(keys) }
    })
    .await;
}

/// Redis can lose its data after an entry has been dead-lettered.
#[tokio::test]
async fn dead_letter_without_a_hot_copy_can_be_deleted() {
    let world = Setup::new().start().await;
    reject_poison(&world).await;
    let message = world.post_message(&json!({"text": "poison", "ttl": 600})).await;
    wait_for_dead_letters(&world, 1).await;
    let (id, mut redis) = (message_id(&message), world.redis().await);
    let mut remove = redis::cmd("DEL");
    remove.arg(world.key(&format!("message:{id}")));
    assert_eq!(remove.query_async::<i32>(&mut redis).await.expect("Redis responds"), 1);
    let url = world.list_url(&format!("/v1/messages/{id}"));
    assert_eq!(ApiResponse::send(world.http.delete(url)).await.status, 204);
    let (status, deleted) = world.get(&format!("/v1/messages/{id}")).await;
    assert_eq!((status, &deleted["text"]), (200, &message["text"]));
    let [before, after] = [&message, &deleted].map(|message| message["expires_at"].as_str());
    assert!(after < before, "{deleted}");
    let postgres = world.postgres().await;
    let query = "SELECT count(*) FROM early_expiries WHERE id = $1::text::uuid";
    eventually(DEFAULT_TIMEOUT, "Postgres has stored the expiry", async || {
        let row = postgres.query_one(query, &[&id]).await.expect("the query works");
        if row.get::<_, i64>(0) == 1 { Ok(()) } else { Err(row) }
    })
    .await;
}

#[tokio::test]
async fn unreadable_entry_is_dead_lettered_immediately() {
    let world = Setup::new().start().await;
    world.stack.stop(Service::PersistWorker).await.expect("the worker stops");
    let first = world.post_message(&json!({"text": "first"})).await;
    let mut redis = world.redis().await;
    let invalid_entries = [
        ("message.v9", "from the future"),
        ("message.v1", "{\"id\":"),
        ("message.v1", "{}"),
        ("expire.v1", "yesterday"),
        ("nothing", ""),
    ];
    for (kind, body) in invalid_entries {
        let mut add = redis::cmd("XADD");
        add.arg(world.key("messages")).arg("*").arg(kind).arg(body);
        let () = add.query_async(&mut redis).await.expect("Redis responds");
    }
    let last = world.post_message(&json!({"text": "last"})).await;
    world.stack.start(Service::PersistWorker).await.expect("the worker starts");
    eventually(with_slack(Duration::from_secs(2)), "the other messages are stored", async || {
        let listed = world.list_all_messages(10).await;
        if message_ids(&listed) == [message_id(&first), message_id(&last)] {
            Ok(())
        } else {
            Err(listed)
        }
    })
    .await;
    let letters = wait_for_dead_letters(&world, invalid_entries.len()).await;
    for ((attempts, reason, kind, body), (wrong, text)) in letters.iter().zip(invalid_entries) {
        assert_eq!((*attempts, kind.as_str(), &body[..]), (0, wrong, text.as_bytes()));
        assert!(!reason.is_empty());
    }
    wait_until_nothing_pending(&world).await;
    check_ledger(&world, 2).await;
    let admin = world.stack.env().admin_urls(Service::PersistWorker);
    let ready = ApiResponse::send(world.http.get(format!("{}/readyz", admin[0]))).await;
    assert_eq!(ready.status, 200, "{}", ready.text());
}
