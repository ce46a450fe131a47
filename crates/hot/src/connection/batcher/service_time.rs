//! The measured duration of round trips.

use std::time::Duration;

/// The share of a new measurement in the average.
const NEW_PART: f64 = 0.25;

/// The average time per unit of weight, from which the duration of a round trip is predicted.
///
/// A batch that is not full counts as full, because most of its duration does not depend on its
/// weight. Therefore the prediction is optimistic until batches are full. An optimistic prediction
/// is safe, because a request that waits too long is not sent.
#[derive(Debug)]
pub(super) struct ServiceTime {
    full_weight: usize,
    seconds_per_weight: Option<f64>,
}

impl ServiceTime {
    /// Creates an average without measurements. A batch is full at `full_weight`.
    pub(super) fn new(full_weight: usize) -> Self {
        Self { full_weight, seconds_per_weight: None }
    }

    /// Adds the duration of a round trip.
    pub(super) fn record(&mut self, weight: usize, duration: Duration) {
        let new = duration.as_secs_f64() / to_f64(weight.max(self.full_weight));
        let average = self.seconds_per_weight.map_or(new, |old| old + (new - old) * NEW_PART);
        self.seconds_per_weight = Some(average);
    }

    /// Returns the expected duration of a round trip with this weight; zero if no round trip has
    /// been measured.
    pub(super) fn estimate_round_trip(&self, weight: usize) -> Duration {
        self.estimate(weight.max(self.full_weight))
    }

    /// Returns the expected time to execute requests with this total weight in full batches; zero
    /// if no round trip has been measured.
    pub(super) fn estimate(&self, weight: usize) -> Duration {
        let seconds = self.seconds_per_weight.unwrap_or_default() * to_f64(weight);
        Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX)
    }
}

#[expect(clippy::cast_precision_loss, reason = "an estimate")]
fn to_f64(weight: usize) -> f64 {
    weight as f64
}
