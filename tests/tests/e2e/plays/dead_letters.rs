//! Entries that Postgres rejects are dead-lettered and do not block others.

use mayfly_tests::{Counts, DEFAULT_TIMEOUT, Setup, eventually};
use serde_json::json;

use super::ledger;

#[tokio::test]
async fn plays_that_postgres_rejects_are_dead_lettered_and_others_count() {
    let world = Setup::new().set("MAYFLY_PERSIST__RETRY_AFTER", "100ms").start().await;
    let constraint = "ALTER TABLE play_counts ADD CHECK (video_id <> 'refused')";
    world.postgres().await.execute(constraint, &[]).await.expect("the constraint is added");
    world.post_plays(&[json!({"video_id": "refused"}), json!({"video_id": "beside"})]).await;
    for _ in 0..5 {
        world.play(&["good", "good"]).await;
    }
    let counts: Counts = [("good".to_owned(), 10)].into();
    world.wait_for_counts(&counts, DEFAULT_TIMEOUT).await;
    let letters = "SELECT count(*) FROM dead_letters WHERE stream = 'plays' AND kind = 'plays.v1' \
         AND attempts = 5 AND items = 2 AND reason LIKE '23514 %'";
    eventually(DEFAULT_TIMEOUT, "the entry is dead-lettered", async || {
        match world.query_count(letters).await {
            1 => Ok(()),
            other => Err(other),
        }
    })
    .await;
    assert_eq!(ledger(&world).await, [12, 10, 0, 2]);
    // The queue is not blocked.
    world.play(&["good"]).await;
    world.wait_for_count("good", 11).await;
}
