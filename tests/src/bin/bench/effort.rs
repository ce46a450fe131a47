//! The number and duration of the measurements.

use std::time::Duration;

/// The repetitions and durations of a run.
#[derive(Debug, Clone, Copy)]
pub struct Effort {
    /// The number of rounds against Mayfly and against the baseline, for ingest and for hot reads.
    pub rounds: usize,
    /// The duration of a round.
    pub round: Duration,
    /// How many times a full queue of messages is drained.
    pub drains: usize,
    /// How many times a full queue of plays is counted.
    pub counts: usize,
    /// How many times the highest fan-out rate is searched for.
    pub searches: usize,
    /// How long a search tests each rate.
    pub step: Duration,
    /// The precision of a search, as a factor.
    pub precision: f64,
}

impl Effort {
    /// `make bench-quick`.
    pub const QUICK: Self = Self {
        rounds: 5,
        round: Duration::from_secs(2),
        drains: 3,
        counts: 3,
        searches: 1,
        step: Duration::from_millis(1_500),
        precision: 1.1,
    };

    /// `make bench`.
    pub const FULL: Self = Self {
        rounds: 11,
        round: Duration::from_secs(5),
        drains: 7,
        counts: 7,
        searches: 3,
        step: Duration::from_secs(5),
        precision: 1.05,
    };

    /// Returns the effort of a comparison of two modes, whose difference is small: more and shorter
    /// rounds, so that slow changes of the machine affect both, and more precise searches.
    pub const fn to_compare_modes(self) -> Self {
        Self {
            rounds: self.rounds * 16 + 1,
            round: Duration::from_millis(250),
            searches: self.searches * 2 + 1,
            precision: 1.02,
            ..self
        }
    }
}

/// The number of connections, each with one request in flight.
pub const CONNECTIONS: usize = 64;
/// Messages per drain.
pub const DRAINED_MESSAGES: usize = 200_000;
/// Plays per count: the maximum queue depth.
pub const COUNTED_PLAYS: usize = 1_000_000;
/// Live messages to read.
pub const LIVE_MESSAGES: usize = 10_000;
/// The number of users that receive the messages.
pub const USERS: usize = 1_000;
