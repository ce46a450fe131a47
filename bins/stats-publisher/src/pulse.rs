//! The pulse: the load and health of the whole system, published once per second from the reports
//! that all processes store in Redis.

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use mayfly_cold::{ColdError, ColdStore};
use mayfly_core::{
    Clock, Consumption, Pulse, StateFeed, StoreError, Timestamp,
    stats::{QueuePulse, Rates, round_to_tenth},
};
use mayfly_hot::{HotError, HotStore, Role, Stream, Totals};
use mayfly_runtime::{ItemLog, run_periodically};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at};
use tokio_util::sync::CancellationToken;

use crate::leadership::{LeaderJob, Leadership};

/// The name of the lease.
const JOB: &str = "pulse";
const LEASE_TTL: Duration = Duration::from_secs(3);
const INTERVAL: Duration = Duration::from_secs(1);
/// The window for rates, in samples.
const RATE_SAMPLES: usize = 5;
/// The window for consumption times, in samples.
const CONSUMPTION_SAMPLES: usize = 60;
/// The interval between two counts of dead letters.
const DEAD_LETTERS_INTERVAL: Duration = Duration::from_secs(5);

/// The reports at one point in time.
#[derive(Clone, Default)]
struct Sample {
    at: Option<Instant>,
    totals: Totals,
    /// The consumption of each stream, in the order of [`Stream::ALL`].
    consumption: [Consumption; Stream::ALL.len()],
}

/// The publisher of the pulse.
pub struct PulsePublisher {
    hot: HotStore,
    cold: ColdStore,
    ticks: Interval,
    /// The samples of the last minute, oldest first.
    samples: VecDeque<Sample>,
    dead_letters: Arc<AtomicU64>,
    streams: ItemLog,
}

impl PulsePublisher {
    /// Creates a publisher.
    pub fn new(hot: HotStore, cold: ColdStore) -> Self {
        let mut ticks = interval_at(Instant::now() + INTERVAL, INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        Self {
            hot,
            cold,
            ticks,
            samples: VecDeque::new(),
            dead_letters: Arc::default(),
            streams: ItemLog::new(Self::DESCRIPTION),
        }
    }

    /// Runs until the process drains.
    pub async fn run(self, draining: CancellationToken) {
        let dead_letters = count_dead_letters(self.cold.clone(), self.dead_letters.clone());
        let leadership = Leadership::new(&self.hot, JOB, LEASE_TTL);
        tokio::join!(
            leadership.run(self, draining.clone()),
            draining.run_until_cancelled(dead_letters)
        );
    }

    async fn create_pulse(&self, sample: &Sample, now: Timestamp) -> Result<Pulse, HotError> {
        let mut oldest_age = Duration::ZERO;
        for stream in Stream::ALL {
            let depth = self.hot.queue().depth(stream).await;
            let depth = self.streams.isolate(stream.name(), depth, HotError::is_rejection)?;
            oldest_age = oldest_age.max(depth.unwrap_or_default().oldest_age);
        }
        let recent = self.samples.iter().rev().nth(RATE_SAMPLES - 1).or(self.samples.front());
        let consumption = self.samples.front().map(|oldest| consumption_between(oldest, sample));
        Ok(Pulse {
            generated_at: now,
            queue: QueuePulse {
                depth: sample.totals.waiting,
                oldest_age_ms: u64::try_from(oldest_age.as_millis()).unwrap_or(u64::MAX),
                dead_letters: self.dead_letters.load(Ordering::Relaxed),
            },
            rates: recent.map_or_else(Rates::default, |before| rates_between(before, sample)),
            consumption_ms: (&consumption.unwrap_or_default()).into(),
            connections: sample.totals.fanouts.values().map(|fanout| fanout.connections).sum(),
        })
    }
}

impl LeaderJob for PulsePublisher {
    const DESCRIPTION: &'static str = "publish the pulse";

    /// Takes a sample and, as the leader, publishes the pulse. A standby also takes samples, so
    /// that it can compute rates when it becomes the leader.
    async fn step(&mut self, leadership: &mut Leadership) -> Result<Duration, HotError> {
        let role = leadership.renew().await?;
        let totals = self.hot.snapshots().find_totals().await?;
        let mut consumption = <[Consumption; Stream::ALL.len()]>::default();
        for (consumption, stream) in consumption.iter_mut().zip(Stream::ALL) {
            *consumption = self.hot.queue().find_consumption(stream).await?;
        }
        let sample = Sample { at: Some(Instant::now()), totals, consumption };
        if role == Role::Leader {
            let pulse = self.create_pulse(&sample, self.hot.clock().now()).await?;
            let json = serde_json::to_vec(&pulse).expect("invariant: strings and numbers are JSON");
            let snapshots = self.hot.snapshots();
            snapshots.publish_state(leadership.lease(), StateFeed::Pulse, &json).await?;
        }
        self.samples.push_back(sample);
        if self.samples.len() > CONSUMPTION_SAMPLES {
            self.samples.pop_front();
        }
        Ok(INTERVAL)
    }

    /// Waits for the next tick instead of a pause, so that the interval includes the duration of
    /// the step.
    async fn wait(&mut self, _: Duration) {
        self.ticks.tick().await;
    }
}

/// Counts dead letters periodically. While Postgres is slow or unavailable, the last count remains
/// in use.
async fn count_dead_letters(cold: ColdStore, dead_letters: Arc<AtomicU64>) {
    run_periodically(DEAD_LETTERS_INTERVAL, "count dead letters", async || {
        dead_letters.store(cold.dead_letters().count().await?, Ordering::Relaxed);
        Ok::<_, ColdError>(())
    })
    .await;
}

/// Returns the consumption of all streams between two samples.
fn consumption_between(before: &Sample, after: &Sample) -> Consumption {
    let mut all = Consumption::default();
    for (before, after) in before.consumption.iter().zip(&after.consumption) {
        all.merge(&after.since(before));
    }
    all
}

/// Returns the rates per second between two samples.
fn rates_between(before: &Sample, after: &Sample) -> Rates {
    let Some(seconds) = before.at.zip(after.at).map(|(from, to)| to.duration_since(from)) else {
        return Rates::default();
    };
    #[expect(clippy::cast_precision_loss, reason = "a rate is rounded to a tenth")]
    let rate = |items: u64| round_to_tenth(items as f64 / seconds.as_secs_f64().max(f64::EPSILON));
    // A counter that has decreased was reset.
    let increase = |from: u64, to: u64| to.checked_sub(from).unwrap_or(to);
    let delivered = after.totals.fanouts.iter().map(|(name, fanout)| {
        let before = before.totals.fanouts.get(name).map_or(0, |fanout| fanout.delivered);
        increase(before, fanout.delivered)
    });
    Rates {
        accepted: rate(increase(before.totals.accepted, after.totals.accepted)),
        stored: rate(consumption_between(before, after).items()),
        delivered: rate(delivered.sum()),
    }
}

#[cfg(test)]
mod tests {
    use mayfly_hot::FanoutReport;

    use super::*;

    fn sample(at: Instant, accepted: u64, delivered: &[(&str, u64)]) -> Sample {
        let fanouts = delivered.iter().map(|(name, delivered)| {
            ((*name).to_owned(), FanoutReport { connections: 1, delivered: *delivered })
        });
        let totals = Totals { accepted, waiting: 0, fanouts: fanouts.collect() };
        Sample { at: Some(at), totals, ..Sample::default() }
    }

    #[test]
    fn rates_span_two_samples_and_survive_counter_resets() {
        let begin = Instant::now();
        let before = sample(begin, 100, &[("a", 10), ("b", 50)]);
        let after = sample(begin + Duration::from_secs(2), 300, &[("a", 30), ("c", 4)]);
        let rates = rates_between(&before, &after);
        assert_eq!(rates, Rates { accepted: 100.0, stored: 0.0, delivered: 12.0 });
        let emptied = sample(begin + Duration::from_secs(2), 6, &[]);
        let rates = Rates { accepted: 3.0, ..Rates::default() };
        assert_eq!(rates_between(&before, &emptied), rates);
    }

    #[test]
    fn latest_wait_belongs_to_the_stream_with_new_items() {
        let begin = Instant::now();
        let mut before = sample(begin, 0, &[]);
        let at = |second: i64| Timestamp::from_millis(second * 1_000);
        before.consumption[0].add(at(1), 5, 1);
        before.consumption[1].add(at(2), 900, 1);
        let mut after = before.clone();
        after.consumption[0].add(at(3), 7, 1);
        let between = consumption_between(&before, &after);
        assert_eq!((between.items(), between.latest_ms()), (1, Some(7)));
        after.consumption[1].add(at(4), 800, 2);
        let between = consumption_between(&before, &after);
        assert_eq!((between.items(), between.latest_ms()), (3, Some(800)));
        assert_eq!(consumption_between(&after, &after), Consumption::default());
    }
}
