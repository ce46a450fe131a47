//! `mayfly keys`: API keys are created, listed and revoked in Postgres and mirrored to Redis.

use std::time::Duration;

use mayfly_core::KeyHash;
use mayfly_stack::{ProcessKind, Service};
use mayfly_tests::{Frozen, Setup, World, bin_dir, eventually};
use redis::AsyncCommands;
use serde_json::{Value, json};

/// The output of a command.
struct CommandOutput {
    is_success: bool,
    stdout: String,
    stderr: String,
}

async fn keys(world: &World, arguments: &[&str]) -> CommandOutput {
    let env = world.stack.env();
    let output = tokio::process::Command::new(bin_dir().join("mayfly"))
        .arg("keys")
        .args(arguments)
        .env("REDIS_URL", env.redis_url())
        .env("DATABASE_URL", env.database_url())
        .env("MAYFLY_REDIS__PREFIX", &world.prefix)
        .output()
        .await
        .expect("the command runs");
    let text = |bytes| String::from_utf8(bytes).expect("valid UTF-8");
    CommandOutput {
        is_success: output.status.success(),
        stdout: text(output.stdout),
        stderr: text(output.stderr),
    }
}

/// Creates a key. Returns the key and its ID.
async fn create(world: &World, hosts: &[&str]) -> (String, String) {
    let created = keys(world, &[&["create", "--name", "a test", "--host"], hosts].concat()).await;
    assert!(created.is_success, "{}", created.stderr);
    let key = created.stdout.trim_end().to_owned();
    let listed = keys(world, &["list"]).await.stdout;
    let id =
        created.stderr.split_whitespace().find(|word| listed.contains(word) && word.len() == 36);
    let id = id.expect("the output has the ID").to_owned();
    (key, id)
}

/// Returns the record of a key in Redis.
async fn find_in_redis(world: &World, key: &str) -> Option<Value> {
    let hash = KeyHash::from_key(key).to_string();
    let mut redis = world.redis().await;
    let json: Option<String> = redis.hget(world.key("keys"), hash).await.expect("Redis responds");
    json.map(|json| serde_json::from_str(&json).expect("valid JSON"))
}

/// Waits until Redis has the key version of Postgres.
async fn wait_until_mirrored(world: &World, within: Duration) {
    eventually(within, "Redis has the keys of Postgres", async || {
        let version = world.query_count("SELECT version FROM api_keys_version").await;
        let mirrored: Option<String> =
            world.redis().await.get(world.key("keys:version")).await.expect("Redis responds");
        if mirrored == Some(version.to_string()) { Ok(()) } else { Err(mirrored) }
    })
    .await;
}

#[tokio::test]
async fn key_is_printed_once_then_listed_and_revoked() {
    let world = World::shared().await;
    let (key, id) = create(&world, &["A.example", "b.example", "a.example"]).await;
    assert!(key.starts_with("mf_") && key.len() == 35, "the key format");
    let expected =
        |revoked| Some(json!({"id": id, "hosts": ["a.example", "b.example"], "revoked": revoked}));
    assert_eq!(find_in_redis(&world, &key).await, expected(false));
    wait_until_mirrored(&world, Duration::from_secs(5)).await;
    assert_eq!(find_in_redis(&world, &key).await, expected(false));

    let listed = keys(&world, &["list"]).await;
    let row = listed.stdout.lines().find(|row| row.starts_with(&id)).expect("the key is listed");
    assert!(row.contains(&key[..8]) && row.ends_with("a.example b.example"), "{row}");
    assert!(!listed.stdout.contains(&key[8..]), "the key itself is not listed");
    let stored = "SELECT count(*) FROM api_keys AS row WHERE row::text LIKE ";
    assert_eq!(world.query_count(&format!("{stored} '%{}%'", &key[8..])).await, 0);

    let other = create(&world, &["a.example"]).await;
    for which in [&id, &id, &key] {
        let output = keys(&world, &["revoke", which]).await;
        assert!(output.is_success && output.stderr.is_empty(), "{}", output.stderr);
        assert!(output.stdout.contains(" was revoked at 2"), "{}", output.stdout);
        assert_eq!(find_in_redis(&world, &key).await, expected(true));
    }
    wait_until_mirrored(&world, Duration::from_secs(5)).await;
    assert_eq!(find_in_redis(&world, &key).await, expected(true));
    let other = find_in_redis(&world, &other.0).await.expect("the key exists");
    assert_eq!(other["revoked"], false);
}

#[tokio::test]
async fn unknown_key_cannot_be_revoked() {
    let world = World::shared().await;
    for which in ["mf_00000", "019aaaaa-0000-7000-8000-000000000000", "x"] {
        let output = keys(&world, &["revoke", which]).await;
        assert!(!output.is_success && output.stdout.is_empty(), "{}", output.stdout);
        assert_eq!(output.stderr, "mayfly: no key has this ID or prefix\n");
    }
    for wrong in [["create", "--name", "x"].as_slice(), &["create", "--host", "a", "--name", ""]] {
        assert!(!keys(&world, wrong).await.is_success);
    }
}

#[tokio::test]
async fn changes_in_postgres_are_mirrored_to_redis() {
    let world = World::shared().await;
    let (key, id) = create(&world, &["c.example"]).await;
    let revoke = format!("UPDATE api_keys SET revoked_at = now() WHERE id = '{id}'");
    world.postgres().await.batch_execute(&revoke).await.expect("the key is revoked");
    eventually(Duration::from_secs(3), "Redis has the revocation", async || {
        let record = find_in_redis(&world, &key).await.expect("the key exists");
        if record["revoked"] == true { Ok(()) } else { Err(record) }
    })
    .await;
}

#[tokio::test]
async fn keys_are_restored_after_redis_is_flushed() {
    let world = Setup::new().dedicated_servers().scale(Service::PersistWorker, 3).start().await;
    // Several pages of keys.
    let many = "SELECT relate_api_key_v1(gen_random_uuid(), sha256(number::text::bytea), 'many', \
                    'start', ARRAY['many.example']) \
                FROM generate_series(1, 1200) AS number";
    world.postgres().await.batch_execute(many).await.expect("the keys are created");
    let (key, _) = create(&world, &["a.example"]).await;
    let (revoked, id) = create(&world, &["a.example"]).await;
    assert!(keys(&world, &["revoke", &id]).await.is_success);
    for _ in 0..3 {
        let mut redis = world.redis().await;
        redis::cmd("FLUSHALL").exec_async(&mut redis).await.expect("Redis is flushed");
        wait_until_mirrored(&world, Duration::from_secs(10)).await;
        let count: usize = redis.hlen(world.key("keys")).await.expect("Redis responds");
        assert_eq!(count, 1202);
        assert_eq!(
            find_in_redis(&world, &key).await.expect("the key is restored")["revoked"],
            false
        );
        assert_eq!(
            find_in_redis(&world, &revoked).await.expect("the key is restored")["revoked"],
            true
        );
        let ttl: i64 = redis.pttl(world.key("keys")).await.expect("Redis responds");
        assert_eq!(ttl, -1, "the key does not expire");
    }
}

#[tokio::test]
async fn key_revoked_while_redis_is_unavailable_is_mirrored_later() {
    let world = Setup::new().dedicated_servers().start().await;
    let (key, id) = create(&world, &["a.example"]).await;
    wait_until_mirrored(&world, Duration::from_secs(10)).await;
    let redis = ProcessKind::Redis;
    let frozen = Frozen::freeze_tree(world.stack.env().pids(redis)[0]);
    let output = keys(&world, &["revoke", &id]).await;
    assert!(output.is_success, "{}", output.stderr);
    assert!(output.stderr.contains("the key is revoked only in Postgres"), "{}", output.stderr);
    drop(frozen);
    eventually(Duration::from_secs(10), "Redis has the revocation", async || {
        let record = find_in_redis(&world, &key).await.expect("the key exists");
        if record["revoked"] == true { Ok(()) } else { Err(record) }
    })
    .await;

    world.stack.stop(ProcessKind::Postgres).await.expect("Postgres stops");
    let failed = keys(&world, &["create", "--name", "late", "--host", "a.example"]).await;
    assert!(
        !failed.is_success && failed.stdout.is_empty(),
        "a key that is not stored is not printed"
    );
    assert_eq!(
        find_in_redis(&world, &key).await.expect("the key does not expire")["revoked"],
        true
    );
}
