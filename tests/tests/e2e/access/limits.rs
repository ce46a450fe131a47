//! Rate limits of callers with credentials.

use mayfly_tests::{ApiResponse, World};
use serde_json::{Value, json};
use tokio::sync::OnceCell;
use uuid::Uuid;

use super::{
    credentials::{NewKey, create_keys, create_token},
    message, post, setup,
};

/// Returns a stack in which clients without their own limits may send two items of each kind.
async fn limited() -> World {
    static WORLD: OnceCell<World> = OnceCell::const_new();
    let setup = setup()
        .set("MAYFLY_LIMITS__MESSAGES", "2/hour")
        .set("MAYFLY_LIMITS__PLAYS", "2/hour")
        .set("MAYFLY_LIMITS__VISITS", "2/hour")
        .set("MAYFLY_AUTH__ANONYMOUS", "publish");
    setup.share(&WORLD).await
}

/// Returns a request of each kind with one item. A visitor counts at most once per second, so each
/// visit has another visitor.
fn items() -> [(&'static str, Value); 3] {
    let visitor = Uuid::now_v7().to_string();
    [
        ("/v1/messages", message("lobby", "", "x")),
        ("/v1/plays", json!({"video_id": "limits"})),
        ("/v1/visits", json!({"host": "limits.test", "path": "/", "visitor": visitor})),
    ]
}

/// Sends items of each kind until one is rejected, at most ten. Returns the numbers of accepted
/// messages, plays and visits.
async fn count_accepted(send: impl AsyncFn(&str, &Value) -> ApiResponse) -> [usize; 3] {
    let mut accepted = [0; 3];
    for (kind, count) in accepted.iter_mut().enumerate() {
        for _ in 0..10 {
            let (path, body) = &items()[kind];
            let response = send(path, body).await;
            if response.status == 429 {
                response.expect_problem(429, "rate_limited");
                break;
            }
            response.expect_status(202);
            *count += 1;
        }
    }
    accepted
}

#[tokio::test]
async fn key_has_only_its_own_limits() {
    let world = limited().await;
    let publisher = NewKey { scopes: &["publish"], ..NewKey::default() };
    let keys = [
        publisher,
        NewKey { limits: [Some("3/hour"), None, Some("1/hour")], ..publisher },
        NewKey { limits: [None, Some("4/hour"), None], ..publisher },
    ];
    let keys = create_keys(&world, &keys).await;
    let mut accepted = Vec::new();
    for key in &keys {
        let send = async |path: &str, body: &Value| post(&world, path, body, key).await;
        accepted.push(count_accepted(send).await);
    }
    assert_eq!(accepted, [[10, 10, 10], [3, 10, 1], [10, 4, 10]]);

    let response = post(&world, "/v1/messages", &message("lobby", "", "x"), &keys[1]).await;
    assert_eq!(response.header("ratelimit-policy"), "\"messages\";q=3;w=3600");
    let unlimited = post(&world, "/v1/messages", &message("lobby", "", "x"), &keys[0]).await;
    assert_eq!(unlimited.header("ratelimit"), "", "a key without a limit");
}

#[tokio::test]
async fn configured_limits_apply_per_subject_and_per_address() {
    let world = limited().await;
    let rights = json!({"publish": ["*"], "plays": true, "visits": ["*"]});
    for subject in ["limits-a", "limits-b"] {
        let token = create_token(subject, rights.clone());
        let send = async |path: &str, body: &Value| post(&world, path, body, &token).await;
        assert_eq!(count_accepted(send).await, [2; 3], "{subject}");
    }
    let renewed = create_token("limits-a", json!({"publish": ["*"]}));
    let response = post(&world, "/v1/messages", &message("lobby", "", "x"), &renewed).await;
    response.expect_problem(429, "rate_limited");

    let anonymous = async |path: &str, body: &Value| {
        ApiResponse::send(world.http.post(world.ingest_url(path)).json(body)).await
    };
    assert_eq!(count_accepted(anonymous).await, [2; 3]);
}
