//! How long messages take to their readers: each says when it was posted.

use std::{
    fmt,
    sync::LazyLock,
    time::{Duration, Instant},
};

use mayfly_stack::Service;
use serde_json::json;
use tokio::task::JoinSet;

use super::Told;
use crate::{Answer, World};

static START: LazyLock<Instant> = LazyLock::new(Instant::now);

/// The time, in microseconds since this process first asked.
#[must_use]
pub fn now_us() -> u64 {
    u64::try_from(START.elapsed().as_micros()).unwrap_or(u64::MAX)
}

/// Messages at a steady pace on one channel, each with the time at which it was posted as its text.
#[derive(Debug, Clone)]
pub struct Talk<'a> {
    /// Where.
    pub channel: &'a str,
    /// How many.
    pub count: usize,
    /// Between two of them.
    pub every: Duration,
    /// How long its `data` is.
    pub bytes: usize,
}

/// Writers that take turns: one alone would wait for its answers.
const WRITERS: usize = 4;

impl Talk<'_> {
    /// Posts them all; returns when each is accepted.
    ///
    /// # Panics
    /// When one is not accepted.
    pub async fn post(&self, world: &World) {
        let every = self.every * u32::try_from(WRITERS).expect("few");
        let mut writers = JoinSet::new();
        for number in 0..WRITERS {
            let count = (self.count + number) / WRITERS;
            let (channel, data) = (self.channel.to_owned(), "x".repeat(self.bytes));
            let (http, url) = (world.http.clone(), world.url(Service::IngestApi, "/v1/messages"));
            let begin =
                tokio::time::Instant::now() + self.every * u32::try_from(number).expect("few");
            writers.spawn(async move {
                let mut ticks = tokio::time::interval_at(begin, every);
                for _ in 0..count {
                    ticks.tick().await;
                    let message = json!({
                        "channel": channel, "text": now_us().to_string(), "data": data, "ttl": 600
                    });
                    Answer::of(http.post(&url).json(&message)).await.expect(202);
                }
            });
        }
        while let Some(writer) = writers.join_next().await {
            writer.expect("a writer ends well");
        }
    }
}

/// How long messages took.
#[derive(Debug, Default, Clone)]
pub struct Latencies(Vec<u64>);

impl Latencies {
    /// Adds a frame that arrived now; others than messages do not count.
    ///
    /// # Panics
    /// When its text is no time.
    pub fn add(&mut self, told: &Told) {
        if told.message.is_some() {
            let posted: u64 = told.text().parse().expect("its text is a time");
            self.0.push(now_us().saturating_sub(posted));
        }
    }

    /// Those of all readers together.
    #[must_use]
    pub fn of(readers: impl IntoIterator<Item = Self>) -> Self {
        let mut all: Vec<u64> = readers.into_iter().flat_map(|one| one.0).collect();
        all.sort_unstable();
        Self(all)
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// The time within which so many of a thousand arrived.
    ///
    /// # Panics
    /// When there are none.
    #[must_use]
    pub fn permille(&self, permille: usize) -> Duration {
        assert!(self.0.is_sorted() && !self.0.is_empty(), "there is something to look at");
        Duration::from_micros(self.0[(self.0.len() - 1) * permille / 1000])
    }
}

impl fmt::Display for Latencies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [half, most, nearly, all] =
            [500, 990, 999, 1000].map(|permille| self.permille(permille));
        write!(
            f,
            "{} messages: p50 {half:?}, p99 {most:?}, p99.9 {nearly:?}, all {all:?}",
            self.0.len()
        )
    }
}
