//! Stores published samples in Postgres in the background, so that sampling does not wait for
//! Postgres.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use mayfly_cold::{ColdError, ColdStore};
use mayfly_core::{PageTrend, TrendSnapshot};
use mayfly_runtime::{LogBudget, OutageLog};
use parking_lot::Mutex;
use tokio::{sync::Notify, time::Instant};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::metrics as names;

/// The maximum total size of the queued samples, in bytes: enough for about three hours of samples
/// for a host that has 100 pages with paths and titles of typical length.
const QUEUED_BYTES_MAX: usize = 80 * 1024 * 1024;
/// The size of a page, in bytes, excluding its path and title but including the overhead of their
/// allocations.
const PAGE_BYTES: usize = size_of::<PageTrend>() + 32;
/// The maximum number of samples per transaction.
const BATCH_SAMPLES: usize = 100;
/// The timeout for storing a batch.
const STORE_TIMEOUT: Duration = Duration::from_secs(10);
/// The pause after a failure.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);
/// The maximum time to store the remaining samples while the process drains.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(3);
/// The minimum interval between two warnings about dropped samples.
const WARN_INTERVAL: Duration = Duration::from_secs(60);

/// The maximum number of rejected samples that are logged per minute.
const REJECTIONS_PER_MINUTE: u32 = 20;

/// The queue of samples to be stored, oldest first.
///
/// The queue is in memory. If the process is killed, the queued samples are missing from Postgres,
/// from hourly totals and from comparisons.
#[derive(Default)]
pub(super) struct SampleQueue {
    queue: Mutex<Queue>,
    pushed: Notify,
}

#[derive(Default)]
struct Queue {
    samples: VecDeque<Arc<TrendSnapshot>>,
    /// The total size of the samples in bytes.
    bytes: usize,
    warned_at: Option<Instant>,
}

impl SampleQueue {
    /// Appends a sample. Drops the oldest samples if the queue is full.
    pub(super) fn push(&self, sample: Arc<TrendSnapshot>) {
        self.queue.lock().push(sample, QUEUED_BYTES_MAX);
        self.pushed.notify_one();
    }
}

impl Queue {
    fn push(&mut self, sample: Arc<TrendSnapshot>, bytes_max: usize) {
        self.bytes += size_bytes(&sample);
        self.samples.push_back(sample);
        let mut dropped = 0;
        while self.bytes > bytes_max && self.samples.len() > 1 {
            self.remove_first();
            dropped += 1;
        }
        if dropped > 0 {
            metrics::counter!(names::RISING_SAMPLES_DROPPED_TOTAL).increment(dropped);
            if self.warned_at.is_none_or(|at| at.elapsed() >= WARN_INTERVAL) {
                self.warned_at = Some(Instant::now());
                warn!(
                    dropped,
                    "the queue of samples is full because Postgres is slow or unavailable; \
                     dropped the oldest samples"
                );
            }
        }
    }

    fn first(&self, samples_max: usize) -> Vec<Arc<TrendSnapshot>> {
        self.samples.iter().take(samples_max).cloned().collect()
    }

    fn remove_first(&mut self) {
        if let Some(removed) = self.samples.pop_front() {
            self.bytes -= size_bytes(&removed);
        }
    }

    /// Removes a sample that was stored or rejected. Returns `false` if the sample was dropped, and
    /// counted as dropped, in the meantime.
    fn remove(&mut self, sample: &Arc<TrendSnapshot>) -> bool {
        let is_queued = self.samples.front().is_some_and(|first| Arc::ptr_eq(first, sample));
        if is_queued {
            self.remove_first();
        }
        is_queued
    }
}

/// Returns the size of a sample in memory, in bytes.
fn size_bytes(sample: &TrendSnapshot) -> usize {
    let page = |page: &PageTrend| {
        PAGE_BYTES + page.path.len() + page.title.as_ref().map_or(0, String::len)
    };
    size_of::<TrendSnapshot>() + sample.pages.iter().map(page).sum::<usize>()
}

/// The task that stores queued samples.
pub struct SampleWriter {
    cold: ColdStore,
    queue: Arc<SampleQueue>,
    outages: OutageLog,
    rejections: LogBudget,
}

impl SampleWriter {
    pub(super) fn new(cold: ColdStore, queue: Arc<SampleQueue>) -> Self {
        let outages = OutageLog::new("store samples");
        Self { cold, queue, outages, rejections: LogBudget::new(REJECTIONS_PER_MINUTE) }
    }

    /// Runs until sampling is done, then makes one last attempt, limited by a timeout, to store the
    /// remaining samples.
    pub async fn run(self, sampling_done: &CancellationToken) {
        while !sampling_done.is_cancelled() {
            match sampling_done.run_until_cancelled(self.store_all()).await {
                Some(true) => {
                    sampling_done.run_until_cancelled(self.queue.pushed.notified()).await;
                }
                Some(false) => {
                    sampling_done.run_until_cancelled(tokio::time::sleep(RETRY_INTERVAL)).await;
                }
                None => {}
            }
        }
        if tokio::time::timeout(DRAIN_TIMEOUT, self.store_all()).await != Ok(true) {
            let remaining = self.queue.queue.lock().samples.len();
            warn!(remaining, "samples were not stored before the shutdown and are lost");
        }
    }

    /// Stores all queued samples, and removes them from the queue. Returns `false` if Postgres is
    /// unavailable. After an interruption, storing a sample again has no effect.
    async fn store_all(&self) -> bool {
        loop {
            let batch = self.queue.queue.lock().first(BATCH_SAMPLES);
            if batch.is_empty() {
                return true;
            }
            match self.store(&batch).await {
                Ok(()) => {
                    self.outages.record_success();
                    let mut queue = self.queue.queue.lock();
                    for sample in &batch {
                        queue.remove(sample);
                    }
                }
                Err(error) if error.is_retryable() => {
                    self.outages.record_failure(&error);
                    return false;
                }
                Err(_) => {
                    if !self.store_individually(&batch).await {
                        return false;
                    }
                }
            }
        }
    }

    async fn store(&self, batch: &[Arc<TrendSnapshot>]) -> Result<(), ColdError> {
        let samples: Vec<_> = batch.iter().map(|sample| TrendSnapshot::clone(sample)).collect();
        self.cold.samples().store(&samples, STORE_TIMEOUT).await
    }

    /// Stores samples individually and drops the samples that Postgres rejects. Returns `false` if
    /// Postgres is unavailable. Each sample is removed immediately, so that a rejected sample is
    /// not rejected and counted again after a later sample fails.
    async fn store_individually(&self, batch: &[Arc<TrendSnapshot>]) -> bool {
        for sample in batch {
            let result = self.store(std::slice::from_ref(sample)).await;
            if let Err(error) = &result
                && error.is_retryable()
            {
                self.outages.record_failure(error);
                return false;
            }
            let was_queued = self.queue.queue.lock().remove(sample);
            if let Err(error) = result {
                metrics::counter!(names::RISING_SAMPLES_DROPPED_TOTAL)
                    .increment(u64::from(was_queued));
                if let Some(suppressed) = self.rejections.take() {
                    warn!(
                        %error,
                        host = %sample.host,
                        suppressed,
                        "Postgres rejected a sample; dropping it"
                    );
                }
            }
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use mayfly_core::{Host, PageVisitors, Sample, Timestamp};

    use super::*;

    fn sample(second: i64, pages: usize) -> Arc<TrendSnapshot> {
        let page = PageVisitors { path: "/".to_owned(), title: None, visitors: 1 };
        let sample = Sample {
            host: Host::parse("a.org").expect("a host"),
            sampled_at: Timestamp::from_millis(second * 1_000),
            visitors: 1,
            exact: true,
            pages: vec![page; pages],
        };
        Arc::new(TrendSnapshot::new(sample, None, &HashMap::new()))
    }

    fn seconds(queue: &Queue) -> Vec<i64> {
        queue.samples.iter().map(|sample| sample.sampled_at.as_millis() / 1_000).collect()
    }

    #[test]
    fn full_queue_drops_the_oldest_sample() {
        let mut queue = Queue::default();
        let (small, large) = (sample(0, 9), sample(4, 99));
        (0..4).for_each(|second| queue.push(sample(second, 9), 3 * size_bytes(&small)));
        assert_eq!((seconds(&queue), queue.bytes), (vec![1, 2, 3], 3 * size_bytes(&small)));
        queue.push(large.clone(), 3 * size_bytes(&small));
        assert_eq!(
            (seconds(&queue), queue.bytes),
            (vec![4], size_bytes(&large)),
            "a single sample may exceed the limit"
        );
    }

    #[test]
    fn long_paths_and_titles_count() {
        let mut long = TrendSnapshot::clone(&sample(0, 1));
        let short = size_bytes(&long);
        long.pages[0].path = "/".repeat(2_000);
        long.pages[0].title = Some("x".repeat(500));
        assert_eq!(size_bytes(&long), short + 2_499);
    }

    #[test]
    fn sample_dropped_while_it_is_stored_is_neither_removed_nor_counted_again() {
        let mut queue = Queue::default();
        let bytes_max = 3 * size_bytes(&sample(0, 9));
        (0..3).for_each(|second| queue.push(sample(second, 9), bytes_max));
        let batch = queue.first(2);
        queue.push(sample(3, 9), bytes_max);
        assert!(!queue.remove(&batch[0]), "the full queue dropped it");
        assert!(queue.remove(&batch[1]));
        assert_eq!((seconds(&queue), queue.bytes), (vec![2, 3], bytes_max / 3 * 2));
    }

    #[test]
    fn rejected_sample_is_not_stored_again_after_an_outage() {
        let mut queue = Queue::default();
        (0..3).for_each(|second| queue.push(sample(second, 9), QUEUED_BYTES_MAX));
        let batch = queue.first(2);
        assert!(queue.remove(&batch[0]), "the rejected sample was queued");
        // Here Postgres becomes unavailable, and the next attempt reads the queue again.
        assert!(Arc::ptr_eq(&queue.first(2)[0], &batch[1]));
        assert!(!queue.remove(&batch[0]));
    }
}
