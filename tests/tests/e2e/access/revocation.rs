//! Revocation of a token that many of the open connections use.

use std::{
    ops::Range,
    time::{Duration, Instant},
};

use futures_util::{StreamExt, stream};
use mayfly_stack::Service;
use mayfly_tests::{
    DEFAULT_TIMEOUT, World, is_full,
    live::{LiveSocket, PacedLoad, ReceivedFrame, UpgradeRequest, now_us, raise_file_limit},
    short_or_full, with_slack,
};
use reqwest::{
    Client,
    header::{AUTHORIZATION, HeaderMap},
};
use serde_json::json;
use tokio::{sync::watch, task::JoinSet};
use uuid::Uuid;

use super::{
    create_operator,
    credentials::{SECRET, TokenOptions, sign_token},
    message, post_message, setup,
};
use crate::operations::mayfly;

const CHANNEL: &str = "crowd";
/// The text of the last message of a round.
const LAST: &str = "last";
/// How soon after a revocation a connection is closed.
const CLOSED_WITHIN: Duration = Duration::from_secs(1);
/// The time after a revocation in which other connections could be delayed.
const AFFECTED: Duration = Duration::from_secs(2);
/// The maximum factor by which a revocation may increase the 99th percentile of the latencies.
const P99_FACTOR_MAX: f64 = 1.2;
/// The number of measurements. A delay that the load of the machine causes is not in all of them.
const ROUNDS: usize = 3;

/// A received message.
struct Received {
    id: Uuid,
    /// When the message was posted, in microseconds since the start of the process. `None` for the
    /// last message.
    posted_us: Option<u64>,
    arrived_us: u64,
}

/// Everything that happened on a connection.
struct Followed {
    /// Whether the connection used the revoked token.
    is_matching: bool,
    received: Vec<Received>,
    /// The close code and the time, unless the last message was received.
    closed: Option<(u16, Instant)>,
}

/// Reads messages until the last one, or until the connection is closed. Reports the number of
/// messages to `progress`.
async fn follow(
    mut live: LiveSocket,
    is_matching: bool,
    progress: Option<watch::Sender<usize>>,
) -> Followed {
    let mut received: Vec<Received> = Vec::new();
    let following = async {
        loop {
            let frame = match live.next_text().await {
                Ok(frame) => ReceivedFrame::parse(&frame),
                Err((code, _)) => return Some((code, Instant::now())),
            };
            let Some(message) = &frame.message else { continue };
            let (id, text) = (message.id, frame.text());
            received.push(Received { id, posted_us: text.parse().ok(), arrived_us: now_us() });
            if let Some(progress) = &progress {
                progress.send_replace(received.len());
            }
            if text == LAST {
                return None;
            }
        }
    };
    let closed = tokio::time::timeout(4 * DEFAULT_TIMEOUT, following).await;
    let closed = closed.expect("the connection is closed or receives the last message");
    Followed { is_matching, received, closed }
}

fn sign(id: &str) -> String {
    let rights = json!({"subscribe": [CHANNEL]});
    sign_token(&TokenOptions {
        subject: "crowd",
        rights,
        ttl_s: 3_600,
        id: Some(id),
        secret: SECRET,
    })
}

async fn open(world: &World, token: &str) -> LiveSocket {
    let url = world.live_url(&format!("channel={CHANNEL}"));
    let request = UpgradeRequest::new(&url).header("authorization", &format!("Bearer {token}"));
    let mut live = request.send().await.expect("the socket opens");
    assert_eq!(live.next_frame().await["type"], "hello");
    live
}

/// Returns the 99th percentile of the delivery latencies of the messages posted in a period, or
/// `None` if there are none.
fn compute_p99(all: &[Followed], posted_us: Range<u64>) -> Option<Duration> {
    let received = all.iter().filter(|one| !one.is_matching).flat_map(|one| &one.received);
    let mut latencies: Vec<u64> = received
        .filter_map(|one| {
            let posted = one.posted_us.filter(|posted| posted_us.contains(posted))?;
            Some(one.arrived_us.saturating_sub(posted))
        })
        .collect();
    latencies.sort_unstable();
    let p99 = latencies.get(latencies.len().saturating_sub(1) * 99 / 100)?;
    Some(Duration::from_micros(*p99))
}

/// Revokes the token of some connections while messages are delivered to all. Returns the 99th
/// percentiles of the delivery latencies before and after the revocation.
async fn run_round(world: &World, operator: &str, number: usize) -> [Option<Duration>; 2] {
    let (matching, others) = (short_or_full(100, 500), short_or_full(400, 4_500));
    let revoked_id = Uuid::now_v7().to_string();
    let revoked = sign(&revoked_id);
    // Every other connection has its own token.
    let tokens = (0..others).map(|other| sign(&format!("jti-{number}-{other}")));
    let tokens = tokens.map(|token| (token, false));
    let tokens = tokens.chain((0..matching).map(|_| (revoked.clone(), true)));
    let tokens: Vec<_> = tokens.collect();
    let opening = stream::iter(tokens)
        .map(async |(token, is_matching)| (open(world, &token).await, is_matching));
    let lives: Vec<_> = opening.buffer_unordered(50).collect().await;
    let observer = open(world, &sign("observer")).await;
    let first_id = post_message(world, &message(CHANNEL, "", "first"), operator).await;

    let load = PacedLoad {
        channel: CHANNEL,
        count: short_or_full(40, 60),
        every: Duration::from_millis(short_or_full(50, 200)),
        bytes: 100,
    };
    let (progress, mut count) = watch::channel(0);
    let mut followers = JoinSet::new();
    followers.spawn(follow(observer, false, Some(progress)));
    for (live, is_matching) in lives {
        followers.spawn(follow(live, is_matching, None));
    }
    let started_us = now_us();
    let revoking = async {
        let half = count.wait_for(|count| *count > load.count / 2).await;
        drop(half.expect("the observer is connected"));
        let revoked_us = now_us();
        let output = mayfly(world, &["token", "revoke", "--jti", &revoked_id], &[]).await;
        assert!(output.is_success, "{}", output.stderr);
        (Instant::now(), revoked_us)
    };
    let ((), (revoked_at, revoked_us)) = tokio::join!(load.post(world), revoking);

    // The last message is posted when the matching connections have been closed.
    let (mut all, mut slowest) = (Vec::new(), Duration::ZERO);
    while all.len() < matching {
        let followed = followers.join_next().await.expect("a connection").expect("no panic");
        let Some((code, at)) = followed.closed else { panic!("the last message was not posted") };
        assert!(followed.is_matching, "another connection was closed with {code}");
        assert_eq!(code, 4503);
        slowest = slowest.max(at.saturating_duration_since(revoked_at));
        all.push(followed);
    }
    assert!(slowest <= with_slack(CLOSED_WITHIN), "closed after {slowest:?}");
    post_message(world, &message(CHANNEL, "", LAST), operator).await;
    while let Some(followed) = followers.join_next().await {
        all.push(followed.expect("no panic"));
    }

    let posted = world.stream_message_ids(CHANNEL).await;
    let first = posted.iter().position(|id| id.to_string() == first_id);
    let expected = &posted[first.expect("the first message is in the stream")..];
    assert_eq!(expected.len(), load.count + 2);
    for one in &all {
        let ids: Vec<Uuid> = one.received.iter().map(|received| received.id).collect();
        if one.is_matching {
            assert!(expected.starts_with(&ids), "a connection that was closed has a gap");
        } else {
            assert!(one.closed.is_none() && ids == expected, "another connection missed a message");
        }
    }
    let affected_us = u64::try_from(AFFECTED.as_micros()).expect("a short time");
    let before = compute_p99(&all, started_us..revoked_us);
    let after = compute_p99(&all, revoked_us..revoked_us + affected_us);
    println!(
        "{matching} of {} connections closed within {slowest:?}; p99 {before:?}, then {after:?}",
        all.len()
    );
    [before, after]
}

/// The other connections receive every message, and none of them is delayed.
#[tokio::test(flavor = "multi_thread")]
async fn revocation_closes_exactly_the_matching_connections() {
    raise_file_limit();
    let mut world = setup().scale(Service::WsFanout, 1).start().await;
    let operator = create_operator(&world).await;
    let bearer = format!("Bearer {operator}").parse().expect("a header value");
    let headers = HeaderMap::from_iter([(AUTHORIZATION, bearer)]);
    world.http = Client::builder().default_headers(headers).build().expect("the client is built");
    let mut measured = Vec::new();
    for number in 0..ROUNDS {
        let p99 = run_round(&world, &operator, number).await;
        // In the short form, other tests use the machine at the same time.
        if !is_full() {
            return;
        }
        let [before, after] = p99.map(|p99| p99.expect("messages were posted in both periods"));
        measured.push((before, after));
        if after.as_secs_f64() <= before.as_secs_f64() * P99_FACTOR_MAX {
            return;
        }
    }
    panic!("p99 before and after each revocation: {measured:?}");
}
