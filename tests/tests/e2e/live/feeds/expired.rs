//! `expired` frames after a take or a deletion.

use mayfly_tests::{
    ApiResponse,
    live::{LiveSocket, ReceivedFrame},
    message_id,
};
use serde_json::{Value, json};

use crate::live::{frame_position, post_text, shared};

fn message(channel: &str, username: &str) -> Value {
    json!({"channel": channel, "username": username, "text": "x", "ttl": 600})
}

#[tokio::test]
async fn take_is_reported_only_on_the_channels_of_the_taken_messages() {
    let world = shared().await;
    let (mut first, hello) =
        LiveSocket::connect_with_hello(&world.live_url("channel=taken-a")).await;
    let (mut second, _) = LiveSocket::connect_with_hello(&world.live_url("channel=taken-b")).await;
    let (mut both, _) =
        LiveSocket::connect_with_hello(&world.live_url("channel=taken-a&channel=taken-b")).await;
    let (mut none, _) = LiveSocket::connect_with_hello(&world.live_url("channel=taken-c")).await;
    let mut ids = Vec::new();
    for channel in ["taken-a", "taken-b", "taken-a"] {
        let posted = world.post_message(&message(channel, "expired-fred")).await;
        ids.push(message_id(&posted).to_owned());
    }
    assert_eq!(world.take("expired-fred").await.len(), 3);
    let expired = first.next_of_type("expired").await;
    assert_eq!(expired["ids"], json!([ids[0], ids[2]]));
    assert_eq!(second.next_of_type("expired").await["ids"], json!([ids[1]]));
    assert_eq!(both.next_of_type("expired").await["ids"], json!(ids));
    post_text(&world, "taken-c", "heard").await;
    assert_eq!(none.texts_until("heard").await, ["heard"]);

    // A replay contains the same frames, including messages that have expired since.
    let since = format!("channel=taken-a&since={}", frame_position(&hello));
    let (mut replay, hello) = LiveSocket::connect_with_hello(&world.live_url(&since)).await;
    assert_eq!(hello["resumed"], true);
    for id in [&ids[0], &ids[2]] {
        assert_eq!(replay.next_frame().await["message"]["id"], json!(id));
    }
    assert_eq!(replay.next_frame().await, expired);
}

#[tokio::test]
async fn deletion_of_a_message_without_an_inbox_is_reported() {
    let world = shared().await;
    let (mut live, _) = LiveSocket::connect_with_hello(&world.live_url("channel=deleted")).await;
    let (mut other, _) =
        LiveSocket::connect_with_hello(&world.live_url("channel=deleted-other")).await;
    let posted = world.post_message(&json!({"channel": "deleted", "text": "x"})).await;
    let url = world.list_url(&format!("/v1/messages/{}", message_id(&posted)));
    assert_eq!(ApiResponse::send(world.http.delete(&url)).await.status, 204);
    assert_eq!(live.next_frame().await["message"], posted);
    let expired = live.next_frame().await;
    let position = frame_position(&expired);
    assert_eq!(
        expired,
        json!({"type": "expired", "position": position, "ids": [message_id(&posted)]})
    );
    post_text(&world, "deleted-other", "heard").await;
    assert_eq!(other.texts_until("heard").await, ["heard"]);

    // After the expired frame, nothing is replayed.
    post_text(&world, "deleted", "after").await;
    let (mut after, _) = LiveSocket::connect_with_hello(
        &world.live_url(&format!("channel=deleted&since={position}")),
    )
    .await;
    assert_eq!(after.texts_until("after").await, ["after"]);
}

#[tokio::test]
async fn expiry_by_time_sends_no_frame() {
    let world = shared().await;
    let (mut live, _) = LiveSocket::connect_with_hello(&world.live_url("channel=by-time")).await;
    world.post_message(&json!({"channel": "by-time", "text": "brief", "ttl": 1})).await;
    let received = ReceivedFrame::parse(&live.next_text().await.expect("a frame arrives"));
    assert_eq!(received.text(), "brief");
    tokio::time::sleep(std::time::Duration::from_millis(1_300)).await;
    post_text(&world, "by-time", "heard").await;
    assert_eq!(live.texts_until("heard").await, ["heard"]);
}
