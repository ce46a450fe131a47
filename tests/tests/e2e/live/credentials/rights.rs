//! The channels, feeds and hosts that credentials allow.

use futures_util::future::join_all;
use mayfly_tests::{
    ApiResponse, World,
    live::{LiveSocket, trend_snapshot},
};
use serde_json::{Value, json};

use super::{
    connect, expect_open, forbidden_names, open_with_hello, post_text, shared, to_channels,
};
use crate::{
    access::credentials::{NewKey, create_keys, create_token},
    live::{feed_url, frame_position, start_instance},
};

/// Posts a text to channels that the connection must not receive, and then to one that it must.
async fn expect_only(
    world: &World,
    operator: &str,
    live: &mut LiveSocket,
    unheard: &[&str],
    heard: &str,
) {
    for channel in unheard {
        post_text(world, operator, channel, "unheard").await;
    }
    post_text(world, operator, heard, "heard").await;
    assert_eq!(live.texts_until("heard").await, ["heard"]);
}

#[tokio::test]
async fn all_channels_are_those_that_the_credentials_allow() {
    let (world, operator) = shared().await;
    let patterns: &[&str] = &["rights-a.*", "rights-b"];
    let key = NewKey { scopes: &["subscribe"], channels: Some(patterns), ..NewKey::default() };
    let key = create_keys(&world, &[key]).await.remove(0);
    let token = create_token("fred", to_channels(patterns));
    for credentials in [&key, &token] {
        for fields in [json!({}), json!({"channels": ["*"]})] {
            let mut fields = fields.clone();
            fields["token"] = credentials.as_str().into();
            let (mut live, hello) = connect(&world, fields).await;
            assert_eq!(hello["type"], "hello", "{hello}");
            let unheard = ["rights-a", "rights-bb", "lobby"];
            expect_only(&world, &operator, &mut live, &unheard, "rights-a.1").await;
            expect_only(&world, &operator, &mut live, &unheard, "rights-b").await;
            let set = live.exchange(&json!({"type": "subscribe"})).await;
            assert_eq!(set["channels"], json!(["*"]));
        }
    }
}

#[tokio::test]
async fn forbidden_names_are_refused_and_the_connection_stays_open() {
    let (world, operator) = shared().await;
    let rights = json!({
        "subscribe": ["rights-c.*"], "feeds": ["plays", "rising"], "hosts": ["*.rights.example"],
    });
    let token = create_token("fred", rights);
    let (mut live, _) = connect(&world, json!({"token": token, "channels": ["rights-c.1"]})).await;
    for (names, refused) in [
        (json!({"channels": ["lobby"]}), json!([["lobby"], [], []])),
        (json!({"channels": ["rights-c.2", "lobby"]}), json!([["lobby"], [], []])),
        (json!({"feeds": ["plays", "pulse", "stats"]}), json!([[], ["pulse", "stats"], []])),
        (
            json!({"feeds": ["rising"], "hosts": ["a.rights.example", "other.example"]}),
            json!([[], [], ["other.example"]]),
        ),
    ] {
        let mut frame = names.clone();
        frame["type"] = "subscribe".into();
        let error = live.exchange(&frame).await;
        assert_eq!(forbidden_names(&error, "subscribe"), refused, "{names}");
    }
    // Nothing was changed.
    let set = live.exchange(&json!({"type": "subscribe"})).await;
    let lists = json!([set["channels"], set["feeds"], set["hosts"]]);
    assert_eq!(lists, json!([["rights-c.1"], ["messages"], []]));
    expect_only(&world, &operator, &mut live, &["lobby", "rights-c.2"], "rights-c.1").await;
    let allowed = json!({
        "type": "subscribe", "channels": ["rights-c.2"], "feeds": ["rising"],
        "hosts": ["A.Rights.example"],
    });
    assert_eq!(live.exchange(&allowed).await["type"], "subscribed");
    expect_only(&world, &operator, &mut live, &["lobby"], "rights-c.2").await;
}

#[tokio::test]
async fn connection_starts_without_the_names_that_are_forbidden() {
    let (world, operator) = shared().await;
    let token = create_token("fred", to_channels(&["rights-d"]));
    let fields = json!({
        "token": token, "channels": ["rights-d", "lobby"], "feeds": ["messages", "rising"],
        "hosts": ["a.rights.example"],
    });
    let (mut live, hello) = connect(&world, fields).await;
    assert_eq!(hello["type"], "hello", "{hello}");
    let refused = json!([["lobby"], ["rising"], ["a.rights.example"]]);
    assert_eq!(forbidden_names(&live.next_frame().await, "connect"), refused);
    expect_only(&world, &operator, &mut live, &["lobby"], "rights-d").await;
    // The same applies to names in the query.
    let url = world.live_url("channel=rights-d&channel=lobby");
    let (mut live, _) = open_with_hello(&url, &token).await;
    let refused = json!([["lobby"], [], []]);
    assert_eq!(forbidden_names(&live.next_frame().await, "connect"), refused);
    expect_only(&world, &operator, &mut live, &["lobby"], "rights-d").await;
    // Even if no name is left, the connection stays open.
    let (mut live, _) = open_with_hello(&world.live_url("channel=lobby"), &token).await;
    assert_eq!(live.next_frame().await["code"], "forbidden");
    expect_open(&mut live).await;
}

#[tokio::test]
async fn hosts_are_delivered_only_with_the_right() {
    let (world, _) = shared().await;
    let rights = json!({"feeds": ["rising"], "hosts": ["a.rising.example"]});
    let token = create_token("fred", rights);
    let url = world.live_url("feed=rising&host=a.rising.example&host=b.rising.example");
    let (mut live, _) = open_with_hello(&url, &token).await;
    let refused = json!([[], [], ["b.rising.example"]]);
    assert_eq!(forbidden_names(&live.next_frame().await, "connect"), refused);
    for host in ["b.rising.example", "a.rising.example"] {
        world.publish_trend(&trend_snapshot(host, 5, &[("/", 1, None)])).await;
    }
    assert_eq!(live.next_of_type("rising").await["host"], "a.rising.example");
}

/// A replay from the buffer of the process, and one that reads the stream.
#[tokio::test]
async fn replay_contains_only_what_the_credentials_allow() {
    let (world, operator) = shared().await;
    let token = create_token("fred", to_channels(&["rights-e.*"]));
    let (_live, hello) = open_with_hello(&world.live_url("channel=rights-e.1"), &token).await;
    let since = frame_position(&hello);
    for (channel, text) in
        [("rights-e.1", "1"), ("rights-e", "unheard"), ("lobby", "unheard"), ("rights-e.2", "2")]
    {
        post_text(&world, &operator, channel, text).await;
    }
    let other = start_instance(&world, &[]).await;
    for url in [world.live_url(""), feed_url(&other, "")] {
        for (query, expected) in [
            ("", &["1", "2"][..]),
            ("&channel=*", &["1", "2"][..]),
            ("&channel=rights-e.2", &["2"][..]),
        ] {
            let url = format!("{url}since={since}{query}");
            let (mut live, hello) = open_with_hello(&url, &token).await;
            assert_eq!(hello["resumed"], true, "{hello}");
            assert_eq!(live.texts_until("2").await, expected, "{url}");
            expect_only(&world, &operator, &mut live, &["lobby"], "rights-e.2").await;
        }
        let url = format!("{url}since={since}&channel=lobby&channel=rights-e.1");
        let (mut live, _) = open_with_hello(&url, &token).await;
        assert_eq!(live.next_frame().await["code"], "forbidden");
        assert_eq!(live.texts_until("1").await, ["1"]);
        expect_only(&world, &operator, &mut live, &["lobby"], "rights-e.1").await;
    }
}

#[tokio::test]
async fn expired_frames_contain_only_messages_that_the_credentials_allow() {
    let (world, operator) = shared().await;
    let token = create_token("fred", to_channels(&["rights-f.*"]));
    let (mut live, _) = open_with_hello(&world.live_url(""), &token).await;
    let mut ids = Vec::new();
    for channel in ["rights-f", "lobby", "rights-f.1"] {
        ids.push(post_text(&world, &operator, channel, "deleted").await["id"].clone());
    }
    for id in &ids {
        let id = id.as_str().expect("the message has an ID");
        let url = world.list_url(&format!("/v1/messages/{id}"));
        let deleted = ApiResponse::send(world.http.delete(url).bearer_auth(&operator)).await;
        assert_eq!(deleted.status, 204);
    }
    let expired = live.next_of_type("expired").await;
    assert_eq!(expired["ids"], json!([ids[2]]));
}

/// Each connection has other rights, so the messages are selected for each of them separately.
#[tokio::test(flavor = "multi_thread")]
async fn many_different_rights_receive_exactly_their_channels() {
    const USERS: usize = 60;
    let (world, operator) = shared().await;
    let url = world.live_url("");
    let open = async |user: usize| {
        let own = format!("rights-user-{user}.*");
        let token = create_token("fred", to_channels(&[own.as_str(), "rights-users"]));
        open_with_hello(&url, &token).await.0
    };
    let mut lives = join_all((0..USERS).map(open)).await;
    let batch = |number: usize| -> Value {
        let own = (0..USERS).map(|user| {
            let channel = format!("rights-user-{user}.{number}");
            json!({"channel": channel, "text": format!("{user}"), "ttl": 600})
        });
        own.chain([json!({"channel": "rights-users", "text": "all", "ttl": 600})]).collect()
    };
    for number in 0..3 {
        let request = world.http.post(world.ingest_url("/v1/messages/batch"));
        let request = request.bearer_auth(&operator).json(&batch(number));
        assert_eq!(ApiResponse::send(request).await.status, 202);
        for (user, live) in lives.iter_mut().enumerate() {
            assert_eq!(live.texts_until("all").await, [user.to_string(), "all".into()]);
        }
    }
}

#[tokio::test]
async fn key_with_restricted_usernames_receives_no_messages() {
    let (world, _) = shared().await;
    let usernames: &[&str] = &["fred"];
    let key = NewKey { scopes: &["subscribe"], usernames: Some(usernames), ..NewKey::default() };
    let key = create_keys(&world, &[key]).await.remove(0);
    let (mut live, _) =
        connect(&world, json!({"token": key, "channels": ["rights-g"], "feeds": ["plays"]})).await;
    let refused = json!([["rights-g"], [], []]);
    assert_eq!(forbidden_names(&live.next_frame().await, "connect"), refused);
    expect_open(&mut live).await;
}
