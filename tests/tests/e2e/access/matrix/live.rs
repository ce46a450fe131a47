//! Every way to subscribe, with every name and every kind of caller.

use std::collections::BTreeSet;

use futures_util::{StreamExt, stream};
use mayfly_tests::{
    World,
    live::{UpgradeRequest, raise_file_limit, trend_snapshot},
};

use super::{
    CHANNEL, CONCURRENT_REQUESTS, HOST,
    callers::create_callers,
    subscription::{NAMES, Name, Open, Outcome, Subscription, WAYS, Way},
};
use crate::access::{create_operator, message, post_message, shared};

/// The prefix of the texts of this test. Other tests post to the same channel.
const PREFIX: &str = "matrix-";
const REPLAYED: &str = "matrix-replayed";
const LIVE: &str = "matrix-live";

/// Returns a description of the difference if the frames are not as expected. All messages have
/// been posted.
async fn check_frames(subscription: &Subscription<'_>, mut open: Open) -> Option<String> {
    let mut expected = Vec::new();
    if subscription.receives_messages() {
        if subscription.name == Name::Replay {
            expected.push(REPLAYED);
        }
        expected.push(LIVE);
        let has_received = open.texts(PREFIX).contains(&LIVE)
            || open.read_until(|frame| frame["message"]["text"] == LIVE).await;
        if !has_received {
            return Some(format!("{subscription}: closed before the message"));
        }
    } else if subscription.name == Name::Host && subscription.expect() == Outcome::Allowed {
        let is_rising = |frame: &serde_json::Value| frame["type"] == "rising";
        if !open.has_received("rising") && !open.read_until(is_rising).await {
            return Some(format!("{subscription}: closed before the trending pages"));
        }
    }
    if subscription.way != Way::Events {
        open.read_all().await;
    }
    let texts = open.texts(PREFIX);
    if texts != expected {
        return Some(format!("{subscription}: received {texts:?} instead of {expected:?}"));
    }
    // Before an `auth` frame, the other credentials may have received the host.
    let is_host_allowed =
        subscription.name == Name::Host && subscription.expect() == Outcome::Allowed;
    if open.has_received("rising") && !is_host_allowed && subscription.way != Way::AuthFrame {
        return Some(format!("{subscription}: received the trending pages"));
    }
    None
}

/// Posts the text and returns the position before it.
async fn post_after_position(world: &World, operator: &str, text: &str) -> String {
    let url = world.live_url(&format!("channel={CHANNEL}"));
    let bearer = format!("Bearer {operator}");
    let request = UpgradeRequest::new(&url).header("authorization", &bearer);
    let mut live = request.send().await.expect("the socket opens");
    let hello = live.next_frame().await;
    post_message(world, &message(CHANNEL, "", text), operator).await;
    let position = hello["position"].as_str().expect("`hello` has a position");
    // The message is in the feed of the process.
    while live.next_of_type("message").await["message"]["text"] != text {}
    position.to_owned()
}

#[tokio::test]
async fn exactly_the_allowed_subscriptions_are_delivered() {
    raise_file_limit();
    let world = shared().await;
    let operator = create_operator(&world).await;
    let callers = create_callers(&world).await;
    world.publish_trend(&trend_snapshot(HOST, 5, &[("/", 1, None)])).await;
    let since = post_after_position(&world, &operator, REPLAYED).await;

    let subscriptions = callers.iter().flat_map(|caller| {
        let ways = WAYS.into_iter();
        ways.flat_map(move |way| NAMES.map(|name| Subscription { caller, way, name }))
    });
    let subscriptions = subscriptions.filter(Subscription::is_possible);
    let requests = subscriptions.map(async |subscription| {
        (subscription, subscription.request(&world, &operator, &since).await)
    });
    let requested: Vec<_> =
        stream::iter(requests).buffer_unordered(CONCURRENT_REQUESTS).collect().await;
    let mut wrong = Vec::new();
    let mut open = Vec::new();
    for (subscription, (outcome, connection)) in requested {
        let expected = subscription.expect();
        if outcome != expected {
            wrong.push(format!("{subscription}: {outcome:?} instead of {expected:?}"));
        } else if let Some(connection) = connection {
            open.push((subscription, connection));
        }
    }
    assert!(wrong.is_empty(), "{} differences:\n{}", wrong.len(), wrong.join("\n"));

    post_after_position(&world, &operator, LIVE).await;
    world.publish_trend(&trend_snapshot(HOST, 10, &[("/", 2, None)])).await;
    for (subscription, connection) in open {
        wrong.extend(check_frames(&subscription, connection).await);
    }
    assert!(wrong.is_empty(), "{} differences:\n{}", wrong.len(), wrong.join("\n"));
}

/// A matrix that only ever expects one outcome would prove nothing.
#[tokio::test]
async fn every_subscription_has_callers_with_and_without_access() {
    let callers = create_callers(&shared().await).await;
    for way in WAYS {
        for name in NAMES {
            let subscriptions = callers.iter().map(|caller| Subscription { caller, way, name });
            let outcomes: BTreeSet<_> = subscriptions
                .filter(Subscription::is_possible)
                .map(|subscription| subscription.expect())
                .collect();
            let mut expected = BTreeSet::from([Outcome::Refused, Outcome::Allowed]);
            if way != Way::Events {
                expected.insert(Outcome::Forbidden);
            }
            let is_possible = !outcomes.is_empty();
            assert!(!is_possible || outcomes == expected, "{way:?} {name:?}: {outcomes:?}");
        }
    }
}
