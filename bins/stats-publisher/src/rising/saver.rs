//! Storing what was published in Postgres, beside the sampling: that never waits for Postgres.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use mayfly_cold::{Cold, ColdError};
use mayfly_core::Sighting;
use mayfly_runtime::metrics as names;
use tokio::{sync::Notify, time::Instant};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

/// Pages of all sightings that wait to be stored, at most: some 80 MB where names are usual. Of one
/// host with 100 pages these are nearly three hours.
const WAITING_PAGES_MAX: usize = 200_000;
/// Sightings that are stored at once.
const STORED_AT_ONCE: usize = 100;
/// How long storing may take.
const STORE_TIMEOUT: Duration = Duration::from_secs(10);
/// The pause after a failure.
const RETRY: Duration = Duration::from_secs(1);
/// How long it is tried at the end to store what still waits.
const LEAVE_WITHIN: Duration = Duration::from_secs(3);
/// How often it is said that sightings are dropped.
const WARN_EVERY: Duration = Duration::from_secs(60);

/// Sightings that wait to be stored, the oldest first.
///
/// They wait in this process alone: one that is killed between publishing a sighting and storing it
/// leaves one sample out in Postgres, which is in no sum and in no comparison then, and harms nothing.
#[derive(Default)]
pub(super) struct Waiting {
    queue: Mutex<Queue>,
    added: Notify,
}

#[derive(Default)]
struct Queue {
    sightings: VecDeque<Arc<Sighting>>,
    /// What they weigh together.
    pages: usize,
    warned_at: Option<Instant>,
}

impl Waiting {
    /// Adds a sighting. Where too many wait, the oldest go: those that come tell more of the present.
    pub(super) fn add(&self, sighting: Arc<Sighting>) {
        self.with(|queue| queue.add(sighting, WAITING_PAGES_MAX));
        self.added.notify_one();
    }

    fn with<T>(&self, step: impl FnOnce(&mut Queue) -> T) -> T {
        step(&mut self.queue.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Queue {
    fn add(&mut self, sighting: Arc<Sighting>, pages_max: usize) {
        self.pages += weight(&sighting);
        self.sightings.push_back(sighting);
        let mut dropped = 0;
        while self.pages > pages_max && self.sightings.len() > 1 {
            self.forget_first();
            dropped += 1;
        }
        if dropped > 0 {
            metrics::counter!(names::RISING_SAMPLES_DROPPED_TOTAL).increment(dropped);
            if self.warned_at.is_none_or(|at| at.elapsed() >= WARN_EVERY) {
                self.warned_at = Some(Instant::now());
                warn!(
                    dropped,
                    "more samples wait for Postgres than may wait: the oldest are dropped"
                );
            }
        }
    }

    fn first(&self, most: usize) -> Vec<Arc<Sighting>> {
        self.sightings.iter().take(most).cloned().collect()
    }

    fn forget_first(&mut self) {
        if let Some(gone) = self.sightings.pop_front() {
            self.pages -= weight(&gone);
        }
    }

    /// Forgets what was stored, as far as it was not dropped meanwhile.
    fn forget(&mut self, stored: &[Arc<Sighting>]) {
        for one in stored {
            if self.sightings.front().is_some_and(|first| Arc::ptr_eq(first, one)) {
                self.forget_first();
            }
        }
    }
}

fn weight(sighting: &Sighting) -> usize {
    1 + sighting.pages.len()
}

/// Stores what waits.
pub struct SightingsSaver {
    cold: Cold,
    waiting: Arc<Waiting>,
}

impl SightingsSaver {
    pub(super) fn new(cold: Cold, waiting: Arc<Waiting>) -> Self {
        Self { cold, waiting }
    }

    /// Goes on until nothing more is sampled, and then until all is stored, or a few seconds are over.
    pub async fn run(self, sampled: &CancellationToken) {
        while !sampled.is_cancelled() {
            match sampled.run_until_cancelled(self.save()).await {
                Some(true) => {
                    sampled.run_until_cancelled(self.waiting.added.notified()).await;
                }
                Some(false) => {
                    sampled.run_until_cancelled(tokio::time::sleep(RETRY)).await;
                }
                None => {}
            }
        }
        if tokio::time::timeout(LEAVE_WITHIN, self.save()).await != Ok(true) {
            let left = self.waiting.with(|queue| queue.sightings.len());
            debug!(left, "samples were not stored before the end");
        }
    }

    /// Stores all that waits; gives whether it did. Killed between two lines, it is stored again, which
    /// changes nothing.
    async fn save(&self) -> bool {
        loop {
            let batch = self.waiting.with(|queue| queue.first(STORED_AT_ONCE));
            if batch.is_empty() {
                return true;
            }
            match self.store(&batch).await {
                Ok(()) => {}
                Err(error) if error.may_pass() => {
                    debug!(%error, "samples cannot be stored now");
                    return false;
                }
                Err(_) => {
                    if !self.store_singly(&batch).await {
                        return false;
                    }
                }
            }
            self.waiting.with(|queue| queue.forget(&batch));
        }
    }

    async fn store(&self, batch: &[Arc<Sighting>]) -> Result<(), ColdError> {
        let sightings: Vec<_> = batch.iter().map(|one| Sighting::clone(one)).collect();
        self.cold.store_samples(&sightings, STORE_TIMEOUT).await
    }

    /// One that Postgres refuses holds up no other: it is given up. Gives false in an outage.
    async fn store_singly(&self, batch: &[Arc<Sighting>]) -> bool {
        for one in batch {
            match self.store(std::slice::from_ref(one)).await {
                Ok(()) => {}
                Err(error) if error.may_pass() => return false,
                Err(error) => {
                    metrics::counter!(names::RISING_SAMPLES_DROPPED_TOTAL).increment(1);
                    warn!(%error, host = %one.host, "a sample is given up: Postgres refuses it");
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

    fn sighting(second: i64, pages: usize) -> Arc<Sighting> {
        let page = PageVisitors { path: "/".to_owned(), title: None, visitors: 1 };
        let sample = Sample {
            host: Host::parse("a.org").expect("a host"),
            sampled_at: Timestamp::from_millis(second * 1_000),
            visitors: 1,
            exact: true,
            pages: vec![page; pages],
        };
        Arc::new(Sighting::new(sample, None, &HashMap::new()))
    }

    fn seconds(queue: &Queue) -> Vec<i64> {
        queue.sightings.iter().map(|one| one.sampled_at.as_millis() / 1_000).collect()
    }

    #[test]
    fn at_the_bound_the_oldest_goes() {
        let mut queue = Queue::default();
        (0..4).for_each(|second| queue.add(sighting(second, 9), 30));
        assert_eq!((seconds(&queue), queue.pages), (vec![1, 2, 3], 30));
        queue.add(sighting(4, 99), 30);
        assert_eq!((seconds(&queue), queue.pages), (vec![4], 100), "one alone may be too large");
    }

    #[test]
    fn what_was_dropped_while_it_was_stored_is_not_forgotten_twice() {
        let mut queue = Queue::default();
        (0..3).for_each(|second| queue.add(sighting(second, 9), 30));
        let batch = queue.first(2);
        queue.add(sighting(3, 9), 30);
        queue.forget(&batch);
        assert_eq!((seconds(&queue), queue.pages), (vec![2, 3], 20));
    }
}
