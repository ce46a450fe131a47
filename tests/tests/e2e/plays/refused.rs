//! What is refused, and that nothing of it counts.

use mayfly_stack::Service;
use mayfly_tests::{Answer, PATIENCE, Setup, World};
use serde_json::{Value, json};

async fn post(world: &World, plays: &Value) -> Answer {
    Answer::of(world.http.post(world.ingest("/v1/plays")).json(plays)).await
}

#[tokio::test]
async fn what_is_wrong_is_named_and_the_rest_of_its_request_does_not_count() {
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
        let answer = post(&world, &body).await;
        assert_eq!(answer.expect_problem(400, "invalid_field"), fields, "{body}");
    }
    let broken =
        world.http.post(world.ingest("/v1/plays")).header("content-type", "application/json");
    Answer::of(broken.body("{")).await.expect_problem(400, "invalid_json");
    world.play(&["good"]).await;
    world.until_counted("good", 1).await;
    assert_eq!(world.counts_in_postgres().await.len(), 1);
}

#[tokio::test]
async fn a_client_may_report_so_many_plays_and_a_batch_beyond_is_refused_whole() {
    let world = Setup::new()
        .with(Service::IngestApi, 2)
        .set("MAYFLY_LIMITS__PLAYS", "10/hour")
        .set("MAYFLY_LIMITS__MESSAGES", "1/hour")
        .start()
        .await;
    let batch = |count| json!(vec![json!({"video_id": "limited"}); count]);
    let first = post(&world, &batch(8)).await;
    first.expect(202);
    assert_eq!(first.header("ratelimit-policy"), "\"plays\";q=10;w=3600");
    assert!(first.header("ratelimit").starts_with("\"plays\";r=2;t="));
    let refused = post(&world, &batch(3)).await;
    refused.expect_problem(429, "rate_limited");
    assert!(refused.header("retry-after").parse::<u64>().expect("seconds") > 3_000);
    post(&world, &batch(2)).await.expect(202);
    post(&world, &json!({"video_id": "limited"})).await.expect_problem(429, "rate_limited");
    // Messages are counted apart.
    assert_eq!(world.post("/v1/messages", &json!({"text": "x"})).await.status(), 202);
    world.until_counted("limited", 10).await;
}

#[tokio::test]
async fn when_as_many_wait_as_may_further_ones_are_refused_until_they_are_counted() {
    let world = Setup::new().set("MAYFLY_QUEUE__DEPTH_MAX", "10").start().await;
    world.play(&["warm"]).await;
    world.until_counted("warm", 1).await;
    world.stack.stop(Service::PersistWorker).await.expect("it stops");
    world.play(&["full"; 9]).await;
    let refused = post(&world, &json!([{"video_id": "full"}, {"video_id": "full"}])).await;
    refused.expect_problem(503, "overloaded");
    assert_eq!(refused.header("retry-after"), "5");
    world.play(&["full"]).await;
    post(&world, &json!({"video_id": "full"})).await.expect_problem(503, "overloaded");
    world.stack.start(Service::PersistWorker).await.expect("it starts");
    world.until_counted("full", 10).await;
    mayfly_tests::eventually(PATIENCE, "there is room again", async || {
        let answer = post(&world, &json!([{"video_id": "full"}, {"video_id": "full"}])).await;
        if answer.status == 202 { Ok(()) } else { Err(answer.text()) }
    })
    .await;
    world.until_counted("full", 12).await;
}
