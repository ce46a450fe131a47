//! The streams that serve as queues.

/// A stream that serves as a queue for the workers.
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

    /// Returns the name of the stream, as used in the ledger, dead letters and metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Messages => "messages",
            Self::Plays => "plays",
        }
    }

    /// Returns the name of the workers' consumer group.
    #[must_use]
    pub const fn group(self) -> &'static str {
        match self {
            Self::Messages => "persist",
            Self::Plays => "count",
        }
    }

    /// Returns the name of this stream's ledger field with the given suffix.
    pub(crate) fn ledger_field(self, suffix: &str) -> String {
        format!("{}.{suffix}", self.name())
    }
}
