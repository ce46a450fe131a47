//! The subscription of a process, and the message stream as subscribers read it.

use std::{collections::HashMap, time::Duration};

use bytes::Bytes;
use mayfly_core::{
    EntryId, ExpiredMessage, LiveEvent, Message, Publication, Sample, StateFeed, TrendSnapshot,
    frame::ResumeFailure,
};
use mayfly_hot::{EventSinks, HotError, Publications, Stream, Subscription};
use mayfly_stack::SharedRedis;
use tokio::{sync::mpsc, time::timeout};

use crate::{
    TestStore, entry_id, host,
    messages::{message, message_in, messages_to},
    now, origin,
};

/// A subscription and the receivers of its sinks.
struct Subscriber {
    messages: Subscription,
    states: mpsc::Receiver<(StateFeed, Bytes)>,
    trends: Publications,
}

impl Subscriber {
    async fn subscribe(test: &TestStore) -> Self {
        let (states, state_receiver) = mpsc::channel(10);
        let (trends, trend_receiver) = Publications::open("trends");
        let messages = test.hot.subscribe(EventSinks { states, trends }).await;
        let messages = messages.expect("Redis responds");
        Self { messages, states: state_receiver, trends: trend_receiver }
    }

    async fn next(&mut self) -> Publication {
        let publication = received(self.messages.next()).await;
        Publication::parse(&publication).expect("a publication")
    }
}

/// Waits for a publication that has been sent.
async fn received<T>(publication: impl Future<Output = Option<T>>) -> T {
    let publication = timeout(Duration::from_secs(20), publication).await;
    publication.expect("a publication").expect("the subscription continues")
}

fn event(message: &Message) -> LiveEvent {
    LiveEvent::Message { channel: message.channel.as_str().into(), json: message.to_json().into() }
}

fn events(publication: &Publication) -> Vec<LiveEvent> {
    publication.entries.iter().map(|entry| entry.event.clone()).collect()
}

async fn read_all(test: &TestStore) -> Vec<EntryId> {
    let entries = test.hot.message_stream().read(EntryId::START, 1_000).await;
    entries.expect("Redis responds").into_iter().map(|entry| entry.id).collect()
}

#[tokio::test]
async fn publication_has_the_entries_of_a_write_and_the_position_before_them() {
    let test = TestStore::create().await;
    let mut subscriber = Subscriber::subscribe(&test).await;
    let messages = ["lobby", "a:b", "lobby"]
        .map(|channel| message(&format!(r#"{{"channel":"{channel}","text":"a b\nc"}}"#)));
    test.accept(&messages[..2]).await;
    test.accept(&messages[2..]).await;
    let (first, second) = (subscriber.next().await, subscriber.next().await);
    let epoch: String = test.query(&["GET", &test.keys().epoch()]).await;
    assert_eq!((&first.epoch, first.before), (&epoch, EntryId::START));
    assert_eq!(events(&first), [event(&messages[0]), event(&messages[1])]);
    assert_eq!((&second.epoch, second.before), (&epoch, first.entries[1].id));
    assert_eq!(events(&second), [event(&messages[2])]);
    let entries: Vec<_> = first.entries.iter().chain(&second.entries).collect();
    assert!(entries.iter().all(|entry| &*entry.request_id == "request-1"));
    let ids: Vec<_> = entries.iter().map(|entry| entry.id).collect();
    assert_eq!(ids, read_all(&test).await);
}

#[tokio::test]
async fn expired_messages_are_published_and_rejected_messages_are_not() {
    let test = TestStore::create_with(&[("MAYFLY_QUEUE__DEPTH_MAX", "1")]).await;
    let mut subscriber = Subscriber::subscribe(&test).await;
    test.write(&messages_to("kiran", 2)).await;
    let expired = message(r#"{"text":"hi","ttl":0}"#);
    test.accept(std::slice::from_ref(&expired)).await;
    assert_eq!(events(&subscriber.next().await), [event(&expired)]);
}

#[tokio::test]
async fn take_is_published_with_the_channels_of_its_messages() {
    let test = TestStore::create().await;
    let messages = ["lobby", "a:b"].map(|channel| message_in(channel, "kiran"));
    test.accept(&messages).await;
    let mut subscriber = Subscriber::subscribe(&test).await;
    let before = *read_all(&test).await.last().expect("an entry");
    test.hot.inbox().take("kiran", 10, &origin(), None).await.expect("Redis responds");
    let publication = subscriber.next().await;
    let expired = messages.iter().map(|message| ExpiredMessage {
        id: message.id,
        channel: Some(message.channel.as_str().into()),
    });
    assert_eq!(events(&publication), [LiveEvent::Expired(expired.collect())]);
    assert_eq!(publication.before, before);
    let last = test.hot.message_stream().read(publication.entries[0].id, 10).await;
    let last = last.expect("Redis responds");
    assert_eq!(last[0].entry.as_ref(), Some(&publication.entries[0]));
}

#[tokio::test]
async fn states_and_trends_are_sent_to_their_sinks() {
    let test = TestStore::create().await;
    let mut subscriber = Subscriber::subscribe(&test).await;
    let lease = test.lead().await;
    let snapshots = test.hot.snapshots();
    snapshots.publish_stats(&lease, b"{}", now()).await.expect("Redis responds");
    snapshots.publish_state(&lease, StateFeed::Pulse, b"{1}").await.expect("Redis responds");
    let pages = vec![];
    let sample = Sample { host: host("a.org"), sampled_at: now(), visitors: 0, exact: true, pages };
    let trend = TrendSnapshot::new(sample, None, &HashMap::new());
    test.hot.trends().publish(&lease, &trend).await.expect("Redis responds");
    for (feed, state) in [(StateFeed::Stats, &b"{}"[..]), (StateFeed::Pulse, b"{1}")] {
        let published = received(subscriber.states.recv()).await;
        assert_eq!(published, (feed, Bytes::from_static(state)));
    }
    let published = received(subscriber.trends.next()).await;
    assert_eq!(serde_json::from_slice::<TrendSnapshot>(&published).expect("valid JSON"), trend);
    assert!(subscriber.messages.try_next().is_none());
}

/// Publishes a message, a state and a trend snapshot. Returns the message.
async fn publish_all(test: &TestStore, state: &[u8], host_name: &str) -> Message {
    let (message, lease) = (message(r#"{"text":"x"}"#), test.replace_leader().await);
    test.accept(std::slice::from_ref(&message)).await;
    let snapshots = test.hot.snapshots();
    snapshots.publish_state(&lease, StateFeed::Pulse, state).await.expect("Redis responds");
    let (host, pages) = (host(host_name), vec![]);
    let sample = Sample { host, sampled_at: now(), visitors: 0, exact: true, pages };
    let trend = TrendSnapshot::new(sample, None, &HashMap::new());
    test.hot.trends().publish(&lease, &trend).await.expect("Redis responds");
    message
}

/// All databases of a Redis share their pub/sub channels.
#[tokio::test]
async fn databases_of_one_redis_have_separate_publications() {
    let first = TestStore::create().await;
    let url = format!("{}/1", SharedRedis::get().await.expect("Redis starts").url());
    let second = TestStore::connect(&url, &first.settings.redis.prefix, &[]).await;
    let mut subscribers =
        [Subscriber::subscribe(&first).await, Subscriber::subscribe(&second).await];
    // A publication of the other database would arrive first at one of the subscribers.
    let of_second = publish_all(&second, b"{2}", "second.org").await;
    let of_first = publish_all(&first, b"{1}", "first.org").await;
    let expected = [(of_first, "{1}", "first.org"), (of_second, "{2}", "second.org")];
    for (subscriber, (message, state, host)) in subscribers.iter_mut().zip(expected) {
        assert_eq!(events(&subscriber.next().await), [event(&message)]);
        assert_eq!(received(subscriber.states.recv()).await.1, Bytes::from(state));
        let trend = received(subscriber.trends.next()).await;
        let trend: TrendSnapshot = serde_json::from_slice(&trend).expect("valid JSON");
        assert_eq!(trend.host.as_str(), host);
        assert!(subscriber.messages.try_next().is_none());
    }
    // Publish in the opposite order, to check the other subscriber.
    let again = publish_all(&first, b"{3}", "first.org").await;
    let last = publish_all(&second, b"{4}", "second.org").await;
    assert_eq!(events(&subscribers[1].next().await), [event(&last)]);
    assert_eq!(events(&subscribers[0].next().await), [event(&again)]);
}

#[tokio::test]
async fn too_long_states_and_trends_are_dropped() {
    let test = TestStore::create().await;
    let mut subscriber = Subscriber::subscribe(&test).await;
    let pulse = test.keys().feed(StateFeed::Pulse.feed());
    let trends = test.keys().feed(mayfly_core::Feed::Rising);
    for (channel, bytes_max) in [(pulse, 256 * 1_024), (trends, 1_024 * 1_024)] {
        test.query::<()>(&["PUBLISH", &channel, &"x".repeat(bytes_max + 1)]).await;
        test.query::<()>(&["PUBLISH", &channel, &"x".repeat(bytes_max)]).await;
    }
    let (_, state) = received(subscriber.states.recv()).await;
    assert_eq!(state.len(), 256 * 1_024);
    assert_eq!(received(subscriber.trends.next()).await.len(), 1_024 * 1_024);
}

#[tokio::test]
async fn position_is_the_newest_entry_of_the_epoch() {
    let test = TestStore::create().await;
    let position = async || test.hot.message_stream().find_position().await.expect("a position");
    let first = position().await;
    assert_eq!((position().await, first.entry), (first.clone(), EntryId::START));
    test.accept(&messages_to("kiran", 2)).await;
    let newest = *read_all(&test).await.last().expect("an entry");
    assert_eq!((position().await.epoch, position().await.entry), (first.epoch, newest));
}

#[tokio::test]
async fn stream_is_read_from_an_entry_inclusively() {
    let test = TestStore::create().await;
    let messages = messages_to("kiran", 3);
    test.accept(&messages).await;
    test.append(Stream::Messages, "9999999999999-0").await;
    let stream = test.hot.message_stream();
    let all = stream.read(EntryId::START, 10).await.expect("Redis responds");
    let known: Vec<_> = all.iter().filter_map(|one| one.entry.clone()).collect();
    assert_eq!(known.iter().map(|one| one.event.clone()).collect::<Vec<_>>(), {
        messages.iter().map(event).collect::<Vec<_>>()
    });
    assert!(all[3].entry.is_none(), "an unknown kind");
    let some = stream.read(all[1].id, 2).await.expect("Redis responds");
    assert_eq!(some.iter().map(|one| one.id).collect::<Vec<_>>(), [all[1].id, all[2].id]);
    assert!(stream.has_entry(all[1].id).await.expect("Redis responds"));
    assert!(!stream.has_entry(all[0].id.predecessor()).await.expect("Redis responds"));
}

#[tokio::test]
async fn missing_entry_was_trimmed_if_all_others_are_newer_and_lost_otherwise() {
    let test = TestStore::create().await;
    let find_loss = async |entry| {
        test.hot.message_stream().find_loss(entry_id(entry)).await.expect("Redis responds")
    };
    assert_eq!(find_loss("5-0").await, ResumeFailure::Window);
    test.append(Stream::Messages, "5-0").await;
    assert_eq!(find_loss("4-0").await, ResumeFailure::Window);
    assert_eq!(find_loss("6-0").await, ResumeFailure::DataLost);
}

#[tokio::test]
async fn entry_that_was_deleted_by_hand_stays_a_position() {
    let test = TestStore::create().await;
    for entry in ["4-0", "5-0", "6-0", "7-0"] {
        test.append(Stream::Messages, entry).await;
    }
    for entry in ["5-0", "7-0"] {
        test.query::<()>(&["XDEL", &test.keys().messages(), entry]).await;
    }
    let stream = test.hot.message_stream();
    let after = async |entry| {
        let entries = stream.read_after(entry_id(entry), 10).await.expect("Redis responds");
        entries.map(|entries| entries.iter().map(|entry| entry.id.to_string()).collect::<Vec<_>>())
    };
    let found = |entries: &[&str]| Some(entries.iter().map(ToString::to_string).collect());
    assert_eq!(after("0-0").await, found(&["4-0", "6-0"]));
    assert_eq!(after("4-0").await, found(&["6-0"]));
    assert_eq!(after("5-0").await, found(&["6-0"]));
    assert_eq!(after("7-0").await, found(&[]), "the newest entry");
    // Entry 3-0 is before the first entry, and 8-0 was never written.
    assert_eq!((after("3-0").await, after("8-0").await), (None, None));
    assert_eq!(
        stream.read_after(entry_id("5-0"), 0).await.expect("Redis responds").map(|all| all.len()),
        Some(0)
    );
    assert!(stream.has_entry(entry_id("5-0")).await.expect("Redis responds"));
}

#[tokio::test]
async fn stream_has_its_first_entry_until_it_is_trimmed() {
    let test = TestStore::create().await;
    let has_first = async || test.hot.message_stream().has_first_entry().await.expect("a reply");
    assert!(has_first().await);
    test.append(Stream::Messages, "1-0").await;
    test.append(Stream::Messages, "2-0").await;
    assert!(has_first().await);
    test.query::<()>(&["XTRIM", &test.keys().messages(), "MAXLEN", "1"]).await;
    assert!(!has_first().await);
}

#[tokio::test]
async fn missing_stream_has_its_first_entry_and_a_key_of_the_wrong_type_is_an_error() {
    let test = TestStore::create().await;
    let stream = test.hot.message_stream();
    assert!(stream.has_first_entry().await.expect("Redis responds"));
    test.query::<()>(&["SET", &test.keys().messages(), "x"]).await;
    let error = stream.has_first_entry().await.expect_err("a string");
    assert!(matches!(&error, HotError::Rejected(cause) if cause.code() == Some("WRONGTYPE")));
}
