//! Rejected plays, which do not count.

use mayfly_stack::Service;
use mayfly_tests::{ApiResponse, DEFAULT_TIMEOUT, Setup, World};
use serde_json::{Value, json};

async fn post(world: &World, plays: &Value) -> ApiResponse {
    ApiResponse::send(world.http.post(world.ingest_url("/v1/plays")).json(plays)).await
}

#[tokio::test]
async fn invalid_play_is_reported_and_rejects_its_request() {
    let world = Setup::new().start().await;
    for (body, fields) in [
        (
            json!([{"video_id": "good"}, {"video_id": ""}, {"play_id": "p"}]),
            &["[1].video_id", "[2].video_id"][..],
        ),
        (
            json!([{"video_id": "good"}, {"video_id": "v", "play_id": "p".repeat(129)}]),
            &["[1].play_id"],
        ),
        (json!({"video_id": 7}), &["video_id"]),
        (json!({"video_id": "v", "uuid": "v"}), &["uuid"]),
        (json!({"video_id": "a\u{0}"}), &["video_id"]),
        (json!(vec![json!({"video_id": "v"}); 1_001]), &[""]),
        (json!([]), &[""]),
        (json!("video"), &[""]),
    ] {
        let response = post(&world, &body).await;
        assert_eq!(response.expect_problem(400, "invalid_field"), fields, "{body}");
    }
    let broken =
        world.http.post(world.ingest_url("/v1/plays")).header("content-type", "application/json");
    ApiResponse::send(broken.body("{")).await.expect_problem(400, "invalid_json");
    world.play(&["good"]).await;
    world.wait_for_count("good", 1).await;
    assert_eq!(world.stored_counts().await.len(), 1);
}

#[tokio::test]
async fn batch_above_the_rate_limit_is_rejected_completely() {
    let world = Setup::new()
        .scale(Service::IngestApi, 2)
        .set("MAYFLY_LIMITS__PLAYS", "10/hour")
        .set("MAYFLY_LIMITS__MESSAGES", "1/hour")
        .start()
        .await;
    let batch = |count| json!(vec![json!({"video_id": "limited"}); count]);
    let first = post(&world, &batch(8)).await;
    first.expect_status(202);
    assert_eq!(first.header("ratelimit-policy"), "\"plays\";q=10;w=3600");
    assert!(first.header("ratelimit").starts_with("\"plays\";r=2;t="));
    let rejected = post(&world, &batch(3)).await;
    rejected.expect_problem(429, "rate_limited");
    assert!(rejected.header("retry-after").parse::<u64>().expect("seconds") > 3_000);
    post(&world, &batch(2)).await.expect_status(202);
    post(&world, &json!({"video_id": "limited"})).await.expect_problem(429, "rate_limited");
    // Messages have a separate limit.
    assert_eq!(world.post("/v1/messages", &json!({"text": "x"})).await.status(), 202);
    world.wait_for_count("limited", 10).await;
}

#[tokio::test]
async fn full_queue_rejects_plays_until_they_are_counted() {
    let world = Setup::new().set("MAYFLY_QUEUE__DEPTH_MAX", "10").start().await;
    world.play(&["warm"]).await;
    world.wait_for_count("warm", 1).await;
    world.stack.stop(Service::PersistWorker).await.expect("the worker stops");
    world.play(&["full"; 9]).await;
    let rejected = post(&world, &json!([{"video_id": "full"}, {"video_id": "full"}])).await;
    rejected.expect_problem(503, "overloaded");
    assert_eq!(rejected.header("retry-after"), "5");
    world.play(&["full"]).await;
    post(&world, &json!({"video_id": "full"})).await.expect_problem(503, "overloaded");
    world.stack.start(Service::PersistWorker).await.expect("the worker starts");
    world.wait_for_count("full", 10).await;
    mayfly_tests::eventually(DEFAULT_TIMEOUT, "the queue has room again", async || {
        let response = post(&world, &json!([{"video_id": "full"}, {"video_id": "full"}])).await;
        if response.status == 202 { Ok(()) } else { Err(response.text()) }
    })
    .await;
    world.wait_for_count("full", 12).await;
}
