//! The limit on the rate at which the replays of the process read from Redis.

use std::time::Duration;

use tokio::{
    sync::Mutex,
    time::{Instant, sleep},
};

/// Maximum rate at which replays read from Redis: 64 MB per second.
const BYTES_PER_MICRO: usize = 64;
/// Number of bytes that replays can read without a pause after a time without reads.
const BURST_BYTES: usize = 1024 * 1024;
/// Number of bytes that each read counts as at least, because Redis also needs time for a read that
/// returns little.
const READ_BYTES_MIN: usize = 16 * 1024;
/// Approximate size of an entry in a response of Redis in addition to its event: the entry ID, the
/// metadata and the names of the fields.
const ENTRY_OVERHEAD_BYTES: usize = 512;

/// The rate limit that all replays share. Without this limit, replays in which few messages match
/// the subscription would read as fast as Redis responds, and would delay all other requests to
/// Redis.
pub(crate) struct ReplayRate {
    /// Held by the replay that reads next. The lock is fair, so replays read in the order of their
    /// requests.
    next: Mutex<()>,
    /// The time at which all reads so far are complete at the maximum rate.
    paid_until: parking_lot::Mutex<Instant>,
}

impl ReplayRate {
    pub(crate) fn new() -> Self {
        Self { next: Mutex::new(()), paid_until: parking_lot::Mutex::new(Instant::now()) }
    }

    /// Waits until the rate permits the next read. Counts the read with its minimum size.
    pub(crate) async fn admit(&self) {
        let _next = self.next.lock().await;
        // Earlier reads can complete, and be counted, during the pause.
        loop {
            let without_pause = Instant::now() + read_time(BURST_BYTES);
            let pause = self.paid_until.lock().duration_since(without_pause);
            if pause.is_zero() {
                break;
            }
            sleep(pause).await;
        }
        self.count(READ_BYTES_MIN);
    }

    /// Counts the size of an admitted read that returned `entries` entries with a total of `bytes`
    /// bytes.
    pub(crate) fn record(&self, entries: usize, bytes: usize) {
        let read = bytes + entries * ENTRY_OVERHEAD_BYTES;
        self.count(read.saturating_sub(READ_BYTES_MIN));
    }

    fn count(&self, bytes: usize) {
        let mut paid_until = self.paid_until.lock();
        *paid_until = Instant::now().max(*paid_until) + read_time(bytes);
    }
}

/// Returns the duration of a read at the maximum rate.
fn read_time(bytes: usize) -> Duration {
    Duration::from_micros((bytes / BYTES_PER_MICRO) as u64)
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    const MIB: usize = 1024 * 1024;

    /// Reads pages of 128 KiB with this total size, and returns how long this takes.
    async fn read(rate: &ReplayRate, bytes: usize) -> Duration {
        let started_at = Instant::now();
        for _ in 0..bytes / (MIB / 8) {
            rate.admit().await;
            rate.record(0, MIB / 8);
        }
        started_at.elapsed()
    }

    #[tokio::test(start_paused = true)]
    async fn short_replay_after_a_pause_is_not_delayed() {
        let rate = ReplayRate::new();
        assert_eq!(read(&rate, MIB).await, Duration::ZERO);
        assert_ne!(read(&rate, MIB).await, Duration::ZERO);
        // Only part of the budget is available again.
        sleep(Duration::from_millis(8)).await;
        assert_ne!(read(&rate, MIB).await, Duration::ZERO);
        sleep(Duration::from_secs(60)).await;
        assert_eq!(read(&rate, MIB).await, Duration::ZERO);
        assert_ne!(read(&rate, MIB).await, Duration::ZERO, "the budget does not accumulate");
    }

    #[tokio::test(start_paused = true)]
    async fn long_replays_read_at_the_maximum_rate() {
        let rate = ReplayRate::new();
        let (one, other) = tokio::join!(read(&rate, 128 * MIB), read(&rate, 128 * MIB));
        let expected = read_time(256 * MIB);
        for elapsed in [one, other] {
            assert!(elapsed <= expected && elapsed > expected * 49 / 50, "{elapsed:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn small_reads_and_small_entries_count_too() {
        let rate = ReplayRate::new();
        let started_at = Instant::now();
        for _ in 0..10_000 {
            rate.admit().await;
            rate.record(0, 0);
        }
        assert!(started_at.elapsed() > Duration::from_secs(2), "{:?}", started_at.elapsed());
        let started_at = Instant::now();
        for _ in 0..10_000 {
            rate.admit().await;
            rate.record(64, 0);
        }
        assert!(started_at.elapsed() > Duration::from_secs(5), "{:?}", started_at.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn replays_read_in_the_order_of_their_requests() {
        let rate = ReplayRate::new();
        rate.record(0, 10 * MIB);
        let order = parking_lot::Mutex::new(Vec::new());
        let replay = async |number: usize| {
            for _ in 0..3 {
                rate.admit().await;
                rate.record(0, MIB);
                order.lock().push(number);
            }
        };
        tokio::join!(replay(0), replay(1), replay(2));
        assert_eq!(*order.lock(), [0, 1, 2, 0, 1, 2, 0, 1, 2]);
    }

    #[tokio::test(start_paused = true)]
    async fn replay_that_ends_while_it_waits_does_not_block_others() {
        let rate = ReplayRate::new();
        rate.record(0, 10 * MIB);
        let (mut first, mut second) = (Box::pin(rate.admit()), Box::pin(rate.admit()));
        assert!(first.as_mut().now_or_never().is_none());
        assert!(second.as_mut().now_or_never().is_none());
        drop(first);
        second.await;
    }
}
