//! Keys of the source: which are tried, which are known, which are never asked with.

use std::time::Duration;

use mayfly_core::KeyHash;
use mayfly_tests::{FakeChartbeat, SourceReply, eventually};
use redis::AsyncCommands;
use tokio::time::{Instant, sleep};

use super::{ask, increases, setup, shared, start};

#[tokio::test]
async fn a_key_that_is_accepted_is_stored_and_related_to_its_hosts() {
    let (source, world) = shared().await;
    let (one, two) = ("one.keys.example.org", "two.keys.example.org");
    let key = "a-key-of-two-hosts";
    for host in [one, two] {
        assert_eq!(increases(&ask(&world, key, host).await), []);
    }
    assert_eq!(increases(&ask(&world, "another-key", one).await), []);
    let related = format!(
        "SELECT count(*) FROM api_key_hosts \
         JOIN api_keys ON api_keys.id = key_id JOIN hosts ON hosts.id = host_id \
         WHERE encode(hash, 'hex') = '{}' AND host IN ('{one}', '{two}')",
        KeyHash::of(key)
    );
    assert_eq!(world.count(&related).await, 2, "before it is answered");
    assert_eq!(source.calls(two).len(), 1);
    // The key itself is nowhere in the database.
    let start: String = world
        .postgres()
        .await
        .query_one(
            "SELECT start FROM api_keys WHERE encode(hash, 'hex') = $1",
            &[&KeyHash::of(key).as_str()],
        )
        .await
        .expect("the query works")
        .get(0);
    assert!(key.starts_with(&start) && start.len() <= 8, "{start}");
}

#[tokio::test]
async fn a_key_that_is_refused_is_asked_with_once_and_holds_up_no_other() {
    let (source, world) = shared().await;
    let host = "refuses.keys.example.org";
    source.refuse_key("a-wrong-key");
    ask(&world, "a-wrong-key", host).await.expect_problem(400, "upstream_refused");
    ask(&world, "a-wrong-key", host).await.expect_problem(400, "upstream_refused");
    assert_eq!(source.calls(host).len(), 1);
    assert_eq!(increases(&ask(&world, "a-right-key", host).await), []);
    let stored = format!(
        "SELECT count(*) FROM api_keys WHERE encode(hash, 'hex') = '{}'",
        KeyHash::of("a-wrong-key")
    );
    assert_eq!(world.count(&stored).await, 0);
}

#[tokio::test]
async fn many_wrong_keys_leave_a_host_to_who_has_a_right_one() {
    let (source, world) = shared().await;
    let host = "besieged.keys.example.org";
    assert_eq!(increases(&ask(&world, "the-right-key", host).await), []);
    let wrong: Vec<_> = (0..20).map(|n| format!("wrong-{n}")).collect();
    for key in &wrong {
        source.refuse_key(key);
    }
    let until = Instant::now() + Duration::from_secs(14);
    let besiege = futures_util::future::join_all(wrong.iter().map(async |key| {
        while Instant::now() < until {
            let answer = ask(&world, key, host).await;
            assert!([400, 502].contains(&answer.status), "{}", answer.text());
            sleep(Duration::from_millis(100)).await;
        }
    }));
    let right = async {
        let mut samples = 0;
        while Instant::now() < until {
            let answer = ask(&world, "the-right-key", host).await;
            answer.expect(200);
            if answer.header("mayfly-stale").is_empty() {
                samples += 1;
            }
            sleep(Duration::from_millis(500)).await;
        }
        samples
    };
    let (_, fresh) = tokio::join!(besiege, right);
    assert!(fresh >= 2, "{fresh}");
    let calls = source.calls(host);
    assert!(calls.iter().filter(|call| call.apikey == "the-right-key").count() >= 2, "{calls:?}");
}

#[tokio::test]
async fn a_revoked_key_is_refused_and_never_asked_with() {
    let source = FakeChartbeat::start();
    let world = start(setup(&source.url(), 2).set("MAYFLY_RISING__REFRESH", "4s")).await;
    let host = "revoked.keys.example.org";
    assert_eq!(increases(&ask(&world, "the-key", host).await), []);
    let revoke = "UPDATE api_keys SET revoked_at = now()";
    world.postgres().await.execute(revoke, &[]).await.expect("it is revoked");
    eventually(Duration::from_secs(3), "the key is refused", async || {
        let answer = ask(&world, "the-key", host).await;
        if answer.status == 401 { Ok(()) } else { Err(answer.text()) }
    })
    .await;
    let before = source.calls(host).len();
    // Neither who asks nor the clock has it tried again.
    let until = Instant::now() + Duration::from_secs(9);
    while Instant::now() < until {
        ask(&world, "the-key", host).await.expect_problem(401, "unauthorized");
        sleep(Duration::from_millis(200)).await;
    }
    assert_eq!(source.calls(host).len(), before);
}

#[tokio::test]
async fn where_postgres_is_away_a_key_is_accepted_and_related_later() {
    let source = FakeChartbeat::start();
    let world = start(setup(&source.url(), 1).own_servers()).await;
    world.stack.stop(mayfly_stack::Part::Postgres).await.expect("Postgres stops");
    let host = "later.keys.example.org";
    let answer = ask(&world, "the-key", host).await;
    assert_eq!(increases(&answer), []);
    world.stack.start(mayfly_stack::Part::Postgres).await.expect("Postgres starts");
    eventually(Duration::from_secs(15), "the key is related", async || {
        let related = world.count("SELECT count(*) FROM api_key_hosts").await;
        if related == 1 { Ok(()) } else { Err(related) }
    })
    .await;
    let mut redis = world.redis().await;
    eventually(Duration::from_secs(5), "nothing is left to do", async || {
        let left: u64 = redis.hlen(world.key("rising:unrelated")).await.expect("Redis answers");
        if left == 0 { Ok(()) } else { Err(left) }
    })
    .await;
}

#[tokio::test]
async fn no_key_stands_in_a_log() {
    let source = FakeChartbeat::start();
    let setup = setup(&source.url(), 1).set("MAYFLY_LOG__LEVEL", "trace");
    let world = start(setup).await;
    let (good, wrong, fails) =
        ("good.log.example.org", "wrong.log.example.org", "x.log.example.org");
    source.set_reply(wrong, SourceReply::status(403));
    source.set_reply(fails, SourceReply::status(500));
    for host in [good, wrong, fails] {
        ask(&world, "sEcReT-of-the-source", host).await;
    }
    let root = &world.spec.root;
    let mut directories = vec![root.clone()];
    let mut read = 0;
    while let Some(directory) = directories.pop() {
        for entry in std::fs::read_dir(directory).expect("it can be read") {
            let path = entry.expect("it can be read").path();
            if path.is_dir() {
                directories.push(path);
            } else if path.extension().is_some_and(|extension| extension == "log") {
                let log = std::fs::read(&path).expect("it can be read");
                let log = String::from_utf8_lossy(&log);
                assert!(!log.contains("sEcReT"), "{}", path.display());
                read += usize::from(log.contains("log.example.org"));
            }
        }
    }
    assert!(read > 0, "logs are looked at");
}
