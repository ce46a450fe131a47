//! The streams.

/// A stream whose entries are each processed by one worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Stream {
    /// Messages, takes and deletions to be stored.
    Messages,
    /// Plays to be counted.
    Plays,
}

impl Stream {
    /// All streams.
    pub const ALL: [Self; 2] = [Self::Messages, Self::Plays];

    /// Returns the name in the ledger, in dead letters and in metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Messages => "messages",
            Self::Plays => "plays",
        }
    }

    /// Returns the consumer group of the workers.
    #[must_use]
    pub const fn group(self) -> &'static str {
        match self {
            Self::Messages => "persist",
            Self::Plays => "count",
        }
    }

    /// Returns the ledger field of this stream with the given suffix.
    pub(crate) fn ledger_field(self, suffix: &str) -> String {
        format!("{}.{suffix}", self.name())
    }
}
