//! The streams: queues whose entries must be worked off once.

use crate::keys::Keys;

/// A queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Stream {
    /// Messages, takes and deletions, on their way to be stored.
    Messages,
    /// Plays, on their way to be counted.
    Plays,
}

impl Stream {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Messages, Self::Plays];

    /// What the ledger, the dead letters and the metrics call it, and what is in it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Messages => "messages",
            Self::Plays => "plays",
        }
    }

    /// The consumer group of the workers that work it off.
    #[must_use]
    pub const fn group(self) -> &'static str {
        match self {
            Self::Messages => "persist",
            Self::Plays => "count",
        }
    }

    pub(crate) fn key(self, keys: &Keys) -> String {
        match self {
            Self::Messages => keys.messages(),
            Self::Plays => keys.plays(),
        }
    }

    /// A field of the ledger that is of this stream.
    pub(crate) fn field(self, what: &str) -> String {
        format!("{}.{what}", self.name())
    }
}
