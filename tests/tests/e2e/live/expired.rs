//! What a take or a deletion tells.

use mayfly_tests::{
    Answer, id_of,
    live::{Live, Told},
};
use serde_json::{Value, json};

use super::{position_of, say, shared};

fn message(channel: &str, username: &str) -> Value {
    json!({"channel": channel, "username": username, "text": "x", "ttl": 600})
}

#[tokio::test]
async fn a_take_is_told_on_the_channels_of_what_was_taken_and_on_no_others() {
    let world = shared().await;
    let (mut first, hello) = Live::hello(&world.live("channel=taken-a")).await;
    let (mut second, _) = Live::hello(&world.live("channel=taken-b")).await;
    let (mut both, _) = Live::hello(&world.live("channel=taken-a&channel=taken-b")).await;
    let (mut none, _) = Live::hello(&world.live("channel=taken-c")).await;
    let mut ids = Vec::new();
    for channel in ["taken-a", "taken-b", "taken-a"] {
        let posted = world.post_message(&message(channel, "expired-fred")).await;
        ids.push(id_of(&posted).to_owned());
    }
    assert_eq!(world.take("expired-fred").await.len(), 3);
    let expired = first.next_of("expired").await;
    assert_eq!(expired["ids"], json!([ids[0], ids[2]]));
    assert_eq!(second.next_of("expired").await["ids"], json!([ids[1]]));
    assert_eq!(both.next_of("expired").await["ids"], json!(ids));
    say(&world, "taken-c", "heard").await;
    assert_eq!(none.texts_until("heard").await, ["heard"]);

    // A replay tells the same, also with messages that expired meanwhile.
    let since = format!("channel=taken-a&since={}", position_of(&hello));
    let (mut replay, hello) = Live::hello(&world.live(&since)).await;
    assert_eq!(hello["resumed"], true);
    for id in [&ids[0], &ids[2]] {
        assert_eq!(replay.next_frame().await["message"]["id"], json!(id));
    }
    assert_eq!(replay.next_frame().await, expired);
}

#[tokio::test]
async fn a_deletion_is_told_also_of_a_message_that_lives_in_no_inbox() {
    let world = shared().await;
    let (mut live, _) = Live::hello(&world.live("channel=deleted")).await;
    let (mut other, _) = Live::hello(&world.live("channel=deleted-other")).await;
    let posted = world.post_message(&json!({"channel": "deleted", "text": "x"})).await;
    let url = world.list(&format!("/v1/messages/{}", id_of(&posted)));
    assert_eq!(Answer::of(world.http.delete(&url)).await.status, 204);
    assert_eq!(live.next_frame().await["message"], posted);
    let expired = live.next_frame().await;
    let position = position_of(&expired);
    assert_eq!(expired, json!({"type": "expired", "position": position, "ids": [id_of(&posted)]}));
    say(&world, "deleted-other", "heard").await;
    assert_eq!(other.texts_until("heard").await, ["heard"]);

    // Behind the expiry nothing comes again.
    say(&world, "deleted", "after").await;
    let (mut after, _) =
        Live::hello(&world.live(&format!("channel=deleted&since={position}"))).await;
    assert_eq!(after.texts_until("after").await, ["after"]);
}

#[tokio::test]
async fn expiry_by_time_is_in_the_message_and_sends_no_frame() {
    let world = shared().await;
    let (mut live, _) = Live::hello(&world.live("channel=by-time")).await;
    world.post_message(&json!({"channel": "by-time", "text": "brief", "ttl": 1})).await;
    let told = Told::read(&live.next_text().await.expect("a frame"));
    assert_eq!(told.text(), "brief");
    tokio::time::sleep(std::time::Duration::from_millis(1_300)).await;
    say(&world, "by-time", "heard").await;
    assert_eq!(live.texts_until("heard").await, ["heard"]);
}
