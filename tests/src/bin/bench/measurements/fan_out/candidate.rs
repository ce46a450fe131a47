//! A server under measurement, with its own subscribers.

use std::time::Duration;

use super::{
    baseline::Baseline,
    poster::Poster,
    schedule::Schedule,
    subscribers::{Latency, Subscribers},
};

/// The maximum p99 latency of a passing rate.
pub const MAX_LATENCY: Duration = Duration::from_millis(250);
/// A delivery counts as lost this long after the last message.
const LOSS_TIMEOUT: Duration = Duration::from_secs(1);
/// How long late deliveries of a failed step may take.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(10);
/// The pause between two steps, for the remaining work of the previous step.
const PAUSE: Duration = Duration::from_millis(100);

/// The origin of the messages.
#[derive(Debug)]
pub enum Source {
    /// Messages are posted to `ingest-api`.
    Mayfly(Poster),
    /// The server generates the messages.
    Baseline(Baseline),
}

/// A server, its source of messages and its subscribers.
#[derive(Debug)]
pub struct Candidate {
    address: String,
    /// A header line of the handshakes, or empty.
    authorization: String,
    source: Source,
    subscribers: Subscribers,
}

/// The highest rate of one search.
#[derive(Debug, Clone, Copy, Default)]
pub struct Best {
    /// Messages per second.
    pub rate: f64,
    /// The latency at that rate.
    pub latency: Latency,
}

impl Candidate {
    /// Connects subscribers to an address, `host:port`. `authorization` is a header line, or empty.
    pub async fn connect(
        address: String,
        authorization: String,
        source: Source,
    ) -> anyhow::Result<Self> {
        let subscribers = Subscribers::connect(&address, &authorization).await?;
        Ok(Self { address, authorization, source, subscribers })
    }

    async fn reconnect(&mut self) -> anyhow::Result<()> {
        self.subscribers = Subscribers::connect(&self.address, &self.authorization).await?;
        Ok(())
    }

    /// Sends at a rate for the duration of a step. Returns the latency if every message reached
    /// every subscriber in time. A step that was only late is repeated once, so that a short
    /// disturbance on the machine does not end a search.
    pub async fn attempt(&mut self, rate: f64, step: Duration) -> anyhow::Result<Option<Latency>> {
        let mut outcome = self.send(rate, step).await?;
        if outcome.is_some_and(is_late) {
            outcome = self.send(rate, step).await?;
        }
        Ok(outcome.filter(|latency| !is_late(*latency)))
    }

    /// Sends at a rate for the duration of a step. Returns the latency if every message reached
    /// every subscriber.
    pub async fn send(&mut self, rate: f64, step: Duration) -> anyhow::Result<Option<Latency>> {
        if !self.subscribers.all_connected() {
            self.reconnect().await?;
        }
        self.subscribers.reset();
        let schedule = Schedule::lasting(rate, step);
        let sent = match &mut self.source {
            Source::Mayfly(poster) => poster.send(&schedule).await?,
            Source::Baseline(baseline) => baseline.send(&schedule).await.map(|()| true)?,
        };
        let is_complete = sent && self.subscribers.wait_for(schedule.count, LOSS_TIMEOUT).await;
        let latency = self.subscribers.latency();
        if !(is_complete || sent && self.subscribers.wait_for(schedule.count, DRAIN_TIMEOUT).await)
        {
            // Deliveries in flight must not reach the subscribers of the next step.
            tokio::time::sleep(LOSS_TIMEOUT).await;
            self.reconnect().await?;
        }
        tokio::time::sleep(PAUSE).await;
        Ok(is_complete.then_some(latency))
    }
}

fn is_late((_, p99): Latency) -> bool {
    p99 >= MAX_LATENCY
}

/// Returns the result with the median rate.
pub fn median_best(bests: &[Best]) -> Best {
    let mut sorted = bests.to_vec();
    sorted.sort_unstable_by(|one, other| one.rate.total_cmp(&other.rate));
    sorted.get(sorted.len() / 2).copied().unwrap_or_default()
}
