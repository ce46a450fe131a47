//! Messages, inboxes and hosts that a caller may not read.

use mayfly_tests::{ApiResponse, World};
use serde_json::{Value, json};

use super::{
    create_operator,
    credentials::{NewKey, create_keys, create_token},
    get, message, post, post_message, send, shared, wait_until_stored,
};

const UNKNOWN_ID: &str = "019a8f3c-7b1e-7c54-9d0a-3f6e2b8c1d47";

async fn delete(world: &World, id: &str, credentials: &str) -> ApiResponse {
    send(world.http.delete(world.list_url(&format!("/v1/messages/{id}"))), credentials).await
}

/// Returns the parts of a problem that are the same in every response with the same cause.
fn describe(response: &ApiResponse) -> (u16, Value, Vec<String>) {
    let mut problem = response.json();
    problem["instance"] = Value::Null;
    let mut names: Vec<_> = response.headers.keys().map(ToString::to_string).collect();
    names.sort();
    (response.status, problem, names)
}

#[tokio::test]
async fn message_without_the_right_is_like_an_unknown_one() {
    let world = shared().await;
    let operator = create_operator(&world).await;
    let hot = post_message(&world, &message("read-secret", "eve", "x"), &operator).await;
    let expired = json!({"channel": "read-secret", "text": "x", "ttl": 0});
    let expired = post_message(&world, &expired, &operator).await;
    wait_until_stored(&world, &expired).await;
    let rights = json!({"subscribe": ["read-open"], "inbox": true});
    let token = create_token("read-fred", rights);
    let key = NewKey {
        scopes: &["read", "take"],
        channels: Some(&["read-*"]),
        usernames: Some(&["fred"]),
        ..NewKey::default()
    };
    let key = create_keys(&world, &[key]).await.remove(0);
    let unknown = get(&world, &format!("/v1/messages/{UNKNOWN_ID}"), &token).await;
    unknown.expect_problem(404, "not_found");
    let unknown_deletion = delete(&world, UNKNOWN_ID, &token).await;
    for id in [&hot, &expired] {
        for path in [format!("/v1/messages/{id}"), format!("/chat/{id}")] {
            assert_eq!(describe(&get(&world, &path, &token).await), describe(&unknown), "{path}");
        }
        assert_eq!(describe(&delete(&world, id, &token).await), describe(&unknown_deletion));
    }
    let with_key = get(&world, &format!("/v1/messages/{hot}"), &key).await;
    assert_eq!(describe(&with_key), describe(&unknown));
    // The patterns of usernames do not apply to a message without a username.
    get(&world, &format!("/v1/messages/{expired}"), &key).await.expect_status(200);

    let inbox = get(&world, "/v1/users/eve/messages", &operator).await.expect_status(200);
    assert!(inbox["items"].to_string().contains(&hot), "the message is still live");
}

#[tokio::test]
async fn message_is_read_and_deleted_with_the_right_to_it() {
    let world = shared().await;
    let operator = create_operator(&world).await;
    let token = create_token("read-own", json!({"subscribe": ["read-open"], "inbox": true}));
    let open = post_message(&world, &message("read-open", "eve", "x"), &operator).await;
    let own = post_message(&world, &message("read-secret", "read-own", "x"), &operator).await;
    for id in [&open, &own] {
        let read = get(&world, &format!("/v1/messages/{id}"), &token).await;
        assert_eq!(read.expect_status(200)["id"], id.as_str());
        assert_eq!(read.header("cache-control"), "no-store");
    }
    delete(&world, &open, &token).await.expect_problem(404, "not_found");
    assert_eq!(delete(&world, &own, &token).await.status, 204);
    assert_eq!(delete(&world, &own, &token).await.status, 204, "already expired");
    // A message that is stored only in Postgres.
    wait_until_stored(&world, &own).await;
    get(&world, &format!("/v1/messages/{own}"), &token).await.expect_status(200);
}

#[tokio::test]
async fn inbox_is_read_and_taken_only_with_the_right_to_its_username() {
    let world = shared().await;
    let operator = create_operator(&world).await;
    let id = post_message(&world, &message("read-open", "inbox-fred", "x"), &operator).await;
    let rights = json!({"subscribe": ["*"], "inbox": true});
    let (fred, eve) =
        (create_token("inbox-fred", rights.clone()), create_token("inbox-eve", rights));
    let take = async |username: &str, credentials: &str| {
        let url = world.list_url(&format!("/v1/users/{username}/messages/take"));
        send(world.http.post(url), credentials).await
    };
    for username in ["inbox-fred", "inbox-nobody"] {
        let path = format!("/v1/users/{username}/messages");
        let denied = [
            get(&world, &path, &eve).await,
            take(username, &eve).await,
            get(&world, &format!("/chats/{username}"), &eve).await,
        ];
        for response in denied {
            response.expect_problem(403, "forbidden");
        }
    }
    let inbox = get(&world, "/v1/users/inbox-fred/messages", &fred).await.expect_status(200);
    assert_eq!(inbox["items"][0]["id"], id.as_str());
    let taken = take("inbox-fred", &fred).await.expect_status(200);
    assert_eq!(taken["items"][0]["id"], id.as_str());
    let empty = get(&world, "/chats/inbox-fred", &fred).await;
    assert_eq!(empty.expect_status(200), json!([]));
}

/// An inbox contains messages of every channel.
#[tokio::test]
async fn key_with_restricted_channels_has_no_inboxes() {
    let world = shared().await;
    let key = NewKey { scopes: &["read", "take"], channels: Some(&["a"]), ..NewKey::default() };
    let key = create_keys(&world, &[key]).await.remove(0);
    get(&world, "/v1/users/fred/messages", &key).await.expect_problem(403, "forbidden");
    get(&world, "/chats/fred", &key).await.expect_problem(403, "forbidden");
}

#[tokio::test]
async fn cached_response_is_not_returned_to_a_caller_without_the_right() {
    let world = shared().await;
    let operator = create_operator(&world).await;
    let visit = json!({"host": "cached.example.org", "path": "/", "visitor": "v"});
    post(&world, "/v1/visits", &visit, &operator).await.expect_status(202);
    let token = create_token("read-hosts", json!({"hosts": ["open.example.org"]}));
    for page in ["pages", "rising", "history?path=/"] {
        let path = format!("/v1/hosts/cached.example.org/{page}");
        let allowed = get(&world, &path, &operator).await;
        allowed.expect_status(200);
        assert_eq!(allowed.header("cache-control"), "no-store", "{page}");
        get(&world, &path, &token).await.expect_problem(403, "forbidden");
        let unvisited = format!("/v1/hosts/unvisited.example.org/{page}");
        get(&world, &unvisited, &token).await.expect_problem(403, "forbidden");
        let open = format!("/v1/hosts/open.example.org/{page}");
        get(&world, &open, &token).await.expect_status(200);
    }
}

#[tokio::test]
async fn key_parameter_is_required_and_must_be_valid_for_the_host() {
    let world = shared().await;
    let keys = [
        NewKey { scopes: &["read"], hosts: Some(&["*.inc.example.org"]), ..NewKey::default() },
        NewKey { scopes: &["publish", "take"], ..NewKey::default() },
    ];
    let keys = create_keys(&world, &keys).await;
    let operator = create_operator(&world).await;
    let increases = async |key: &str, host: &str| {
        let url = world.list_url("/api/v1.0/increasingconcurrents");
        let query = [("apikey", key), ("host", host)];
        // The key in the header does not replace the parameter.
        send(world.http.get(url).query(&query), &operator).await
    };
    for (key, host, status) in [
        (keys[0].as_str(), "A.inc.example.org", 200),
        (operator.as_str(), "other.org", 200),
        (keys[0].as_str(), "inc.example.org", 401),
        (keys[1].as_str(), "a.inc.example.org", 401),
        ("", "a.inc.example.org", 401),
        ("unknown", "a.inc.example.org", 401),
    ] {
        assert_eq!(increases(key, host).await.status, status, "{host}");
    }
}
