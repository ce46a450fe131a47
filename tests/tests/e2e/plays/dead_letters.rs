//! An entry that Postgres refuses is a dead letter, and holds up nobody.

use mayfly_tests::{Counts, PATIENCE, Setup, eventually};
use serde_json::json;

use super::ledger;

#[tokio::test]
async fn plays_that_postgres_refuses_are_dead_letters_and_the_others_count() {
    let world = Setup::new().set("MAYFLY_PERSIST__RETRY_AFTER", "100ms").start().await;
    let rule = "ALTER TABLE play_counts ADD CHECK (video_id <> 'refused')";
    world.postgres().await.execute(rule, &[]).await.expect("the table takes a rule");
    world.post_plays(&[json!({"video_id": "refused"}), json!({"video_id": "beside"})]).await;
    for _ in 0..5 {
        world.play(&["good", "good"]).await;
    }
    let counts: Counts = [("good".to_owned(), 10)].into();
    world.until_counts_are(&counts, PATIENCE).await;
    let letters = "SELECT count(*) FROM dead_letters WHERE stream = 'plays' AND kind = 'plays.v1' \
         AND attempts = 5 AND items = 2 AND reason LIKE '23514 %'";
    eventually(PATIENCE, "it is buried", async || match world.count(letters).await {
        1 => Ok(()),
        other => Err(other),
    })
    .await;
    assert_eq!(ledger(&world).await, [12, 10, 0, 2]);
    // Nothing is left of it in the queue.
    world.play(&["good"]).await;
    world.until_counted("good", 11).await;
}
