//! Publishes trends: compares each sample with an earlier one, publishes the sample, and queues it
//! for storage.

use std::{collections::HashMap, sync::Arc};

use mayfly_cold::ColdStore;
use mayfly_core::{Sample, TrendSnapshot};
use mayfly_hot::{HotError, HotStore, Lease, PublishOutcome};

use super::{
    history::History,
    sample_writer::{SampleQueue, SampleWriter},
};
use crate::metrics as names;

/// A publisher that compares samples and publishes them as trends.
pub struct TrendPublisher {
    hot: HotStore,
    cold: ColdStore,
    history: History,
    queue: Arc<SampleQueue>,
}

impl TrendPublisher {
    /// Creates a publisher.
    pub fn new(hot: HotStore, cold: ColdStore) -> Self {
        let history = History::new(cold.clone());
        Self { hot, cold, history, queue: Arc::default() }
    }

    /// Creates the writer that stores the published samples.
    pub fn sample_writer(&self) -> SampleWriter {
        SampleWriter::new(self.cold.clone(), Arc::clone(&self.queue))
    }

    /// Publishes a sample and queues it for storage. Returns `None` and publishes nothing if the
    /// lease is lost or the last published sample is at least as new.
    ///
    /// The sample is compared with the last published sample or, if Redis has none, with the latest
    /// sample in Postgres. Queries to Postgres have a short timeout, so that the lease is renewed
    /// in time. If a query fails or times out, the snapshot may lack the comparison or the
    /// baseline.
    ///
    /// # Errors
    /// Returns an error if Redis fails. The snapshot may still have been published, but is not
    /// stored in Postgres. The next sample is compared with the snapshot if it was published.
    pub async fn publish(
        &mut self,
        lease: &Lease,
        sample: Sample,
    ) -> Result<Option<TrendSnapshot>, HotError> {
        let earlier = match self.hot.trends().find(&sample.host).await? {
            Some(trends) => Some(trends.to_sample()),
            None => self.history.find_sample(&sample.host, sample.sampled_at).await,
        };
        let host = sample.host.clone();
        let baseline = self.history.find_baseline(&host, sample.sampled_at).await;
        let no_baseline = HashMap::new();
        let trends = TrendSnapshot::new(sample, earlier.as_ref(), baseline.unwrap_or(&no_baseline));
        let outcome = self.hot.trends().publish(lease, &trends).await?;
        if outcome != PublishOutcome::Published {
            return Ok(None);
        }
        metrics::counter!(names::RISING_SAMPLES_TOTAL).increment(1);
        self.queue.push(Arc::new(trends.clone()));
        Ok(Some(trends))
    }
}
