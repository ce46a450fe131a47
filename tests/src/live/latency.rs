//! End-to-end latency: each message carries the time at which it was posted.

use std::{
    fmt,
    sync::LazyLock,
    time::{Duration, Instant},
};

use mayfly_stack::Service;
use reqwest::Client;
use serde_json::json;
use tokio::task::JoinSet;

use super::ReceivedFrame;
use crate::{ApiResponse, DEFAULT_TIMEOUT, World};

static START: LazyLock<Instant> = LazyLock::new(Instant::now);

/// Returns the microseconds since the first call in this process.
#[must_use]
pub fn now_us() -> u64 {
    u64::try_from(START.elapsed().as_micros()).unwrap_or(u64::MAX)
}

/// A load of messages at a steady rate on one channel. The text of each message is the time at
/// which it was posted.
#[derive(Debug, Clone)]
pub struct PacedLoad<'a> {
    /// The channel.
    pub channel: &'a str,
    /// The number of messages.
    pub count: usize,
    /// The interval between two messages.
    pub every: Duration,
    /// The length of `data` in bytes.
    pub bytes: usize,
}

/// The number of writers. A single writer could not keep the rate, because it waits for responses.
const WRITERS: usize = 4;

impl PacedLoad<'_> {
    /// Posts all messages and returns when they are accepted.
    ///
    /// # Panics
    /// If a message is not accepted.
    pub async fn post(&self, world: &World) {
        let every = self.every * u32::try_from(WRITERS).expect("fits in the integer type");
        let mut writers = JoinSet::new();
        for number in 0..WRITERS {
            let count = (self.count + number) / WRITERS;
            let (channel, data) = (self.channel.to_owned(), "x".repeat(self.bytes));
            let (http, url) = (world.http.clone(), world.url(Service::IngestApi, "/v1/messages"));
            let first = tokio::time::Instant::now()
                + self.every * u32::try_from(number).expect("fits in the integer type");
            writers.spawn(async move {
                let mut ticks = tokio::time::interval_at(first, every);
                for _ in 0..count {
                    ticks.tick().await;
                    post_message(&http, &url, &channel, &data).await;
                }
            });
        }
        while let Some(writer) = writers.join_next().await {
            writer.expect("the writer does not panic");
        }
    }
}

/// Posts a message whose text is the current time. Posts it again, with the new time, if it was
/// refused because of overload: nothing was written, and Redis can stall while other tests run.
async fn post_message(http: &Client, url: &str, channel: &str, data: &str) {
    let deadline = Instant::now() + DEFAULT_TIMEOUT;
    loop {
        let message =
            json!({"channel": channel, "text": now_us().to_string(), "data": data, "ttl": 600});
        let response = ApiResponse::send(http.post(url).json(&message)).await;
        if response.json()["code"] != "overloaded" || Instant::now() > deadline {
            response.expect_status(202);
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// The latencies of received messages.
#[derive(Debug, Default, Clone)]
pub struct Latencies(Vec<u64>);

impl Latencies {
    /// Records the latency of a message frame received now. Ignores other frames.
    ///
    /// # Panics
    /// If the text is not a timestamp.
    pub fn add(&mut self, frame: &ReceivedFrame) {
        if frame.message.is_some() {
            let posted: u64 = frame.text().parse().expect("the text is a timestamp");
            self.0.push(now_us().saturating_sub(posted));
        }
    }

    /// Merges and sorts the latencies of several readers.
    #[must_use]
    pub fn merge(readers: impl IntoIterator<Item = Self>) -> Self {
        let mut all: Vec<u64> = readers.into_iter().flat_map(|one| one.0).collect();
        all.sort_unstable();
        Self(all)
    }

    /// Returns the number of latencies.
    #[must_use]
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// Returns a quantile in permille: 990 is p99.
    ///
    /// # Panics
    /// If there are no latencies, or if the latencies are not sorted.
    #[must_use]
    pub fn permille(&self, permille: usize) -> Duration {
        assert!(self.0.is_sorted() && !self.0.is_empty(), "sorted and not empty");
        Duration::from_micros(self.0[(self.0.len() - 1) * permille / 1000])
    }
}

impl fmt::Display for Latencies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [p50, p99, p999, max] = [500, 990, 999, 1000].map(|permille| self.permille(permille));
        write!(
            f,
            "{} messages: p50 {p50:?}, p99 {p99:?}, p99.9 {p999:?}, max {max:?}",
            self.0.len()
        )
    }
}
