//! What a newcomer does first.

use std::time::Duration;

use mayfly_tests::{Setup, beside_others, eventually};
use serde_json::json;

#[tokio::test]
async fn a_message_is_found_by_id_at_once_and_in_the_walk_within_a_second() {
    let world = Setup::new().start().await;
    let posted = world.post_message(&json!({"text": "Yo what up!", "username": "fred"})).await;
    let id = posted["id"].as_str().expect("a message has an id");
    assert_eq!(world.get(&format!("/v1/messages/{id}")).await, (200, posted.clone()));
    let walked =
        eventually(beside_others(Duration::from_secs(1)), "it is in the walk", async || {
            let all = world.walk(50).await;
            if all.is_empty() { Err("nothing") } else { Ok(all) }
        })
        .await;
    assert_eq!(walked, [posted]);
}
