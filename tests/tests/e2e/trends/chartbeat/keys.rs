//! API keys of the source.

use std::time::Duration;

use mayfly_core::KeyHash;
use mayfly_tests::{FakeChartbeat, SourceReply, eventually};
use redis::AsyncCommands;
use tokio::time::{Instant, sleep};

use super::{get_increases, parse_increases, setup, shared, start};

#[tokio::test]
async fn accepted_key_is_stored_with_its_hosts() {
    let (source, world) = shared().await;
    let (one, two) = ("one.keys.example.org", "two.keys.example.org");
    let key = "a-key-of-two-hosts";
    for host in [one, two] {
        assert_eq!(parse_increases(&get_increases(&world, key, host).await), []);
    }
    assert_eq!(parse_increases(&get_increases(&world, "another-key", one).await), []);
    let stored = format!(
        "SELECT count(*) FROM api_key_hosts \
         JOIN api_keys ON api_keys.id = key_id JOIN hosts ON hosts.id = host_id \
         WHERE encode(hash, 'hex') = '{}' AND host IN ('{one}', '{two}')",
        KeyHash::from_key(key)
    );
    assert_eq!(world.query_count(&stored).await, 2, "stored before the response");
    assert_eq!(source.calls(two).len(), 1);
    // The database stores only the beginning and the hash of the key.
    let start: String = world
        .postgres()
        .await
        .query_one(
            "SELECT start FROM api_keys WHERE encode(hash, 'hex') = $1",
            &[&KeyHash::from_key(key).as_str()],
        )
        .await
        .expect("the query works")
        .get(0);
    assert!(key.starts_with(&start) && start.len() <= 8, "{start}");
}

#[tokio::test]
async fn rejected_key_is_tried_once_and_does_not_block_others() {
    let (source, world) = shared().await;
    let host = "refuses.keys.example.org";
    source.reject_key("a-wrong-key");
    get_increases(&world, "a-wrong-key", host).await.expect_problem(400, "upstream_refused");
    get_increases(&world, "a-wrong-key", host).await.expect_problem(400, "upstream_refused");
    assert_eq!(source.calls(host).len(), 1);
    assert_eq!(parse_increases(&get_increases(&world, "a-right-key", host).await), []);
    let stored = format!(
        "SELECT count(*) FROM api_keys WHERE encode(hash, 'hex') = '{}'",
        KeyHash::from_key("a-wrong-key")
    );
    assert_eq!(world.query_count(&stored).await, 0);
}

#[tokio::test]
async fn many_invalid_keys_do_not_block_a_valid_one() {
    let (source, world) = shared().await;
    let host = "besieged.keys.example.org";
    assert_eq!(parse_increases(&get_increases(&world, "the-right-key", host).await), []);
    let invalid: Vec<_> = (0..20).map(|n| format!("wrong-{n}")).collect();
    for key in &invalid {
        source.reject_key(key);
    }
    let until = Instant::now() + Duration::from_secs(14);
    let invalid_requests = futures_util::future::join_all(invalid.iter().map(async |key| {
        while Instant::now() < until {
            let response = get_increases(&world, key, host).await;
            assert!([400, 502].contains(&response.status), "{}", response.text());
            sleep(Duration::from_millis(100)).await;
        }
    }));
    let valid_requests = async {
        let mut samples = 0;
        while Instant::now() < until {
            let response = get_increases(&world, "the-right-key", host).await;
            response.expect_status(200);
            if response.header("mayfly-stale").is_empty() {
                samples += 1;
            }
            sleep(Duration::from_millis(500)).await;
        }
        samples
    };
    let (_, fresh) = tokio::join!(invalid_requests, valid_requests);
    assert!(fresh >= 2, "{fresh}");
    let calls = source.calls(host);
    assert!(calls.iter().filter(|call| call.apikey == "the-right-key").count() >= 2, "{calls:?}");
}

#[tokio::test]
async fn revoked_key_is_rejected_and_never_tried() {
    let source = FakeChartbeat::start();
    let world = start(setup(&source.url(), 2).set("MAYFLY_RISING__REFRESH", "4s")).await;
    let host = "revoked.keys.example.org";
    assert_eq!(parse_increases(&get_increases(&world, "the-key", host).await), []);
    let revoke = "UPDATE api_keys SET revoked_at = now()";
    world.postgres().await.execute(revoke, &[]).await.expect("the key is revoked");
    eventually(Duration::from_secs(3), "the key is rejected", async || {
        let response = get_increases(&world, "the-key", host).await;
        if response.status == 401 { Ok(()) } else { Err(response.text()) }
    })
    .await;
    let before = source.calls(host).len();
    // Neither requests nor the periodic refresh try the key again.
    let until = Instant::now() + Duration::from_secs(9);
    while Instant::now() < until {
        get_increases(&world, "the-key", host).await.expect_problem(401, "unauthorized");
        sleep(Duration::from_millis(200)).await;
    }
    assert_eq!(source.calls(host).len(), before);
}

#[tokio::test]
async fn key_accepted_while_postgres_is_unavailable_is_stored_later() {
    let source = FakeChartbeat::start();
    let world = start(setup(&source.url(), 1).dedicated_servers()).await;
    world.stack.stop(mayfly_stack::ProcessKind::Postgres).await.expect("Postgres stops");
    let host = "later.keys.example.org";
    let response = get_increases(&world, "the-key", host).await;
    assert_eq!(parse_increases(&response), []);
    world.stack.start(mayfly_stack::ProcessKind::Postgres).await.expect("Postgres starts");
    eventually(Duration::from_secs(15), "the key is stored with its host", async || {
        let stored = world.query_count("SELECT count(*) FROM api_key_hosts").await;
        if stored == 1 { Ok(()) } else { Err(stored) }
    })
    .await;
    let mut redis = world.redis().await;
    eventually(Duration::from_secs(5), "no registration is pending", async || {
        let remaining: u64 =
            redis.hlen(world.key("rising:unregistered")).await.expect("Redis responds");
        if remaining == 0 { Ok(()) } else { Err(remaining) }
    })
    .await;
}

#[tokio::test]
async fn keys_are_never_logged() {
    let source = FakeChartbeat::start();
    let setup = setup(&source.url(), 1).set("MAYFLY_LOG__LEVEL", "trace");
    let world = start(setup).await;
    let (good, invalid, fails) =
        ("good.log.example.org", "wrong.log.example.org", "x.log.example.org");
    source.set_reply(invalid, SourceReply::status(403));
    source.set_reply(fails, SourceReply::status(500));
    for host in [good, invalid, fails] {
        get_increases(&world, "sEcReT-of-the-source", host).await;
    }
    let root = &world.spec.root;
    let mut directories = vec![root.clone()];
    let mut read = 0;
    while let Some(directory) = directories.pop() {
        for entry in std::fs::read_dir(directory).expect("readable") {
            let path = entry.expect("readable").path();
            if path.is_dir() {
                directories.push(path);
            } else if path.extension().is_some_and(|extension| extension == "log") {
                let log = std::fs::read(&path).expect("readable");
                let log = String::from_utf8_lossy(&log);
                assert!(!log.contains("sEcReT"), "{}", path.display());
                read += usize::from(log.contains("log.example.org"));
            }
        }
    }
    assert!(read > 0, "at least one log is checked");
}
