//! `mayfly keys`: API keys are created, listed, rotated and revoked in Postgres and mirrored to
//! Redis.

use std::time::Duration;

use mayfly_core::KeyHash;
use mayfly_stack::{ProcessKind, Service};
use mayfly_tests::{ApiResponse, DEFAULT_TIMEOUT, Frozen, Setup, World, eventually};
use redis::AsyncCommands;
use serde_json::{Value, json};

use super::{CommandOutput, mayfly};
use crate::access;

async fn keys(world: &World, arguments: &[&str]) -> CommandOutput {
    mayfly(world, &[&["keys"], arguments].concat(), &[]).await
}

/// Runs a command that succeeds and prints JSON.
async fn keys_json(world: &World, arguments: &[&str]) -> Value {
    let output = keys(world, &[arguments, &["--json"]].concat()).await;
    assert!(output.is_success, "{}", output.stderr);
    serde_json::from_str(&output.stdout).expect("valid JSON")
}

/// Creates a key that reads the pages of hosts. Returns the key and its ID.
async fn create(world: &World, hosts: &[&str]) -> (String, String) {
    let options = ["create", "--name", "a test", "--scope", "read", "--host"];
    let created = keys(world, &[&options, hosts].concat()).await;
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

/// Waits until Redis has the version of the API keys or the token revocations in Postgres.
async fn wait_until_mirrored(world: &World, table: &str, key: &str, within: Duration) {
    eventually(within, "Redis has the version of Postgres", async || {
        let version = world.query_count(&format!("SELECT version FROM {table}_version")).await;
        let key = world.key(&format!("{key}:version"));
        let mirrored: Option<String> = world.redis().await.get(key).await.expect("Redis responds");
        if mirrored == Some(version.to_string()) { Ok(()) } else { Err(mirrored) }
    })
    .await;
}

async fn wait_until_keys_are_mirrored(world: &World, within: Duration) {
    wait_until_mirrored(world, "api_keys", "keys", within).await;
}

#[tokio::test]
async fn key_is_printed_once_then_listed_and_revoked() {
    let world = World::shared().await;
    let (key, id) = create(&world, &["A.example", "b.example", "a.example"]).await;
    assert!(key.starts_with("mf_") && key.len() == 3 + 12 + 1 + 43, "the key format");
    let expected = |is_revoked: bool| {
        Some(json!({
            "id": id, "hosts": ["a.example", "b.example"], "revoked": is_revoked,
            "key": {"id": id, "scopes": ["read"], "hosts": ["a.example", "b.example"],
                    "is_revoked": is_revoked},
        }))
    };
    assert_eq!(find_in_redis(&world, &key).await, expected(false));
    wait_until_keys_are_mirrored(&world, Duration::from_secs(5)).await;
    assert_eq!(find_in_redis(&world, &key).await, expected(false));

    let prefix = &key[..15];
    let listed = keys(&world, &["list"]).await;
    let row = listed.stdout.lines().find(|row| row.starts_with(&id)).expect("the key is listed");
    assert!(row.contains(prefix) && row.contains("hosts=a.example,b.example"), "{row}");
    assert!(!listed.stdout.contains(&key[16..]), "the secret is not listed");
    let shown = keys(&world, &["show", prefix]).await.stdout;
    assert!(shown.contains(&id) && shown.contains("active") && !shown.contains(&key), "{shown}");
    let stored = "SELECT count(*) FROM api_keys AS row WHERE row::text LIKE ";
    assert_eq!(world.query_count(&format!("{stored} '%{}%'", &key[16..])).await, 0);

    let other = create(&world, &["a.example"]).await;
    for which in [id.as_str(), prefix, &key] {
        let output = keys(&world, &["revoke", which]).await;
        assert!(output.is_success && output.stderr.is_empty(), "{}", output.stderr);
        assert!(output.stdout.contains(" was revoked at 2"), "{}", output.stdout);
        assert_eq!(find_in_redis(&world, &key).await, expected(true));
    }
    wait_until_keys_are_mirrored(&world, Duration::from_secs(5)).await;
    assert_eq!(find_in_redis(&world, &key).await, expected(true));
    let other = find_in_redis(&world, &other.0).await.expect("the key exists");
    assert_eq!(other["revoked"], false);
}

#[tokio::test]
async fn rights_and_limits_are_shown_as_json() {
    let world = World::shared().await;
    let options = [
        "create",
        "--name",
        "shop",
        "--scope",
        "publish",
        "take",
        "--channel",
        "shop.*",
        "--username",
        "fred",
        "--no-hosts",
        "--limit",
        "messages=100/day",
        "visits=1/second",
        "--expires",
        "90d",
    ];
    let created = keys_json(&world, &options).await;
    let key = created["key"].as_str().expect("the key");
    let id = created["id"].as_str().expect("an ID");
    for (field, expected) in [
        ("name", json!("shop")),
        ("prefix", json!(key[..15])),
        ("status", json!("active")),
        ("scopes", json!(["publish", "take"])),
        ("channels", json!(["shop.*"])),
        ("usernames", json!(["fred"])),
        ("hosts", json!([])),
        ("limits", json!({"messages": "100/day", "visits": "1/second"})),
        ("revoked_at", Value::Null),
        ("previous_secret_expires_at", Value::Null),
    ] {
        assert_eq!(created[field], expected, "{field}");
    }
    assert!(created["expires_at"].is_string());
    let mut shown = keys_json(&world, &["show", id]).await;
    assert_eq!(shown["key"], Value::Null);
    shown["key"] = key.into();
    assert_eq!(shown, created);
    let listed = keys_json(&world, &["list"]).await;
    let listed = listed.as_array().expect("an array").iter().find(|listed| listed["id"] == id);
    assert_eq!(listed.expect("the key is listed")["limits"], created["limits"]);
    let revoked = keys_json(&world, &["revoke", id]).await;
    assert_eq!(revoked["status"], "revoked");

    let all = keys_json(&world, &["create", "--name", "all", "--scope", "operate"]).await;
    for field in ["channels", "usernames", "hosts"] {
        assert_eq!(all[field], json!(["*"]), "{field}");
    }
    assert_eq!((&all["limits"], &all["expires_at"]), (&json!({}), &Value::Null));
}

#[tokio::test]
async fn unknown_key_cannot_be_changed_and_invalid_options_are_rejected() {
    let world = World::shared().await;
    for which in ["mf_00000", "019aaaaa-0000-7000-8000-000000000000", "x"] {
        for command in ["show", "rotate", "revoke"] {
            let output = keys(&world, &[command, which]).await;
            assert!(!output.is_success && output.stdout.is_empty(), "{}", output.stdout);
            assert_eq!(output.stderr, "mayfly: no key has this ID or prefix\n");
        }
    }
    for wrong in [
        "--name x --host a",
        "--scope read",
        "--scope admin --name x",
        "--scope read --name x --host a/b",
        "--scope read --name x --host a --no-hosts",
        "--scope read --name x --channel *********",
        "--scope read --name x --limit messages=100",
        "--scope read --name x --limit plays=1/day plays=2/day",
        "--scope read --name x --expires 0d",
    ] {
        let options: Vec<_> = ["create"].into_iter().chain(wrong.split(' ')).collect();
        let output = keys(&world, &options).await;
        assert!(!output.is_success && output.stdout.is_empty(), "{wrong}: {}", output.stdout);
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
    let delete = format!("DELETE FROM api_keys WHERE id = '{id}'");
    world.postgres().await.batch_execute(&delete).await.expect("the key is deleted");
    eventually(Duration::from_secs(3), "Redis does not have the key", async || {
        find_in_redis(&world, &key).await.map_or(Ok(()), Err)
    })
    .await;
}

#[tokio::test]
async fn keys_are_restored_after_redis_is_flushed() {
    let world = Setup::new().dedicated_servers().scale(Service::PersistWorker, 3).start().await;
    // Several pages of keys and of revocations.
    let many = "SELECT relate_api_key_v1(gen_random_uuid(), sha256(number::text::bytea), 'many', \
                    'start', ARRAY['many.example']) \
                FROM generate_series(1, 1200) AS number; \
                INSERT INTO token_revocations (id, token_id) \
                SELECT gen_random_uuid(), number::text FROM generate_series(1, 2100) AS number";
    world.postgres().await.batch_execute(many).await.expect("the keys are created");
    let (key, _) = create(&world, &["a.example"]).await;
    let (revoked, id) = create(&world, &["a.example"]).await;
    assert!(keys(&world, &["revoke", &id]).await.is_success);
    for _ in 0..3 {
        let mut redis = world.redis().await;
        redis::cmd("FLUSHALL").exec_async(&mut redis).await.expect("Redis is flushed");
        wait_until_keys_are_mirrored(&world, Duration::from_secs(10)).await;
        let within = Duration::from_secs(10);
        wait_until_mirrored(&world, "token_revocations", "revocations", within).await;
        // One more field marks each hash as complete.
        for (name, expected) in [("keys", 1203), ("revocations", 2101)] {
            let count: usize = redis.hlen(world.key(name)).await.expect("Redis responds");
            assert_eq!(count, expected, "{name}");
            let ttl: i64 = redis.pttl(world.key(name)).await.expect("Redis responds");
            assert_eq!(ttl, -1, "{name} does not expire");
        }
        assert_eq!(
            find_in_redis(&world, &key).await.expect("the key is restored")["revoked"],
            false
        );
        assert_eq!(
            find_in_redis(&world, &revoked).await.expect("the key is restored")["revoked"],
            true
        );
    }
}

#[tokio::test]
async fn key_revoked_while_redis_is_unavailable_is_mirrored_later() {
    let world = Setup::new().dedicated_servers().start().await;
    let (key, id) = create(&world, &["a.example"]).await;
    wait_until_keys_are_mirrored(&world, Duration::from_secs(10)).await;
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
    let options = ["create", "--name", "late", "--scope", "read", "--host", "a.example"];
    let failed = keys(&world, &options).await;
    assert!(
        !failed.is_success && failed.stdout.is_empty(),
        "a key that is not stored is not printed"
    );
    assert_eq!(
        find_in_redis(&world, &key).await.expect("the key does not expire")["revoked"],
        true
    );
}

/// Returns the status of a read with a key.
async fn read_status(world: &World, key: &str) -> u16 {
    let request = world.http.get(world.list_url("/v1/messages")).bearer_auth(key);
    ApiResponse::send(request).await.status
}

async fn wait_for_status(world: &World, key: &str, status: u16, within: Duration) {
    eventually(within, &format!("the status is {status}"), async || {
        let actual = read_status(world, key).await;
        if actual == status { Ok(()) } else { Err(actual) }
    })
    .await;
}

#[tokio::test]
async fn rotated_key_has_two_secrets_until_the_overlap_ends() {
    let world = access::setup().start().await;
    let second = Duration::from_secs(1);
    let create = ["create", "--if-none", "--name", "back end", "--scope", "read"];
    let created = keys_json(&world, &create).await;
    let again = keys(&world, &create).await;
    assert!(again.is_success && again.stdout.is_empty(), "{}", again.stdout);
    assert!(again.stderr.contains("no key was created, because a key exists"), "{}", again.stderr);
    let (id, first) = (created["id"].as_str(), created["key"].as_str());
    let (id, first) = (id.expect("an ID"), first.expect("a key"));
    wait_for_status(&world, first, 200, second).await;

    let rotated = keys_json(&world, &["rotate", id]).await;
    let next = rotated["key"].as_str().expect("a key");
    assert!(next != first && rotated["id"] == id);
    assert_eq!((&next[..16], &rotated["prefix"]), (&first[..16], &json!(first[..15])));
    assert!(rotated["previous_secret_expires_at"].is_string());
    wait_for_status(&world, next, 200, second).await;
    wait_for_status(&world, first, 200, second).await;

    // The last rotation rejects both earlier secrets.
    let output = keys(&world, &["rotate", id, "--overlap", "0s", "--expires", "1h"]).await;
    let last = output.stdout.trim_end();
    assert!(output.stderr.contains("rejected from now on"), "{}", output.stderr);
    for (key, status) in [(last, 200), (next, 401), (first, 401)] {
        wait_for_status(&world, key, status, second).await;
    }
    assert!(keys(&world, &["revoke", last]).await.is_success);
    wait_for_status(&world, last, 401, second).await;
    let output = keys(&world, &["rotate", id]).await;
    assert!(!output.is_success && output.stderr.contains("is revoked"), "{}", output.stderr);

    let options = ["create", "--name", "short", "--scope", "read", "--expires", "1s"];
    let created = keys_json(&world, &options).await;
    let short = created["key"].as_str().expect("a key");
    wait_for_status(&world, short, 401, 3 * second).await;
    let output = keys(&world, &["rotate", &short[..15]]).await;
    assert!(!output.is_success && output.stderr.contains("use --expires"), "{}", output.stderr);
}

/// A later version of Mayfly created the key, with restrictions that this version does not know.
#[tokio::test]
async fn unsupported_key_is_refused_and_shown_as_such() {
    let world = access::setup().start().await;
    let created = keys_json(&world, &["create", "--name", "later", "--scope", "read"]).await;
    let (id, key) = (created["id"].as_str(), created["key"].as_str());
    let (id, key) = (id.expect("an ID"), key.expect("a key"));
    wait_for_status(&world, key, 200, DEFAULT_TIMEOUT).await;
    let set_format = async |format: &str| {
        let update = format!("UPDATE api_keys SET requires = {format}");
        world.postgres().await.batch_execute(&update).await.expect("valid SQL");
    };
    set_format("1000").await;
    wait_for_status(&world, key, 503, DEFAULT_TIMEOUT).await;
    assert_eq!(keys_json(&world, &["show", id]).await["status"], "unsupported");
    let rotated = keys_json(&world, &["rotate", id]).await;
    let next = rotated["key"].as_str().expect("a key");
    wait_for_status(&world, next, 503, DEFAULT_TIMEOUT).await;
    set_format("1").await;
    for key in [key, next] {
        wait_for_status(&world, key, 200, DEFAULT_TIMEOUT).await;
    }
    set_format("1000").await;
    assert!(keys(&world, &["revoke", id]).await.is_success);
    for key in [key, next] {
        wait_for_status(&world, key, 401, DEFAULT_TIMEOUT).await;
    }
}
