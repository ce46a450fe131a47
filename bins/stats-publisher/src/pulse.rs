//! The pulse: once a second, how the whole is doing, from what every process notes in Redis.

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use mayfly_cold::Cold;
use mayfly_core::{
    Clock, Consumption, Pulse, SystemClock, Timestamp,
    consumption::tenths,
    pulse::{QueuePulse, Rates},
};
use mayfly_hot::{Hot, HotError, Lease, Stream, Totals, Turn};
use mayfly_runtime::every;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::debug;

/// The job that is led.
const JOB: &str = "pulse";
/// A leader that is silent for so long is followed by another.
const LEASE: Duration = Duration::from_secs(3);
const INTERVAL: Duration = Duration::from_secs(1);
/// Rates are over so many seconds,
const RATES_OVER: usize = 5;
/// consumption times over so many.
const CONSUMPTION_OVER: usize = 60;
/// How often Postgres is asked for dead letters.
const LETTERS_EVERY: Duration = Duration::from_secs(5);

/// What was noted at one instant.
#[derive(Clone, Default)]
struct Sample {
    at: Option<Instant>,
    totals: Totals,
    /// By stream, in the order of [`Stream::ALL`].
    consumption: [Consumption; Stream::ALL.len()],
}

/// Makes the pulse, or is the spare.
pub struct PulseMaker {
    hot: Hot,
    cold: Cold,
    lease: Lease,
    /// The last minute, the oldest first.
    samples: VecDeque<Sample>,
    dead_letters: Arc<AtomicU64>,
}

impl PulseMaker {
    /// A maker between the two stores.
    pub fn new(hot: Hot, cold: Cold) -> Self {
        let lease = Lease::new(&hot, JOB, LEASE);
        Self { hot, cold, lease, samples: VecDeque::new(), dead_letters: Arc::default() }
    }

    /// Goes on until the drain; then gives the lease back, so that the spare leads at once.
    pub async fn run(self, draining: CancellationToken) {
        let letters = watch_letters(self.cold.clone(), self.dead_letters.clone());
        tokio::join!(self.beat(&draining), draining.run_until_cancelled(letters));
    }

    async fn beat(mut self, draining: &CancellationToken) {
        let mut ticks = tokio::time::interval(INTERVAL);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
        while draining.run_until_cancelled(ticks.tick()).await.is_some() {
            if let Err(error) = self.step().await {
                debug!(%error, "no pulse now");
            }
        }
        if let Err(error) = self.lease.release().await {
            debug!(%error, "the lease could not be given back");
        }
    }

    /// Samples also as the spare, so that a new leader has rates at once.
    async fn step(&mut self) -> Result<(), HotError> {
        let turn = self.lease.hold().await?;
        let totals = self.hot.find_totals().await?;
        let mut consumption = <[Consumption; Stream::ALL.len()]>::default();
        for (consumption, stream) in consumption.iter_mut().zip(Stream::ALL) {
            *consumption = self.hot.find_consumption(stream).await?;
        }
        let sample = Sample { at: Some(Instant::now()), totals, consumption };
        if turn == Turn::Mine {
            let pulse = self.make(&sample, SystemClock.now()).await?;
            let json = serde_json::to_vec(&pulse).expect("invariant: it is plain data");
            self.hot.publish_pulse(&self.lease, &json).await?;
        }
        self.samples.push_back(sample);
        if self.samples.len() > CONSUMPTION_OVER {
            self.samples.pop_front();
        }
        Ok(())
    }

    async fn make(&mut self, sample: &Sample, now: Timestamp) -> Result<Pulse, HotError> {
        let mut oldest_age = Duration::ZERO;
        for stream in Stream::ALL {
            let oldest = self.hot.queue_depth(stream).await?.oldest;
            oldest_age = oldest_age.max(oldest.map_or(Duration::ZERO, |at| now.since(at)));
        }
        let recent = self.samples.iter().rev().nth(RATES_OVER - 1).or(self.samples.front());
        let consumption = self.samples.front().map(|oldest| consumed(oldest, sample));
        Ok(Pulse {
            generated_at: now,
            queue: QueuePulse {
                depth: sample.totals.waiting,
                oldest_age_ms: u64::try_from(oldest_age.as_millis()).unwrap_or(u64::MAX),
                dead_letters: self.dead_letters.load(Ordering::Relaxed),
            },
            rates: recent.map_or_else(Rates::default, |before| rates(before, sample)),
            consumption_ms: (&consumption.unwrap_or_default()).into(),
            connections: sample.totals.fanouts.values().map(|fanout| fanout.connections).sum(),
        })
    }
}

/// Asks how many dead letters there are, beside the pulse: where Postgres is slow or away, the last
/// answer stays.
async fn watch_letters(cold: Cold, dead_letters: Arc<AtomicU64>) {
    let mut ticks = every(LETTERS_EVERY);
    loop {
        ticks.tick().await;
        match cold.count_dead_letters().await {
            Ok(letters) => dead_letters.store(letters, Ordering::Relaxed),
            Err(error) => debug!(%error, "dead letters cannot be counted now"),
        }
    }
}

/// What was consumed between two samples, of all streams.
fn consumed(before: &Sample, after: &Sample) -> Consumption {
    let mut all = Consumption::default();
    for (before, after) in before.consumption.iter().zip(&after.consumption) {
        all.merge(&after.since(before));
    }
    all
}

/// Items a second between two samples.
fn rates(before: &Sample, after: &Sample) -> Rates {
    let Some(seconds) = before.at.zip(after.at).map(|(from, to)| to.duration_since(from)) else {
        return Rates::default();
    };
    #[expect(clippy::cast_precision_loss, reason = "a rate is told to a tenth")]
    let rate = |items: u64| tenths(items as f64 / seconds.as_secs_f64().max(f64::EPSILON));
    // Where a number fell, somebody began anew: what is there came since.
    let added = |from: u64, to: u64| to.checked_sub(from).unwrap_or(to);
    let delivered = after.totals.fanouts.iter().map(|(name, fanout)| {
        let before = before.totals.fanouts.get(name).map_or(0, |fanout| fanout.delivered);
        added(before, fanout.delivered)
    });
    Rates {
        accepted: rate(added(before.totals.accepted, after.totals.accepted)),
        stored: rate(consumed(before, after).items()),
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
    fn rates_are_of_the_time_between_and_survive_who_begins_anew() {
        let begin = Instant::now();
        let before = sample(begin, 100, &[("a", 10), ("b", 50)]);
        let after = sample(begin + Duration::from_secs(2), 300, &[("a", 30), ("c", 4)]);
        let rates = rates(&before, &after);
        assert_eq!(rates, Rates { accepted: 100.0, stored: 0.0, delivered: 12.0 });
        let emptied = sample(begin + Duration::from_secs(2), 6, &[]);
        let rates = Rates { accepted: 3.0, ..Rates::default() };
        assert_eq!(super::rates(&before, &emptied), rates);
    }

    #[test]
    fn the_latest_is_of_the_stream_that_moved() {
        let begin = Instant::now();
        let mut before = sample(begin, 0, &[]);
        let at = |second: i64| Timestamp::from_millis(second * 1_000);
        before.consumption[0].add(at(1), 5, 1);
        before.consumption[1].add(at(2), 900, 1);
        let mut after = before.clone();
        after.consumption[0].add(at(3), 7, 1);
        let between = consumed(&before, &after);
        assert_eq!((between.items(), between.latest_ms()), (1, Some(7)));
        after.consumption[1].add(at(4), 800, 2);
        let between = consumed(&before, &after);
        assert_eq!((between.items(), between.latest_ms()), (3, Some(800)));
        assert_eq!(consumed(&after, &after), Consumption::default());
    }
}
