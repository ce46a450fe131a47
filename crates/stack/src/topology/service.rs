//! Properties of the five services on the local stack.

use std::collections::BTreeMap;

pub use mayfly_runtime::Service;
use serde::{Deserialize as _, Deserializer, Serialize as _, Serializer, de::Error as _};

/// Finds a service by the name of its binary.
pub(crate) fn find_service(name: &str) -> Option<Service> {
    Service::ALL.into_iter().find(|service| service.name() == name)
}

/// Properties of a service that matter only on the local stack.
pub(crate) trait LocalService {
    /// Returns the prefix of the service's variables in `stack.env`, such as `INGEST_API`.
    fn env_name(self) -> String;
    /// Returns the offset of the public port from the port base, or `None` for the workers.
    fn http_offset(self) -> Option<u16>;
    /// Returns the offset of the admin port from the port base.
    fn admin_offset(self) -> u16;
    /// Returns whether the service receives `DATABASE_URL`. `ingest-api` and `ws-fanout` never
    /// access Postgres.
    fn uses_database(self) -> bool;
    /// Returns whether the service receives S3 credentials: `stats-publisher` writes objects, and
    /// `list-api` signs URLs.
    fn uses_s3(self) -> bool;
}

impl LocalService for Service {
    fn env_name(self) -> String {
        self.name().replace('-', "_").to_uppercase()
    }

    fn http_offset(self) -> Option<u16> {
        match self {
            Self::WsFanout => Some(0),
            Self::IngestApi => Some(1),
            Self::ListApi => Some(2),
            Self::PersistWorker | Self::StatsPublisher => None,
        }
    }

    fn admin_offset(self) -> u16 {
        match self {
            Self::IngestApi => 11,
            Self::ListApi => 12,
            Self::WsFanout => 13,
            Self::PersistWorker => 14,
            Self::StatsPublisher => 15,
        }
    }

    fn uses_database(self) -> bool {
        matches!(self, Self::ListApi | Self::PersistWorker | Self::StatsPublisher)
    }

    fn uses_s3(self) -> bool {
        matches!(self, Self::ListApi | Self::StatsPublisher)
    }
}

/// Serializes counts by service as a map with service names as keys.
pub(crate) fn serialize_counts<S: Serializer>(
    counts: &BTreeMap<Service, usize>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    let named: BTreeMap<_, _> =
        counts.iter().map(|(service, count)| (service.name(), count)).collect();
    named.serialize(serializer)
}

pub(crate) fn deserialize_counts<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<BTreeMap<Service, usize>, D::Error> {
    let named = BTreeMap::<String, usize>::deserialize(deserializer)?;
    let find = |name: &str| {
        find_service(name).ok_or_else(|| D::Error::custom(format!("unknown service `{name}`")))
    };
    named.iter().map(|(name, count)| Ok((find(name)?, *count))).collect()
}
