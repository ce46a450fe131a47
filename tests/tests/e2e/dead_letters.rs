//! Entries that nobody can store: they leave the queue, and hold up nobody.

use std::{collections::HashMap, time::Duration};

use mayfly_stack::Service;
use mayfly_tests::{
    Answer, LASTING, PATIENCE, Setup, World, beside_others, eventually, id_of, ids_of,
};
use serde_json::{Value, json};

/// Has Postgres refuse every message that says `poison`.
async fn refuse_poison(world: &World) {
    let sql = "CREATE FUNCTION refuse_poison() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
                   IF NEW.text = 'poison' THEN RAISE EXCEPTION 'poison is refused'; END IF; \
                   RETURN NEW; \
               END $$; \
               CREATE TRIGGER refuse_poison BEFORE INSERT ON messages \
                   FOR EACH ROW EXECUTE FUNCTION refuse_poison();";
    world.postgres().await.batch_execute(sql).await.expect("the trigger can be made");
}

/// Waits for so many dead letters: attempts, reason, kind and body of each.
async fn see_dead_letters(world: &World, count: usize) -> Vec<(i32, String, String, Vec<u8>)> {
    let postgres = world.postgres().await;
    let query = "SELECT attempts, reason, kind, body FROM dead_letters ORDER BY id";
    eventually(PATIENCE, "it is among the dead letters", async || {
        let rows = postgres.query(query, &[]).await.expect("the query works");
        let letters: Vec<_> =
            rows.iter().map(|row| (row.get(0), row.get(1), row.get(2), row.get(3))).collect();
        if letters.len() == count { Ok(letters) } else { Err(letters) }
    })
    .await
}

async fn see_nothing_pending(world: &World) {
    let mut redis = world.redis().await;
    let mut ask = redis::cmd("XINFO");
    ask.arg("GROUPS").arg(world.key("messages"));
    eventually(PATIENCE, "nothing is pending", async || {
        let groups: Vec<HashMap<String, redis::Value>> =
            ask.query_async(&mut redis).await.expect("Redis answers");
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

async fn see_audit_agree(world: &World, accepted: i64) {
    let ledger_key = world.key("ledger");
    let counted: i64 = redis::cmd("HGET")
        .arg(ledger_key)
        .arg("messages.accepted")
        .query_async(&mut world.redis().await)
        .await
        .expect("Redis answers");
    let (stored, dead) = ledger(world).await;
    assert_eq!((counted, stored + dead), (accepted, accepted), "accepted = stored + dead-lettered");
}

#[tokio::test]
async fn an_entry_that_postgres_refuses_alone_is_a_dead_letter_after_the_attempts() {
    let world = Setup::new().set("MAYFLY_PERSIST__RETRY_AFTER", "50ms").start().await;
    refuse_poison(&world).await;
    world.stack.stop(Service::PersistWorker).await.expect("the worker stops");
    // They meet in one batch, so that it is refused as a whole first.
    let texts = ["before", "poison", "between", "poison", "after"];
    let messages: Vec<_> = texts.iter().map(|text| json!({"text": text, "ttl": 0})).collect();
    let answer = world.post("/v1/messages/batch", &Value::from(messages)).await;
    let answer: Value = answer.json().await.expect("JSON");
    let ids: Vec<_> =
        answer["ids"].as_array().expect("ids").iter().filter_map(Value::as_str).collect();
    let found = async || {
        for (id, text) in ids.iter().zip(texts) {
            let (status, message) = world.get(&format!("/v1/messages/{id}")).await;
            assert_eq!((status, &message["text"]), (200, &json!(text)));
        }
    };
    found().await;
    world.stack.start(Service::PersistWorker).await.expect("the worker starts");
    let all_stored = [ids[0], ids[2], ids[4]];
    eventually(beside_others(Duration::from_secs(2)), "nobody is held up", async || {
        found().await;
        let walked = world.walk(10).await;
        if ids_of(&walked) == all_stored { Ok(()) } else { Err(walked) }
    })
    .await;
    let letters = see_dead_letters(&world, 2).await;
    for (attempts, reason, kind, body) in letters {
        assert_eq!((attempts, kind.as_str()), (5, "message.v1"));
        assert!(reason.contains("poison is refused"), "{reason}");
        let body: Value = serde_json::from_slice(&body).expect("JSON");
        assert_eq!(body["text"], "poison");
    }
    see_nothing_pending(&world).await;
    found().await;
    assert_eq!(ledger(&world).await, (3, 2));
    see_audit_agree(&world, 5).await;
    let later = world.post_message(&json!({"text": "later", "ttl": 0})).await;
    eventually(PATIENCE, "what comes later is stored", async || {
        let walked = world.walk(10).await;
        if walked.last() == Some(&later) { Ok(()) } else { Err(walked) }
    })
    .await;
    eventually(PATIENCE, "nothing is left in Redis", async || {
        let keys = world.keys().await;
        if keys.iter().eq(LASTING) { Ok(()) } else { Err(keys) }
    })
    .await;
}

#[tokio::test]
async fn an_entry_that_nobody_can_read_is_a_dead_letter_at_once_and_holds_up_nobody() {
    let world = Setup::new().start().await;
    world.stack.stop(Service::PersistWorker).await.expect("the worker stops");
    let first = world.post_message(&json!({"text": "first"})).await;
    let mut redis = world.redis().await;
    let unreadable = [
        ("message.v9", "from the future"),
        ("message.v1", "{\"id\":"),
        ("message.v1", "{}"),
        ("expire.v1", "yesterday"),
        ("nothing", ""),
    ];
    for (kind, body) in unreadable {
        let mut add = redis::cmd("XADD");
        add.arg(world.key("messages")).arg("*").arg(kind).arg(body);
        let () = add.query_async(&mut redis).await.expect("Redis takes it");
    }
    let last = world.post_message(&json!({"text": "last"})).await;
    world.stack.start(Service::PersistWorker).await.expect("the worker starts");
    eventually(beside_others(Duration::from_secs(2)), "nobody is held up", async || {
        let walked = world.walk(10).await;
        if ids_of(&walked) == [id_of(&first), id_of(&last)] { Ok(()) } else { Err(walked) }
    })
    .await;
    let letters = see_dead_letters(&world, unreadable.len()).await;
    for ((attempts, reason, kind, body), (wrong, text)) in letters.iter().zip(unreadable) {
        assert_eq!((*attempts, kind.as_str(), &body[..]), (0, wrong, text.as_bytes()));
        assert!(!reason.is_empty());
    }
    see_nothing_pending(&world).await;
    see_audit_agree(&world, 2).await;
    let admin = world.stack.env().admin_urls(Service::PersistWorker);
    let ready = Answer::of(world.http.get(format!("{}/readyz", admin[0]))).await;
    assert_eq!(ready.status, 200, "{}", ready.text());
}
