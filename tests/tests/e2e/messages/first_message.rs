//! The first steps of a new user.

use std::time::Duration;

use mayfly_tests::{Setup, eventually, with_slack};
use serde_json::json;

#[tokio::test]
async fn message_is_readable_immediately_and_listed_within_one_second() {
    let world = Setup::new().start().await;
    let posted = world.post_message(&json!({"text": "Yo what up!", "username": "fred"})).await;
    let id = posted["id"].as_str().expect("a message has an id");
    assert_eq!(world.get(&format!("/v1/messages/{id}")).await, (200, posted.clone()));
    let listed =
        eventually(with_slack(Duration::from_secs(1)), "the message is listed", async || {
            let all = world.list_all_messages(50).await;
            if all.is_empty() { Err("no messages") } else { Ok(all) }
        })
        .await;
    assert_eq!(listed, [posted]);
}
