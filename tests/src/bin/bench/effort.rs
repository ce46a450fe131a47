//! How much is measured.

use std::time::Duration;

/// How often and how long each thing is measured.
#[derive(Debug, Clone, Copy)]
pub struct Effort {
    /// Pairs of rounds, ours and the bare one, of ingest and of hot reads.
    pub rounds: usize,
    /// How long a round lasts.
    pub round: Duration,
    /// How often the queue is filled and drained.
    pub drains: usize,
    /// How often a queue of plays is counted.
    pub counts: usize,
    /// How often the highest rate of fan-out is looked for.
    pub searches: usize,
    /// How long a rate is tried then.
    pub step: Duration,
    /// How near to the highest rate the search comes, as a factor.
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
}

/// Connections of the load, each with one request at a time.
pub const CONNECTIONS: usize = 64;
/// Messages of one drain.
pub const DRAINED_MESSAGES: usize = 200_000;
/// Plays that are counted at once: as many as may wait.
pub const COUNTED_PLAYS: usize = 1_000_000;
/// Live messages that are read.
pub const LIVE_MESSAGES: usize = 10_000;
/// How many users the messages are spread over.
pub const USERS: usize = 1_000;
