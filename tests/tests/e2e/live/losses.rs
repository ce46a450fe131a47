//! Publications that never arrive: what they carried is fetched from the stream.

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
    Answer, Setup, World, id_of,
    live::{Follower, Live, Talk},
    short_or_full,
};
use serde_json::json;
use tokio::{
    task::JoinSet,
    time::{Instant, interval, sleep},
};

use super::say;

const CHANNEL: &str = "losses";
const CLIENTS: usize = 10;

/// What the contract says; a machine that runs other tests as well takes longer.
fn noticed_within() -> Duration {
    Duration::from_millis(short_or_full(4_000, 1_000))
}

async fn cut_subscriptions(world: &World) -> usize {
    let mut kill = redis::cmd("CLIENT");
    kill.arg("KILL").arg("TYPE").arg("pubsub");
    kill.query_async(&mut world.redis().await).await.expect("Redis answers")
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_subscription_is_cut_every_second_clients_miss_nothing_and_repeat_nothing() {
    let setup = Setup::new().with(Service::WsFanout, 1).with(Service::ListApi, 0);
    let world = setup.own_servers().start().await;
    let count = short_or_full(900, 18_000);
    let urls = world.lives(&format!("channel={CHANNEL}"));
    let mut clients = JoinSet::new();
    for mut client in join_all((0..CLIENTS).map(|_| Follower::start(urls.clone(), 0))).await {
        clients.spawn(async move {
            client.follow_to(count, Duration::from_secs(90)).await;
            client
        });
    }
    let talk = Talk { channel: CHANNEL, count, every: Duration::from_secs(1) / 300, bytes: 200 };
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
        talk.post(&world).await;
        done.store(true, Ordering::Relaxed);
    });
    println!("{cut} subscriptions cut in {count} messages");
    assert!(cut >= 3, "nothing was cut: {cut}");
    let streamed = world.streamed(CHANNEL).await;
    while let Some(client) = clients.join_next().await {
        let client = client.expect("it gets everything");
        assert_eq!(client.returns, 0, "a client was thrown out");
        assert!(client.seen == streamed, "a client misses or repeats something");
    }

    let (mut live, _) = Live::hello(&urls[0]).await;
    for number in 0..short_or_full(3, 20) {
        sleep(Duration::from_millis(fastrand::u64(0..500))).await;
        let text = format!("before silence {number}");
        let began = Instant::now();
        if number % 2 == 0 {
            cut_subscriptions(&world).await;
            say(&world, CHANNEL, &text).await;
        } else {
            tokio::join!(cut_subscriptions(&world), say(&world, CHANNEL, &text));
        }
        assert_eq!(live.texts_until(&text).await, [text.as_str()]);
        let took = began.elapsed();
        println!("{text}: {took:?} after the cut");
        assert!(took < noticed_within(), "{took:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn where_redis_forbids_to_publish_all_arrives_within_a_second_and_in_order() {
    let setup = Setup::new().with(Service::WsFanout, 1).redis_rules("&* -publish");
    let world = Arc::new(setup.start().await);
    let (mut live, _) = Live::hello(&world.live("channel=unpublished")).await;
    for number in 0..short_or_full(3, 10) {
        let began = Instant::now();
        let text = number.to_string();
        say(&world, "unpublished", &text).await;
        assert_eq!(live.texts_until(&text).await, [text.as_str()]);
        let took = began.elapsed();
        println!("unpublished: {took:?}");
        assert!(took < noticed_within(), "{took:?}");
    }
    let batch: Vec<_> = (0..1000)
        .map(|number| json!({"channel": "unpublished", "text": format!("b{number}")}))
        .collect();
    assert_eq!(world.post("/v1/messages/batch", &json!(batch)).await.status(), 202);
    let texts = live.texts_until("b999").await;
    assert!(texts.iter().enumerate().all(|(number, text)| *text == format!("b{number}")));
    assert_eq!(texts.len(), 1000);

    let posted = say(&world, "unpublished", "deleted").await;
    let url = world.list(&format!("/v1/messages/{}", id_of(&posted)));
    assert_eq!(Answer::of(world.http.delete(url)).await.status, 204);
    assert_eq!(live.next_of("expired").await["ids"], json!([id_of(&posted)]));
}
