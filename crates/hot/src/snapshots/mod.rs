//! Stores and publishes the statistics and the pulse, and reads the totals that the pulse reports.
//! The pulse is the health of the whole system, published once per second.

mod fanouts;
mod state;
mod stats;
mod totals;

pub(crate) use self::state::STATE_BYTES_MAX;
pub use self::{
    fanouts::{FanoutReport, Fanouts},
    totals::Totals,
};

use std::time::Duration;

use mayfly_core::Timestamp;

use crate::{connection::HotStore, metrics as names};

/// The maximum tolerated difference between the clocks of two publishers. A snapshot with a time
/// further in the future comes from a wrong clock and is overwritten.
pub(crate) const CLOCK_SKEW_MAX: Duration = Duration::from_secs(60);

/// The outcome of publishing a snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PublishOutcome {
    /// The snapshot was stored, and was published unless the publication failed.
    Published,
    /// Nothing was published, because the stored snapshot is at least as new.
    Stale,
    /// Nothing was published, because the lease was lost.
    NotLeader,
}

impl PublishOutcome {
    /// Parses the reply from a script that stores and publishes a snapshot. Counts a failed
    /// publication in a metric.
    pub(crate) fn from_reply(reply: &[u8]) -> Self {
        match *reply {
            [2, failed] => {
                metrics::counter!(names::PUBLISH_FAILURES_TOTAL).increment(u64::from(failed));
                Self::Published
            }
            [1] => Self::Stale,
            _ => Self::NotLeader,
        }
    }
}

/// Returns whether the time of a snapshot is plausible: at most 60 s in the future. An implausible
/// time comes from a wrong clock.
#[must_use]
pub fn is_plausible_time(generated_at: Timestamp, now: Timestamp) -> bool {
    generated_at <= now.plus(CLOCK_SKEW_MAX)
}

/// Operations on the statistics and the pulse.
#[derive(Clone, Copy)]
pub struct Snapshots<'a> {
    store: &'a HotStore,
}

impl HotStore {
    /// Returns the operations on the statistics and the pulse.
    #[must_use]
    pub fn snapshots(&self) -> Snapshots<'_> {
        Snapshots { store: self }
    }
}
