//! The five services.

use std::fmt;

/// One of the five services.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Service {
    /// Accepts writes.
    IngestApi,
    /// Serves reads and takes. A take reads an inbox and expires its messages in one step.
    ListApi,
    /// Stores accepted entries in Postgres.
    PersistWorker,
    /// Delivers live feeds to browsers.
    WsFanout,
    /// Publishes statistics, play counts, trends and system health.
    StatsPublisher,
}

impl Service {
    /// All services, in start order.
    pub const ALL: [Self; 5] =
        [Self::IngestApi, Self::ListApi, Self::PersistWorker, Self::WsFanout, Self::StatsPublisher];

    /// Returns the name of the service, which is also the name of its binary.
    pub fn name(self) -> &'static str {
        match self {
            Self::IngestApi => "ingest-api",
            Self::ListApi => "list-api",
            Self::PersistWorker => "persist-worker",
            Self::WsFanout => "ws-fanout",
            Self::StatsPublisher => "stats-publisher",
        }
    }

    /// Returns whether the service listens on a public port.
    pub(crate) fn has_public_port(self) -> bool {
        matches!(self, Self::IngestApi | Self::ListApi | Self::WsFanout)
    }

    pub(crate) fn about(self) -> &'static str {
        match self {
            Self::IngestApi => "Accepts messages, plays and visits over REST",
            Self::ListApi => "Serves reads and takes over REST",
            Self::PersistWorker => "Stores accepted messages and plays in Postgres",
            Self::WsFanout => "Delivers live feeds to browsers over WebSocket and SSE",
            Self::StatsPublisher => "Publishes statistics, play counts, trends and system health",
        }
    }
}

impl fmt::Display for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
