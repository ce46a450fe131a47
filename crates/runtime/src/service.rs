//! The five services.

use std::fmt;

/// One of the five services.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Service {
    /// Takes writes.
    IngestApi,
    /// Answers reads and takes.
    ListApi,
    /// Stores what was accepted.
    PersistWorker,
    /// Brings frames to browsers.
    WsFanout,
    /// Publishes statistics.
    StatsPublisher,
}

impl Service {
    /// Every service, in the order in which they are started.
    pub const ALL: [Self; 5] =
        [Self::IngestApi, Self::ListApi, Self::PersistWorker, Self::WsFanout, Self::StatsPublisher];

    /// Names the service as its binary is named.
    pub fn name(self) -> &'static str {
        match self {
            Self::IngestApi => "ingest-api",
            Self::ListApi => "list-api",
            Self::PersistWorker => "persist-worker",
            Self::WsFanout => "ws-fanout",
            Self::StatsPublisher => "stats-publisher",
        }
    }

    pub(crate) fn about(self) -> &'static str {
        match self {
            Self::IngestApi => "Takes messages, plays and visits over REST",
            Self::ListApi => "Answers reads and takes over REST",
            Self::PersistWorker => "Stores what was accepted in Postgres",
            Self::WsFanout => "Brings frames to every open browser over WebSocket",
            Self::StatsPublisher => "Publishes the statistics of every minute",
        }
    }
}

impl fmt::Display for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
