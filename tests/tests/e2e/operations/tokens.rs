//! `mayfly token`: signs tokens, and revokes them in Postgres and Redis.

use std::time::Duration;

use mayfly_stack::ProcessKind;
use mayfly_tests::{ApiResponse, Frozen, World, eventually};
use serde_json::{Value, json};
use tokio::sync::OnceCell;

use super::{CommandOutput, mayfly};
use crate::access::{self, credentials};

/// Returns a stack that accepts tokens, shared by the tests of this module.
async fn shared() -> World {
    static WORLD: OnceCell<World> = OnceCell::const_new();
    access::setup().share(&WORLD).await
}

async fn token(world: &World, arguments: &[&str]) -> CommandOutput {
    let secret_file = credentials::secret_file().display().to_string();
    let env = [
        ("MAYFLY_AUTH__SECRET_FILE", secret_file.as_str()),
        ("MAYFLY_AUTH__ISSUER", "mayfly"),
        ("MAYFLY_AUTH__AUDIENCE", "shop,other"),
    ];
    mayfly(world, &[&["token"], arguments].concat(), &env).await
}

/// Runs a command that succeeds and prints JSON.
async fn token_json(world: &World, arguments: &[&str]) -> Value {
    let output = token(world, &[arguments, &["--json"]].concat()).await;
    assert!(output.is_success, "{}", output.stderr);
    serde_json::from_str(&output.stdout).expect("valid JSON")
}

/// Signs a token that reads the inbox of a user.
async fn create(world: &World, username: &str, id: &str) -> String {
    let output = token(world, &["create", "--sub", username, "--inbox", "--jti", id]).await;
    assert!(output.is_success && output.stderr.contains(id), "{}", output.stderr);
    output.stdout.trim_end().to_owned()
}

/// Waits until a token has a status when it reads the inbox of a user.
async fn wait_for_status(
    world: &World,
    username: &str,
    token: &str,
    status: u16,
    within: Duration,
) {
    eventually(within, &format!("the status is {status}"), async || {
        let url = world.list_url(&format!("/v1/users/{username}/messages"));
        let actual = ApiResponse::send(world.http.get(url).bearer_auth(token)).await.status;
        if actual == status { Ok(()) } else { Err(actual) }
    })
    .await;
}

/// Decodes the claims of a token.
fn decode_claims(token: &str) -> Value {
    let payload = token.split('.').nth(1).expect("a payload");
    let mut bytes = Vec::new();
    for chunk in payload.as_bytes().chunks(4) {
        let digit = |byte: &u8| match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'-' => 62,
            _ => 63,
        };
        let bits = chunk.iter().fold(0_u32, |bits, byte| bits << 6 | u32::from(digit(byte)));
        let bits = bits << (6 * (4 - chunk.len()));
        bytes.extend_from_slice(&bits.to_be_bytes()[1..chunk.len()]);
    }
    serde_json::from_slice(&bytes).expect("claims")
}

#[tokio::test]
async fn signed_token_contains_the_given_rights() {
    let world = shared().await;
    let options = [
        "create",
        "--sub",
        "fred",
        "--publish",
        "chat.*",
        "--subscribe",
        "chat.*",
        "a",
        "--feed",
        "plays",
        "--host",
        "*.Example.org",
        "--inbox",
        "--plays",
        "--visit",
        "example.org",
        "--ttl",
        "90m",
    ];
    let created = token_json(&world, &options).await;
    let claims = decode_claims(created["token"].as_str().expect("a token"));
    let rights = json!({
        "publish": ["chat.*"], "subscribe": ["a", "chat.*"], "feeds": ["plays"],
        "hosts": ["*.example.org"], "inbox": true, "plays": true, "visits": ["example.org"],
    });
    assert_eq!(claims["mayfly"], rights);
    assert_eq!((&claims["sub"], &claims["jti"]), (&json!("fred"), &created["jti"]));
    assert_eq!((&claims["iss"], &claims["aud"]), (&json!("mayfly"), &json!("shop")));
    let seconds = |claim: &str| claims[claim].as_i64().expect("a time");
    assert_eq!(seconds("exp") - seconds("iat"), 5_400);
    let unprivileged = token_json(&world, &["create", "--sub", "fred"]).await;
    let claims = decode_claims(unprivileged["token"].as_str().expect("a token"));
    assert_eq!(claims["mayfly"], json!({}));
    assert_ne!(unprivileged["jti"], created["jti"]);
}

#[tokio::test]
async fn token_is_accepted_until_it_is_revoked_by_its_id() {
    let world = shared().await;
    let second = Duration::from_secs(1);
    let (one, other) =
        (create(&world, "by-id", "one").await, create(&world, "by-id", "other").await);
    for token in [&one, &other] {
        wait_for_status(&world, "by-id", token, 200, 5 * second).await;
    }
    let revoked = token(&world, &["revoke", "--jti", "one", "--token-ttl", "1h"]).await;
    assert!(revoked.is_success && revoked.stderr.is_empty(), "{}", revoked.stderr);
    assert_eq!(revoked.stdout, "the token one was revoked\n");
    wait_for_status(&world, "by-id", &one, 401, second).await;
    wait_for_status(&world, "by-id", &other, 200, second).await;
    let listed = token_json(&world, &["list"]).await;
    let listed = listed.as_array().expect("an array").iter().find(|row| row["jti"] == "one");
    assert!(listed.expect("it is listed")["expires_at"].is_string());
    let table = token(&world, &["list"]).await.stdout;
    assert!(table.lines().any(|row| row.starts_with("jti    one")), "{table}");
}

#[tokio::test]
async fn tokens_of_a_subject_are_revoked_by_their_time_of_issue() {
    let world = shared().await;
    let second = Duration::from_secs(1);
    let one = create(&world, "by-sub", "by-sub-1").await;
    let other = create(&world, "by-sub-other", "by-sub-2").await;
    wait_for_status(&world, "by-sub", &one, 200, 5 * second).await;
    let early = ["revoke", "--sub", "by-sub", "--issued-before", "2020-01-01T00:00:00Z"];
    let revocation = token_json(&world, &early).await;
    assert_eq!(revocation["issued_before"], "2020-01-01T00:00:00.000Z");
    wait_for_status(&world, "by-sub", &one, 200, second).await;
    let revocation = token_json(&world, &["revoke", "--sub", "by-sub"]).await;
    assert_eq!((&revocation["sub"], &revocation["expires_at"]), (&json!("by-sub"), &Value::Null));
    wait_for_status(&world, "by-sub", &one, 401, second).await;
    wait_for_status(&world, "by-sub-other", &other, 200, second).await;
    // A token that is issued after the second of the revocation is valid.
    eventually(10 * second, "a new token is accepted", async || {
        let new = create(&world, "by-sub", "by-sub-3").await;
        let url = world.list_url("/v1/users/by-sub/messages");
        match ApiResponse::send(world.http.get(url).bearer_auth(&new)).await.status {
            200 => Ok(()),
            status => Err(status),
        }
    })
    .await;
}

#[tokio::test]
async fn invalid_options_are_rejected_and_a_missing_secret_is_explained() {
    let world = shared().await;
    for wrong in [
        "create",
        "create --sub fred --ttl 0s",
        "create --sub fred --feed messages,plays",
        "create --sub fred --host a/b",
        "revoke",
        "revoke --jti a --sub fred",
        "revoke --jti a --issued-before 2020-01-01T00:00:00Z",
        "revoke --sub fred --issued-before yesterday",
    ] {
        let options: Vec<_> = wrong.split(' ').collect();
        let output = token(&world, &options).await;
        assert!(!output.is_success && output.stdout.is_empty(), "{wrong}: {}", output.stdout);
    }
    let output = mayfly(&world, &["token", "create", "--sub", "fred"], &[]).await;
    assert!(!output.is_success && output.stdout.is_empty());
    assert!(output.stderr.contains("MAYFLY_AUTH__SECRET_FILE"), "{}", output.stderr);
}

#[tokio::test]
async fn revocation_while_redis_is_unavailable_is_mirrored_later() {
    let world = access::setup().dedicated_servers().start().await;
    let one = create(&world, "later", "one").await;
    wait_for_status(&world, "later", &one, 200, Duration::from_secs(5)).await;
    let frozen = Frozen::freeze_tree(world.stack.env().pids(ProcessKind::Redis)[0]);
    let output = token(&world, &["revoke", "--jti", "one"]).await;
    assert!(output.is_success, "{}", output.stderr);
    assert!(output.stderr.contains("stored only in Postgres"), "{}", output.stderr);
    drop(frozen);
    wait_for_status(&world, "later", &one, 401, Duration::from_secs(10)).await;
}

/// If some revocations were omitted, a revoked token would be accepted.
#[tokio::test]
async fn too_many_revocations_reject_every_token_with_503() {
    let world = access::setup().start().await;
    let one = create(&world, "many", "one").await;
    wait_for_status(&world, "many", &one, 200, Duration::from_secs(5)).await;
    let insert = "INSERT INTO token_revocations (id, token_id) \
         SELECT gen_random_uuid(), 'many ' || number FROM generate_series(1, 100001) AS number";
    world.postgres().await.batch_execute(insert).await.expect("valid SQL");
    wait_for_status(&world, "many", &one, 503, Duration::from_secs(30)).await;
    let output = token(&world, &["revoke", "--jti", "two"]).await;
    assert!(!output.is_success && output.stderr.contains("100000"), "{}", output.stderr);
    let delete = "DELETE FROM token_revocations WHERE token_id <> 'many 1'";
    world.postgres().await.batch_execute(delete).await.expect("valid SQL");
    wait_for_status(&world, "many", &one, 200, Duration::from_secs(30)).await;
}
