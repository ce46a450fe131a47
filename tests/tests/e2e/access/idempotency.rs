//! Idempotency keys of callers with the same address.

use mayfly_tests::{ApiResponse, World};
use serde_json::{Value, json};

use super::{
    create_operator,
    credentials::{NewKey, create_keys, create_token},
    message, post_message, send, shared,
};

async fn post_with_key(world: &World, body: &Value, key: &str, credentials: &str) -> ApiResponse {
    let request = world.http.post(world.ingest_url("/v1/messages"));
    send(request.header("idempotency-key", key).json(body), credentials).await
}

fn is_replayed(response: &ApiResponse) -> bool {
    response.header("idempotent-replayed") == "true"
}

#[tokio::test]
async fn callers_do_not_share_idempotency_keys() {
    let world = shared().await;
    let publisher = NewKey { scopes: &["publish"], ..NewKey::default() };
    let mut callers = create_keys(&world, &[publisher, publisher]).await;
    for subject in ["idem-a", "idem-b"] {
        callers.push(create_token(subject, json!({"publish": ["idem"]})));
    }
    let mut ids = Vec::new();
    for (index, credentials) in callers.iter().enumerate() {
        // Each caller sends another body, which would be rejected if the callers shared the key.
        let body = message("idem", "", &index.to_string());
        let first = post_with_key(&world, &body, "shared", credentials).await;
        assert!(!is_replayed(&first), "{}", first.text());
        let again = post_with_key(&world, &body, "shared", credentials).await;
        assert!(is_replayed(&again));
        assert_eq!(first.expect_status(202), again.expect_status(202));
        let different = message("idem", "", "other");
        let other = post_with_key(&world, &different, "shared", credentials).await;
        other.expect_problem(422, "idempotency_key_reused");
        ids.push(first.json()["id"].clone());
    }
    ids.sort_unstable_by_key(ToString::to_string);
    ids.dedup();
    assert_eq!(ids.len(), callers.len());
}

#[tokio::test]
async fn tokens_of_one_subject_share_idempotency_keys() {
    let world = shared().await;
    let rights = json!({"publish": ["idem"]});
    let renewed = json!({"publish": ["idem", "more"]});
    let body = message("idem", "", "renewed");
    let first = create_token("idem-renewed", rights);
    let first = post_with_key(&world, &body, "renewed", &first).await;
    let second = create_token("idem-renewed", renewed);
    let second = post_with_key(&world, &body, "renewed", &second).await;
    assert!(!is_replayed(&first) && is_replayed(&second));
    assert_eq!(first.expect_status(202), second.expect_status(202));
    assert_eq!(first.json()["username"], "idem-renewed");
}

#[tokio::test]
async fn take_is_replayed_only_to_the_caller_that_took() {
    let world = shared().await;
    let operator = create_operator(&world).await;
    let id = post_message(&world, &message("idem", "idem-inbox", "x"), &operator).await;
    let taker = NewKey { scopes: &["take"], ..NewKey::default() };
    let takers = create_keys(&world, &[taker, taker]).await;
    let take = async |credentials: &str| {
        let url = world.list_url("/v1/users/idem-inbox/messages/take");
        send(world.http.post(url).header("idempotency-key", "take"), credentials).await
    };
    for _ in 0..2 {
        let response = take(&takers[0]).await;
        assert_eq!(response.expect_status(200)["items"][0]["id"], id.as_str());
    }
    let other = take(&takers[1]).await;
    assert_eq!(other.expect_status(200)["items"], json!([]));
    assert!(!is_replayed(&other));
}

#[tokio::test]
async fn rejected_write_is_not_stored_under_its_key() {
    let world = shared().await;
    let narrow = create_token("idem-rights", json!({"publish": ["idem"]}));
    let body = message("idem-more", "", "x");
    post_with_key(&world, &body, "rights", &narrow).await.expect_problem(403, "forbidden");
    let wide = create_token("idem-rights", json!({"publish": ["idem*"]}));
    let accepted = post_with_key(&world, &body, "rights", &wide).await;
    assert!(!is_replayed(&accepted));
    accepted.expect_status(202);
    // The right is checked again before a stored response is replayed.
    let replayed = post_with_key(&world, &body, "rights", &narrow).await;
    replayed.expect_problem(403, "forbidden");
}
