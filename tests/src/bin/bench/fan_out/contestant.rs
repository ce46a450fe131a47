//! One of those that are measured, with an audience of its own.

use std::time::Duration;

use super::{
    audience::{Audience, Latency},
    floor::Floor,
    pace::Pace,
    poster::Poster,
};

/// What 99 in a hundred deliveries must stay below.
pub const LATENCY_MAX: Duration = Duration::from_millis(250);
/// How long after the last message it counts as lost.
const LOST_AFTER: Duration = Duration::from_secs(1);
/// How long what was too much may take to come nevertheless.
const DRAIN_WITHIN: Duration = Duration::from_secs(10);
/// Between two steps, for what the last one left to do.
const PAUSE: Duration = Duration::from_millis(100);

/// Where messages come from.
#[derive(Debug)]
pub enum Source {
    /// By way of ingest-api and Redis.
    Mayfly(Poster),
    /// The server makes them itself.
    Floor(Floor),
}

/// A server, what makes it send, and those who read.
#[derive(Debug)]
pub struct Contestant {
    address: String,
    source: Source,
    audience: Audience,
}

/// The highest rate of one search.
#[derive(Debug, Clone, Copy, Default)]
pub struct Best {
    /// Messages a second.
    pub rate: f64,
    /// How late they were at that rate.
    pub latency: Latency,
}

impl Contestant {
    /// Connects an audience to `host:port`.
    pub async fn seat(address: String, source: Source) -> anyhow::Result<Self> {
        let audience = Audience::gather(&address).await?;
        Ok(Self { address, source, audience })
    }

    /// Sends at a rate for so long; gives how late the messages were, if they came to everyone and
    /// in time. What was late only is tried once more: whatever else the machine did for a moment
    /// must not be the end of a search.
    pub async fn attempt(&mut self, rate: f64, step: Duration) -> anyhow::Result<Option<Latency>> {
        let mut outcome = self.send(rate, step).await?;
        if outcome.is_some_and(is_late) {
            outcome = self.send(rate, step).await?;
        }
        Ok(outcome.filter(|latency| !is_late(*latency)))
    }

    /// Sends at a rate for so long; gives how late the messages were, if they came to everyone.
    async fn send(&mut self, rate: f64, step: Duration) -> anyhow::Result<Option<Latency>> {
        if !self.audience.is_whole() {
            self.audience = Audience::gather(&self.address).await?;
        }
        self.audience.forget();
        let pace = Pace::lasting(rate, step);
        let sent = match &mut self.source {
            Source::Mayfly(poster) => poster.send(&pace).await?,
            Source::Floor(floor) => floor.send(&pace).await.map(|()| true)?,
        };
        let came = sent && self.audience.hear(pace.count, LOST_AFTER).await;
        let latency = self.audience.latency();
        if !(came || sent && self.audience.hear(pace.count, DRAIN_WITHIN).await) {
            // What is still on its way must not reach those who come next.
            tokio::time::sleep(LOST_AFTER).await;
            self.audience = Audience::gather(&self.address).await?;
        }
        tokio::time::sleep(PAUSE).await;
        Ok(came.then_some(latency))
    }
}

fn is_late((_, most): Latency) -> bool {
    most >= LATENCY_MAX
}

/// The middle one by rate.
pub fn middle(bests: &[Best]) -> Best {
    let mut sorted = bests.to_vec();
    sorted.sort_unstable_by(|one, other| one.rate.total_cmp(&other.rate));
    sorted.get(sorted.len() / 2).copied().unwrap_or_default()
}
