//! Lost publications are read from the stream.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures_util::future::join_all;
use mayfly_stack::Service;
use mayfly_tests::{
    ApiResponse, Setup, World,
    live::{LiveSocket, PacedLoad, ResumingClient},
    message_id, short_or_full,
};
use serde_json::json;
use tokio::{
    task::JoinSet,
    time::{Instant, interval, sleep},
};

use crate::live::post_text;

const CHANNEL: &str = "losses";
const CLIENTS: usize = 10;

/// Returns the time within which a loss is detected: the contractual time, or more while other
/// tests run.
fn detection_timeout() -> Duration {
    Duration::from_millis(short_or_full(4_000, 1_000))
}

async fn cut_subscriptions(world: &World) -> usize {
    let mut kill = redis::cmd("CLIENT");
    kill.arg("KILL").arg("TYPE").arg("pubsub");
    kill.query_async(&mut world.redis().await).await.expect("Redis is available")
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_miss_and_repeat_nothing_while_the_subscription_is_cut_repeatedly() {
    let setup = Setup::new().scale(Service::WsFanout, 1).scale(Service::ListApi, 0);
    let world = setup.dedicated_servers().start().await;
    let count = short_or_full(900, 18_000);
    let urls = world.live_urls(&format!("channel={CHANNEL}"));
    let mut clients = JoinSet::new();
    for mut client in join_all((0..CLIENTS).map(|_| ResumingClient::start(urls.clone(), 0))).await {
        clients.spawn(async move {
            client.follow_until_count(count, Duration::from_secs(90)).await;
            client
        });
    }
    let load =
        PacedLoad { channel: CHANNEL, count, every: Duration::from_secs(1) / 300, bytes: 200 };
    let done = AtomicBool::new(false);
    let cutter = async {
        let (mut cut, mut ticks) = (0, interval(Duration::from_secs(1)));
        while !done.load(Ordering::Relaxed) {
            ticks.tick().await;
            cut += cut_subscriptions(&world).await;
        }
        cut
    };
    let (cut, ()) = tokio::join!(cutter, async {
        load.post(&world).await;
        done.store(true, Ordering::Relaxed);
    });
    println!("{cut} subscriptions cut in {count} messages");
    assert!(cut >= 3, "no subscription was cut: {cut}");
    let streamed = world.stream_message_ids(CHANNEL).await;
    while let Some(client) = clients.join_next().await {
        let client = client.expect("the client receives everything");
        assert_eq!(client.reconnects, 0, "a client was disconnected");
        assert!(client.seen == streamed, "a client misses or repeats messages");
    }

    let (mut live, _) = LiveSocket::connect_with_hello(&urls[0]).await;
    for number in 0..short_or_full(3, 20) {
        sleep(Duration::from_millis(fastrand::u64(0..500))).await;
        let text = format!("last message {number}");
        let started_at = Instant::now();
        if number % 2 == 0 {
            cut_subscriptions(&world).await;
            post_text(&world, CHANNEL, &text).await;
        } else {
            tokio::join!(cut_subscriptions(&world), post_text(&world, CHANNEL, &text));
        }
        assert_eq!(live.texts_until(&text).await, [text.as_str()]);
        let took = started_at.elapsed();
        println!("{text}: {took:?} after the cut");
        assert!(took < detection_timeout(), "{took:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_permission_to_publish_messages_arrive_within_a_second_and_in_order() {
    let setup = Setup::new().scale(Service::WsFanout, 1).redis_acl("&* -publish");
    let world = Arc::new(setup.start().await);
    let (mut live, _) =
        LiveSocket::connect_with_hello(&world.live_url("channel=unpublished")).await;
    for number in 0..short_or_full(3, 10) {
        let started_at = Instant::now();
        let text = number.to_string();
        post_text(&world, "unpublished", &text).await;
        assert_eq!(live.texts_until(&text).await, [text.as_str()]);
        let took = started_at.elapsed();
        println!("unpublished: {took:?}");
        assert!(took < detection_timeout(), "{took:?}");
    }
    let batch: Vec<_> = (0..1000)
        .map(|number| json!({"channel": "unpublished", "text": format!("b{number}")}))
        .collect();
    assert_eq!(world.post("/v1/messages/batch", &json!(batch)).await.status(), 202);
    let texts = live.texts_until("b999").await;
    assert!(texts.iter().enumerate().all(|(number, text)| *text == format!("b{number}")));
    assert_eq!(texts.len(), 1000);

    let posted = post_text(&world, "unpublished", "deleted").await;
    let url = world.list_url(&format!("/v1/messages/{}", message_id(&posted)));
    assert_eq!(ApiResponse::send(world.http.delete(url)).await.status, 204);
    assert_eq!(live.next_of_type("expired").await["ids"], json!([message_id(&posted)]));
}
