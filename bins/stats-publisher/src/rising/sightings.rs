//! From a sample to a sighting: what was there before, what is usual; published, then stored.

use std::sync::Arc;

use mayfly_cold::Cold;
use mayfly_core::{Sample, Sighting};
use mayfly_hot::{Hot, HotError, Lease, SightingPublished};
use mayfly_runtime::metrics as names;

use super::{
    past::Past,
    saver::{SightingsSaver, Waiting},
};

/// Takes samples in.
pub struct Sightings {
    hot: Hot,
    cold: Cold,
    past: Past,
    waiting: Arc<Waiting>,
}

impl Sightings {
    /// Between the two stores.
    pub fn new(hot: Hot, cold: Cold) -> Self {
        let past = Past::new(cold.clone());
        Self { hot, cold, past, waiting: Arc::default() }
    }

    /// Who stores what is taken in here.
    pub fn saver(&self) -> SightingsSaver {
        SightingsSaver::new(self.cold.clone(), Arc::clone(&self.waiting))
    }

    /// Publishes what a sample shows, and has it stored. Gives nothing, and does nothing, where a sample
    /// as new was published already, or the lease is another's by now.
    ///
    /// It is compared to the sample that was published before it; where Redis has none, because the
    /// host was not sampled for long or Redis lost it, to the newest in Postgres. Postgres is waited
    /// for a moment only, so that whoever calls this can hold the lease: without it there may be
    /// nothing to compare to, and nothing usual, this time.
    ///
    /// # Errors
    /// Where Redis does not do it. The sighting may be published then, and is not stored: the next
    /// sample is compared to it all the same.
    pub async fn take_in(
        &mut self,
        lease: &Lease,
        sample: Sample,
    ) -> Result<Option<Sighting>, HotError> {
        let earlier = match self.hot.find_sighting(&sample.host).await? {
            Some(sighting) => Some(sighting.to_sample()),
            None => self.past.find_sample(&sample.host, sample.sampled_at).await,
        };
        let host = sample.host.clone();
        let usual = self.past.find_usual(&host, sample.sampled_at).await;
        let none = std::collections::HashMap::new();
        let sighting = Sighting::new(sample, earlier.as_ref(), usual.unwrap_or(&none));
        let published = self.hot.publish_sighting(lease, &sighting).await?;
        if published != SightingPublished::Done {
            return Ok(None);
        }
        metrics::counter!(names::RISING_SAMPLES_TOTAL).increment(1);
        self.waiting.add(Arc::new(sighting.clone()));
        Ok(Some(sighting))
    }
}
