//! `mayfly keys`: API keys are made, shown and revoked, and stand in Redis as Postgres has them.

use std::time::Duration;

use mayfly_core::KeyHash;
use mayfly_stack::{Part, Service};
use mayfly_tests::{Frozen, Setup, World, bin_dir, eventually};
use redis::AsyncCommands;
use serde_json::{Value, json};

/// What a command printed.
struct Done {
    is_success: bool,
    out: String,
    err: String,
}

async fn keys(world: &World, arguments: &[&str]) -> Done {
    let env = world.stack.env();
    let done = tokio::process::Command::new(bin_dir().join("mayfly"))
        .arg("keys")
        .args(arguments)
        .env("REDIS_URL", env.redis_url())
        .env("DATABASE_URL", env.database_url())
        .env("MAYFLY_REDIS__PREFIX", &world.prefix)
        .output()
        .await
        .expect("the command runs");
    let text = |bytes| String::from_utf8(bytes).expect("it is text");
    Done { is_success: done.status.success(), out: text(done.stdout), err: text(done.stderr) }
}

/// Makes a key: the key, and its id.
async fn create(world: &World, hosts: &[&str]) -> (String, String) {
    let made = keys(world, &[&["create", "--name", "a test", "--host"], hosts].concat()).await;
    assert!(made.is_success, "{}", made.err);
    let key = made.out.trim_end().to_owned();
    let listed = keys(world, &["list"]).await.out;
    let id = made.err.split(' ').find(|word| listed.contains(word) && word.len() == 36);
    let id = id.expect("it names the id").to_owned();
    (key, id)
}

/// What Redis knows of a key.
async fn known(world: &World, key: &str) -> Option<Value> {
    let hash = KeyHash::of(key).to_string();
    let mut redis = world.redis().await;
    let json: Option<String> = redis.hget(world.key("keys"), hash).await.expect("Redis answers");
    json.map(|json| serde_json::from_str(&json).expect("it is JSON"))
}

/// Waits until Redis knows all keys in the version of Postgres.
async fn until_kept(world: &World, within: Duration) {
    eventually(within, "Redis has the keys of Postgres", async || {
        let version = world.count("SELECT version FROM api_keys_version").await;
        let kept: Option<String> =
            world.redis().await.get(world.key("keys:version")).await.expect("Redis answers");
        if kept == Some(version.to_string()) { Ok(()) } else { Err(kept) }
    })
    .await;
}

#[tokio::test]
async fn a_key_is_made_shown_once_listed_and_revoked() {
    let world = World::shared().await;
    let (key, id) = create(&world, &["A.example", "b.example", "a.example"]).await;
    assert!(key.starts_with("mf_") && key.len() == 35, "its form");
    let wanted =
        |revoked| Some(json!({"id": id, "hosts": ["a.example", "b.example"], "revoked": revoked}));
    assert_eq!(known(&world, &key).await, wanted(false));
    until_kept(&world, Duration::from_secs(5)).await;
    assert_eq!(known(&world, &key).await, wanted(false));

    let listed = keys(&world, &["list"]).await;
    let row = listed.out.lines().find(|row| row.starts_with(&id)).expect("it is listed");
    assert!(row.contains(&key[..8]) && row.ends_with("a.example b.example"), "{row}");
    assert!(!listed.out.contains(&key[8..]), "the key itself is not shown");
    let stored = "SELECT count(*) FROM api_keys AS row WHERE row::text LIKE ";
    assert_eq!(world.count(&format!("{stored} '%{}%'", &key[8..])).await, 0);

    let other = create(&world, &["a.example"]).await;
    for which in [&id, &id, &key] {
        let done = keys(&world, &["revoke", which]).await;
        assert!(done.is_success && done.err.is_empty(), "{}", done.err);
        assert!(done.out.contains(" is revoked since 2"), "{}", done.out);
        assert_eq!(known(&world, &key).await, wanted(true));
    }
    until_kept(&world, Duration::from_secs(5)).await;
    assert_eq!(known(&world, &key).await, wanted(true));
    let other = known(&world, &other.0).await.expect("it is known");
    assert_eq!(other["revoked"], false);
}

#[tokio::test]
async fn a_key_that_is_not_there_is_not_revoked() {
    let world = World::shared().await;
    for which in ["mf_00000", "019aaaaa-0000-7000-8000-000000000000", "x"] {
        let done = keys(&world, &["revoke", which]).await;
        assert!(!done.is_success && done.out.is_empty(), "{}", done.out);
        assert_eq!(done.err, "mayfly: no key has this id, or begins so\n");
    }
    for wrong in [["create", "--name", "x"].as_slice(), &["create", "--host", "a", "--name", ""]] {
        assert!(!keys(&world, wrong).await.is_success);
    }
}

#[tokio::test]
async fn whoever_changes_keys_in_postgres_changes_them_in_redis() {
    let world = World::shared().await;
    let (key, id) = create(&world, &["c.example"]).await;
    let revoke = format!("UPDATE api_keys SET revoked_at = now() WHERE id = '{id}'");
    world.postgres().await.batch_execute(&revoke).await.expect("it is revoked");
    eventually(Duration::from_secs(3), "Redis knows", async || {
        let known = known(&world, &key).await.expect("it is never gone");
        if known["revoked"] == true { Ok(()) } else { Err(known) }
    })
    .await;
}

#[tokio::test]
async fn keys_are_back_after_redis_was_emptied() {
    let world = Setup::new().own_servers().with(Service::PersistWorker, 3).start().await;
    // Several pages of them.
    let many = "SELECT relate_api_key_v1(gen_random_uuid(), sha256(number::text::bytea), 'many', \
                    'start', ARRAY['many.example']) \
                FROM generate_series(1, 1200) AS number";
    world.postgres().await.batch_execute(many).await.expect("they are made");
    let (key, _) = create(&world, &["a.example"]).await;
    let (revoked, id) = create(&world, &["a.example"]).await;
    assert!(keys(&world, &["revoke", &id]).await.is_success);
    for _ in 0..3 {
        let mut redis = world.redis().await;
        redis::cmd("FLUSHALL").exec_async(&mut redis).await.expect("Redis empties itself");
        until_kept(&world, Duration::from_secs(10)).await;
        let count: usize = redis.hlen(world.key("keys")).await.expect("Redis answers");
        assert_eq!(count, 1202);
        assert_eq!(known(&world, &key).await.expect("it is back")["revoked"], false);
        assert_eq!(known(&world, &revoked).await.expect("it is back")["revoked"], true);
        let ttl: i64 = redis.pttl(world.key("keys")).await.expect("Redis answers");
        assert_eq!(ttl, -1, "it stays");
    }
}

#[tokio::test]
async fn a_key_that_is_revoked_while_redis_is_away_is_revoked_when_it_is_back() {
    let world = Setup::new().own_servers().start().await;
    let (key, id) = create(&world, &["a.example"]).await;
    until_kept(&world, Duration::from_secs(10)).await;
    let redis = Part::Redis;
    let frozen = Frozen::family(world.stack.env().pids(redis)[0]);
    let done = keys(&world, &["revoke", &id]).await;
    assert!(done.is_success, "{}", done.err);
    assert!(done.err.contains("only Postgres knows of it as yet"), "{}", done.err);
    drop(frozen);
    eventually(Duration::from_secs(10), "Redis knows", async || {
        let known = known(&world, &key).await.expect("it is never gone");
        if known["revoked"] == true { Ok(()) } else { Err(known) }
    })
    .await;

    world.stack.stop(Part::Postgres).await.expect("it stops");
    let failed = keys(&world, &["create", "--name", "late", "--host", "a.example"]).await;
    assert!(!failed.is_success && failed.out.is_empty(), "no key is shown that is not stored");
    assert_eq!(known(&world, &key).await.expect("it stays")["revoked"], true);
}
